"""The activation functions, against torch and against arithmetic with fifty digits."""

from contextlib import contextmanager
from decimal import Decimal, localcontext
from functools import partial

import jaxtyping
import numpy as np
import pytest
import torch
from torch.nn import functional

from solutions import activations
from solutions.activations import erf, sigmoid
from tests.tolerances import assert_close


@contextmanager
def jaxtyping_off():
    """Let a function see an argument that the checks of the test run would stop in front of it."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def exact_sigmoid(x: float) -> float:
    with localcontext(prec=50):
        return float(1 / (1 + (-Decimal(x)).exp()))


def test_sigmoid_keeps_fifteen_digits_from_one_tail_to_the_other():
    x = np.concatenate([np.linspace(-700, 700, 141), np.linspace(-3, 3, 61)])
    expected = np.array([exact_sigmoid(value) for value in x])
    np.testing.assert_allclose(sigmoid(x), expected, rtol=2e-15, atol=0)


def test_sigmoid_equals_that_of_torch(rng):
    x = 10 * rng.standard_normal((5, 3, 7))
    assert_close(sigmoid(x), torch.sigmoid(torch.from_numpy(x)).numpy())


def test_sigmoid_is_a_shifted_and_scaled_tanh(rng):
    x = rng.standard_normal((6, 11))
    assert_close(sigmoid(x), (1 + np.tanh(x / 2)) / 2)


def test_sigmoid_is_symmetric_about_one_half(rng):
    x = 10 * rng.standard_normal(301)
    np.testing.assert_allclose(sigmoid(-x) + sigmoid(x), 1.0, rtol=0, atol=2 * np.finfo(float).eps)
    assert sigmoid(np.zeros(3)).tolist() == [0.5, 0.5, 0.5]


def test_sigmoid_saturates_without_a_warning():
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        out = sigmoid(np.array([-np.inf, -1e308, -1000.0, 1000.0, 1e308, np.inf]))
    assert out.tolist() == [0, 0, 0, 1, 1, 1]


def test_sigmoid_never_decreases():
    assert (np.diff(sigmoid(np.linspace(-800, 800, 9973))) >= 0).all()


def test_sigmoid_passes_nan_on_rather_than_hiding_it():
    assert np.isnan(sigmoid(np.array([np.nan]))).all()


@pytest.mark.parametrize("shape", [(0,), (1,), (3,), (5, 3), (3, 0, 5), (3, 5, 6, 7)])
def test_sigmoid_keeps_the_shape_of_its_input(shape, rng):
    assert sigmoid(rng.standard_normal(shape)).shape == shape


def test_sigmoid_leaves_its_input_alone(rng):
    x = rng.standard_normal((5, 3))
    x.setflags(write=False)
    assert not np.shares_memory(sigmoid(x), x)


# every function and its derivative, against torch

ELEMENTWISE = {  # name in solutions/: (further arguments, the same function in torch)
    "sigmoid": ({}, torch.sigmoid),
    "tanh": ({}, torch.tanh),
    "relu": ({}, functional.relu),
    "leaky_relu": ({"slope": 0.2}, lambda x: functional.leaky_relu(x, 0.2)),
    "elu": ({"alpha": 0.7}, lambda x: functional.elu(x, 0.7)),
    "selu": ({}, functional.selu),
    "softplus": ({}, lambda x: functional.softplus(x, threshold=50)),  # from 20 on torch would be ReLU
    "gelu": ({}, functional.gelu),
    "gelu tanh": ({"approximate": "tanh"}, lambda x: functional.gelu(x, approximate="tanh")),
    "silu": ({}, functional.silu),
    "mish": ({}, functional.mish),
}
each_function = pytest.mark.parametrize("name", ELEMENTWISE)


def pair(name):
    """The forward pass of a function, with its further arguments, and its backward pass."""
    stem, options = name.split()[0], ELEMENTWISE[name][0]
    forward = getattr(activations, f"{stem}_forward")
    return partial(forward, **options), getattr(activations, f"{stem}_backward")


def value_and_slope(name, x):
    forward, backward = pair(name)
    out, cache = forward(x)
    return out, backward(np.ones_like(x), cache)


def torch_value_and_gradient(function, x, dout):
    x = torch.tensor(x, requires_grad=True)
    out = function(x)
    (dx,) = torch.autograd.grad(out, x, torch.tensor(dout))
    return out.detach().numpy(), dx.numpy()


@each_function
@pytest.mark.parametrize("scale", [1e-3, 1.0, 12.0])
def test_value_and_gradient_equal_those_of_torch(name, scale, rng):
    x, dout = scale * rng.standard_normal((5, 3, 7)), rng.standard_normal((5, 3, 7))
    forward, backward = pair(name)
    out, cache = forward(x)
    expected, expected_dx = torch_value_and_gradient(ELEMENTWISE[name][1], x, dout)
    assert_close(out, expected)
    assert_close(backward(dout, cache), expected_dx)


@each_function
def test_at_zero_value_and_slope_follow_the_convention_of_torch(name):
    zero = np.zeros(3)
    expected = torch_value_and_gradient(ELEMENTWISE[name][1], zero, np.ones(3))
    for came, right in zip(value_and_slope(name, zero), expected, strict=True):
        assert_close(came, right)


FAR = np.array([-1000.0, -800.0, -40.0, 40.0, 800.0, 1000.0])


@each_function
def test_far_from_zero_values_and_slopes_are_those_of_torch_without_a_warning(name):
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        came = value_and_slope(name, FAR)
    expected = torch_value_and_gradient(ELEMENTWISE[name][1], FAR, np.ones(6))
    for mine, right in zip(came, expected, strict=True):
        np.testing.assert_allclose(mine, right, rtol=1e-12, atol=1e-14)


@each_function
@pytest.mark.parametrize("shape", [(0,), (1,), (3, 0, 5), (3, 5, 6, 7)])
def test_functions_keep_the_shape_and_leave_their_input_alone(name, shape, rng):
    x, dout = rng.standard_normal((2, *shape))
    x.setflags(write=False)
    dout.setflags(write=False)
    forward, backward = pair(name)
    out, cache = forward(x)
    assert out.shape == backward(dout, cache).shape == shape
    assert not np.shares_memory(out, x)


@each_function
def test_a_transposed_input_gives_the_transposed_output(name, rng):
    x = rng.standard_normal((5, 7))
    forward, _ = pair(name)
    assert_close(forward(x.T)[0], forward(x)[0].T)


# what makes each function what it is


def test_erf_equals_that_of_torch(rng):
    x = 3 * rng.standard_normal((5, 7))
    assert_close(erf(x), torch.erf(torch.tensor(x)).numpy())


def test_softplus_is_the_integral_of_the_sigmoid():
    x = np.linspace(-9, 9, 20_001)
    area = np.concatenate([[0], np.cumsum((sigmoid(x)[1:] + sigmoid(x)[:-1]) / 2 * np.diff(x))])
    softplus, _ = activations.softplus_forward(x)
    np.testing.assert_allclose(softplus - softplus[0], area, rtol=0, atol=1e-6)


def test_a_leaky_relu_of_slope_zero_is_relu(rng):
    x, dout = rng.standard_normal((2, 5, 7))
    leaky, cache = activations.leaky_relu_forward(x, slope=0.0)
    relu, relu_cache = activations.relu_forward(x)
    assert_close(leaky, relu)
    assert_close(activations.leaky_relu_backward(dout, cache), activations.relu_backward(dout, relu_cache))


@pytest.mark.parametrize("shape", [(5, 3), (5, 3, 7), (5, 3, 7, 6)])
def test_prelu_equals_that_of_torch_with_a_slope_for_each_channel(shape, rng):
    x, dout, a = rng.standard_normal(shape), rng.standard_normal(shape), rng.standard_normal(3)
    out, cache = activations.prelu_forward(x, a)
    tensors = [torch.tensor(array, requires_grad=True) for array in (x, a)]
    expected = functional.prelu(*tensors)
    assert_close(out, expected.detach().numpy())
    gradients = torch.autograd.grad(expected, tensors, torch.tensor(dout))
    for mine, right in zip(activations.prelu_backward(dout, cache), gradients, strict=True):
        assert_close(mine, right.numpy())


def test_prelu_asks_for_a_slope_for_each_channel(rng):
    with jaxtyping_off(), pytest.raises(ValueError, match=r"expected x of shape \(batch, 3, ...\).*got \(5, 7\)"):
        activations.prelu_forward(rng.standard_normal((5, 7)), np.ones(3))


def test_the_constants_of_selu_are_those_of_torch_and_of_the_paper():
    alpha, scale = activations.selu_constants()
    assert_close(np.array([alpha, scale]), np.array([1.6732632423543772848, 1.0507009873554804934]))
    out = functional.selu(torch.tensor([-1e3, 1.0], dtype=torch.float64)).numpy()
    assert_close(np.array([-scale * alpha, scale]), out)


def test_selu_leaves_a_standard_normal_input_at_mean_0_and_variance_1():
    z = np.linspace(-12, 12, 480_001)
    weight = np.exp(-z * z / 2) / np.sqrt(2 * np.pi) * (z[1] - z[0])
    out, _ = activations.selu_forward(z)
    np.testing.assert_allclose([(out * weight).sum(), (out**2 * weight).sum()], [0, 1], rtol=0, atol=1e-8)


def test_gelu_counts_the_normal_numbers_below_x(rng):
    x = np.array([-1.5, 0.3, 2.0])
    below = (rng.standard_normal((400_000, 1)) < x).mean(axis=0)
    np.testing.assert_allclose(activations.gelu_forward(x)[0], x * below, rtol=0, atol=5e-3)


def test_the_two_forms_of_gelu_differ_by_less_than_five_ten_thousandths():
    x = np.linspace(-8, 8, 160_001)
    error = np.abs(activations.gelu_forward(x, "tanh")[0] - activations.gelu_forward(x)[0])
    assert 4.7e-4 < error.max() < 4.8e-4
    assert abs(abs(x[error.argmax()]) - 2.70) < 0.01


def test_the_tanh_form_of_gelu_is_the_same_in_one_tile_and_in_many(rng):
    x = rng.standard_normal(3 * 32_768 + 5)
    whole, _ = activations.gelu_forward(x, "tanh")
    halves = np.concatenate([activations.gelu_forward(part, "tanh")[0] for part in (x[:777], x[777:])])
    np.testing.assert_array_equal(whole, halves)


def test_the_tanh_form_of_gelu_keeps_the_precision_of_its_input(rng):
    x = rng.standard_normal((3, 5))
    for dtype in (np.float32, np.float64):
        assert activations.gelu_forward(x.astype(dtype), "tanh")[0].dtype == dtype


def test_gelu_knows_two_forms():
    with jaxtyping_off(), pytest.raises(ValueError, match="expected approximate 'none' or 'tanh', got 'erf'"):
        activations.gelu_forward(np.zeros(3), "erf")


@pytest.mark.parametrize("options", [{}, {"approximate": "tanh"}], ids=["none", "tanh"])
def test_the_bias_of_gelu_reaches_every_row(options, rng):
    x, dout, b = rng.standard_normal((5, 7)), rng.standard_normal((5, 7)), rng.standard_normal(7)
    tensors = [torch.tensor(array, requires_grad=True) for array in (x, b)]
    check_biased("bias_gelu", functional.gelu(tensors[0] + tensors[1], **options), tensors, dout, options)


def test_the_bias_of_silu_reaches_every_row(rng):
    x, dout, b = rng.standard_normal((5, 7)), rng.standard_normal((5, 7)), rng.standard_normal(7)
    tensors = [torch.tensor(array, requires_grad=True) for array in (x, b)]
    check_biased("bias_silu", functional.silu(tensors[0] + tensors[1]), tensors, dout, {})


def check_biased(name, expected, tensors, dout, options):
    arrays = [tensor.detach().numpy() for tensor in tensors]
    out, cache = getattr(activations, f"{name}_forward")(*arrays, **options)
    assert_close(out, expected.detach().numpy())
    gradients = torch.autograd.grad(expected, tensors, torch.tensor(dout))
    for mine, right in zip(getattr(activations, f"{name}_backward")(dout, cache), gradients, strict=True):
        assert_close(mine, right.numpy())


# softmax


@pytest.mark.parametrize("axis", [-3, -2, -1, 0, 1, 2])
def test_softmax_equals_that_of_torch_along_any_axis(axis, rng):
    x, dout = 3 * rng.standard_normal((2, 5, 3, 7))
    p, cache = activations.softmax_forward(x, axis)
    expected, expected_dx = torch_value_and_gradient(lambda x: torch.softmax(x, axis), x, dout)
    assert_close(p, expected)
    assert_close(activations.softmax_backward(dout, cache), expected_dx)


def test_softmax_backward_is_the_product_with_the_jacobian(rng):
    x, dout = rng.standard_normal((2, 7))
    p, cache = activations.softmax_forward(x)
    assert_close(activations.softmax_backward(dout, cache), (np.diag(p) - np.outer(p, p)) @ dout)


def test_softmax_does_not_see_a_shift_and_its_gradient_sums_to_zero(rng):
    x, dout = rng.standard_normal((2, 5, 7))
    p, cache = activations.softmax_forward(x)
    assert_close(activations.softmax_forward(x + 1000)[0], p)
    dx = activations.softmax_backward(dout, cache)
    np.testing.assert_allclose(dx.sum(axis=1), 0, rtol=0, atol=1e-15)
    np.testing.assert_allclose(activations.softmax_backward(np.ones((5, 7)), cache), 0, rtol=0, atol=1e-15)


def test_softmax_takes_rows_a_thousand_apart_without_a_warning(rng):
    x = rng.standard_normal((3, 5)) + np.array([[-1000.0], [0.0], [1000.0]])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        p, _ = activations.softmax_forward(x)
    assert_close(p, torch.softmax(torch.tensor(x), 1).numpy())


def test_softmax_of_one_score_is_certain():
    assert activations.softmax_forward(np.array([[-1000.0], [3.0]]))[0].tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize(("shape", "axis"), [((3, 0), 1), ((3, 5), 2), ((3, 5), -3)])
def test_softmax_asks_for_an_axis_with_scores(shape, axis):
    with pytest.raises(ValueError, match=rf"got axis {axis} of \({shape[0]}, {shape[1]}\)"):
        activations.softmax_forward(np.zeros(shape), axis)


# the slips in the backward pass of ReLU


def test_each_slip_is_told_from_the_others(rng):
    x, dout = rng.standard_normal((2, 11))
    x[4] = 0.0
    right = activations.relu_backward(dout, (x,))
    at_zero = right.copy()
    at_zero[4] = dout[4]
    dx = np.array([dout, right, np.where(x > 0, 1.0, 0.0), at_zero, np.maximum(dout, 0)])
    assert activations.which_slip(x, dout, dx).tolist() == [4, 0, 2, 1, 3]


def test_without_a_zero_among_the_inputs_the_slope_at_zero_cannot_be_told(rng):
    x, dout = rng.standard_normal((2, 11))
    assert activations.which_slip(x, dout, (dout * (x >= 0))[None]).tolist() == [0]
