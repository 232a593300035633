"""An exercise page becomes a notebook that nbgrader releases without a trace of a solution."""

import re

import nbformat
import pytest

from autograder import blocks, compose, question, stubs
from autograder.errors import UserError


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Write an exercise page of one's own, to be found as the block lstm's."""

    def write(text: str) -> None:
        file = tmp_path / "book" / "lstm.md"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        monkeypatch.setattr(blocks, "exercises", lambda stem: file)

    return write


def test_a_page_is_read_in_order(page):
    page(
        "---\nmyst: {}\n---\n\n# Title\n\nText with {eq}`lstm-step` and {ref}`a link <there>`.\n\n"
        "```{given} sigmoid\n```\n\n"
        "````{question} lstm_step_forward\n:points: 2.5\n:stars: 1\n:minutes: 5\n:needs: nothing\n\nAsk.\n\n"
        "```{dropdown} Hint 1: the idea\nThink.\n```\n````\n\nEnd.\n"
    )
    title, given, asked, end = compose.parse("lstm")
    assert title == "# Title\n\nText with lstm-step and a link."
    assert given == compose.Given("sigmoid")
    assert (asked.name, asked.points, asked.stars, asked.minutes, asked.needs) == (
        "lstm_step_forward",
        2.5,
        1,
        5,
        "nothing",
    )
    assert asked.text == "Ask.\n\n<details><summary>Hint 1: the idea</summary>\n\nThink.\n\n</details>"
    assert end == "End."


def test_a_question_without_points_is_refused_with_file_and_line(page):
    page("# Title\n\n```{question} lstm_step_forward\n:stars: 1\n:minutes: 5\n\nAsk.\n```\n")
    with pytest.raises(UserError, match=r"book/lstm.md:3: question lstm_step_forward needs :points:"):
        compose.parse("lstm")


def test_page_and_questions_must_name_the_same_functions(page, tmp_path):
    page("# Title\n\n```{question} lstm_step_forward\n:points: 1\n:stars: 1\n:minutes: 5\n\nAsk.\n```\n")
    with pytest.raises(UserError, match="lstm_step_backward"):
        compose.build("lstm", tmp_path / "course")
    assert not (tmp_path / "course").exists()


def test_the_release_has_no_trace_of_a_solution(released):
    text = "\n".join(cell.source for cell in released.cells)
    assert "SOLUTION" not in text
    for exercise in compose.exercises("lstm"):
        solution = stubs.solved(exercise.name).partition("### BEGIN SOLUTION")[2].partition("### END SOLUTION")[0]
        telling = [line.strip() for line in solution.splitlines() if re.search(r"[*@]|sigmoid|tanh", line)]
        leaked = [line for line in telling if len(line) > 30 and line in text]
        assert not leaked, f"{exercise.name}: {leaked}"


def test_every_stub_of_the_release_is_the_one_that_the_site_shows(released):
    cells = {cell.metadata.get("nbgrader", {}).get("grade_id"): cell.source for cell in released.cells}
    for exercise in compose.exercises("lstm"):
        assert cells[exercise.name] == stubs.stub(exercise.name)


def test_each_question_has_a_locked_check_cell_with_its_points(released):
    checks = {compose.checked_question(cell): cell for cell in released.cells if compose.checked_question(cell)}
    assert list(checks) == [exercise.name for exercise in compose.exercises("lstm")]
    for exercise in compose.exercises("lstm"):
        assert checks[exercise.name].metadata.nbgrader.locked
        assert compose.points(checks[exercise.name]) == exercise.points


def test_beside_the_notebook_lie_only_the_checkers_and_public_cases(lstm_course):
    assert sorted(path.name for path in (lstm_course / "release/lstm").iterdir()) == [
        "cases.npz",
        "check.py",
        "checker.py",
        "lstm.ipynb",
    ]


def test_lost_doubled_and_forged_check_cells_are_put_right(released):
    names = [exercise.name for exercise in compose.exercises("lstm")]
    first, second = (next(c for c in released.cells if compose.checked_question(c) == name) for name in names[:2])
    released.cells.remove(first)
    second.source, second.metadata.nbgrader.points = "print('mine')", 1000
    released.cells += [
        nbformat.from_dict(second),
        compose.check_cell("forged", 99),
    ]
    compose.restore_check_cells(released, {e.name: e.points for e in compose.exercises("lstm")})
    found = [
        (compose.checked_question(c), compose.points(c), c.source)
        for c in released.cells
        if compose.checked_question(c)
    ]
    wanted = [(e.name, e.points, f'check("{e.name}")') for e in compose.exercises("lstm")]
    assert sorted(found) == sorted(wanted)


def test_two_builds_are_the_same_to_the_byte(tmp_path):
    compose.build("lstm", tmp_path / "a")
    compose.build("lstm", tmp_path / "b")
    for name in ("source/lstm/lstm.ipynb", "handout/lstm/cases.npz", "handout/lstm/check.py"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_questions_of_a_block_without_any_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(blocks, "questions", lambda stem: tmp_path / "none.py")
    with pytest.raises(UserError, match="has no questions"):
        question.of_block("none")


def test_a_question_says_what_its_answer_must_do_without():
    cells = {cell.id: cell.source for cell in compose.source_notebook("lstm").cells}
    assert "· without `torch`" in cells["ask-lstm_step_forward"]
    assert "without" not in cells["ask-load_torch_weights"].splitlines()[2]
