"""A class goes through nbgrader's own pipeline into its gradebook and feedback."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.api import Gradebook

from autograder import compose, course, feedback, judge, workers
from autograder import grade as grading
from autograder.blocks import ROOT
from autograder.errors import UserError

TOTAL = sum(exercise.points for exercise in compose.exercises("lstm"))


@pytest.fixture
def classroom(lstm_course, tmp_path):
    """A copy of the course with four submissions: right, untouched, one mistake, unreadable."""
    folder = tmp_path / "course"
    shutil.copytree(lstm_course, folder)
    right = nbformat.read(folder / "source/lstm/lstm.ipynb", 4)
    hand_in(folder, "ada", right)
    hand_in(folder, "blaise", nbformat.read(folder / "release/lstm/lstm.ipynb", 4))
    for cell in right.cells:
        cell.source = cell.source.replace(
            "h_t = o * tanh_c\n    return h_t, c_t, (x, h, c, W_x, W_h, i",
            "h_t = o * c_t\n    return h_t, c_t, (x, h, c, W_x, W_h, i",
        )
    hand_in(folder, "carl", right)
    (folder / "submitted/dora/lstm").mkdir(parents=True)
    (folder / "submitted/dora/lstm/lstm.ipynb").write_text("{ not json", encoding="utf-8")
    return folder


def hand_in(folder: Path, student: str, notebook) -> None:
    path = folder / "submitted" / student / "lstm"
    path.mkdir(parents=True)
    nbformat.write(notebook, path / "lstm.ipynb")


def in_gradebook(folder: Path) -> dict[str, float]:
    with Gradebook(f"sqlite:///{folder}/gradebook.db", "deep-learning-block-by-block") as gradebook:
        return {s.student.id: s.score for s in gradebook.assignment_submissions("lstm")}


def test_a_class_lands_in_gradebook_and_feedback(classroom, graded):
    records = {r.student: r for r in graded(classroom, grading.submissions(classroom, "lstm"))}
    assert (records["ada"].points, records["ada"].out_of) == (TOTAL, TOTAL)
    assert records["blaise"].points == 0
    assert 0 < records["carl"].points < TOTAL
    assert "no readable notebook" in records["dora"].problem
    assert in_gradebook(classroom) == {name: records[name].points for name in ("ada", "blaise", "carl")}

    assert course.api(classroom).generate_feedback("lstm")["success"]
    for folder in ("autograded", "feedback"):  # the public cases are large, and a class has many students
        assert [path.suffix for path in (classroom / folder / "carl/lstm").iterdir()] in ([".ipynb"], [".html"])
    page = (classroom / "feedback/carl/lstm/lstm.html").read_text(encoding="utf-8")
    assert "tanh" in page
    assert "Looks like:" in page


def test_feedback_written_by_several_processes_is_that_of_nbgrader(classroom, graded):
    students = ["ada", "blaise", "carl"]
    graded(classroom, students)
    assert course.api(classroom).generate_feedback("lstm")["success"]
    pages = [classroom / "feedback" / student / "lstm" / "lstm.html" for student in students]
    expected = [page.read_text(encoding="utf-8") for page in pages]
    shutil.rmtree(classroom / "feedback")
    with workers.local(2) as client:
        assert sorted(feedback.write(classroom, "lstm", feedback.graded(classroom, "lstm"), client)) == students
    assert [page.read_text(encoding="utf-8") for page in pages] == expected


def test_feedback_that_cannot_be_written_names_the_student_and_costs_nobody_else(classroom, client, graded):
    graded(classroom, ["ada", "blaise", "carl"])
    (classroom / "autograded/ada/lstm/lstm.ipynb").write_text("{ not json", encoding="utf-8")
    os.rename(classroom / "autograded/carl", classroom / "autograded/carl [2]*")  # a pattern to nbgrader
    students = feedback.graded(classroom, "lstm")
    with pytest.raises(UserError, match="could not write the feedback of ada \\(and of 1 other\\): "):
        list(feedback.write(classroom, "lstm", students, client))
    assert (classroom / "feedback/blaise/lstm/lstm.html").exists()
    with pytest.raises(UserError, match=r"of carl \[2\]\*: .*rename it"):
        list(feedback.write(classroom, "lstm", students[-1:], client))


def test_no_script_of_a_student_reaches_the_feedback(classroom, problem_of):
    path = classroom / "submitted/ada/lstm/lstm.ipynb"
    notebook = nbformat.read(path, 4)
    hostile = (
        "<script>alert(1)</script>\n\n<img src=x onerror=alert(2)> <a href='javascript:alert(3)'>x</a> **bold** $a < b$"
    )
    notebook.cells.insert(3, new_markdown_cell(hostile))
    notebook.cells.insert(4, new_code_cell(f"print({hostile!r})\nraise ValueError({hostile!r})"))
    nbformat.write(notebook, path)
    assert problem_of(classroom, "ada") == ""
    assert course.api(classroom).generate_feedback("lstm")["success"]
    page = BeautifulSoup((classroom / "feedback/ada/lstm/lstm.html").read_text(encoding="utf-8"), "html.parser")
    assert not [script for script in page.find_all("script") if "alert" in script.text]
    assert not page.find_all("img", onerror=True)
    assert not [link for link in page.find_all("a", href=True) if link["href"].startswith("javascript")]
    assert page.find("strong", string="bold")
    assert page.find("td", string="h is right")["style"]


def test_grading_again_gives_the_same_marks(classroom, graded):
    first = {r.student: r.points for r in graded(classroom, ["ada", "carl"])}
    again = graded(classroom, ["ada", "carl"], force=True)
    assert {r.outcome for r in again} == {"graded"}
    assert {r.student: r.points for r in again} == first


def test_plain_nbgrader_autograde_gives_the_same_scores(classroom, tmp_path, graded):
    shutil.rmtree(classroom / "submitted/dora")
    ours_folder = tmp_path / "ours"
    shutil.copytree(classroom, ours_folder)
    ours = {r.student: r.points for r in graded(ours_folder, ["ada", "blaise", "carl"])}
    shutil.copy(ROOT / "nbgrader_config.py", tmp_path)
    command = [Path(sys.executable).with_name("nbgrader"), "autograde", "lstm"]
    environment = {**os.environ, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert in_gradebook(classroom) == ours


def test_seeds_differ_by_student_and_question_and_stay(tmp_path):
    secret = judge.course_secret(tmp_path)
    assert judge.course_secret(tmp_path) == secret
    assert (tmp_path / ".secret").stat().st_mode & 0o077 == 0
    seeds = {judge.seed(secret, student, name) for student in ("ada", "carl") for name in ("one", "two")}
    assert len(seeds) == 4
    assert judge.seed(secret, "ada", "one") in seeds


@pytest.fixture
def problem_of(graded):
    def run(folder: Path, student: str) -> str:
        (record,) = graded(folder, [student])
        return record.problem

    return run


@pytest.mark.parametrize("content", ["[" * 200_000, '{"cells": ["\\ud800"]}', "[]", '{"cells": 3}', "\xff\xfe", ""])
def test_a_file_that_is_no_notebook_ends_in_a_record(classroom, content, problem_of):
    (classroom / "submitted/dora/lstm/lstm.ipynb").write_text(content, encoding="latin-1")
    assert "notebook" in problem_of(classroom, "dora")


def test_a_link_to_the_work_of_another_is_refused(classroom, problem_of):
    (classroom / "submitted/eve").mkdir()
    (classroom / "submitted/eve/lstm").symlink_to(classroom / "submitted/ada/lstm")
    assert "symbolic link" in problem_of(classroom, "eve")


def test_a_name_that_is_a_pattern_is_refused(classroom, problem_of):
    shutil.copytree(classroom / "submitted/ada", classroom / "submitted/a[d]a")
    assert "rename the folder" in problem_of(classroom, "a[d]a")


@pytest.mark.parametrize("name", ["o'neil mary", "Zoë 李", 'quo"te'])
def test_a_name_of_any_letters_is_graded(classroom, name, problem_of):
    shutil.copytree(classroom / "submitted/ada", classroom / "submitted" / name)
    assert problem_of(classroom, name) == ""
    assert in_gradebook(classroom)[name] == TOTAL


def test_an_earlier_mark_does_not_outlive_a_submission_that_cannot_be_graded(classroom, problem_of):
    assert problem_of(classroom, "ada") == ""
    (classroom / "submitted/ada/lstm/lstm.ipynb").write_text("{", encoding="utf-8")
    assert problem_of(classroom, "ada") != ""
    assert in_gradebook(classroom)["ada"] == 0
    assert not (classroom / "autograded/ada/lstm").exists()
    with Gradebook(f"sqlite:///{classroom}/gradebook.db", "deep-learning-block-by-block") as gradebook:
        assert gradebook.find_submission("lstm", "ada").needs_manual_grade


def test_marks_are_out_of_what_was_released(classroom, monkeypatch, graded):
    page = compose.exercises("lstm")
    doubled = [dataclasses.replace(exercise, points=2 * exercise.points) for exercise in page]
    monkeypatch.setattr(compose, "exercises", lambda stem: doubled)
    (record,) = graded(classroom, ["ada"])
    assert (record.points, record.out_of) == (TOTAL, TOTAL)


def test_a_damaged_secret_is_refused_rather_than_used(tmp_path):
    (tmp_path / ".secret").write_bytes(b"")
    with pytest.raises(UserError, match="is damaged"):
        judge.course_secret(tmp_path)


def test_an_assignment_that_was_never_released_is_refused(classroom):
    (classroom / "gradebook.db").unlink()
    with pytest.raises(UserError, match=r"there is no gradebook .* release"):
        grading.open_assignment(classroom, "lstm")


def test_the_settings_of_the_course_hold(classroom, graded):
    path = classroom / "submitted/ada/lstm/lstm.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.cells.insert(0, new_code_cell("import time\ntime.sleep(2)"))
    nbformat.write(notebook, path)
    (classroom / "nbgrader_config.py").write_text("c = get_config()\nc.JudgedExecute.notebook_seconds = 0.5\n")
    (record,) = graded(classroom, ["ada"])
    assert (record.points, record.problem) == (0, "")


def test_settings_that_cannot_be_used_are_told_in_one_line(classroom):
    (classroom / "nbgrader_config.py").write_text("c = get_config(\n")
    with pytest.raises(UserError, match=r"nbgrader_config\.py can't be used: SyntaxError"):
        course.api(classroom)


def test_a_name_that_is_no_text_is_refused(classroom, problem_of):
    name = os.fsdecode(b"ad\xff")
    shutil.copytree(classroom / "submitted/ada", classroom / "submitted" / name)
    assert "rename the folder" in problem_of(classroom, name)


def test_a_byte_order_mark_costs_nothing(classroom, problem_of):
    file = classroom / "submitted/ada/lstm/lstm.ipynb"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert problem_of(classroom, "ada") == ""
    assert in_gradebook(classroom)["ada"] == TOTAL
