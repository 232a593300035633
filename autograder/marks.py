"""What stands in the gradebook: students, submissions, marks; read at once, so that a large class takes no longer."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nbgrader.api import (
    Assignment,
    BaseCell,
    Grade,
    Gradebook,
    GradeCell,
    MissingEntry,
    Notebook,
    SubmittedAssignment,
    SubmittedNotebook,
    TaskCell,
)
from sqlalchemy import func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import joinedload

from autograder import course as courses
from autograder.errors import UserError

Cell = tuple[str, str]  # notebook, name of the cell


@dataclass(frozen=True)
class Mark:
    """The mark of one cell: `score` is None until it is graded, by hand or not; `open` says that a person must look."""

    score: float | None
    by_hand: bool
    open: bool


@dataclass(frozen=True)
class Submission:
    """One student's marks of one assignment; `penalty` is in points, `seconds_late` counts extensions."""

    marks: Mapping[Cell, Mark]
    penalty: float
    seconds_late: float
    timestamp: datetime | None

    @property
    def graded(self) -> bool:
        """True if any cell has a mark: one that could not be graded has none, which is no zero."""
        return any(mark.score is not None for mark in self.marks.values())

    @property
    def raw_score(self) -> float:
        return sum(mark.score or 0.0 for mark in self.marks.values())

    @property
    def score(self) -> float:
        """What counts: without the late penalty, and not below zero, as nbgrader exports it."""
        return max(0.0, self.raw_score - self.penalty)


@contextmanager
def gradebook(course: Path) -> Iterator[Gradebook]:
    """Open the gradebook of a course. Raises UserError if there is no course, no gradebook, or it can't be read."""
    directory = courses.api(course).coursedir
    try:
        url = make_url(directory.db_url)
        url.get_dialect().import_dbapi()
    except (ArgumentError, ImportError) as error:
        raise UserError(f"c.CourseDirectory.db_url can't be used: {error}") from error
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        raise UserError(f"there is no gradebook {url.database}: release and grade an assignment first")
    try:
        with Gradebook(directory.db_url, directory.course_id) as opened:
            yield opened
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise UserError(f"the gradebook {url.render_as_string()} can't be read: {reason}") from error


def require(opened: Gradebook, assignment: str) -> Assignment:
    """Find an assignment. Raises UserError with the names that there are."""
    try:
        return opened.find_assignment(assignment)
    except MissingEntry as error:
        known = ", ".join(there.name for there in opened.assignments) or "none yet: release one first"
        raise UserError(f"the gradebook has no assignment {assignment!r}; it has: {known}") from error


def cells(opened: Gradebook, assignment: str) -> dict[Cell, float]:
    """What each graded cell of an assignment is out of, by notebook and name."""
    found: dict[Cell, float] = {}
    for kind in (GradeCell, TaskCell):
        query = (
            select(Notebook.name, BaseCell.name, kind.max_score)
            .select_from(kind)
            .join(Notebook, Notebook.id == kind.notebook_id)
            .join(Assignment, Assignment.id == Notebook.assignment_id)
            .where(Assignment.name == assignment)
        )
        found |= {(notebook, name): points or 0.0 for notebook, name, points in opened.db.execute(query)}
    return dict(sorted(found.items()))


def submissions(opened: Gradebook, assignment: str) -> dict[str, Submission]:
    """Every submission of an assignment that the gradebook knows, by student."""
    marks, penalties = _marks(opened, assignment), _penalties(opened, assignment)
    query = (
        select(SubmittedAssignment)
        .join(SubmittedAssignment.assignment)
        .options(joinedload(SubmittedAssignment.assignment))
        .where(Assignment.name == assignment)
        .order_by(SubmittedAssignment.student_id)
    )
    return {
        there.student_id: Submission(
            marks.get(there.student_id, {}), penalties.get(there.student_id, 0.0), _late(there), there.timestamp
        )
        for there in opened.db.execute(query).scalars()
    }


def _late(there: SubmittedAssignment) -> float:
    due = there.assignment.duedate is not None  # without one, nbgrader fails at an extension
    return float(there.total_seconds_late) if due else 0.0


def _marks(opened: Gradebook, assignment: str) -> dict[str, dict[Cell, Mark]]:
    query = (
        select(
            SubmittedAssignment.student_id,
            Notebook.name,
            BaseCell.name,
            Grade.auto_score,
            Grade.manual_score,
            Grade.score,
            Grade.needs_manual_grade,
        )
        .select_from(Grade)
        .join(BaseCell, BaseCell.id == Grade.cell_id)
        .join(SubmittedNotebook, SubmittedNotebook.id == Grade.notebook_id)
        .join(Notebook, Notebook.id == SubmittedNotebook.notebook_id)
        .join(SubmittedAssignment, SubmittedAssignment.id == SubmittedNotebook.assignment_id)
        .join(Assignment, Assignment.id == SubmittedAssignment.assignment_id)
        .where(Assignment.name == assignment)
    )
    found: dict[str, dict[Cell, Mark]] = defaultdict(dict)
    for student, notebook, cell, automatic, manual, score, needs_look in opened.db.execute(query):
        given = automatic is not None or manual is not None
        found[student][notebook, cell] = Mark(float(score) if given else None, manual is not None, bool(needs_look))
    return found


def _penalties(opened: Gradebook, assignment: str) -> dict[str, float]:
    query = (
        select(SubmittedAssignment.student_id, func.sum(SubmittedNotebook.late_submission_penalty))
        .join(SubmittedNotebook, SubmittedNotebook.assignment_id == SubmittedAssignment.id)
        .join(Assignment, Assignment.id == SubmittedAssignment.assignment_id)
        .where(Assignment.name == assignment)
        .group_by(SubmittedAssignment.student_id)
    )
    return {student: float(penalty or 0.0) for student, penalty in opened.db.execute(query)}
