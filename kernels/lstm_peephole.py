"""The fused LSTM cell with peepholes: gates that see the memory, in one launch; its backward pass.

A peephole is elementwise, so it costs three rows of weights and no product. The output gate looks at the new
cell, which the program has in registers by then.
"""

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

from kernels.arguments import check_tensors, want_gradients, whole_rows
from kernels.lstm import _sigmoid, _tanh
from kernels.lstm_gates import _add_products, _load_gates, _store_gates


@triton.jit
def lstm_peephole_step_kernel(
    x_ptr, h_ptr, c_ptr, W_x_ptr, W_h_ptr, b_ptr, p_i_ptr, p_f_ptr, p_o_ptr, h_t_ptr, c_t_ptr, gates_ptr,
    batch, d_in, d_h, x_stride, h_stride, c_stride,
    BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute a tile of BLOCK_B rows and BLOCK_H columns of h_t and c_t (eq. lstm-peephole).

    Unless gates_ptr is None, i, f, g, o go there, in rows of 4 * d_h.
    """
    rows = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]
    cols = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)[None, :]
    zero = tl.zeros((BLOCK_B, BLOCK_H), tl.float32)
    sums = (zero, zero, zero, zero)
    sums = _add_products(sums, x_ptr, x_stride, W_x_ptr, 4 * d_h, rows, cols, batch, d_in, d_h, BLOCK_K)
    sums = _add_products(sums, h_ptr, h_stride, W_h_ptr, 4 * d_h, rows, cols, batch, d_h, d_h, BLOCK_K)
    a_i, a_f, a_g, a_o = sums
    b_i, b_f, b_g, b_o = _load_gates(b_ptr, 0, cols, d_h, cols < d_h, 4)
    p_i = tl.load(p_i_ptr + cols, mask=cols < d_h, other=0.0)
    p_f = tl.load(p_f_ptr + cols, mask=cols < d_h, other=0.0)
    p_o = tl.load(p_o_ptr + cols, mask=cols < d_h, other=0.0)
    mask = (rows < batch) & (cols < d_h)
    c = tl.load(c_ptr + rows * c_stride + cols, mask=mask, other=0.0).to(tl.float32)
    i, f, g = _sigmoid(a_i + b_i + p_i * c), _sigmoid(a_f + b_f + p_f * c), _tanh(a_g + b_g)
    c_t = f * c + i * g
    o = _sigmoid(a_o + b_o + p_o * c_t)
    tl.store(c_t_ptr + rows * d_h + cols, c_t, mask=mask)
    tl.store(h_t_ptr + rows * d_h + cols, o * _tanh(c_t), mask=mask)
    if gates_ptr is not None:
        _store_gates(gates_ptr, (i, f, g, o), rows, cols, d_h, mask)


def _launch(x, h, c, W_x, W_h, b, p_i, p_f, p_o, gates=None):
    """Launch one program for each tile of (h_t, c_t)."""
    (batch, d_in), d_h = x.shape, h.shape[1]
    h_t = torch.empty((batch, d_h), dtype=x.dtype, device=x.device)
    c_t = torch.empty((batch, d_h), dtype=x.dtype, device=x.device)
    grid = (triton.cdiv(batch, 64), triton.cdiv(d_h, 16))
    lstm_peephole_step_kernel[grid](
        x, h, c, W_x, W_h, b, p_i, p_f, p_o, h_t, c_t, gates,
        batch, d_in, d_h, x.stride(0), h.stride(0), c.stride(0),
        BLOCK_B=64, BLOCK_H=16, BLOCK_K=32,
    )  # fmt: skip
    return h_t, c_t


@triton.jit
def lstm_peephole_step_backward_kernel(
    dh_ptr, dc_ptr, gates_ptr, c_ptr, c_t_ptr, p_i_ptr, p_f_ptr, p_o_ptr, da_ptr, dc_prev_ptr, dp_ptr,
    batch, d_h, c_stride, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """Compute a tile of da and of dc at t-1, and its part of the sums dp (eq. lstm-peephole-backward).

    Row block p of the batch adds its rows to dp_i, dp_f, dp_o, which lie side by side in row p of dp.
    """
    rows = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]
    cols = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)[None, :]
    mask = (rows < batch) & (cols < d_h)
    state = rows * d_h + cols
    i, f, g, o = _load_gates(gates_ptr, rows, cols, d_h, mask, 4)
    c = tl.load(c_ptr + rows * c_stride + cols, mask=mask, other=0.0).to(tl.float32)
    c_t = tl.load(c_t_ptr + state, mask=mask, other=0.0).to(tl.float32)
    tanh_c = _tanh(c_t)
    dh = tl.load(dh_ptr + state, mask=mask, other=0.0).to(tl.float32)
    dc = tl.load(dc_ptr + state, mask=mask, other=0.0).to(tl.float32)
    p_i = tl.load(p_i_ptr + cols, mask=cols < d_h, other=0.0)
    p_f = tl.load(p_f_ptr + cols, mask=cols < d_h, other=0.0)
    p_o = tl.load(p_o_ptr + cols, mask=cols < d_h, other=0.0)
    da_o = dh * tanh_c * o * (1 - o)
    dc += dh * o * (1 - tanh_c * tanh_c) + da_o * p_o
    da_i, da_f, da_g = dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g * g)
    _store_gates(da_ptr, (da_i, da_f, da_g, da_o), rows, cols, d_h, mask)
    tl.store(dc_prev_ptr + state, dc * f + da_i * p_i + da_f * p_f, mask=mask)
    dp_i, dp_f, dp_o = tl.sum(da_i * c, axis=0), tl.sum(da_f * c, axis=0), tl.sum(da_o * c_t, axis=0)
    dp = (dp_i[None, :], dp_f[None, :], dp_o[None, :])
    _store_gates(dp_ptr, dp, tl.program_id(0), cols, d_h, cols < d_h)


class _LSTMPeepholeStep(torch.autograd.Function):
    """The cell with its gradients; the products of the backward pass are torch's."""

    @staticmethod
    def forward(ctx, x, h, c, W_x, W_h, b, p_i, p_f, p_o):
        gates = torch.empty((h.shape[0], 4 * h.shape[1]), dtype=torch.float32, device=x.device)
        h_t, c_t = _launch(x, h, c, W_x, W_h, b, p_i, p_f, p_o, gates)
        ctx.save_for_backward(x, h, c, W_x, W_h, p_i, p_f, p_o, gates, c_t)
        return h_t, c_t

    @staticmethod
    @once_differentiable
    def backward(ctx, dh, dc):
        x, h, c, W_x, W_h, p_i, p_f, p_o, gates, c_t = ctx.saved_tensors
        batch, d_h = h.shape
        grid = (triton.cdiv(batch, 16), triton.cdiv(d_h, 64))
        da = torch.empty((batch, 4 * d_h), dtype=x.dtype, device=x.device)
        dc_prev = torch.empty((batch, d_h), dtype=x.dtype, device=x.device)
        dp = torch.empty((grid[0], 3 * d_h), dtype=torch.float32, device=x.device)
        lstm_peephole_step_backward_kernel[grid](
            dh.contiguous(), dc.contiguous(), gates, c, c_t, p_i, p_f, p_o, da, dc_prev, dp,
            batch, d_h, c.stride(0), BLOCK_B=16, BLOCK_H=64,
        )  # fmt: skip
        dp_i, dp_f, dp_o = dp.sum(dim=0).to(x.dtype).chunk(3)
        return da @ W_x.T, da @ W_h.T, dc_prev, x.T @ da, h.T @ da, da.sum(dim=0), dp_i, dp_f, dp_o


def lstm_peephole_step_forward(x, h, c, W_x, W_h, b, p_i, p_f, p_o):
    """Advance a cell whose gates see its memory by one time step; autograd follows (eq. lstm-peephole).

    Arguments are those of lstm_step_forward; p_i, p_f, p_o are (d_h,).
    """
    check_tensors(
        x=(x, "batch d_in"), h=(h, "batch d_h"), c=(c, "batch d_h"),
        W_x=(W_x, "d_in 4*d_h"), W_h=(W_h, "d_h 4*d_h"), b=(b, "4*d_h"),
        p_i=(p_i, "d_h"), p_f=(p_f, "d_h"), p_o=(p_o, "d_h"),
    )  # fmt: skip
    weights = [tensor.contiguous() for tensor in (W_x, W_h, b, p_i, p_f, p_o)]
    tensors = (*whole_rows(x, h, c), *weights)
    return _LSTMPeepholeStep.apply(*tensors) if want_gradients(*tensors) else _launch(*tensors)
