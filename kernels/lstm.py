"""The fused LSTM cell: two matrix products, four gates and the new state in one launch; its backward pass.

The four gates are packed side by side in torch's order i, f, g, o. Sums are taken in float32.
"""

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

from kernels.arguments import check_tensors, want_gradients, whole_rows


@triton.jit
def _sigmoid(x):
    """Squash x to (0, 1); exp sees no number above zero, so it cannot overflow."""
    z = tl.exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0, z) / (1.0 + z)


@triton.jit
def _tanh(x):
    """Squash x to (-1, 1); Triton has no tanh of its own."""
    return 2.0 * _sigmoid(2.0 * x) - 1.0


@triton.jit
def lstm_step_kernel(
    x_ptr, h_ptr, c_ptr, W_x_ptr, W_h_ptr, b_ptr, h_t_ptr, c_t_ptr, gates_ptr,
    batch, d_in, d_h, x_stride, h_stride, c_stride,
    BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute a tile of BLOCK_B rows and BLOCK_H columns of h_t and c_t (eq. lstm-step).

    Program (p, q) has the p-th block of rows and the q-th of columns; it sums products
    by blocks of BLOCK_K. Row r of x starts at x_ptr + r * x_stride, likewise for h and c.
    All else is contiguous: rows of 4 * d_h in the weights, of d_h in h_t and c_t. Unless
    gates_ptr is None, i, f, g, o go there, in rows of 4 * d_h.
    """
    rows = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]
    cols = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)[None, :]
    a_i = tl.zeros((BLOCK_B, BLOCK_H), tl.float32)
    a_f, a_g, a_o = a_i, a_i, a_i
    for start in range(0, d_in, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        x_mask, W_mask = (rows < batch) & (k[None, :] < d_in), (k[:, None] < d_in) & (cols < d_h)
        x = tl.load(x_ptr + rows * x_stride + k[None, :], mask=x_mask, other=0.0)
        W = W_x_ptr + k[:, None] * 4 * d_h + cols
        a_i = tl.dot(x, tl.load(W, mask=W_mask, other=0.0), a_i, input_precision="tf32")
        a_f = tl.dot(x, tl.load(W + d_h, mask=W_mask, other=0.0), a_f, input_precision="tf32")
        a_g = tl.dot(x, tl.load(W + 2 * d_h, mask=W_mask, other=0.0), a_g, input_precision="tf32")
        a_o = tl.dot(x, tl.load(W + 3 * d_h, mask=W_mask, other=0.0), a_o, input_precision="tf32")
    for start in range(0, d_h, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        h_mask, W_mask = (rows < batch) & (k[None, :] < d_h), (k[:, None] < d_h) & (cols < d_h)
        h = tl.load(h_ptr + rows * h_stride + k[None, :], mask=h_mask, other=0.0)
        W = W_h_ptr + k[:, None] * 4 * d_h + cols
        a_i = tl.dot(h, tl.load(W, mask=W_mask, other=0.0), a_i, input_precision="tf32")
        a_f = tl.dot(h, tl.load(W + d_h, mask=W_mask, other=0.0), a_f, input_precision="tf32")
        a_g = tl.dot(h, tl.load(W + 2 * d_h, mask=W_mask, other=0.0), a_g, input_precision="tf32")
        a_o = tl.dot(h, tl.load(W + 3 * d_h, mask=W_mask, other=0.0), a_o, input_precision="tf32")
    i = _sigmoid(a_i + tl.load(b_ptr + cols, mask=cols < d_h, other=0.0))
    f = _sigmoid(a_f + tl.load(b_ptr + d_h + cols, mask=cols < d_h, other=0.0))
    g = _tanh(a_g + tl.load(b_ptr + 2 * d_h + cols, mask=cols < d_h, other=0.0))
    o = _sigmoid(a_o + tl.load(b_ptr + 3 * d_h + cols, mask=cols < d_h, other=0.0))
    mask = (rows < batch) & (cols < d_h)
    c_t = f * tl.load(c_ptr + rows * c_stride + cols, mask=mask, other=0.0) + i * g
    h_t = o * _tanh(c_t)
    tl.store(c_t_ptr + rows * d_h + cols, c_t, mask=mask)
    tl.store(h_t_ptr + rows * d_h + cols, h_t, mask=mask)
    if gates_ptr is not None:
        gates = gates_ptr + rows * 4 * d_h + cols
        tl.store(gates, i, mask=mask)
        tl.store(gates + d_h, f, mask=mask)
        tl.store(gates + 2 * d_h, g, mask=mask)
        tl.store(gates + 3 * d_h, o, mask=mask)


def lstm_step(x, h, c, W_x, W_h, b, gates=None):
    """Launch one program for each tile of (h_t, c_t), on arguments as the kernel wants them."""
    (batch, d_in), d_h = x.shape, h.shape[1]
    h_t = torch.empty((batch, d_h), dtype=x.dtype, device=x.device)
    c_t = torch.empty((batch, d_h), dtype=x.dtype, device=x.device)
    grid = (triton.cdiv(batch, 64), triton.cdiv(d_h, 16))
    lstm_step_kernel[grid](
        x, h, c, W_x, W_h, b, h_t, c_t, gates,
        batch, d_in, d_h, x.stride(0), h.stride(0), c.stride(0),
        BLOCK_B=64, BLOCK_H=16, BLOCK_K=32,
    )  # fmt: skip
    return h_t, c_t


@triton.jit
def lstm_step_backward_kernel(
    dh_ptr, dc_ptr, gates_ptr, c_ptr, c_t_ptr, da_ptr, dc_prev_ptr,
    batch, d_h, c_stride, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """Compute a tile of da, the gradient at the pre-activations, and of dc (eq. lstm-step-backward)."""
    rows = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]
    cols = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)[None, :]
    mask = (rows < batch) & (cols < d_h)
    state, packed = rows * d_h + cols, rows * 4 * d_h + cols
    i = tl.load(gates_ptr + packed, mask=mask, other=0.0)
    f = tl.load(gates_ptr + packed + d_h, mask=mask, other=0.0)
    g = tl.load(gates_ptr + packed + 2 * d_h, mask=mask, other=0.0)
    o = tl.load(gates_ptr + packed + 3 * d_h, mask=mask, other=0.0)
    c = tl.load(c_ptr + rows * c_stride + cols, mask=mask, other=0.0)
    tanh_c = _tanh(tl.load(c_t_ptr + state, mask=mask, other=0.0).to(tl.float32))
    dh = tl.load(dh_ptr + state, mask=mask, other=0.0)
    dc = tl.load(dc_ptr + state, mask=mask, other=0.0) + dh * o * (1 - tanh_c * tanh_c)
    tl.store(da_ptr + packed, dc * g * i * (1 - i), mask=mask)
    tl.store(da_ptr + packed + d_h, dc * c * f * (1 - f), mask=mask)
    tl.store(da_ptr + packed + 2 * d_h, dc * i * (1 - g * g), mask=mask)
    tl.store(da_ptr + packed + 3 * d_h, dh * tanh_c * o * (1 - o), mask=mask)
    tl.store(dc_prev_ptr + state, dc * f, mask=mask)


class _LSTMStep(torch.autograd.Function):
    """The cell with its gradients: the forward pass keeps its gates; the backward's products are torch's."""

    @staticmethod
    def forward(ctx, x, h, c, W_x, W_h, b):
        gates = torch.empty((h.shape[0], 4 * h.shape[1]), dtype=torch.float32, device=x.device)
        h_t, c_t = lstm_step(x, h, c, W_x, W_h, b, gates)
        ctx.save_for_backward(x, h, c, W_x, W_h, gates, c_t)
        return h_t, c_t

    @staticmethod
    @once_differentiable
    def backward(ctx, dh, dc):
        x, h, c, W_x, W_h, gates, c_t = ctx.saved_tensors
        batch, d_h = h.shape
        da = torch.empty((batch, 4 * d_h), dtype=x.dtype, device=x.device)
        dc_prev = torch.empty((batch, d_h), dtype=x.dtype, device=x.device)
        grid = (triton.cdiv(batch, 16), triton.cdiv(d_h, 64))
        lstm_step_backward_kernel[grid](
            dh.contiguous(), dc.contiguous(), gates, c, c_t, da, dc_prev,
            batch, d_h, c.stride(0), BLOCK_B=16, BLOCK_H=64,
        )  # fmt: skip
        return da @ W_x.T, da @ W_h.T, dc_prev, x.T @ da, h.T @ da, da.sum(dim=0)


def lstm_step_forward(x, h, c, W_x, W_h, b):
    """Advance the cell by one time step: (h, c) at t-1 to (h, c) at t; autograd follows (eq. lstm-step).

    x is (batch, d_in), h and c (batch, d_h), W_x (d_in, 4*d_h), W_h (d_h, 4*d_h), b (4*d_h,), of one dtype:
    float32, float16 or, on a GPU, bfloat16. Rows of x, h and c may lie apart; other layouts are copied.
    """
    check_tensors(
        x=(x, "batch d_in"), h=(h, "batch d_h"), c=(c, "batch d_h"),
        W_x=(W_x, "d_in 4*d_h"), W_h=(W_h, "d_h 4*d_h"), b=(b, "4*d_h"),
    )  # fmt: skip
    tensors = (*whole_rows(x, h, c), W_x.contiguous(), W_h.contiguous(), b.contiguous())
    return _LSTMStep.apply(*tensors) if want_gradients(*tensors) else lstm_step(*tensors)
