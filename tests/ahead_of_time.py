"""Compile every kernel for GPUs that are not there, as its host functions launch it, and read what they become.

`make machine-code` writes what comes out to kernels/machine_code.json; tests/test_machine_code.py compares.

Triton decides once, while it is imported, whether it interprets. So the launches are recorded here, where it does,
and compiled by `TRITON_INTERPRET=0 python -m tests.ahead_of_time --build`, with JSON in between. Neither a GPU nor a
driver is needed: the assembler ships with Triton.
"""

import importlib
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import CUDABackend
from triton.compiler import ASTSource
from triton.runtime.jit import native_specialize_impl

import kernels
from tests import kernel_twins

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "kernels" / "machine_code.json"
GPUS = {"sm_80": 80, "sm_90": 90}
DTYPES = {"float32": torch.float32, "float16": torch.float16}
OPTIONS = ("num_warps", "num_stages", "num_ctas", "maxnreg")
LOGARITHM = 18  # of the numbers in the largest array: enough that every block of a kernel is full

# What is counted in PTX, the last step before machine code: products on tensor cores, of a group of four warps (HGMMA
# in machine code, from Hopper on) or of one (HMMA); memory that moves by 16 bytes a thread, or in whole tiles; atomics.
WIDE = r"\.(?:v4\.\w32|v2\.\w64|v8\.\w16)\b"
TILE_IN, TILE_OUT = r"cp\.async\.bulk\S*\.shared\S*\.global\b", r"cp\.async\.bulk\S*\.global\S*\.shared\b"
INSTRUCTIONS = {
    "wgmma": r"wgmma\.mma_async\b",
    "mma": r"mma\.sync\b",
    "loads of 16 bytes": rf"ld\.global\S*{WIDE}|cp\.async\.c[ag]\..*\], 0x10\b|{TILE_IN}",
    "loads": rf"ld\.global\b|cp\.async\.c[ag]\.|{TILE_IN}",
    "stores of 16 bytes": rf"st\.global\S*{WIDE}|{TILE_OUT}",
    "stores": rf"st\.global\b|{TILE_OUT}",
    "atomics": r"(?:atom|red)\.\S*global\b",
}
INSTRUCTION = re.compile(r"^\s*(?:@!?%p\d+ )?([a-z][a-z_0-9]*\.[^;]*);", re.MULTILINE)


def modules() -> list[ModuleType]:
    return [importlib.import_module(f"kernels.{found.name}") for found in pkgutil.iter_modules(kernels.__path__)]


def kernels_by_name() -> dict[str, Any]:
    """Every kernel of kernels/, found by the ending of its name, as <module>.<name>."""
    return {
        f"{module.__name__.removeprefix('kernels.')}.{name}": thing
        for module in modules()
        for name, thing in vars(module).items()
        if name.endswith("_kernel") and hasattr(thing, "arg_names") and thing.fn.__module__ == module.__name__
    }


class Recorder:
    """Stand in for a kernel: note how it is launched, as Triton would specialize it, and do not run it."""

    def __init__(self, name: str, kernel: Any, launches: list[dict[str, Any]]):
        self.name, self.kernel, self.launches = name, kernel, launches

    def __getitem__(self, grid):
        def launch(*args, **keywords):
            options = {name: keywords.pop(name) for name in OPTIONS if name in keywords}
            self.launches.append(
                {"kernel": self.name, "options": options} | specialized(self.kernel.fn, args, keywords)
            )

        return launch


def specialized(function: Any, args: tuple, keywords: dict[str, Any]) -> dict[str, Any]:
    """Sort the arguments as a launch on a GPU does: None and 1 are constants, multiples of 16 are promised to be."""
    signature = inspect.signature(function)
    bound = signature.bind(*args, **keywords)
    bound.apply_defaults()
    types, constants, aligned = {}, {}, []
    for name, value in bound.arguments.items():
        is_constant = "constexpr" in str(signature.parameters[name].annotation)
        kind, key = (
            ("constexpr", None) if is_constant else native_specialize_impl(CUDABackend, value, False, True, True)
        )
        if kind == "constexpr":
            constants[name] = value
        else:
            types[name] = kind
            aligned += [name] if key == "D" else []
    return {"types": types, "constants": constants, "aligned": aligned}


@contextmanager
def recording() -> Iterator[list[dict[str, Any]]]:
    """Collect the launches of every kernel instead of running it, whatever module calls it."""
    launches: list[dict[str, Any]] = []
    names = {id(kernel): name for name, kernel in kernels_by_name().items()}
    places = [(module, *item) for module in modules() for item in list(vars(module).items()) if id(item[1]) in names]
    try:
        for module, name, kernel in places:
            setattr(module, name, Recorder(names[id(kernel)], kernel, launches))
        yield launches
    finally:
        for module, name, kernel in places:
            setattr(module, name, kernel)


