"""A student's kernels cut out of a notebook, to be judged alone: no other cell of it can help or disguise them.

Triton's interpreter runs a kernel as the Python that it is written in. So what a kernel may say is what Triton's
compiler would take: `tl`, its arguments, other kernels, and constants.
"""

import ast
import builtins
import importlib
import math
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from itertools import chain
from types import ModuleType
from typing import Any

from autograder.forbidden import LONGEST, statements

SETUP = "import math\n\nimport numpy as np\nfrom triton import jit"  # what else a kernel may have been written with
BUILTINS = {
    "range", "min", "max", "abs", "len", "int", "float", "bool", "print", "slice", "list", "isinstance", "hasattr",
    "NotImplementedError",
}  # fmt: skip
OF_MODULES = {
    "triton": {"cdiv", "next_power_of_2"},
    "math": {name for name in dir(math) if not name.startswith("_")},
    "np": {"pi", "e", "inf", "nan"},
}
UNKNOWN_TO_TRITON = (
    ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal, ast.ClassDef, ast.AsyncFunctionDef, ast.Lambda, ast.Try,
    ast.TryStar, ast.With, ast.AsyncWith, ast.AsyncFor, ast.Await, ast.Yield, ast.YieldFrom, ast.Delete, ast.Match,
    ast.NamedExpr, ast.GeneratorExp, ast.DictComp, ast.SetComp, ast.Dict, ast.Set,
)  # fmt: skip


class NotAKernelError(ValueError):
    """What a student must change before a kernel can be judged; the text is for them."""


def alone(cells: Sequence[str], name: str, given: Sequence[str]) -> list[str]:
    """The kernel of this name from the sources of a notebook's cells, with the kernels and constants it may call on.

    Each comes as a cell of its own, at the lines where it stood; of two with one name the later one counts. `given`
    holds the cells that run in front of them. Raises NotAKernelError if there is no such kernel, or if one says what
    no kernel can.
    """
    try:
        return _alone(cells, name, given)
    except RecursionError as error:
        raise NotAKernelError(f"{name} or what it calls is nested too deeply: use shorter expressions") from error


def _alone(cells: Sequence[str], name: str, given: Sequence[str]) -> list[str]:
    found: dict[str, tuple[ast.stmt, str]] = {}
    for cell in _affordable(cells):
        for statement in statements(cell):
            for bound in _bound(statement):
                found[bound] = (statement, cell)
    if name not in found or not isinstance(found[name][0], ast.FunctionDef):
        raise NotAKernelError(_why_none(cells, name))
    before = list(chain.from_iterable(map(statements, (*given, SETUP))))
    known = {*found, *(bound for statement in before for bound in _bound(statement))} | BUILTINS
    taken = _taken(before)
    needed = [found[one] for one in _needed(name, found)]
    for statement, _ in needed:
        _require_own_name(statement, taken)
        if isinstance(statement, ast.FunctionDef):
            _require_kernel(statement, known)
    return [_at_its_lines(statement, cell) for statement, cell in needed]


def _affordable(cells: Sequence[str]) -> Iterator[str]:
    """The cells that are read: those that fit into a bound together."""
    room = LONGEST
    for cell in cells:
        if len(cell) <= room:
            room -= len(cell)
            yield cell


