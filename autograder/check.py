"""Check an answer: call the student's function, compare what came back, name the mistake.

This file lies beside every exercise notebook, where `check("name")` reads the public cases from cases.npz. The
grader uses the same steps on fresh cases. It needs nothing but NumPy (and torch for questions about kernels).
"""

import contextlib
import copy
import gc
import html
import importlib
import inspect
import json
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

FLOAT32_TOLERANCE = 1e-4
SHARES = {"shape": 1.0, "values": 6.0, "edges": 2.0, "inputs": 1.0}
KERNEL_SHARES = {"memory": 2.0, "cost": 1.0}  # on top of them
COST_ROOM = 1.1  # how many times the bytes that it must a kernel may move
FAULTS = {  # of a kernel, where its answers show no other mistake
    "bounds": "a load or store reaches out of bounds: on a GPU it would read or overwrite other data, or end the run",
    "race": "two programs, or two lanes of one, use the same place in memory, and at least one of them stores there",
    "undefined": "a masked load without other= lets what lies outside of the mask into a result",
}
GUARDS = ("sys.setprofile", "sys.settrace", "threading.setprofile", "threading.settrace")  # these could end a watch
FORBIDDEN = "this question asks for an answer without it (to compare with it, use a cell of your own)"
UNWRITTEN = "is not implemented yet: put your code in place of `raise NotImplementedError`, run the cell, check again"


@dataclass(frozen=True)
class Case:
    """Inputs, and what must come back; the answers that each known mistake would give to the same inputs.

    The rows of the tensors named in `apart` lie apart in memory. `moves` is how many bytes a kernel must load and
    store; 0 where nobody counts.
    """

    label: str
    edge: bool
    inputs: Mapping[str, Any]
    upstream: Sequence[Any]
    expected: Sequence[Any]
    mistakes: Mapping[str, Sequence[Any]]
    apart: Sequence[str] = ()
    moves: int = 0


@dataclass(frozen=True)
class Task:
    """A question as a checker sees it.

    `calls` names the student's function, or forward and backward. `outputs` names what must come back, in order.
    `cached` says that a cache follows the outputs. `tensors` says that the function takes float32 torch tensors.
    `by_draw` says that marks go by draw, where each draw asks for something else, rather than by output.
    `messages` holds the text of each known mistake. `forbid` names what the answer must do without.
    """

    name: str
    points: float
    calls: Sequence[str]
    outputs: Sequence[str]
    cached: bool
    tensors: bool
    by_draw: bool
    tolerance: float
    messages: Mapping[str, str]
    cases: Sequence[Case]
    forbid: Sequence[str] = ()


@dataclass(frozen=True)
class Call:
    """What is asked of a student's function: all that crosses into the sandbox, so nothing of the right answer.

    `functions` are called in order: one, or forward and then backward with `upstream` and forward's cache. Where
    `forbid` names anything, they are watched.
    """

    functions: Sequence[str]
    outputs: int
    tensors: bool
    inputs: Mapping[str, Any]
    upstream: Sequence[Any]
    apart: Sequence[str] = ()
    forbid: Sequence[str] = ()


@dataclass(frozen=True)
class Answer:
    """What one call gave: arrays (or, where no array came, the name of the type that did), or an error's text.

    `used` is the forbidden name that was called on the way, if any. Of kernels, `findings` are the faults in their use
    of memory, as pairs of kind and text ("unwatched" where nobody looked), and `moved` is what they moved in bytes.
    """

    outputs: Sequence[Any] = ()
    returned: int = 0
    changed: Sequence[str] = ()
    error: str = ""
    used: str = ""
    findings: Sequence[Sequence[str]] = ()
    moved: int = 0


@dataclass(frozen=True)
class Step:
    """One line of a verdict; `share` is its weight in the question's points."""

    title: str
    passed: bool
    share: float
    message: str = ""


