"""What the first kernels of the book compute, in NumPy."""

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray


def vector_add(x: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, " n"]:
    """Add two vectors element by element (eq. kernels-vector-add)."""
    return x + y


def row_sum(x: Float[Array, "rows cols"]) -> Float[Array, " rows"]:
    """Sum every row (eq. kernels-row-sum)."""
    return x.sum(axis=1)


def column_sum(x: Float[Array, "rows cols"]) -> Float[Array, " cols"]:
    """Sum every column (eq. kernels-column-sum)."""
    return x.sum(axis=0)


def row_softmax(x: Float[Array, "rows cols"]) -> Float[Array, "rows cols"]:
    """Turn every row into probabilities without overflow (eq. kernels-row-softmax)."""
    largest = x.max(axis=1, keepdims=True)
    e = np.exp(x - largest)
    return e / e.sum(axis=1, keepdims=True)


def transpose(x: Float[Array, "rows cols"]) -> Float[Array, "cols rows"]:
    """Copy a matrix so that its columns become rows (eq. kernels-transpose)."""
    return x.T.copy()


def matmul(
    A: Float[Array, "rows inner"], B: Float[Array, "inner cols"]
) -> Float[Array, "rows cols"]:
    """Multiply two matrices (eq. kernels-matmul)."""
    return A @ B


def histogram(
    labels: Int[Array, " n"], counts: Float[Array, " bins"]
) -> Float[Array, " bins"]:
    """Add to every count how often its label occurs (eq. kernels-histogram).

    Raises ValueError where a label is no index of the counts.
    """
    if labels.size and not 0 <= labels.min() <= labels.max() < len(counts):
        got = f"{labels.min()} to {labels.max()}"
        raise ValueError(f"expected labels from 0 to {len(counts) - 1}, got {got}")
    return counts + np.bincount(labels, minlength=len(counts))


def row_variance(x: Float[Array, "rows cols"]) -> Float[Array, " rows"]:
    """Return the mean squared distance of each row from its mean.

    Eq. kernels-row-variance.
    """
    cols = x.shape[1]
    mean = x.sum(axis=1, keepdims=True) / cols
    squares = ((x - mean) ** 2).sum(axis=1)
    return squares / cols
