"""An instructor's ordinary assignment, with tests of its own in its cells, is graded as nbgrader grades it."""

import shutil
import warnings
from pathlib import Path

import nbformat
import nbgrader
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from nbgrader.api import Gradebook
from nbgrader.apps.api import NbGraderAPI
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config

from autograder import course
from autograder import grade as grading
from autograder.errors import UserError

EXAMPLE = Path(nbgrader.__file__).parent / "docs/source/user_guide"
STUDENTS = ["bitdiddle", "hacker"]


def marks(folder: Path, assignment: str) -> dict[tuple[str, str, str], tuple[float | None, bool]]:
    """Every mark that the gradebook holds, by student, notebook and cell."""
    with Gradebook(f"sqlite:///{folder}/gradebook.db", "deep-learning-block-by-block") as gradebook:
        return {
            (submission.student.id, notebook.name, grade.name): (grade.auto_score, grade.needs_manual_grade)
            for submission in gradebook.assignment_submissions(assignment)
            for notebook in submission.notebooks
            for grade in notebook.grades
        }


def with_stock_nbgrader(folder: Path, assignment: str) -> None:
    """Grade with nbgrader alone: its own kernels and preprocessors."""
    config = Config()
    config.CourseDirectory.root = str(folder)
    config.CourseDirectory.course_id = "deep-learning-block-by-block"
    config.Execute.timeout = 60
    with warnings.catch_warnings():  # nbgrader, nbclient and their event loops have warnings of their own
        warnings.simplefilter("ignore")
        api = NbGraderAPI(CourseDirectory(config=config), config=config)
        for path in sorted((folder / "submitted").glob(f"*/{assignment}")):
            result = api.autograde(assignment, path.parent.name)
            assert result["success"], result["log"]


def released(folder: Path, assignment: str) -> None:
    result = course.api(folder).generate_assignment(assignment, force=True, create=True)
    assert result["success"], result["log"]


@pytest.fixture(scope="module")
def example(tmp_path_factory) -> Path:
    """The example course that nbgrader ships, with its two submissions."""
    folder = tmp_path_factory.mktemp("example") / "course"
    shutil.copytree(EXAMPLE / "source/ps1", folder / "source/ps1")
    shutil.copy(EXAMPLE / "source/header.ipynb", folder / "source")
    for student in STUDENTS:
        shutil.copytree(EXAMPLE / "submitted" / student, folder / "submitted" / student)
    released(folder, "ps1")
    return folder


def test_nbgraders_own_example_course_gets_the_marks_that_nbgrader_gives(example, tmp_path, graded):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    shutil.copytree(example, ours)
    shutil.copytree(example, theirs)
    records = graded(ours, STUDENTS, "ps1")
    assert {record.outcome for record in records} == {"graded"}
    with_stock_nbgrader(theirs, "ps1")
    assert marks(ours, "ps1") == marks(theirs, "ps1")
    assert len(set(marks(ours, "ps1").values())) > 2  # not all alike
    assert sorted(path.name for path in (ours / "autograded/hacker/ps1").iterdir()) == sorted(
        path.name for path in (theirs / "autograded/hacker/ps1").iterdir()
    )


TESTS = {
    "passes": "assert helper.twice(answer) == 84",
    "fails": "assert answer == 43",
    "partial": "0.5 * (answer == 42)",
    "reads": "assert open('data.txt').read() == '17'",
    "prints_to_stderr": "import sys; print('w', file=sys.stderr)",
    "shows": "import numpy as np; np.arange(3)",
    "ends": "import os; os._exit(0)",
    "loops": "while True: pass",
    "comes_after": "assert answer == 42",
}


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """An assignment with every kind of outcome that a test cell can have, and files that it needs."""
    folder = tmp_path_factory.mktemp("own") / "course"
    source = folder / "source/own"
    source.mkdir(parents=True)
    cells = [cell("answer", "### BEGIN SOLUTION\nanswer = 42\n### END SOLUTION\nimport helper", solution=True)]
    cells += [cell(name, test, grade=True, locked=True, points=2) for name, test in TESTS.items()]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), source / "own.ipynb")
    (source / "data.txt").write_text("17")
    (source / "helper.py").write_text("def twice(x):\n    return 2 * x\n")
    shutil.copytree(source, folder / "submitted/ada/own")
    (folder / "submitted/ada/own/data.txt").write_text("a student's own")
    released(folder, "own")
    return folder


def cell(name: str, source: str, **traits):
    made = new_code_cell(source, id=name)
    plain = {"grade": False, "solution": False, "locked": False, "task": False, "schema_version": 3}
    made.metadata.nbgrader = {**plain, "grade_id": name, **traits}
    return made


def test_every_outcome_of_an_ordinary_test_counts_as_nbgrader_counts_it(own, tmp_path, graded):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    shutil.copytree(own, ours)
    (ours / "nbgrader_config.py").write_text("c = get_config()\nc.JudgedExecute.cell_seconds = 2\n")
    assert [record.outcome for record in graded(ours, ["ada"], "own")] == ["graded"]
    ours_marks = {name: score for (_, _, name), (score, _) in marks(ours, "own").items()}
    assert ours_marks.pop("ends") == ours_marks.pop("loops") == 0  # with nbgrader these end the whole run

    shutil.copytree(own, theirs)
    file = theirs / "submitted/ada/own/own.ipynb"
    notebook = nbformat.read(file, 4)
    notebook.cells = [c for c in notebook.cells if c.id not in ("ends", "loops")]
    nbformat.write(notebook, file)
    with_stock_nbgrader(theirs, "own")
    theirs_marks = {name: score for (_, _, name), (score, _) in marks(theirs, "own").items()}
    assert ours_marks == {name: theirs_marks[name] for name in ours_marks}
    assert set(ours_marks.values()) == {0.0, 0.5, 2.0}


def test_one_question_of_an_ordinary_assignment_cannot_be_judged_alone(own):
    opened = grading.open_assignment(own, "own")
    with pytest.raises(UserError, match="use --force"):
        grading.require_question(opened, "passes")


def test_a_link_beside_an_ordinary_assignment_is_told_in_one_line(own, tmp_path):
    folder = tmp_path / "course"
    shutil.copytree(own, folder)
    (folder / "source/own/link.txt").symlink_to("/etc/passwd")
    with pytest.raises(UserError, match=r"link\.txt is no ordinary file"):
        grading.open_assignment(folder, "own")


def test_a_notebook_that_is_missing_gets_no_points_and_the_others_count(example, tmp_path, graded):
    folder = tmp_path / "course"
    shutil.copytree(example, folder)
    (folder / "submitted/bitdiddle/ps1/problem2.ipynb").unlink()
    graded(folder, ["bitdiddle"], "ps1")
    scores = {(notebook, name): score for (_, notebook, name), (score, _) in marks(folder, "ps1").items()}
    assert {score for (notebook, _), score in scores.items() if notebook == "problem2"} == {0}
    assert any(score for (notebook, _), score in scores.items() if notebook == "problem1")
