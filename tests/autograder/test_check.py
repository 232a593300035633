"""The student's side: the released folder alone, with NumPy and nothing of this project."""

import json
import shutil
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest

from autograder import check, compose, question, stubs

ALONE = """
import sys
import time

class OnlyNumPy:
    \"\"\"What a student's machine may lack is refused: all but the standard library, NumPy and check.py.\"\"\"

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {"numpy", "check", *sys.stdlib_module_names}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

sys.meta_path.insert(0, OnlyNumPy())
sys.path.insert(0, sys.argv[1])
import numpy as np
from check import check
"""
SEEN = """
import json
print("VERDICT" + json.dumps([verdict.points, verdict.out_of, verdict.mistake, repr(verdict), verdict._repr_html_()]))
"""


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """What lies beside the notebook in a student's folder."""
    course = tmp_path_factory.mktemp("course")
    compose.build("lstm", course)
    folder = tmp_path_factory.mktemp("student")
    for name in compose.PUBLIC_FILES:
        shutil.copy(compose.handout("lstm", course) / name, folder / name)
    return folder


def run_alone(release, code: str) -> subprocess.CompletedProcess:
    """Run code as a student would, in a fresh interpreter that finds NumPy and the release only."""
    script = ALONE + textwrap.dedent(code)
    command = [sys.executable, "-I", "-c", script, str(release)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def checked(release, definitions: str, name: str = "lstm_step_forward"):
    """The verdict on definitions: points, out of, mistake, as text, as HTML."""
    done = run_alone(release, f'{definitions}\nverdict = check("{name}")\n{SEEN}')
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.partition("VERDICT")[2])


def right(*names: str) -> str:
    return "\n\n\n".join([stubs.whole("sigmoid"), *(stubs.solved(name) for name in names)])


def wrong(old: str, new: str, *names: str) -> str:
    code = right(*names)
    assert old in code
    return code.replace(old, new)


def test_a_right_answer_gets_all_points_and_every_tick(release):
    points, out_of, mistake, text, page = checked(release, right("lstm_step_forward"))
    assert (points, out_of, mistake) == (4, 4, "")
    assert text.splitlines()[0] == "lstm_step_forward: 4 of 4 points"
    assert "✗" not in text + page


@pytest.mark.parametrize(
    ("name", "functions"),
    [
        ("lstm_peephole_step_forward", ["lstm_peephole_step_forward"]),
        ("lstm_step_backward", ["lstm_step_forward", "lstm_step_backward"]),
        ("lstm_peephole_step_backward", ["lstm_peephole_step_forward", "lstm_peephole_step_backward"]),
        ("gru_step_forward", ["gru_step_forward"]),
        ("load_torch_weights", ["load_torch_weights"]),
    ],
)
def test_every_question_about_arrays_is_checked_without_torch(release, name, functions):
    points, out_of, *_ = checked(release, right(*functions), name)
    assert points == out_of > 0


def test_the_sequence_is_checked_with_the_given_walk_and_the_students_own_steps(release):
    code = right("lstm_step_forward", "lstm_step_backward") + "\n\n\n" + stubs.whole("lstm_forward")
    points, out_of, *_ = checked(release, f"{code}\n\n\n{stubs.solved('lstm_backward')}", "lstm_backward")
    assert points == out_of > 0


def test_a_wrong_answer_is_shown_its_worst_number_and_its_name(release):
    points, out_of, mistake, text, page = checked(
        release, wrong("tanh_c = np.tanh(c_t)", "tanh_c = c_t", "lstm_step_forward")
    )
    assert 0 < points < out_of
    assert "lacks the tanh around the cell state" in mistake
    assert f"→ {mistake}" in text
    line = next(line for line in text.splitlines() if "✗ h is right" in line)
    assert "h[" in line
    assert ", expected " in line
    assert "differ)" in line
    assert "Looks like:" in page


def test_the_number_shown_is_the_largest_difference(release):
    code = right("lstm_step_forward") + textwrap.dedent("""
        honest = lstm_step_forward

        def lstm_step_forward(*arguments):
            h_t, c_t, cache = honest(*arguments)
            h_t[1, 2], h_t[2, 1] = 0.5, 100.0
            return h_t, c_t, cache
    """)
    *_, text, _ = checked(release, code)
    assert "h[2, 1] is 100, expected " in text
    assert "(2 of " in text


