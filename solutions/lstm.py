"""Long short-term memory and the gated recurrent unit: steps, sequences, stacks.

The four gates are packed side by side in torch's order i, f, g, o; those of the GRU
in the order r, z, n.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float

from solutions.activations import sigmoid

Array = np.ndarray


def lstm_step_forward(
    x: Float[Array, "batch d_in"],
    h: Float[Array, "batch d_h"],
    c: Float[Array, "batch d_h"],
    W_x: Float[Array, "d_in 4*d_h"],
    W_h: Float[Array, "d_h 4*d_h"],
    b: Float[Array, " 4*d_h"],
) -> tuple[Float[Array, "batch d_h"], Float[Array, "batch d_h"], tuple]:
    """Advance the cell by one time step: (h, c) at t-1 to (h, c) at t.

    Eq. lstm-step; Hochreiter & Schmidhuber 1997, the forget gate Gers et al. 2000.
    """
    a_i, a_f, a_g, a_o = np.split(x @ W_x + h @ W_h + b, 4, axis=1)
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
    c_t = f * c + i * g
    tanh_c = np.tanh(c_t)
    h_t = o * tanh_c
    return h_t, c_t, (x, h, c, W_x, W_h, i, f, g, o, tanh_c)


def lstm_step_backward(
    dh: Float[Array, "batch d_h"],
    dc: Float[Array, "batch d_h"],
    cache: tuple,
) -> tuple[
    Float[Array, "batch d_in"],
    Float[Array, "batch d_h"],
    Float[Array, "batch d_h"],
    Float[Array, "d_in 4*d_h"],
    Float[Array, "d_h 4*d_h"],
    Float[Array, " 4*d_h"],
]:
    """Turn the gradients at (h, c) of step t into those of its inputs.

    Returns (dx, dh, dc, dW_x, dW_h, db), where dh and dc belong to step t-1
    (eq. lstm-step-backward).
    """
    x, h, c, W_x, W_h, i, f, g, o, tanh_c = cache
    dc = dc + dh * o * (1 - tanh_c**2)
    da_i = dc * g * i * (1 - i)
    da_f = dc * c * f * (1 - f)
    da_g = dc * i * (1 - g**2)
    da_o = dh * tanh_c * o * (1 - o)
    da = np.concatenate([da_i, da_f, da_g, da_o], axis=1)
    return da @ W_x.T, da @ W_h.T, dc * f, x.T @ da, h.T @ da, da.sum(axis=0)


def lstm_peephole_step_forward(
    x: Float[Array, "batch d_in"],
    h: Float[Array, "batch d_h"],
    c: Float[Array, "batch d_h"],
    W_x: Float[Array, "d_in 4*d_h"],
    W_h: Float[Array, "d_h 4*d_h"],
    b: Float[Array, " 4*d_h"],
    p_i: Float[Array, " d_h"],
    p_f: Float[Array, " d_h"],
    p_o: Float[Array, " d_h"],
) -> tuple[Float[Array, "batch d_h"], Float[Array, "batch d_h"], tuple]:
    """Advance a cell whose gates see its memory: i and f look at c of t-1, o at c of t.

    Eq. lstm-peephole; Gers, Schraudolph & Schmidhuber 2002.
    """
    a_i, a_f, a_g, a_o = np.split(x @ W_x + h @ W_h + b, 4, axis=1)
    i, f, g = sigmoid(a_i + p_i * c), sigmoid(a_f + p_f * c), np.tanh(a_g)
    c_t = f * c + i * g
    o = sigmoid(a_o + p_o * c_t)
    tanh_c = np.tanh(c_t)
    h_t = o * tanh_c
    return h_t, c_t, (x, h, c, W_x, W_h, p_i, p_f, p_o, i, f, g, o, c_t, tanh_c)


def lstm_peephole_step_backward(
    dh: Float[Array, "batch d_h"],
    dc: Float[Array, "batch d_h"],
    cache: tuple,
) -> tuple[
    Float[Array, "batch d_in"],
    Float[Array, "batch d_h"],
    Float[Array, "batch d_h"],
    Float[Array, "d_in 4*d_h"],
    Float[Array, "d_h 4*d_h"],
    Float[Array, " 4*d_h"],
    Float[Array, " d_h"],
    Float[Array, " d_h"],
    Float[Array, " d_h"],
]:
    """Turn the gradients at (h, c) of step t into those of its inputs.

    Returns (dx, dh, dc, dW_x, dW_h, db, dp_i, dp_f, dp_o) (eq. lstm-peephole-backward).
    """
    x, h, c, W_x, W_h, p_i, p_f, p_o, i, f, g, o, c_t, tanh_c = cache
    da_o = dh * tanh_c * o * (1 - o)
    dc = dc + dh * o * (1 - tanh_c**2) + da_o * p_o
    da_i = dc * g * i * (1 - i)
    da_f = dc * c * f * (1 - f)
    da_g = dc * i * (1 - g**2)
    dc_prev = dc * f + da_i * p_i + da_f * p_f
    da = np.concatenate([da_i, da_f, da_g, da_o], axis=1)
    dp_i, dp_f, dp_o = (
        (da_i * c).sum(axis=0),
        (da_f * c).sum(axis=0),
        (da_o * c_t).sum(axis=0),
    )
    return (
        da @ W_x.T,
        da @ W_h.T,
        dc_prev,
        x.T @ da,
        h.T @ da,
        da.sum(axis=0),
        dp_i,
        dp_f,
        dp_o,
    )


def _unroll_forward(step_forward, x, state, weights):
    """Apply a step along time: every hidden state (state[0]), last state, cache."""
    if x.shape[1] == 0:
        raise ValueError(
            f"expected a sequence of at least one step, got x of shape {x.shape}"
        )
    hidden, caches = np.empty((*x.shape[:2], state[0].shape[1]), x.dtype), []
    for t in range(x.shape[1]):
        *state, cache = step_forward(x[:, t], *state, *weights)
        hidden[:, t] = state[0]
        caches.append(cache)
    return hidden, state, (x.shape, caches)


def _unroll_backward(step_backward, dh, dstate, cache):
    """Walk back through time: gradients at x and the first state, sums for the weights.

    dstate holds the gradients that arrive at the last state from beyond the sequence.
    """
    x_shape, caches = cache
    dx, dweights = np.empty(x_shape), []
    for t in reversed(range(x_shape[1])):
        dx[:, t], *grads = step_backward(dh[:, t] + dstate[0], *dstate[1:], caches[t])
        dstate, step = grads[: len(dstate)], grads[len(dstate) :]
        dweights = dweights or [0.0] * len(step)
        dweights = [total + part for total, part in zip(dweights, step, strict=True)]
    return dx, *dstate, *dweights


def lstm_forward(
    x: Float[Array, "batch time d_in"],
    h_0: Float[Array, "batch d_h"],
    c_0: Float[Array, "batch d_h"],
    W_x: Float[Array, "d_in 4*d_h"],
    W_h: Float[Array, "d_h 4*d_h"],
    b: Float[Array, " 4*d_h"],
) -> tuple[Float[Array, "batch time d_h"], Float[Array, "batch d_h"], tuple]:
    """Run the cell over a sequence (eq. lstm-step).

    Returns the hidden state of every step, the last cell state and the cache.
    """
    h, (_, c_T), cache = _unroll_forward(
        lstm_step_forward, x, (h_0, c_0), (W_x, W_h, b)
    )
    return h, c_T, cache


def lstm_backward(
    dh: Float[Array, "batch time d_h"],
    dc_T: Float[Array, "batch d_h"],
    cache: tuple,
) -> tuple[
    Float[Array, "batch time d_in"],
    Float[Array, "batch d_h"],
    Float[Array, "batch d_h"],
    Float[Array, "d_in 4*d_h"],
    Float[Array, "d_h 4*d_h"],
    Float[Array, " 4*d_h"],
]:
    """Backpropagate through time: (dx, dh_0, dc_0, dW_x, dW_h, db) (eq. lstm-bptt)."""
    return _unroll_backward(lstm_step_backward, dh, (0.0, dc_T), cache)


def lstm_peephole_forward(
    x: Float[Array, "batch time d_in"],
    h_0: Float[Array, "batch d_h"],
    c_0: Float[Array, "batch d_h"],
    W_x: Float[Array, "d_in 4*d_h"],
    W_h: Float[Array, "d_h 4*d_h"],
    b: Float[Array, " 4*d_h"],
    p_i: Float[Array, " d_h"],
    p_f: Float[Array, " d_h"],
    p_o: Float[Array, " d_h"],
) -> tuple[Float[Array, "batch time d_h"], Float[Array, "batch d_h"], tuple]:
    """Run the peephole cell over a sequence, like lstm_forward (eq. lstm-peephole)."""
    h, (_, c_T), cache = _unroll_forward(
        lstm_peephole_step_forward, x, (h_0, c_0), (W_x, W_h, b, p_i, p_f, p_o)
    )
    return h, c_T, cache


def lstm_peephole_backward(
    dh: Float[Array, "batch time d_h"],
    dc_T: Float[Array, "batch d_h"],
    cache: tuple,
) -> tuple[
    Float[Array, "batch time d_in"],
    Float[Array, "batch d_h"],
    Float[Array, "batch d_h"],
    Float[Array, "d_in 4*d_h"],
    Float[Array, "d_h 4*d_h"],
    Float[Array, " 4*d_h"],
    Float[Array, " d_h"],
    Float[Array, " d_h"],
    Float[Array, " d_h"],
]:
    """Backpropagate through time, to the peepholes as well (eq. lstm-bptt).

    Returns (dx, dh_0, dc_0, dW_x, dW_h, db, dp_i, dp_f, dp_o).
    """
    return _unroll_backward(lstm_peephole_step_backward, dh, (0.0, dc_T), cache)


def stacked_lstm_forward(
    x: Float[Array, "batch time d_in"],
    h_0: Float[Array, "layers batch d_h"],
    c_0: Float[Array, "layers batch d_h"],
    W_x: Float[Array, "d_in 4*d_h"],
    W_up: Float[Array, "layers-1 d_h 4*d_h"],
    W_h: Float[Array, "layers d_h 4*d_h"],
    b: Float[Array, "layers 4*d_h"],
) -> tuple[
    Float[Array, "batch time d_h"],
    Float[Array, "layers batch d_h"],
    Float[Array, "layers batch d_h"],
    tuple,
]:
    """Feed the hidden states of each layer to the one above (eq. lstm-stack).

    W_x reads the input, W_up[l] reads the hidden states of layer l. Returns the hidden
    states of the top layer, the last hidden and the last cell state of every layer, and
    the cache. Raises ValueError where the arguments differ in their number of layers.
    """
    c_T, h_T, caches = np.empty_like(c_0), np.empty_like(h_0), []
    for layer, (W_in, h, c, W, bias) in enumerate(
        zip([W_x, *W_up], h_0, c_0, W_h, b, strict=True)
    ):
        x, c_T[layer], cache = lstm_forward(x, h, c, W_in, W, bias)
        h_T[layer] = x[:, -1]
        caches.append(cache)
    return x, h_T, c_T, tuple(caches)


def stacked_lstm_backward(
    dh: Float[Array, "batch time d_h"],
    dh_T: Float[Array, "layers batch d_h"],
    dc_T: Float[Array, "layers batch d_h"],
    cache: tuple,
) -> tuple[
    Float[Array, "batch time d_in"],
    Float[Array, "layers batch d_h"],
    Float[Array, "layers batch d_h"],
    Float[Array, "d_in 4*d_h"],
    Float[Array, "layers-1 d_h 4*d_h"],
    Float[Array, "layers d_h 4*d_h"],
    Float[Array, "layers 4*d_h"],
]:
    """Backpropagate from the top layer down (eq. lstm-stack).

    Returns (dx, dh_0, dc_0, dW_x, dW_up, dW_h, db).
    """
    per_layer = []
    for layer in reversed(range(len(cache))):
        dh = dh.copy()
        dh[:, -1] += dh_T[layer]
        dh, *grads = lstm_backward(dh, dc_T[layer], cache[layer])
        per_layer.insert(0, grads)
    dh_0, dc_0, dW_in, dW_h, db = zip(*per_layer, strict=True)
    dW_up = np.array(dW_in[1:]).reshape(-1, *dW_h[0].shape)
    return (
        dh,
        np.array(dh_0),
        np.array(dc_0),
        dW_in[0],
        dW_up,
        np.array(dW_h),
        np.array(db),
    )


def gru_step_forward(
    x: Float[Array, "batch d_in"],
    h: Float[Array, "batch d_h"],
    W_x: Float[Array, "d_in 3*d_h"],
    W_h: Float[Array, "d_h 3*d_h"],
    b_x: Float[Array, " 3*d_h"],
    b_h: Float[Array, " 3*d_h"],
    reset: Literal["after", "before"] = "after",
    z_means: Literal["keep", "update"] = "keep",
) -> tuple[Float[Array, "batch d_h"], tuple]:
    """Advance the gated recurrent unit by one step, in any of its four conventions.

    reset says whether r multiplies h "after" the matrix product, r * (h W_hn + b_hn),
    or "before" it, (r * h) W_hn + b_hn. z_means says what z = 1 does: "keep" the old
    state or "update" to the candidate. Raises ValueError for any other word.
    Eq. gru-step; Cho et al. 2014; torch and cuDNN use "after" and "keep".
    """
    if reset not in ("after", "before") or z_means not in ("keep", "update"):
        raise ValueError(
            "expected reset to be after or before and z_means keep or update, "
            f"got {reset!r} and {z_means!r}"
        )
    W_hr, W_hz, W_hn = np.split(W_h, 3, axis=1)
    b_hr, b_hz, b_hn = np.split(b_h, 3)
    u_r, u_z, u_n = np.split(x @ W_x + b_x, 3, axis=1)
    r = sigmoid(u_r + h @ W_hr + b_hr)
    z = sigmoid(u_z + h @ W_hz + b_hz)
    after = reset == "after"
    q = h if after else r * h
    v_n = q @ W_hn + b_hn
    n = np.tanh(u_n + (r * v_n if after else v_n))
    keep = z if z_means == "keep" else 1 - z
    h_t = keep * h + (1 - keep) * n
    return h_t, (x, h, W_x, W_h, r, z, n, q, v_n, after, z_means)


def gru_step_backward(
    dh: Float[Array, "batch d_h"],
    cache: tuple,
) -> tuple[
    Float[Array, "batch d_in"],
    Float[Array, "batch d_h"],
    Float[Array, "d_in 3*d_h"],
    Float[Array, "d_h 3*d_h"],
    Float[Array, " 3*d_h"],
    Float[Array, " 3*d_h"],
]:
    """Turn the gradient at h of step t into those of its inputs.

    Returns (dx, dh, dW_x, dW_h, db_x, db_h) (eq. gru-step-backward).
    """
    x, h, W_x, W_h, r, z, n, q, v_n, after, z_means = cache
    W_hr, W_hz, W_hn = np.split(W_h, 3, axis=1)
    keep, sign = (z, 1) if z_means == "keep" else (1 - z, -1)
    da_n = dh * (1 - keep) * (1 - n**2)
    da_z = sign * dh * (h - n) * z * (1 - z)
    dv_n = da_n * r if after else da_n
    dq = dv_n @ W_hn.T
    da_r = (da_n * v_n if after else dq * h) * r * (1 - r)
    dh_by_n = dq if after else dq * r
    dh_prev = dh * keep + da_r @ W_hr.T + da_z @ W_hz.T + dh_by_n
    du = np.concatenate([da_r, da_z, da_n], axis=1)
    dv = np.concatenate([da_r, da_z, dv_n], axis=1)
    dW_h = np.concatenate([h.T @ da_r, h.T @ da_z, q.T @ dv_n], axis=1)
    return du @ W_x.T, dh_prev, x.T @ du, dW_h, du.sum(axis=0), dv.sum(axis=0)


def gru_forward(
    x: Float[Array, "batch time d_in"],
    h_0: Float[Array, "batch d_h"],
    W_x: Float[Array, "d_in 3*d_h"],
    W_h: Float[Array, "d_h 3*d_h"],
    b_x: Float[Array, " 3*d_h"],
    b_h: Float[Array, " 3*d_h"],
    reset: Literal["after", "before"] = "after",
    z_means: Literal["keep", "update"] = "keep",
) -> tuple[Float[Array, "batch time d_h"], tuple]:
    """Run the unit over a sequence: every hidden state and the cache (eq. gru-step)."""
    h, _, cache = _unroll_forward(
        gru_step_forward, x, (h_0,), (W_x, W_h, b_x, b_h, reset, z_means)
    )
    return h, cache


def gru_backward(
    dh: Float[Array, "batch time d_h"],
    cache: tuple,
) -> tuple[
    Float[Array, "batch time d_in"],
    Float[Array, "batch d_h"],
    Float[Array, "d_in 3*d_h"],
    Float[Array, "d_h 3*d_h"],
    Float[Array, " 3*d_h"],
    Float[Array, " 3*d_h"],
]:
    """Backpropagate to (dx, dh_0, dW_x, dW_h, db_x, db_h) (eq. lstm-bptt)."""
    return _unroll_backward(gru_step_backward, dh, (0.0,), cache)
