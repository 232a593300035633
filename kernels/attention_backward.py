"""The backward pass of flash attention: the weights are made anew from the log of each row's sum, block by block.

Two kernels, so that no two programs add to the same numbers: one owns blocks of queries, the other blocks of keys.
"""

import torch
import triton
import triton.language as tl


@triton.jit
def _block(ptr, first, length, width, LENGTH: tl.constexpr, WIDTH: tl.constexpr):
    """Load LENGTH rows of a matrix from row `first` on, filled up with zeros."""
    rows, cols = first + tl.arange(0, LENGTH)[:, None], tl.arange(0, WIDTH)[None, :]
    return tl.load(ptr + rows * width + cols, mask=(rows < length) & (cols < width), other=0.0)


@triton.jit
def attention_mean_kernel(
    dZ_ptr, Z_ptr, mean_ptr, rows, d_v, BLOCK_Q: tl.constexpr, BLOCK_V: tl.constexpr
):  # fmt: skip
    """Compute the sum of dZ * Z in each of BLOCK_Q rows: the mean of dP under P (eq. attention-backward-mean)."""
    row = tl.program_id(0).to(tl.int64) * BLOCK_Q + tl.arange(0, BLOCK_Q)[:, None]
    v = tl.arange(0, BLOCK_V)[None, :]
    mask = (row < rows) & (v < d_v)
    dZ = tl.load(dZ_ptr + row * d_v + v, mask=mask, other=0.0).to(tl.float32)
    Z = tl.load(Z_ptr + row * d_v + v, mask=mask, other=0.0).to(tl.float32)
    tl.store(mean_ptr + row, tl.sum(dZ * Z, axis=1)[:, None], mask=row < rows)


@triton.jit
def attention_dq_kernel(
    Q_ptr, K_ptr, V_ptr, dZ_ptr, lse_ptr, mean_ptr, dQ_ptr,
    queries, keys, d_k, d_v, scale, CAUSAL: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):  # fmt: skip
    """Compute BLOCK_Q rows of dQ in one head by a walk over its keys (eq. attention-sdpa-backward)."""
    head, first = tl.program_id(1).to(tl.int64), tl.program_id(0) * BLOCK_Q
    rows = first + tl.arange(0, BLOCK_Q)
    Q = _block(Q_ptr + head * queries * d_k, first, queries, d_k, BLOCK_Q, BLOCK_K)
    dZ = _block(dZ_ptr + head * queries * d_v, first, queries, d_v, BLOCK_Q, BLOCK_V)
    lse = tl.load(lse_ptr + head * queries + rows, mask=rows < queries, other=0.0)[:, None]
    mean = tl.load(mean_ptr + head * queries + rows, mask=rows < queries, other=0.0)[:, None]
    dQ = tl.zeros((BLOCK_Q, BLOCK_K), tl.float32)
    end = tl.minimum(keys, first + BLOCK_Q) if CAUSAL else keys
    for start in range(0, end, BLOCK_T):
        at = start + tl.arange(0, BLOCK_T)[None, :]
        K = _block(K_ptr + head * keys * d_k, start, keys, d_k, BLOCK_T, BLOCK_K)
        V = _block(V_ptr + head * keys * d_v, start, keys, d_v, BLOCK_T, BLOCK_V)
        S = tl.dot(Q, tl.trans(K), input_precision="tf32") * scale
        seen = (at < keys) & ((at <= rows[:, None]) | (not CAUSAL))
        P = tl.exp(tl.where(seen, S - lse, float("-inf")))
        dP = tl.dot(dZ, tl.trans(V), input_precision="tf32")
        dS = P * (dP - mean)
        dQ = tl.dot(dS.to(K.dtype), K, dQ, input_precision="tf32")
    k = tl.arange(0, BLOCK_K)[None, :]
    mask = (rows[:, None] < queries) & (k < d_k)
    tl.store(dQ_ptr + (head * queries + rows[:, None]) * d_k + k, dQ * scale, mask=mask)


