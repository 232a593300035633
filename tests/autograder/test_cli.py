"""Bad input: one clear line, exit status 2, nothing half-written."""

import os
import shutil

import pytest
from click.testing import CliRunner

from autograder import workers
from autograder.cli import main
from autograder.sandbox import Sandbox


@pytest.fixture
def run():
    def invoke(*arguments: object):
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return invoke


def one_line(result, *words: str) -> None:
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert all(word in result.stderr for word in words), result.stderr


@pytest.mark.parametrize("command", ["build", "release"])
def test_an_unknown_stem_is_refused(run, tmp_path, command):
    folder = tmp_path / "course"
    if command != "build":
        folder.mkdir()
    one_line(run(command, "transformer", "--course", folder), "no block 'transformer'", "lstm")
    assert not folder.exists() or not list(folder.iterdir())


@pytest.mark.parametrize("command", ["grade", "feedback"])
def test_a_missing_course_is_refused(run, tmp_path, command):
    one_line(run(command, "lstm", "--course", tmp_path / "none"), "there is no course in", "autograder build")
    assert not (tmp_path / "none").exists()


def test_a_class_that_handed_in_nothing_is_refused(run, tmp_path):
    one_line(run("grade", "lstm", "--course", tmp_path), "no submission lies in")


def test_an_unknown_student_is_refused(run, lstm_course, tmp_path):
    (tmp_path / "submitted/ada/lstm").mkdir(parents=True)
    one_line(run("grade", "lstm", "--only", "eve", "--course", tmp_path), "no submission of eve")


def test_a_submission_without_the_notebook_is_named(run, lstm_course, tmp_path, sandbox):
    folder = tmp_path / "course"
    shutil.copytree(lstm_course, folder)
    (folder / "submitted/frank/lstm").mkdir(parents=True)
    (folder / "submitted/frank/lstm/homework.ipynb").write_text("{}", encoding="utf-8")
    result = run("grade", "lstm", "--only", "frank", "--course", folder)
    assert result.exit_code == 2
    assert "no lstm.ipynb was handed in, only homework.ipynb" in " ".join(result.stdout.replace("│", " ").split())
    assert not (folder / "autograded/frank").exists()


def test_an_assignment_that_was_never_released_is_refused(run, lstm_course, tmp_path):
    folder = tmp_path / "course"
    shutil.copytree(lstm_course, folder)
    (folder / "submitted/ada/poetry").mkdir(parents=True)
    one_line(run("grade", "poetry", "--course", folder), "poetry was never released", "generate_assignment poetry")


def test_an_unknown_question_is_refused(run, lstm_course, tmp_path):
    folder = tmp_path / "course"
    shutil.copytree(lstm_course, folder)
    (folder / "submitted/ada/lstm").mkdir(parents=True)
    result = run("grade", "lstm", "--question", "lstm_setp", "--course", folder)
    one_line(result, "no question 'lstm_setp'", "lstm_backward")


def test_a_scheduler_that_does_not_answer_is_named(run, lstm_course, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "CONNECT_SECONDS", 1)
    folder = tmp_path / "course"
    shutil.copytree(lstm_course, folder)
    (folder / "submitted/ada/lstm").mkdir(parents=True)
    result = run("grade", "lstm", "--scheduler", "tcp://127.0.0.1:9", "--course", folder)
    one_line(result, "no Dask scheduler answers at tcp://127.0.0.1:9")


def test_an_unwritable_folder_is_refused(run, tmp_path):
    if os.geteuid() == 0:
        (tmp_path / "course").write_text("a file where the folder should be", encoding="utf-8")
        folder = tmp_path / "course"
    else:
        folder = tmp_path / "locked"
        folder.mkdir(mode=0o500)
    one_line(run("build", "lstm", "--course", folder), "can't write the assignment to")


def test_build_and_release_say_where_things_lie(run, tmp_path):
    assert run("build", "lstm", "--course", tmp_path).stdout.strip() == str(tmp_path / "source/lstm/lstm.ipynb")
    assert run("release", "lstm", "--course", tmp_path).stdout.strip() == str(tmp_path / "release/lstm")


def test_feedback_before_any_grading_is_refused(run, lstm_course):
    one_line(run("feedback", "lstm", "--course", lstm_course), "nothing of lstm has been graded")


def test_an_assignment_that_was_handed_in_is_released_again_only_by_force(run, lstm_course, tmp_path):
    folder = tmp_path / "course"
    shutil.copytree(lstm_course, folder)
    (folder / "submitted/ada/lstm").mkdir(parents=True)
    one_line(run("release", "lstm", "--course", folder), "has been handed in already", "--force")
    assert run("release", "lstm", "--force", "--course", folder).exit_code == 0


def test_doctor_names_the_layers(run):
    result = run("doctor")
    assert result.exit_code == 0
    assert "--sandbox bwrap: works, with bubblewrap, no new privileges" in result.stdout
    assert "--sandbox none: works, with no new privileges" in result.stdout


def test_doctor_says_whether_kernels_can_be_watched(run, monkeypatch):
    checker = pytest.importorskip("kernels.checker", reason="the kernels need triton, which exists for Linux only")
    assert "kernels: run in Triton's interpreter, and their use of memory is watched" in run("doctor").stdout
    monkeypatch.setattr(checker, "PATCHED", ("create_something_new",))
    assert "has no create_something_new in its interpreter" in run("doctor").stdout


def test_doctor_and_grade_say_what_to_do_where_bubblewrap_is_missing(run, lstm_course, tmp_path, monkeypatch):
    (tmp_path / "course/submitted/ada/lstm").mkdir(parents=True)
    shutil.copytree(lstm_course, tmp_path / "course", dirs_exist_ok=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(workers, "warm_sandbox", Sandbox)  # and not the one that all tests share
    result = run("doctor")
    assert "bubblewrap: missing" in result.stdout
    assert "--sandbox bwrap: bubblewrap (the command bwrap) is not installed" in result.stdout
    assert "--sandbox none: works, with no new privileges" in result.stdout
    one_line(run("grade", "lstm", "--course", tmp_path / "course"), "install the package bubblewrap", "--sandbox none")
    assert not list((tmp_path / "course").glob("audit/*"))
