"""Exported marks: the columns that each platform asks for, right for any name, and no formula in them."""

import csv
import os
import subprocess
import sys
from datetime import timedelta

import pytest
from nbgrader.plugins import CsvExportPlugin

from autograder import export
from autograder.blocks import ROOT
from autograder.errors import UserError
from tests.sample_gradebook import DUE, add_assignment, add_submissions, opened

LSTM = {"check-one": 4.0, "check-two": 6.0}
FORMULA = "=cmd|' /C calc'!A0"


@pytest.fixture
def course(tmp_path):
    """Two assignments; a late submission, a manual mark, one that could not be graded, one that was not handed in."""
    with opened(tmp_path / "course") as gradebook:
        add_assignment(gradebook, "lstm", LSTM)
        add_assignment(gradebook, 'ps 2, part "b"', {"a": 1.5})
        gradebook.add_student("ada", first_name="Ada", last_name="Lovelace", email="ada@b.org", lms_user_id="1234")
        gradebook.add_student("blaise", first_name="Blaise", last_name="Pascal", lms_user_id="sis-7")
        gradebook.add_student("carl", last_name="Zuse")
        gradebook.add_student("dora", last_name='Zylinski, "D."')
        marks = {
            "ada": {"check-one": 4.0, "check-two": 1 / 3},
            "blaise": {"check-one": 2.0, "check-two": 0.0},
            "carl": {"check-one": None, "check-two": None},
        }
        add_submissions(gradebook, "lstm", marks)
        add_submissions(gradebook, 'ps 2, part "b"', {"dora": {"a": 0.0}})
        blaise = gradebook.find_submission("lstm", "blaise")
        blaise.timestamp = DUE + timedelta(days=2)
        blaise.notebooks[0].late_submission_penalty = 2.5
        grade = gradebook.find_grade("check-two", "lstm", "lstm", "blaise")
        grade.manual_score, grade.extra_credit = 5.0, 0.5
        gradebook.db.commit()
    return tmp_path / "course"


def written(course, kind: str, *assignments: str) -> list[list[str]]:
    file = export.write(course, kind, course / "exports" / f"{kind}.csv", assignments)
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.reader(lines, strict=True))


def test_canvas_finds_its_columns_its_students_and_the_points(course):
    assert written(course, "canvas") == [
        ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "lstm", 'ps 2, part "b"'],
        ["    Points Possible", "", "", "", "", "10", "1.5"],
        ["Lovelace, Ada", "1234", "ada", "ada", "", "4.3333", ""],
        ["Pascal, Blaise", "", "sis-7", "blaise", "", "5", ""],
        ["Zuse", "", "carl", "carl", "", "", ""],
        ['Zylinski, "D."', "", "dora", "dora", "", "", "0"],
    ]


def test_moodle_never_meets_an_empty_identifier_or_an_empty_mark(course):
    assert written(course, "moodle", "lstm") == [
        ["Username", "First name", "Last name", "ID number", "Email address", "lstm"],
        ["ada", "Ada", "Lovelace", "1234", "ada@b.org", "4.3333"],
        ["blaise", "Blaise", "Pascal", "sis-7", "none", "5"],
        ["carl", "", "Zuse", "none", "none", "-"],
        ["dora", "", 'Zylinski, "D."', "none", "none", "-"],
    ]


def test_plain_csv_is_that_of_nbgrader_where_that_can_be_read(course):
    ours = written(course, "csv", "lstm")
    theirs = course / "nbgrader.csv"
    with opened(course) as gradebook:
        CsvExportPlugin(to=str(theirs), assignment=["lstm"]).export(gradebook)
    rows = list(csv.reader(theirs.read_text().splitlines()))
    assert [row[:7] for row in ours[:3]] == [row[:7] for row in rows[:3]]  # the students who have a mark
    marks = [[float(mark) for row in table[1:3] for mark in row[7:]] for table in (ours, rows)]
    assert marks[0] == pytest.approx(marks[1], abs=5e-5)
    score = ours[0].index("score")
    assert float(ours[2][score]) == 2 + 5 + 0.5 - 2.5
    assert [row[score] for row in ours[3:]] == ["", ""]
    assert [row[score] for row in rows[3:]] == ["0.0", "0.0"]


