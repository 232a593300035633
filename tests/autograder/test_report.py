"""The class report: right numbers, nothing of a student's that acts, and nobody forgotten who needs a look."""

import json
import statistics
import time
from datetime import timedelta

import numpy as np
import pytest
from bs4 import BeautifulSoup

from autograder import audit, plots, report
from autograder.errors import UserError
from tests.sample_gradebook import (
    DUE,
    add_assignment,
    add_record,
    add_submissions,
    judged,
    opened,
    plausible,
)

CELLS = {"check-one": 4.0, "check-two": 2.0}
TANH = "the output gate multiplies tanh(c_t); yours multiplies c_t itself"
HOSTILE = "<script>alert(1)</script> <img src=http://evil.example/x onerror='alert(2)'> \"quoted\" {{ 7*7 }}"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@pytest.fixture
def course(tmp_path):
    """Six students: right, a named mistake, a time-out, unreadable, to retry, and one whom a person must mark."""
    folder = tmp_path / "course"
    with opened(folder) as gradebook:
        add_assignment(gradebook, "lstm", {**CELLS, "essay": 4.0})
        gradebook.add_student("ada", first_name="Ada", last_name="Lovelace, Countess")
        add_submissions(
            gradebook,
            "lstm",
            {
                "ada": {"check-one": 4.0, "check-two": 2.0, "essay": 4.0},
                "blaise": {"check-one": 1.5, "check-two": 2.0, "essay": 3.5},
                "carl": {"check-one": 0.0, "check-two": 0.0, "essay": 1.0},
                "emmy": {"check-one": 4.0, "check-two": 1.0, "essay": None},
            },
        )
    add_record(folder, "ada", [judged("two", 1.0, 2.0, "an older judging")])
    add_record(folder, "ada", [judged("two", 2.0, 2.0, seconds=0.2), judged("one", 4.0, 4.0, seconds=0.1)], 0.5)
    add_record(folder, "blaise", [judged("two", 2.0, 2.0, seconds=0.3), judged("one", 1.5, 4.0, TANH)], 0.7)
    stuck = judged("one", 0.0, 4.0, message="no answer within 10 s: is there a loop that never ends?", seconds=10.0)
    add_record(folder, "carl", [judged("two", 0.0, 2.0, seconds=0.4), stuck], 11.0)
    add_record(folder, "emmy", [judged("two", 1.0, 2.0, TANH, seconds=0.5), judged("one", 4.0, 4.0)], 0.6)
    add_record(folder, "dora", outcome="unreadable", problem="no lstm.ipynb was handed in")
    add_record(folder, "felix", outcome="retry", problem="no space left on device")
    return folder


def page_of(course, assignment="lstm"):
    return BeautifulSoup(report.write(course, assignment, course / "report.html").read_text("utf-8"), "html.parser")


def rows(part) -> list[list[str]]:
    return [[" ".join(cell.text.split()) for cell in row.find_all(["th", "td"])] for row in part.find_all("tr")]


def looks(page) -> dict[str, dict[str, str]]:
    """Reason → student → what to look at."""
    section = page.find(id="looks")
    titles = [heading.contents[0].strip() for heading in section.find_all("h3")]
    return {title: dict(rows(table)) for title, table in zip(titles, section.find_all("table"), strict=True)}


def test_it_counts_what_came_and_what_became_of_it(course):
    (course / "submitted/zoë/lstm").mkdir(parents=True)
    page = page_of(course)
    assert page.h1.text == "lstm"
    assert "7 submissions: 4 graded, 1 unreadable, 1 to grade again." in page.header.p.text
    assert looks(page)["Not graded yet"] == {"zoë": ""}
    totals = [10.0, 7.0, 1.0, 5.0]
    cards = [" ".join(card.text.split()) for card in page.select(".card")][:2]
    assert cards == [f"{statistics.mean(totals):g} of 10mean", f"{statistics.median(totals):g} of 10median"]
    assert "numpy 2.4.6" in page.footer.text
    assert "Confined by Landlock, bubblewrap." in page.footer.text


def test_the_marks_of_each_question_come_in_the_order_of_the_notebook(course):
    table = rows(page_of(course).find(id="marks").table)
    assert table[0] == ["question", "points", "mean", "full marks", "zero"]
    assert table[1] == ["two", "2", f"{(2 + 2 + 0 + 1) / 8:.0%}", "50%", "25%"]
    assert table[2] == ["one", "4", f"{(4 + 1.5 + 0 + 4) / 16:.0%}", "50%", "25%"]
    assert table[3] == ["essay (3 marked)", "4", f"{(4 + 3.5 + 1) / 12:.0%}", f"{1 / 3:.0%}", "0%"]


