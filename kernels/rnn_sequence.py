"""A whole Elman network in one launch: a program walks a few rows of the batch through time; its backward pass.

Each program keeps h and all of W_h on the chip, as that of the LSTM does. With one block of columns in place of four,
d_h may be twice as large.
"""

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

from kernels.arguments import check_tensors, want_gradients
from kernels.lstm import _sigmoid, _tanh  # noqa: F401  _tanh calls _sigmoid
from kernels.lstm_sequence import ROWS

# The largest d_h in float32, where W_h takes 64 KiB of the shared memory of a processor of the GPU, and 99 KiB are
# the least that one has since 2020. In 16 bits d_h may be twice as large: 128 KiB, for the A100 and the H100.
LARGEST = {"d_h": 128}


@triton.jit
def _slope_of_tanh(a):
    """Give 1 - tanh(a)^2 without the difference, of which little would be left where tanh is rounded to nearly 1."""
    z = tl.exp(-2.0 * tl.abs(a))
    return 4.0 * z / ((1.0 + z) * (1.0 + z))


@triton.jit
def rnn_sequence_kernel(
    u_ptr, h_0_ptr, W_h_ptr, h_ptr, slope_ptr, batch, time, d_h, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr
):  # fmt: skip
    """Walk BLOCK_B rows of the batch through all steps (eq. rnn-step), with u = x W_x + b given.

    A tile has whole rows of h, all BLOCK_H >= d_h columns, since the next step multiplies them by W_h. Unless
    slope_ptr is None, 1 - h_t^2 of each step goes there.
    """
    first, rows = tl.program_id(0).to(tl.int64) * BLOCK_B, tl.arange(0, BLOCK_B)[:, None]
    cols, k = tl.arange(0, BLOCK_H)[None, :], tl.arange(0, BLOCK_H)[:, None]
    mask = (first + rows < batch) & (cols < d_h)
    h = tl.load(h_0_ptr + (first + rows) * d_h + cols, mask=mask, other=0.0)
    W_h = tl.load(W_h_ptr + k * d_h + cols, mask=(k < d_h) & (cols < d_h), other=0.0)
    u_ptr += first * time * d_h
    h_ptr += first * time * d_h
    if slope_ptr is not None:
        slope_ptr += first * time * d_h
    u = tl.load(u_ptr + rows * time * d_h + cols, mask=mask, other=0.0)
    for t in range(time):
        a = tl.dot(h, W_h, input_precision="tf32") + u
        ahead = rows * time + t + 1  # what the next step adds is on its way while this one computes
        u = tl.load(u_ptr + ahead * d_h + cols, mask=mask & (ahead < (rows + 1) * time), other=0.0)
        h = _tanh(a).to(W_h.dtype)
        tl.store(h_ptr + (rows * time + t) * d_h + cols, h, mask=mask)
        if slope_ptr is not None:
            tl.store(slope_ptr + (rows * time + t) * d_h + cols, _slope_of_tanh(a), mask=mask)


def _launch(x, h_0, W_x, W_h, b, slope=None):
    """Multiply all inputs by W_x at once, then launch one program for each few rows of the batch."""
    (batch, time, d_in), d_h = x.shape, h_0.shape[1]
    u = torch.addmm(b, x.reshape(batch * time, d_in), W_x)
    h = torch.empty((batch, time, d_h), dtype=x.dtype, device=x.device)
    rnn_sequence_kernel[(triton.cdiv(batch, ROWS),)](
        u, h_0, W_h, h, slope, batch, time, d_h, BLOCK_B=ROWS, **_width(d_h)
    )  # fmt: skip
    return h