@dataclass(frozen=True)
class Verdict:
    """The outcome of a question: the points it earns, the steps that earned them, and the named mistake if any."""

    name: str
    points: float
    out_of: float
    steps: Sequence[Step] = field(default=())
    mistake: str = ""

    def __repr__(self) -> str:
        lines = [f"{self.name}: {self.points:g} of {self.out_of:g} points"]
        lines += [f"  {'✓' if s.passed else '✗'} {s.title}{': ' + s.message if s.message else ''}" for s in self.steps]
        return "\n".join([*lines, f"  → {self.mistake}"] if self.mistake else lines)

    def _repr_html_(self) -> str:
        left, cell = "text-align:left", "text-align:left;vertical-align:top;padding:2px 8px"
        rows = "".join(
            f'<tr><td style="{cell}">{"✓" if step.passed else "✗"}</td>'
            f'<td style="{cell}">{html.escape(step.title)}</td><td style="{cell}">{html.escape(step.message)}</td></tr>'
            for step in self.steps
        )
        mistake = f"<p><strong>Looks like:</strong> {html.escape(self.mistake)}</p>" if self.mistake else ""
        title = f"{html.escape(self.name)}: {self.points:g} of {self.out_of:g} points"
        return f'<div style="{left}"><strong>{title}</strong>{mistake}<table>{rows}</table></div>'


# --- calling the student's function -----------------------------------------------------------------------------


def call_of(task: Task, case: Case) -> Call:
    return Call(task.calls, len(task.outputs), task.tensors, case.inputs, case.upstream, case.apart, task.forbid)


def perform(namespace: Mapping[str, Any], call: Call) -> Answer:
    """Call the student's function on a copy of the inputs; an exception becomes the answer's error."""
    watch = Watch(call.forbid)
    seen = watch.python if call.forbid else contextlib.nullcontext
    memory = Memory()
    try:
        inputs = {name: _enter(value, call.tensors, name in call.apart) for name, value in call.inputs.items()}
        upstream = [_enter(value, call.tensors) for value in call.upstream]
        before = copy.deepcopy((inputs, upstream))
        with memory.watched() if call.tensors else contextlib.nullcontext(), seen():
            result = _look_up(namespace, call.functions[0])(*inputs.values())
            if len(call.functions) == 2:
                cache = _unpack_forward(call.functions[0], result, len(upstream))
                result = _look_up(namespace, call.functions[1])(*upstream, cache)
        parts = result if _is_several(result, call.outputs) else (result,)
        outputs = tuple(_leave(part) for part in parts[: call.outputs])
        changed = [name for name in inputs if not _same(before[0][name], inputs[name])]
        if not all(map(_same, before[1], upstream)):
            changed.append("a gradient that arrives")
    except KeyboardInterrupt:  # the student stops a loop in the notebook
        raise
    except BaseException as error:  # a student's code may raise anything, SystemExit included
        return Answer(error=_describe(error), used=watch.used, findings=memory.findings, moved=memory.moved)
    return Answer(outputs, len(parts), tuple(changed), "", watch.used, memory.findings, memory.moved)


def _is_several(result: Any, outputs: int) -> bool:
    """Say whether a result holds outputs; a long list where one is due is meant to be that one."""
    return isinstance(result, tuple) or (isinstance(result, list) and (outputs > 1 or len(result) <= 2))


def _look_up(namespace: Mapping[str, Any], name: str) -> Callable[..., Any]:
    if name not in namespace:
        raise NameError(f"there is no function {name}: has its cell been run, has it been renamed?")
    if not callable(namespace[name]):
        raise TypeError(f"{name} must be a function, but is a {type(namespace[name]).__name__}")
    function: Callable[..., Any] = namespace[name]
    return function


def _unpack_forward(name: str, result: Any, outputs: int) -> Any:
    if not isinstance(result, tuple | list) or len(result) != outputs + 1:
        raise ValueError(f"{name} must return {outputs} outputs and then the cache, which its backward needs")
    return result[-1]