def test_a_named_mistake_is_told_in_its_own_words_with_its_share(course):
    section = page_of(course).find(id="mistakes")
    assert [heading.text for heading in section.find_all("h3")] == ["two", "one"]
    assert [rows(table) for table in section.find_all("table")] == [[[TANH, "1 · 25%"]], [[TANH, "1 · 25%"]]]
    assert "2 of 4 lost marks; 1 of them" in section.text
    assert "an older judging" not in section.text


def test_times_are_of_the_last_judging(course):
    table = {row[0]: row[1:] for row in rows(page_of(course).find(id="time").table)}
    assert table["a whole submission"][0] == f"{1000 * statistics.median([0.5, 0.7, 11.0, 0.6]):.0f} ms"
    assert table["a whole submission"][2] == "11.0 s"
    cut = sorted([0.2, 0.3, 0.4, 0.5])
    within = cut[2] + (0.95 * 3 - 2) * (cut[3] - cut[2])  # linear between the two around the 95th percentile
    assert table["two"] == ["350 ms", f"{1000 * within:.0f} ms", "500 ms"]


def test_who_needs_a_look_is_named_with_the_reason(course):
    with opened(course) as gradebook:
        blaise = gradebook.find_submission("lstm", "blaise")
        blaise.timestamp = DUE + timedelta(hours=50)
        blaise.notebooks[0].late_submission_penalty = 1.5
        carl = gradebook.find_submission("lstm", "carl")
        carl.timestamp, carl.extension = DUE + timedelta(hours=5), timedelta(hours=6)
        ada = gradebook.find_grade("check-one", "lstm", "lstm", "ada")
        ada.manual_score, ada.extra_credit = 3.0, 0.5
        gradebook.db.commit()
    found = looks(page_of(course))
    stuck = "one: no answer within 10 s: is there a loop that never ends?"
    assert found == {
        "Grade again": {"felix": "no space left on device"},
        "Unreadable": {"dora": "no lstm.ipynb was handed in"},
        "Timed out, or ended the process": {"carl": stuck},
        "Took unusually long": {"carl": "the whole submission: 11.0 s, median 650 msone: 10.0 s, median 60 ms"},
        "Manual grading open": {"emmy": "essay"},
        "Late": {"blaise": "2 days 2 h, 1.5 points less"},
        "Mark differs from what was judged": {"ada Ada Lovelace, Countess": "one: judged 4, now 3.5 by hand"},
    }


def test_late_penalties_count_in_the_totals(course):
    with opened(course) as gradebook:
        gradebook.find_submission("lstm", "carl").notebooks[0].late_submission_penalty = 3.0
        gradebook.db.commit()
    assert f"{(10 + 7 + 0 + 5) / 4:g} of 10" in page_of(course).select(".card")[0].text


def test_a_mark_by_hand_of_an_unreadable_submission_counts(course):
    with opened(course) as gradebook:
        add_submissions(gradebook, "lstm", {"dora": {"check-one": None, "check-two": None, "essay": None}})
        gradebook.find_grade("check-one", "lstm", "lstm", "dora").manual_score = 2.0
        gradebook.db.commit()
    page = page_of(course)
    assert "5 graded, 1 unreadable" in page.header.p.text
    assert "dora" not in looks(page)["Manual grading open"]


def test_nothing_of_a_student_acts_and_nothing_comes_from_elsewhere(course):
    with opened(course) as gradebook:
        gradebook.add_student(HOSTILE, first_name=HOSTILE, last_name="\u202eevil\x1b]0;")
        add_submissions(gradebook, "lstm", {HOSTILE: {"check-one": 0.0, "check-two": 0.0, "essay": 0.0}})
    questions = [judged("one", 0.0, 4.0, HOSTILE, f"no answer within {HOSTILE}"), judged(HOSTILE, 0.0, 1.0, HOSTILE)]
    add_record(course, HOSTILE, questions, seconds=99.0)
    add_record(course, "mallory", outcome="unreadable", problem=f"{HOSTILE}\ud800\0" + "x" * 10_000)
    page = page_of(course)
    assert HOSTILE in page.find(id="looks").text
    assert HOSTILE in page.find(id="mistakes").text
    assert "x" * 1000 not in page.text
    assert not page.find_all(["script", "img", "iframe", "object", "embed", "form", "base"])
    assert page.find("meta", {"http-equiv": "Content-Security-Policy"})["content"] == POLICY
    for element in page.find_all(True):
        assert not [name for name in element.attrs if name.lower().startswith("on")], element
        for name in ("src", "href", "xlink:href", "action", "data", "srcset"):
            assert element.get(name, "#").startswith("#"), element
        assert "url(" not in element.get("style", "").replace("url(#", "")
    assert "@import" not in page.style.text
    assert "http" not in page.style.text
    assert "http" not in "".join(map(str, page.find_all("svg")))


