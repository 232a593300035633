"""The gradebook on a PostgreSQL server: the same marks as in SQLite, for several graders, and through an outage.

The tests start a server of their own, which listens on a socket in a folder and on no network.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import nbformat
import psycopg
import pytest
from click.testing import CliRunner
from nbgrader.api import Gradebook

from autograder import compose, course, export, marks, pipeline, report
from autograder import grade as grading
from autograder.blocks import ROOT
from autograder.cli import main
from autograder.errors import UserError
from tests.autograder.test_ordinary import cell

pytestmark = pytest.mark.xdist_group("postgresql")  # one server
COURSE_ID = "deep-learning-block-by-block"
TOTAL = sum(exercise.points for exercise in compose.exercises("lstm"))
QUESTION = "gru_step_forward"
CLASS = ["ada", "blaise", "carl", "dora"]  # right, untouched and late, one mistake, unreadable


# --- the server -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server in a folder: who may enter the folder may do everything."""

    binaries: Path
    folder: Path
    user: str | None  # who runs it, where the tests run as root, which PostgreSQL refuses

    def run(self, program: str, *arguments: str) -> None:
        command = [self.binaries / program, "-D", self.folder / "data", *arguments]
        other = {"user": self.user, "extra_groups": []} if self.user else {}
        subprocess.run(command, check=True, cwd=self.folder, timeout=60, stdout=subprocess.DEVNULL, **other)

    def start(self) -> None:
        options = f"-c listen_addresses='' -c fsync=off -k {self.folder}"
        self.run("pg_ctl", "start", "-w", "-l", f"{self.folder}/log", "-o", options)

    def stop(self) -> None:
        self.run("pg_ctl", "stop", "-w", "-m", "fast")

    @property
    def runs(self) -> bool:
        return (self.folder / "data/postmaster.pid").exists()

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://grader@/{database}?host={self.folder}"

    def make(self, database: str, template: str = "template1") -> str:
        """Make a database; return its URL."""
        with psycopg.connect(host=str(self.folder), user="grader", dbname="postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
        return self.url(database)


def binaries() -> Path:
    """Where the server's programs are. Debian has them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    there = str(found[-1]) if found else shutil.which("initdb")
    if there is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    return Path(there).resolve().parent


def unprivileged() -> str:
    """An account that owns nothing, or the one that Debian's packages make for the server."""
    import pwd  # there is none on Windows

    accounts = {account.pw_name for account in pwd.getpwall()}
    return "postgres" if "postgres" in accounts else "nobody"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    programs = binaries()
    user = unprivileged() if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="postgresql-") as name:  # short, as a socket's path must be
        if user:
            shutil.chown(name, user)
        made = Server(programs, Path(name), user)
        made.run("initdb", "-U", "grader", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        made.start()
        yield made
        made.stop()


# --- the class --------------------------------------------------------------------------------------------------


def settings(folder: Path, url: str) -> None:
    (folder / "nbgrader_config.py").write_text(
        f"c = get_config()\nc.CourseDirectory.db_url = {url!r}\nc.LateSubmissionPlugin.penalty_method = 'zero'\n"
    )


def hand_in(folder: Path, student: str, text: str) -> None:
    path = folder / "submitted" / student / "lstm"
    path.mkdir(parents=True)
    (path / "lstm.ipynb").write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def handed_in(lstm_course, tmp_path_factory) -> Path:
    """The course, released into SQLite, with what the class has handed in."""
    folder = tmp_path_factory.mktemp("postgresql") / "course"
    shutil.copytree(lstm_course, folder)
    right = (folder / "source/lstm/lstm.ipynb").read_text("utf-8")
    mistake = nbformat.reads(right, 4)
    for there in mistake.cells:
        there.source = there.source.replace(f"def {QUESTION}(", "def gru_step_backward(")
    hand_in(folder, "ada", right)
    hand_in(folder, "blaise", (folder / "release/lstm/lstm.ipynb").read_text("utf-8"))
    hand_in(folder, "carl", nbformat.writes(mistake))
    hand_in(folder, "dora", "{ not json")
    (folder / "submitted/blaise/lstm/timestamp.txt").write_text("2026-03-02 10:00:00 UTC")
    return folder


@pytest.fixture(scope="module")
def released(server, handed_in) -> Path:
    """The same course, released into PostgreSQL."""
    folder = handed_in.with_name("released")
    shutil.copytree(handed_in, folder)
    (folder / "gradebook.db").unlink()
    shutil.rmtree(folder / "release")
    settings(folder, server.make("released"))
    course.release(folder, "lstm")
    return folder


@pytest.fixture
def classroom(server, released, tmp_path) -> Path:
    """A copy of the course with a database of its own."""
    folder = tmp_path / "course"
    shutil.copytree(released, folder)
    settings(folder, server.make(tmp_path.name, "released"))
    return folder


def in_gradebook(folder: Path) -> Gradebook:
    return Gradebook(course.api(folder).coursedir.db_url, COURSE_ID)


def all_of(folder: Path) -> dict[tuple[str, ...], object]:
    """All that grading writes into a gradebook, by student."""
    found: dict[tuple[str, ...], object] = {}
    with in_gradebook(folder) as opened:
        for there in opened.assignment_submissions("lstm"):
            student = there.student.id
            about = (there.timestamp, there.extension, there.total_seconds_late, there.max_score, there.score)
            found[student,] = about
            for notebook in there.notebooks:
                about = (notebook.flagged, notebook.late_submission_penalty, notebook.needs_manual_grade)
                found[student, notebook.name] = about
                for grade in notebook.grades:
                    about = (grade.auto_score, grade.manual_score, grade.extra_credit, grade.needs_manual_grade)
                    found[student, grade.name] = (*about, grade.failed_tests, grade.max_score)
                for comment in notebook.comments:
                    found[student, "comment", comment.name] = (comment.auto_comment, comment.manual_comment)
    return found


def score_of(folder: Path, student: str) -> float:
    with marks.gradebook(folder) as opened:
        return marks.submissions(opened, "lstm")[student].score


def outcomes(records) -> dict[str, str]:
    return {record.student: record.outcome for record in records}


# --- grading ----------------------------------------------------------------------------------------------------


def test_a_class_gets_the_marks_comments_and_flags_that_it_gets_in_sqlite(handed_in, classroom, tmp_path, graded):
    sqlite = tmp_path / "sqlite"
    shutil.copytree(handed_in, sqlite)
    settings(sqlite, f"sqlite:///{sqlite}/gradebook.db")
    (sqlite / ".secret").write_bytes(bytes(32))
    (classroom / ".secret").write_bytes(bytes(32))
    found = {}
    for folder in (sqlite, classroom):
        with in_gradebook(folder) as opened:
            opened.update_or_create_assignment("lstm", duedate=datetime(2026, 3, 1))
        records = graded(folder, CLASS)
        assert outcomes(records) == {"ada": "graded", "blaise": "graded", "carl": "graded", "dora": "unreadable"}
        with in_gradebook(folder) as opened:
            opened.grant_extension("lstm", "blaise", hours=30)
        found[folder] = ({record.student: record.points for record in records}, all_of(folder))
    assert found[sqlite] == found[classroom]
    points, everything = found[classroom]
    assert points["ada"] == TOTAL
    assert points["blaise"] == 0 < points["carl"] < TOTAL
    assert everything["blaise",][0] == datetime(2026, 3, 2, 10)
    assert ("No response.", None) in everything.values()
    assert not (classroom / "gradebook.db").exists()


def test_report_export_and_feedback_read_it(handed_in, classroom, tmp_path, graded):
    sqlite = tmp_path / "sqlite"
    shutil.copytree(handed_in, sqlite)
    for folder in (sqlite, classroom):
        graded(folder, CLASS)
    for kind in export.KINDS:
        files = [export.write(folder, kind, folder / f"{kind}.csv") for folder in (sqlite, classroom)]
        assert len({file.read_text("utf-8") for file in files}) == 1
    page = report.write(classroom, "lstm", classroom / "report.html").read_text("utf-8")
    assert all(word in page for word in ("dora", QUESTION))
    assert course.api(classroom).generate_feedback("lstm", "carl")["success"]
    assert (classroom / "feedback/carl/lstm/lstm.html").exists()


def test_what_is_graded_stays_and_one_question_can_be_judged_again(classroom, graded):
    assert outcomes(graded(classroom, ["ada"])) == {"ada": "graded"}
    records = {record.student: record for record in graded(classroom, ["ada", "carl"])}
    assert outcomes(records.values()) == {"ada": "done", "carl": "graded"}
    with in_gradebook(classroom) as opened:
        grade = opened.find_grade(f"check-{QUESTION}", "lstm", "lstm", "carl")
        grade.auto_score = 1.0
        other = opened.find_grade("check-lstm_backward", "lstm", "lstm", "carl")
        other.manual_score, other.needs_manual_grade = 0.5, False
        opened.db.commit()
    assert outcomes(graded(classroom, ["carl"], only=QUESTION)) == {"carl": "graded"}
    with in_gradebook(classroom) as opened:
        assert opened.find_grade(f"check-{QUESTION}", "lstm", "lstm", "carl").auto_score == 0
        other = opened.find_grade("check-lstm_backward", "lstm", "lstm", "carl")
        assert (other.manual_score, other.needs_manual_grade) == (0.5, False)
    assert score_of(classroom, "carl") < records["carl"].points


def test_the_mark_of_a_submission_that_became_unreadable_is_taken_back(classroom, graded):
    graded(classroom, ["ada"])
    assert score_of(classroom, "ada") == TOTAL
    (classroom / "submitted/ada/lstm/lstm.ipynb").write_text("{", encoding="utf-8")
    assert outcomes(graded(classroom, ["ada"])) == {"ada": "unreadable"}
    with marks.gradebook(classroom) as opened:
        assert not marks.submissions(opened, "lstm")["ada"].graded
    assert not (classroom / "autograded/ada/lstm").exists()


def test_two_graders_at_once_fill_one_gradebook(classroom):
    students = [f"student-{number}" for number in range(6)]
    for student in students:
        shutil.copytree(classroom / "submitted/ada", classroom / "submitted" / student)
    for student in CLASS:
        shutil.rmtree(classroom / "submitted" / student)
    command = [sys.executable, "-m", "autograder", "grade", "lstm", "--workers", "1", "--course", str(classroom)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    halves = [[word for student in students[start::2] for word in ("--only", student)] for start in (0, 1)]
    graders = [subprocess.Popen([*command, *half], cwd=ROOT, **pipes) for half in halves]
    told = [grader.communicate(timeout=120)[0] for grader in graders]
    assert [grader.returncode for grader in graders] == [0, 0], "\n".join(told)
    assert all("3 graded" in text for text in told)
    with marks.gradebook(classroom) as opened:
        found = marks.submissions(opened, "lstm")
    assert {student: there.score for student, there in found.items()} == dict.fromkeys(students, TOTAL)


# --- what the gradebook has no room for -------------------------------------------------------------------------


def test_a_name_that_is_too_long_for_the_gradebook_ends_in_a_record(classroom, graded):
    long, longest = "x" * 200, "é" * 120 + "x" * 8
    for student in (long, longest):
        shutil.copytree(classroom / "submitted/ada", classroom / "submitted" / student)
    records = {record.student: record for record in graded(classroom, [long, longest, "carl"])}
    assert outcomes(records.values()) == {long: "unreadable", longest: "graded", "carl": "graded"}
    assert records[long].problem == "its name has 200 characters, the gradebook takes 128: rename the folder"


def own_assignment(folder: Path, source: str, name: str, kernel: str) -> None:
    """Hand out an assignment with a test of its own, and hand it in."""
    path = folder / "source/own"
    path.mkdir(parents=True)
    answer = cell("answer", f"### BEGIN SOLUTION\nanswer = 42\n### END SOLUTION\n{source}", solution=True)
    answer.metadata.nbgrader.grade_id = name
    test = cell("test", "assert answer == 42", grade=True, locked=True, points=2)
    kernelspec = {"name": "python3", "display_name": kernel, "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=[answer, test], metadata={"kernelspec": kernelspec})
    nbformat.write(notebook, path / "own.ipynb")
    result = course.api(folder).generate_assignment("own", force=True, create=True)
    if not result["success"]:
        raise UserError(course.reason(result))
    shutil.copytree(path, folder / "submitted/ada/own")


def test_long_sources_and_names_up_to_the_limit_are_graded(classroom, graded):
    own_assignment(classroom, "# é\N{SNOWMAN}" * 400_000, "n" * 128, "k" * 900)
    (record,) = graded(classroom, ["ada"], "own")
    assert (record.outcome, record.points) == ("graded", 2)


@pytest.mark.parametrize(("name", "kernel", "room"), [("n" * 129, "Python 3", 128), ("answer", "k" * 1100, 1024)])
def test_a_release_that_the_gradebook_has_no_room_for_is_refused_with_the_reason(classroom, name, kernel, room):
    with pytest.raises(UserError, match=f"value too long for type character varying.{room}"):
        own_assignment(classroom, "", name, kernel)


# --- outages ----------------------------------------------------------------------------------------------------


def told(*arguments: object) -> str:
    """The one line that a command which can't work prints."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    return line


COMMANDS = [
    ("release", "lstm", "--force"),
    ("grade", "lstm"),
    ("feedback", "lstm"),
    ("report", "lstm"),
    ("export", "--to", "grades.csv"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_server_that_does_not_answer_is_told_in_one_line(released, tmp_path, monkeypatch, command):
    folder = tmp_path / "course"
    shutil.copytree(released, folder)
    settings(folder, f"postgresql+psycopg://grader:geheim@/released?host={tmp_path}")
    (folder / "autograded/ada/lstm").mkdir(parents=True)
    shutil.copy(folder / "submitted/ada/lstm/lstm.ipynb", folder / "autograded/ada/lstm")
    monkeypatch.chdir(tmp_path)
    line = told(*command, "--course", folder)
    assert "No such file or directory" in line
    assert "geheim" not in line


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql+nonesuch://", "Can't load plugin"),
        ("postgresql+pg8000://", "No module named"),
        ("gradebook", "Could not parse"),
    ],
)
def test_an_address_that_is_none_is_told_in_one_line(released, tmp_path, url, reason):
    folder = tmp_path / "course"
    shutil.copytree(released, folder)
    settings(folder, url)
    assert reason in told("grade", "lstm", "--course", folder)


@pytest.fixture
def outage(server) -> Iterator[Callable[[], None]]:
    """A function that stops the server, which runs again after the test."""
    yield server.stop
    if not server.runs:
        server.start()


@pytest.mark.parametrize("moment", ["between", "while"])
def test_a_class_in_which_the_server_stops_is_graded_by_the_next_run(
    server, outage, classroom, client, monkeypatch, moment
):
    opened = grading.open_assignment(classroom, "lstm")
    students = ["ada", "blaise", "carl"]
    going = grading.grade(opened, students, client)
    first = [next(going)]
    if moment == "between":
        outage()
    else:
        real, stop = pipeline.apply, iter([outage])

        def apply(steps, *arguments):
            if steps is pipeline.SAVE:  # the submission has been entered, its marks have not
                next(stop, lambda: None)()
            return real(steps, *arguments)

        monkeypatch.setattr(pipeline, "apply", apply)
    others = list(going)
    assert [record.outcome for record in [*first, *others]] == ["graded", "retry", "retry"]
    assert all(record.problem.startswith("the gradebook can't be used: conn") for record in others)
    with pytest.raises(UserError, match="can't be read"):
        grading.open_assignment(classroom, "lstm")
    server.start()
    again = outcomes(grading.grade(opened, students, client))
    assert again == {**dict.fromkeys(students, "graded"), first[0].student: "done"}
    assert score_of(classroom, "ada") == TOTAL


def test_an_unreadable_submission_in_an_outage_does_not_end_the_class(server, outage, classroom, client):
    opened = grading.open_assignment(classroom, "lstm")
    going = grading.grade(opened, CLASS, client)
    first = next(going)
    outage()
    found = outcomes([first, *going])
    assert found == {**dict.fromkeys(CLASS, "retry"), first.student: "graded"}
    server.start()
    again = outcomes(grading.grade(opened, CLASS, client))
    assert again == {**dict.fromkeys(CLASS, "graded"), "dora": "unreadable", first.student: "done"}
