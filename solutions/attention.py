"""Attention: additive scores, scaled dot products, masks, heads, online softmax.

Q, K, V hold a row for each query, key and value. A mask is true where a query may look.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from solutions.activations import softmax_backward, softmax_forward

Array = np.ndarray


def general_scores_forward(
    h: Float[Array, "batch d_h"],
    a: Float[Array, "batch keys d_a"],
    W: Float[Array, "d_h d_a"],
) -> tuple[Float[Array, "batch keys"], tuple]:
    """Score every key by h W a_i; with W = I a dot product (eq. attention-general).

    Luong et al. 2015.
    """
    q = h @ W
    return (a @ q[:, :, None])[:, :, 0], (h, a, W, q)


def general_scores_backward(
    de: Float[Array, "batch keys"],
    cache: tuple,
) -> tuple[
    Float[Array, "batch d_h"],
    Float[Array, "batch keys d_a"],
    Float[Array, "d_h d_a"],
]:
    """Return (dh, da, dW) (eq. attention-general-backward)."""
    h, a, W, q = cache
    dq = (de[:, None] @ a)[:, 0]
    return dq @ W.T, de[:, :, None] * q[:, None], h.T @ dq


def additive_attention_forward(
    h: Float[Array, "batch d_h"],
    a: Float[Array, "batch keys d_a"],
    W_h: Float[Array, "d_h d_e"],
    W_a: Float[Array, "d_a d_e"],
    v: Float[Array, " d_e"],
) -> tuple[Float[Array, "batch d_a"], Float[Array, "batch keys"], tuple]:
    """Return the context vector and the weights of one decoder step.

    Eq. attention-additive; Bahdanau et al. 2015, for captions Xu et al. 2015.
    """
    u = np.tanh((h @ W_h)[:, None] + a @ W_a)
    alpha, softmax_cache = softmax_forward(u @ v, axis=1)
    z = (alpha[:, None] @ a)[:, 0]
    return z, alpha, (h, a, W_h, W_a, v, u, alpha, softmax_cache)


def additive_attention_backward(
    dz: Float[Array, "batch d_a"],
    dalpha: Float[Array, "batch keys"],
    cache: tuple,
) -> tuple[
    Float[Array, "batch d_h"],
    Float[Array, "batch keys d_a"],
    Float[Array, "d_h d_e"],
    Float[Array, "d_a d_e"],
    Float[Array, " d_e"],
]:
    """Return (dh, da, dW_h, dW_a, dv) (eq. attention-additive-backward)."""
    h, a, W_h, W_a, v, u, alpha, softmax_cache = cache
    dalpha = dalpha + (a @ dz[:, :, None])[:, :, 0]
    de = softmax_backward(dalpha, softmax_cache)
    ds = de[:, :, None] * v * (1 - u**2)
    ds_h = ds.sum(axis=1)
    da = alpha[:, :, None] * dz[:, None] + ds @ W_a.T
    dW_a = np.tensordot(a, ds, axes=([0, 1], [0, 1]))
    dv = np.tensordot(de, u, axes=([0, 1], [0, 1]))
    return ds_h @ W_h.T, da, h.T @ ds_h, dW_a, dv


def image_regions(
    features: Float[Array, "batch channels height width"],
) -> Float[Array, "batch height*width channels"]:
    """Lay out a feature map as an annotation for each place (eq. attention-regions)."""
    batch, channels, height, width = features.shape
    return features.reshape(batch, channels, height * width).swapaxes(1, 2)


def attention_weights(
    S: Float[Array, "batch queries keys"],
    lengths: Int[Array, " batch"],
    causal: bool,
) -> Float[Array, "batch queries keys"]:
    """Turn scores into weights: none for padding and, if causal, none for the future.

    A sequence has lengths[m] keys, then padding; query t sees keys 0 to t. A row that
    sees nothing gets zeros (eq. attention-masks).
    """
    place = np.arange(S.shape[2])
    seen = np.broadcast_to(place < lengths[:, None, None], S.shape)
    if causal:
        seen = seen & (place <= np.arange(S.shape[1])[:, None])
    scores = np.where(seen, S, -np.inf)
    top = scores.max(axis=2, keepdims=True)
    e = np.exp(scores - np.where(top == -np.inf, 0.0, top))
    total = e.sum(axis=2, keepdims=True)
    return e / np.where(total == 0.0, 1.0, total)


def masked_softmax_forward(
    S: Float[Array, "*shape"], mask: Bool[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], tuple]:
    """Turn scores into weights along the last axis, zero where the mask is false.

    A row that is masked all over gets zeros (eq. attention-masked-softmax).
    """
    scores = np.where(mask, S, -np.inf)
    top = scores.max(axis=-1, keepdims=True)
    e = np.exp(scores - np.where(top == -np.inf, 0.0, top))
    total = e.sum(axis=-1, keepdims=True)
    P = e / np.where(total == 0.0, 1.0, total)
    return P, (P,)


def masked_softmax_backward(
    dP: Float[Array, "*shape"], cache: tuple
) -> Float[Array, "*shape"]:
    """Multiply by the Jacobian of each row (eq. attention-masked-softmax)."""
    (P,) = cache
    return P * (dP - (dP * P).sum(axis=-1, keepdims=True))


def attention_forward(
    Q: Float[Array, "batch heads queries d_k"],
    K: Float[Array, "batch heads keys d_k"],
    V: Float[Array, "batch heads keys d_v"],
    causal: Literal[False, True] = False,
) -> tuple[Float[Array, "batch heads queries d_v"], tuple]:
    """Mix the values by the softmax of Q K^T / sqrt(d_k), one head at a time.

    If causal, query t sees keys 0 to t. Weights are not kept: the cache has the log of
    each row's sum instead. Raises ValueError where there is no key.
    Eq. attention-sdpa; Vaswani et al. 2017.
    """
    (*heads, queries, d_k), keys = Q.shape, K.shape[2]
    if keys == 0:
        raise ValueError(f"expected at least one key, got K of shape {K.shape}")
    Z = np.empty((*heads, queries, V.shape[3]), Q.dtype)
    lse, S = np.empty((*heads, queries), Q.dtype), np.empty((queries, keys), Q.dtype)
    hidden = np.arange(keys) > np.arange(queries)[:, None]
    for head in np.ndindex(*heads):
        np.matmul(Q[head] / d_k**0.5, K[head].T, out=S)
        if causal:
            S[hidden] = -np.inf
        top = S.max(axis=1, keepdims=True)
        P = np.exp(np.subtract(S, top, out=S), out=S)
        total = P.sum(axis=1, keepdims=True)
        Z[head] = P @ V[head] / total
        lse[head] = (top + np.log(total))[:, 0]
    return Z, (Q, K, V, causal, Z, lse)


def attention_backward(
    dZ: Float[Array, "batch heads queries d_v"], cache: tuple
) -> tuple[
    Float[Array, "batch heads queries d_k"],
    Float[Array, "batch heads keys d_k"],
    Float[Array, "batch heads keys d_v"],
]:
    """Return (dQ, dK, dV); each head's weights are made anew.

    The mean of dP under P, which softmax subtracts, is dZ . Z in each row.
    Eq. attention-sdpa-backward, attention-backward-mean.
    """
    Q, K, V, causal, Z, lse = cache
    (*heads, queries, d_k), keys = Q.shape, K.shape[2]
    dQ, dK, dV = np.empty_like(Q), np.empty_like(K), np.empty_like(V)
    hidden = np.arange(keys) > np.arange(queries)[:, None]
    for head in np.ndindex(*heads):
        S = Q[head] @ K[head].T / d_k**0.5
        if causal:
            S[hidden] = -np.inf
        P = np.exp(S - lse[head][:, None])
        dV[head] = P.T @ dZ[head]
        dP = dZ[head] @ V[head].T
        mean = (dZ[head] * Z[head]).sum(axis=1, keepdims=True)
        dS = P * (dP - mean)
        dQ[head] = dS @ K[head] / d_k**0.5
        dK[head] = dS.T @ Q[head] / d_k**0.5
    return dQ, dK, dV


def split_heads(
    x: Float[Array, "batch time d_model"], heads: int
) -> Float[Array, "batch heads time d_head"]:
    """Cut every row into heads and put them in front of time (eq. attention-split).

    Raises ValueError where the features cannot be shared out evenly.
    """
    batch, time, d_model = x.shape
    if heads < 1 or d_model % heads:
        raise ValueError(f"expected heads that divide d_model {d_model}, got {heads}")
    return x.reshape(batch, time, heads, d_model // heads).swapaxes(1, 2)


def merge_heads(
    x: Float[Array, "batch heads time d_head"],
) -> Float[Array, "batch time d_model"]:
    """Undo split_heads: the heads of a row side by side (eq. attention-split)."""
    batch, heads, time, d_head = x.shape
    return x.swapaxes(1, 2).reshape(batch, time, heads * d_head)


def multi_head_attention_forward(
    x: Float[Array, "batch queries d_model"],
    m: Float[Array, "batch keys d_memory"],
    W_q: Float[Array, "heads d_model d_k"],
    W_k: Float[Array, "heads d_memory d_k"],
    W_v: Float[Array, "heads d_memory d_v"],
    W_o: Float[Array, "heads d_v d_out"],
    mask: Bool[Array, "batch queries keys"],
) -> tuple[Float[Array, "batch queries d_out"], tuple]:
    """Let several heads look from x at m, and add up what they bring.

    Self-attention is m = x. Eq. attention-heads; Vaswani et al. 2017.
    """
    Q, K, V = x[:, None] @ W_q, m[:, None] @ W_k, m[:, None] @ W_v
    S = Q @ K.swapaxes(2, 3) / W_q.shape[2] ** 0.5
    P, (P,) = masked_softmax_forward(S, np.broadcast_to(mask[:, None], S.shape))
    Z = P @ V
    return (Z @ W_o).sum(axis=1), (x, m, W_q, W_k, W_v, W_o, Q, K, V, P, Z)


def multi_head_attention_backward(
    dy: Float[Array, "batch queries d_out"],
    cache: tuple,
) -> tuple[
    Float[Array, "batch queries d_model"],
    Float[Array, "batch keys d_memory"],
    Float[Array, "heads d_model d_k"],
    Float[Array, "heads d_memory d_k"],
    Float[Array, "heads d_memory d_v"],
    Float[Array, "heads d_v d_out"],
]:
    """Return (dx, dm, dW_q, dW_k, dW_v, dW_o) (eq. attention-heads-backward)."""
    x, m, W_q, W_k, W_v, W_o, Q, K, V, P, Z = cache
    dy, x, m = dy[:, None], x[:, None], m[:, None]
    dZ = dy @ W_o.swapaxes(1, 2)
    dV = P.swapaxes(2, 3) @ dZ
    dS = masked_softmax_backward(dZ @ V.swapaxes(2, 3), (P,))
    dQ = dS @ K / W_q.shape[2] ** 0.5
    dK = dS.swapaxes(2, 3) @ Q / W_q.shape[2] ** 0.5
    dx = (dQ @ W_q.swapaxes(1, 2)).sum(axis=1)
    dm = (dK @ W_k.swapaxes(1, 2) + dV @ W_v.swapaxes(1, 2)).sum(axis=1)
    weights = ((x, dQ), (m, dK), (m, dV), (Z, dy))
    return dx, dm, *((left.swapaxes(2, 3) @ d).sum(axis=0) for left, d in weights)


def online_softmax_step(
    S: Float[Array, "queries block"],
    V: Float[Array, "block d_v"],
    top: Float[Array, " queries"],
    total: Float[Array, " queries"],
    Z: Float[Array, "queries d_v"],
) -> tuple[
    Float[Array, " queries"], Float[Array, " queries"], Float[Array, "queries d_v"]
]:
    """Take in one more block of keys: the new (top, total, Z).

    top is the largest score so far, total the sum of exponentials relative to it, and Z
    the values summed with the same weights, not yet divided. All start at -inf, 0, 0
    (eq. attention-online; Milakov & Gimelshein 2018).
    """
    new_top = np.maximum(top, S.max(axis=1))
    reference = np.where(new_top == -np.inf, 0.0, new_top)
    rescale = np.exp(top - reference)
    E = np.exp(S - reference[:, None])
    new_total = total * rescale + E.sum(axis=1)
    return new_top, new_total, Z * rescale[:, None] + E @ V


def online_attention(
    Q: Float[Array, "queries d_k"],
    K: Float[Array, "keys d_k"],
    V: Float[Array, "keys d_v"],
    block: int,
) -> Float[Array, "queries d_v"]:
    """Compute attention in one walk over the keys, block by block.

    No more than queries x block scores exist at a time (eq. attention-online).
    """
    top, total = np.full(len(Q), -np.inf), np.zeros(len(Q))
    Z = np.zeros((len(Q), V.shape[1]))
    for j in range(0, len(K), block):
        S = Q @ K[j : j + block].T / Q.shape[1] ** 0.5
        top, total, Z = online_softmax_step(S, V[j : j + block], top, total, Z)
    return Z / total[:, None]


def attention_layer(
    x: Float[Array, "queries d_in"],
    m: Float[Array, "keys d_in"],
    W_q: Float[Array, "d_in d_k"],
    W_k: Float[Array, "d_in d_k"],
    W_v: Float[Array, "d_in d_v"],
    positions: Float[Array, "time d_in"],
    kind: Literal["plain", "pooled", "positions", "placed keys", "causal"],
) -> Float[Array, "rows d_v"]:
    """Let x look at m in a layer of some kind; self-attention is m = x.

    "pooled" averages the rows that come out. "positions" adds a vector for each place
    to x and m, "placed keys" to m only. Eq. attention-equivariant.
    """
    if kind == "positions":
        x = x + positions[: len(x)]
    if kind in ("positions", "placed keys"):
        m = m + positions[: len(m)]
    Q, K, V = (part[None, None] for part in (x @ W_q, m @ W_k, m @ W_v))
    y = attention_forward(Q, K, V, kind == "causal")[0][0, 0]
    return y.mean(axis=0, keepdims=True) if kind == "pooled" else y


def which_symmetry(
    x: Float[Array, "time d_in"],
    W_q: Float[Array, "d_in d_k"],
    W_k: Float[Array, "d_in d_k"],
    W_v: Float[Array, "d_in d_v"],
    positions: Float[Array, "time d_in"],
    order: Int[Array, " time"],
    kind: Literal["plain", "pooled", "positions", "placed keys", "causal"],
) -> Int[Array, ""]:
    """Say what self-attention of some kind does when its rows come in another order.

    0: its output comes in that order too, equivariant; 1: it is the same as before,
    invariant; 2: neither. Eq. attention-equivariant.
    """
    weights = (W_q, W_k, W_v, positions, kind)
    before = attention_layer(x, x, *weights)
    after = attention_layer(x[order], x[order], *weights)
    if np.allclose(after, before):
        return np.array(1)
    same = len(before) == len(order) and np.allclose(after, before[order])
    return np.array(0 if same else 2)


def which_attention(
    Q: Float[Array, "time d_k"],
    K: Float[Array, "time d_k"],
    V: Float[Array, "time d_v"],
    Z: Float[Array, "answers time d_v"],
) -> Int[Array, " answers"]:
    """Say of each answer to causal self-attention by which slip it was made.

    0 none; 1 not divided by sqrt(d_k); 2 no mask; 3 softmax over the queries; 4 masked
    after the softmax. The slip is the one whose output lies nearest.
    """
    S = Q @ K.T / Q.shape[1] ** 0.5
    seen = np.tril(np.ones_like(S, dtype=bool))
    everything = np.ones_like(seen)
    weights = [
        masked_softmax_forward(S, seen)[0],
        masked_softmax_forward(Q @ K.T, seen)[0],
        masked_softmax_forward(S, everything)[0],
        masked_softmax_forward(S.T, seen.T)[0].T,
        masked_softmax_forward(S, everything)[0] * seen,
    ]
    gaps = np.abs(Z[:, None] - np.array([P @ V for P in weights]))
    return gaps.max(axis=(2, 3)).argmin(axis=1)
