"""The one place that writes marks: a judged submission goes into nbgrader's gradebook and its autograded/ folder."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook, MissingEntry, Student
from nbgrader.converters import Autograde
from nbgrader.coursedir import CourseDirectory
from sqlalchemy.engine import make_url
from traitlets.config import Config

from autograder import compose, pipeline
from autograder.submission import Submission, UnreadableError


def autograded(coursedir: CourseDirectory, student: str, assignment: str) -> Path:
    return Path(coursedir.format_path(coursedir.autograded_directory, student, assignment))


def save(
    coursedir: CourseDirectory,
    config: Config,
    submission: Submission,
    judged: pipeline.Judged,
    only: str = "",
) -> None:
    """Write the automatic marks of a submission, or of its one question `only`; manual marks and comments stay.

    Raises UnreadableError if the gradebook has no room for the student's name.
    """
    _require_room(coursedir, submission.student)
    _enter(coursedir, submission)
    for name, text in judged.notebooks.items():
        nb = nbformat.reads(text, 4)
        if only:
            nb.cells = [cell for cell in nb.cells if compose.checked_question(cell) == only]
        pipeline.apply(pipeline.SAVE, nb, pipeline.resources_of(submission, name, coursedir.db_url), config)
    _write(coursedir, config, submission, judged.notebooks)


def _require_room(coursedir: CourseDirectory, student: str) -> None:
    room = Student.id.type.length
    if len(student) > room and make_url(coursedir.db_url).get_backend_name() != "sqlite":  # which takes any length
        raise UnreadableError(f"its name has {len(student)} characters, the gradebook takes {room}: rename the folder")


def _enter(coursedir: CourseDirectory, submission: Submission) -> None:
    """Enter student and submission; a notebook of the assignment that is missing gets no points."""
    student, assignment = submission.student, submission.assignment
    when = {"timestamp": submission.timestamp} if submission.timestamp else {}
    with Gradebook(coursedir.db_url, coursedir.course_id) as gradebook:
        gradebook.update_or_create_student(student)
        entered = gradebook.update_or_create_submission(assignment, student, **when)
        for notebook in entered.notebooks:
            if notebook.name not in submission.notebooks:
                for part in notebook.grades:
                    part.auto_score, part.needs_manual_grade = 0, False
        gradebook.db.commit()


def _write(coursedir: CourseDirectory, config: Config, submission: Submission, notebooks: Mapping[str, str]) -> None:
    """Put a new autograded/<student>/<assignment>/ in the place of the old one, with nbgrader's permissions."""
    student, assignment = submission.student, submission.assignment
    folder = autograded(coursedir, student, assignment)
    new = folder.with_name(f".{assignment}-{os.getpid()}")
    files = {f"{name}.ipynb": text.encode() for name, text in notebooks.items()} | dict(submission.files)
    files |= {name: text.encode() for name, text in submission.receipt.items()}
    shutil.rmtree(new, ignore_errors=True)
    for name, content in files.items():
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        (new / name).write_bytes(content)
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)
    new.rename(folder)
    Autograde(coursedir=coursedir, config=config).set_permissions(assignment, student)


def take_back(coursedir: CourseDirectory, student: str, assignment: str) -> None:
    """Leave no automatic mark and no page of an earlier grading; manual marks and comments stay."""
    for stage in (coursedir.autograded_directory, coursedir.feedback_directory):
        shutil.rmtree(coursedir.format_path(stage, student, assignment), ignore_errors=True)
    with Gradebook(coursedir.db_url, coursedir.course_id) as gradebook, suppress(MissingEntry):
        for notebook in gradebook.find_submission(assignment, student).notebooks:
            for part in notebook.grades:
                part.auto_score, part.needs_manual_grade = None, True
        gradebook.db.commit()


def score(coursedir: CourseDirectory, student: str, assignment: str) -> float:
    """What a submission counts: the score that stands in the gradebook without its late penalty."""
    with Gradebook(coursedir.db_url, coursedir.course_id) as gradebook:
        submission = gradebook.find_submission(assignment, student)
        return max(0.0, float(submission.score - submission.late_submission_penalty))
