"""A grader that was stopped goes on where it was; what is graded stays graded; one question can be judged again."""

import contextlib
import json
import logging
import shutil
import sqlite3

import nbformat
import pytest
from distributed import Client, LocalCluster
from nbgrader.api import Gradebook

from autograder import audit, compose, gradebook, judge, pipeline, workers
from autograder.errors import UserError
from autograder.sandbox import SandboxLostError

COURSE_ID = "deep-learning-block-by-block"
TOTAL = sum(exercise.points for exercise in compose.exercises("lstm"))
QUESTION = "gru_step_forward"


@pytest.fixture
def classroom(lstm_course, tmp_path):
    """A copy of the course with two submissions, both right."""
    folder = tmp_path / "course"
    shutil.copytree(lstm_course, folder)
    for student in ("ada", "carl"):
        path = folder / "submitted" / student / "lstm"
        path.mkdir(parents=True)
        shutil.copy(folder / "source/lstm/lstm.ipynb", path)
    return folder


def opened_gradebook(folder):
    return Gradebook(f"sqlite:///{folder}/gradebook.db", COURSE_ID)


def outcomes(records):
    return {record.student: record.outcome for record in records}


def break_answer(folder, student: str) -> None:
    file = folder / "submitted" / student / "lstm/lstm.ipynb"
    notebook = nbformat.read(file, 4)
    for cell in notebook.cells:
        cell.source = cell.source.replace("def gru_step_forward(", "def gru_step_backward(")
    nbformat.write(notebook, file)


def test_what_is_graded_and_unchanged_is_left_alone(classroom, graded):
    graded(classroom, ["ada"])
    before = (classroom / "autograded/ada/lstm/lstm.ipynb").stat().st_mtime_ns
    records = graded(classroom, ["ada", "carl"])
    assert outcomes(records) == {"ada": "done", "carl": "graded"}
    assert {record.points for record in records} == {TOTAL}
    assert (classroom / "autograded/ada/lstm/lstm.ipynb").stat().st_mtime_ns == before


def test_a_submission_that_was_handed_in_again_is_graded_again(classroom, graded):
    graded(classroom, ["ada", "carl"])
    break_answer(classroom, "carl")
    assert outcomes(graded(classroom, ["ada", "carl"])) == {"ada": "done", "carl": "graded"}
    with opened_gradebook(classroom) as opened:
        assert opened.find_submission("lstm", "carl").score < TOTAL


@pytest.mark.parametrize("lost", ["gradebook.db", "autograded", "audit"])
def test_what_was_lost_since_is_graded_again(classroom, graded, lost):
    graded(classroom, ["ada"])
    if lost == "gradebook.db":
        with opened_gradebook(classroom) as opened:
            opened.remove_submission("lstm", "ada")
    else:
        shutil.rmtree(classroom / lost)
    assert outcomes(graded(classroom, ["ada"])) == {"ada": "graded"}


def test_a_torn_last_line_of_the_audit_record_costs_that_line_only(classroom, graded):
    graded(classroom, ["ada", "carl"])
    file = audit.file_of(classroom, "lstm")
    lines = file.read_bytes().splitlines(keepends=True)
    last = json.loads(lines[-1])["student"]
    file.write_bytes(b"".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 2])
    assert outcomes(graded(classroom, ["ada", "carl"]))[last] == "graded"
    assert set(audit.latest(classroom, "lstm")) == {"ada", "carl"}
    assert set(outcomes(graded(classroom, ["ada", "carl"])).values()) == {"done"}


def test_the_audit_record_tells_versions_layers_seeds_times_and_verdicts(classroom, graded):
    break_answer(classroom, "ada")
    graded(classroom, ["ada"])
    record = audit.latest(classroom, "lstm")["ada"]
    assert record["outcome"] == "graded"
    assert "bubblewrap" in record["sandbox"]
    assert record["versions"]["numpy"]
    assert record["seconds"] > 0
    entry = next(entry for entry in record["questions"] if entry["name"] == QUESTION)
    assert int(entry["seed"], 16) == judge.seed((classroom / ".secret").read_bytes(), "ada", QUESTION)
    assert entry["points"] == 0
    assert entry["seconds"] > 0
    assert "there is no function gru_step_forward" in entry["steps"][0]["message"]


