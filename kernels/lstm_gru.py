"""The fused step of the GRU in its four conventions: one launch for reset "after", two for "before"; backward passes.

The gates are packed side by side in torch's order r, z, n. Reset "before" multiplies W_hn by all columns of r * h, and
a program has r for its own columns only. What the other programs store can't be read before the next launch.
"""

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

from kernels.arguments import check_tensors, want_gradients, whole_rows
from kernels.lstm import _sigmoid, _tanh
from kernels.lstm_gates import _add_products, _load_gates, _store_gates


@triton.jit
def gru_step_kernel(
    x_ptr, h_ptr, W_x_ptr, W_h_ptr, b_x_ptr, b_h_ptr, h_t_ptr, gates_ptr, v_n_ptr,
    batch, d_in, d_h, x_stride, h_stride, Z_KEEPS: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute a tile of h_t where r multiplies after the product (eq. gru-step).

    Unless gates_ptr is None, r, z, n go there, in rows of 3 * d_h, and h W_hn + b_hn to v_n_ptr.
    """
    rows = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]
    cols = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)[None, :]
    zero, W_stride = tl.zeros((BLOCK_B, BLOCK_H), tl.float32), 3 * d_h
    sums = (zero, zero, zero)
    a_r, a_z, u_n = _add_products(sums, x_ptr, x_stride, W_x_ptr, W_stride, rows, cols, batch, d_in, d_h, BLOCK_K)
    sums = (a_r, a_z, zero)
    a_r, a_z, v_n = _add_products(sums, h_ptr, h_stride, W_h_ptr, W_stride, rows, cols, batch, d_h, d_h, BLOCK_K)
    b_xr, b_xz, b_xn = _load_gates(b_x_ptr, 0, cols, d_h, cols < d_h, 3)
    b_hr, b_hz, b_hn = _load_gates(b_h_ptr, 0, cols, d_h, cols < d_h, 3)
    r, z, v_n = _sigmoid(a_r + b_xr + b_hr), _sigmoid(a_z + b_xz + b_hz), v_n + b_hn
    n = _tanh(u_n + b_xn + r * v_n)
    kept = z if Z_KEEPS else 1 - z
    mask = (rows < batch) & (cols < d_h)
    h = tl.load(h_ptr + rows * h_stride + cols, mask=mask, other=0.0)
    tl.store(h_t_ptr + rows * d_h + cols, kept * h + (1 - kept) * n, mask=mask)
    if gates_ptr is not None:
        _store_gates(gates_ptr, (r, z, n), rows, cols, d_h, mask)
        tl.store(v_n_ptr + rows * d_h + cols, v_n, mask=mask)


@triton.jit
def gru_gates_kernel(
    x_ptr, h_ptr, W_x_ptr, W_h_ptr, b_x_ptr, b_h_ptr, gates_ptr, q_ptr,
    batch, d_in, d_h, x_stride, h_stride,
    BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute a tile of r, z and q = r * h, the first half of a step with reset before (eq. gru-step)."""
    rows = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]
    cols = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)[None, :]
    zero, W_stride = tl.zeros((BLOCK_B, BLOCK_H), tl.float32), 3 * d_h
    sums = (zero, zero)
    sums = _add_products(sums, x_ptr, x_stride, W_x_ptr, W_stride, rows, cols, batch, d_in, d_h, BLOCK_K)
    a_r, a_z = _add_products(sums, h_ptr, h_stride, W_h_ptr, W_stride, rows, cols, batch, d_h, d_h, BLOCK_K)
    b_xr, b_xz = _load_gates(b_x_ptr, 0, cols, d_h, cols < d_h, 2)
    b_hr, b_hz = _load_gates(b_h_ptr, 0, cols, d_h, cols < d_h, 2)
    r, z = _sigmoid(a_r + b_xr + b_hr), _sigmoid(a_z + b_xz + b_hz)
    mask = (rows < batch) & (cols < d_h)
    h = tl.load(h_ptr + rows * h_stride + cols, mask=mask, other=0.0)
    gates = gates_ptr + rows * 3 * d_h + cols
    tl.store(gates, r, mask=mask)
    tl.store(gates + d_h, z, mask=mask)
    tl.store(q_ptr + rows * d_h + cols, r * h, mask=mask)


