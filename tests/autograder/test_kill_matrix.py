"""The kill matrix: for every question, right answers get full marks, and each known mistake its own message."""

import dataclasses
import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from autograder import blocks, check, compose, kill_matrix, question, stubs
from autograder.judge import judge
from autograder.kill_matrix import wrong_answer
from solutions import lstm as reference

SEEDS = 50
KERNEL_SEEDS = 12  # a kernel takes up to 0.3 s a draw in Triton's interpreter
FEW_SEEDS = (0, 1, 2)
QUESTIONS = [(stem, name) for stem in blocks.stems() for name in question.of_block(stem)]
MISTAKES = [(stem, name, mistake) for stem, name in QUESTIONS for mistake in question.of_block(stem)[name].mistakes]
TELLING = [(stem, name) for stem, name in QUESTIONS if question.of_block(stem)[name].tells]
FIRST_QUESTIONS = [(stem, next(iter(question.of_block(stem)))) for stem in blocks.stems()]
SHOWN = 0.005  # points are rounded to cents


@pytest.fixture(autouse=True)
def each_task_is_made_once(monkeypatch):
    """The task of a question and a seed is always the same, so that the tests can share it."""
    monkeypatch.setattr("autograder.judge.draw_task", drawn)
    monkeypatch.setattr("autograder.judge.with_mistakes", diagnosed)


@cache
def points_of(stem: str) -> dict[str, float]:
    return {exercise.name: exercise.points for exercise in compose.exercises(stem)}


DRAWN: dict[tuple[str, int], check.Task] = {}
DIAGNOSED: dict[tuple[str, int], check.Task] = {}  # by question, and by the place of the drawn task in memory


def drawn(asked: question.Question, points: float, seed: int) -> check.Task:
    key = (asked.name, seed)
    if key not in DRAWN:
        DRAWN[key] = question.draw_task(asked, points, seed)
    return DRAWN[key]


def diagnosed(asked: question.Question, task: check.Task) -> check.Task:
    key = (asked.name, id(task))
    if key not in DIAGNOSED:
        DIAGNOSED[key] = question.with_mistakes(asked, task)
    return DIAGNOSED[key]


def task_of(asked: question.Question, points: float, seed: int) -> check.Task:
    return diagnosed(asked, drawn(asked, points, seed))


def verdict_on(stem: str, name: str, namespace: dict, seed: int) -> check.Verdict:
    """Judge functions of this process as the grader judges those of a submission."""

    def ask(call: check.Call) -> check.Answer:
        with np.errstate(all="ignore"):  # in a notebook, overflow is a warning at most
            return check.perform(namespace, call)

    return judge(question.of_block(stem)[name], points_of(stem)[name], seed, ask)


def right_answer(asked: question.Question) -> dict:
    """The functions that the question calls, from solutions/ or, where it is about tensors, from kernels/."""
    if asked.tensors:
        pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")
        file = stubs.find(asked.name).file
        return vars(importlib.import_module(f"kernels.{file.stem}"))
    return {function.__name__: function for function in asked.reference}


def unwritten(asked: question.Question, folder: Path) -> dict:
    """What the notebook defines before the student has written a line."""
    names = [function.__name__ for function in asked.reference] if not asked.tensors else [asked.name]
    sources = [stubs.stub(name) for name in names]
    if asked.tensors:
        sources = [compose.KERNEL_SETUP, *given(asked), *sources]
    return module_from("\n\n\n".join(sources), folder)


def given(asked: question.Question) -> list[str]:
    """The functions that the page gives in front of a kernel."""
    folder = blocks.kernel("x").parent
    stem = next(stem for stem, name in QUESTIONS if name == asked.name)
    names = [part.name for part in compose.parse(stem) if isinstance(part, compose.Given)]
    return [stubs.whole(name) for name in names if stubs.find(name).file.parent == folder]


