"""Kernels of students: judged alone, for values, memory and cost, each mistake with its own words and marks."""

import importlib
import re
import time

import pytest
from nbformat.v4 import new_code_cell

pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")

from autograder import blocks, check, compose, judge, kernel_source, question, stubs
from autograder.execute import Run
from kernels import checker

QUESTIONS = {
    name: (stem, asked) for stem in blocks.stems() for name, asked in question.of_block(stem).items() if asked.tensors
}
POINTS = 10.0
LOAD_OF_C = "tl.load(c_ptr + rows * c_stride + cols, mask=mask, other=0.0)"
STORE_OF_C = "tl.store(c_t_ptr + rows * d_h + cols, c_t, mask=mask)"


@pytest.fixture
def judged(sandbox):
    """Judge the kernel of a notebook through the grader in the sandbox; return its verdict."""

    def run(cells, name="lstm_step_kernel") -> check.Verdict:
        stem, asked = QUESTIONS[name]
        verdicts = {}

        def decide(asked, points, ask, uses):
            verdicts[asked.name] = judge.judge(asked, points, 5, ask, uses)
            return verdicts[asked.name]

        notebook = [*cells, compose.check_cell(name, POINTS)]
        one = Run(sandbox, {name: asked}, decide, 20.0, time.monotonic() + 60, given=compose.kernel_cells(stem))
        one.all(notebook)
        (entry,) = one.entries
        steps = tuple(check.Step(step["title"], step["passed"], 1.0, step["message"]) for step in entry["steps"])
        return check.Verdict(name, entry["points"], entry["out_of"], steps, entry["mistake"])

    return run


def solved_cells(stem="lstm"):
    code = [cell for cell in compose.source_notebook(stem).cells if cell.cell_type == "code"]
    return [cell for cell in code if compose.checked_question(cell) is None]


def with_edit(old, new, name="lstm_step_kernel"):
    """The cells of the solved notebook with one piece of the kernel replaced."""
    cells = solved_cells(QUESTIONS[name][0])
    (kernel,) = [cell for cell in cells if cell.metadata.nbgrader.grade_id == name]
    assert kernel.source.count(old) == 1, kernel.source.count(old)
    kernel.source = kernel.source.replace(old, new)
    return cells


def step(verdict, part):
    (found,) = [step for step in verdict.steps if part in step.title]
    return found


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_reference_kernel_gets_all_points(name, judged):
    verdict = judged(solved_cells(QUESTIONS[name][0]), name)
    assert verdict.points == POINTS, verdict


@pytest.mark.parametrize("name", QUESTIONS)
def test_what_a_kernel_must_move_is_what_the_reference_moves(name):
    stem, asked = QUESTIONS[name]
    assert asked.moves, "a question about a kernel says what its reference moves"
    host = vars(importlib.import_module(f"kernels.{stem}"))
    for seed in range(3):
        task = question.make_task(asked, POINTS, seed)
        for case in task.cases:
            answer = check.perform(host, check.call_of(task, case))
            assert answer.error == ""
            assert (case.label, answer.moved) == (case.label, case.moves)


def test_a_missing_mask_costs_the_memory_and_is_said(judged):
    verdict = judged(with_edit(LOAD_OF_C, LOAD_OF_C.replace(", mask=mask, other=0.0", "")))
    memory = step(verdict, "stays in bounds")
    assert not memory.passed
    assert memory.message.startswith("load out of bounds in program")
    assert memory.message.endswith("Did you forget mask=?")
    assert verdict.mistake == check.FAULTS["bounds"]
    assert all(step.passed for step in verdict.steps if step.title.endswith("is right"))
    assert 0 < verdict.points < POINTS


def test_a_race_costs_the_memory_and_is_said(judged):
    spy = f"seen = {LOAD_OF_C.replace('c_ptr', 'c_t_ptr').replace('c_stride + cols', 'd_h + cols // 2')}"
    verdict = judged(with_edit(STORE_OF_C, f"{spy}\n    {STORE_OF_C}"))
    memory = step(verdict, "stays in bounds")
    assert not memory.passed
    assert memory.message.startswith("race: program (0, 1, 0) loads c_t[")
    assert verdict.mistake == check.FAULTS["race"]
    assert 0 < verdict.points < POINTS


