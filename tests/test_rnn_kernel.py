"""The Elman step and the whole sequence in one launch: what the tests of all kernels leave open."""

import importlib.util
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")

from autograder import check, judge, question
from kernels import INTERPRETED, checker
from kernels import rnn as kernels
from kernels.lstm_sequence import ROWS
from kernels.rnn import rnn_step_forward
from kernels.rnn_sequence import LARGEST, rnn_forward
from tests import kernel_twins
from tests.test_kernel_values import assert_kernel_close

TWIN = kernel_twins.twins()["rnn_forward"]
STEP = kernel_twins.twins()["rnn_step_forward"]
SIZES = {"batch": 3, "time": 4, "d_in": 5, "d_h": 7}
LIMITS = {torch.float32: LARGEST["d_h"], torch.float16: 2 * LARGEST["d_h"]}
each_dtype = pytest.mark.parametrize("dtype", LIMITS, ids=["float32", "float16"])
interpreted = pytest.mark.skipif(not INTERPRETED, reason="launches are watched in the interpreter")


def draw(rng, dtype=torch.float32, **sizes):
    return list(kernel_twins.draw(TWIN.forward, rng, SIZES | sizes, {}, dtype).values())


def assert_gradients(came, tensors, rng):
    upstream = torch.tensor(rng.standard_normal(tuple(came.shape))).to(came)
    gradients = torch.autograd.grad(came, tensors, upstream)
    expected = kernel_twins.expected_gradients(TWIN, dict(enumerate(tensors)), [upstream])
    for gradient, right in zip(gradients, expected, strict=True):
        assert_kernel_close(gradient, right)


def test_a_sequence_of_one_step_is_the_step(rng):
    x, h_0, *weights = draw(rng, time=1)
    h = rnn_forward(x, h_0, *weights)
    assert h.shape == (3, 1, 7)
    assert_kernel_close(h[:, 0], rnn_step_forward(x[:, 0], h_0, *weights).cpu().double().numpy())


@each_dtype
def test_the_largest_hidden_size_still_fits(dtype, rng):
    tensors = [tensor.requires_grad_() for tensor in draw(rng, dtype, d_h=LIMITS[dtype])]
    h = rnn_forward(*tensors)
    (right,) = kernel_twins.expected(TWIN, dict(enumerate(tensors)))
    assert_kernel_close(h, right)
    assert_gradients(h, tensors, rng)


@each_dtype
def test_one_more_hidden_unit_is_refused_with_advice(dtype, rng):
    tensors = draw(rng, dtype, d_h=LIMITS[dtype] + 1)
    message = rf"d_h of at most {LIMITS[dtype]} in {dtype}, .* got {LIMITS[dtype] + 1}: call rnn_step_forward for each"
    with pytest.raises(ValueError, match=message):
        rnn_forward(*tensors)


def test_a_sequence_without_steps_is_refused(rng):
    x, *rest = draw(rng)
    with pytest.raises(ValueError, match=r"at least one step, got x of shape \(3, 0, 5\)"):
        rnn_forward(x[:, :0], *rest)


def test_rows_of_the_batch_do_not_touch_each_other(rng):
    x, h_0, *weights = draw(rng, batch=2 * ROWS + 3)
    h = rnn_forward(x, h_0, *weights)
    for rows in (slice(0, 1), slice(ROWS - 1, ROWS + 2), slice(2 * ROWS + 2, None)):
        assert_kernel_close(rnn_forward(x[rows], h_0[rows], *weights), h[rows].cpu().double().numpy())


def test_later_inputs_do_not_change_earlier_states(rng):
    x, *rest = draw(rng)
    later = x.clone()
    later[:, 2:] += 1.0
    before, after = rnn_forward(x, *rest), rnn_forward(later, *rest)
    assert torch.equal(before[:, :2], after[:, :2])
    assert (before[:, 2:] != after[:, 2:]).all()


@pytest.mark.parametrize("size", [50.0, 1000.0])
def test_large_inputs_give_the_values_of_the_twin_and_finite_gradients(size, rng):
    tensors = [(size * tensor.sign()).requires_grad_() for tensor in draw(rng)]
    h = rnn_forward(*tensors)
    (right,) = kernel_twins.expected(TWIN, dict(enumerate(tensors)))
    assert_kernel_close(h, right)
    h.sum().backward()
    assert all(tensor.grad.isfinite().all() for tensor in tensors)


def test_an_empty_batch_gives_empty_states_and_no_gradient(rng):
    tensors = [tensor.requires_grad_() for tensor in draw(rng)]
    h = rnn_forward(*(tensor[:0] for tensor in tensors[:2]), *tensors[2:])
    assert h.shape == (0, 4, 7)
    h.sum().backward()
    assert all(not tensor.grad.any() for tensor in tensors)


