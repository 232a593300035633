"""Activation functions: forward and backward, stable for any finite input that occurs.

What is cached is the input where the derivative needs it, else the output.
"""

import math
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray


def sigmoid(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Squash every element into (0, 1) without overflow (eq. sigmoid)."""
    e = np.exp(-np.abs(x))  # never exceeds one
    return np.where(x >= 0, 1.0, e) / (1.0 + e)


def erf(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Integrate 2 / sqrt(pi) exp(-t^2) from 0 to every element (eq. gelu)."""
    import math  # here, so that the function can be handed out as it is

    return np.vectorize(math.erf, otypes=[float])(x)


def sigmoid_forward(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], tuple]:
    """Squash every element into (0, 1) (eq. sigmoid)."""
    out = sigmoid(x)
    return out, (out,)


def sigmoid_backward(
    dout: Float[Array, "*shape"], cache: tuple
) -> Float[Array, "*shape"]:
    """Multiply by the slope of the sigmoid, out (1 - out) (eq. sigmoid-slope)."""
    (out,) = cache
    return dout * out * (1 - out)


def tanh_forward(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], tuple]:
    """Squash every element into (-1, 1) (eq. tanh-slope)."""
    out = np.tanh(x)
    return out, (out,)


def tanh_backward(dout: Float[Array, "*shape"], cache: tuple) -> Float[Array, "*shape"]:
    """Multiply by the slope of tanh (eq. tanh-slope)."""
    (out,) = cache
    return dout * (1 - out * out)


def relu_forward(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], tuple]:
    """Keep what is positive, set the rest to 0 (eq. relu; Nair & Hinton 2010)."""
    return np.maximum(x, 0.0), (x,)


def relu_backward(dout: Float[Array, "*shape"], cache: tuple) -> Float[Array, "*shape"]:
    """Let the gradient through where x > 0; the slope at 0 is 0 (eq. relu)."""
    (x,) = cache
    return dout * (x > 0)


def leaky_relu_forward(
    x: Float[Array, "*shape"], slope: float = 0.01
) -> tuple[Float[Array, "*shape"], tuple]:
    """Keep what is positive, multiply the rest by slope.

    Eq. relu; Maas et al. 2013.
    """
    return np.where(x > 0, x, slope * x), (x, slope)


def leaky_relu_backward(
    dout: Float[Array, "*shape"], cache: tuple
) -> Float[Array, "*shape"]:
    """Multiply by the slope of the side that x is on; 0 is on the left (eq. relu)."""
    x, slope = cache
    return dout * np.where(x > 0, 1.0, slope)


def prelu_forward(
    x: Float[Array, "batch channels *positions"], a: Float[Array, " channels"]
) -> tuple[Float[Array, "batch channels *positions"], tuple]:
    """Apply a leaky ReLU whose slope a is learned, one per channel.

    Eq. relu; He et al. 2015.
    """
    if x.ndim < 2 or x.shape[1] != len(a):
        raise ValueError(
            f"expected x of shape (batch, {len(a)}, ...), a slope for each channel; "
            f"got {x.shape}"
        )
    a = a.reshape(-1, *[1] * (x.ndim - 2))
    return np.where(x > 0, x, a * x), (x, a)


def prelu_backward(
    dout: Float[Array, "batch channels *positions"], cache: tuple
) -> tuple[Float[Array, "batch channels *positions"], Float[Array, " channels"]]:
    """Return (dx, da); a slope served at every element of its channel.

    Eq. prelu-slope.
    """
    x, a = cache
    da = (dout * np.minimum(x, 0.0)).sum(axis=(0, *range(2, x.ndim)))
    return dout * np.where(x > 0, 1.0, a), da


def elu_forward(
    x: Float[Array, "*shape"], alpha: float = 1.0
) -> tuple[Float[Array, "*shape"], tuple]:
    """Bend the negative side down to -alpha (eq. elu; Clevert et al. 2016)."""
    low = np.minimum(x, 0.0)
    return np.where(x > 0, x, alpha * np.expm1(low)), (x, alpha)


