"""A whole notebook goes through the sandbox: what fails costs itself only."""

import dataclasses
import time

import pytest

from autograder import compose, judge, question
from autograder.execute import NotJudgedError, Run, outputs_of
from autograder.sandbox import Child, ChildDiedError

NAMES = [exercise.name for exercise in compose.exercises("lstm")]
POINTS = {exercise.name: exercise.points for exercise in compose.exercises("lstm")}


def decide(asked, points, ask, uses):
    return judge.judge(asked, points, 7, ask, uses)


@pytest.fixture
def grade(sandbox):
    """Grade a notebook, with short clocks; return the points of each question."""

    def run(notebook, seconds: float = 3.0, in_all: float = 100.0) -> dict[str, float]:
        compose.restore_check_cells(notebook, POINTS)
        questions = {
            name: dataclasses.replace(asked, seconds=seconds) for name, asked in question.of_block("lstm").items()
        }

        deadline, given = time.monotonic() + in_all, compose.kernel_cells("lstm")
        Run(sandbox, questions, decide, cell_seconds=seconds, deadline=deadline, given=given).all(notebook.cells)
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
    displays = [{"data": data, "result": False} for data in (forged, honest)]
    reply = {"stdout": "", "stderr": "", "displays": displays, "error": None}
    assert [dict(output.data) for output in outputs_of(reply)] == [{"text/plain": "kept"}, honest]


def test_a_cell_that_fails_only_when_it_runs_again_earns_nothing(grade, released):
    later = f"import os, time\nif time.time() > {time.time() + 1.5}: os._exit(0)"
    released.cells.insert(0, compose.new_code_cell(later))
    released.cells.insert(1, compose.new_code_cell("import os, time\ntime.sleep(1.6)\nos._exit(0)"))
    assert set(grade(released, seconds=5).values()) == {0.0}


def test_a_notebook_that_uses_up_its_time_earns_nothing_more(grade, released):
    released.cells.insert(0, compose.new_code_cell("import time\ntime.sleep(0.5)"))
    released.cells.insert(1, compose.new_code_cell("while True: pass"))
    start = time.monotonic()
    assert set(grade(released, seconds=2, in_all=1.0).values()) == {0.0}
    assert time.monotonic() - start < 10
    assert "used up the time" in output_of(released, NAMES[-1]).data["text/html"]


def test_many_cells_that_end_the_process_do_not_outlast_the_notebooks_time(grade, released):
    released.cells[:0] = [compose.new_code_cell("import os\nos._exit(0)") for _ in range(500)]
    start = time.monotonic()
    assert set(grade(released, in_all=1.5).values()) == {0.0}
    assert time.monotonic() - start < 10


def test_a_judge_that_fails_gives_no_mark(sandbox, solved):
    def broken(*_):
        raise KeyError("a fault of ours")

    compose.restore_check_cells(solved, POINTS)
    run = Run(sandbox, question.of_block("lstm"), broken, cell_seconds=20, deadline=time.monotonic() + 100)
    with pytest.raises(NotJudgedError, match="could not be judged: KeyError"):
        run.all(solved.cells)


def test_a_check_cell_of_no_question_runs_as_any_other(sandbox, solved):
    compose.restore_check_cells(solved, {**POINTS, "forgotten": 3.0})
    run = Run(sandbox, {}, None, cell_seconds=20, deadline=time.monotonic() + 100)
    run.all(solved.cells)
    assert run.entries == []


def test_text_that_no_file_can_hold_costs_nothing(grade, solved):
    own = compose.new_code_cell("print('\\ud83d')\nraise ValueError('\\ud800')")
    solved.cells.insert(6, own)
    assert grade(solved, seconds=20) == POINTS
    for output in own.outputs:
        str(output).encode("utf-8")


def test_large_pictures_are_left_out_and_cost_nothing(grade, solved):
    picture = "from IPython.display import Image, display\nimport os\nkept = 5\n"
    own = compose.new_code_cell(picture + "for _ in range(4): display(Image(os.urandom(1_200_000), format='png'))")
    solved.cells.insert(6, own)
    after = compose.new_code_cell("kept")
    solved.cells.insert(7, after)
    assert grade(solved, seconds=20) == POINTS
    assert "left out" in own.outputs[-1].data["text/plain"]
    assert after.outputs[0].data["text/plain"] == "5"


def test_a_cell_that_fails_once_when_it_runs_again_has_a_second_chance(sandbox, solved, monkeypatch):
    compose.restore_check_cells(solved, POINTS)
    solved.cells.insert(6, compose.new_code_cell("import os\nos._exit(0)"))
    real, calls = Child.run_cell, []

    def failing_once(child, source, seconds):
        calls.append(source)
        if calls.count(source) == 2 and "import numpy" in source and "failed" not in calls:
            calls.append("failed")
            raise ChildDiedError("a fault of the machine")
        return real(child, source, seconds)

    monkeypatch.setattr(Child, "run_cell", failing_once)
    deadline, given = time.monotonic() + 100, compose.kernel_cells("lstm")
    run = Run(sandbox, question.of_block("lstm"), decide, cell_seconds=20, deadline=deadline, given=given)
    run.all(solved.cells)
    assert "failed" in calls
    assert {name: float(output_of(solved, name).data["text/plain"]) for name in NAMES} == POINTS