def _why_none(cells: Sequence[str], name: str) -> str:
    there = any(
        isinstance(node, ast.FunctionDef) and node.name == name
        for cell in _affordable(cells)
        for node in statements(cell)
    )
    if there:
        return f"{name} must have the decorator @triton.jit, and no other: what launches it gives the sizes of blocks"
    return f"there is no kernel {name}: define it at the top level of a cell, with @triton.jit in front of it"


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement gives to a kernel or to constants."""
    match statement:
        case ast.FunctionDef(name=name, decorator_list=[decorator]) if _is_jit(decorator):
            yield name
        case ast.Assign([ast.Tuple(targets)], ast.Tuple(values)) if len(targets) == len(values):
            if all(isinstance(target, ast.Name) for target in targets) and all(map(_is_constant, values)):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
        case ast.Assign(targets, value) if _is_constant(value):
            if all(isinstance(target, ast.Name) for target in targets):
                yield from (target.id for target in targets if isinstance(target, ast.Name))
        case ast.AnnAssign(ast.Name(name), ast.Attribute(ast.Name("tl"), "constexpr") | ast.Constant(), value):
            if _is_constant(value):
                yield name
        case ast.AnnAssign(ast.Name(name), ast.Name("int" | "float" | "bool"), value) if _is_constant(value):
            yield name


def _is_jit(decorator: ast.expr) -> bool:
    """True for triton.jit, with or without options that are written out."""
    match decorator:
        case ast.Attribute(ast.Name("triton"), "jit") | ast.Name("jit"):
            return True
        case ast.Call(function, [], keywords) if not isinstance(function, ast.Call):
            return _is_jit(function) and all(keyword.arg and _is_literal(keyword.value) for keyword in keywords)
    return False


def _is_literal(value: ast.expr) -> bool:
    return all(isinstance(node, ast.Constant | ast.List | ast.Tuple | ast.Load) for node in ast.walk(value))


def _is_constant(value: ast.expr | None) -> bool:
    match value:
        case ast.Constant():
            return True
        case ast.UnaryOp(_, operand):
            return _is_constant(operand)
        case ast.BinOp(left, _, right):
            return _is_constant(left) and _is_constant(right)
        case ast.Tuple(elements):
            return all(map(_is_constant, elements))
        case ast.Attribute(ast.Name("tl"), name):
            return name in _dtypes()
        case ast.Attribute(ast.Name("math" | "np" as module), name):
            return name in OF_MODULES[module]
        case ast.Call(ast.Attribute(ast.Name("tl"), "constexpr") | ast.Name("float"), [argument], []):
            return _is_constant(argument)
        case ast.Call(ast.Attribute(ast.Name("math"), _) as function, arguments, []):
            return _is_constant(function) and all(map(_is_constant, arguments))
    return False


def _taken(before: Sequence[ast.stmt]) -> set[str]:
    """The names that launching a kernel stands on: imports, functions that are no kernels, Python's own."""
    nodes = list(chain.from_iterable(map(ast.walk, before)))
    taken = {node.id for node in nodes if isinstance(node, ast.Name)}.intersection(dir(builtins))
    taken |= {node.asname or node.name for node in nodes if isinstance(node, ast.alias)}
    return taken | {node.name for node in before if isinstance(node, ast.FunctionDef)} - set(
        chain.from_iterable(map(_bound, before))
    )


def _require_own_name(statement: ast.stmt, taken: Collection[str]) -> None:
    """Raise NotAKernelError if a kernel or a constant takes the place of what launches the kernels."""
    for name in _bound(statement):
        if name in taken:
            raise NotAKernelError(f"line {statement.lineno}: {name} is a name that this page needs: choose another one")


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
    if same and _begins_once(statement, text):
        return "\n" * (first - 1) + text
    return _rewritten(statement)  # a magic in front may have moved lines


def _begins_once(statement: ast.stmt, text: str) -> bool:
    """False where Triton's interpreter would run other text: it begins at the last line that starts with def."""
    starts = [line for line in text.splitlines() if line.strip().startswith("def ")]
    return len(starts) == 1 or not isinstance(statement, ast.FunctionDef)


def _rewritten(statement: ast.stmt) -> str:
    """A statement without comments and docstring, which alone could spread over several lines."""
    if isinstance(statement, ast.FunctionDef) and ast.get_docstring(statement) is not None:
        statement.body[0] = ast.copy_location(ast.Pass(), statement.body[0])
    text = ast.unparse(statement)
    if not _begins_once(statement, text):
        raise NotAKernelError("begin no line of a kernel with def but its first")
    return text


def _require_kernel(function: ast.FunctionDef, known: set[str]) -> None:
    """Raise NotAKernelError unless Triton could compile what the function says."""
    for default in (*function.args.defaults, *function.args.kw_defaults):
        if default is not None and not (isinstance(default, ast.Name | ast.Attribute) or _is_constant(default)):
            raise NotAKernelError(f"{function.name}, line {default.lineno}: a default value must be a constant")
    parts = _parts(function.args, known)  # here the names of the body are others
    parts += _parts(function.returns, known) if function.returns else []
    inside = known | _local(function)
    parts += chain.from_iterable(_parts(statement, inside) for statement in function.body)
    for node, _ in parts:
        _require_statement(function.name, node)
    for node, names in parts:
        _require_known(function.name, node, names)


