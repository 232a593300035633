"""Cut a solution function out of the reference: as a stub without its body, and whole, for the source notebook."""

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from autograder import blocks
from autograder.errors import UserError

SOLUTIONS = blocks.ROOT / "solutions"
KERNELS = blocks.ROOT / "kernels"
BARE = {"tuple": "cache", "int": "an integer", "float": "a number"}  # what comes back and is no array
BODY = '# YOUR CODE HERE\nraise NotImplementedError("not implemented yet: replace this line by your code")'


@dataclass(frozen=True)
class Definition:
    """One function of the reference, with the file that it was cut from."""

    file: Path
    source: str
    node: ast.FunctionDef


@cache
def _definitions(file: Path) -> dict[str, Definition]:
    source = file.read_text(encoding="utf-8")
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    return {node.name: Definition(file, source, node) for node in functions}


def find(name: str) -> Definition:
    """Return the definition of a function of the reference.

    `name` is a function of solutions/<stem>.py, else one of solutions/<stem>_torch.py, else one of
    kernels/<stem>.py. Raises UserError where there is none.
    """
    numpy = [file for file in sorted(SOLUTIONS.glob("*.py")) if not file.stem.endswith("_torch")]
    for file in (*numpy, *sorted(SOLUTIONS.glob("*_torch.py")), *sorted(KERNELS.glob("*.py"))):
        if name in _definitions(file):
            return _definitions(file)[name]
    raise UserError(f"no function {name!r} in solutions/ or kernels/: a question is named after what it asks for")


def _parameters(node: ast.FunctionDef) -> list[ast.arg]:
    found = [*node.args.posonlyargs, *node.args.args, node.args.vararg, *node.args.kwonlyargs, node.args.kwarg]
    return [argument for argument in found if argument]


def _signature(node: ast.FunctionDef) -> str:
    """The `def` line without annotations; a Triton kernel keeps its tl.constexpr marks, which are code."""
    bare = ast.parse(f"def f({ast.unparse(node.args)}): ...").body[0]
    assert isinstance(bare, ast.FunctionDef)
    for argument in _parameters(bare):
        if argument.annotation is not None and ast.unparse(argument.annotation) != "tl.constexpr":
            argument.annotation = None
    decorators = "".join(f"@{ast.unparse(decorator)}\n" for decorator in node.decorator_list)
    text = ast.unparse(bare.args)
    if len(text) > 66:
        kept = text.replace(": ", ":\0")  # no break between an argument and its mark
        lines = textwrap.wrap(kept, width=84, initial_indent="    ", subsequent_indent="    ")
        text = "\n".join(["", *lines, ""]).replace("\0", " ")
    return f"{decorators}def {node.name}({text}):"


def _shape(annotation: ast.expr | None) -> str | None:
    """Read 'batch d_in' in Float[Array, "batch d_in"] as '(batch, d_in)', Literal["a", "b"] as '"a" or "b"'."""
    if not isinstance(annotation, ast.Subscript) or not isinstance(annotation.value, ast.Name):
        return None
    if annotation.value.id == "Literal":
        options = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
        return " or ".join(f'"{ast.literal_eval(option)}"' for option in options)
    match annotation.slice:
        case ast.Tuple(elts=[_, ast.Constant(value=str(axes))]):
            names = re.sub(r"[{}]", "", axes).split()  # {height} is the value of another argument
            if names == ["*shape"]:
                return "any shape"
            return f"({names[0]},)" if len(names) == 1 else f"({', '.join(names)})"
    return None


def _returns(annotation: ast.expr | None) -> Iterator[str]:
    """The shapes of what comes back, in order, or in words what is no array; a bare `tuple` among them is the cache."""
    match annotation:
        case ast.Subscript(value=ast.Name(id="tuple"), slice=ast.Tuple(elts=parts)):
            for part in parts:
                yield from _returns(part)
        case ast.Name(id=kind) if kind in BARE:
            yield BARE[kind]
        case _:
            shape = _shape(annotation)
            if shape:
                yield shape


def _docstring(definition: Definition) -> str:
    """The function's docstring with the shapes of its annotations written out below."""
    node = definition.node
    lines = [ast.get_docstring(node) or ""]
    shapes = {arg.arg: _shape(arg.annotation) for arg in _parameters(node)}
    known = {name: shape for name, shape in shapes.items() if shape}
    if known:
        width = max(len(name) for name in known)
        lines += ["", "Shapes:", *(f"    {name:<{width}}  {shape}" for name, shape in known.items())]
        lines += [f"    returns {', '.join(_returns(node.returns))}"]
    return "\n".join(lines)


def _header(definition: Definition) -> str:
    text = f'"""{_docstring(definition)}'
    text += '\n"""' if "\n" in text else '"""'
    return _signature(definition.node) + "\n" + textwrap.indent(text, "    ", lambda line: bool(line.strip())) + "\n"


def stub(name: str) -> str:
    """Return what a student starts from: signature and docstring of the solution, and a friendly error as body.

    Raises UserError if there is no such function.
    """
    return _header(find(name)) + textwrap.indent(BODY, "    ")


def _body(definition: Definition) -> str:
    """The source of a function below its docstring, comments and blank lines included."""
    statements = definition.node.body
    first = statements[1] if ast.get_docstring(definition.node) else statements[0]
    lines = definition.source.splitlines()
    start = statements[0].end_lineno if ast.get_docstring(definition.node) else first.lineno - 1
    return "\n".join(lines[start : definition.node.end_lineno])


def _private_helpers(definition: Definition) -> Iterator[Definition]:
    """The functions `_name` of the same file that a function calls, in order of their definition."""
    neighbors = _definitions(definition.file)
    called = {node.id for node in ast.walk(definition.node) if isinstance(node, ast.Name)}
    for name, neighbor in neighbors.items():
        if name in called and name.startswith("_"):
            yield neighbor


def helpers_of(name: str) -> list[str]:
    """Name the private helpers of a function that are part of its answer.

    A helper with a decorator, such as @triton.jit, is not: it can't stand inside another function, so a page gives it.
    """
    return [helper.node.name for helper in _private_helpers(find(name)) if not helper.node.decorator_list]


def solved(name: str) -> str:
    """Return the stub with its body in place of the error, between nbgrader's solution marks.

    Private helpers of the reference become part of the solution. Raises UserError if there is no such function.
    """
    definition = find(name)
    helpers = "\n\n\n".join(_whole(_definitions(definition.file)[helper]) for helper in helpers_of(name))
    if helpers:
        helpers = textwrap.indent(helpers, "    ", lambda line: bool(line.strip())) + "\n\n"
    marked = f"    ### BEGIN SOLUTION\n{helpers}{_body(definition)}\n    ### END SOLUTION"
    return _header(definition) + marked


def whole(name: str) -> str:
    """Return a function of the reference with its body, for a cell that the notebook gives.

    Annotations become shapes in the docstring; private helpers stand in front. Raises UserError if there is no such
    function.
    """
    return _whole(find(name))


def _whole(definition: Definition) -> str:
    helpers = [_whole(helper) for helper in _private_helpers(definition)]
    return "\n\n\n".join([*helpers, _header(definition) + _body(definition)])