NAMES = ['Neil, "Mary" O\'', "two\nlines", "Zoë 李", "tab\tinside", "a;b", "\u202eevil", "<script>"]


@pytest.mark.parametrize("kind", export.KINDS)
def test_names_come_back_as_they_are(course, kind):
    with opened(course) as gradebook:
        for name in NAMES:
            gradebook.add_student(name, first_name=name, last_name="Last", email=f"{name}@example.org")
    cells = [cell for row in written(course, kind, "lstm") for cell in row]
    assert all(f"Last, {name}" in cells or {name, "Last"} <= set(cells) for name in NAMES)
    assert set(NAMES) <= set(cells)


FORMULAS = [FORMULA, "+1+cmd", "-2+3", "@SUM(A1)", "\tx", "\r=x", "\n=x", "  =x", "\uff1dx"]


@pytest.mark.parametrize("kind", export.KINDS)
def test_no_cell_is_a_formula(course, kind):
    with opened(course) as gradebook:
        for name in FORMULAS:
            gradebook.add_student(name, first_name=name, last_name=name, email=name, lms_user_id=name)
        add_assignment(gradebook, FORMULA, {"z": 1.0})
    cells = {cell for row in written(course, kind) for cell in row}
    for cell in cells - {"-"}:  # which is Moodle's no mark
        assert cell.strip()[:1] not in tuple("=+-@\uff1d"), cell
        assert cell[:1] not in ("\t", "\r", "\n")
    for name in FORMULAS:
        assert any(name in cell for cell in cells)


@pytest.mark.parametrize("text", ["-5", "+3.25", "12", "1-2", "a=b", "", "o'neil", "x\ty"])
def test_numbers_and_plain_text_stay_as_they_are(text):
    assert export.no_formula(text) == text


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (10, "10"), (2.5, "2.5"), (1e6, "1000000"), (1e-9, "0")])
def test_a_mark_is_written_as_a_plain_number(value, text):
    assert export.number(value) == text


def test_a_late_penalty_takes_no_mark_below_zero(course):
    with opened(course) as gradebook:
        gradebook.find_submission("lstm", "blaise").notebooks[0].late_submission_penalty = 99.0
        gradebook.db.commit()
    assert written(course, "canvas", "lstm")[3][-1] == "0"


def test_nbgrader_runs_the_exporters(course):
    command = [sys.executable, "-m", "nbgrader", "export", "--exporter", "autograder.export.CanvasExport"]
    options = ["--to", "canvas.csv", "--assignment", "['lstm']", "--student", "['ada', 'dora']"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, *options], cwd=course, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    with (course / "canvas.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines))
    assert [row[0] for row in rows] == ["Student", "    Points Possible", "Lovelace, Ada", 'Zylinski, "D."']
    assert rows[2][-1] == "4.3333"


def test_what_cannot_be_exported_is_told_in_one_line(course, tmp_path):
    with pytest.raises(UserError, match="no export as 'excel'; there is: canvas, moodle, csv"):
        export.write(course, "excel", tmp_path / "x.csv", [])
    with pytest.raises(UserError, match="no assignment 'gru'; it has: lstm, ps 2"):
        export.write(course, "canvas", tmp_path / "x.csv", ["gru"])
    with pytest.raises(UserError, match="there is no course in"):
        export.write(tmp_path / "none", "canvas", tmp_path / "x.csv", [])
    with pytest.raises(UserError, match="can't write the grades to"):
        export.write(course, "canvas", tmp_path, [])
    with opened(tmp_path / "new"):
        pass
    with pytest.raises(UserError, match="has no assignment yet"):
        export.write(tmp_path / "new", "canvas", tmp_path / "x.csv", [])
    assert not (tmp_path / "x.csv").exists()


def test_a_thousand_students_are_exported_at_once(course):
    with opened(course) as gradebook:
        students = [f"s{number:04d}" for number in range(1000)]
        add_submissions(gradebook, "lstm", {s: {"check-one": 1.0, "check-two": 2.0} for s in students})
    rows = written(course, "canvas")
    assert len(rows) == 2 + 4 + 1000
    assert {row[5] for row in rows if row[3] in students} == {"3"}
