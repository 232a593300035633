"""The kill matrix: of every known mistake, what share of the points it keeps, and whether it is told its own name."""

import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

import numpy as np

from autograder import blocks, question
from autograder.check import Answer, Task, Verdict, call_of, examine, perform
from autograder.question import Function, Question, make_task

POINTS = 100.0
SEEDS = tuple(range(5))
SHADES = (  # from this share on: the field's color, and that of its letters
    (0.0, "#dbe9f6", "#000000"),
    (0.2, "#a6cce8", "#000000"),
    (0.4, "#6aaed6", "#000000"),
    (0.6, "#2168ab", "#ffffff"),
    (0.8, "#08306b", "#ffffff"),
)


@dataclass(frozen=True)
class Entry:
    """One mistake in one question: the largest share of the points that it keeps over some seeds.

    `named` is true if it was told its own message each time, and so no other's.
    """

    stem: str
    question: str
    mistake: str
    message: str
    kept: float
    named: bool


def wrong_answer(asked: Question, mistake: str) -> dict[str, Function]:
    """The functions of a known mistake, under the names that the question calls."""
    functions = asked.mistakes[mistake].functions
    return {
        name: _on_tensors(function, len(asked.outputs)) if asked.tensors else function
        for name, function in zip(asked.called, functions, strict=True)
    }


def _on_tensors(function: Function, outputs: int) -> Function:
    """A function of arrays as one of float32 tensors."""
    import torch

    def array(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return (value.double() if value.is_floating_point() else value).numpy()

    def wrapped(*inputs: Any) -> tuple[Any, ...]:
        result = function(*map(array, inputs))
        parts = result if isinstance(result, tuple) else (result,)
        return tuple(torch.tensor(part, dtype=torch.float32) for part in parts[:outputs])

    return wrapped


def answers(task: Task, namespace: dict[str, Function]) -> list[Answer]:
    """What functions of this process answer to the cases of a task."""
    with np.errstate(all="ignore"):  # in a notebook, overflow is a warning at most
        return [perform(namespace, call_of(task, case)) for case in task.cases]


def of_question(stem: str, asked: Question, seeds: Iterable[int]) -> Iterator[Entry]:
    """Judge every mistake of a question on fresh cases of each seed."""
    tasks = [make_task(asked, POINTS, seed) for seed in seeds]
    for name, mistake in asked.mistakes.items():
        wrong = wrong_answer(asked, name)
        verdicts = [examine(task, answers(task, wrong), reveal=False) for task in tasks]
        yield Entry(stem, asked.name, name, mistake.message, _kept(verdicts), _named(verdicts, mistake.message))


def _kept(verdicts: Sequence[Verdict]) -> float:
    return max(verdict.points / verdict.out_of for verdict in verdicts)


def _named(verdicts: Sequence[Verdict], message: str) -> bool:
    return all(verdict.mistake == message for verdict in verdicts)


def of_book(seeds: Iterable[int] = SEEDS) -> list[Entry]:
    """The matrix of all questions in the order of the book."""
    seeds = tuple(seeds)
    return [
        entry
        for stem in blocks.stems()
        for asked in question.of_block(stem).values()
        for entry in of_question(stem, asked, seeds)
    ]


# --- as HTML for the page ---------------------------------------------------------------------------------------


def summary(entries: Sequence[Entry], seeds: int) -> str:
    """One paragraph: how much was tried, and what came of it."""
    escaped = [entry for entry in entries if entry.kept >= 1]
    nameless = [entry for entry in entries if not entry.named]
    questions = len({(entry.stem, entry.question) for entry in entries})
    text = (
        f"<strong>{questions} questions, {len(entries)} known mistakes, {seeds} draws of fresh numbers each.</strong> "
    )
    text += _all_or_listed("Every mistake loses points", "These keep all points", escaped) + " "
    text += _all_or_listed(
        "Every mistake was told its own message and no other’s, on every draw",
        "These were not told their own",
        nameless,
    )
    return f'<p class="kill-summary">{text}</p>'


def _all_or_listed(good: str, bad: str, wrong: Sequence[Entry]) -> str:
    listed = ", ".join(html.escape(f"{entry.question}: {entry.mistake}") for entry in wrong)
    return f"{bad}: {listed}." if wrong else f"{good}."


def picture(entries: Sequence[Entry]) -> str:
    """A row for each question, a field for each mistake, the darker the more of the points it keeps."""
    label = (
        "For each question one field per known mistake with the percentage of the points it keeps; the tables say it"
    )
    rows = "".join(
        f'<div class="kill-name"><code>{html.escape(name)}</code></div>'
        f'<div class="kill-row">{"".join(map(_field, row))}</div>'
        for name, row in _by_question(entries)
    )
    legend = " ".join(_swatch(share, f"from {share * 100:.0f}") for share, *_ in SHADES)
    return (
        f'<div class="kill-picture" role="img" aria-label="{label}">{rows}</div>'
        f'<p class="kill-legend">Percent of the points that a mistake keeps: {legend}</p>'
    )


def _by_question(entries: Sequence[Entry]) -> Iterator[tuple[str, list[Entry]]]:
    for name, row in groupby(entries, attrgetter("question")):
        yield name, list(row)


def _field(entry: Entry) -> str:
    mark = "" if entry.named else "?"
    return _swatch(entry.kept, f"{entry.kept * 100:.0f}{mark}", entry.mistake)


def _swatch(share: float, text: str, title: str = "") -> str:
    color, letters = next((color, letters) for start, color, letters in reversed(SHADES) if share >= start)
    style = f"background:{color};color:{letters}"
    about = f' title="{html.escape(title)}"' if title else ""
    return f'<span class="kill-field" style="{style}"{about}>{text}</span>'


def tables(entries: Sequence[Entry]) -> str:
    """A table for each question, under its name."""
    return "".join(
        f'<h3 id="kill-{html.escape(name)}"><code>{html.escape(name)}</code></h3>{_table(row)}'
        for name, row in _by_question(entries)
    )


def _table(row: Sequence[Entry]) -> str:
    """The mistakes of one question: what each one is told, what it keeps, whether it is told that and nothing else."""
    rows = "".join(
        f"<tr><td><strong>{html.escape(entry.mistake)}</strong><br>{html.escape(entry.message)}</td>"
        f"<td>{entry.kept * 100:.0f}&nbsp;%</td><td>{'yes' if entry.named else 'no'}</td></tr>"
        for entry in row
    )
    head = "<tr><th>mistake, and what its author is told</th><th>keeps</th><th>named</th></tr>"
    return f'<table class="kill-table"><thead>{head}</thead><tbody>{rows}</tbody></table>'
