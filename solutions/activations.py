"""Activation functions."""

import numpy as np
from jaxtyping import Float

Array = np.ndarray


def sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Squash every element into (0, 1) without overflow (eq. sigmoid).

    Both forms of it, 1 / (1 + exp(-x)) and exp(x) / (1 + exp(x)), are written with
    exp(-|x|), which never exceeds one.
    """
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, e) / (1.0 + e)
