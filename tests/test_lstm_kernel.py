"""The fused LSTM cell in Triton, against its NumPy twin."""

import math
from itertools import product

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")

from kernels import INTERPRETED
from kernels.lstm import lstm_step, lstm_step_forward
from solutions import lstm as reference
from tests.tolerances import assert_close

DEVICE = "cpu" if INTERPRETED else "cuda"
GUARD = 131
SIZES = {
    "all of size one": (1, 1, 1),
    "smaller than a block": (3, 5, 7),
    "not multiples of a block": (67, 41, 37),
    "one row and a long input": (1, 99, 5),
    "whole blocks": (192, 160, 96),
}
each_size = pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES.keys())
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["float32", "float16"])


@pytest.fixture(autouse=True)
def every_output_is_written_and_nothing_beside_it(monkeypatch):
    """Start each new array as NaN between guards of NaN; at the end the array alone has values."""
    buffers = []

    def guarded_empty(size, **options):
        buffer = torch.full((math.prod(size) + 2 * GUARD,), torch.nan, **options)
        buffers.append(buffer)
        return buffer[GUARD:-GUARD].view(size)

    monkeypatch.setattr(torch, "empty", guarded_empty)
    yield
    for buffer in buffers:
        assert not buffer[GUARD:-GUARD].isnan().any(), "part of an output was never written"
        assert buffer[:GUARD].isnan().all(), "the kernel wrote in front of its output"
        assert buffer[-GUARD:].isnan().all(), "the kernel wrote past the end of its output"


def draw(rng, sizes, dtype=torch.float32):
    """Draw (x, h, c, W_x, W_h, b) for (batch, d_in, d_h), with weights that keep the gates half open."""
    batch, d_in, d_h = sizes
    shapes = [(batch, d_in), (batch, d_h), (batch, d_h), (d_in, 4 * d_h), (d_h, 4 * d_h), (4 * d_h,)]
    scales = [1, 1, 1, d_in**-0.5, d_h**-0.5, 1]
    arrays = [scale * rng.standard_normal(shape) for scale, shape in zip(scales, shapes, strict=True)]
    return [torch.tensor(array, dtype=dtype, device=DEVICE) for array in arrays]


def numpy64(tensors):
    return [tensor.detach().cpu().double().numpy() for tensor in tensors]


def assert_kernel_close(came, expected):
    """Compare as closely as the dtype allows; on a GPU the products keep ten bits, like float16."""
    came = came.detach().cpu().numpy()
    assert_close(came if INTERPRETED else came.astype(np.float16), expected)


@each_dtype
@each_size
def test_the_step_equals_its_numpy_twin(sizes, dtype, rng):
    tensors = draw(rng, sizes, dtype)
    h_t, c_t = lstm_step_forward(*tensors)
    expected_h, expected_c, _ = reference.lstm_step_forward(*numpy64(tensors))
    assert h_t.dtype == c_t.dtype == dtype
    assert_kernel_close(h_t, expected_h)
    assert_kernel_close(c_t, expected_c)


@each_size
def test_rows_that_lie_apart_give_the_same_as_rows_in_one_piece(sizes, rng):
    x, h, c, *weights = draw(rng, sizes)

    def apart(tensor, gap):
        wide = torch.full((len(tensor), tensor.shape[1] + gap), torch.nan, device=DEVICE)
        wide[:, gap // 2 : gap // 2 + tensor.shape[1]] = tensor
        return wide[:, gap // 2 : gap // 2 + tensor.shape[1]]

    in_one_piece = lstm_step(x, h, c, *weights)
    for came, expected in zip(lstm_step(apart(x, 3), apart(h, 5), apart(c, 7), *weights), in_one_piece, strict=True):
        assert_kernel_close(came, *numpy64([expected]))


def test_transposed_arguments_give_the_same_as_contiguous_ones(rng):
    tensors = draw(rng, (6, 5, 7))
    transposed = [tensor.T.contiguous().T if tensor.ndim == 2 else tensor for tensor in tensors]
    for came, expected in zip(lstm_step_forward(*transposed), lstm_step_forward(*tensors), strict=True):
        assert torch.equal(came, expected)


def test_an_empty_batch_gives_empty_states(rng):
    h_t, c_t = lstm_step_forward(*draw(rng, (0, 5, 3)))
    assert h_t.shape == c_t.shape == (0, 3)


def test_arguments_are_left_as_they_were(rng):
    tensors = [tensor.requires_grad_() for tensor in draw(rng, (3, 5, 7))]
    before = [tensor.detach().clone() for tensor in tensors]
    h_t, c_t = lstm_step_forward(*tensors)
    (h_t.sum() + c_t.sum()).backward()
    assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))


