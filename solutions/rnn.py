"""The Elman network: its step, a sequence, its gradient over time, characters, trees.

A tree is the general case: a sequence is one whose nodes form a chain.
"""

import numpy as np
from jaxtyping import Float, Int

from solutions.activations import softmax_forward

Array = np.ndarray


def rnn_step_forward(
    x: Float[Array, "batch d_in"],
    h: Float[Array, "batch d_h"],
    W_x: Float[Array, "d_in d_h"],
    W_h: Float[Array, "d_h d_h"],
    b: Float[Array, " d_h"],
) -> tuple[Float[Array, "batch d_h"], tuple]:
    """Advance the hidden state from step t-1 to t (eq. rnn-step; Elman 1990)."""
    h_t = np.tanh(x @ W_x + h @ W_h + b)
    return h_t, (x, h, W_x, W_h, h_t)


def rnn_step_backward(
    dh: Float[Array, "batch d_h"],
    cache: tuple,
) -> tuple[
    Float[Array, "batch d_in"],
    Float[Array, "batch d_h"],
    Float[Array, "d_in d_h"],
    Float[Array, "d_h d_h"],
    Float[Array, " d_h"],
]:
    """Turn the gradient at h of step t into those of its inputs.

    Returns (dx, dh, dW_x, dW_h, db), where dh belongs to step t-1
    (eq. rnn-step-backward).
    """
    x, h, W_x, W_h, h_t = cache
    da = dh * (1 - h_t**2)
    return da @ W_x.T, da @ W_h.T, x.T @ da, h.T @ da, da.sum(axis=0)


def rnn_forward(
    x: Float[Array, "batch time d_in"],
    h_0: Float[Array, "batch d_h"],
    W_x: Float[Array, "d_in d_h"],
    W_h: Float[Array, "d_h d_h"],
    b: Float[Array, " d_h"],
) -> tuple[Float[Array, "batch time d_h"], tuple]:
    """Run the step over a sequence: every hidden state and the cache (eq. rnn-step).

    Raises ValueError where the sequence has no step.
    """
    if x.shape[1] == 0:
        raise ValueError(
            f"expected a sequence of at least one step, got x of shape {x.shape}"
        )
    hidden, caches, h = np.empty((*x.shape[:2], h_0.shape[1]), x.dtype), [], h_0
    for t in range(x.shape[1]):
        h, cache = rnn_step_forward(x[:, t], h, W_x, W_h, b)
        hidden[:, t] = h
        caches.append(cache)
    return hidden, (x.shape, caches)


def rnn_backward(
    dh: Float[Array, "batch time d_h"],
    cache: tuple,
) -> tuple[
    Float[Array, "batch time d_in"],
    Float[Array, "batch d_h"],
    Float[Array, "d_in d_h"],
    Float[Array, "d_h d_h"],
    Float[Array, " d_h"],
]:
    """Backpropagate through time: (dx, dh_0, dW_x, dW_h, db) (eq. rnn-bptt).

    dh is what the loss sends to the hidden state of each step directly. Werbos 1990.
    """
    x_shape, caches = cache
    dx, carried, dW_x, dW_h, db = np.empty(x_shape), 0.0, 0.0, 0.0, 0.0
    for t in reversed(range(x_shape[1])):
        dh_t = dh[:, t] + carried
        dx[:, t], carried, *step = rnn_step_backward(dh_t, caches[t])
        dW_x, dW_h, db = dW_x + step[0], dW_h + step[1], db + step[2]
    return dx, carried, dW_x, dW_h, db


def many_to_many_forward(
    x: Float[Array, "batch time d_in"],
    h_0: Float[Array, "batch d_h"],
    W_x: Float[Array, "d_in d_h"],
    W_h: Float[Array, "d_h d_h"],
    b: Float[Array, " d_h"],
    W_y: Float[Array, "d_h d_out"],
    b_y: Float[Array, " d_out"],
) -> tuple[Float[Array, "batch time d_out"], tuple]:
    """Read logits out of the hidden state of every step (eq. rnn-output)."""
    h, cache = rnn_forward(x, h_0, W_x, W_h, b)
    return h @ W_y + b_y, (h, W_y, cache)


def many_to_many_backward(
    dlogits: Float[Array, "batch time d_out"],
    cache: tuple,
) -> tuple[
    Float[Array, "batch time d_in"],
    Float[Array, "batch d_h"],
    Float[Array, "d_in d_h"],
    Float[Array, "d_h d_h"],
    Float[Array, " d_h"],
    Float[Array, "d_h d_out"],
    Float[Array, " d_out"],
]:
    """Backpropagate to every argument, in order (eq. rnn-output-backward)."""
    h, W_y, cache = cache
    dW_y = np.tensordot(h, dlogits, axes=([0, 1], [0, 1]))
    return *rnn_backward(dlogits @ W_y.T, cache), dW_y, dlogits.sum(axis=(0, 1))


