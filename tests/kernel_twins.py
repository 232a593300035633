"""Every kernel that computes what a NumPy function computes, found by name, and inputs for both.

A host function in kernels/ is the twin of the function in solutions/ that has its name. One that an exercise hands
out to launch a student's kernel is called launch_<name>, or <name> for the forward pass <name>_forward.
"""

import importlib
import itertools
import pkgutil
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch

import kernels
import solutions
from autograder import cases
from kernels import INTERPRETED
from tests import boxes, windows

DEVICE = "cpu" if INTERPRETED else "cuda"
LONG = 131  # of one axis at a time
NUMBERS = 2500  # of the largest array, where all axes are longer than usual


class Twin(NamedTuple):
    """A host function and its NumPy twin; `backward` only where autograd must give the gradients."""

    module: ModuleType
    host: Callable[..., Any]
    forward: Callable[..., Any]
    backward: Callable[..., Any] | None


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.iter_modules(package.__path__):
        if not found.name.endswith("_torch"):
            yield importlib.import_module(f"{package.__name__}.{found.name}")


def _functions(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """The public functions that a module defines; kernels are none, since only a launch can call them."""
    return {
        name: thing
        for name, thing in vars(module).items()
        if type(thing).__name__ == "function" and not name.startswith("_") and thing.__module__ == module.__name__
    }


def twins() -> dict[str, Twin]:
    """Every twin by the name of its host function."""
    numpy = {name: function for module in _modules(solutions) for name, function in _functions(module).items()}
    found = {}
    for module in _modules(kernels):
        for name, host in _functions(module).items():
            known = [n for n in (name, name.removeprefix("launch_"), f"{name}_forward") if n in numpy]
            if known:
                differentiable = known[0] == name and name.endswith("_forward")
                backward = numpy.get(f"{name.removesuffix('_forward')}_backward") if differentiable else None
                found[name] = Twin(module, host, numpy[known[0]], backward)
    return found


def settings(forward: Callable[..., Any]) -> list[dict[str, object]]:
    """Every combination of the choices of the function's Literal parameters, or the settings of its window."""
    if forward.__name__ in windows.FOR_KERNELS:
        return list(windows.FOR_KERNELS[forward.__name__])
    choices = cases.literals(forward)
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


def sizes(forward: Callable[..., Any]) -> dict[str, dict[str, int]]:
    """Lengths of the axes worth trying, by a label: one, a few, one axis long, all of them longer than a block."""
    names = axes(forward)
    ranks = [len(text.split()) + text.count("*shape") for text in cases.shapes(forward).values()]
    longer = max(3, round(NUMBERS ** (1 / max(ranks, default=1))))
    longer += 1 - longer % 2
    long = windows.LONG if max(ranks, default=1) > 3 else LONG
    wanted = {
        "all of size one": dict.fromkeys(names, 1),
        "small": {name: 3 + 2 * k for k, name in enumerate(names)},
        **{f"long {name}": {**{n: 3 + 2 * k for k, n in enumerate(names)}, name: long} for name in names},
        "all longer": {name: longer + 2 * k for k, name in enumerate(names)},
    }
    most, least = largest(forward), shortest(forward)
    return {
        label: {n: max(min(size, most.get(n, size)), least.get(n, 1)) for n, size in tried.items()}
        for label, tried in wanted.items()
    }


def largest(forward: Callable[..., Any]) -> dict[str, int]:
    """The longest axes that the kernel of a function takes, by name: LARGEST of its module, where it has limits."""
    modules = [twin.module for twin in twins().values() if twin.forward is forward]
    limits = {name: size for module in modules for name, size in getattr(module, "LARGEST", {}).items()}
    return windows.LONGEST | limits


def shortest(forward: Callable[..., Any]) -> dict[str, int]:
    """The shortest axes that a window fits into, by name."""
    return windows.SHORTEST if forward.__name__ in windows.SETTINGS else {}


def axes(forward: Callable[..., Any]) -> list[str]:
    """The names of a function's axes in order; *shape stands for two."""
    text = " ".join(cases.shapes(forward).values()).replace("*shape", "shape_0 shape_1")
    return list(dict.fromkeys(re.findall(r"[A-Za-z_]\w*", text)))


def draw(
    forward: Callable[..., Any],
    rng: np.random.Generator,
    lengths: Mapping[str, int],
    setting: Mapping[str, object],
    dtype: torch.dtype = torch.float32,
) -> dict[str, Any]:
    """Draw one argument for each parameter: tensors, and the choices of the setting. An index is in range always."""
    drawn = boxes.in_order(forward, {**cases.draw(forward, rng, sizes=lengths), **setting})
    smallest = min(lengths.values(), default=3)
    return {name: _tensor(value, dtype, smallest) for name, value in drawn.items()}


def _tensor(value: Any, dtype: torch.dtype, smallest: int) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind == "f":
        matrix = value.ndim == 2 and value.shape[0] > 1
        return torch.tensor(value / (value.shape[0] ** 0.5 if matrix else 1), dtype=dtype, device=DEVICE)
    return torch.tensor(np.minimum(value, smallest - 1), device=DEVICE)


def numpy64(value: Any) -> Any:
    """What NumPy's twin takes in place of a tensor; what is none stays."""
    if not isinstance(value, torch.Tensor):
        return value
    value = value.detach().cpu()
    return (value.double() if value.is_floating_point() else value).numpy()


def has_gradient(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def outputs(result: Any) -> list[Any]:
    """What a host function gave, as a list."""
    return list(result) if isinstance(result, tuple) else [result]


def _forward(twin: Twin, arguments: Mapping[str, Any]) -> list[Any]:
    """What the NumPy twin gives, with its cache last if it is a forward pass."""
    return outputs(twin.forward(*map(numpy64, arguments.values())))


def expected(twin: Twin, arguments: Mapping[str, Any]) -> list[Any]:
    """What the host function must give, in float64."""
    results = _forward(twin, arguments)
    return results[:-1] if twin.forward.__name__.endswith("_forward") else results


def expected_gradients(twin: Twin, arguments: Mapping[str, Any], upstream: Sequence[torch.Tensor]) -> list[Any]:
    """The gradient of each tensor of floats, in float64."""
    assert twin.backward is not None
    gradients = outputs(twin.backward(*map(numpy64, upstream), _forward(twin, arguments)[-1]))
    tensors = [value for value in arguments.values() if isinstance(value, torch.Tensor)]
    if len(gradients) == len(tensors):  # an index has None
        return [gradient for gradient, tensor in zip(gradients, tensors, strict=True) if has_gradient(tensor)]
    return gradients