def elu_backward(dout: Float[Array, "*shape"], cache: tuple) -> Float[Array, "*shape"]:
    """Multiply by the slope of ELU; at 0 it is that of the left side (eq. elu)."""
    x, alpha = cache
    low = np.minimum(x, 0.0)
    return dout * np.where(x > 0, 1.0, alpha * np.exp(low))


def selu_constants() -> tuple[float, float]:
    """Solve mean 0 and variance 1 for (alpha, scale) (eq. selu-fixed-point)."""
    first = math.exp(1 / 2) * math.erfc(1 / math.sqrt(2)) / 2
    second = math.exp(2) * math.erfc(2 / math.sqrt(2)) / 2
    alpha = 1 / math.sqrt(2 * math.pi) / (1 / 2 - first)
    square = 1 / 2 + alpha**2 * (second - 2 * first + 1 / 2)
    return alpha, 1 / math.sqrt(square)


def selu_forward(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], tuple]:
    """Scale an ELU so that N(0, 1) keeps its mean and variance.

    Eq. selu; Klambauer et al. 2017.
    """
    alpha, scale = selu_constants()
    out, cache = elu_forward(x, alpha)
    return scale * out, (scale, cache)


def selu_backward(dout: Float[Array, "*shape"], cache: tuple) -> Float[Array, "*shape"]:
    """Multiply by the slope of the scaled ELU (eq. selu)."""
    scale, elu_cache = cache
    return elu_backward(scale * dout, elu_cache)


def softplus_forward(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], tuple]:
    """Round off the corner of ReLU: log(1 + exp(x)).

    Eq. softplus; Dugas et al. 2001.
    """
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x))), (x,)


def softplus_backward(
    dout: Float[Array, "*shape"], cache: tuple
) -> Float[Array, "*shape"]:
    """Multiply by the slope of softplus, which is the sigmoid (eq. softplus)."""
    (x,) = cache
    return dout * sigmoid(x)


def silu_forward(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], tuple]:
    """Multiply x by its sigmoid (eq. silu; Elfwing et al. 2018)."""
    s = sigmoid(x)
    return x * s, (x, s)


def silu_backward(dout: Float[Array, "*shape"], cache: tuple) -> Float[Array, "*shape"]:
    """Multiply by the slope of x sigmoid(x) (eq. silu)."""
    x, s = cache
    return dout * (s + x * s * (1 - s))


def mish_forward(x: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], tuple]:
    """Multiply x by tanh(softplus(x)) (eq. mish; Misra 2020)."""
    softplus, _ = softplus_forward(x)
    t = np.tanh(softplus)
    return x * t, (x, t)


def mish_backward(dout: Float[Array, "*shape"], cache: tuple) -> Float[Array, "*shape"]:
    """Multiply by the slope of x tanh(softplus(x)) (eq. mish)."""
    x, t = cache
    return dout * (t + x * (1 - t * t) * sigmoid(x))