def test_reading_everything_twice_is_right_but_costs_a_point(judged):
    cells = with_edit(LOAD_OF_C, f"(({LOAD_OF_C}) + ({LOAD_OF_C})) / 2")
    (kernel,) = [cell for cell in cells if cell.metadata.nbgrader.grade_id == "lstm_step_kernel"]
    for pointer, mask in [("W + d_h", "W_mask"), ("W + 2 * d_h", "W_mask"), ("W + 3 * d_h", "W_mask"), ("W", "W_mask")]:
        load = f"tl.load({pointer}, mask={mask}, other=0.0)"
        assert kernel.source.count(load) == 2
        kernel.source = kernel.source.replace(load, f"(0.5 * {load} + 0.5 * {load})")
    verdict = judged(cells)
    wrong = [step for step in verdict.steps if not step.passed]
    assert [step.title for step in wrong] == ["moves no more bytes than it must"]
    assert "times the bytes it must" in wrong[0].message
    assert 0.9 * POINTS < verdict.points < POINTS


def test_a_masked_load_without_other_that_spoils_a_sum_is_explained(judged):
    old = "x = tl.load(x_ptr + rows * x_stride + k[None, :], mask=x_mask, other=0.0)"
    verdict = judged(with_edit(old, old.replace(", other=0.0", "")))
    assert "without other=" in step(verdict, "stays in bounds").message


TAMPERING = {
    "a checker that sees nothing": "import kernels.checker as c\nc.why_not = lambda: ''\nc.watch = None",
    "another host function": "def lstm_step(*args):\n    return 'gotcha', 'gotcha'",
    "another interpreter": "import triton.runtime.interpreter as i\ni.GridExecutor.__call__ = lambda *a, **k: None",
    "another language": "import triton.language as tl\ntl.load = tl.store = lambda *a, **k: 1/0",
    "another torch": "import torch\ntorch.empty = torch.zeros_like",
}


@pytest.mark.parametrize("code", TAMPERING.values(), ids=TAMPERING.keys())
def test_nothing_that_other_cells_do_reaches_the_kernel(code, judged):
    unmasked = with_edit(LOAD_OF_C, LOAD_OF_C.replace(", mask=mask, other=0.0", ""))
    plain = judged(unmasked)
    tampered = judged([*unmasked, new_code_cell(code)])
    assert (tampered.points, tampered.steps) == (plain.points, plain.steps)


NO_KERNELS = {
    "x = __import__('os')": r"a kernel can't use __import__",
    "import os": r"Triton has no Import in a",
    "x = np.zeros(3)": r"there is no np\.zeros that a kernel could use",
    "x = open('f')": r"a kernel can't use open",
    "x = tl.core.inspect": r"there is no tl\.core that a kernel could use",
    "x = triton.runtime": r"there is no triton\.runtime that",
    "x = rows.handle.data": r"\.handle is nothing that a tensor",
    "x = rows.__class__": r"\.__class__ is nothing that a tensor",
    "x = tl.load(x_ptr, _semantic=3)": r"there is no argument _semantic",
    "x = (lambda: 3)()": r"Triton has no Lambda in a",
    "try:\n        x = 3\n    except ValueError:\n        x = 4": r"Triton has no Try in a",
    "raise SystemExit": r"a kernel can't raise errors",
    "x = libdevice.tanh(rows)": r"libdevice is on a GPU only",
    "tl.load = tl.store": r"can't assign to a part of anything",
    "x = tl.math.wraps": r"there is no tl\.math\.wraps that",
    "x = [eval for eval in (3,)], eval": r"a kernel can't use eval",
    "x = [a for a in (1,) for b in (2,)]": r"comprehensions with one for",
    "x = lstm_step": r"a kernel can't use lstm_step, only",
    "def inner():\n        return 3": r"can't define a function inside",
}


@pytest.mark.parametrize(("line", "message"), NO_KERNELS.items(), ids=NO_KERNELS.keys())
def test_what_no_kernel_could_say_is_refused_with_the_line(line, message, judged):
    old = "    mask = (rows < batch) & (cols < d_h)\n"
    verdict = judged(with_edit(old, f"    {line}\n{old}"))
    assert verdict.points == 0
    (only,) = verdict.steps
    assert only.title == "runs"
    assert re.search(message, only.message), only.message
    assert "lstm_step_kernel, line" in only.message


def test_a_kernel_may_call_helpers_and_constants_of_other_cells(judged):
    old = "c_t = f * "
    cells = with_edit(old, "c_t = half(TWO * f) * ")
    cells.insert(3, new_code_cell("TWO: tl.constexpr = 2\n\n@triton.jit\ndef half(x):\n    return x / TWO"))
    verdict = judged(cells)
    assert verdict.points == POINTS, verdict


