"""Marks for a learning platform: nbgrader's exporters for Canvas, for Moodle, and as plain CSV.

`nbgrader export --exporter autograder.export.CanvasExport --to grades.csv`, or `write`.

A student without a marked submission gets no mark rather than a zero: nobody knows here who is excused, and both
platforms have a setting for what is missing. Marks are those that count: with manual marks, less late penalties.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook, Student
from nbgrader.plugins import ExportPlugin

from autograder import marks
from autograder.errors import UserError

Row = list[str]
NUMBER = re.compile(r"[+-]?\d+(\.\d+)?", re.ASCII)
UNKNOWN = "none"
FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")  # what a formula begins with, in full width too


class _Export(ExportPlugin):  # type: ignore[misc]
    """What the exporters share: which students and assignments, and a file that is whole or not there."""

    def export(self, gradebook: Gradebook) -> None:
        """Write the file. Raises UserError if an assignment or a student is unknown, or the file can't be written."""
        file = Path(self.to or "grades.csv")
        lines = io.StringIO(newline="")
        csv.writer(lines).writerows(self.rows(gradebook))
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(lines.getvalue(), encoding="utf-8", newline="")
        except OSError as error:
            raise UserError(f"can't write the grades to {file}: {error.strerror}") from error
        self.log.info("Exported grades to %s", file)

    def rows(self, gradebook: Gradebook) -> Iterable[Row]:
        raise NotImplementedError

    def assignments(self, gradebook: Gradebook) -> list[Any]:
        """The assignments that are wanted, by default all."""
        if self.assignment:
            return [marks.require(gradebook, str(name)) for name in dict.fromkeys(self.assignment)]
        if not gradebook.assignments:
            raise UserError("the gradebook has no assignment yet: release and grade one first")
        return list(gradebook.assignments)

    def students(self, gradebook: Gradebook) -> list[Student]:
        """The students who are wanted, by default all."""
        wanted = {str(student) for student in self.student}
        found = [student for student in gradebook.students if not wanted or student.id in wanted]
        if wanted - {student.id for student in found}:
            raise UserError(f"the gradebook has no student {', '.join(sorted(wanted - {s.id for s in found}))}")
        return found

    def scores(self, gradebook: Gradebook, none: str) -> list[dict[str, str]]:
        """For each assignment the marks by student; `none` stands for a submission that has no mark yet."""
        return [
            {student: number(there.score) if there.graded else none for student, there in found.items()}
            for found in (marks.submissions(gradebook, there.name) for there in self.assignments(gradebook))
        ]


class CanvasExport(_Export):
    """A file for Canvas: Grades, Import.

    Canvas wants the columns Student, ID, SIS User ID, SIS Login ID, Section in front, and finds a student by the first
    that it knows of ID (its own number: nbgrader's lms_user_id, where that is a number), SIS User ID (an lms_user_id
    that is none, else the student's id), SIS Login ID (the student's id), name. It ignores Section. An assignment
    goes by its title, and is offered as a new one, out of Points Possible, where Canvas has none of that title. An
    empty cell is no mark.
    """

    def rows(self, gradebook: Gradebook) -> Iterator[Row]:
        assignments = self.assignments(gradebook)
        scores = self.scores(gradebook, "")
        yield ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", *(no_formula(a.name) for a in assignments)]
        yield ["    Points Possible", "", "", "", "", *(number(there.max_score) for there in assignments)]
        for student in self.students(gradebook):
            there = student.lms_user_id or ""
            own = there if there.isdecimal() and there.isascii() else ""
            who = [full_name(student), own, student.id if own else there or student.id, student.id, ""]
            yield [*map(no_formula, who), *(score.get(student.id, "") for score in scores)]


class MoodleExport(_Export):
    """A file for Moodle: Grades, Import, CSV file; map from Username, Email address or ID number.

    This is Moodle's gradebook import, not the grading worksheet of an assignment, which goes by numbers that only
    Moodle knows. Map an assignment's column to an existing item with the same maximum, since Moodle makes new ones out
    of 100. Moodle gives the marks of a row whose identifier is empty to the student of the row before, so a missing
    email address or ID number (nbgrader's lms_user_id) reads "none", at which Moodle stops and says so. "-" is no mark;
    Moodle takes an empty cell for a zero in a new item.
    """

    def rows(self, gradebook: Gradebook) -> Iterator[Row]:
        scores = self.scores(gradebook, "-")
        names = [no_formula(there.name) for there in self.assignments(gradebook)]
        yield ["Username", "First name", "Last name", "ID number", "Email address", *names]
        for student in self.students(gradebook):
            identifiers = [student.lms_user_id or UNKNOWN, student.email or UNKNOWN]
            who = [student.id, student.first_name or "", student.last_name or "", *identifiers]
            yield [*map(no_formula, who), *(score.get(student.id, "-") for score in scores)]


class CsvExport(_Export):
    """The columns of nbgrader's own CsvExportPlugin, whose file breaks at names with commas, quotes or line breaks.

    A row for each student and assignment. Where nothing was marked, the scores are empty and not 0.
    """

    def rows(self, gradebook: Gradebook) -> Iterator[Row]:
        yield [
            *("assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email"),
            *("raw_score", "late_submission_penalty", "score", "max_score"),
        ]
        for assignment in self.assignments(gradebook):
            found = marks.submissions(gradebook, assignment.name)
            for student in self.students(gradebook):
                there = found.get(student.id)
                who = (student.id, student.last_name, student.first_name, student.email)
                dates = (assignment.duedate or "", (there and there.timestamp) or "")
                points = (there.raw_score, there.penalty, there.score) if there and there.graded else ()
                text = [no_formula(str(value or "")) for value in (assignment.name, *dates, *who)]
                scores = [str(round(mark, 4)) for mark in points] or ["", "", ""]
                yield [*text, *scores, str(assignment.max_score)]


KINDS: dict[str, type[_Export]] = {"canvas": CanvasExport, "moodle": MoodleExport, "csv": CsvExport}


def write(course: Path, kind: str, file: Path, assignments: Sequence[str] = ()) -> Path:
    """Write the marks of a class, of all assignments where none is named. Returns the file.

    Raises UserError if there is no such kind, course or assignment, or the file can't be written.
    """
    if kind not in KINDS:
        raise UserError(f"there is no export as {kind!r}; there is: {', '.join(KINDS)}")
    with marks.gradebook(course) as gradebook:
        KINDS[kind](to=str(file), assignment=list(assignments)).export(gradebook)
    return file


def full_name(student: Student) -> str:
    """Last name, first name: as Canvas sorts them; the id where there is neither."""
    return ", ".join(part for part in (student.last_name, student.first_name) if part) or str(student.id)


def number(value: float) -> str:
    """A mark without trailing zeros, to four decimals."""
    return f"{value:.4f}".rstrip("0").rstrip(".")


def no_formula(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would run as a formula; plain numbers stay as they are."""
    first = text.lstrip()[:1]
    formula = first in FORMULA or text[:1] in ("\t", "\r", "\n")
    return f"'{text}" if formula and not NUMBER.fullmatch(text) else text