@triton.jit
def gru_candidate_kernel(
    x_ptr, h_ptr, W_x_ptr, W_h_ptr, b_x_ptr, b_h_ptr, gates_ptr, q_ptr, h_t_ptr,
    batch, d_in, d_h, x_stride, h_stride, Z_KEEPS: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute a tile of n and h_t from z and q, the second half of a step with reset before (eq. gru-step)."""
    rows = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]
    cols = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)[None, :]
    W_xn, W_hn, W_stride = W_x_ptr + 2 * d_h, W_h_ptr + 2 * d_h, 3 * d_h
    sums = (tl.zeros((BLOCK_B, BLOCK_H), tl.float32),)
    sums = _add_products(sums, x_ptr, x_stride, W_xn, W_stride, rows, cols, batch, d_in, d_h, BLOCK_K)
    sums = _add_products(sums, q_ptr, d_h, W_hn, W_stride, rows, cols, batch, d_h, d_h, BLOCK_K)
    b_xn = tl.load(b_x_ptr + 2 * d_h + cols, mask=cols < d_h, other=0.0)
    b_hn = tl.load(b_h_ptr + 2 * d_h + cols, mask=cols < d_h, other=0.0)
    n = _tanh(sums[0] + b_xn + b_hn)
    mask, gates = (rows < batch) & (cols < d_h), gates_ptr + rows * 3 * d_h + cols
    z = tl.load(gates + d_h, mask=mask, other=0.0)
    kept = z if Z_KEEPS else 1 - z
    h = tl.load(h_ptr + rows * h_stride + cols, mask=mask, other=0.0)
    tl.store(gates + 2 * d_h, n, mask=mask)
    tl.store(h_t_ptr + rows * d_h + cols, kept * h + (1 - kept) * n, mask=mask)


def _launch(x, h, W_x, W_h, b_x, b_h, reset, z_means, saving=False):
    """Launch one program for each tile of h_t; return h_t and what the backward pass needs.

    That is the gates with v_n (reset after; None where nothing is to be saved) or with q (before).
    """
    (batch, d_in), d_h = x.shape, h.shape[1]
    grid, sizes = (triton.cdiv(batch, 64), triton.cdiv(d_h, 16)), (batch, d_in, d_h, x.stride(0), h.stride(0))
    blocks = {"BLOCK_B": 64, "BLOCK_H": 16, "BLOCK_K": 32}
    h_t = torch.empty((batch, d_h), dtype=x.dtype, device=x.device)
    gates = v_n = None
    if saving or reset == "before":
        gates = torch.empty((batch, 3 * d_h), dtype=torch.float32, device=x.device)
    if reset == "before":
        q = torch.empty((batch, d_h), dtype=x.dtype, device=x.device)
        gru_gates_kernel[grid](x, h, W_x, W_h, b_x, b_h, gates, q, *sizes, **blocks)
        gru_candidate_kernel[grid](x, h, W_x, W_h, b_x, b_h, gates, q, h_t, *sizes, Z_KEEPS=z_means == "keep", **blocks)
        return h_t, gates, q
    if saving:
        v_n = torch.empty((batch, d_h), dtype=torch.float32, device=x.device)
    gru_step_kernel[grid](
        x, h, W_x, W_h, b_x, b_h, h_t, gates, v_n, *sizes, Z_KEEPS=z_means == "keep", **blocks
    )  # fmt: skip
    return h_t, gates, v_n


@triton.jit
def _candidate_gradient(dh, z, n, Z_KEEPS: tl.constexpr):
    """The gradient at a_n, from that at h_t."""
    return dh * (1 - z if Z_KEEPS else z) * (1 - n * n)


@triton.jit
def _update_gradient(dh, z, n, h, Z_KEEPS: tl.constexpr):
    """The gradient at a_z, from that at h_t."""
    return dh * (h - n if Z_KEEPS else n - h) * z * (1 - z)


@triton.jit
def gru_step_backward_kernel(
    dh_ptr, gates_ptr, v_n_ptr, h_ptr, du_ptr, dv_ptr, dh_kept_ptr,
    batch, d_h, h_stride, Z_KEEPS: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """Compute a tile of du and dv, and what goes from h_t straight to h, with reset after (eq. gru-step-backward)."""
    rows = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]
    cols = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)[None, :]
    state, mask = rows * d_h + cols, (rows < batch) & (cols < d_h)
    r, z, n = _load_gates(gates_ptr, rows, cols, d_h, mask, 3)
    v_n = tl.load(v_n_ptr + state, mask=mask, other=0.0)
    h = tl.load(h_ptr + rows * h_stride + cols, mask=mask, other=0.0).to(tl.float32)
    dh = tl.load(dh_ptr + state, mask=mask, other=0.0).to(tl.float32)
    da_n, da_z = _candidate_gradient(dh, z, n, Z_KEEPS), _update_gradient(dh, z, n, h, Z_KEEPS)
    da_r = da_n * v_n * r * (1 - r)
    _store_gates(du_ptr, (da_r, da_z, da_n), rows, cols, d_h, mask)
    _store_gates(dv_ptr, (da_r, da_z, da_n * r), rows, cols, d_h, mask)
    tl.store(dh_kept_ptr + state, dh * (z if Z_KEEPS else 1 - z), mask=mask)


@triton.jit
def gru_before_backward_kernel(
    dh_ptr, gates_ptr, h_ptr, W_h_ptr, du_ptr, dh_kept_ptr,
    batch, d_h, h_stride, Z_KEEPS: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute a tile of du, and what h gets through the mix and through q, with reset before.

    dq = da_n W_hn.T needs da_n at all columns (eq. gru-step-backward). It is cheap, so each program computes it anew.
    """
    rows = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]
    cols = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)[None, :]
    dq = tl.zeros((BLOCK_B, BLOCK_H), tl.float32)
    for start in range(0, d_h, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        mask, W_mask = (rows < batch) & (k[None, :] < d_h), (k[:, None] < d_h) & (cols < d_h)
        dh = tl.load(dh_ptr + rows * d_h + k[None, :], mask=mask, other=0.0).to(tl.float32)
        gates = gates_ptr + rows * 3 * d_h + k[None, :]
        z = tl.load(gates + d_h, mask=mask, other=0.0)
        n = tl.load(gates + 2 * d_h, mask=mask, other=0.0)
        W_T = tl.load(W_h_ptr + cols * 3 * d_h + 2 * d_h + k[:, None], mask=W_mask, other=0.0)
        da_n = _candidate_gradient(dh, z, n, Z_KEEPS)
        dq = tl.dot(da_n.to(W_T.dtype), W_T, dq, input_precision="tf32")
    state, mask = rows * d_h + cols, (rows < batch) & (cols < d_h)
    r, z, n = _load_gates(gates_ptr, rows, cols, d_h, mask, 3)
    h = tl.load(h_ptr + rows * h_stride + cols, mask=mask, other=0.0).to(tl.float32)
    dh = tl.load(dh_ptr + state, mask=mask, other=0.0).to(tl.float32)
    da_n, da_z = _candidate_gradient(dh, z, n, Z_KEEPS), _update_gradient(dh, z, n, h, Z_KEEPS)
    _store_gates(du_ptr, (dq * h * r * (1 - r), da_z, da_n), rows, cols, d_h, mask)
    tl.store(dh_kept_ptr + state, dh * (z if Z_KEEPS else 1 - z) + dq * r, mask=mask)


class _GRUStep(torch.autograd.Function):
    """The unit with its gradients; all products of the backward pass but one are torch's."""

    @staticmethod
    def forward(ctx, x, h, W_x, W_h, b_x, b_h, reset, z_means):
        h_t, gates, v_n_or_q = _launch(x, h, W_x, W_h, b_x, b_h, reset, z_means, saving=True)
        ctx.save_for_backward(x, h, W_x, W_h, gates, v_n_or_q)
        ctx.reset, ctx.z_keeps = reset, z_means == "keep"
        return h_t

    @staticmethod
    @once_differentiable
    def backward(ctx, dh):
        x, h, W_x, W_h, gates, v_n_or_q = ctx.saved_tensors
        step_back = _backward_after if ctx.reset == "after" else _backward_before
        du, dh_prev, dW_h, db_h = step_back(dh.contiguous(), gates, v_n_or_q, h, W_h, ctx.z_keeps)
        return du @ W_x.T, dh_prev, x.T @ du, dW_h, du.sum(dim=0), db_h, None, None


def _backward_after(dh, gates, v_n, h, W_h, z_keeps):
    """Return du and the gradients at h, W_h and b_h, with reset after."""
    batch, d_h = h.shape
    du = torch.empty((batch, 3 * d_h), dtype=h.dtype, device=h.device)
    dv = torch.empty((batch, 3 * d_h), dtype=h.dtype, device=h.device)
    dh_kept = torch.empty((batch, d_h), dtype=h.dtype, device=h.device)
    gru_step_backward_kernel[triton.cdiv(batch, 16), triton.cdiv(d_h, 64)](
        dh, gates, v_n, h, du, dv, dh_kept, batch, d_h, h.stride(0), Z_KEEPS=z_keeps, BLOCK_B=16, BLOCK_H=64
    )  # fmt: skip
    return du, dh_kept + dv @ W_h.T, h.T @ dv, dv.sum(dim=0)


def _backward_before(dh, gates, q, h, W_h, z_keeps):
    """Return du and the gradients at h, W_h and b_h, with reset before."""
    batch, d_h = h.shape
    du = torch.empty((batch, 3 * d_h), dtype=h.dtype, device=h.device)
    dh_kept = torch.empty((batch, d_h), dtype=h.dtype, device=h.device)
    gru_before_backward_kernel[triton.cdiv(batch, 64), triton.cdiv(d_h, 16)](
        dh, gates, h, W_h, du, dh_kept, batch, d_h, h.stride(0), Z_KEEPS=z_keeps,
        BLOCK_B=64, BLOCK_H=16, BLOCK_K=32,
    )  # fmt: skip
    da_rz, da_n = du[:, : 2 * d_h], du[:, 2 * d_h :]
    dW_h = torch.cat([h.T @ da_rz, q.T @ da_n], dim=1)
    return du, dh_kept + da_rz @ W_h[:, : 2 * d_h].T, dW_h, du.sum(dim=0)


def gru_step_forward(x, h, W_x, W_h, b_x, b_h, reset="after", z_means="keep"):
    """Advance the unit by one step, in any of its four conventions; autograd follows (eq. gru-step).

    x is (batch, d_in), h (batch, d_h), W_x (d_in, 3*d_h), W_h (d_h, 3*d_h), b_x and b_h (3*d_h,); what reset and
    z_means choose stands with the NumPy twin. Rows of x and h may lie apart; other layouts are copied.
    """
    if reset not in ("after", "before") or z_means not in ("keep", "update"):
        choices = "reset to be after or before and z_means keep or update"
        raise ValueError(f"expected {choices}, got {reset!r} and {z_means!r}")
    check_tensors(
        x=(x, "batch d_in"), h=(h, "batch d_h"), W_x=(W_x, "d_in 3*d_h"), W_h=(W_h, "d_h 3*d_h"),
        b_x=(b_x, "3*d_h"), b_h=(b_h, "3*d_h"),
    )  # fmt: skip
    tensors = (*whole_rows(x, h), *(weights.contiguous() for weights in (W_x, W_h, b_x, b_h)))
    if want_gradients(*tensors):
        return _GRUStep.apply(*tensors, reset, z_means)
    return _launch(*tensors, reset, z_means)[0]
