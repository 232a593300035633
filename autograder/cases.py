"""Draw inputs for a function from its jaxtyping annotations and a random generator.

Every axis name gets a size of its own. No two axes are equally long and no drawn size is a power of two, so
that a transposed matrix or a sum over the wrong axis cannot pass by luck.
"""

import ast
import inspect
import operator
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Literal

import numpy as np
from jaxtyping import AbstractArray

Shape = tuple[int, ...]

ARRAYS: dict[str, Callable[[np.random.Generator, Shape, float], object]] = {
    "Float": lambda rng, shape, scale: scale * rng.standard_normal(shape),
    "Int": lambda rng, shape, scale: rng.integers(0, 3, shape),  # an index that every drawn axis has
    "Bool": lambda rng, shape, scale: rng.random(shape) < 0.5,
}
SUPPORTED = ", ".join(f"{kind}[Array, ...]" for kind in ARRAYS) + ", Literal[...] and numbers with a default"
VARIADIC_RANK = 2  # "*shape" becomes two axes

_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


def draw(
    function: Callable[..., Any],
    rng: np.random.Generator,
    *,
    scale: float = 1.0,
    sizes: Mapping[str, int] | None = None,
) -> dict[str, object]:
    """Draw one argument for every parameter of the function, by name.

    Arrays are NumPy arrays; Float is normal with standard deviation `scale`. `sizes` fixes the length of axes
    by name. Raises ValueError at an annotation that cannot be drawn, or where `sizes` names an unknown axis.
    """
    hints = _parameter_hints(function)
    lengths = _draw_lengths(function, _axes(hints), dict(sizes or {}), rng)
    return {name: _draw_value(hint, lengths, rng, scale) for name, hint in hints.items()}


def alternating(array: Any, size: float) -> np.ndarray[Any, Any]:
    """An array of this shape with the entries size, -size, size, ..."""
    return np.where(np.arange(array.size) % 2, -size, size).reshape(array.shape)


def literals(function: Callable[..., Any]) -> dict[str, tuple[object, ...]]:
    """Return the choices of every Literal parameter, by name."""
    hints = _parameter_hints(function)
    return {name: typing.get_args(hint) for name, hint in hints.items() if _is_literal(hint)}


def shapes(function: Callable[..., Any]) -> dict[str, str]:
    """Return the axes of every array parameter as written, such as "batch d_in", by name."""
    hints = _parameter_hints(function)
    return {name: hint.dim_str for name, hint in hints.items() if not _is_literal(hint)}


