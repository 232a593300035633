"""A whole LSTM sequence in one launch: a program walks a few rows of the batch through time; its backward pass.

Each program keeps h, c and all of W_h on the chip. That makes a step cheap, and it limits d_h. The rows of the batch
are independent of each other, so no program ever waits for another.
"""

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

from kernels.arguments import check_tensors, want_gradients
from kernels.lstm import _sigmoid, _tanh
from kernels.lstm_gates import _load_gates, _store_gates

# The largest d_h in float32, where W_h takes 64 KiB of the shared memory of a processor of the GPU, and 99 KiB are
# the least that one has since 2020. In 16 bits d_h may be twice as large: 128 KiB, for the A100 and the H100.
LARGEST = {"d_h": 64}

# Rows of the batch in a program, the fewest that tl.dot takes. More of them would fill the larger tensor-core
# instruction of Hopper (wgmma, 64 rows). But the steps are a chain: what counts is how long one of them takes, and how
# many of the GPU's processors have a program at all.
ROWS = 16


@triton.jit
def lstm_sequence_kernel(
    u_ptr, h_0_ptr, c_0_ptr, W_h_ptr, h_ptr, c_T_ptr, gates_ptr, cells_ptr,
    batch, time, d_h, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """Walk BLOCK_B rows of the batch through all steps (eq. lstm-step), with u = x W_x + b given.

    A tile has whole rows of h, all BLOCK_H >= d_h columns, since the next step multiplies them by W_h. Unless gates_ptr
    is None, i, f, g, o of each step go there, and c_0, ..., c_T to cells_ptr, time + 1 for each row.
    """
    first, rows = tl.program_id(0).to(tl.int64) * BLOCK_B, tl.arange(0, BLOCK_B)[:, None]
    cols, k = tl.arange(0, BLOCK_H)[None, :], tl.arange(0, BLOCK_H)[:, None]
    mask, state = (first + rows < batch) & (cols < d_h), (first + rows) * d_h + cols
    h = tl.load(h_0_ptr + state, mask=mask, other=0.0)
    c = tl.load(c_0_ptr + state, mask=mask, other=0.0).to(tl.float32)
    W_i, W_f, W_g, W_o = _load_gates(W_h_ptr, k, cols, d_h, (k < d_h) & (cols < d_h), 4)
    u_ptr += first * time * 4 * d_h
    h_ptr += first * time * d_h
    if gates_ptr is not None:
        gates_ptr += first * time * 4 * d_h
        cells_ptr += first * (time + 1) * d_h
        tl.store(cells_ptr + rows * (time + 1) * d_h + cols, c, mask=mask)
    u = _load_gates(u_ptr, rows * time, cols, d_h, mask, 4)
    for t in range(time):
        u_i, u_f, u_g, u_o = u
        ahead = rows * time + t + 1  # what the next step adds is on its way while this one computes
        u = _load_gates(u_ptr, ahead, cols, d_h, mask & (ahead < (rows + 1) * time), 4)
        i = _sigmoid(tl.dot(h, W_i, input_precision="tf32") + u_i)
        f = _sigmoid(tl.dot(h, W_f, input_precision="tf32") + u_f)
        g = _tanh(tl.dot(h, W_g, input_precision="tf32") + u_g)
        o = _sigmoid(tl.dot(h, W_o, input_precision="tf32") + u_o)
        c = f * c + i * g
        h = (o * _tanh(c)).to(W_i.dtype)
        tl.store(h_ptr + (rows * time + t) * d_h + cols, h, mask=mask)
        if gates_ptr is not None:
            _store_gates(gates_ptr, (i, f, g, o), rows * time + t, cols, d_h, mask)
            tl.store(cells_ptr + (rows * (time + 1) + t + 1) * d_h + cols, c, mask=mask)
    tl.store(c_T_ptr + state, c, mask=mask)


def _launch(x, h_0, c_0, W_x, W_h, b, gates=None, cells=None):
    """Multiply all inputs by W_x at once, then launch one program for each few rows of the batch."""
    (batch, time, d_in), d_h = x.shape, h_0.shape[1]
    u = torch.addmm(b, x.reshape(batch * time, d_in), W_x)
    h = torch.empty((batch, time, d_h), dtype=x.dtype, device=x.device)
    c_T = torch.empty((batch, d_h), dtype=x.dtype, device=x.device)
    lstm_sequence_kernel[(triton.cdiv(batch, ROWS),)](
        u, h_0, c_0, W_h, h, c_T, gates, cells, batch, time, d_h, BLOCK_B=ROWS, **_width(d_h)
    )  # fmt: skip
    return h, c_T


def _width(d_h):
    """The columns of a tile, a power of two that tl.dot takes; a warp for every 8, as wide as its products are."""
    columns = max(16, triton.next_power_of_2(d_h))
    return {"BLOCK_H": columns, "num_warps": columns // 8}


@triton.jit
def lstm_sequence_backward_kernel(
    dh_ptr, dc_T_ptr, gates_ptr, cells_ptr, W_h_ptr, da_ptr, dh_0_ptr, dc_0_ptr,
    batch, time, d_h, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """Walk BLOCK_B rows of the batch back through time: da of every step, then dh_0 and dc_0 (eq. lstm-bptt)."""
    first, rows = tl.program_id(0).to(tl.int64) * BLOCK_B, tl.arange(0, BLOCK_B)[:, None]
    cols, k = tl.arange(0, BLOCK_H)[None, :], tl.arange(0, BLOCK_H)[:, None]
    mask, state = (first + rows < batch) & (cols < d_h), (first + rows) * d_h + cols
    W_iT, W_fT, W_gT, W_oT = _load_gates(W_h_ptr, cols, k, d_h, (k < d_h) & (cols < d_h), 4)
    dh_ptr += first * time * d_h
    da_ptr += first * time * 4 * d_h
    gates_ptr += first * time * 4 * d_h
    cells_ptr += first * (time + 1) * d_h
    dh_rec = tl.zeros((BLOCK_B, BLOCK_H), tl.float32)
    dc = tl.load(dc_T_ptr + state, mask=mask, other=0.0).to(tl.float32)
    c_t = tl.load(cells_ptr + (rows * (time + 1) + time) * d_h + cols, mask=mask, other=0.0)
    for back in tl.range(0, time, num_stages=1):  # loads ahead of time would need shared memory that W_h has
        t = time - 1 - back
        i, f, g, o = _load_gates(gates_ptr, rows * time + t, cols, d_h, mask, 4)
        c = tl.load(cells_ptr + (rows * (time + 1) + t) * d_h + cols, mask=mask, other=0.0)
        dh = tl.load(dh_ptr + (rows * time + t) * d_h + cols, mask=mask, other=0.0) + dh_rec
        tanh_c = _tanh(c_t)
        dc += dh * o * (1 - tanh_c * tanh_c)
        da_i = (dc * g * i * (1 - i)).to(W_iT.dtype)
        da_f = (dc * c * f * (1 - f)).to(W_iT.dtype)
        da_g = (dc * i * (1 - g * g)).to(W_iT.dtype)
        da_o = (dh * tanh_c * o * (1 - o)).to(W_iT.dtype)
        _store_gates(da_ptr, (da_i, da_f, da_g, da_o), rows * time + t, cols, d_h, mask)
        dh_rec = tl.dot(da_i, W_iT, input_precision="tf32")
        dh_rec = tl.dot(da_f, W_fT, dh_rec, input_precision="tf32")
        dh_rec = tl.dot(da_g, W_gT, dh_rec, input_precision="tf32")
        dh_rec = tl.dot(da_o, W_oT, dh_rec, input_precision="tf32")
        dc, c_t = dc * f, c
    tl.store(dh_0_ptr + state, dh_rec, mask=mask)
    tl.store(dc_0_ptr + state, dc, mask=mask)


class _LSTM(torch.autograd.Function):
    """The sequence with its gradients; those of the weights are torch's products over all steps at once."""

    @staticmethod
    def forward(ctx, x, h_0, c_0, W_x, W_h, b):
        (batch, time, _), d_h = x.shape, h_0.shape[1]
        gates = torch.empty((batch, time, 4 * d_h), dtype=torch.float32, device=x.device)
        cells = torch.empty((batch, time + 1, d_h), dtype=torch.float32, device=x.device)
        h, c_T = _launch(x, h_0, c_0, W_x, W_h, b, gates, cells)
        ctx.save_for_backward(x, h_0, W_x, W_h, gates, cells, h)
        return h, c_T

    @staticmethod
    @once_differentiable
    def backward(ctx, dh, dc_T):
        x, h_0, W_x, W_h, gates, cells, h = ctx.saved_tensors
        batch, time, d_h = h.shape
        da = torch.empty((batch, time, 4 * d_h), dtype=x.dtype, device=x.device)
        dh_0 = torch.empty((batch, d_h), dtype=x.dtype, device=x.device)
        dc_0 = torch.empty((batch, d_h), dtype=x.dtype, device=x.device)
        lstm_sequence_backward_kernel[(triton.cdiv(batch, ROWS),)](
            dh.contiguous(), dc_T.contiguous(), gates, cells, W_h, da, dh_0, dc_0,
            batch, time, d_h, BLOCK_B=ROWS, **_width(d_h),
        )  # fmt: skip
        h_before = torch.cat([h_0[:, None], h[:, :-1]], dim=1).flatten(0, 1)
        dx, da = da @ W_x.T, da.flatten(0, 1)
        return dx, dh_0, dc_0, x.flatten(0, 1).T @ da, h_before.T @ da, da.sum(dim=0)


def lstm_forward(x, h_0, c_0, W_x, W_h, b):
    """Run the cell over a sequence in one launch: all hidden states and the last cell state; autograd follows.

    Eq. lstm-step and lstm-bptt. x is (batch, time, d_in), h_0 and c_0 (batch, d_h), W_x (d_in, 4*d_h), W_h
    (d_h, 4*d_h), b (4*d_h,). Raises ValueError where d_h is more than 64, or 128 in 16 bits: W_h would not fit.
    """
    check_tensors(
        x=(x, "batch time d_in"), h_0=(h_0, "batch d_h"), c_0=(c_0, "batch d_h"),
        W_x=(W_x, "d_in 4*d_h"), W_h=(W_h, "d_h 4*d_h"), b=(b, "4*d_h"),
    )  # fmt: skip
    if x.shape[1] == 0:
        raise ValueError(f"expected a sequence of at least one step, got x of shape {tuple(x.shape)}")
    largest = LARGEST["d_h"] * 4 // x.element_size()
    if h_0.shape[1] > largest:
        raise ValueError(
            f"expected d_h of at most {largest} in {x.dtype}, so that W_h fits on the chip, got {h_0.shape[1]}: "
            "call lstm_step_forward for each step instead"
        )
    tensors = [tensor.contiguous() for tensor in (x, h_0, c_0, W_x, W_h, b)]
    return _LSTM.apply(*tensors) if want_gradients(*tensors) else _launch(*tensors)