def test_the_name_of_a_question_is_text_in_a_plot(rng):
    drawn = plots.questions([plots.Shares("<script>$x_</script> & 李", 0.5, 0.25, 0.6)])
    plot = BeautifulSoup(drawn, "html.parser")
    assert not plot.find("script")
    assert "<script>$x_</script> & 李" in [text.text.strip() for text in plot.find_all("text")]
    for name in ("ink", "full", "part", "zero"):
        assert f"var(--{name})" in drawn
    assert "#0000" not in drawn


@pytest.mark.parametrize("out_of", [0.0, 0.5, 1.0, 10.0, 18.0, 100.0, 1234.5])
def test_the_bins_are_round_and_hold_everybody(rng, out_of):
    scores = rng.uniform(0, 1.1 * out_of, 50).tolist()
    edges = plots.bin_edges(scores, out_of)
    assert edges[0] <= min(scores)
    assert edges[-1] >= max(scores) - 1e-9
    assert 2 <= len(edges) <= 16
    assert np.histogram(scores, edges)[0].sum() == 50
    assert plots.distribution(scores, out_of)


def test_an_assignment_with_ordinary_tests_is_reported_too(tmp_path):
    with opened(tmp_path) as gradebook:
        add_assignment(gradebook, "ps1", {"test_a": 3.0, "test_b": 0.0}, notebook="Problem 1")
        add_submissions(gradebook, "ps1", {"ada": {"test_a": 3.0, "test_b": 0.0}, "bob": {"test_a": 1.0}})
    page = page_of(tmp_path, "ps1")
    assert rows(page.find(id="marks").table)[1:] == [
        ["test_a", "3", "67%", "50%", "0%"],
        ["test_b (1 marked)", "0", "–", "–", "–"],
    ]
    assert "name no mistakes" in page.find(id="mistakes").text
    assert "No times were recorded" in page.find(id="time").text
    assert "Nobody." in page.find(id="looks").text


def test_a_class_of_which_nothing_could_be_graded_has_a_report(tmp_path):
    with opened(tmp_path) as gradebook:
        add_assignment(gradebook, "lstm", CELLS)
    add_record(tmp_path, "dora", outcome="unreadable", problem="it is a symbolic link")
    page = page_of(tmp_path)
    assert "No submission has a mark yet." in page.text
    assert looks(page) == {"Unreadable": {"dora": "it is a symbolic link"}}


def test_what_cannot_be_reported_is_told_in_one_line(course, tmp_path):
    with pytest.raises(UserError, match="there is no course in"):
        report.write(tmp_path / "none", "lstm", tmp_path / "report.html")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="there is no gradebook"):
        report.write(tmp_path / "empty", "lstm", tmp_path / "report.html")
    assert not list((tmp_path / "empty").iterdir())
    with pytest.raises(UserError, match="no assignment 'gru'; it has: lstm"):
        report.write(course, "gru", tmp_path / "report.html")
    with opened(course) as gradebook:
        add_assignment(gradebook, "gru", CELLS)
    with pytest.raises(UserError, match=r"nothing of gru has been graded yet: run .* grade gru"):
        report.write(course, "gru", tmp_path / "report.html")
    with pytest.raises(UserError, match="can't write the report to"):
        report.write(course, "lstm", course)
    assert not (tmp_path / "report.html").exists()
    (course / "gradebook.db").write_bytes(b"no database" * 1000)
    with pytest.raises(UserError, match="can't be read: file is not a database"):
        report.write(course, "lstm", tmp_path / "report.html")


def test_a_torn_last_line_leaves_the_record_before_it(course):
    before = looks(page_of(course))
    with audit.file_of(course, "lstm").open("a") as file:
        file.write('{"student": "ada", "outcome": "unrea')
    assert looks(page_of(course)) == before


def test_a_thousand_students_take_seconds(tmp_path):
    students = [f"s{number:04d}" for number in range(1000)]
    cells = {f"check-q{k}": 2.0 for k in range(8)}
    with opened(tmp_path) as gradebook:
        add_assignment(gradebook, "lstm", cells)
        add_submissions(gradebook, "lstm", {student: dict.fromkeys(cells, 1.0) for student in students})
    questions = [judged(f"q{k}", 1.0, 2.0, f"mistake {k}") for k in range(8)]
    lines = [audit.entry(student, "lstm", "graded", seconds=0.5, questions=questions) for student in students]
    audit.file_of(tmp_path, "lstm").parent.mkdir()
    audit.file_of(tmp_path, "lstm").write_text("".join(json.dumps(line) + "\n" for line in lines))
    start = time.monotonic()
    report.write(tmp_path, "lstm", tmp_path / "report.html")
    assert time.monotonic() - start < 10
    page = page_of(tmp_path)
    assert "1000 submissions: 1000 graded" in page.header.p.text


def test_the_sample_has_something_to_say_in_every_section(tmp_path):
    plausible(tmp_path, 45)
    page = page_of(tmp_path)
    assert set(looks(page)) == {look.title for look in report.looks({}, {}, [])}
    assert len(page.find_all("svg")) == 2