def _enter(value: Any, tensors: bool, apart: bool = False) -> Any:
    """Copy an input; as a tensor it may have its rows lie apart, with NaN in the gaps."""
    if not isinstance(value, np.ndarray):
        return value
    if not tensors:
        return value.copy()
    import torch

    tensor = torch.tensor(value, dtype=torch.float32 if value.dtype.kind == "f" else None)
    if not apart:
        return tensor
    gaps = torch.full((len(tensor), 3), float("nan"))
    return torch.cat([tensor, gaps], dim=1)[:, : tensor.shape[1]]


def _leave(value: Any) -> Any:
    """Turn a result into a plain array; what is none is represented by the name of its type."""
    if type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, bool | int | float | complex | np.number | np.bool_):
        value = np.array(value)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biufc":
        return type(value).__name__
    widest = {"g": np.float64, "G": np.complex128}.get(value.dtype.char, value.dtype)  # long double is no portable type
    return np.array(value, dtype=widest, subok=False)


class Memory:
    """What the kernels of one call do to memory, as the checker sees it."""

    def __init__(self) -> None:
        self._launches: Sequence[Any] = ()
        self._unwatched = ""

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Watch each launch, with NaN in what torch.empty gives, so that an element left unwritten is seen."""
        checker = _checker()
        self._unwatched = "checker.py is missing beside check.py" if checker is None else checker.why_not()
        watch = contextlib.nullcontext(()) if self._unwatched or checker is None else checker.watch()
        with _nan_filled_outputs(), watch as self._launches:
            yield

    @property
    def findings(self) -> tuple[tuple[str, str], ...]:
        found = [(finding.kind, finding.message) for launch in self._launches for finding in launch.findings]
        return tuple([("unwatched", self._unwatched)] if self._unwatched else dict(found).items())

    @property
    def moved(self) -> int:
        return sum(launch.moved for launch in self._launches)


def _checker() -> Any:
    """The memory checker for kernels: beside this file in a notebook's folder, else the book's own."""
    for name in ("kernels.checker", "checker"):
        with contextlib.suppress(ImportError):
            return importlib.import_module(name)
    return None


@contextlib.contextmanager
def _nan_filled_outputs() -> Iterator[None]:
    """Let torch.empty give NaN."""
    import torch

    def filled(tensor: Any) -> Any:
        return tensor.fill_(float("nan")) if tensor.is_floating_point() else tensor

    empty, empty_like = torch.empty, torch.empty_like
    torch.empty = lambda *size, **options: filled(empty(*size, **options))
    torch.empty_like = lambda tensor, **options: filled(empty_like(tensor, **options))
    try:
        yield
    finally:
        torch.empty, torch.empty_like = empty, empty_like


def _same(a: Any, b: Any) -> bool:
    return bool(np.array_equal(np.asarray(a), np.asarray(b), equal_nan=np.asarray(a).dtype.kind == "f"))


def _describe(error: BaseException) -> str:
    """The error's type and text, with the deepest line of the student's cells that it came through."""
    if type(error).__name__ == "InterpreterError" and error.__cause__:  # how Triton's interpreter wraps a kernel's
        error = error.__cause__
    if isinstance(error, NotImplementedError) and "not implemented yet" in str(error):
        return f"{traceback.extract_tb(error.__traceback__)[-1].name} {UNWRITTEN}"
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if "ipython" in f.filename or "ipykernel" in f.filename
    ]
    where = f" (line {frames[-1].lineno} of the cell, in {frames[-1].name}: {frames[-1].line})" if frames else ""
    return f"{type(error).__name__}: {str(error)[:500]}{where}"


# --- watching for what is forbidden -----------------------------------------------------------------------------


class Watch:
    """See in `used` whether a forbidden function is called, at any depth.

    A name stands for a function, for a class and so its methods, or for a module and all that lies in it or below.
    """

    def __init__(self, forbid: Sequence[str]) -> None:
        """Prepare to watch for these dotted names, and for what would end the watch."""
        self.used = ""
        self._forbid = (*forbid, *GUARDS)
        self._open = False
        self._unknown = list(self._forbid)  # names of nothing that is loaded yet
        self._loaded = 0
        self._code: dict[int, tuple[str, Any]] = {}  # by identity, which the code itself keeps from being reused
        self._builtin: dict[str, list[tuple[str, Any]]] = {}
        self._modules: dict[str, str] = {}

    @contextlib.contextmanager
    def python(self) -> Iterator[None]:
        """See every call by Python code, in new threads too; operators, and what C calls in C, are not seen."""
        self._find()
        earlier, in_threads = (hook if callable(hook) else None for hook in (sys.getprofile(), threading.getprofile()))
        collecting = gc.isenabled()
        gc.disable()  # what other cells left behind must not be taken for the answer's when it is cleared away
        self._open = True
        threading.setprofile(self._see)
        sys.setprofile(self._see)
        try:
            yield
        finally:
            self._open = False
            sys.setprofile(earlier)
            threading.setprofile(in_threads)
            if collecting:
                gc.enable()

    def _find(self) -> None:
        """Look up those names that are unknown so far."""
        self._loaded = len(sys.modules)
        for name in tuple(self._unknown):
            thing = resolve(name)
            if thing is None:
                continue
            self._unknown.remove(name)
            for member in vars(thing).values() if isinstance(thing, type) else (thing,):
                member = inspect.unwrap(getattr(member, "__func__", getattr(member, "fget", member)))
                if hasattr(member, "__code__"):
                    self._code[id(member.__code__)] = (name, member.__code__)
                elif inspect.isbuiltin(member):
                    self._builtin.setdefault(member.__name__, []).append((name, member))

    def _see(self, frame: FrameType, event: str, arg: Any) -> None:
        """Take note of one event, as a profile function."""
        if self.used or not self._open:
            sys.setprofile(None)
        elif event in ("call", "c_call"):
            if self._unknown and len(sys.modules) != self._loaded:
                self._find()
            name = self._called(frame) if event == "call" else self._called_in_c(arg)
            if name and not self._is_import(frame):
                self.used = name

    def _called(self, frame: FrameType) -> str:
        known = self._code.get(id(frame.f_code))
        return known[0] if known else self._above(frame.f_globals.get("__name__"))

    def _called_in_c(self, function: Any) -> str:
        for name, known in self._builtin.get(function.__name__, ()):
            if known == function:
                return name
        owner = getattr(function, "__self__", None)
        return self._above(getattr(function, "__module__", None)) or self._above(type(owner).__module__)

    def _above(self, module: Any) -> str:
        """The forbidden name that a module is or lies below."""
        if not isinstance(module, str):
            return ""
        if module not in self._modules:
            self._modules[module] = next((name for name in self._forbid if f"{module}.".startswith(f"{name}.")), "")
        return self._modules[module]

    def _is_import(self, frame: FrameType) -> bool:
        """True for what a forbidden module does while it is imported: that is no use of it yet."""
        above = frame.f_back
        while above is not None and frame.f_code is not perform.__code__:
            if above.f_globals.get("__name__") == "importlib._bootstrap":
                return bool(self._above(frame.f_globals.get("__name__")))
            frame, above = above, above.f_back
        return False


def resolve(name: str) -> Any:
    """What a dotted name stands for among the modules that are loaded, or None. Nothing is imported."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        thing: Any = sys.modules.get(".".join(parts[:end]))
        if thing is not None:
            for part in parts[end:]:
                thing = inspect.getattr_static(thing, part, None)
            return thing
    return None


