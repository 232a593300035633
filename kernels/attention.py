"""Flash attention: scores, softmax and weighted sum of the values in one launch, without storing the scores.

Sums are taken in float32. The backward pass stands in kernels/attention_backward.py.
"""

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

from kernels.arguments import check_tensors, want_gradients
from kernels.attention_backward import attention_gradients

LARGEST = {"d_k": 128, "d_v": 128}


@triton.jit
def attention_kernel(
    Q_ptr, K_ptr, V_ptr, Z_ptr, lse_ptr,
    queries, keys, d_k, d_v, scale, CAUSAL: tl.constexpr,
    BLOCK_Q: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_V: tl.constexpr,
):  # fmt: skip
    """Compute BLOCK_Q rows of Z in one head, and the log of each row's sum unless lse_ptr is None.

    Eq. attention-online. Program (p, n) has the p-th block of queries in the n-th head.
    It walks over the keys, BLOCK_T at a time, and keeps for each of its rows the largest
    score so far, the sum of exponentials relative to it, and the values summed with the
    same weights. All arrays are contiguous; a row of d_k or d_v fits into one block.
    """
    head = tl.program_id(1).to(tl.int64)
    first = tl.program_id(0) * BLOCK_Q
    rows = first + tl.arange(0, BLOCK_Q)[:, None]
    k, v = tl.arange(0, BLOCK_K), tl.arange(0, BLOCK_V)[None, :]
    Q_ptr += head * queries * d_k
    K_ptr += head * keys * d_k
    V_ptr += head * keys * d_v
    Q = tl.load(Q_ptr + rows * d_k + k[None, :], mask=(rows < queries) & (k[None, :] < d_k), other=0.0)
    top = tl.full((BLOCK_Q, 1), -3.0e38, tl.float32)  # lower than any score, but finite
    total = tl.zeros((BLOCK_Q, 1), tl.float32)
    Z = tl.zeros((BLOCK_Q, BLOCK_V), tl.float32)
    end = tl.minimum(keys, first + BLOCK_Q) if CAUSAL else keys
    for start in range(0, end, BLOCK_T):
        at = start + tl.arange(0, BLOCK_T)
        K = tl.load(K_ptr + at[None, :] * d_k + k[:, None], mask=(at[None, :] < keys) & (k[:, None] < d_k), other=0.0)
        S = tl.dot(Q, K, input_precision="tf32") * scale
        seen = (at[None, :] < keys) & ((at[None, :] <= rows) | (not CAUSAL))
        S = tl.where(seen, S, float("-inf"))
        new_top = tl.maximum(top, tl.max(S, axis=1)[:, None])
        P = tl.exp(S - new_top)
        rescale = tl.exp(top - new_top)
        total = total * rescale + tl.sum(P, axis=1)[:, None]
        V = tl.load(V_ptr + at[:, None] * d_v + v, mask=(at[:, None] < keys) & (v < d_v), other=0.0)
        Z = tl.dot(P.to(V.dtype), V, Z * rescale, input_precision="tf32")
        top = new_top
    tl.store(Z_ptr + (head * queries + rows) * d_v + v, Z / total, mask=(rows < queries) & (v < d_v))
    if lse_ptr is not None:
        tl.store(lse_ptr + head * queries + rows, top + tl.log(total), mask=rows < queries)


def attention(Q, K, V, causal=False, lse=None):
    """Launch one program for each block of queries in each head, on arguments as the kernel wants them."""
    (batch, heads, queries, d_k), (keys, d_v) = Q.shape, V.shape[2:]
    Z = torch.empty((batch, heads, queries, d_v), dtype=Q.dtype, device=Q.device)
    wider = 4 // Q.element_size()  # of numbers of half the size, twice as many fit
    attention_kernel[(triton.cdiv(queries, 64 * wider), batch * heads)](
        Q, K, V, Z, lse, queries, keys, d_k, d_v, d_k**-0.5,
        CAUSAL=causal, BLOCK_Q=64 * wider, BLOCK_T=32 * wider, num_warps=4 * wider,
        BLOCK_K=max(triton.next_power_of_2(d_k), 16), BLOCK_V=max(triton.next_power_of_2(d_v), 16),
    )  # fmt: skip
    return Z


class _Attention(torch.autograd.Function):
    """Attention that keeps, in place of the weights, the log of each row's sum; the weights are made anew."""

    @staticmethod
    def forward(ctx, Q, K, V, causal):
        lse = torch.empty(Q.shape[:3], dtype=torch.float32, device=Q.device)
        Z = attention(Q, K, V, causal, lse)
        ctx.save_for_backward(Q, K, V, Z, lse)
        ctx.causal = causal
        return Z

    @staticmethod
    @once_differentiable
    def backward(ctx, dZ):
        return *attention_gradients(dZ.contiguous(), *ctx.saved_tensors, ctx.causal), None


def attention_forward(Q, K, V, causal=False):
    """Mix the values by the softmax of Q K^T / sqrt(d_k); autograd follows (eq. attention-sdpa).

    Q is (batch, heads, queries, d_k), K (batch, heads, keys, d_k), V (batch, heads, keys, d_v), of one dtype: float32,
    float16 or, on a GPU, bfloat16. If causal, query t sees keys 0 to t. Layouts other than contiguous ones are copied.
    """
    check_tensors(Q=(Q, "batch heads queries d_k"), K=(K, "batch heads keys d_k"), V=(V, "batch heads keys d_v"))
    if K.shape[2] == 0:
        raise ValueError(f"expected at least one key, got K of {tuple(K.shape)}")
    if not 0 < Q.shape[3] <= LARGEST["d_k"] or not 0 < V.shape[3] <= LARGEST["d_v"]:
        raise ValueError(f"expected d_k and d_v of 1 to {LARGEST['d_k']}, got {Q.shape[3]} and {V.shape[3]}")
    tensors = [tensor.contiguous() for tensor in (Q, K, V)]
    return _Attention.apply(*tensors, causal) if want_gradients(*tensors) else attention(*tensors, causal)
