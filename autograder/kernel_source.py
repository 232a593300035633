"""A student's kernels cut out of a notebook, to be judged alone: no other cell of it can help or disguise them.

Triton's interpreter runs a kernel as the Python that it is written in. So what a kernel may say is what Triton's
compiler would take: `tl`, its arguments, other kernels, and constants.
"""

import ast
import importlib
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from types import ModuleType
from typing import Any

from autograder.forbidden import statements

BUILTINS = {"range", "min", "max", "abs", "len", "int", "float", "bool", "print", "slice", "NotImplementedError"}
OF_TRITON = {"cdiv", "next_power_of_2"}
UNKNOWN_TO_TRITON = (
    ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal, ast.ClassDef, ast.AsyncFunctionDef, ast.Lambda, ast.Try,
    ast.TryStar, ast.With, ast.AsyncWith, ast.AsyncFor, ast.Await, ast.Yield, ast.YieldFrom, ast.Delete, ast.Match,
    ast.NamedExpr, ast.GeneratorExp, ast.DictComp, ast.SetComp,
)  # fmt: skip


class NotAKernelError(ValueError):
    """What a student must change before a kernel can be judged; the text is for them."""


def alone(cells: Sequence[str], name: str, given: Collection[str]) -> list[str]:
    """The kernel of this name from the sources of a notebook's cells, with the kernels and constants it may call on.

    Each comes as a cell of its own, at the lines where it stood; of two with one name the later one counts. `given`
    names the functions that are there already. Raises NotAKernelError if there is no such kernel, or if one says what
    no kernel can.
    """
    found: dict[str, tuple[ast.stmt, str]] = {}
    for cell in cells:
        for statement in statements(cell):
            for bound in _bound(statement):
                found[bound] = (statement, cell)
    if name not in found or not isinstance(found[name][0], ast.FunctionDef):
        raise NotAKernelError(
            f"there is no kernel {name}: define it at the top level of a cell, with @triton.jit in front of it"
        )
    known = {*found, *given}
    needed = _needed(name, found)
    for one in needed:
        statement = found[one][0]
        if isinstance(statement, ast.FunctionDef):
            _require_kernel(statement, known)
    return [_at_its_lines(*found[one]) for one in needed]


def defined(cells: Sequence[str]) -> set[str]:
    """The functions that these cells define."""
    return {node.name for cell in cells for node in statements(cell) if isinstance(node, ast.FunctionDef)}


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The name that a statement gives to a kernel or to a constant."""
    match statement:
        case ast.FunctionDef(name=name, decorator_list=[ast.Attribute(ast.Name("triton"), "jit") | ast.Name("jit")]):
            yield name
        case ast.Assign([ast.Name(name)], value) | ast.AnnAssign(ast.Name(name), _, value) if _is_constant(value):
            yield name


def _is_constant(value: ast.expr | None) -> bool:
    match value:
        case ast.Constant(int() | float() | bool()):
            return True
        case ast.UnaryOp(ast.USub(), ast.Constant(int() | float())):
            return True
        case ast.Call(ast.Attribute(ast.Name("tl"), "constexpr"), [argument], []):
            return _is_constant(argument)
    return False


def _needed(name: str, found: dict[str, tuple[ast.stmt, str]]) -> list[str]:
    """A kernel and all that it calls on, in the order of the notebook."""
    waiting, needed = [name], set[str]()
    while waiting:
        one = waiting.pop()
        if one in found and one not in needed:
            needed.add(one)
            waiting += [node.id for node in ast.walk(found[one][0]) if isinstance(node, ast.Name)]
    return [one for one in found if one in needed]


def _at_its_lines(statement: ast.stmt, cell: str) -> str:
    """The text of a statement behind as many empty lines as it had lines before it, so that errors name its own."""
    decorators = statement.decorator_list if isinstance(statement, ast.FunctionDef) else []
    first = min([statement.lineno, *(decorator.lineno for decorator in decorators)])
    lines = cell.splitlines()[first - 1 : statement.end_lineno]
    text = "\n".join(lines)
    try:
        same = ast.dump(ast.parse(text)) == ast.dump(ast.Module([statement], []))
    except SyntaxError:
        same = False
    return "\n" * (first - 1) + text if same else ast.unparse(statement)  # a magic in front may have moved lines


def _require_kernel(function: ast.FunctionDef, known: set[str]) -> None:
    """Raise NotAKernelError unless Triton could compile what the function says."""
    local = {argument.arg for argument in ast.walk(function.args) if isinstance(argument, ast.arg)}
    local |= {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    inside = [node for node in ast.walk(function) if node is not function and node not in function.decorator_list]
    for node in inside:
        _require_statement(function.name, node)
    for node in reversed(inside):  # of a.b.c first a, then a.b
        _require_known(function.name, node, known | local | BUILTINS)


def _require_statement(kernel: str, node: ast.AST) -> None:
    where = f"{kernel}, line {getattr(node, 'lineno', '?')}"
    match node:
        case ast.FunctionDef():
            raise NotAKernelError(f"{where}: a kernel can't define a function inside: write it beside, @triton.jit too")
        case ast.Raise(ast.Call(ast.Name("NotImplementedError"))):
            return
        case ast.Raise() | ast.Assert():
            raise NotAKernelError(f"{where}: a kernel can't raise errors; use tl.device_assert")
        case _ if isinstance(node, UNKNOWN_TO_TRITON):
            raise NotAKernelError(f"{where}: Triton has no {type(node).__name__} in a kernel")


def _require_known(kernel: str, node: ast.AST, names: set[str]) -> None:
    where = f"{kernel}, line {getattr(node, 'lineno', '?')}"
    match node:
        case ast.Name(name) if name in ("tl", "triton") or name in names:
            return
        case ast.Name(name):
            raise NotAKernelError(
                f"{where}: a kernel can't use {name}, only tl, its arguments, other @triton.jit functions and constants"
            )
        case ast.Attribute(ast.Name("tl"), name) if name in _of_tl() or name == "math":
            return
        case ast.Attribute(ast.Attribute(ast.Name("tl"), "math"), name) if not name.startswith("_"):
            return
        case ast.Attribute(ast.Name("triton"), name) if name in OF_TRITON:
            return
        case ast.Attribute(ast.Name("tl" | "triton" as package), name):
            raise NotAKernelError(f"{where}: there is no {package}.{name} that a kernel could use")
        case ast.Attribute(_, name) if name not in _of_tensors():
            raise NotAKernelError(f"{where}: .{name} is nothing that a tensor in a kernel has")
        case ast.keyword(str() as name) if name.startswith("_"):
            raise NotAKernelError(f"{where}: there is no argument {name}")


def _language() -> Any:
    importlib.import_module("kernels")  # before triton, which must know whether it interprets
    return importlib.import_module("triton.language")


@cache
def _of_tl() -> frozenset[str]:
    """What the language has for kernels: its functions and types, and no module below it."""
    tl = _language()
    public = {name for name in dir(tl) if not name.startswith("_")}
    return frozenset(name for name in public if not isinstance(getattr(tl, name), ModuleType))


@cache
def _of_tensors() -> frozenset[str]:
    """What a tensor, its type and a constant have, without the way to what the interpreter keeps in them."""
    tl = _language()
    public = {name for kind in (tl.tensor, tl.dtype, tl.constexpr) for name in dir(kind) if not name.startswith("_")}
    return frozenset((public | {"dtype", "shape", "type", "value", "numel", "element_ty"}) - {"handle"})