def lengths(twin: kernel_twins.Twin, odd: bool) -> dict[str, int]:
    """Lengths of all axes that fill every block; multiples of 16 or odd. Longer ones than LARGEST a kernel refuses."""
    ranks = [len(text.split()) + text.count("*shape") for text in kernel_twins.cases.shapes(twin.forward).values()]
    length, largest = 2 ** -(-LOGARITHM // max(ranks, default=1)) + odd, kernel_twins.largest(twin.forward)
    return {axis: min(length, largest.get(axis, length + odd) - odd) for axis in kernel_twins.axes(twin.forward)}


def launches(dtype: torch.dtype, odd: bool = False) -> list[dict[str, Any]]:
    """Call every host function on inputs drawn for it, and its backward pass; the different launches, in order."""
    with recording() as found:
        for twin in kernel_twins.twins().values():
            for setting in kernel_twins.settings(twin.forward):
                rng = np.random.default_rng(0)
                arguments = kernel_twins.draw(twin.forward, rng, lengths(twin, odd), setting, dtype)
                twin.host(*arguments.values())
                if twin.backward:
                    wanted = [v.requires_grad_() if kernel_twins.has_gradient(v) else v for v in arguments.values()]
                    outputs = [output for output in kernel_twins.outputs(twin.host(*wanted)) if output.requires_grad]
                    torch.autograd.backward(outputs, [torch.ones_like(output) for output in outputs])
    return list({json.dumps(launch, sort_keys=True): launch for launch in found}.values())


def jobs() -> list[dict[str, Any]]:
    """What to compile: each launch for each GPU and dtype, once more with odd sizes, and what to call it."""
    wanted = []
    for dtype_name, odd, gpus in (
        ("float32", False, GPUS),
        ("float16", False, ["sm_90"]),
        ("float32", True, ["sm_90"]),
    ):
        found = launches(DTYPES[dtype_name], odd)
        for launch, distinction in zip(found, distinctions(found), strict=True):
            for gpu in gpus:
                variant = " ".join([gpu, dtype_name, *(["odd sizes"] if odd else []), *distinction])
                wanted.append(launch | {"gpu": gpu, "variant": variant})
    return wanted


def distinctions(found: list[dict[str, Any]]) -> list[list[str]]:
    """In what each launch differs from the other ones of its kernel, as "name=value"."""

    def fields(launch: dict[str, Any]) -> dict[str, str]:
        values = launch["constants"] | launch["options"]
        return dict.fromkeys(launch["types"], "given") | {name: str(value) for name, value in values.items()}

    def differs(launch: dict[str, Any], name: str) -> bool:
        others = [other for other in found if other["kernel"] == launch["kernel"]]
        return len({fields(other).get(name) for other in others}) > 1

    return [[f"{k}={v}" for k, v in fields(launch).items() if differs(launch, k)] for launch in found]


def build(
    kernel: str, types: dict, constants: dict, aligned: list, options: dict, gpu: str, variant: str
) -> dict[str, Any]:
    """Compile one launch; count its registers, its stack, its shared memory, its dots and its instructions."""
    module, name = kernel.rsplit(".", 1)
    function = getattr(importlib.import_module(f"kernels.{module}"), name)
    signature = {argument: types.get(argument, "constexpr") for argument in function.arg_names}
    indices = {argument: (index,) for index, argument in enumerate(function.arg_names)}
    attributes = {indices[argument]: [["tt.divisibility", 16]] for argument in aligned}
    values = {indices[argument]: value for argument, value in constants.items()}
    source = ASTSource(function, signature, values, attributes)
    compiled = triton.compile(source, target=GPUTarget("cuda", GPUS[gpu], 32), options=options)
    registers, stack = resources(compiled.asm["cubin"])
    dots = len(re.findall(r"\btt\.dot\b", compiled.asm["ttir"]))
    figures = {"registers": registers, "stack": stack, "shared": compiled.metadata.shared, "dots": dots}
    counted = Counter(kind for line in INSTRUCTION.findall(compiled.asm["ptx"]) for kind in kinds(line))
    return figures | {kind: counted[kind] for kind in INSTRUCTIONS}


def resources(cubin: bytes) -> tuple[int, int]:
    """The registers of a thread, and the bytes of its stack, to which the assembler spills those that are too many."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", file.name]
        usage = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    registers, stack = re.search(r"REG:(\d+) STACK:(\d+)", usage).groups()
    return int(registers), int(stack)


def kinds(instruction: str) -> list[str]:
    """As what a PTX instruction is counted; most are not."""
    return [kind for kind, pattern in INSTRUCTIONS.items() if re.match(pattern, instruction)]


def why_not() -> str | None:
    """Say why Triton's assembler cannot run on this machine; None where it can."""
    try:
        subprocess.run([triton.knobs.nvidia.ptxas.path, "--version"], check=True, capture_output=True)
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        return f"the ptxas of triton does not run here: {error}"
    return None


def compile_all(wanted: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Compile in another process, what has changed since the last time; the figures by kernel and variant."""
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(ROOT / "_build" / "triton")}
    command = [sys.executable, "-m", "tests.ahead_of_time", "--build"]
    text = json.dumps(wanted)
    done = subprocess.run(command, input=text, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    table: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in sorted(kernels_by_name())}
    for job, figures in zip(wanted, json.loads(done.stdout), strict=True):
        table[job["kernel"]][job["variant"]] = figures
    return table


def write(table: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Write the table with one line for each variant, so that a difference can be read."""
    blocks = []
    for kernel, variants in table.items():
        lines = [f"  {json.dumps(variant)}: {json.dumps(figures)}" for variant, figures in sorted(variants.items())]
        blocks.append(f" {json.dumps(kernel)}: {{\n" + ",\n".join(lines) + "\n }")
    TABLE.write_text("{\n" + ",\n".join(blocks) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["--build"]:
        print(json.dumps([build(**job) for job in json.load(sys.stdin)]))
    else:
        write(compile_all(jobs()))
        print(f"{TABLE.relative_to(ROOT)}: {len(kernels_by_name())} kernels")