HEADING = "@triton.jit\ndef vector_add_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):\n"
BODY = """    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < n
    x = tl.load(x_ptr + i, mask=mask, other=0.0)
    y = tl.load(y_ptr + i, mask=mask, other=0.0)
    tl.store(out_ptr + i, x + y, mask=mask)
"""
BLOCK_POINTERS = """    p = tl.program_id(0) * BLOCK
    x = tl.make_block_ptr(x_ptr, shape=(n,), strides=(1,), offsets=(p,), block_shape=(BLOCK,), order=(0,))
    y = tl.make_block_ptr(y_ptr, shape=(n,), strides=(1,), offsets=(p,), block_shape=(BLOCK,), order=(0,))
    out = tl.make_block_ptr(out_ptr, shape=(n,), strides=(1,), offsets=(p,), block_shape=(BLOCK,), order=(0,))
    both = tl.load(x, boundary_check=(0,), padding_option="zero") + tl.load(y, boundary_check=(0,))
    tl.store(out, both, boundary_check=(0,))
"""
DESCRIPTORS = """    p = tl.program_id(0) * BLOCK
    x = tl.make_tensor_descriptor(x_ptr, shape=[n], strides=[1], block_shape=[BLOCK])
    y = tl.make_tensor_descriptor(y_ptr, shape=[n], strides=[1], block_shape=[BLOCK])
    out = tl.make_tensor_descriptor(out_ptr, shape=[n], strides=[1], block_shape=[BLOCK])
    out.store([p], x.load([p]) + y.load([p]))
"""
STYLES = {
    "block pointers": [HEADING + BLOCK_POINTERS],
    "descriptors": [HEADING + DESCRIPTORS],
    "an assert": [HEADING + "    assert BLOCK >= 16, 'too small'\n" + BODY],
    "jit with options": [HEADING.replace("jit", "jit(debug=True, do_not_specialize=['n'])") + BODY],
    "jit imported": ["from triton import jit\n\n" + HEADING.replace("triton.jit", "jit") + BODY],
    "a computed constant": [
        "import math\n\nC = tl.constexpr(math.sqrt(2 / math.pi))\nA, B = tl.constexpr(2**0.5), tl.float32",
        HEADING + BODY.replace("x + y", "((x + y) * C * A / C / A).to(B)"),
    ],
    "constants of math": [HEADING + BODY.replace("0.0", "-np.inf").replace("x + y", "x + y * math.sqrt(4.0) / 2")],
    "annotations": [HEADING.replace("x_ptr", "x_ptr: torch.Tensor").replace("n,", "n: int,") + BODY],
    "a line of the docstring begins with def": [HEADING + '    """One.\n\n    def of a sum.\n    """\n' + BODY],
    "isinstance": [HEADING + "    if isinstance(n, tl.tensor):\n        n = n + 0\n" + BODY],
    "a comprehension": [HEADING + BODY.replace("x + y", "tl.sum(tl.join(*[v for v in (x, y)]), 1)")],
}


@pytest.mark.parametrize("cells", STYLES.values(), ids=STYLES.keys())
def test_what_triton_compiles_is_taken_in_any_style(cells, judged):
    verdict = judged([new_code_cell(cell) for cell in cells], "vector_add_kernel")
    assert verdict.points == POINTS, verdict


CHEAT = "get_ipython().user_ns.__setitem__('launch_vector_add', lambda x, y: x + y)"
CHEATS = {
    "an annotation that runs": f"X: {CHEAT} = 3\n\n{HEADING}    X\n",
    "the name of a comprehension's variable": f'{HEADING}    [0 for eval in ()]\n    eval("{CHEAT}")\n',
    "a default value": HEADING.replace("):", f', trick=eval("{CHEAT}")):') + "    eval = 3\n",
    "a kernel within the docstring": f'{HEADING}    """\n    {HEADING.splitlines()[1]}\n        {CHEAT}\n'
    "        '''\"\"\"  # '''\n    pass  # '''\n",
    "no line that begins with def and a space": HEADING.replace("def ", "def\t")
    + f"    '''\n    {CHEAT}; vector_add_kernel = eval # '''\n",
    "a kernel named like the host function": f"@triton.jit\ndef launch_vector_add(x, y):\n    return x + y\n\n{HEADING}"
    "    launch_vector_add\n",
    "a kernel named like a builtin": f"@triton.jit\ndef len(x):\n    return 1024\n\n{HEADING}    len\n{BODY}",
    "a list that outlives the kernel": HEADING.replace("):", ", seen=[]):") + BODY,
    "a list that a call makes": HEADING.replace("):", ", seen=list(())):") + BODY,
    "an option of jit that runs": HEADING.replace("jit", f"jit(debug={CHEAT})") + "    pass\n",
}


