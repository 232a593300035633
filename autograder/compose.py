"""Turn an exercise page and the reference into an nbgrader source notebook and its public cases.

On the page, `{question} <function>` asks a question and `{given} <function>` gives one; the rest is text.
"""

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.front_matter import front_matter_plugin
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from nbgrader.utils import compute_checksum

from autograder import blocks, check, question, stubs, wire
from autograder.errors import UserError

PUBLIC_SEED = 0
PUBLIC_FILES = ("check.py", "cases.npz", "checker.py")
CHECKER = blocks.ROOT / "kernels" / "checker.py"
SETUP = "import numpy as np\n\nfrom check import check"
KERNEL_SETUP = """import os

os.environ.setdefault("TRITON_INTERPRET", "1")  # no GPU needed: the kernel runs in Triton's interpreter

import torch
import triton
import triton.language as tl"""
OPTION = re.compile(r":(\w+):\s*(.*)")
ROLE = re.compile(r"\{[\w:.-]+\}`([^`<]*?)\s*(?:<[^`>]*>)?`")
ROLE_TEXT = r"\1"


@dataclass(frozen=True)
class Exercise:
    """One question as its page puts it; `text` is Markdown, hints included."""

    name: str
    points: float
    stars: int
    minutes: int
    needs: str
    text: str


@dataclass(frozen=True)
class Given:
    """A function of the reference that the page hands out."""

    name: str


Part = str | Exercise | Given


def parse(stem: str) -> list[Part]:
    """Read an exercise page: its texts, given functions and questions in order.

    Raises UserError, with file and line, where a directive is malformed.
    """
    file = blocks.exercises(blocks.require(stem))
    if not file.exists():
        raise UserError(f"block {stem} has no exercises: {os.path.relpath(file, blocks.ROOT)} is missing")
    source = file.read_text(encoding="utf-8")
    lines = source.splitlines()
    parts: list[Part] = []
    start = 0
    for token in _markdown().parse(source):
        directive = re.fullmatch(r"\{(question|given)\}\s+(\S+)\s*", token.info) if token.type == "fence" else None
        if token.type == "front_matter" and token.map:
            start = token.map[1]
        if directive and token.map:
            parts.append(_text(lines[start : token.map[0]]))
            kind, name = directive.groups()
            where = f"{os.path.relpath(file, blocks.ROOT)}:{token.map[0] + 1}"
            parts.append(Given(name) if kind == "given" else _exercise(name, token.content, where))
            start = token.map[1]
    parts.append(_text(lines[start:]))
    return [part for part in parts if part]


def exercises(stem: str) -> list[Exercise]:
    """The questions of a page in order."""
    return [part for part in parse(stem) if isinstance(part, Exercise)]


def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark").use(front_matter_plugin)


def _exercise(name: str, content: str, where: str) -> Exercise:
    lines = content.splitlines()
    options: dict[str, str] = {}
    while lines and (match := OPTION.fullmatch(lines[0].strip())):
        options[match[1]] = match[2]
        lines.pop(0)
    try:
        points, stars, minutes = float(options["points"]), int(options["stars"]), int(options["minutes"])
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{where}: question {name} needs :points:, :stars: and :minutes: as numbers ({error})"
        ) from error
    return Exercise(name, points, stars, minutes, options.get("needs", ""), _text(lines))


def _text(lines: list[str]) -> str:
    """MyST as the Markdown that a notebook shows: dropdowns become <details>, roles their text."""
    text = "\n".join(lines)
    for token in reversed(_markdown().parse(text)):
        if token.type == "fence" and token.map and token.info.startswith("{dropdown}"):
            lines = lines[: token.map[0]] + list(_details(token)) + lines[token.map[1] :]
    lines = [line for line in lines if not re.fullmatch(r"\([\w-]+\)=", line)]
    return ROLE.sub(ROLE_TEXT, "\n".join(lines)).strip()


