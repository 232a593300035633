"""The questions about activations: right answers by other ways, and slips in the source of the kernels."""

import importlib.util
import math

import numpy as np
import pytest

from autograder import check, compose, question, stubs
from autograder.judge import judge

POINTS = {exercise.name: exercise.points for exercise in compose.exercises("activations")}
SEEDS = range(5)


def verdict_on(name, namespace, seed):
    """Judge functions of this process as the grader judges those of a submission."""

    def ask(call):
        with np.errstate(all="ignore"):  # in a notebook, overflow is a warning at most
            return check.perform(namespace, call)

    return judge(question.of_block("activations")[name], POINTS[name], seed, ask)


def textbook_sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus_by_logaddexp(x):
    return np.logaddexp(0, x), None


def elu_by_where(x, alpha=1.0):
    """Overflows in the side that is not chosen, which does no harm in NumPy."""
    return np.where(x > 0, x, alpha * (np.exp(x) - 1)), (x, alpha)


def elu_backward_from_the_output(dout, cache):
    x, alpha = cache
    out, _ = elu_by_where(x, alpha)
    return np.where(x > 0, dout, dout * (out + alpha))


def softmax_row_by_row(x, axis=-1):
    def row(scores):
        e = [math.exp(score - max(scores)) for score in scores]
        return np.array(e) / sum(e)

    return np.apply_along_axis(row, axis, x), axis


def gelu_as_on_paper(x, approximate="none"):
    if approximate == "tanh":
        u = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
        return 0.5 * x * (1 + np.tanh(u)), x
    return x * np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in x.ravel()]).reshape(x.shape), x


def slips_in_a_loop(x, dout, dx):
    makers = [
        lambda: np.where(x > 0, dout, 0),
        lambda: np.where(x >= 0, dout, 0),
        lambda: (x > 0).astype(float),
        lambda: np.maximum(dout, 0),
        lambda: dout,
    ]
    return np.array([next(k for k, make in enumerate(makers) if np.allclose(row, make())) for row in dx])


HONEST = {
    "sigmoid": {"sigmoid": textbook_sigmoid},
    "softplus_forward": {"softplus_forward": softplus_by_logaddexp},
    "elu_forward": {"elu_forward": elu_by_where},
    "elu_backward": {"elu_forward": elu_by_where, "elu_backward": elu_backward_from_the_output},
    "softmax_forward": {"softmax_forward": softmax_row_by_row},
    "gelu_forward": {"gelu_forward": gelu_as_on_paper},
    "which_slip": {"which_slip": slips_in_a_loop},
}


@pytest.mark.parametrize(("name", "answer"), HONEST.items(), ids=HONEST.keys())
def test_a_right_answer_by_another_way_gets_full_marks(name, answer):
    for seed in SEEDS:
        verdict = verdict_on(name, answer, seed)
        assert verdict.points == verdict.out_of, f"seed {seed}: {verdict}"


SIGMOID = "_sigmoid(1.5957691216057308 * a * (1 + 0.044715 * a * a))"
U = "u = 0.7978845608028654 * a * (1 + 0.044715 * a * a)"
OTHER = 'other=float("-inf")'
TRITON_SLIPS = {  # (question, mistake): edits of the kernel's source
    ("bias_gelu_kernel", "always tanh"): [("if TANH:", "if True:")],
    ("bias_gelu_kernel", "no bias"): [("a = x + b", "a = x")],
    ("bias_gelu_kernel", "the gate alone"): [("a * gate, mask", "gate, mask")],
    ("bias_gelu_kernel", "times x"): [("a * gate, mask", "x * gate, mask")],
    ("bias_gelu_kernel", "(e^2u - 1) / (e^2u + 1)"): [
        (f"gate = {SIGMOID}", f"{U}\n        e = tl.exp(2 * u)\n        gate = 0.5 * (1 + (e - 1) / (e + 1))")
    ],
    ("bias_gelu_kernel", "(1 - e^-2u) / (1 + e^-2u)"): [
        (f"gate = {SIGMOID}", f"{U}\n        e = tl.exp(-2 * u)\n        gate = 0.5 * (1 + (1 - e) / (1 + e))")
    ],
    ("softmax_kernel", "padding of zeros"): [(OTHER, "other=0.0")],
    ("softmax_kernel", "maximum over zeros"): [
        (OTHER, "other=0.0"),
        ("e = tl.exp(x - tl.max(x, axis=0))", "e = tl.where(cols < d, tl.exp(x - tl.max(x, axis=0)), 0.0)"),
    ],
    ("softmax_kernel", "no maximum"): [("tl.exp(x - tl.max(x, axis=0))", "tl.exp(x)")],
    ("softmax_kernel", "not normalized"): [("e / tl.sum(e, axis=0)", "e")],
}


def submitted_kernel(name, edits, folder):
    """A kernel as a student's notebook has it, given functions and all, with pieces of its source replaced."""
    given = [part.name for part in compose.parse("activations") if isinstance(part, compose.Given)]
    kernels = [stubs.whole(helper) for helper in given if stubs.find(helper).file.parent == stubs.KERNELS]
    source = "\n\n\n".join([compose.KERNEL_SETUP, *kernels, stubs.solved(name)])
    for old, new in edits:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    file = folder / "answer.py"
    file.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("answer", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


@pytest.fixture
def triton():
    return pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")


@pytest.mark.usefixtures("triton")
@pytest.mark.parametrize("name", ["bias_gelu_kernel", "softmax_kernel"])
def test_the_kernel_of_the_solved_notebook_gets_full_marks(name, tmp_path):
    verdict = verdict_on(name, submitted_kernel(name, [], tmp_path), 0)
    assert verdict.points == verdict.out_of, verdict


@pytest.mark.usefixtures("triton")
@pytest.mark.parametrize(("name", "mistake"), TRITON_SLIPS, ids=map(" ".join, TRITON_SLIPS))
def test_a_slip_in_the_source_of_a_kernel_is_named_as_its_twin_in_numpy(name, mistake, tmp_path):
    answer = submitted_kernel(name, TRITON_SLIPS[name, mistake], tmp_path)
    for seed in (0, 1):
        verdict = verdict_on(name, answer, seed)
        assert verdict.points < verdict.out_of
        assert verdict.mistake == question.of_block("activations")[name].mistakes[mistake].message, verdict
