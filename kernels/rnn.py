"""The fused Elman step: two matrix products, bias and tanh in one launch; its backward pass. Sums are in float32."""

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

from kernels.arguments import check_tensors, want_gradients, whole_rows
from kernels.lstm import _sigmoid, _tanh  # noqa: F401  _tanh calls _sigmoid


@triton.jit
def rnn_step_kernel(
    x_ptr, h_ptr, W_x_ptr, W_h_ptr, b_ptr, h_t_ptr, slope_ptr, batch, d_in, d_h, x_stride, h_stride,
    BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute a tile of BLOCK_B rows and BLOCK_H columns of h_t (eq. rnn-step).

    Program (p, q) has the p-th block of rows and the q-th of columns; it sums products by
    blocks of BLOCK_K. Row r of x starts at x_ptr + r * x_stride, likewise for h. All else
    is contiguous: rows of d_h in the weights and in h_t. Unless slope_ptr is None, the
    slopes 1 - h_t^2 go there.
    """
    rows = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]
    cols = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)[None, :]
    a = tl.zeros((BLOCK_B, BLOCK_H), tl.float32)
    for start in range(0, d_in, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        x_mask, W_mask = (rows < batch) & (k[None, :] < d_in), (k[:, None] < d_in) & (cols < d_h)
        x = tl.load(x_ptr + rows * x_stride + k[None, :], mask=x_mask, other=0.0)
        W_x = tl.load(W_x_ptr + k[:, None] * d_h + cols, mask=W_mask, other=0.0)
        a = tl.dot(x, W_x, a, input_precision="tf32")
    for start in range(0, d_h, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        h_mask, W_mask = (rows < batch) & (k[None, :] < d_h), (k[:, None] < d_h) & (cols < d_h)
        h = tl.load(h_ptr + rows * h_stride + k[None, :], mask=h_mask, other=0.0)
        W_h = tl.load(W_h_ptr + k[:, None] * d_h + cols, mask=W_mask, other=0.0)
        a = tl.dot(h, W_h, a, input_precision="tf32")
    a += tl.load(b_ptr + cols, mask=cols < d_h, other=0.0)
    mask = (rows < batch) & (cols < d_h)
    tl.store(h_t_ptr + rows * d_h + cols, _tanh(a), mask=mask)
    if slope_ptr is not None:
        z = tl.exp(-2.0 * tl.abs(a))  # 1 - tanh^2 without the difference, of which rounding would leave little
        tl.store(slope_ptr + rows * d_h + cols, 4.0 * z / ((1.0 + z) * (1.0 + z)), mask=mask)


def rnn_step(x, h, W_x, W_h, b, slope=None):
    """Launch one program for each tile of h_t, on arguments as the kernel wants them."""
    (batch, d_in), d_h = x.shape, h.shape[1]
    h_t = torch.empty((batch, d_h), dtype=x.dtype, device=x.device)
    grid = (triton.cdiv(batch, 64), triton.cdiv(d_h, 32))
    rnn_step_kernel[grid](
        x, h, W_x, W_h, b, h_t, slope, batch, d_in, d_h, x.stride(0), h.stride(0),
        BLOCK_B=64, BLOCK_H=32, BLOCK_K=32,
    )  # fmt: skip
    return h_t


@triton.jit
def rnn_step_backward_kernel(dh_ptr, slope_ptr, da_ptr, count, BLOCK: tl.constexpr):
    """Compute a block of da, the gradient at the pre-activations (eq. rnn-step-backward)."""
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    dh = tl.load(dh_ptr + index, mask=index < count, other=0.0).to(tl.float32)
    slope = tl.load(slope_ptr + index, mask=index < count, other=0.0)
    tl.store(da_ptr + index, dh * slope, mask=index < count)


class _RNNStep(torch.autograd.Function):
    """The step with its gradients: the forward pass keeps its slopes; the backward's products are torch's."""

    @staticmethod
    def forward(ctx, x, h, W_x, W_h, b):
        slope = torch.empty(h.shape, dtype=torch.float32, device=x.device)
        h_t = rnn_step(x, h, W_x, W_h, b, slope)
        ctx.save_for_backward(x, h, W_x, W_h, slope)
        return h_t

    @staticmethod
    @once_differentiable
    def backward(ctx, dh):
        x, h, W_x, W_h, slope = ctx.saved_tensors
        da, count = torch.empty(slope.shape, dtype=x.dtype, device=x.device), slope.numel()
        rnn_step_backward_kernel[(triton.cdiv(count, 1024),)](dh.contiguous(), slope, da, count, BLOCK=1024)
        return da @ W_x.T, da @ W_h.T, x.T @ da, h.T @ da, da.sum(dim=0)


def rnn_step_forward(x, h, W_x, W_h, b):
    """Advance the hidden state by one time step; autograd follows (eq. rnn-step).

    x is (batch, d_in), h (batch, d_h), W_x (d_in, d_h), W_h (d_h, d_h), b (d_h,), of one dtype: float32, float16 or,
    on a GPU, bfloat16. Rows of x and h may lie apart; other layouts are copied.
    """
    check_tensors(
        x=(x, "batch d_in"), h=(h, "batch d_h"), W_x=(W_x, "d_in d_h"), W_h=(W_h, "d_h d_h"), b=(b, "d_h")
    )  # fmt: skip
    tensors = (*whole_rows(x, h), W_x.contiguous(), W_h.contiguous(), b.contiguous())
    return _RNNStep.apply(*tensors) if want_gradients(*tensors) else rnn_step(*tensors)