@pytest.mark.parametrize("error", [SandboxLostError("out of memory"), RuntimeError("a fault of ours")])
def test_a_fault_of_the_machine_is_no_zero(classroom, graded, monkeypatch, error):
    graded(classroom, ["ada"])
    real = pipeline.judged

    def failing(read, *arguments):
        if read.student == "ada":
            raise error
        return real(read, *arguments)

    monkeypatch.setattr(pipeline, "judged", failing)
    records = {record.student: record for record in graded(classroom, ["ada", "carl"], force=True)}
    assert outcomes(records.values()) == {"ada": "retry", "carl": "graded"}
    assert str(error) in records["ada"].problem
    with opened_gradebook(classroom) as opened:
        assert opened.find_submission("lstm", "ada").score == TOTAL
    monkeypatch.undo()
    assert outcomes(graded(classroom, ["ada", "carl"])) == {"ada": "graded", "carl": "done"}


def test_a_fault_that_passes_is_tried_again_at_once(classroom, graded, monkeypatch):
    real, calls = pipeline.judged, []

    def failing_once(*arguments):
        calls.append(1)
        if len(calls) == 1:
            raise SandboxLostError("once")
        return real(*arguments)

    monkeypatch.setattr(pipeline, "judged", failing_once)
    assert outcomes(graded(classroom, ["ada"])) == {"ada": "graded"}