def test_an_unwritten_stub_is_met_with_what_to_do(release):
    points, _, mistake, text, _ = checked(release, stubs.stub("lstm_step_forward"))
    assert (points, mistake) == (0, "")
    assert "lstm_step_forward is not implemented yet: put your code in place of" in text


def test_a_walk_over_an_unwritten_step_says_which_function_is_missing(release):
    code = right("lstm_backward") + "\n\n\n" + stubs.whole("lstm_forward") + "\n\n\n" + stubs.stub("lstm_step_forward")
    *_, text, _ = checked(release, code, "lstm_backward")
    assert "lstm_step_forward is not implemented yet" in text


def test_a_missing_function_is_asked_for(release):
    *_, text, _ = checked(release, "")
    assert "there is no function lstm_step_forward: has its cell been run, has it been renamed?" in text


def test_what_is_no_function_is_named(release):
    points, _, _, text, _ = checked(release, "lstm_step_forward = 3")
    assert points == 0
    assert "lstm_step_forward must be a function, but is a int" in text


def test_a_crash_shows_the_errors_type_and_text(release):
    points, _, _, text, _ = checked(release, "def lstm_step_forward(x, h, c, W_x, W_h, b):\n    return x @ W_h")
    assert points == 0
    assert "✗ runs: ValueError: matmul" in text


@pytest.mark.parametrize(
    "body",
    [
        "None",
        "'text'",
        "()",
        "(None, None, None)",
        "(h, c)",
        "(h, c, c, c)",
        "(h.tolist(), c.tolist(), ())",
        "(h[0], c[0], ())",
        "(h.T, c.T, ())",
        "(h.astype(object), c, ())",
        "(h.astype(complex), c + 1j, ())",
        "(h > 0, c > 0, ())",
        "(h.astype(int), c.astype(np.int8), ())",
        "(h.astype(np.float16), c.astype(np.longdouble), ())",
        "(h * np.nan, c * np.inf, ())",
        "(np.matrix(h), np.ma.masked_array(c, c > 0), ())",
        "(h[:0], c[:, :0], ())",
        "(1.0, True, ())",
        "(np.array('text'), np.array(b'raw'), ())",
        "iter([h, c, ()])",
        "exit()",
        "lstm_step_forward(x, h, c, W_x, W_h, b)",
    ],
)
@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # np.matrix
def test_no_wrong_answer_makes_the_check_itself_fail(release, body):
    points, out_of, *_ = checked(release, f"def lstm_step_forward(x, h, c, W_x, W_h, b):\n    return {body}")
    assert points <= 0.3 * out_of


def test_a_transposed_answer_is_told_so(release):
    *_, text, _ = checked(release, "def lstm_step_forward(x, h, c, W_x, W_h, b):\n    return h.T, c.T, ()")
    assert "is it transposed?" in text


def test_an_unknown_question_raises_and_lists_the_known_ones(release):
    done = run_alone(release, 'check("lstm_leap")')
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: there is no question 'lstm_leap' in this notebook; it has: lstm_step_forward, ")
    assert "lstm_step_kernel" in last


def test_a_lost_file_of_cases_raises_and_says_what_to_do(release, tmp_path):
    shutil.copy(release / "check.py", tmp_path / "check.py")
    done = run_alone(tmp_path, 'check("lstm_step_forward")')
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last == "FileNotFoundError: cases.npz is missing beside check.py: download the exercise folder again"


def test_a_kernel_question_without_torch_says_what_is_missing(release):
    code = "def lstm_step(x, h, c, W_x, W_h, b):\n    return h, c"
    points, _, _, text, _ = checked(release, code, "lstm_step_kernel")
    assert points == 0
    assert "torch" in text


def test_a_student_sees_a_lane_out_of_bounds_with_nothing_but_the_released_folder(release, tmp_path):
    pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")
    source = "\n\n\n".join([*compose.kernel_cells("lstm"), stubs.solved("lstm_step_kernel")])
    old = "tl.load(c_ptr + rows * c_stride + cols, mask=mask, other=0.0)"
    assert source.count(old) == 1
    (tmp_path / "kernel.py").write_text(source.replace(old, "tl.load(c_ptr + rows * c_stride + cols)"))
    code = f"""
        sys.meta_path.pop(0)  # a kernel needs torch and triton
        sys.path.insert(1, {str(tmp_path)!r})
        from kernel import *
        print(check("lstm_step_kernel"))
        print([m for m in sys.modules if m in ("checker", "kernels", "autograder")])
    """
    done = run_alone(release, code)
    assert "✗ stays in bounds, and no two programs meet: load out of bounds in program (0, 0, 0): c[" in done.stdout
    assert done.stdout.splitlines()[-1] == "['checker']", done.stdout + done.stderr


