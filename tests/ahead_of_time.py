"""Compile kernels for GPUs that are not there: record how they are launched, build them, read the code.

Triton decides once, while it is imported, whether it interprets. So the tests, which interpret, record the
launches, and `TRITON_INTERPRET=0 python -m tests.ahead_of_time` compiles them in a process of its own, with
JSON in between. Neither a GPU nor a driver is needed: the assembler ships with Triton.
"""

import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

POINTERS = {torch.float32: "*fp32", torch.float16: "*fp16", torch.int32: "*i32", torch.int64: "*i64"}


class Recorder:
    """Stand in for a kernel: append the types and constants of each launch to a list, then launch."""

    def __init__(self, module, name: str, launches: list[dict]):
        self.kernel, self.launches = getattr(module, name), launches
        self.path = f"{module.__name__}:{name}"

    def __getitem__(self, grid):
        def launch(*args, **constants):
            signature = {}
            for name, value in zip(self.kernel.arg_names, args, strict=False):
                if value is None:
                    constants[name] = None
                else:
                    signature[name] = POINTERS[value.dtype] if isinstance(value, torch.Tensor) else "i32"
            self.launches.append({"kernel": self.path, "signature": signature, "constants": constants})
            return self.kernel[grid](*args, **{k: v for k, v in constants.items() if v is not None})

        return launch


def build(kernel: str, signature: dict, constants: dict, arch: int, round_sizes: bool) -> dict:
    """Compile one launch for sm_<arch>: the PTX, the registers of a thread, and its stack in bytes.

    With round_sizes, sizes, strides and addresses are promised to be multiples of 16.
    """
    module, name = kernel.split(":")
    function = getattr(importlib.import_module(module), name)
    types = {argument: signature.get(argument, "constexpr") for argument in function.arg_names}
    indices = [index for index, argument in enumerate(types) if round_sizes and argument in signature]
    attributes = {(index,): [["tt.divisibility", 16]] for index in indices}
    source = ASTSource(function, types, constants, attributes)
    assembly = triton.compile(source, target=GPUTarget("cuda", arch, 32)).asm
    with tempfile.NamedTemporaryFile(suffix=".cubin") as cubin:
        cubin.write(assembly["cubin"])
        cubin.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", cubin.name]
        usage = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    registers, stack = map(int, re.search(r"REG:(\d+) STACK:(\d+)", usage).groups())
    return {"ptx": assembly["ptx"], "registers": registers, "stack": stack}


def why_not() -> str | None:
    """Say why Triton's assembler cannot run on this machine; None where it can."""
    try:
        subprocess.run([triton.knobs.nvidia.ptxas.path, "--version"], check=True, capture_output=True)
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        return f"the ptxas of triton does not run here: {error}"
    return None


def compiled(jobs: list[dict], cache: str) -> list[dict]:
    """Build all jobs in another process, which keeps its files in the folder cache."""
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": cache}
    command = [sys.executable, "-m", "tests.ahead_of_time"]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, input=json.dumps(jobs), env=environment, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [job | result for job, result in zip(jobs, json.loads(done.stdout), strict=True)]


if __name__ == "__main__":
    print(json.dumps([build(**job) for job in json.load(sys.stdin)]))