def _width(d_h):
    """The columns of a tile, a power of two that tl.dot takes; a warp for every 16."""
    columns = max(16, triton.next_power_of_2(d_h))
    return {"BLOCK_H": columns, "num_warps": columns // 16}


@triton.jit
def rnn_sequence_backward_kernel(
    dh_ptr, slope_ptr, W_h_ptr, da_ptr, dh_0_ptr, batch, time, d_h, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr
):
    """Walk BLOCK_B rows of the batch back through time: da of every step, then dh_0 (eq. rnn-bptt)."""
    first, rows = tl.program_id(0).to(tl.int64) * BLOCK_B, tl.arange(0, BLOCK_B)[:, None]
    cols, k = tl.arange(0, BLOCK_H)[None, :], tl.arange(0, BLOCK_H)[:, None]
    mask = (first + rows < batch) & (cols < d_h)
    W_hT = tl.load(W_h_ptr + cols * d_h + k, mask=(k < d_h) & (cols < d_h), other=0.0)
    dh_ptr += first * time * d_h
    slope_ptr += first * time * d_h
    da_ptr += first * time * d_h
    carried = tl.zeros((BLOCK_B, BLOCK_H), tl.float32)
    for back in tl.range(0, time, num_stages=1):  # loads ahead of time would need shared memory that W_h has
        state = (rows * time + time - 1 - back) * d_h + cols
        slope = tl.load(slope_ptr + state, mask=mask, other=0.0)
        dh = tl.load(dh_ptr + state, mask=mask, other=0.0) + carried
        da = (dh * slope).to(W_hT.dtype)
        tl.store(da_ptr + state, da, mask=mask)
        carried = tl.dot(da, W_hT, input_precision="tf32")
    tl.store(dh_0_ptr + (first + rows) * d_h + cols, carried, mask=mask)


class _RNN(torch.autograd.Function):
    """The sequence with its gradients; those of the weights are torch's products over all steps at once."""

    @staticmethod
    def forward(ctx, x, h_0, W_x, W_h, b):
        slope = torch.empty((*x.shape[:2], h_0.shape[1]), dtype=torch.float32, device=x.device)
        h = _launch(x, h_0, W_x, W_h, b, slope)
        ctx.save_for_backward(x, h_0, W_x, W_h, slope, h)
        return h

    @staticmethod
    @once_differentiable
    def backward(ctx, dh):
        x, h_0, W_x, W_h, slope, h = ctx.saved_tensors
        batch, time, d_h = h.shape
        da, dh_0 = torch.empty_like(h), torch.empty_like(h_0)
        rnn_sequence_backward_kernel[(triton.cdiv(batch, ROWS),)](
            dh.contiguous(), slope, W_h, da, dh_0, batch, time, d_h, BLOCK_B=ROWS, **_width(d_h)
        )
        h_before = torch.cat([h_0[:, None], h[:, :-1]], dim=1).flatten(0, 1)
        dx, da = da @ W_x.T, da.flatten(0, 1)
        return dx, dh_0, x.flatten(0, 1).T @ da, h_before.T @ da, da.sum(dim=0)


def rnn_forward(x, h_0, W_x, W_h, b):
    """Run the step over a sequence in one launch: all hidden states; autograd follows (eq. rnn-step and rnn-bptt).

    x is (batch, time, d_in), h_0 (batch, d_h), W_x (d_in, d_h), W_h (d_h, d_h), b (d_h,). Raises ValueError where d_h
    is more than 128, or 256 in 16 bits: W_h would not fit.
    """
    check_tensors(
        x=(x, "batch time d_in"), h_0=(h_0, "batch d_h"), W_x=(W_x, "d_in d_h"), W_h=(W_h, "d_h d_h"), b=(b, "d_h")
    )  # fmt: skip
    if x.shape[1] == 0:
        raise ValueError(f"expected a sequence of at least one step, got x of shape {tuple(x.shape)}")
    largest = LARGEST["d_h"] * 4 // x.element_size()
    if h_0.shape[1] > largest:
        raise ValueError(
            f"expected d_h of at most {largest} in {x.dtype}, so that W_h fits on the chip, got {h_0.shape[1]}: "
            "call rnn_step_forward for each step instead"
        )
    tensors = [tensor.contiguous() for tensor in (x, h_0, W_x, W_h, b)]
    return _RNN.apply(*tensors) if want_gradients(*tensors) else _launch(*tensors)