@cache
def _parameter_hints(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the annotation of every parameter in order; raise ValueError where one cannot be drawn."""
    bare = inspect.unwrap(function)  # the jaxtyping import hook wraps every function
    hints = typing.get_type_hints(bare)
    parameters = {name: _hint(hints.get(name), p.default) for name, p in inspect.signature(bare).parameters.items()}
    for name, hint in parameters.items():
        _check_hint(bare.__name__, name, hint)
    return parameters


def _hint(annotation: Any, default: object) -> Any:
    """Read a number with a default, such as `axis: int = -1`, as a choice of one."""
    is_fixed = annotation in (int, float) and default is not inspect.Parameter.empty
    return Literal.__getitem__(default) if is_fixed else annotation


def _check_hint(function_name: str, name: str, hint: Any) -> None:
    """Raise ValueError unless the parameter can be drawn."""
    if _is_literal(hint):
        return
    if not _is_array(hint):
        came = "no annotation" if hint is None else f"the annotation {hint}"
        raise ValueError(_unsupported(function_name, name, came))
    if hint.dtype.__name__ not in ARRAYS:
        raise ValueError(_unsupported(function_name, name, f"an array of {hint.dtype.__name__}"))
    for axis in hint.dim_str.split():
        try:
            _names(axis)
        except ValueError as error:
            raise ValueError(_unsupported(function_name, name, str(error))) from None


def _unsupported(function_name: str, name: str, came: str) -> str:
    return f"{function_name}: cannot draw parameter {name!r}: it has {came}; supported are {SUPPORTED}"


def _is_literal(hint: Any) -> bool:
    return typing.get_origin(hint) is Literal


def _is_array(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, AbstractArray)


def _axes(hints: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Return every axis that is written in the annotations, and the names that its length depends on."""
    written = [axis for hint in hints.values() if _is_array(hint) for axis in hint.dim_str.split()]
    return {axis: _names(axis) for text in written for axis in _unpacked(text)}


def _unpacked(axis: str) -> list[str]:
    """Return the axes that one axis of an annotation stands for: "*shape" is several, any other is itself."""
    return [f"{axis[1:]}_{k}" for k in range(VARIADIC_RANK)] if axis.startswith("*") else [axis]


@cache
def _names(axis: str) -> frozenset[str]:
    """Return the names in one axis of an annotation; raise ValueError where it cannot be computed."""
    text = axis.removeprefix("*")
    names = frozenset(node.id for node in ast.walk(_parse(text)) if isinstance(node, ast.Name))
    _evaluate(text, dict.fromkeys(names, 3))
    return names


@cache
def _parse(axis: str) -> ast.expr:
    try:
        return ast.parse(axis, mode="eval").body
    except SyntaxError:
        raise ValueError(_misread(axis)) from None


def _misread(axis: str) -> str:
    return f"the axis {axis!r}; an axis is made of names, integers, +, -, * and //"


def _evaluate(axis: str, lengths: Mapping[str, int]) -> int:
    """Compute the length of an axis such as "4*d_h" from the lengths of the names in it, without eval."""

    def value(node: ast.expr) -> int:
        match node:
            case ast.Constant(value=int(number)):
                return number
            case ast.Name(id=name):
                return lengths[name]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](value(left), value(right))
        raise ValueError(_misread(axis))

    return value(_parse(axis))


def _draw_lengths(
    function: Callable[..., Any],
    axes: Mapping[str, frozenset[str]],
    fixed: dict[str, int],
    rng: np.random.Generator,
) -> dict[str, int]:
    """Draw a length for every axis name that is not fixed, such that no two axes are equally long."""
    names = list(dict.fromkeys(name for axis in axes for name in sorted(axes[axis])))
    if unknown := fixed.keys() - set(names):
        raise ValueError(f"{function.__name__} has no axis {sorted(unknown)}; its axes are {names}")
    free = [name for name in names if name not in fixed]
    for _ in range(1000):
        lengths = fixed | dict(zip(free, _distinct_lengths(len(free), rng), strict=True))
        if _is_telling(axes, lengths, fixed):
            return lengths
    raise ValueError(f"{function.__name__}: no lengths fit its axes {list(axes)} with these fixed: {fixed}")


def _distinct_lengths(count: int, rng: np.random.Generator) -> list[int]:
    """Draw distinct small lengths, none a power of two, from a range that leaves a few unused."""
    lengths = _not_powers_of_two()
    pool = [next(lengths) for _ in range(count + 2)]
    return [int(length) for length in rng.choice(pool, count, replace=False)]


def _not_powers_of_two() -> Iterator[int]:
    """Yield 3, 5, 6, 7, 9, 10, 11, ..."""
    length = 3
    while True:
        if length & (length - 1):
            yield length
        length += 1


def _is_telling(axes: Mapping[str, frozenset[str]], lengths: Mapping[str, int], fixed: Mapping[str, int]) -> bool:
    """Say whether every axis that is not fixed has a positive length that no other axis has."""
    computed = {axis: _evaluate(axis, lengths) for axis in axes}
    every = list((computed | dict(lengths)).values())
    drawn = [length for axis, length in computed.items() if not axes[axis] <= fixed.keys()]
    return all(length > 0 and every.count(length) == 1 for length in drawn) and min(every, default=1) >= 0


def _draw_value(hint: Any, lengths: Mapping[str, int], rng: np.random.Generator, scale: float) -> object:
    if _is_literal(hint):
        choices = typing.get_args(hint)
        return choices[int(rng.integers(len(choices)))]
    shape = tuple(_evaluate(axis, lengths) for text in hint.dim_str.split() for axis in _unpacked(text))
    return ARRAYS[hint.dtype.__name__](rng, shape, scale)