def many_to_one_forward(
    x: Float[Array, "batch time d_in"],
    h_0: Float[Array, "batch d_h"],
    W_x: Float[Array, "d_in d_h"],
    W_h: Float[Array, "d_h d_h"],
    b: Float[Array, " d_h"],
    W_y: Float[Array, "d_h d_out"],
    b_y: Float[Array, " d_out"],
) -> tuple[Float[Array, "batch d_out"], tuple]:
    """Read logits out of the last hidden state only (eq. rnn-output)."""
    h, cache = rnn_forward(x, h_0, W_x, W_h, b)
    return h[:, -1] @ W_y + b_y, (h, W_y, cache)


def many_to_one_backward(
    dlogits: Float[Array, "batch d_out"],
    cache: tuple,
) -> tuple[
    Float[Array, "batch time d_in"],
    Float[Array, "batch d_h"],
    Float[Array, "d_in d_h"],
    Float[Array, "d_h d_h"],
    Float[Array, " d_h"],
    Float[Array, "d_h d_out"],
    Float[Array, " d_out"],
]:
    """Backpropagate to every argument, in order (eq. rnn-output-backward)."""
    h, W_y, cache = cache
    dh = np.zeros_like(h)
    dh[:, -1] = dlogits @ W_y.T
    return *rnn_backward(dh, cache), h[:, -1].T @ dlogits, dlogits.sum(axis=0)


def truncated_bptt(
    x: Float[Array, "batch time d_in"],
    h_0: Float[Array, "batch d_h"],
    W_x: Float[Array, "d_in d_h"],
    W_h: Float[Array, "d_h d_h"],
    b: Float[Array, " d_h"],
    dh: Float[Array, "batch time d_h"],
    k: int = 3,
) -> tuple[
    Float[Array, "batch time d_h"],
    Float[Array, "batch time d_in"],
    Float[Array, "batch d_h"],
    Float[Array, "d_in d_h"],
    Float[Array, "d_h d_h"],
    Float[Array, " d_h"],
]:
    """Run a sequence in chunks of k steps: the state goes on, the gradient stops.

    Returns (h, dx, dh_0, dW_x, dW_h, db). dh is what the loss sends to each step; the
    last chunk may be shorter. Raises ValueError unless k is at least 1.
    Eq. rnn-truncated; Williams & Peng 1990.
    """
    if k < 1:
        raise ValueError(f"expected chunks of at least 1 step, got k = {k}")
    h, dx, state, per_chunk = np.empty_like(dh), np.empty_like(x), h_0, []
    for start in range(0, x.shape[1], k):
        chunk = slice(start, start + k)
        h[:, chunk], cache = rnn_forward(x[:, chunk], state, W_x, W_h, b)
        state = h[:, chunk][:, -1]
        dx[:, chunk], *gradients = rnn_backward(dh[:, chunk], cache)
        per_chunk.append(gradients)
    dstates, dW_x, dW_h, db = zip(*per_chunk, strict=True)
    return h, dx, dstates[0], sum(dW_x), sum(dW_h), sum(db)


def gradient_norm_by_lag(
    x: Float[Array, "batch time d_in"],
    h_0: Float[Array, "batch d_h"],
    W_x: Float[Array, "d_in d_h"],
    W_h: Float[Array, "d_h d_h"],
    b: Float[Array, " d_h"],
    dh_T: Float[Array, "batch d_h"],
) -> Float[Array, " time"]:
    """Measure how much of a gradient at the last hidden state reaches the earlier ones.

    Entry k is the norm, over all rows and units, of the gradient at h of step T-k, for
    k = 0, ..., T-1, where the loss uses the last state only (eq. rnn-jacobian).
    """
    h, _ = rnn_forward(x, h_0, W_x, W_h, b)
    dh, norms = dh_T, []
    for t in reversed(range(x.shape[1])):
        norms.append(np.linalg.norm(dh))
        dh = (dh * (1 - h[:, t] ** 2)) @ W_h.T
    return np.array(norms)


