"""A whole notebook goes through the sandbox: what fails costs itself only."""

import dataclasses
import time

import pytest

from autograder import compose, judge, question
from autograder.execute import Run, outputs_of

NAMES = [exercise.name for exercise in compose.exercises("lstm")]
POINTS = {exercise.name: exercise.points for exercise in compose.exercises("lstm")}


@pytest.fixture
def grade(sandbox):
    """Grade a notebook, with short clocks; return the points of each question."""

    def run(notebook, seconds: float = 2.0) -> dict[str, float]:
        compose.restore_check_cells(notebook, "lstm")
        questions = {
            name: dataclasses.replace(asked, seconds=seconds) for name, asked in question.of_block("lstm").items()
        }

        def decide(asked, points, ask):
            return judge.judge(asked, points, 7, ask)

        Run(sandbox, decide, cell_seconds=seconds, deadline=time.monotonic() + 100).all(notebook.cells, questions)
        return {name: float(output_of(notebook, name).data["text/plain"]) for name in NAMES}

    return run


def output_of(notebook, name):
    (cell,) = [cell for cell in notebook.cells if compose.checked_question(cell) == name]
    (output,) = cell.outputs
    return output


def answer(notebook, name):
    (cell,) = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == name]
    return cell


def begin(cell, line: str) -> None:
    """Put a line in front of the body of an answer."""
    cell.source = cell.source.replace("    ### BEGIN SOLUTION", f"    {line}\n    ### BEGIN SOLUTION")


def others(marks: dict[str, float], *names: str) -> dict[str, float]:
    return {name: points for name, points in marks.items() if name not in names}


def test_right_answers_get_all_points(grade, solved):
    assert grade(solved, seconds=20) == POINTS


def test_an_untouched_release_gets_nothing_and_a_friendly_word(grade, released):
    assert set(grade(released).values()) == {0.0}
    assert "is not implemented yet" in output_of(released, NAMES[0]).data["text/html"]


@pytest.mark.parametrize(
    "line",
    [
        "while True: pass",
        "import os; os._exit(1)",
        "import ctypes; ctypes.string_at(0)",
        "import sys; sys.exit()",
    ],
)
def test_an_answer_that_never_ends_or_ends_the_process_costs_its_own_question(grade, solved, line):
    begin(answer(solved, "gru_step_forward"), line)
    marks = grade(solved)
    assert marks["gru_step_forward"] == 0
    assert others(marks, "gru_step_forward") == others(POINTS, "gru_step_forward")


def test_the_words_for_a_loop_and_for_an_exit_differ(grade, solved):
    begin(answer(solved, "gru_step_forward"), "while True: pass")
    begin(answer(solved, "load_torch_weights"), "import os; os._exit(1)")
    grade(solved)
    assert "a loop that never ends" in output_of(solved, "gru_step_forward").data["text/html"]
    assert "the process ended" in output_of(solved, "load_torch_weights").data["text/html"]


@pytest.mark.parametrize(
    "source",
    ["while True: pass", "import os; os._exit(1)", "import sys; sys.exit()", "1 / 0", "(", "%no_such_magic"],
)
def test_a_cell_of_the_students_that_fails_costs_nothing_else(grade, solved, source):
    own = compose.new_code_cell(source)
    solved.cells.insert(6, own)
    assert grade(solved) == POINTS
    assert own.outputs[-1].output_type == "error" or own.outputs[-1].name == "stderr"


def test_plots_magics_warnings_and_noise_cost_nothing(grade, solved):
    noise = (
        "%matplotlib inline\nimport sys, warnings\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\n"
        "warnings.warn('w')\nprint('x', file=sys.stderr)"
    )
    begin(answer(solved, NAMES[0]), "import warnings; warnings.warn('honest'); print('noise')")
    own = compose.new_code_cell(noise)
    solved.cells.insert(6, own)
    assert grade(solved) == POINTS
    assert any("image/png" in output.get("data", {}) for output in own.outputs)


def test_a_deleted_check_cell_costs_nothing(grade, solved):
    solved.cells = [cell for cell in solved.cells if compose.checked_question(cell) != NAMES[1]]
    assert grade(solved) == POINTS


def test_a_deleted_answer_costs_its_own_question(grade, solved):
    solved.cells.remove(answer(solved, "gru_step_forward"))
    marks = grade(solved)
    assert others(marks, "gru_step_forward") == others(POINTS, "gru_step_forward")
    assert "there is no function gru_step_forward" in output_of(solved, "gru_step_forward").data["text/html"]


def test_a_verdict_shows_nothing_of_the_hidden_numbers(grade, solved):
    cell = answer(solved, NAMES[0])
    cell.source = cell.source.replace("o * tanh_c", "o * tanh_c + 1")
    grade(solved)
    text = output_of(solved, NAMES[0]).data["text/html"]
    assert "numbers differ on" in text
    assert "expected" not in text


def test_what_a_student_raises_is_escaped_in_the_verdict(grade, solved):
    begin(answer(solved, NAMES[0]), "raise ValueError('<script>alert(1)</script>')")
    grade(solved)
    text = output_of(solved, NAMES[0]).data["text/html"]
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_a_forged_picture_does_not_reach_the_feedback():
    forged = {"image/png": 'x" onerror="alert(1)', "text/html": "<script>", "text/plain": "kept"}
    honest = {"image/png": "iVBORw0KGgo=\n"}
    reply = {"stdout": "", "stderr": "", "displays": [forged, honest], "error": None}
    assert [dict(output.data) for output in outputs_of(reply)] == [{"text/plain": "kept"}, honest]