@pytest.mark.parametrize("cell", CHEATS.values(), ids=CHEATS.keys())
def test_nothing_but_the_kernel_runs(cell, judged):
    empty = judged([new_code_cell(f"{HEADING}    pass\n")], "vector_add_kernel")
    assert judged([new_code_cell(cell)], "vector_add_kernel").points <= empty.points < 0.1 * POINTS


def test_an_expression_that_is_too_deep_costs_its_own_question_only(judged):
    verdict = judged([new_code_cell(f"{HEADING}    x = {'+'.join(['1'] * 2000)}\n{BODY}")], "vector_add_kernel")
    assert "nested too deeply" in verdict.steps[0].message


def test_thousands_of_names_are_read_at_once():
    names = "".join(f"    v{number} = v\n" for number in range(3000))
    helpers = "".join(f"@triton.jit\ndef f{number}(x):\n    return x\n" for number in range(1000))
    start = time.monotonic()
    kernel_source.alone([helpers, f"{HEADING}    v = 3\n{names}"], "vector_add_kernel", compose.kernel_cells("kernels"))
    assert time.monotonic() - start < 10


def test_another_decorator_is_named_as_what_is_wrong(judged):
    tuned = "@triton.autotune(configs=[triton.Config({'BLOCK': 64})], key=['n'])\n"
    verdict = judged([new_code_cell(tuned + HEADING + BODY)], "vector_add_kernel")
    assert "must have the decorator @triton.jit, and no other" in verdict.steps[0].message


def test_a_kernel_that_is_not_there_is_asked_for(judged):
    cells = [cell for cell in solved_cells() if cell.metadata.nbgrader.grade_id != "lstm_step_kernel"]
    assert "there is no kernel lstm_step_kernel: define it" in judged(cells).steps[0].message


def test_an_untouched_kernel_gets_a_friendly_word(judged):
    cells = solved_cells()
    (kernel,) = [cell for cell in cells if cell.metadata.nbgrader.grade_id == "lstm_step_kernel"]
    kernel.source = stubs.stub("lstm_step_kernel")
    verdict = judged(cells)
    assert verdict.points == 0
    assert "is not implemented yet" in verdict.steps[0].message


def test_an_error_in_a_kernel_names_the_line_of_its_cell(judged):
    verdict = judged(with_edit("i = _sigmoid(a_i", "i = _sigmoid(a_i[0, 0, 0, 0]"))
    assert verdict.points == 0
    assert "_sigmoid(a_i[0, 0, 0, 0]" in verdict.steps[0].message


def test_a_kernel_that_never_ends_costs_its_own_question_only(judged):
    verdict = judged(with_edit("    mask = (rows < batch) & (cols < d_h)\n", "    while True:\n        pass\n"))
    assert verdict.points == 0


def test_a_definition_that_never_ends_is_judged_too(judged):
    verdict = judged([new_code_cell(HEADING.replace("):", ", much=9**9**9):") + BODY)], "vector_add_kernel")
    assert verdict.points == 0
    assert verdict.steps[0].message.startswith("defining this kernel")


def test_students_see_the_same_on_their_own(monkeypatch):
    _, asked = QUESTIONS["lstm_step_kernel"]
    task = question.make_task(asked, POINTS, 0)
    host = vars(importlib.import_module("kernels.lstm"))
    answers = [check.perform(host, check.call_of(task, case)) for case in task.cases]
    assert check.examine(task, answers, reveal=True).points == POINTS
    monkeypatch.setattr(checker, "PATCHED", (*checker.PATCHED, "create_something_new"))
    answers = [check.perform(host, check.call_of(task, case)) for case in task.cases]
    verdict = check.examine(task, answers, reveal=True)
    assert verdict.points == POINTS
    assert "has no create_something_new" in step(verdict, "could not be checked here").message


def test_a_kernel_keeps_the_lines_of_its_cell():
    cell = "x = 3\n\n\n@triton.jit\ndef one(x_ptr):\n    tl.store(x_ptr, 1.0)  # one\n"
    (source,) = kernel_source.alone(["%time 3", cell], "one", ())
    assert source == "\n\n\n@triton.jit\ndef one(x_ptr):\n    tl.store(x_ptr, 1.0)  # one"