def explain_lag_curves(
    norms: Float[Array, "runs lags"],
) -> Int[Array, " runs"]:
    """Say for the gradient norm by lag of each run what happens to the gradient.

    All is relative to lag 0. 0: it survives, with 1/1000 to 1000 at the last lag; 1: it
    vanishes, below 1/1000 there; 2: it explodes, above 1000 or infinite; 3: it is cut,
    exactly 0 from some lag on, though it was at least 1/1000 at the lag before.
    """
    ratio = norms / norms[:, :1]
    last = ratio[:, -1]
    reach = (ratio > 0).sum(axis=1)
    before = ratio[np.arange(len(ratio)), reach - 1]
    cut = (last == 0) & (before >= 1e-3)
    return np.select([cut, last < 1e-3, ~(last <= 1e3)], [3, 1, 2], 0)


def clip_by_global_norm(
    gradients: list[Array], largest: float
) -> tuple[list[Array], float]:
    """Scale all gradients by one factor, to a joint norm of `largest` at most.

    Returns new arrays and the norm before clipping. Raises ValueError unless largest is
    positive. Eq. rnn-clip; Pascanu, Mikolov & Bengio 2013.
    """
    if not largest > 0:
        raise ValueError(f"expected a largest norm above 0, got {largest}")
    norm = float(np.sqrt(sum(np.vdot(gradient, gradient) for gradient in gradients)))
    factor = 1.0 if norm <= largest else largest / norm
    return [factor * gradient for gradient in gradients], norm


def sample_characters(
    first: Int[Array, " batch"],
    h_0: Float[Array, "batch d_h"],
    W_x: Float[Array, "vocabulary d_h"],
    W_h: Float[Array, "d_h d_h"],
    b: Float[Array, " d_h"],
    W_y: Float[Array, "d_h vocabulary"],
    b_y: Float[Array, " vocabulary"],
    uniform: Float[Array, "batch time"],
    temperature: float = 1.0,
) -> Int[Array, "batch time"]:
    """Let a character model write: each character that is drawn is the next input.

    Characters are numbers; `first` is the first input. Step t draws the first character
    at which the summed probabilities exceed uniform[:, t], a number from [0, 1).
    Raises ValueError unless the temperature is positive. Eq. rnn-temperature.
    """
    if not temperature > 0:
        raise ValueError(f"expected a temperature above 0, got {temperature}")
    written, h, one_hot = np.empty(uniform.shape, int), h_0, np.eye(len(W_x))
    character = first
    for t in range(uniform.shape[1]):
        h, _ = rnn_step_forward(one_hot[character], h, W_x, W_h, b)
        p, _ = softmax_forward((h @ W_y + b_y) / temperature)
        below = np.cumsum(p, axis=1) <= uniform[:, t : t + 1]
        character = np.minimum(below.sum(axis=1), p.shape[1] - 1)
        written[:, t] = character
    return written


def tree_forward(
    leaves: Float[Array, "leaves d_h"],
    children: Int[Array, "inner 2"],
    W: Float[Array, "2*d_h d_h"],
    b: Float[Array, " d_h"],
) -> tuple[Float[Array, "leaves+inner d_h"], tuple]:
    """Give every node of a binary tree a vector, by the same weights at each.

    Nodes are numbered: first the leaves, then the inner nodes, of which number j has
    children[j], left and right. Raises ValueError where a child does not come before
    its parent. Eq. rnn-tree; Goller & Küchler 1996.
    """
    parents = len(leaves) + np.arange(len(children))
    if (children < 0).any() or (children >= parents[:, None]).any():
        raise ValueError(
            "expected each child to come before its parent, "
            f"got children {children.tolist()} of nodes {parents.tolist()}"
        )
    h = np.concatenate([leaves, np.empty((len(children), leaves.shape[1]))])
    for parent, (left, right) in zip(parents, children, strict=True):
        h[parent] = np.tanh(np.concatenate([h[left], h[right]]) @ W + b)
    return h, (h, children, W)


def tree_backward(
    dh: Float[Array, "nodes d_h"],
    cache: tuple,
) -> tuple[
    Float[Array, "leaves d_h"],
    Float[Array, "2*d_h d_h"],
    Float[Array, " d_h"],
]:
    """Backpropagate through structure: (dleaves, dW, db) (eq. rnn-tree-backward).

    dh is what the loss sends to each node directly.
    """
    h, children, W = cache
    leaves = len(h) - len(children)
    dh, dW, db = dh.copy(), np.zeros_like(W), np.zeros(W.shape[1])
    for j in reversed(range(len(children))):
        left, right = children[j]
        da = dh[leaves + j] * (1 - h[leaves + j] ** 2)
        dW += np.outer(np.concatenate([h[left], h[right]]), da)
        db += da
        dleft, dright = np.split(W @ da, 2)
        dh[left] += dleft
        dh[right] += dright
    return dh[:leaves], dW, db
