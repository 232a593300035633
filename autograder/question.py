"""A question: how the student's function is called, with what inputs, and which mistakes are known by name."""

import importlib
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np

from autograder import blocks
from autograder.cases import draw
from autograder.check import Call, Case, Task, all_close, perform
from autograder.errors import UserError

Function = Callable[..., Any]
Draw = Callable[[np.random.Generator], Mapping[str, object]]

MOST_DRAWS = 1000
CLEARLY = 10  # times the tolerance is how far the answer of a mistake must lie from the right one


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that is known by name: functions in place of the reference, and what to tell its author."""

    message: str
    functions: tuple[Function, ...]


@dataclass(frozen=True)
class Question:
    """One question of an exercise page, named after the function that the student writes.

    `reference` is that function, or forward and backward. `outputs` names what must come back. `draws` and `edges`
    label ways of drawing inputs; by default three draws from the annotations. `calls` names the student's functions
    where they are called otherwise than the reference. `tensors` says that the function takes float32 torch tensors;
    `apart` names, for a label, those whose rows lie apart in memory. `by_draw` gives marks by draw rather than by
    output. `tolerance` is relative, `seconds` is for each call. `forbid` names functions, classes and modules, dotted,
    that the answer must do without. `tells` names, for a label, known mistakes that a few of its draws would let pass:
    such a draw is drawn again, so that all who make the mistake pay the same. `moves` says of a kernel how many bytes
    its reference loads and stores for some inputs, with the blocks that the given host function launches it with.
    """

    name: str
    reference: tuple[Function, ...]
    outputs: tuple[str, ...]
    mistakes: Mapping[str, Mistake]
    draws: Mapping[str, Draw] = field(default_factory=dict)
    edges: Mapping[str, Draw] = field(default_factory=dict)
    calls: tuple[str, ...] = ()
    tensors: bool = False
    by_draw: bool = False
    apart: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tolerance: float = 1e-8
    seconds: float = 10.0
    forbid: tuple[str, ...] = ()
    tells: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    moves: Callable[[Mapping[str, Any]], int] | None = None

    @property
    def called(self) -> tuple[str, ...]:
        """The names of the student's functions that are called."""
        return self.calls or tuple(function.__name__ for function in self.reference)

    @property
    def cached(self) -> bool:
        """True where the student's function returns a cache behind its outputs."""
        return len(self.reference) == 1 and self.reference[0].__name__.endswith("_forward") and not self.tensors


def from_signature(function: Function, **options: Any) -> Draw:
    """Return a way to draw inputs from a function's annotations, with the options of cases.draw."""
    return lambda rng: draw(function, rng, **options)


def with_inputs(make: Draw, **values: object) -> Draw:
    """Draw as `make` does, with some inputs set: a number fills the whole array, a word is taken as it is."""

    def fixed(name: str, drawn: object) -> object:
        value = values.get(name, drawn)
        return drawn * 0 + value if isinstance(value, float) else value  # type: ignore[operator]

    return lambda rng: {name: fixed(name, drawn) for name, drawn in make(rng).items()}


def variant(function: Function, *edits: tuple[str, str]) -> Function:
    """Return the function with pieces of its source replaced: a mistake, written as the slip that makes it.

    The result's attribute `edits` keeps them, so that the same slip can be made in a notebook. Raises ValueError
    where a piece does not stand in the source exactly once.
    """
    bare = inspect.unwrap(function)
    source = textwrap.dedent(inspect.getsource(bare))
    for old, new in edits:
        if source.count(old) != 1:
            raise ValueError(f"{old!r} stands {source.count(old)} times in {bare.__name__}, expected once")
        source = source.replace(old, new)
    namespace = dict(bare.__globals__)
    exec(compile(source, f"<variant of {bare.__name__}>", "exec"), namespace)
    made: Function = namespace[bare.__name__]
    made.edits = edits  # type: ignore[attr-defined]
    return made