def test_a_gradebook_that_another_program_holds_ends_in_a_record(classroom, graded, monkeypatch):
    url = f"sqlite:///{classroom}/gradebook.db"
    (classroom / "nbgrader_config.py").write_text(f"get_config().CourseDirectory.db_url = '{url}?timeout=0.1'\n")
    real = gradebook.save

    def while_held(*arguments):
        with contextlib.closing(sqlite3.connect(classroom / "gradebook.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            real(*arguments)

    monkeypatch.setattr(gradebook, "save", while_held)
    (record,) = graded(classroom, ["ada"])
    assert record.outcome == "retry"
    assert "close Formgrader" in record.problem
    monkeypatch.undo()
    assert outcomes(graded(classroom, ["ada"])) == {"ada": "graded"}


def test_one_question_is_judged_again_and_manual_marks_stay(classroom, graded, monkeypatch):
    break_answer(classroom, "carl")
    graded(classroom, ["ada", "carl"])
    with opened_gradebook(classroom) as opened:
        for name, points in (("check-lstm_backward", 1.5), (f"check-{QUESTION}", 2.5)):
            grade = opened.find_grade(name, "lstm", "lstm", "carl")
            grade.manual_score, grade.needs_manual_grade = points, False
        opened.db.commit()
    notebook = nbformat.read(classroom / "autograded/carl/lstm/lstm.ipynb", 4)
    before = {compose.checked_question(cell): cell.get("outputs") for cell in notebook.cells}

    mended = {"check-" + QUESTION: 0.0}
    real = judge.judge

    def lenient(asked, points, seed, ask, *more):
        verdict = real(asked, points, seed, ask, *more)
        assert asked.name == QUESTION
        mended["check-" + QUESTION] = points
        return type(verdict)(verdict.name, points, points, verdict.steps)

    monkeypatch.setattr(judge, "judge", lenient)
    assert outcomes(graded(classroom, ["ada", "carl"], only=QUESTION)) == {"ada": "graded", "carl": "graded"}
    with opened_gradebook(classroom) as opened:
        grade = opened.find_grade(f"check-{QUESTION}", "lstm", "lstm", "carl")
        assert grade.auto_score == mended["check-" + QUESTION] > 0
        assert grade.manual_score == 2.5
        assert grade.needs_manual_grade  # nbgrader asks to look at it again, since its automatic mark is new
        other = opened.find_grade("check-lstm_backward", "lstm", "lstm", "carl")
        assert (other.manual_score, other.needs_manual_grade) == (1.5, False)
    notebook = nbformat.read(classroom / "autograded/carl/lstm/lstm.ipynb", 4)
    after = {compose.checked_question(cell): cell.get("outputs") for cell in notebook.cells}
    assert {name for name in after if name and after[name] != before[name]} == {QUESTION}
    names = [entry["name"] for entry in audit.latest(classroom, "lstm")["carl"]["questions"]]
    assert sorted(names) == sorted(exercise.name for exercise in compose.exercises("lstm"))


def test_one_question_of_a_submission_without_marks_is_judged_with_all_others(classroom, graded):
    assert outcomes(graded(classroom, ["ada"], only=QUESTION)) == {"ada": "graded"}
    with opened_gradebook(classroom) as opened:
        assert opened.find_submission("lstm", "ada").score == TOTAL


def test_a_submission_that_nbgrader_cannot_read_is_the_students_fault(classroom, graded):
    file = classroom / "submitted/ada/lstm/lstm.ipynb"
    notebook = json.loads(file.read_text(encoding="utf-8"))
    notebook["cells"].append("no cell")
    file.write_text(json.dumps(notebook), encoding="utf-8")
    records = graded(classroom, ["ada", "carl"])
    assert outcomes(records) == {"ada": "unreadable", "carl": "graded"}


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        "text",
        {"grade_id": 3},
        {"grade_id": QUESTION, "schema_version": 99, "grade": "yes"},
        {"grade_id": f"check-{QUESTION}", "points": 1000, "grade": True, "solution": True, "schema_version": 3},
    ],
)
def test_forged_metadata_costs_and_gains_nothing(classroom, graded, metadata):
    file = classroom / "submitted/ada/lstm/lstm.ipynb"
    notebook = json.loads(file.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if cell["id"] in (QUESTION, f"check-{QUESTION}") and (metadata is None or cell["id"] == metadata):
            cell["metadata"]["nbgrader"] = metadata
    extra = {"cell_type": "code", "source": "1", "outputs": [], "execution_count": None, "id": "extra"}
    notebook["cells"].insert(0, {**extra, "metadata": {"nbgrader": metadata}})
    file.write_text(json.dumps(notebook), encoding="utf-8")
    (record,) = graded(classroom, ["ada"])
    assert record.problem == ""
    assert (record.points, record.out_of) == (TOTAL, TOTAL)


def test_what_nbgraders_exchange_notes_beside_a_submission_stays_with_it(classroom, graded):
    folder = classroom / "submitted/ada/lstm"
    (folder / "timestamp.txt").write_text("2026-03-01 12:00:00.000000 UTC")
    (folder / "submission_secret.txt").write_text("a1b2")
    (folder / "numpy.py").write_text("raise ImportError")
    graded(classroom, ["ada"])
    there = {path.name: path.read_text() for path in (classroom / "autograded/ada/lstm").glob("*.txt")}
    assert there == {"timestamp.txt": "2026-03-01 12:00:00.000000 UTC", "submission_secret.txt": "a1b2"}
    assert not (classroom / "autograded/ada/lstm/numpy.py").exists()
    with opened_gradebook(classroom) as opened:
        submission = opened.find_submission("lstm", "ada")
        assert (submission.score, submission.timestamp.month) == (TOTAL, 3)


def test_a_question_that_was_judged_again_keeps_its_place_in_the_audit_record(classroom, graded):
    graded(classroom, ["ada"])
    before = [entry["name"] for entry in audit.latest(classroom, "lstm")["ada"]["questions"]]
    graded(classroom, ["ada"], only=QUESTION)
    assert [entry["name"] for entry in audit.latest(classroom, "lstm")["ada"]["questions"]] == before


def test_a_worker_with_several_threads_is_refused(lstm_course, sandbox):
    options = {"processes": False, "dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, **options) as cluster,
        Client(cluster) as client,
        pytest.raises(UserError, match="--nthreads 1"),
    ):
        workers.start_sandboxes(client, "bwrap")
