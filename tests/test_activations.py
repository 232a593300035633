"""The activation functions, against torch and against arithmetic with fifty digits."""

from decimal import Decimal, localcontext

import numpy as np
import pytest
import torch

from solutions.activations import sigmoid
from tests.tolerances import assert_close


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