def slip(message: str, function: Function, *edits: tuple[str, str]) -> Mistake:
    """A mistake in a question of one function."""
    return Mistake(message, (variant(function, *edits),))


def backward_slip(message: str, forward: Function, backward: Function, *edits: tuple[str, str]) -> Mistake:
    """A mistake in the backward of a pair, whose forward is right."""
    return Mistake(message, (forward, variant(backward, *edits)))


def make_task(question: Question, points: float, seed: int) -> Task:
    """Draw the cases of a question for a seed, with the right answers and those of every known mistake."""
    return with_mistakes(question, draw_task(question, points, seed))


def draw_task(question: Question, points: float, seed: int) -> Task:
    """Draw the cases of a question for a seed, with the right answers only."""
    rng = np.random.default_rng(seed)
    draws = question.draws or {f"draw {k}": from_signature(question.reference[0]) for k in (1, 2, 3)}
    cases = [_draw_case(question, label, make, rng, edge=False) for label, make in draws.items()]
    cases += [_draw_case(question, label, make, rng, edge=True) for label, make in question.edges.items()]
    return Task(
        name=question.name,
        points=points,
        calls=question.called,
        outputs=question.outputs,
        cached=question.cached,
        tensors=question.tensors,
        by_draw=question.by_draw,
        tolerance=question.tolerance,
        messages={},
        cases=tuple(cases),
        forbid=question.forbid,
    )


def with_mistakes(question: Question, task: Task) -> Task:
    """Add the answers and the messages of every known mistake to a task."""
    cases = [replace(case, mistakes=_answers_of_mistakes(question, case)) for case in task.cases]
    messages = {name: mistake.message for name, mistake in question.mistakes.items()}
    return replace(task, messages=messages, cases=tuple(cases))


def _answers_of_mistakes(question: Question, case: Case) -> dict[str, Sequence[Any]]:
    return {
        name: _outputs(question, mistake.functions, case.inputs, case.upstream)
        for name, mistake in question.mistakes.items()
    }


def _draw_case(question: Question, label: str, make: Draw, rng: np.random.Generator, edge: bool) -> Case:
    """Draw a case, again and again until it tells what it must. Raises ValueError where no draw seems to do so."""
    wanted = question.tells.get(label, ())
    for _ in range(MOST_DRAWS):
        inputs = make(rng)
        upstream: tuple[np.ndarray[Any, Any], ...] = ()
        if len(question.reference) == 2:
            *outputs, _ = question.reference[0](*inputs.values())
            upstream = tuple(rng.standard_normal(output.shape) for output in outputs)
        expected = _outputs(question, question.reference, inputs, upstream)
        answers = (_outputs(question, question.mistakes[name].functions, inputs, upstream) for name in wanted)
        if not any(all_close(answer, expected, CLEARLY * question.tolerance) for answer in answers):
            moves = question.moves(inputs) if question.moves else 0
            return Case(label, edge, inputs, upstream, expected, {}, question.apart.get(label, ()), moves)
    raise ValueError(f"{question.name}: none of {MOST_DRAWS} draws of {label!r} tells all of {list(wanted)}")


def _outputs(
    question: Question,
    functions: tuple[Function, ...],
    inputs: Mapping[str, object],
    upstream: Sequence[Any],
) -> tuple[Any, ...]:
    """What these functions answer, by way of the same call as the student's; nothing where they crash."""
    names = tuple(f"f{k}" for k in range(len(functions)))
    call = Call(names, len(question.outputs), False, inputs, upstream)
    with np.errstate(all="ignore"):
        return tuple(perform(dict(zip(names, functions, strict=True)), call).outputs)


@cache
def of_block(stem: str) -> Mapping[str, Question]:
    """The questions of a block by name. Raises UserError if the block has none."""
    if not blocks.questions(stem).exists():
        raise UserError(f"block {stem} has no questions: {blocks.questions(stem).name} is missing")
    module = importlib.import_module(f"autograder.questions.{stem}")
    return {question.name: question for question in module.QUESTIONS}