@triton.jit
def attention_dkv_kernel(
    Q_ptr, K_ptr, V_ptr, dZ_ptr, lse_ptr, mean_ptr, dK_ptr, dV_ptr,
    queries, keys, d_k, d_v, scale, CAUSAL: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):  # fmt: skip
    """Compute BLOCK_T rows of dK and dV in one head by a walk over its queries (eq. attention-sdpa-backward).

    The scores are turned around: a row of S is a key, a column a query.
    """
    head, first = tl.program_id(1).to(tl.int64), tl.program_id(0) * BLOCK_T
    at = first + tl.arange(0, BLOCK_T)[:, None]
    K = _block(K_ptr + head * keys * d_k, first, keys, d_k, BLOCK_T, BLOCK_K)
    V = _block(V_ptr + head * keys * d_v, first, keys, d_v, BLOCK_T, BLOCK_V)
    dK = tl.zeros((BLOCK_T, BLOCK_K), tl.float32)
    dV = tl.zeros((BLOCK_T, BLOCK_V), tl.float32)
    begin = first // BLOCK_Q * BLOCK_Q if CAUSAL else 0
    for start in range(begin, queries, BLOCK_Q):
        rows = start + tl.arange(0, BLOCK_Q)
        Q = _block(Q_ptr + head * queries * d_k, start, queries, d_k, BLOCK_Q, BLOCK_K)
        dZ = _block(dZ_ptr + head * queries * d_v, start, queries, d_v, BLOCK_Q, BLOCK_V)
        lse = tl.load(lse_ptr + head * queries + rows, mask=rows < queries, other=0.0)[None, :]
        mean = tl.load(mean_ptr + head * queries + rows, mask=rows < queries, other=0.0)[None, :]
        S = tl.dot(K, tl.trans(Q), input_precision="tf32") * scale
        seen = (rows[None, :] < queries) & ((at <= rows[None, :]) | (not CAUSAL))
        P = tl.exp(tl.where(seen, S - lse, float("-inf")))
        dV = tl.dot(P.to(dZ.dtype), dZ, dV, input_precision="tf32")
        dP = tl.dot(V, tl.trans(dZ), input_precision="tf32")
        dS = P * (dP - mean)
        dK = tl.dot(dS.to(Q.dtype), Q, dK, input_precision="tf32")
    k, v = tl.arange(0, BLOCK_K)[None, :], tl.arange(0, BLOCK_V)[None, :]
    tl.store(dK_ptr + (head * keys + at) * d_k + k, dK * scale, mask=(at < keys) & (k < d_k))
    tl.store(dV_ptr + (head * keys + at) * d_v + v, dV, mask=(at < keys) & (v < d_v))


def attention_gradients(dZ, Q, K, V, Z, lse, causal):
    """Return (dQ, dK, dV) of contiguous tensors; three launches (eq. attention-sdpa-backward)."""
    (batch, heads, queries, d_k), (keys, d_v) = Q.shape, V.shape[2:]
    dQ, dK, dV = (torch.empty(tensor.shape, dtype=Q.dtype, device=Q.device) for tensor in (Q, K, V))
    mean = torch.empty(lse.shape, dtype=torch.float32, device=Q.device)
    block_k, block_v = (max(triton.next_power_of_2(d), 16) for d in (d_k, d_v))
    attention_mean_kernel[(triton.cdiv(mean.numel(), 64),)](dZ, Z, mean, mean.numel(), d_v, BLOCK_Q=64, BLOCK_V=block_v)
    sizes = (queries, keys, d_k, d_v, d_k**-0.5, causal)
    blocks = {"BLOCK_K": block_k, "BLOCK_V": block_v, "num_warps": 8}
    attention_dq_kernel[(triton.cdiv(queries, 64), batch * heads)](
        Q, K, V, dZ, lse, mean, dQ, *sizes, BLOCK_Q=64, BLOCK_T=32, **blocks
    )
    attention_dkv_kernel[(triton.cdiv(keys, 64), batch * heads)](
        Q, K, V, dZ, lse, mean, dK, dV, *sizes, BLOCK_Q=32, BLOCK_T=64, **blocks
    )
    return dQ, dK, dV
