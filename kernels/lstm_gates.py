"""Tiles of several gates that lie side by side in memory: load them, store them, multiply by their weights.

All kernels of the family use them but the plain cell's, which spells its four gates out. A tuple has a tile for each
gate; a loop over it is unrolled while the kernel is compiled.
"""

import triton
import triton.language as tl


@triton.jit
def _load_gates(ptr, rows, cols, d_h, mask, GATES: tl.constexpr):
    """Load the columns cols of each gate, from rows of GATES * d_h entries."""
    gates = ()
    for gate in tl.static_range(GATES):
        gates += (tl.load(ptr + (rows * GATES + gate) * d_h + cols, mask=mask, other=0.0),)
    return gates


@triton.jit
def _store_gates(ptr, gates, rows, cols, d_h, mask):
    """Store a tile for each gate, into rows of len(gates) * d_h entries."""
    for gate in tl.static_range(len(gates)):
        tl.store(ptr + (rows * len(gates) + gate) * d_h + cols, gates[gate], mask=mask)


@triton.jit
def _add_products(
    sums, left_ptr, left_stride, W_ptr, W_stride, rows, cols, batch, inner, d_h, BLOCK_K: tl.constexpr
):  # fmt: skip
    """Add left @ W to the tile of each gate, block by block along the inner axis.

    Row r of left starts at left_ptr + r * left_stride, row k of W at W_ptr + k * W_stride, with one gate every d_h.
    """
    for start in range(0, inner, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        left_mask, W_mask = (rows < batch) & (k[None, :] < inner), (k[:, None] < inner) & (cols < d_h)
        left = tl.load(left_ptr + rows * left_stride + k[None, :], mask=left_mask, other=0.0)
        added = ()
        for gate in tl.static_range(len(sums)):
            W = tl.load(W_ptr + k[:, None] * W_stride + gate * d_h + cols, mask=W_mask, other=0.0)
            added += (tl.dot(left, W, sums[gate], input_precision="tf32"),)
        sums = added
    return sums