def _details(token: Token) -> Iterator[str]:
    yield f"<details><summary>{token.info.removeprefix('{dropdown}').strip()}</summary>"
    yield ""
    yield from token.content.rstrip().splitlines()
    yield ""
    yield "</details>"


def source_notebook(stem: str) -> NotebookNode:
    """Compose the instructor's notebook of a block, solutions included, with nbgrader's metadata."""
    cells = [_locked("setup", SETUP)]
    questions = question.of_block(stem)
    for number, part in enumerate(parse(stem)):
        if isinstance(part, str):
            cells.append(_with_id(new_markdown_cell(part), f"text-{number}"))
        elif isinstance(part, Given):
            cells += _kernel_setup(cells, part.name)
            cells.append(_locked(f"given-{part.name}", stubs.whole(part.name)))
        else:
            cells += _kernel_setup(cells, part.name)
            cells += _question_cells(part, questions[part.name].forbid if part.name in questions else ())
    title = [cell for cell in cells[1:2] if cell.cell_type == "markdown"]
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=[*title, cells[0], *cells[1 + len(title) :]], metadata={"kernelspec": kernelspec})


def _question_cells(exercise: Exercise, forbid: Sequence[str]) -> list[NotebookNode]:
    header = f"{'★' * exercise.stars}{'☆' * (3 - exercise.stars)} · {exercise.minutes} min · {exercise.points:g} points"
    header += f" · needs {exercise.needs}" if exercise.needs else ""
    header += f" · without {', '.join(f'`{name}`' for name in forbid)}" if forbid else ""
    text = new_markdown_cell(f"## `{exercise.name}`\n\n{ROLE.sub(ROLE_TEXT, header)}\n\n{exercise.text}")
    solution = new_code_cell(stubs.solved(exercise.name))
    solution.metadata.nbgrader = _metadata(exercise.name, solution=True)
    return [
        _with_id(text, f"ask-{exercise.name}"),
        _with_id(solution, exercise.name),
        check_cell(exercise.name, exercise.points),
    ]


def _kernel_setup(cells: list[NotebookNode], name: str) -> list[NotebookNode]:
    """The imports that the first kernel of a notebook needs in front of it."""
    needed = stubs.find(name).file.parent == stubs.KERNELS
    there = any(cell.id == "setup-kernel" for cell in cells)
    return [_locked("setup-kernel", KERNEL_SETUP)] if needed and not there else []


@cache
def kernel_cells(stem: str) -> tuple[str, ...]:
    """What stands in front of the kernels of a page: imports, and each function that it gives for them."""
    given = [part.name for part in parse(stem) if isinstance(part, Given)]
    return (KERNEL_SETUP, *(stubs.whole(name) for name in given if stubs.find(name).file.parent == stubs.KERNELS))


def check_cell(name: str, worth: float) -> NotebookNode:
    """The locked cell that checks a question: for the student on public cases, for the grader by the judge."""
    cell = new_code_cell(f'check("{name}")')
    cell.metadata.nbgrader = _metadata(f"check-{name}", grade=True, locked=True, points=worth)
    return _with_id(cell, f"check-{name}")


def _locked(name: str, source: str) -> NotebookNode:
    cell = new_code_cell(source)
    cell.metadata.nbgrader = _metadata(name, locked=True)
    return _with_id(cell, name)


def _with_id(cell: NotebookNode, name: str) -> NotebookNode:
    cell.id = name[:64]
    return cell


def _metadata(grade_id: str, **traits: Any) -> dict[str, Any]:
    plain = {"grade": False, "locked": False, "solution": False, "task": False, "schema_version": 3}
    return {**plain, "grade_id": grade_id, **traits}


def checked_question(cell: NotebookNode) -> str | None:
    """The question that a cell checks, or None for a cell of the student's."""
    metadata = cell.metadata.get("nbgrader", {})
    grade_id = str(metadata.get("grade_id", ""))
    return grade_id.removeprefix("check-") if metadata.get("grade") and grade_id.startswith("check-") else None