# --- judging what came back -------------------------------------------------------------------------------------


@np.errstate(all="ignore")
def examine(task: Task, answers: Sequence[Answer], reveal: bool, uses: str = "") -> Verdict:
    """Judge the answers, one for each case of the task.

    With `reveal`, messages show indices and values; without it they say which property failed, as befits hidden cases.
    `uses` is a forbidden name that stands in the answer's source, if any.
    """
    pairs = list(zip(task.cases, answers, strict=True))
    drawn = [(case, answer) for case, answer in pairs if not case.edge]
    crashes = [answer.error for _, answer in drawn if answer.error]
    if crashes and (not task.by_draw or len(crashes) == len(drawn)):
        return nothing(task.name, task.points, crashes[0])
    uses = uses or next((answer.used for answer in answers if answer.used), "")
    if uses:
        return nothing(task.name, task.points, f"uses {uses}: {FORBIDDEN}", "does without what is forbidden")
    edges = [(case, answer) for case, answer in pairs if case.edge]
    if task.by_draw:
        values = list(_case_steps(task, drawn, SHARES["values"], reveal))
    else:
        values = [_values_step(task, index, drawn, reveal) for index in range(len(task.outputs))]
    some_right = any(step.passed for step in values)
    shape, inputs = _shape_step(task, drawn), _inputs_step(drawn, some_right)
    steps = [shape, *values, *_case_steps(task, edges, SHARES["edges"], reveal), inputs]
    if task.tensors:
        steps += _kernel_steps(pairs, some_right)
    total = sum(step.share for step in steps)
    earned = sum(step.share for step in steps if step.passed)
    mistake = "" if all(step.passed for step in steps) else diagnose(task, answers) or _fault(answers)
    return Verdict(task.name, round(task.points * earned / total, 2), task.points, tuple(steps), mistake)