def test_an_empty_batch_takes_a_step_to_nowhere(rng):
    x, h, *weights = (tensor.requires_grad_() for tensor in kernel_twins.draw(STEP.forward, rng, {}, {}).values())
    h_t = rnn_step_forward(x[:0], h[:0], *weights)
    assert h_t.shape == (0, h.shape[1])
    h_t.sum().backward()
    assert all(not tensor.grad.any() for tensor in weights)


@interpreted
@pytest.mark.parametrize("time", [1, 6])
def test_all_steps_take_one_launch_there_and_one_back_and_each_program_reads_the_weights_once(time, rng):
    tensors = [tensor.requires_grad_() for tensor in draw(rng, batch=ROWS + 1, time=time)]
    with checker.watch() as launches:
        rnn_forward(*tensors).sum().backward()
    assert [launch.kernel for launch in launches] == ["rnn_sequence_kernel", "rnn_sequence_backward_kernel"]
    assert [launch.grid for launch in launches] == [(2, 1, 1)] * 2
    weights = tensors[3].numel() * tensors[3].element_size()
    assert [launch.traffic["W_h"].loaded for launch in launches] == [2 * weights] * 2


@interpreted
def test_every_number_moves_once(rng):
    tensors = draw(rng, batch=ROWS, time=5)
    with checker.watch() as launches:
        h = rnn_forward(*tensors)
    _, h_0, _, W_h, _ = tensors
    assert launches[0].moved == 4 * (2 * h.numel() + h_0.numel() + W_h.numel())
    assert launches[0].moved == launches[0].needed


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (0, lambda x: x[0], r"expected x of \(batch, time, d_in\) .*, got \(4, 5\)"),
        (1, lambda h_0: h_0.half(), r"expected h_0 of \(3, 7\) torch.float32 .*, got \(3, 7\) torch.float16"),
        (2, lambda W_x: W_x.T, r"expected W_x of \(5, 7\) .*, got \(7, 5\)"),
        (3, lambda W_h: W_h[:, :5], r"expected W_h of \(7, 7\) .*, got \(7, 5\)"),
        (4, lambda b: None, r"expected b to be a torch tensor, got NoneType"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(index, change, message, rng):
    tensors = draw(rng)
    tensors[index] = change(tensors[index])
    with pytest.raises(ValueError, match=message):
        rnn_forward(*tensors)


# What a student's kernel is told


def verdict_on(folder, *edits):
    """Judge the reference kernel with pieces of its source replaced."""
    source = Path(kernels.__file__).read_text(encoding="utf-8")
    for old, new in edits:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    file = folder / "answer.py"
    file.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("answer", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    asked = question.of_block("rnn")["rnn_step_kernel"]
    return judge.judge(asked, 10.0, 5, lambda call: check.perform(vars(module), call))


X_MASK, W_X_MASK = "(rows < batch) & (k[None, :] < d_in)", "(k[:, None] < d_in) & (cols < d_h)"
H_MASK, W_H_MASK = "(rows < batch) & (k[None, :] < d_h)", "(k[:, None] < d_h) & (cols < d_h)"
BIAS = "    a += tl.load(b_ptr + cols, mask=cols < d_h, other=0.0)\n"
DOT = '        a = tl.dot({}, W_{}, a, input_precision="tf32")\n'


def in_every_block(product):
    dot = DOT.format(product, product)
    return dot, f"{dot}    {BIAS}"


@interpreted
@pytest.mark.parametrize(
    ("edits", "mistake"),
    [
        ([(X_MASK, "rows < batch"), (W_X_MASK, "cols < d_h")], "inner axis unmasked"),
        ([(H_MASK, "rows < batch"), (W_H_MASK, "cols < d_h")], "inner axis unmasked"),
        ([(W_X_MASK, "cols < d_h"), (W_H_MASK, "cols < d_h")], "inner axis unmasked"),
        ([(BIAS, ""), in_every_block("x"), in_every_block("h")], "bias in every block"),
        ([in_every_block("x"), in_every_block("h")], "bias once more"),
        ([(BIAS, "")], "no bias"),
    ],
)
def test_a_slip_in_the_kernel_is_named(edits, mistake, tmp_path):
    verdict = verdict_on(tmp_path, *edits)
    assert verdict.points < verdict.out_of
    assert verdict.mistake == question.of_block("rnn")["rnn_step_kernel"].mistakes[mistake].message


@interpreted
def test_a_missing_mask_along_k_in_one_factor_is_still_seen(tmp_path):
    verdict = verdict_on(tmp_path, (X_MASK, "rows < batch"))
    (memory,) = [step for step in verdict.steps if "stays in bounds" in step.title]
    assert memory.message.startswith("load out of bounds in program")
    assert 0 < verdict.points < verdict.out_of


@interpreted
def test_the_kernel_itself_is_right(tmp_path):
    verdict = verdict_on(tmp_path)
    assert verdict.points == verdict.out_of, verdict
