"""Gram matrices, of which only half is computed: tiled products with their mirror image, forward and backward.

Sums are taken in float32.
"""

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

from kernels.arguments import check_tensors, want_gradients


@triton.jit
def gram_kernel(
    F_ptr, G_ptr, channels, positions, scale, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """Compute one tile of the Gram matrix of one image, and store it twice (eq. gram-tiles).

    Program (p, q, m) has rows of block p and columns of block q of image m; above the
    diagonal, where q > p, it has nothing to do, since the tile is the mirror image of
    tile (q, p). Products are multiplied by scale. Both arrays are contiguous.
    """
    p, q, image = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    if q > p:
        return
    row, col = p * BLOCK_C + tl.arange(0, BLOCK_C), q * BLOCK_C + tl.arange(0, BLOCK_C)
    F_ptr += image * channels * positions
    G_ptr += image * channels * channels
    total = tl.zeros((BLOCK_C, BLOCK_C), tl.float32)
    for start in range(0, positions, BLOCK_P):
        k = start + tl.arange(0, BLOCK_P)
        rows_mask = (row[:, None] < channels) & (k[None, :] < positions)
        cols_mask = (k[:, None] < positions) & (col[None, :] < channels)
        rows = tl.load(F_ptr + row[:, None] * positions + k[None, :], mask=rows_mask, other=0.0)
        cols = tl.load(F_ptr + col[None, :] * positions + k[:, None], mask=cols_mask, other=0.0)
        total = tl.dot(rows, cols, total, input_precision="tf32")
    total *= scale
    mask = (row[:, None] < channels) & (col[None, :] < channels)
    tl.store(G_ptr + row[:, None] * channels + col[None, :], total, mask=mask)
    if q < p:
        mask = (col[:, None] < channels) & (row[None, :] < channels)
        tl.store(G_ptr + col[:, None] * channels + row[None, :], tl.trans(total), mask=mask)


def launch_gram(F, scale):
    """Launch one program for each tile of each image, on features as the kernel wants them."""
    batch, channels, positions = F.shape
    G = torch.empty((batch, channels, channels), dtype=F.dtype, device=F.device)
    block = 64 if channels <= 64 else 128
    grid = (triton.cdiv(channels, block), triton.cdiv(channels, block), batch)
    gram_kernel[grid](F, G, channels, positions, scale, BLOCK_C=block, BLOCK_P=32, num_warps=block // 16)
    return G


@triton.jit
def gram_backward_kernel(
    dG_ptr, F_ptr, dF_ptr, channels, positions, scale,
    BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute BLOCK_C channels of dF at BLOCK_P positions of one image (eq. gram-backward).

    Program (p, q, m) has the p-th block of positions and the q-th of channels of image m. Each
    tile of dG is added to its mirror image as it is loaded; the sum is never stored.
    """
    at = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)[None, :]
    row = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)[:, None]
    image = tl.program_id(2).to(tl.int64)
    dG_ptr += image * channels * channels
    F_ptr += image * channels * positions
    total = tl.zeros((BLOCK_C, BLOCK_P), tl.float32)
    for start in range(0, channels, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        mask = (row < channels) & (k[None, :] < channels)
        dG = tl.load(dG_ptr + row * channels + k[None, :], mask=mask, other=0.0).to(tl.float32)
        dG += tl.load(dG_ptr + k[None, :] * channels + row, mask=mask, other=0.0).to(tl.float32)
        F_mask = (k[:, None] < channels) & (at < positions)
        F = tl.load(F_ptr + k[:, None] * positions + at, mask=F_mask, other=0.0)
        total = tl.dot(dG.to(F.dtype), F, total, input_precision="tf32")
    mask = (row < channels) & (at < positions)
    tl.store(dF_ptr + image * channels * positions + row * positions + at, total * scale, mask=mask)


class _Gram(torch.autograd.Function):
    """The Gram matrix with its gradient, which is a product of the same features."""

    @staticmethod
    def forward(ctx, F, scale):
        ctx.save_for_backward(F)
        ctx.scale = scale
        return launch_gram(F, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx, dG):
        (F,) = ctx.saved_tensors
        batch, channels, positions = F.shape
        dF = torch.empty_like(F)
        grid = (triton.cdiv(positions, 128), triton.cdiv(channels, 64), batch)
        gram_backward_kernel[grid](
            dG.contiguous(), F, dF, channels, positions, ctx.scale, BLOCK_C=64, BLOCK_P=128, BLOCK_K=32
        )
        return dF, None


def gram_forward(F, normalize="positions"):
    """Return the inner products of all pairs of channels of each image; autograd follows (eq. gram).

    F is (batch, channels, positions): float32, float16 or, on a GPU, bfloat16. Layouts other than contiguous ones are
    copied. "positions" divides by the number of positions, "all" by that of all features of an image.
    """
    check_tensors(F=(F, "batch channels positions"))
    divisors = {"positions": F.shape[2], "all": F.shape[1] * F.shape[2], "none": 1}
    if normalize not in divisors or 0 in F.shape:
        got = f"{normalize!r} and shape {tuple(F.shape)}"
        raise ValueError(f"expected normalize out of {', '.join(divisors)} and some features, got {got}")
    F, scale = F.contiguous(), 1 / divisors[normalize]
    return _Gram.apply(F, scale) if want_gradients(F) else launch_gram(F, scale)
