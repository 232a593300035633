"""How close is close enough: the one place where the tests keep their tolerances."""

from typing import NamedTuple

import numpy as np


class Tolerance(NamedTuple):
    rtol: float
    atol: float  # for values of size one; it grows with the largest value expected


TOLERANCES = {
    np.dtype(bool): Tolerance(rtol=0.0, atol=0.0),
    np.dtype(np.float64): Tolerance(rtol=1e-10, atol=1e-12),
    np.dtype(np.float32): Tolerance(rtol=1e-5, atol=1e-5),
    np.dtype(np.float16): Tolerance(rtol=2e-3, atol=2e-3),
}
GRADIENT_ERROR = 1e-6  # a gradient in float64 against central differences, relative to the largest entry


def assert_close(came, expected) -> None:
    """Fail unless both are finite, of one shape, and as close as the coarser of their two dtypes allows."""
    came, expected = np.asarray(came), np.asarray(expected)
    rtol, atol = max(TOLERANCES[came.dtype], TOLERANCES[expected.dtype])
    assert came.shape == expected.shape, f"got shape {came.shape}, expected {expected.shape}"
    assert np.isfinite(expected).all(), "the oracle itself is not finite"
    scale = np.abs(expected).max(initial=0.0)
    np.testing.assert_allclose(came, expected, rtol=rtol, atol=atol * scale, equal_nan=False)


def relative_error(came, expected) -> float:
    """Return the largest difference, relative to the largest entry of either array (0 if both are zero)."""
    scale = max(np.abs(came).max(initial=0.0), np.abs(expected).max(initial=0.0))
    return float(np.abs(came - expected).max(initial=0.0) / scale) if scale else 0.0