def nothing(name: str, points: float, message: str, title: str = "runs") -> Verdict:
    """The verdict on a question that earns nothing, for one reason."""
    return Verdict(name, 0.0, points, (Step(title, False, 1.0, message),))


def _shape_step(task: Task, drawn: Sequence[tuple[Case, Answer]]) -> Step:
    messages = (_shape_message(task, case, answer) for case, answer in drawn if not answer.error)
    message = next((m for m in messages if m), "")
    names = ", ".join([*task.outputs, "cache"] if task.cached else task.outputs)
    return Step(f"returns {names} with the right types and shapes", not message, SHARES["shape"], message)


def _shape_message(task: Task, case: Case, answer: Answer) -> str:
    wanted = len(task.outputs) + task.cached
    if answer.returned != wanted:
        names = ", ".join([*task.outputs, "cache"] if task.cached else task.outputs)
        return f"{answer.returned} value(s) came back, expected {wanted}: {names}"
    for name, got, expected in zip(task.outputs, answer.outputs, case.expected, strict=True):
        if isinstance(got, str):
            return f"{name} is a {got}, expected an array{': np.array makes one' if got == 'list' else ''}"
        if got.shape != expected.shape:
            hint = "; is it transposed?" if got.ndim == 2 and got.T.shape == expected.shape else ""
            return f"{name} has shape {got.shape}, expected {expected.shape}{hint}"
        loses_digits = expected.dtype.kind == "f" and got.itemsize < expected.itemsize and not task.tensors
        if got.dtype.kind != expected.dtype.kind or loses_digits:
            hint = ": the values lose digits on the way" if expected.dtype.kind == "f" else ""
            return f"{name} has dtype {got.dtype}, expected {expected.dtype}{hint}"
    return ""


def _values_step(task: Task, index: int, drawn: Sequence[tuple[Case, Answer]], reveal: bool) -> Step:
    name = task.outputs[index]
    wrong = next(((c, a) for c, a in drawn if not _right(task, c, a, index)), None)
    message = _difference(task, index, *wrong, reveal) if wrong else ""
    return Step(f"{name} is right", wrong is None, SHARES["values"] / len(task.outputs), message)


def _case_steps(task: Task, pairs: Sequence[tuple[Case, Answer]], share: float, reveal: bool) -> Iterator[Step]:
    """A step for each case, which passes where every output is right; the cases divide a share between them."""
    for case, answer in pairs:
        wrong = [k for k in range(len(task.outputs)) if answer.error or not _right(task, case, answer, k)]
        message = answer.error or (_difference(task, wrong[0], case, answer, reveal) if wrong else "")
        yield Step(case.label, not wrong, share / len(pairs), message)


