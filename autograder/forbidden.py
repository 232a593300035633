"""Find in a submission's source whether an answer uses what its question forbids.

Only what the answer can reach counts: the functions that the question calls, and from there the definitions at the
top level of the cells whose names are used, and so on. Whoever compares with the forbidden function elsewhere loses
nothing. Names are followed through imports and assignments; check.Watch sees at run time what hides from that.
"""

import ast
import builtins
import re
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain

from IPython.core.inputtransformer2 import TransformerManager

from autograder.check import GUARDS

# Names of the language by which others are found: these are followed as well.
FINDERS = ("builtins.getattr", "builtins.vars", "builtins.__import__", "importlib.import_module", "sys.modules.get")
# Bounds for the time that strange code can take. What lies beyond them is left to the watch at run time.
LONGEST = 100_000  # characters of all cells together
MOST_MAGICS = 20  # in a cell
DEEPEST = 12  # steps from an expression to the name that it begins with
MOST_BINDINGS = 50  # of one name
WRAPPING_MAGICS = ("capture", "prun", "time", "timeit")  # the rest of the cell is code that runs here

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


def used(cells: Sequence[str], functions: Sequence[str], forbid: Sequence[str]) -> str:
    """Return a forbidden name that the functions of these names can reach, or "".

    `cells` are the sources of the code cells that ran before the question is judged, in order. Where anything is
    forbidden, so are the functions that would end a watch at run time.
    """
    last = {name.rpartition(".")[2] for name in (*forbid, *GUARDS)}
    if not forbid or not any(last & _words(cell) for cell in cells):
        return ""  # as almost always, and at once
    reader = _Reader((*forbid, *GUARDS))
    room = LONGEST
    for cell in cells:
        if len(cell) > room:
            continue
        room -= len(cell)
        for statement in statements(cell):
            with suppress(RecursionError):
                reader.run(statement, reader.top, _Uses())
    return reader.reached(functions)


@lru_cache(maxsize=1000)
def _words(cell: str) -> frozenset[str]:
    """The words that the code of a cell is made of, those of its texts included but for docstrings."""
    nodes = list(chain.from_iterable(map(ast.walk, statements(cell))))
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    words: set[str] = set()
    for node in nodes:
        match node:
            case ast.Name(name) | ast.Attribute(attr=name) | ast.alias(name) | ast.ImportFrom(module=str() as name):
                words.update(name.split("."))
            case ast.Constant(str() as text) if id(node) not in docstrings:
                words.update(re.findall(r"\w+", text))
    return frozenset(words)


def statements(cell: str) -> list[ast.stmt]:
    """The statements of a cell; none of one with a syntax error, since it never ran."""
    try:
        tree = _parsed(cell) or (_parsed(TransformerManager().transform_cell(cell)) if _few_magics(cell) else None)
    except (RuntimeError, SyntaxError, ValueError):  # no cell that IPython could run
        return []
    return list(chain.from_iterable(map(_unwrapped, tree.body))) if tree else []


def _few_magics(cell: str) -> bool:
    """IPython reads the whole cell again for each of them."""
    return len(re.findall(r"(?m)^\s*[%!?]|=\s*[%!]|\?\s*$", cell)) <= MOST_MAGICS


def _parsed(source: str) -> ast.Module | None:
    with suppress(SyntaxError, ValueError, MemoryError, RecursionError), warnings.catch_warnings(action="ignore"):
        return ast.parse(source)
    return None


def _unwrapped(statement: ast.stmt) -> list[ast.stmt]:
    """A statement, or those of the cell that stands behind a magic such as %%time."""
    match statement:
        case ast.Expr(
            ast.Call(
                ast.Attribute(attr="run_cell_magic"), [ast.Constant(magic), ast.Constant(), ast.Constant(str() as code)]
            )
        ) if magic in WRAPPING_MAGICS:
            return statements(code)
    return [statement]


@dataclass
class _Uses:
    """What some code mentions: forbidden names, other definitions, and functions whose bodies are read later."""

    found: list[str] = field(default_factory=list)
    bindings: list["_Binding"] = field(default_factory=list)
    bodies: list[tuple[Function, "_Scope"]] = field(default_factory=list)


@dataclass(eq=False)
class _Binding:
    """One way in which a name got its value: the dotted names that the value may be, and what it was made of."""

    names: frozenset[str] = frozenset()
    uses: _Uses = field(default_factory=_Uses)