def test_a_check_takes_less_than_a_second(release):
    code = right("lstm_step_forward", "lstm_step_backward") + textwrap.dedent("""
        start = time.perf_counter()
        check("lstm_step_forward")
        check("lstm_step_backward")
        print((time.perf_counter() - start) / 2)
    """)
    assert float(run_alone(release, code).stdout) < 1.0


def test_checking_leaves_the_students_arrays_and_names_alone(release):
    code = right("lstm_step_forward") + textwrap.dedent("""
        before = set(globals())
        check("lstm_step_forward")
        print(sorted(set(globals()) - before))
    """)
    assert run_alone(release, code).stdout.strip() == "['before']"


def test_the_public_files_hold_no_line_of_a_solution(release):
    with zipfile.ZipFile(release / "cases.npz") as archive:
        cases = b"".join(archive.read(name) for name in archive.namelist())
    with np.load(release / "cases.npz", allow_pickle=False) as archive:
        text = str(archive["tasks"]) + (release / "check.py").read_text(encoding="utf-8")
    for exercise in compose.exercises("lstm"):
        body = stubs.solved(exercise.name).partition("### BEGIN SOLUTION")[2].partition("### END SOLUTION")[0]
        lines = [line.strip() for line in body.splitlines() if len(line.strip()) > 24]
        assert lines or exercise.name == "load_torch_weights"
        assert [line for line in lines if line in text or line.encode() in cases] == []


def test_the_public_files_name_nothing_of_this_project(release):
    text = (release / "check.py").read_text(encoding="utf-8")
    assert "import solutions" not in text
    assert "from autograder" not in text
    assert "import autograder" not in text


def test_check_reads_back_the_task_that_was_written(release):
    tasks = check.load(release / "cases.npz")
    assert list(tasks) == [exercise.name for exercise in compose.exercises("lstm")]
    for exercise in compose.exercises("lstm"):
        task = tasks[exercise.name]
        assert task.points == exercise.points
        assert set(task.messages) == set(task.cases[0].mistakes)
        assert all(len(case.expected) == len(task.outputs) for case in task.cases)


def test_the_public_cases_stay_small(release):
    assert (release / "cases.npz").stat().st_size < 2_000_000


# what a question forbids


def test_a_task_tells_the_check_what_is_forbidden(release):
    tasks = check.load(release / "cases.npz")
    for name, asked in question.of_block("lstm").items():
        assert tuple(tasks[name].forbid) == asked.forbid
        assert check.call_of(tasks[name], tasks[name].cases[0]).forbid == tasks[name].forbid


TORCH = """
import types
torch = types.ModuleType("torch")
exec("def tanh(x):\\n    return x", vars(torch))
honest = lstm_step_forward
"""
BY_TORCH = """
def lstm_step_forward(*inputs):
    torch.tanh(1)
    return honest(*inputs)
"""


def test_a_forbidden_call_is_told_and_costs_all_points(release):
    points, _, mistake, text, page = checked(release, right("lstm_step_forward") + TORCH + BY_TORCH)
    assert (points, mistake) == (0, "")
    assert "uses torch: this question asks for an answer without it" in text
    assert "does without what is forbidden" in page


def test_a_comparison_with_what_is_forbidden_costs_nothing_in_a_cell_of_its_own(release):
    points, out_of, *_ = checked(release, right("lstm_step_forward") + TORCH + "torch.tanh(lstm_step_forward)")
    assert points == out_of


def test_to_import_a_forbidden_module_is_no_use_of_it(release):
    code = """
        import check as checking

        def answer():
            import fractions
            return np.ones(1)

        assert "fractions" not in sys.modules
        call = checking.Call(["answer"], 1, False, {}, [], forbid=["fractions"])
        print(repr(checking.perform(globals(), call).used))

        def answer():
            import statistics
            return np.array(statistics.mean([1.0]))

        assert "statistics" not in sys.modules
        print(checking.perform(globals(), checking.Call(["answer"], 1, False, {}, [], forbid=["statistics.mean"])).used)
    """
    assert run_alone(release, code).stdout.split() == ["''", "statistics.mean"]