def _inputs_step(drawn: Sequence[tuple[Case, Answer]], some_right: bool) -> Step:
    changed = next((answer.changed for _, answer in drawn if answer.changed), ())
    message = f"{', '.join(changed)} changed during the call: work on a copy" if changed else ""
    if not changed and not some_right:
        message = "counts as soon as one output is right"
    return Step("leaves its inputs alone", not changed and some_right, SHARES["inputs"], message)


def _kernel_steps(pairs: Sequence[tuple[Case, Answer]], some_right: bool) -> Iterator[Step]:
    """What a kernel does to memory, and how much of it it moves; worth something once one output is right."""
    waits = "" if some_right else "counts as soon as one output is right"
    found = [(kind, text) for _, answer in pairs for kind, text in answer.findings]
    unwatched = next((text for kind, text in found if kind == "unwatched"), "")
    if unwatched:
        yield Step("its use of memory could not be checked here", True, 0.0, unwatched)
        return
    fault = next((text for _, text in found), "")
    title = "stays in bounds, and no two programs meet"
    yield Step(title, not fault and some_right, KERNEL_SHARES["memory"], fault or waits)
    counted = [(answer.moved / case.moves, case, answer) for case, answer in pairs if case.moves and not case.edge]
    if counted:
        ratio, case, answer = max(counted, key=lambda one: one[0])
        wasteful = ratio > COST_ROOM
        text = f"moves {ratio:.1f} times the bytes it must: {answer.moved} instead of {case.moves} on “{case.label}”"
        title = "moves no more bytes than it must"
        yield Step(title, not wasteful and some_right, KERNEL_SHARES["cost"], text if wasteful else waits)


def _fault(answers: Sequence[Answer]) -> str:
    """What to call a mistake that shows in a kernel's use of memory only."""
    kinds = [kind for answer in answers for kind, _ in answer.findings if kind in FAULTS]
    return FAULTS[kinds[0]] if kinds else ""


def _right(task: Task, case: Case, answer: Answer, index: int) -> bool:
    return index < len(answer.outputs) and close(answer.outputs[index], case.expected[index], task.tolerance)


def close(got: Any, expected: Any, tolerance: float) -> bool:
    """Compare up to a tolerance, relative to the largest expected value; NaN equals NaN only."""
    if isinstance(got, str) or isinstance(expected, str) or got.shape != expected.shape:
        return False
    return not _unlike(got, expected, tolerance).any()


def all_close(got: Sequence[Any], expected: Sequence[Any], tolerance: float) -> bool:
    """Compare outputs one by one; none at all agree with nothing."""
    return len(got) == len(expected) > 0 and all(close(a, b, tolerance) for a, b in zip(got, expected, strict=True))


def _unlike(got: Any, expected: Any, tolerance: float) -> Any:
    """Mark the numbers that differ, of two arrays of one shape."""
    tolerance = max(tolerance, FLOAT32_TOLERANCE) if got.dtype == np.float32 else tolerance
    finite = np.abs(expected[np.isfinite(expected)])
    scale = max(1.0, float(finite.max())) if finite.size else 1.0
    return ~np.isclose(got, expected, rtol=tolerance, atol=tolerance * scale, equal_nan=True)


def _difference(task: Task, index: int, case: Case, answer: Answer, reveal: bool) -> str:
    name = task.outputs[index]
    if index >= len(answer.outputs):
        return f"{name} did not come back"
    got, expected = answer.outputs[index], case.expected[index]
    if isinstance(got, str) or got.shape != expected.shape:
        return "has the wrong type or shape"
    hint = _relation(got, expected, task.tolerance)
    unlike = _unlike(got, expected, task.tolerance)
    if not reveal:
        return f"{int(unlike.sum())} of {got.size} numbers differ on “{case.label}”{hint}"
    both = got.dtype == expected.dtype == bool
    distance = unlike if both else np.where(np.isfinite(got), np.abs(got - expected), np.inf)
    worst = np.unravel_index(int(np.argmax(np.where(unlike, distance, -1.0))), got.shape)
    where = f"{name}[{', '.join(map(str, worst))}]" if worst else name
    got_one, right_one = (str(one) if one.dtype == bool else f"{one:.6g}" for one in (got[worst], expected[worst]))
    return f"{where} is {got_one}, expected {right_one} ({unlike.sum()} of {got.size} differ){hint}"