def module_from(source: str, folder: Path) -> dict:
    """The names that a file with this source defines: Triton reads a kernel's source from its file."""
    file = folder / "answer.py"
    file.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("answer", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


# every question of the book


@pytest.mark.parametrize(("stem", "name"), QUESTIONS)
def test_the_reference_gets_full_marks_whatever_the_seed(stem, name):
    asked = question.of_block(stem)[name]
    answer = right_answer(asked)
    for seed in range(KERNEL_SEEDS if asked.tensors else SEEDS):
        verdict = verdict_on(stem, name, answer, seed)
        assert verdict.points == verdict.out_of, f"seed {seed}: {verdict}"


@pytest.mark.parametrize(("stem", "name"), QUESTIONS)
def test_a_stub_gets_nothing_and_a_friendly_message(stem, name, tmp_path):
    verdict = verdict_on(stem, name, unwritten(question.of_block(stem)[name], tmp_path), 0)
    assert verdict.points == 0
    assert "is not implemented yet: put your code in place of" in verdict.steps[0].message
    assert verdict.mistake == ""


@pytest.mark.parametrize(("stem", "name"), QUESTIONS)
def test_an_answer_under_another_name_is_asked_for_by_name(stem, name):
    verdict = verdict_on(stem, name, {}, 0)
    assert verdict.points == 0
    assert "there is no function" in verdict.steps[0].message


@pytest.mark.parametrize(("stem", "name", "mistake"), MISTAKES)
def test_every_mistake_loses_marks_and_is_named_without_a_word_of_hidden_numbers(stem, name, mistake):
    asked = question.of_block(stem)[name]
    verdicts = [verdict_on(stem, name, wrong_answer(asked, mistake), seed) for seed in FEW_SEEDS]
    for seed, verdict in zip(FEW_SEEDS, verdicts, strict=True):
        assert verdict.points < verdict.out_of - SHOWN, f"seed {seed}: {verdict}"
        assert verdict.mistake == asked.mistakes[mistake].message, f"seed {seed}: {verdict}"
        assert not any("expected" in step.message and "shape" not in step.message for step in verdict.steps)
    assert len({verdict.points for verdict in verdicts}) == 1, "two students pay differently for one mistake"


@pytest.mark.parametrize(("stem", "name"), TELLING)
def test_draws_that_would_let_a_mistake_pass_are_drawn_again(stem, name):
    asked = question.of_block(stem)[name]
    told = {mistake: asked.mistakes[mistake] for mistakes in asked.tells.values() for mistake in mistakes}
    for seed in range(SEEDS):
        task = question.with_mistakes(
            dataclasses.replace(asked, mistakes=told), drawn(asked, points_of(stem)[name], seed)
        )
        cases = {case.label: case for case in task.cases}
        for label, mistakes in asked.tells.items():
            for mistake in mistakes:
                answer, right = cases[label].mistakes[mistake], cases[label].expected
                assert not check.all_close(answer, right, asked.tolerance), f"seed {seed}: {mistake}"


def test_a_mistake_that_no_draw_tells_is_refused_rather_than_looked_for_forever():
    asked = question.of_block("losses")["bce_with_logits_forward"]
    blind = dataclasses.replace(asked, tells={"mean": ("log1p(exp(z))",)})  # which errs at huge logits only
    with pytest.raises(ValueError, match="none of 1000 draws of 'mean' tells all of"):
        question.draw_task(blind, 1.0, 0)


@pytest.mark.parametrize(("stem", "name"), QUESTIONS)
def test_a_student_is_shown_where_a_wrong_answer_differs(stem, name):
    asked = question.of_block(stem)[name]
    task = task_of(asked, points_of(stem)[name], 0)
    namespace = wrong_answer(asked, next(iter(asked.mistakes)))
    with np.errstate(all="ignore"):
        answers = [check.perform(namespace, check.call_of(task, case)) for case in task.cases]
    verdict = check.examine(task, answers, reveal=True)
    assert any(", expected " in step.message or "shape" in step.message for step in verdict.steps), verdict


@pytest.mark.parametrize(("stem", "name"), FIRST_QUESTIONS)
def test_the_page_of_the_matrix_says_what_the_grader_does(stem, name):
    asked = question.of_block(stem)[name]
    entries = list(kill_matrix.of_question(stem, asked, FEW_SEEDS))
    assert [entry.mistake for entry in entries] == list(asked.mistakes)
    for entry in entries:
        verdict = verdict_on(stem, name, wrong_answer(asked, entry.mistake), 0)
        assert entry.named
        assert entry.message == asked.mistakes[entry.mistake].message
        assert entry.kept == pytest.approx(verdict.points / verdict.out_of, abs=SHOWN)


def entry(**changes) -> kill_matrix.Entry:
    plain = {"stem": "lstm", "question": "f", "mistake": "a < b", "message": "<b> & c", "kept": 0.25, "named": True}
    return kill_matrix.Entry(**{**plain, **changes})


def test_a_mistake_that_escapes_stands_at_the_top_of_the_page():
    fine = kill_matrix.summary([entry()], 5)
    assert "1 questions, 1 known mistakes, 5 draws" in fine
    assert "Every mistake loses points. Every mistake was told its own message" in fine
    free, nameless = entry(kept=1.0), entry(mistake="b", named=False)
    text = kill_matrix.summary([entry(), free, nameless], 5)
    assert "These keep all points: f: a &lt; b. These were not told their own: f: b." in text


def test_the_page_shows_every_mistake_and_takes_no_message_for_markup():
    entries = [entry(), entry(mistake="b", kept=0.9, named=False), entry(question="g")]
    picture, tables = kill_matrix.picture(entries), kill_matrix.tables(entries)
    assert picture.count('<div class="kill-row">') == tables.count("<table") == 2
    assert picture.count('title="a &lt; b"') == 2
    assert ">90?<" in picture
    assert "&lt;b&gt; &amp; c</td><td>25&nbsp;%</td><td>yes</td>" in tables
    assert "<td>90&nbsp;%</td><td>no</td>" in tables


@pytest.mark.parametrize(("stem", "name"), QUESTIONS)
def test_no_two_mistakes_share_a_message(stem, name):
    messages = [mistake.message for mistake in question.of_block(stem)[name].mistakes.values()]
    assert messages
    assert len(set(messages)) == len(messages)


@pytest.mark.parametrize(("stem", "name"), QUESTIONS)
def test_no_known_mistake_crashes_where_it_should_answer(stem, name):
    for case in task_of(question.of_block(stem)[name], points_of(stem)[name], 0).cases:
        assert [mistake for mistake, outputs in case.mistakes.items() if not outputs] == []


# right by another way: the LSTM


def sigmoid_by_tanh(x):
    return (1 + np.tanh(x / 2)) / 2


def step_gate_by_gate(x, h, c, W_x, W_h, b):
    """One gate at a time, on the concatenation [h, x], in place of two products for all gates."""
    d_h, joined, W = h.shape[1], np.hstack([h, x]), np.vstack([W_h, W_x])
    a = {}
    for number, gate in enumerate("ifgo"):
        block = slice(number * d_h, (number + 1) * d_h)
        a[gate] = joined @ W[:, block] + b[block]
    i, f, o = (sigmoid_by_tanh(a[gate]) for gate in "ifo")
    c_t = c * f + i * np.tanh(a["g"])
    return [np.tanh(c_t) * o, c_t, {"anything": "goes"}]


def step_row_by_row(x, h, c, W_x, W_h, b):
    """Loops over examples and units, and the textbook's sigmoid, whose exponential overflows harmlessly."""
    h_t, c_t = np.empty_like(h), np.empty_like(c)
    d_h = h.shape[1]
    for m in range(len(x)):
        for k in range(d_h):
            a = [x[m] @ W_x[:, n * d_h + k] + h[m] @ W_h[:, n * d_h + k] + b[n * d_h + k] for n in range(4)]
            i, f, o = (1 / (1 + np.exp(-a[n])) for n in (0, 1, 3))
            c_t[m, k] = f * c[m, k] + i * np.tanh(a[2])
            h_t[m, k] = o * np.tanh(c_t[m, k])
    return h_t, c_t, None


def step_backward_by_sums(dh, dc, cache):
    """The sums of the weights as einsum, and the derivatives written on the pre-activations."""
    x, h, c, W_x, W_h, i, f, g, o, tanh_c = cache
    dc_t = dc + dh * o / np.cosh(np.arctanh(np.clip(tanh_c, -1 + 1e-16, 1 - 1e-16))) ** 2
    da = np.hstack([dc_t * g * (i - i**2), dc_t * c * (f - f**2), dc_t * i * (1 - g) * (1 + g)])
    da = np.hstack([da, dh * tanh_c * (o - o**2)])
    dW_x, dW_h = np.einsum("mj,mk->jk", x, da), np.einsum("mj,mk->jk", h, da)
    return np.einsum("mk,jk->mj", da, W_x), np.einsum("mk,jk->mj", da, W_h), f * dc_t, dW_x, dW_h, np.ones(len(x)) @ da


def backward_with_totals(dh, dc_T, cache):
    """Totals that start at zero, and a list of the gradients at x, in place of the reference's walk."""
    (_, time, _), caches = cache
    dh_rec, dc, dx, totals = np.zeros_like(dc_T), dc_T, [], [0, 0, 0]
    for t in range(time - 1, -1, -1):
        dx_t, dh_rec, dc, *grads = reference.lstm_step_backward(dh[:, t] + dh_rec, dc, caches[t])
        dx.insert(0, dx_t)
        totals = [total + grad for total, grad in zip(totals, grads, strict=True)]
    return np.stack(dx, axis=1), dh_rec, dc, *totals


def gru_by_interpolation(x, h, W_x, W_h, b_x, b_h, reset="after", z_means="keep"):
    """n + k (h - n) in place of k h + (1 - k) n, and each block of the weights by itself."""
    W_xr, W_xz, W_xn = np.hsplit(W_x, 3)
    W_hr, W_hz, W_hn = np.hsplit(W_h, 3)
    (b_xr, b_xz, b_xn), (b_hr, b_hz, b_hn) = np.split(b_x, 3), np.split(b_h, 3)
    r = sigmoid_by_tanh(x @ W_xr + b_xr + h @ W_hr + b_hr)
    z = sigmoid_by_tanh(x @ W_xz + b_xz + h @ W_hz + b_hz)
    inner = r * (h @ W_hn + b_hn) if reset == "after" else (r * h) @ W_hn + b_hn
    n = np.tanh(x @ W_xn + b_xn + inner)
    return n + (z if z_means == "keep" else 1 - z) * (h - n), ()


def load_by_einsum(weight_ih, weight_hh, bias_ih, bias_hh):
    return np.einsum("ij->ji", weight_ih), weight_hh.swapaxes(0, 1), np.stack([bias_hh, bias_ih]).sum(axis=0)


HONEST = {
    "gate by gate on [h, x]": ("lstm_step_forward", {"lstm_step_forward": step_gate_by_gate}),
    "row by row with the textbook's sigmoid": ("lstm_step_forward", {"lstm_step_forward": step_row_by_row}),
    "gradients by einsum": (
        "lstm_step_backward",
        {"lstm_step_forward": reference.lstm_step_forward, "lstm_step_backward": step_backward_by_sums},
    ),
    "totals from zero": (
        "lstm_backward",
        {"lstm_forward": reference.lstm_forward, "lstm_backward": backward_with_totals},
    ),
    "interpolation": ("gru_step_forward", {"gru_step_forward": gru_by_interpolation}),
    "einsum for the transpose": ("load_torch_weights", {"load_torch_weights": load_by_einsum}),
}


@pytest.mark.parametrize(("name", "answer"), HONEST.values(), ids=HONEST.keys())
def test_a_right_answer_by_another_way_gets_full_marks(name, answer):
    for seed in range(20):
        verdict = verdict_on("lstm", name, answer, seed)
        assert verdict.points == verdict.out_of, f"seed {seed}: {verdict}"


@pytest.mark.parametrize("name", ["lstm_step_forward", "lstm_step_backward", "load_torch_weights"])
def test_float32_in_place_of_float64_is_a_message_and_a_tenth_of_the_points_not_a_zero(name):
    def in_float32(function):
        def wrapped(*arguments):
            outputs = function(*arguments)
            parts = outputs if name.endswith("backward") or name.startswith("load") else outputs[:-1]
            return *(part.astype(np.float32) for part in parts), *outputs[len(parts) :]

        return wrapped

    asked = question.of_block("lstm")[name]
    answer = right_answer(asked)
    answer[asked.reference[-1].__name__] = in_float32(asked.reference[-1])
    for seed in FEW_SEEDS:
        verdict = verdict_on("lstm", name, answer, seed)
        assert verdict.points == pytest.approx(0.9 * verdict.out_of, abs=SHOWN)
        assert "float32, expected float64" in verdict.steps[0].message
        assert verdict.mistake == ""


def test_a_mistake_that_no_list_knows_gets_no_name():
    def half(*arguments):
        h_t, c_t, cache = reference.lstm_step_forward(*arguments)
        return 0.5 * h_t, c_t + 0.1, cache

    verdict = verdict_on("lstm", "lstm_step_forward", {"lstm_step_forward": half}, 0)
    assert 0 < verdict.points < verdict.out_of / 2
    assert verdict.mistake == ""
    assert "the right one times 0.5" in verdict.steps[1].message


def test_a_part_that_is_right_earns_its_share():
    def only_c(*arguments):
        h_t, c_t, cache = reference.lstm_step_forward(*arguments)
        return h_t + 1, c_t, cache

    verdict = verdict_on("lstm", "lstm_step_forward", {"lstm_step_forward": only_c}, 0)
    assert verdict.points == pytest.approx(verdict.out_of * 0.5, abs=SHOWN)  # c, types and shapes, inputs left alone


@pytest.mark.parametrize("wrong", [1e308, 1j, np.inf, np.nan])
def test_answers_of_any_size_and_kind_are_compared_without_a_warning(wrong):
    def off(*arguments):
        h_t, c_t, cache = reference.lstm_step_forward(*arguments)
        return h_t + wrong, c_t * wrong, cache

    verdict = verdict_on("lstm", "lstm_step_forward", {"lstm_step_forward": off}, 0)
    assert verdict.points <= 0.2 * verdict.out_of


@pytest.mark.parametrize("raised", [NotImplementedError, NotImplementedError(), NotImplementedError("later")])
def test_a_students_own_not_implemented_error_is_a_message_too(raised):
    def later(*arguments):
        raise raised

    verdict = verdict_on("lstm", "lstm_step_forward", {"lstm_step_forward": later}, 0)
    assert verdict.points == 0
    assert [step.message for step in verdict.steps] == [
        f"NotImplementedError: {'later' if 'later' in str(raised) else ''}"
    ]


def test_numbers_in_place_of_truth_values_are_not_said_to_lose_digits():
    answer = {"nms": lambda boxes, scores, threshold: np.ones(len(boxes))}
    message = verdict_on("yolo_iou", "nms", answer, 0).steps[0].message
    assert message == "keep has dtype float64, expected bool"


def test_a_list_in_place_of_an_array_is_called_a_list():
    answer = {"explain_lag_curves": lambda norms: [0] * len(norms)}
    message = verdict_on("rnn", "explain_lag_curves", answer, 0).steps[0].message
    assert message == "causes is a list, expected an array: np.array makes one"


def test_whole_numbers_may_be_of_any_size():
    asked = question.of_block("rnn")["explain_lag_curves"]
    answer = {"explain_lag_curves": lambda norms: asked.reference[0](norms).astype(np.int32)}
    verdict = verdict_on("rnn", "explain_lag_curves", answer, 0)
    assert verdict.points == verdict.out_of


def test_an_answer_that_is_zero_up_to_rounding_is_no_multiple_of_the_right_one():
    answer = {"mse_forward": lambda y_hat, y, reduction: np.array(-1e-17)}
    verdict = verdict_on("losses", "mse_forward", answer, 0)
    assert not any("times" in step.message for step in verdict.steps)


def test_inputs_that_are_overwritten_cost_a_tenth():
    def in_place(x, h, c, *weights):
        h_t, c_t, cache = reference.lstm_step_forward(x, h, c.copy(), *weights)
        c[:] = c_t
        return h_t, c, cache

    verdict = verdict_on("lstm", "lstm_step_forward", {"lstm_step_forward": in_place}, 0)
    assert verdict.points == pytest.approx(0.9 * verdict.out_of, abs=SHOWN)
    assert verdict.steps[-1].message == "c changed during the call: work on a copy"


def test_gradients_that_are_overwritten_cost_a_tenth():
    def in_place(dh, dc, cache):
        grads = reference.lstm_step_backward(dh, dc, cache)
        dc *= 2
        return grads

    answer = {"lstm_step_forward": reference.lstm_step_forward, "lstm_step_backward": in_place}
    verdict = verdict_on("lstm", "lstm_step_backward", answer, 0)
    assert verdict.points == pytest.approx(0.9 * verdict.out_of, abs=SHOWN)
    assert verdict.steps[-1].message == "a gradient that arrives changed during the call: work on a copy"


def test_a_convention_of_the_gru_that_crashes_costs_that_convention_only():
    def unfinished(*arguments):
        if arguments[-1] == "update":
            raise RuntimeError("to be done")
        return reference.gru_step_forward(*arguments)

    verdict = verdict_on("lstm", "gru_step_forward", {"gru_step_forward": unfinished}, 0)
    failed = [step.title for step in verdict.steps if not step.passed]
    assert failed == ["reset after, z means update", "reset before, z means update", "a batch of one"]
    assert 0.5 * verdict.out_of < verdict.points < 0.7 * verdict.out_of


# the kernel: mistakes made in Triton's own source

TRITON_SLIPS = {
    "g and o swapped": [
        ("tl.load(W + 2 * d_h,", "tl.load(W + 9 * d_h,"),
        ("tl.load(W + 3 * d_h,", "tl.load(W + 2 * d_h,"),
        ("tl.load(W + 9 * d_h,", "tl.load(W + 3 * d_h,"),
        ("b_ptr + 2 * d_h + cols", "b_ptr + 9 * d_h + cols"),
        ("b_ptr + 3 * d_h + cols", "b_ptr + 2 * d_h + cols"),
        ("b_ptr + 9 * d_h + cols", "b_ptr + 3 * d_h + cols"),
    ],
    "tanh as (e^2x - 1) / (e^2x + 1)": [
        ("return 2.0 * _sigmoid(2.0 * x) - 1.0", "e = tl.exp(2.0 * x)\n    return (e - 1.0) / (e + 1.0)")
    ],
    "tanh as (1 - e^-2x) / (1 + e^-2x)": [
        ("return 2.0 * _sigmoid(2.0 * x) - 1.0", "e = tl.exp(-2.0 * x)\n    return (1.0 - e) / (1.0 + e)")
    ],
    "tanh as (e^x - e^-x) / (e^x + e^-x)": [
        (
            "return 2.0 * _sigmoid(2.0 * x) - 1.0",
            "return (tl.exp(x) - tl.exp(-x)) / (tl.exp(x) + tl.exp(-x))",
        )
    ],
    "no tanh of c": [("h_t = o * _tanh(c_t)", "h_t = o * c_t")],
}


def submitted_kernel(edits: list[tuple[str, str]], folder: Path) -> dict:
    """The kernel as a student's notebook has it, given functions and all, with pieces of its source replaced."""
    asked = question.of_block("lstm")["lstm_step_kernel"]
    source = "\n\n\n".join([compose.KERNEL_SETUP, *given(asked), stubs.solved(asked.name)])
    for old, new in edits:
        assert old in source, old
        source = source.replace(old, new)
    return module_from(source, folder)


@pytest.fixture
def triton():
    return pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")


@pytest.mark.usefixtures("triton")
def test_the_kernel_of_the_solved_notebook_gets_full_marks(tmp_path):
    verdict = verdict_on("lstm", "lstm_step_kernel", submitted_kernel([], tmp_path), 0)
    assert verdict.points == verdict.out_of


@pytest.mark.usefixtures("triton")
@pytest.mark.parametrize(("mistake", "edits"), TRITON_SLIPS.items(), ids=TRITON_SLIPS.keys())
def test_a_slip_in_the_source_of_a_kernel_is_named_as_its_twin_in_numpy(mistake, edits, tmp_path):
    answer = submitted_kernel(edits, tmp_path)
    for seed in FEW_SEEDS:
        verdict = verdict_on("lstm", "lstm_step_kernel", answer, seed)
        assert verdict.points < verdict.out_of
        assert verdict.mistake == question.of_block("lstm")["lstm_step_kernel"].mistakes[mistake].message, verdict


@pytest.mark.usefixtures("triton")
def test_a_part_of_an_output_that_a_kernel_leaves_unwritten_is_seen(tmp_path):
    edits = [("tl.store(h_t_ptr + rows * d_h + cols, h_t, mask=mask)", "tl.store(h_t_ptr + rows * d_h + cols, h_t, "
              "mask=mask & (cols < 16))")]  # fmt: skip
    verdict = verdict_on("lstm", "lstm_step_kernel", submitted_kernel(edits, tmp_path), 0)
    assert verdict.points < verdict.out_of
    assert "NaN" in "".join(step.message for step in verdict.steps)


def test_a_kernel_that_takes_rows_for_contiguous_loses_points(tmp_path):
    answer = submitted_kernel([("x_ptr + rows * x_stride", "x_ptr + rows * d_in")], tmp_path)
    verdict = verdict_on("lstm", "lstm_step_kernel", answer, 0)
    apart, memory = [step for step in verdict.steps if not step.passed]
    assert apart.title == "rows of x, h and c that lie apart in memory"
    assert "(between its rows)" in memory.message