def _local(function: ast.FunctionDef) -> set[str]:
    """The arguments and variables of a function; the variable of a comprehension is none of them."""
    names = {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)}
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        match waiting.pop():
            case ast.ListComp(_, [first, *_]):
                waiting.append(first.iter)
            case ast.Name(name, ast.Store()):
                names.add(name)
            case node:
                waiting += ast.iter_child_nodes(node)
    return names


def _parts(whole: ast.AST, known: Collection[str]) -> list[tuple[ast.AST, Collection[str]]]:
    """What a piece of a kernel consists of, smaller parts first, each with the names that are known there."""
    parts, waiting = [], [(whole, known)]
    while waiting:
        node, names = waiting.pop()
        match node:
            case ast.arg(annotation=ast.Attribute(ast.Name("torch"), "Tensor")):
                continue
            case ast.ListComp(element, [ast.comprehension(ast.Name(name), values, conditions)]):
                waiting += [(values, names), *((part, {*names, name}) for part in (element, *conditions))]
            case ast.Attribute(ast.Name("tl" | "triton" | "math" | "np")):
                pass  # a module by itself says nothing
            case ast.Attribute(ast.Attribute(ast.Name("tl"), "math")):
                pass
            case _:
                waiting += [(child, names) for child in ast.iter_child_nodes(node)]
        parts.append((node, names))
    return parts[::-1]


def _require_statement(kernel: str, node: ast.AST) -> None:
    where = f"{kernel}, line {getattr(node, 'lineno', '?')}"
    match node:
        case ast.FunctionDef():
            raise NotAKernelError(f"{where}: a kernel can't define a function inside: write it beside, @triton.jit too")
        case ast.Raise(ast.Call(ast.Name("NotImplementedError"))):
            return
        case ast.Raise():
            raise NotAKernelError(f"{where}: a kernel can't raise errors; use tl.device_assert")
        case ast.Attribute(ctx=ast.Store()) | ast.Subscript(ctx=ast.Store()):
            raise NotAKernelError(f"{where}: a kernel can't assign to a part of anything; use tl.where, or tl.store")
        case ast.comprehension():
            raise NotAKernelError(f"{where}: Triton knows comprehensions with one for and one variable only")
        case _ if isinstance(node, UNKNOWN_TO_TRITON):
            raise NotAKernelError(f"{where}: Triton has no {type(node).__name__} in a kernel")


def _require_known(kernel: str, node: ast.AST, names: Collection[str]) -> None:
    where = f"{kernel}, line {getattr(node, 'lineno', '?')}"
    match node:
        case ast.Name("libdevice"):
            raise NotAKernelError(f"{where}: libdevice is on a GPU only, and kernels run without one here: use tl.math")
        case ast.Name(name) if name not in names:
            raise NotAKernelError(
                f"{where}: a kernel can't use {name}, only tl, its arguments, other @triton.jit functions and constants"
            )
        case ast.Attribute(ast.Name("tl"), name) if name in _of_tl():
            return
        case ast.Attribute(ast.Attribute(ast.Name("tl"), "math"), name) if name in _of_math():
            return
        case ast.Attribute(ast.Name("triton" | "math" | "np" as package), name) if name in OF_MODULES[package]:
            return
        case ast.Attribute(ast.Attribute(ast.Name("tl"), "math"), name):
            raise NotAKernelError(f"{where}: there is no tl.math.{name} that a kernel could use")
        case ast.Attribute(ast.Name("tl" | "triton" | "math" | "np" as package), name):
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
def _of_math() -> frozenset[str]:
    functions = vars(_language().math)
    return frozenset(name for name, what in functions.items() if getattr(what, "__triton_builtin__", False))


@cache
def _dtypes() -> frozenset[str]:
    tl = _language()
    return frozenset(name for name in _of_tl() if isinstance(getattr(tl, name), tl.dtype))


@cache
def _of_tensors() -> frozenset[str]:
    """What a tensor, its type and a constant have, without the way to what the interpreter keeps in them."""
    tl = _language()
    kinds = (tl.tensor, tl.dtype, tl.constexpr, tl.tensor_descriptor)
    public = {name for kind in kinds for name in dir(kind) if not name.startswith("_")}
    return frozenset((public | {"dtype", "shape", "type", "value", "numel", "element_ty"}) - {"handle"})