def points(cell: NotebookNode) -> float:
    return float(cell.metadata.nbgrader["points"])


def restore_check_cells(notebook: NotebookNode, points_of: Mapping[str, float]) -> None:
    """Put the course's own check cells where a submission has its, and the missing ones at the end.

    Each starts with an output of zero points, since nbgrader takes a check without output for passed. Whatever else
    claims to be graded becomes an ordinary cell. `points_of` names the questions.
    """
    wanted = {f"check-{name}": _unjudged(name, worth) for name, worth in points_of.items()}
    cells: list[NotebookNode] = []
    for cell in notebook.cells:
        metadata = cell.metadata.get("nbgrader", {})
        grade_id = str(metadata.get("grade_id", ""))
        if grade_id in wanted:
            cells.append(wanted.pop(grade_id))
        elif metadata.get("grade") or grade_id.startswith("check-"):
            del cell.metadata["nbgrader"]
            cells.append(cell)
        else:
            cells.append(cell)
    notebook.cells = cells + list(wanted.values())
    ours = {f"check-{name}"[:64] for name in points_of}
    for number, cell in enumerate(notebook.cells):
        if cell.get("id") in ours and checked_question(cell) is None:
            cell.id = f"cell-{number}"  # nbformat wants ids that are unique


def _unjudged(name: str, worth: float) -> NotebookNode:
    """A check cell as the grader needs it, worth nothing until the judge has spoken."""
    cell = check_cell(name, worth)
    cell.metadata.nbgrader.update(checksum=compute_checksum(cell), cell_type="code")
    cell.outputs = [
        new_output("execute_result", data={"text/plain": "0.0", "text/html": "not judged"}, execution_count=None)
    ]
    return cell


def handout(stem: str, course: Path) -> Path:
    """Where check.py and the public cases of a block wait for its release."""
    return course / "handout" / stem


def public_cases(stem: str, file: Path) -> None:
    """Write what check.py needs to judge offline: inputs, right answers, and the answers of known mistakes."""
    questions = question.of_block(stem)
    tasks = [question.make_task(questions[e.name], e.points, PUBLIC_SEED) for e in exercises(stem)]
    arrays: list[np.ndarray[Any, Any]] = []
    tree = wire.flatten([dataclasses.asdict(task) for task in tasks], arrays)
    different = {(array.dtype.char, array.shape, array.tobytes()): array for array in arrays}
    numbers = {key: number for number, key in enumerate(different)}
    index = [numbers[array.dtype.char, array.shape, array.tobytes()] for array in arrays]
    named = {f"a{number}": array for number, array in enumerate(different.values())}
    np.savez_compressed(file, tasks=np.array(json.dumps(tree)), index=np.array(index), **named)  # type: ignore[arg-type]


def hand_out(stem: str, folder: Path) -> None:
    """Write what lies beside the notebook of a release: PUBLIC_FILES."""
    public_cases(stem, folder / "cases.npz")
    shutil.copyfile(check.__file__, folder / "check.py")
    shutil.copyfile(CHECKER, folder / "checker.py")


def build(stem: str, course: Path) -> Path:
    """Write course/source/<stem>/, the notebook, and what is handed out beside it. Returns the notebook's path.

    Raises UserError where page and questions don't match, or the folder can't be written.
    """
    asked, known = {e.name for e in exercises(stem)}, set(question.of_block(stem))
    if asked != known:
        raise UserError(
            f"{stem}: page and questions/{stem}.py differ: {', '.join(sorted(asked ^ known))} is in one only"
        )
    notebook = source_notebook(stem)
    folder = course / "source" / stem
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handout(stem, course).mkdir(parents=True, exist_ok=True)
        hand_out(stem, handout(stem, course))
        nbformat.write(notebook, folder / f"{stem}.ipynb")
    except OSError as error:
        raise UserError(f"can't write the assignment to {folder}: {error.strerror}") from error
    return folder / f"{stem}.ipynb"