def gelu_forward(
    x: Float[Array, "*shape"], approximate: Literal["none", "tanh"] = "none"
) -> tuple[Float[Array, "*shape"], tuple]:
    """Multiply x by the normal distribution function Phi(x), or by its tanh form.

    Eqs. gelu and gelu-tanh; Hendrycks & Gimpel 2016. Raises ValueError for any other
    word than those of the annotation.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"expected approximate 'none' or 'tanh', got {approximate!r}")
    if approximate == "tanh":
        return _gelu_tanh(x), (x, approximate)
    return x * 0.5 * (1 + erf(x / np.sqrt(2))), (x, approximate)


def _gelu_tanh(x):
    """Compute x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) in place.

    A tile of 32768 numbers stays in the processor's cache from first to last operation.
    """
    out = np.empty(x.shape, np.result_type(x, 1.0))  # in the precision of x
    root = float(np.sqrt(2 / np.pi))
    flat_x, flat_out = x.reshape(-1), out.reshape(-1)
    for start in range(0, x.size, 32_768):
        tile, y = (flat[start : start + 32_768] for flat in (flat_x, flat_out))
        np.multiply(tile, tile, out=y)
        y *= 0.044715 * root
        y += root
        y *= tile
        np.tanh(y, out=y)
        y += 1
        y *= tile
        y *= 0.5
    return out


def gelu_backward(dout: Float[Array, "*shape"], cache: tuple) -> Float[Array, "*shape"]:
    """Multiply by the slope of the form that forward took (eqs. gelu and gelu-tanh)."""
    x, approximate = cache
    if approximate == "tanh":
        root, square = np.sqrt(2 / np.pi), x * x
        t = np.tanh(root * x * (1 + 0.044715 * square))
        du = root * (1 + 3 * 0.044715 * square)
        return dout * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * du)
    Phi = 0.5 * (1 + erf(x / np.sqrt(2)))
    phi = np.exp(-x * x / 2) / np.sqrt(2 * np.pi)
    return dout * (Phi + x * phi)


def bias_gelu_forward(
    x: Float[Array, "batch d_h"],
    b: Float[Array, " d_h"],
    approximate: Literal["none", "tanh"] = "none",
) -> tuple[Float[Array, "batch d_h"], tuple]:
    """Add a bias to every row, then GELU (eqs. gelu and gelu-tanh)."""
    return gelu_forward(x + b, approximate)


def bias_gelu_backward(
    dout: Float[Array, "batch d_h"], cache: tuple
) -> tuple[Float[Array, "batch d_h"], Float[Array, " d_h"]]:
    """Return (dx, db); the bias served in every row (eqs. gelu and gelu-tanh)."""
    dx = gelu_backward(dout, cache)
    return dx, dx.sum(axis=0)


def bias_silu_forward(
    x: Float[Array, "batch d_h"], b: Float[Array, " d_h"]
) -> tuple[Float[Array, "batch d_h"], tuple]:
    """Add a bias to every row, then SiLU (eq. silu)."""
    return silu_forward(x + b)


def bias_silu_backward(
    dout: Float[Array, "batch d_h"], cache: tuple
) -> tuple[Float[Array, "batch d_h"], Float[Array, " d_h"]]:
    """Return (dx, db); the bias served in every row (eq. silu)."""
    dx = silu_backward(dout, cache)
    return dx, dx.sum(axis=0)


def softmax_forward(
    x: Float[Array, "*shape"], axis: int = -1
) -> tuple[Float[Array, "*shape"], tuple]:
    """Turn scores into probabilities that sum to 1 along an axis (eq. softmax).

    Raises ValueError where x has no such axis, or it has length 0.
    """
    if not -x.ndim <= axis < x.ndim or x.shape[axis] == 0:
        raise ValueError(
            f"expected an axis of x with a score or more, got axis {axis} of {x.shape}"
        )
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    p = e / e.sum(axis=axis, keepdims=True)
    return p, (p, axis)


def softmax_backward(
    dout: Float[Array, "*shape"], cache: tuple
) -> Float[Array, "*shape"]:
    """Multiply by the Jacobian, without building it (eq. softmax-backward)."""
    p, axis = cache
    return p * (dout - (dout * p).sum(axis=axis, keepdims=True))


def which_slip(
    x: Float[Array, " inputs"],
    dout: Float[Array, " inputs"],
    dx: Float[Array, "answers inputs"],
) -> Int[Array, " answers"]:
    """Say of each row of dx by which slip in the backward pass of ReLU it was made.

    0 none, 1 slope 1 at x = 0, 2 dout left out, 3 masked where dout > 0, 4 no mask.
    """
    slips = [
        dout * (x > 0),
        dout * (x >= 0),
        1.0 * (x > 0),
        dout * (dout > 0),
        dout,
    ]
    same = np.isclose(dx[:, None, :], np.array(slips)).all(axis=2)
    return same.argmax(axis=1)
