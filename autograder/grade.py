"""Grade a class: every submission through nbgrader's own pipeline, none of which can stop the others."""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nbgrader.api import Gradebook, MissingEntry
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
    """Grade one submission; whatever goes wrong with it ends in its record, and takes back an earlier mark."""
    start = time.monotonic()
    try:
        problem = unreadable(folder, student, stem) or _autograde(api, stem, student)
        points, out_of = (0.0, 0.0) if problem else scores(api, stem, student)
    except Exception as error:
        problem, points, out_of = f"{type(error).__name__}: {error}", 0.0, 0.0
    if problem:
        take_back(api, folder, stem, student)
    return Record(student, points, out_of, time.monotonic() - start, problem)


def _autograde(api: NbGraderAPI, stem: str, student: str) -> str:
    """Run nbgrader on one submission; return what went wrong, if anything did."""
    result = api.autograde(stem, student, force=True, create=True)
    if "KeyboardInterrupt" in (result.get("error") or ""):  # which nbgrader swallows
        raise KeyboardInterrupt
    return "" if result["success"] else f"nbgrader could not grade it: {course.reason(result)}"


def unreadable(folder: Path, student: str, stem: str) -> str:
    """Say in one line why a submission can't be graded at all; empty for one that can."""
    notebook = folder / "submitted" / student / stem / f"{stem}.ipynb"
    if set("*?[]") & set(student):
        return "nbgrader takes * ? [ ] in a name for a pattern: rename the folder"
    if any(path.is_symlink() for path in (notebook, notebook.parent, notebook.parent.parent)):
        return "it is a symbolic link, which may lead to the work of another student"
    if not notebook.is_file():
        there = sorted(path.name for path in notebook.parent.glob("*.ipynb"))
        return f"no {notebook.name} was handed in" + (f", only {', '.join(there)}" if there else "")
    try:
        content = json.loads(notebook.read_text(encoding="utf-8"))
        json.dumps(content, ensure_ascii=False).encode("utf-8")
    except (OSError, ValueError, RecursionError) as error:
        return f"{notebook.name} is no readable notebook: {error}"
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        return f"{notebook.name} is no notebook: it has no cells"
    return ""


def take_back(api: NbGraderAPI, folder: Path, stem: str, student: str) -> None:
    """Leave no automatic mark and no page of an earlier grading; manual marks and comments stay."""
    for stage in ("autograded", "feedback"):
        shutil.rmtree(folder / stage / student / stem, ignore_errors=True)
    with Gradebook(api.coursedir.db_url, api.coursedir.course_id) as gradebook, suppress(MissingEntry):
        for notebook in gradebook.find_submission(stem, student).notebooks:
            for part in notebook.grades:
                part.auto_score, part.needs_manual_grade = None, True
        gradebook.db.commit()


def scores(api: NbGraderAPI, stem: str, student: str) -> tuple[float, float]:
    """The score that stands in the gradebook, and what it is out of."""
    with Gradebook(api.coursedir.db_url, api.coursedir.course_id) as gradebook:
        submission = gradebook.find_submission(stem, student)
        return submission.score, submission.max_score