def _relation(got: Any, expected: Any, tolerance: float) -> str:
    """Say how a wrong array relates to the right one, where the relation is simple."""
    got = got.astype(np.float64) if got.dtype.kind in "iuf" else got
    if not np.isfinite(got).all():
        return "; yours has NaN or infinite entries"
    if got.ndim == 2 and got.shape[0] == got.shape[1] and close(got.T, expected, tolerance):
        return "; yours is the transpose"
    if not np.any(got):
        return "; yours is all False" if got.dtype == bool else "; yours is all zeros"
    if got.dtype.kind not in "iuf":
        return ""
    norm = float(np.sum(expected * expected))
    factor = float(np.sum(got * expected)) / norm if norm else 0.0
    if abs(factor) > tolerance and close(got, factor * expected, tolerance):
        return f"; yours is the right one times {factor:.4g}"
    return ""


def diagnose(task: Task, answers: Sequence[Answer]) -> str:
    """Return the message of the known mistake that gives exactly these answers, or nothing."""
    for mistake, message in task.messages.items():
        if _agrees(task, mistake, answers):
            return message
    return ""


def _agrees(task: Task, mistake: str, answers: Sequence[Answer]) -> bool:
    """True if every draw came out as this mistake has it, and every edge case if the draws can't tell it."""
    pairs = list(zip(task.cases, answers, strict=True))
    drawn = [(case, answer) for case, answer in pairs if not case.edge]
    telling = any(not all_close(case.mistakes[mistake], case.expected, task.tolerance) for case, _ in drawn)
    needed = drawn if telling else pairs
    return all(all_close(answer.outputs, case.mistakes[mistake], task.tolerance) for case, answer in needed)


# --- the student's side -----------------------------------------------------------------------------------------


def rebuild(tree: Any, arrays: Sequence[Any]) -> Any:
    """Put arrays back into a tree of JSON values, where {"#array": 3} stands for the fourth of them."""
    if isinstance(tree, dict):
        if set(tree) == {"#array"}:
            return arrays[tree["#array"]]
        return {key: rebuild(value, arrays) for key, value in tree.items()}
    return [rebuild(value, arrays) for value in tree] if isinstance(tree, list) else tree


def task_from(tree: Mapping[str, Any]) -> Task:
    """Make a task of its plain dictionary, as compose.py wrote it."""
    return Task(**{**tree, "cases": tuple(Case(**case) for case in tree["cases"])})


def load(file: Path) -> dict[str, Task]:
    """Read the public cases that lie beside the notebook."""
    with np.load(file, allow_pickle=False) as archive:
        different = [archive[f"a{number}"] for number in range(len(archive.files) - 2)]
        arrays = [different[number] for number in archive["index"]]
        trees = json.loads(str(archive["tasks"]))
    return {tree["name"]: task_from(rebuild(tree, arrays)) for tree in trees}


def check(name: str) -> Verdict:
    """Judge your answer to a question on its public cases; the grader repeats this with other numbers.

    Raises ValueError if the notebook has no question of that name, FileNotFoundError if cases.npz has been lost.
    """
    file = Path(__file__).with_name("cases.npz")
    if not file.exists():
        raise FileNotFoundError(f"{file.name} is missing beside check.py: download the exercise folder again")
    tasks = load(file)
    if name not in tasks:
        raise ValueError(f"there is no question {name!r} in this notebook; it has: {', '.join(tasks)}")
    namespace = sys._getframe(1).f_globals
    answers = [perform(namespace, call_of(tasks[name], case)) for case in tasks[name].cases]
    return examine(tasks[name], answers, reveal=True)