@pytest.mark.parametrize("size", [50.0, 1000.0])
def test_gates_and_states_saturate_exactly_at_large_inputs(size):
    signs = np.array([*product([-1.0, 1.0], repeat=4), (1.0, 1.0, 1.0, 1.0)]).T  # four gates, 17 units
    c = np.broadcast_to(np.array([[-size], [0.0], [size]]), (3, 17))
    arrays = [
        np.zeros((3, 5)),
        np.zeros((3, 17)),
        c,
        np.zeros((5, 68)),
        np.zeros((17, 68)),
        size * signs.ravel(),
    ]
    h_t, c_t = lstm_step_forward(*(torch.tensor(array, dtype=torch.float32, device=DEVICE) for array in arrays))
    h_t, c_t = numpy64([h_t, c_t])

    i, f, o = (signs[[0, 1, 3]] > 0).astype(float)
    expected_c = f * c + i * signs[2]
    sigmoid_left = math.exp(-size)  # what a gate at -size lets through; zero from 104 on
    np.testing.assert_allclose(c_t, expected_c, rtol=0, atol=2 * size * sigmoid_left)
    saturated = np.abs(expected_c) > 40
    expected_h = (o * np.sign(expected_c))[saturated]
    np.testing.assert_allclose(h_t[saturated], expected_h, rtol=0, atol=2 * sigmoid_left)
    assert_close(h_t.astype(np.float32), o * np.tanh(expected_c))


@pytest.mark.parametrize("size", [50.0, 1000.0])
def test_gradients_stay_finite_at_large_inputs(size, rng):
    tensors = [(size * tensor.sign()).requires_grad_() for tensor in draw(rng, (3, 5, 7))]
    h_t, c_t = lstm_step_forward(*tensors)
    (h_t.sum() + c_t.sum()).backward()
    assert all(tensor.grad.isfinite().all() for tensor in tensors)


@each_dtype
@each_size
def test_autograd_gives_the_gradients_of_the_numpy_twin(sizes, dtype, rng):
    tensors = [tensor.requires_grad_() for tensor in draw(rng, sizes, dtype)]
    dh, dc = draw(rng, sizes, dtype)[1:3]
    came = torch.autograd.grad(lstm_step_forward(*tensors), tensors, (dh, dc))
    *_, cache = reference.lstm_step_forward(*numpy64(tensors))
    expected = reference.lstm_step_backward(*numpy64([dh, dc]), cache)
    for gradient, expected_gradient in zip(came, expected, strict=True):
        assert_kernel_close(gradient, expected_gradient)


@pytest.mark.parametrize("used", ["h_t", "c_t"])
def test_a_state_that_nobody_uses_adds_nothing_to_the_gradients(used, rng):
    tensors = [tensor.requires_grad_() for tensor in draw(rng, (3, 5, 7))]
    h_t, c_t = lstm_step_forward(*tensors)
    came = torch.autograd.grad((h_t if used == "h_t" else c_t).sum(), tensors)
    *_, cache = reference.lstm_step_forward(*numpy64(tensors))
    ones, zeros = np.ones((3, 7)), np.zeros((3, 7))
    expected = reference.lstm_step_backward(*((ones, zeros) if used == "h_t" else (zeros, ones)), cache)
    for gradient, expected_gradient in zip(came, expected, strict=True):
        assert_kernel_close(gradient, expected_gradient)


