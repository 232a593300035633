"""Grade a class: every submission through nbgrader's own pipeline, none of which can stop the others."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nbgrader.api import Gradebook
from nbgrader.apps.api import NbGraderAPI

from autograder import blocks, course
from autograder.errors import UserError
from autograder.execute import warm_sandbox


@dataclass(frozen=True)
class Record:
    """What became of one submission; `problem` is empty where it was graded."""

    student: str
    points: float
    out_of: float
    seconds: float
    problem: str = ""


def submissions(folder: Path, stem: str) -> list[str]:
    """The students who handed in an assignment, sorted.

    Raises UserError if there is no such block, no course, or nobody did.
    """
    blocks.require(stem)
    if not folder.is_dir():
        raise UserError(f"there is no course in {folder}: make one with `python -m autograder build`")
    students = sorted(path.parent.name for path in (folder / "submitted").glob(f"*/{stem}") if path.is_dir())
    if not students:
        raise UserError(f"no submission lies in {folder / 'submitted'}/<student>/{stem}/")
    return students


def grade(folder: Path, stem: str, students: Sequence[str], sandbox: str = "bwrap") -> Iterator[Record]:
    """Grade the submissions one by one, and yield a record of each.

    Raises UserError before the first one if the sandbox can't start or the assignment was never released.
    """
    api = course.api(folder, sandbox)
    if not (folder / "release" / stem).is_dir():
        raise UserError(f"assignment {stem} was never released: run `python -m autograder release {stem}`")
    warm_sandbox(sandbox)
    for student in students:
        yield _grade_one(api, folder, stem, student)


def _grade_one(api: NbGraderAPI, folder: Path, stem: str, student: str) -> Record:
    start = time.monotonic()
    problem = unreadable(folder / "submitted" / student / stem / f"{stem}.ipynb")
    if not problem:
        result = api.autograde(stem, student, force=True, create=True)
        if not result["success"]:
            problem = f"nbgrader could not grade it: {course.reason(result)}"
    points, out_of = (0.0, 0.0) if problem else scores(api, stem, student)
    return Record(student, points, out_of, time.monotonic() - start, problem)


def unreadable(notebook: Path) -> str:
    """Say in one line why a file is no notebook; empty for one that is."""
    if not notebook.is_file():
        there = sorted(path.name for path in notebook.parent.glob("*.ipynb"))
        return f"no {notebook.name} was handed in" + (f", only {', '.join(there)}" if there else "")
    try:
        content = json.loads(notebook.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return f"{notebook.name} is no readable notebook: {error}"
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        return f"{notebook.name} is no notebook: it has no cells"
    return ""


def scores(api: NbGraderAPI, stem: str, student: str) -> tuple[float, float]:
    """The score that stands in the gradebook, and what it is out of."""
    with Gradebook(api.coursedir.db_url, api.coursedir.course_id) as gradebook:
        submission = gradebook.find_submission(stem, student)
        return submission.score, submission.max_score
