"""The pages that tell students what they got and why: made by nbgrader, several at a time."""

import glob
from collections.abc import Iterator
from pathlib import Path

from distributed import Client, as_completed

from autograder import course
from autograder.errors import UserError


def graded(folder: Path, stem: str) -> list[str]:
    """The students whose submissions are graded. Raises UserError if there are none."""
    notebooks = (course.require(folder) / "autograded").glob(f"*/{stem}/*.ipynb")
    students = sorted({notebook.parent.parent.name for notebook in notebooks})
    if not students:
        raise UserError(f"nothing of {stem} has been graded yet: run `python -m autograder grade {stem}` first")
    return students


def write(folder: Path, stem: str, students: list[str], client: Client) -> Iterator[str]:
    """Write feedback/<student>/<stem>/<stem>.html of each student, and yield the student as soon as it is there.

    Raises UserError, after the others' pages are written, if nbgrader could not write some.
    """
    sent = {client.submit(_write_page, folder, stem, student, pure=False): student for student in students}
    problems = {}
    for page in as_completed(list(sent)):
        problem, student = page.result(), sent[page]
        if problem:
            problems[student] = problem
        yield student
    if problems:
        student, problem = min(problems.items())
        others = f" (and of {len(problems) - 1} other{'s' * (len(problems) > 2)})" if len(problems) > 1 else ""
        raise UserError(f"nbgrader could not write the feedback of {student}{others}: {problem}")


def _write_page(folder: Path, stem: str, student: str) -> str:
    """Write one student's page; return what went wrong, or nothing."""
    if glob.has_magic(student):
        return "nbgrader takes the *, ? or [ in the folder's name for a pattern: rename it, and grade again"
    result = course.api(folder).generate_feedback(stem, student)
    return "" if result["success"] else course.reason(result)
