"""What the first kernels compute, in NumPy: against torch in float64, at the edges, on bad input."""

import inspect

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from autograder.cases import draw, shapes
from solutions import kernels
from tests.tolerances import assert_close

FUNCTIONS = {name: f for name, f in inspect.getmembers(kernels, inspect.isfunction) if f.__module__ == kernels.__name__}
IN_TORCH = {
    "vector_add": torch.add,
    "row_sum": lambda x: torch.sum(x, dim=1),
    "column_sum": lambda x: torch.sum(x, dim=0),
    "row_softmax": lambda x: torch.softmax(x, dim=1),
    "transpose": lambda x: torch.transpose(x, 0, 1),
    "matmul": torch.matmul,
    "histogram": lambda labels, counts: counts.index_add(0, labels, torch.ones(len(labels), dtype=counts.dtype)),
    "row_variance": lambda x: torch.var(x, dim=1, correction=0),
}
every_function = pytest.mark.parametrize("name", FUNCTIONS)


@every_function
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_function_equals_that_of_torch(name, scale, rng):
    inputs = draw(FUNCTIONS[name], rng, scale=scale)
    expected = IN_TORCH[name](*map(torch.from_numpy, inputs.values()))
    assert_close(FUNCTIONS[name](**inputs), expected.numpy())


@every_function
def test_a_function_leaves_its_inputs_alone_and_returns_an_array_of_its_own(name, rng):
    inputs = draw(FUNCTIONS[name], rng)
    for array in inputs.values():
        array.setflags(write=False)
    out = FUNCTIONS[name](**inputs)
    assert not any(np.shares_memory(out, array) for array in inputs.values())
    assert out.flags.c_contiguous
    assert out.dtype == np.float64


@every_function
def test_a_function_takes_arrays_of_size_one(name, rng):
    axes = " ".join(shapes(FUNCTIONS[name]).values()).split()
    inputs = draw(FUNCTIONS[name], rng, sizes=dict.fromkeys(axes, 1))
    inputs = {key: value * 0 if value.dtype.kind == "i" else value for key, value in inputs.items()}
    expected = IN_TORCH[name](*map(torch.from_numpy, inputs.values()))
    assert_close(FUNCTIONS[name](**inputs), expected.numpy())


@pytest.mark.parametrize("shift", [-1e4, -1e3, 1e3, 1e4])
def test_softmax_neither_overflows_nor_divides_zero_by_zero(shift, rng):
    x = rng.standard_normal((5, 37)).round(3)
    with np.errstate(all="raise"):
        moved = kernels.row_softmax(x + shift)
    np.testing.assert_allclose(moved, kernels.row_softmax(x), rtol=1e-10)


def test_softmax_rows_sum_to_one(rng):
    assert_close(kernels.row_softmax(10 * rng.standard_normal((6, 19))).sum(axis=1), np.ones(6))


def test_the_variance_keeps_its_digits_where_the_mean_is_large(rng):
    x = rng.integers(-9, 9, (5, 37)).astype(float)
    assert_close(kernels.row_variance(x + 2.0**30), kernels.row_variance(x))


def test_the_histogram_of_no_labels_is_what_was_counted_before(rng):
    counts = rng.standard_normal(7)
    np.testing.assert_array_equal(kernels.histogram(np.zeros(0, dtype=np.int64), counts), counts)


@pytest.mark.parametrize(("labels", "got"), [([0, 3], "got 0 to 3"), ([-1, 2], "got -1 to 2")])
def test_a_label_that_is_no_index_of_the_counts_is_refused(labels, got):
    with pytest.raises(ValueError, match=f"expected labels from 0 to 2, {got}"):
        kernels.histogram(np.array(labels), np.zeros(3))


def test_shapes_that_do_not_fit_are_refused(rng):
    with pytest.raises(TypeCheckError):
        kernels.matmul(rng.standard_normal((3, 5)), rng.standard_normal((6, 7)))
    with pytest.raises(TypeCheckError):
        kernels.vector_add(rng.standard_normal(3), rng.standard_normal(5))