def test_gradients_flow_through_a_sequence_of_steps(rng):
    _, h, c, *weights = (tensor.requires_grad_() for tensor in draw(rng, (3, 5, 7)))
    x = torch.tensor(rng.standard_normal((3, 4, 5)), dtype=torch.float32, device=DEVICE, requires_grad=True)
    hidden, state = [], (h, c)
    for t in range(x.shape[1]):
        state = lstm_step_forward(x[:, t], *state, *weights)
        hidden.append(state[0])
    hidden = torch.stack(hidden, dim=1)
    dh = torch.tensor(rng.standard_normal(hidden.shape), dtype=torch.float32, device=DEVICE)
    dc_T = torch.tensor(rng.standard_normal(c.shape), dtype=torch.float32, device=DEVICE)
    came = torch.autograd.grad((hidden, state[1]), (x, h, c, *weights), (dh, dc_T))

    expected_hidden, _, cache = reference.lstm_forward(*numpy64([x, h, c, *weights]))
    assert_kernel_close(hidden, expected_hidden)
    expected = reference.lstm_backward(*numpy64([dh, dc_T]), cache)
    for gradient, expected_gradient in zip(came, expected, strict=True):
        assert_kernel_close(gradient, expected_gradient)


def test_no_gradient_is_prepared_where_none_is_wanted(rng):
    tensors = draw(rng, (3, 5, 7))
    assert not any(state.requires_grad for state in lstm_step_forward(*tensors))
    tensors[3].requires_grad_()
    assert all(state.requires_grad for state in lstm_step_forward(*tensors))
    with torch.no_grad():
        assert not any(state.requires_grad for state in lstm_step_forward(*tensors))


@pytest.mark.parametrize(
    ("index", "change", "message"),
    [
        (0, lambda x: x.numpy(force=True), r"expected x to be a torch tensor, got ndarray"),
        (0, lambda x: x[0], r"expected x of \(batch, d_in\) .* got \(5,\)"),
        (0, lambda x: x.double(), r"expected x of dtype torch.float32 or torch.float16.*, got torch.float64"),
        (1, lambda h: h[:2], r"expected h of \(3, 7\) .*, got \(2, 7\)"),
        (2, lambda c: c.T, r"expected c of \(3, 7\) .*, got \(7, 3\)"),
        (2, lambda c: c.half(), r"expected c of \(3, 7\) torch.float32 .*, got \(3, 7\) torch.float16"),
        (3, lambda W_x: W_x.T, r"expected W_x of \(5, 28\) .*, got \(28, 5\)"),
        (4, lambda W_h: W_h[:, :21], r"expected W_h of \(7, 28\) .*, got \(7, 21\)"),
        (5, lambda b: b[None], r"expected b of \(28,\) .*, got \(1, 28\)"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(index, change, message, rng):
    tensors = draw(rng, (3, 5, 7))
    tensors[index] = change(tensors[index])
    with pytest.raises(ValueError, match=message):
        lstm_step_forward(*tensors)


@pytest.mark.skipif(not INTERPRETED, reason="a GPU computes with bfloat16")
def test_bfloat16_is_refused_where_the_interpreter_would_get_it_wrong(rng):
    with pytest.raises(ValueError, match=r"got torch\.bfloat16"):
        lstm_step_forward(*draw(rng, (3, 5, 7), torch.bfloat16))


@pytest.mark.skipif(INTERPRETED, reason="the interpreter reads the CPU's memory")
def test_tensors_on_the_cpu_are_refused_by_the_gpu(rng):
    with pytest.raises(ValueError, match="expected tensors on a CUDA device"):
        lstm_step_forward(*(tensor.cpu() for tensor in draw(rng, (3, 5, 7))))
