"""What is special about the kernels of the activations: edge values, errors, what is kept for the way back."""

import pytest
import torch

pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")

from kernels import INTERPRETED
from kernels.activations import LONGEST_ROW, bias_gelu_forward, bias_silu_forward, softmax_forward
from solutions import activations as reference
from tests.tolerances import assert_close

DEVICE = "cpu" if INTERPRETED else "cuda"
BIASED = {
    "gelu none": (bias_gelu_forward, reference.bias_gelu_forward, reference.bias_gelu_backward, ("none",)),
    "gelu tanh": (bias_gelu_forward, reference.bias_gelu_forward, reference.bias_gelu_backward, ("tanh",)),
    "silu": (bias_silu_forward, reference.bias_silu_forward, reference.bias_silu_backward, ()),
}
each_biased = pytest.mark.parametrize(("host", "forward", "backward", "options"), BIASED.values(), ids=BIASED.keys())


def tensor(array, **options):
    return torch.tensor(array, **{"dtype": torch.float32, "device": DEVICE, **options})


def numpy64(value):
    return value.detach().cpu().double().numpy()


@each_biased
def test_more_rows_and_columns_than_a_block_give_value_and_gradients_of_the_numpy_twin(
    host, forward, backward, options, rng
):
    x, dout, b = rng.standard_normal((67, 261)), rng.standard_normal((67, 261)), rng.standard_normal(261)
    tensors = [tensor(array, requires_grad=True) for array in (x, b)]
    out = host(*tensors, *options)
    expected, cache = forward(*map(numpy64, tensors), *options)
    assert_close(out.detach().cpu().numpy(), expected)
    upstream = tensor(dout)
    gradients = torch.autograd.grad(out, tensors, upstream)
    for mine, right in zip(gradients, backward(numpy64(upstream), cache), strict=True):
        assert_close(mine.cpu().numpy(), right)


@each_biased
def test_far_from_zero_a_function_is_its_input_or_nothing_and_its_slope_one_or_zero(
    host, forward, backward, options, rng
):
    x = tensor([[-1000.0, -300.0, 100.0, 1000.0, 0.0]], requires_grad=True)
    b = tensor([-5.0, 7.0, 3.0, 11.0, 0.0])
    out = host(x, b, *options)
    (dx,) = torch.autograd.grad(out.sum(), x)
    assert numpy64(out).tolist() == [[0, 0, 103, 1011, 0]]
    assert numpy64(dx).tolist() == [[0, 0, 1, 1, 0.5]]


def test_the_two_forms_of_gelu_are_two(rng):
    x, b = tensor([[2.7]]), tensor([0.0])
    difference = abs(bias_gelu_forward(x, b) - bias_gelu_forward(x, b, "tanh")).item()
    assert 4.6e-4 < difference < 4.8e-4


@pytest.mark.parametrize("axis", [-3, -2, -1, 0, 1, 2])
def test_softmax_runs_along_any_axis(axis, rng):
    x, dout = tensor(rng.standard_normal((5, 3, 7)), requires_grad=True), tensor(rng.standard_normal((5, 3, 7)))
    p = softmax_forward(x, axis)
    expected, cache = reference.softmax_forward(numpy64(x), axis)
    assert_close(p.detach().cpu().numpy(), expected)
    (dx,) = torch.autograd.grad(p, x, dout)
    assert_close(dx.cpu().numpy(), reference.softmax_backward(numpy64(dout), cache))


def test_softmax_takes_rows_a_thousand_apart():
    x = tensor([[-1000.0, -1001.0, -1002.0], [1000.0, 1001.0, -1000.0], [0.0, -200.0, 3.0]])
    assert_close(softmax_forward(x).cpu().numpy(), torch.softmax(x.double().cpu(), 1).numpy())


@pytest.mark.parametrize("host", [lambda x: bias_gelu_forward(x, x[0] if len(x) else torch.zeros(5)), softmax_forward])
def test_an_empty_batch_gives_an_empty_output(host):
    assert host(torch.empty((0, 5), device=DEVICE)).shape == (0, 5)


def test_no_gradient_is_prepared_where_none_is_wanted(rng):
    x, b = tensor(rng.standard_normal((3, 5))), tensor(rng.standard_normal(5))
    for host in (bias_gelu_forward, bias_silu_forward, lambda x, b: softmax_forward(x)):
        assert not host(x, b).requires_grad
        assert host(x.clone().requires_grad_(), b).requires_grad
        with torch.no_grad():
            assert not host(x.clone().requires_grad_(), b).requires_grad


@pytest.mark.parametrize("host", [bias_gelu_forward, bias_silu_forward])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, b: (x.numpy(force=True), b), "expected x to be a torch tensor, got ndarray"),
        (lambda x, b: (x, [0.0] * 5), "expected b to be a torch tensor, got list"),
        (lambda x, b: (x[0], b), r"expected x of \(batch, d_h\) .*, got \(5,\)"),
        (lambda x, b: (x.double(), b), r"expected x of dtype torch.float32 or torch.float16.*, got torch.float64"),
        (lambda x, b: (x, b[:3]), r"expected b of \(5,\) .*, got \(3,\)"),
        (lambda x, b: (x, b[None]), r"expected b of \(5,\) .*, got \(1, 5\)"),
        (lambda x, b: (x, b.half()), r"expected b of \(5,\) torch.float32 .*, got \(5,\) torch.float16"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(host, change, message):
    with pytest.raises(ValueError, match=message):
        host(*change(torch.zeros(3, 5, device=DEVICE), torch.zeros(5, device=DEVICE)))


def test_gelu_knows_two_forms():
    with pytest.raises(ValueError, match="expected approximate 'none' or 'tanh', got 'erf'"):
        bias_gelu_forward(torch.zeros(3, 5, device=DEVICE), torch.zeros(5, device=DEVICE), "erf")


@pytest.mark.parametrize(("shape", "axis"), [((3, 0), 1), ((3, 5), 2), ((1, LONGEST_ROW + 1), 1)])
def test_softmax_asks_for_an_axis_of_a_length_that_fits_a_program(shape, axis):
    with pytest.raises(ValueError, match=rf"1 to {LONGEST_ROW} scores, got axis {axis} of \({shape[0]}, {shape[1]}\)"):
        softmax_forward(torch.zeros(shape, device=DEVICE), axis)


@pytest.mark.skipif(not INTERPRETED, reason="a GPU computes with bfloat16")
def test_bfloat16_is_refused_where_the_interpreter_would_get_it_wrong():
    with pytest.raises(ValueError, match=r"got torch\.bfloat16"):
        softmax_forward(torch.zeros((3, 5), dtype=torch.bfloat16))


@pytest.mark.skipif(INTERPRETED, reason="the interpreter reads the CPU's memory")
def test_tensors_on_the_cpu_are_refused_by_the_gpu():
    with pytest.raises(ValueError, match="expected tensors on a CUDA device"):
        softmax_forward(torch.zeros(3, 5))