@dataclass(eq=False)
class _Scope:
    """The names of the notebook, of a function or of a comprehension.

    `own` names what is local, bound yet or not. `stars` lists the modules of `from ... import *`.
    """

    outer: "_Scope | None" = None
    own: frozenset[str] = frozenset()
    table: dict[str, list[_Binding]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)

    def holder(self, name: str) -> "_Scope":
        """The scope in which a name is looked up."""
        scope = self
        while scope.outer is not None and name not in scope.own:
            scope = scope.outer
        return scope


class _Reader:
    """Runs the statements of a submission without computing anything: only names and what they stand for."""

    def __init__(self, forbid: Sequence[str]) -> None:
        self.top = _Scope()
        self._forbid = forbid
        self._depth = 0
        self._on_the_way = {
            name[:end] for name in (*forbid, *FINDERS) for end in range(len(name) + 1) if f"{name}."[end] == "."
        }

    def reached(self, functions: Sequence[str]) -> str:
        """The first forbidden name on the way from these functions to all that they use."""
        bindings = deque(binding for name in functions for binding in self.top.table.get(name, ()))
        seen: set[_Binding] = set()
        bodies: set[int] = set()
        while bindings:
            binding = bindings.popleft()
            if binding in seen:
                continue
            seen.add(binding)
            todo = [binding.uses]
            while todo:
                uses = todo.pop()
                if uses.found:
                    return uses.found[0]
                bindings += uses.bindings
                for function, scope in uses.bodies:
                    if id(function) not in bodies:
                        bodies.add(id(function))
                        with suppress(RecursionError):
                            todo.append(self._body(function, scope))
        return ""

    # statements

    def run(self, statement: ast.stmt, scope: _Scope, uses: _Uses, maybe: bool = False) -> None:
        """Bind the names that a statement binds, and add to `uses` what else it mentions.

        With `maybe`, in a branch or a loop, a name keeps its earlier values besides.
        """
        match statement:
            case ast.Import() | ast.ImportFrom():
                self._import(statement, scope, maybe)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                made = _Uses(bodies=[(statement, scope)])
                for part in (*statement.decorator_list, *_defaults(statement)):
                    self._read(part, scope, made)
                self._bind(scope, statement.name, _Binding(uses=made), maybe)
            case ast.ClassDef():
                self._class(statement, scope, maybe)
            case ast.Assign(targets, value):
                for target in targets:
                    self._assign(target, value, scope, uses, maybe)
            case ast.AnnAssign(target, _, ast.expr() as value):
                self._assign(target, value, scope, uses, maybe)
            case ast.AnnAssign():
                pass
            case ast.AugAssign(target, _, value):
                self._assign(target, value, scope, uses, maybe=True)
            case ast.For(target, value, body, orelse) | ast.AsyncFor(target, value, body, orelse):
                self._assign(target, value, scope, uses, maybe=True)
                self._run_all([*body, *orelse], scope, uses)
            case ast.With(items, body) | ast.AsyncWith(items, body):
                for item in items:
                    self._assign(item.optional_vars, item.context_expr, scope, uses, maybe)
                self._run_all(body, scope, uses, maybe)
            case _:
                self._other(statement, scope, uses)

    def _run_all(self, body: Sequence[ast.stmt], scope: _Scope, uses: _Uses, maybe: bool = True) -> None:
        for statement in body:
            self.run(statement, scope, uses, maybe)

    def _other(self, node: ast.AST, scope: _Scope, uses: _Uses) -> None:
        """A statement of any other kind: its expressions are read, the statements below it may run."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                self.run(child, scope, uses, maybe=True)
            elif isinstance(child, ast.expr):
                self._read(child, scope, uses)
            else:  # a handler of exceptions, a case of match
                self._other(child, scope, uses)

    def _class(self, node: ast.ClassDef, scope: _Scope, maybe: bool) -> None:
        """A class uses what its bases and all of its methods use; its own names are not those of its methods."""
        made = _Uses()
        for part in (*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)):
            self._read(part, scope, made)
        inside = _Scope(scope, frozenset(_bound(node.body)))
        for statement in node.body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                self.run(statement, inside, made)
                method = inside.table[statement.name][-1]
                made.bindings.append(method)
                method.uses.bodies[:1] = [(statement, scope)]
            else:
                self.run(statement, inside, made)
        made.bindings += chain.from_iterable(inside.table.values())
        self._bind(scope, node.name, _Binding(uses=made), maybe)

    def _import(self, statement: ast.Import | ast.ImportFrom, scope: _Scope, maybe: bool) -> None:
        for alias in statement.names:
            if isinstance(statement, ast.ImportFrom):
                whole = f"{statement.module}.{alias.name}"
            else:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
            if alias.name == "*":
                self.top.stars.append(str(getattr(statement, "module", "")))
            else:
                name = alias.asname or alias.name.partition(".")[0]
                self._bind(scope, name, _Binding(self._named(whole)), maybe)

    def _assign(
        self, target: ast.expr | None, value: ast.expr, scope: _Scope, uses: _Uses, maybe: bool, read: bool = True
    ) -> None:
        """Bind the names of a target to what a value is made of; in a function, that is used on the spot too."""
        made = _Uses()
        self._read(value, scope, made)
        if read and scope is not self.top:
            _add(uses, made)
        match target, value:
            case (ast.Tuple(targets) | ast.List(targets), ast.Tuple(values) | ast.List(values)) if len(targets) == len(
                values
            ) and not any(isinstance(part, ast.Starred) for part in (*targets, *values)):
                for one, its in zip(targets, values, strict=True):
                    self._assign(one, its, scope, uses, maybe, read=False)
            case ast.Name(name), _:
                self._bind(scope, name, _Binding(self.values(value, scope), made), maybe)
            case ast.expr(), _:
                if scope is not self.top:
                    self._read(target, scope, uses)
                for name, whole in _targets(target):
                    known = scope.holder(name).table.get(name, ())
                    if whole or not any(binding.names for binding in known):  # x[0] = ..., but not torch.x = ...
                        self._bind(scope, name, _Binding(uses=made), maybe or not whole)

    def _bind(self, scope: _Scope, name: str, binding: _Binding, maybe: bool) -> None:
        table = scope.holder(name).table
        table[name] = [*(table.get(name, [])[1 - MOST_BINDINGS :] if maybe else ()), binding]

    # expressions

    def _body(self, function: Function, scope: _Scope) -> _Uses:
        """What a function mentions when it runs."""
        body = [ast.Return(function.body)] if isinstance(function, ast.Lambda) else function.body
        arguments = function.args
        every = (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg)
        parameters = {argument.arg for argument in every if argument is not None}
        inside, uses = _Scope(scope, frozenset(parameters | _bound(body))), _Uses()
        for statement in body:
            self.run(statement, inside, uses)
        return uses

    def _read(self, node: ast.AST, scope: _Scope, uses: _Uses) -> None:
        """Add what an expression mentions."""
        match node:
            case ast.Lambda():
                uses.bodies.append((node, scope))
                for part in _defaults(node):
                    self._read(part, scope, uses)
                return
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                scope = self._comprehension(node, scope)
            case ast.Call(ast.Name("isinstance" | "issubclass") as asks, [value, _]) if not scope.holder(
                asks.id
            ).table.get(asks.id):
                self._read(value, scope, uses)  # to ask what it is uses nothing
                return
            case ast.NamedExpr(ast.Name(name), value):
                self._bind(scope, name, _Binding(self.values(value, scope)), maybe=True)
            case ast.Name(name):
                uses.bindings += scope.holder(name).table.get(name, ())
        if isinstance(node, ast.Name | ast.Attribute | ast.Call | ast.Subscript):
            uses.found += sorted(self.values(node, scope).intersection(self._forbid))
        for child in ast.iter_child_nodes(node):
            self._read(child, scope, uses)

    def _comprehension(self, node: Comprehension, scope: _Scope) -> _Scope:
        """The scope of a comprehension, in which its variables are bound."""
        inside = _Scope(scope, frozenset(name for part in node.generators for name in _stored(part.target)))
        for part in node.generators:
            for name in _stored(part.target):
                self._bind(inside, name, _Binding(self._members(part.iter, scope)), maybe=True)
        return inside

    def _members(self, node: ast.expr, scope: _Scope) -> frozenset[str]:
        """The dotted names that the elements of a display may be."""
        elements = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else []
        return frozenset(chain.from_iterable(self.values(element, scope) for element in elements))

    def values(self, node: ast.AST | None, scope: _Scope) -> frozenset[str]:
        """The dotted names that an expression may stand for, as far as they lead to what is forbidden."""
        if self._depth == DEEPEST:
            return frozenset()
        self._depth += 1
        try:
            return self._values(node, scope)
        finally:
            self._depth -= 1

    def _values(self, node: ast.AST | None, scope: _Scope) -> frozenset[str]:
        match node:
            case ast.Name(name):
                return self._values_of(name, scope)
            case ast.Attribute(value, name):
                return self._members_named(value, name, scope)
            case ast.Subscript(value, ast.Constant(str() as name)):
                holders = self.values(value, scope)
                inside = self._named(*(text.removesuffix(".__dict__") + f".{name}" for text in holders))
                return self._named(name) if "sys.modules" in holders else inside
            case ast.IfExp(_, one, other):
                return self.values(one, scope) | self.values(other, scope)
            case ast.BoolOp(_, parts):
                return frozenset(chain.from_iterable(self.values(part, scope) for part in parts))
            case ast.NamedExpr(_, value):
                return self.values(value, scope)
            case ast.Call(function, [first, *others]):
                return self._called(self.values(function, scope), first, others, bool(node.keywords), scope)
        return frozenset()

    def _members_named(self, value: ast.expr, name: str, scope: _Scope) -> frozenset[str]:
        """What an attribute may be; `__dict__` leads to the same members as the thing itself."""
        holders = self.values(value, scope)
        return holders if name == "__dict__" else self._named(*(f"{holder}.{name}" for holder in holders))

    def _called(
        self, functions: frozenset[str], first: ast.expr, others: Sequence[ast.expr], keywords: bool, scope: _Scope
    ) -> frozenset[str]:
        """What the functions give that look for others by name."""
        text = first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""
        if "builtins.vars" in functions:
            return self.values(first, scope)
        if "builtins.getattr" in functions and others:
            wanted = others[0].value if isinstance(others[0], ast.Constant) else ""
            return self._members_named(first, str(wanted), scope)
        if functions & {"importlib.import_module", "sys.modules.get"}:
            return self._named(text)
        if "builtins.__import__" in functions:
            return self._named(text if len(others) > 2 or keywords else text.partition(".")[0])
        return frozenset()

    def _values_of(self, name: str, scope: _Scope) -> frozenset[str]:
        holder = scope.holder(name)
        bindings = holder.table.get(name, ())
        if bindings or holder is not self.top:
            return frozenset(chain.from_iterable(binding.names for binding in bindings))
        if hasattr(builtins, name):
            return self._named(f"builtins.{name}")
        values = [self._named(f"{module}.{name}") for module in self.top.stars]
        return frozenset(chain.from_iterable(values)) if all(values) else frozenset()  # else it may come from elsewhere

    def _named(self, *names: str) -> frozenset[str]:
        """These names, as far as they lead to what is forbidden; what lies below a forbidden name is that name."""
        kept = {name for name in names if name in self._on_the_way}
        kept |= {above for name in names for above in self._forbid if f"{name}.".startswith(f"{above}.")}
        return frozenset(kept)


def _add(uses: _Uses, more: _Uses) -> None:
    uses.found += more.found
    uses.bindings += more.bindings
    uses.bodies += more.bodies


def _defaults(function: Function) -> list[ast.expr]:
    return [*function.args.defaults, *(default for default in function.args.kw_defaults if default is not None)]


def _targets(target: ast.expr) -> Iterator[tuple[str, bool]]:
    """The names that a target changes, and whether as a whole: x in `x, y = ...` but not in `x[0] = ...`."""
    match target:
        case ast.Name(name):
            yield name, True
        case ast.Tuple(parts) | ast.List(parts):
            for part in parts:
                yield from _targets(part)
        case ast.Starred(part):
            yield from _targets(part)
        case ast.Attribute(part) | ast.Subscript(part):
            yield from ((name, False) for name, _ in _targets(part))


def _stored(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _bound(body: Sequence[ast.stmt]) -> set[str]:
    """The names that are local to a function or a class with this body."""
    bound: set[str] = set()
    shared: set[str] = set()
    todo: list[ast.AST] = list(body)
    while todo:
        node = todo.pop()
        match node:
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                bound.add(name)
                continue
            case ast.Lambda():
                continue
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                bound |= {part.target.id for part in ast.walk(node) if isinstance(part, ast.NamedExpr)}
                continue
            case ast.Global(names) | ast.Nonlocal(names):
                shared.update(names)
            case ast.Name(name, ast.Store()):
                bound.add(name)
            case ast.alias(name, other):
                bound.add(other or name.partition(".")[0])
            case (
                ast.ExceptHandler(name=str() as name)
                | ast.MatchAs(name=str() as name)
                | ast.MatchStar(name=str() as name)
            ):
                bound.add(name)
        todo += ast.iter_child_nodes(node)
    return bound - shared
