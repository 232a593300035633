"""The nbgrader course: its folder, its configuration, its assignments."""

import os
import re
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from sqlalchemy.exc import OperationalError, SAWarning
from traitlets.config import Config, PyFileConfigLoader

from autograder import blocks, compose, formgrader, harmless, pipeline, question, stubs
from autograder.errors import UserError

FOLDER = blocks.ROOT / "course"
LOCKED = "the gradebook is locked by another program: close Formgrader and other graders, then run this again"


def configure(config: Config, course: Path, sandbox: str = "bwrap") -> Config:
    """Set what makes nbgrader grade our way in a course folder; returns the same config."""
    scripts = str(Path(sys.executable).parent)
    if scripts not in os.environ["PATH"].split(os.pathsep):  # nbgrader runs the command alembic
        os.environ["PATH"] = scripts + os.pathsep + os.environ["PATH"]
    warnings.filterwarnings("ignore", "Object of type <Submitted", SAWarning)  # nbgrader's own, harmless
    config.CourseDirectory.root = str(course)
    config.CourseDirectory.course_id = "deep-learning-block-by-block"
    config.Exchange.root = str(course / "exchange")
    config.CourseDirectory.ignore = [".ipynb_checkpoints", "*.pyc", "__pycache__", "feedback"]
    config.GenerateAssignment.post_convert_hook = "autograder.course.hand_out"
    config.Autograde.sanitize_preprocessors = list(pipeline.SANITIZE)
    config.Autograde.autograde_preprocessors = [*pipeline.JUDGE, *pipeline.SAVE, "autograder.save_audit.SaveAudit"]
    config.HTMLExporter.preprocessors = ["autograder.harmless.Harmless"]  # for Formgrader and for feedback
    config.HTMLExporter.filters = harmless.FILTERS
    formgrader.guard()
    config.ClearSolutions.code_stub = {"python": stubs.BODY}
    config.JudgedExecute.sandbox = sandbox
    config.merge(own_settings(course))
    return config


def own_settings(course: Path) -> Config:
    """What the course's own nbgrader_config.py sets (late penalties, a database, clocks); nothing if there is none.

    Raises UserError if that file can't be run.
    """
    file = course / "nbgrader_config.py"
    if not file.exists():
        return Config()
    try:
        settings: Config = PyFileConfigLoader(file.name, path=str(course)).load_config()
    except Exception as error:
        raise UserError(f"{file} can't be used: {type(error).__name__}: {error}") from error
    return settings


def hand_out(assignment: str, student: str, notebooks: list[str]) -> None:
    """Put check.py and the public cases beside a released notebook: nbgrader's hook after generate_assignment.

    They don't lie in source/, from where nbgrader would copy them beside every graded notebook.
    """
    if assignment in blocks.stems():
        course = Path(notebooks[0]).resolve().parents[2]
        shutil.copytree(compose.handout(assignment, course), course / "release" / assignment, dirs_exist_ok=True)


def require(course: Path) -> Path:
    """Return the course folder. Raises UserError if there is none."""
    if not course.is_dir():
        raise UserError(f"there is no course in {course}: make one with `python -m autograder build`")
    return course


def require_questions(stem: str, released: Sequence[str]) -> None:
    """Check that the course can still judge what it has released. Raises UserError otherwise."""
    lost = sorted(set(released) - set(question.of_block(stem)))
    if lost:
        raise UserError(
            f"{stem} was released with {', '.join(lost)}, which questions/{stem}.py no longer has: put it back, or "
            f"release again with `python -m autograder release {stem} --force`"
        )


def api(course: Path, sandbox: str = "bwrap") -> NbGraderAPI:
    """Open a course through nbgrader. Raises UserError if there is none."""
    config = configure(Config(), require(course), sandbox)
    return NbGraderAPI(CourseDirectory(config=config), config=config)


def release(course: Path, stem: str) -> Path:
    """Run nbgrader's generate_assignment: release/<stem>/ without solutions. Returns that folder.

    Raises UserError if the source is missing or nbgrader refuses it.
    """
    built = course / "source" / blocks.require(stem) / f"{stem}.ipynb"
    if not built.exists() or not compose.handout(stem, course).exists():
        compose.build(stem, course)
    result = api(course).generate_assignment(stem, force=True, create=True)
    folder = course / "release" / stem
    if not result["success"] or not all((folder / name).exists() for name in compose.PUBLIC_FILES):
        raise UserError(f"nbgrader could not release {stem}: {reason(result)}")
    return folder


def fault(error: BaseException) -> str:
    """Say in one line what went wrong with the machine, and what to do where that is known."""
    text = str(error.orig if isinstance(error, OperationalError) else error).strip()
    if "database is locked" in text:
        return LOCKED
    line = text.splitlines()[0] if text else "no reason given"
    if isinstance(error, OperationalError):  # its server is gone, its disk is full
        return f"the gradebook can't be used: {line}"
    return f"{type(error).__name__}: {line}"


def reason(result: dict[str, str]) -> str:
    """Find in what nbgrader logged the error that it failed of, and what to do where that is known."""
    text = f"{result.get('error') or ''}\n{result.get('log') or ''}"
    if "database is locked" in text:
        return LOCKED
    errors = re.findall(r"^\s*([\w.]+(?:Error|Exception|Invalid)\w*: .+)$", text, re.MULTILINE)
    errors += re.findall(r"^\[(?:ERROR|CRITICAL)\] (.+)$", text, re.MULTILINE)
    return next((error for error in errors if "NbGraderException" not in error), "no reason given")
