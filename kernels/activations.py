"""GELU and SiLU with the bias fused in, and softmax along rows; forward and backward, one launch each.

Numbers are float32 from the load to the store, whatever the type of the tensors.
"""

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

from kernels.arguments import check_tensors, want_gradients, whole_rows

LONGEST_ROW = 8_192  # of softmax: one program holds a whole row


@triton.jit
def _sigmoid(x):
    """Squash x to (0, 1); exp sees no number above zero, so it cannot overflow."""
    z = tl.exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0, z) / (1.0 + z)


# --- GELU ---------------------------------------------------------------------------------------------------------


@triton.jit
def bias_gelu_kernel(
    x_ptr, b_ptr, out_ptr, batch, d_h, x_stride,
    TANH: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """Compute a tile of BLOCK_B rows and BLOCK_H columns of GELU(x + b).

    Program (p, q) has the p-th block of rows and the q-th of columns. Row r of x starts
    at x_ptr + r * x_stride; b and out are contiguous. With TANH it is the tanh form
    (eqs. gelu and gelu-tanh).
    """
    rows = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]
    cols = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)[None, :]
    mask = (rows < batch) & (cols < d_h)
    x = tl.load(x_ptr + rows * x_stride + cols, mask=mask, other=0.0).to(tl.float32)
    b = tl.load(b_ptr + cols, mask=cols < d_h, other=0.0).to(tl.float32)
    a = x + b
    if TANH:
        # (1 + tanh(u)) / 2 is sigmoid(2 u); the constant is 2 sqrt(2 / pi)
        gate = _sigmoid(1.5957691216057308 * a * (1 + 0.044715 * a * a))
    else:
        gate = 0.5 * (1 + tl.erf(0.7071067811865476 * a))  # 1 / sqrt(2)
    tl.store(out_ptr + rows * d_h + cols, a * gate, mask=mask)


def bias_gelu(x, b, approximate="none"):
    """Launch one program for each tile of GELU(x + b), on arguments as the kernel wants them."""
    batch, d_h = x.shape
    out = torch.empty((batch, d_h), dtype=x.dtype, device=x.device)
    grid = (triton.cdiv(batch, 8), triton.cdiv(d_h, 256))
    bias_gelu_kernel[grid](x, b, out, batch, d_h, x.stride(0), TANH=approximate == "tanh", BLOCK_B=8, BLOCK_H=256)
    return out


@triton.jit
def bias_gelu_backward_kernel(
    dout_ptr, x_ptr, b_ptr, dx_ptr, db_ptr, batch, d_h, x_stride,
    TANH: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """Compute a tile of dx, and its sum over rows, one row of db (eqs. gelu and gelu-tanh).

    The rows of db, one for each block of rows, are summed later: to add to one is a race.
    """
    rows = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]
    cols = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)[None, :]
    mask = (rows < batch) & (cols < d_h)
    x = tl.load(x_ptr + rows * x_stride + cols, mask=mask, other=0.0).to(tl.float32)
    b = tl.load(b_ptr + cols, mask=cols < d_h, other=0.0).to(tl.float32)
    a = x + b
    if TANH:
        gate = _sigmoid(1.5957691216057308 * a * (1 + 0.044715 * a * a))
        du = 1.5957691216057308 * (1 + 0.134145 * a * a)  # 3 * 0.044715
        slope = gate + a * gate * (1 - gate) * du
    else:
        density = 0.3989422804014327 * tl.exp(-0.5 * a * a)  # 1 / sqrt(2 pi)
        slope = 0.5 * (1 + tl.erf(0.7071067811865476 * a)) + a * density
    dout = tl.load(dout_ptr + rows * d_h + cols, mask=mask, other=0.0).to(tl.float32)
    dx = dout * slope
    tl.store(dx_ptr + rows * d_h + cols, dx, mask=mask)
    db = tl.sum(dx, axis=0)[None, :]
    tl.store(db_ptr + tl.program_id(0) * d_h + cols, db, mask=cols < d_h)


# --- SiLU ---------------------------------------------------------------------------------------------------------


@triton.jit
def bias_silu_kernel(
    x_ptr, b_ptr, out_ptr, batch, d_h, x_stride, BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """Compute a tile of SiLU(x + b), laid out like that of bias_gelu_kernel (eq. silu)."""
    rows = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]
    cols = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)[None, :]
    mask = (rows < batch) & (cols < d_h)
    x = tl.load(x_ptr + rows * x_stride + cols, mask=mask, other=0.0).to(tl.float32)
    a = x + tl.load(b_ptr + cols, mask=cols < d_h, other=0.0).to(tl.float32)
    tl.store(out_ptr + rows * d_h + cols, a * _sigmoid(a), mask=mask)


def bias_silu(x, b):
    """Launch one program for each tile of SiLU(x + b), on arguments as the kernel wants them."""
    batch, d_h = x.shape
    out = torch.empty((batch, d_h), dtype=x.dtype, device=x.device)
    grid = (triton.cdiv(batch, 8), triton.cdiv(d_h, 256))
    bias_silu_kernel[grid](x, b, out, batch, d_h, x.stride(0), BLOCK_B=8, BLOCK_H=256)
    return out


@triton.jit
def bias_silu_backward_kernel(
    dout_ptr, x_ptr, b_ptr, dx_ptr, db_ptr, batch, d_h, x_stride,
    BLOCK_B: tl.constexpr, BLOCK_H: tl.constexpr,
):  # fmt: skip
    """Compute a tile of dx, and its sum over rows, which is one row of db (eq. silu)."""
    rows = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]
    cols = tl.program_id(1) * BLOCK_H + tl.arange(0, BLOCK_H)[None, :]
    mask = (rows < batch) & (cols < d_h)
    x = tl.load(x_ptr + rows * x_stride + cols, mask=mask, other=0.0).to(tl.float32)
    a = x + tl.load(b_ptr + cols, mask=cols < d_h, other=0.0).to(tl.float32)
    s = _sigmoid(a)
    dx = tl.load(dout_ptr + rows * d_h + cols, mask=mask, other=0.0).to(tl.float32)
    dx = dx * (s + a * s * (1 - s))
    tl.store(dx_ptr + rows * d_h + cols, dx, mask=mask)
    db = tl.sum(dx, axis=0)[None, :]
    tl.store(db_ptr + tl.program_id(0) * d_h + cols, db, mask=cols < d_h)


# --- both, for autograd -------------------------------------------------------------------------------------------


def _bias_backward(kernel, dout, x, b, **constants):
    """Launch a backward kernel of GELU or SiLU: (dx, db)."""
    batch, d_h = x.shape
    grid = (triton.cdiv(batch, 32), triton.cdiv(d_h, 128))
    dx = torch.empty((batch, d_h), dtype=x.dtype, device=x.device)
    db = torch.empty((grid[0], d_h), dtype=torch.float32, device=x.device)
    kernel[grid](dout.contiguous(), x, b, dx, db, batch, d_h, x.stride(0), **constants, BLOCK_B=32, BLOCK_H=128)
    return dx, db.sum(dim=0).to(b.dtype)


class _BiasGELU(torch.autograd.Function):
    """GELU(x + b), which keeps its arguments and computes the slope anew on the way back."""

    @staticmethod
    def forward(ctx, x, b, approximate):
        ctx.save_for_backward(x, b)
        ctx.approximate = approximate
        return bias_gelu(x, b, approximate)

    @staticmethod
    @once_differentiable
    def backward(ctx, dout):
        tanh = ctx.approximate == "tanh"
        return *_bias_backward(bias_gelu_backward_kernel, dout, *ctx.saved_tensors, TANH=tanh), None


class _BiasSiLU(torch.autograd.Function):
    """SiLU(x + b), which keeps its arguments and computes the slope anew on the way back."""

    @staticmethod
    def forward(ctx, x, b):
        ctx.save_for_backward(x, b)
        return bias_silu(x, b)

    @staticmethod
    @once_differentiable
    def backward(ctx, dout):
        return _bias_backward(bias_silu_backward_kernel, dout, *ctx.saved_tensors)


def bias_gelu_forward(x, b, approximate="none"):
    """Add a bias to every row, then GELU; autograd follows (eqs. gelu and gelu-tanh).

    x is (batch, d_h) and b (d_h,), of one dtype: float32, float16 or, on a GPU, bfloat16. approximate is "none" or
    "tanh". Rows of x may lie apart; other layouts are copied.
    """
    check_tensors(x=(x, "batch d_h"), b=(b, "d_h"))
    if approximate not in ("none", "tanh"):
        raise ValueError(f"expected approximate 'none' or 'tanh', got {approximate!r}")
    (x,), b = whole_rows(x), b.contiguous()
    return _BiasGELU.apply(x, b, approximate) if want_gradients(x, b) else bias_gelu(x, b, approximate)


def bias_silu_forward(x, b):
    """Add a bias to every row, then SiLU; autograd follows (eq. silu). Shapes and dtypes are those of bias_gelu."""
    check_tensors(x=(x, "batch d_h"), b=(b, "d_h"))
    (x,), b = whole_rows(x), b.contiguous()
    return _BiasSiLU.apply(x, b) if want_gradients(x, b) else bias_silu(x, b)


# --- softmax ------------------------------------------------------------------------------------------------------


@triton.jit
def softmax_kernel(x_ptr, p_ptr, d, x_stride, BLOCK: tl.constexpr):
    """Compute one row of softmax, whose d scores start at x_ptr + row * x_stride.

    BLOCK is a power of two, and at least d. p is contiguous (eq. softmax).
    """
    row = tl.program_id(0)
    cols = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * x_stride + cols, mask=cols < d, other=float("-inf"))
    x = x.to(tl.float32)
    e = tl.exp(x - tl.max(x, axis=0))
    tl.store(p_ptr + row * d + cols, e / tl.sum(e, axis=0), mask=cols < d)


def softmax(x, axis=-1):
    """Launch one program for each row of scores, along the last axis after a transposition."""
    moved = x.movedim(axis, -1)
    d = moved.shape[-1]
    rows = moved.reshape(moved.numel() // d, d)
    rows = rows if rows.stride(1) == 1 else rows.contiguous()
    p = torch.empty(moved.shape, dtype=x.dtype, device=x.device)
    softmax_kernel[(len(rows),)](rows, p, d, rows.stride(0), BLOCK=triton.next_power_of_2(d))
    return p.movedim(-1, axis)


@triton.jit
def softmax_backward_kernel(dout_ptr, p_ptr, dx_ptr, d, BLOCK: tl.constexpr):
    """Compute one row of dx = p * (dout - sum(dout * p)) (eq. softmax-backward). All arrays are contiguous."""
    cols = tl.arange(0, BLOCK)
    at, mask = tl.program_id(0) * d + cols, cols < d
    p = tl.load(p_ptr + at, mask=mask, other=0.0).to(tl.float32)
    dout = tl.load(dout_ptr + at, mask=mask, other=0.0).to(tl.float32)
    tl.store(dx_ptr + at, p * (dout - tl.sum(dout * p, axis=0)), mask=mask)


class _Softmax(torch.autograd.Function):
    """Softmax, whose way back needs its output only."""

    @staticmethod
    def forward(ctx, x, axis):
        p = softmax(x, axis)
        ctx.save_for_backward(p)
        ctx.axis = axis
        return p

    @staticmethod
    @once_differentiable
    def backward(ctx, dout):
        p, dout = (tensor.movedim(ctx.axis, -1).contiguous() for tensor in (*ctx.saved_tensors, dout))
        d = p.shape[-1]
        dx = torch.empty(p.shape, dtype=p.dtype, device=p.device)
        softmax_backward_kernel[(p.numel() // d,)](dout, p, dx, d, BLOCK=triton.next_power_of_2(d))
        return dx.movedim(-1, ctx.axis), None


def softmax_forward(x, axis=-1):
    """Turn scores into probabilities that sum to 1 along an axis; autograd follows (eq. softmax).

    x is float32, float16 or, on a GPU, bfloat16. The axis has 1 to 8192 scores. Rows may lie apart.
    """
    check_tensors(x=(x, " ".join(f"axis_{k}" for k in range(getattr(x, "ndim", 0)))))
    if not -x.ndim <= axis < x.ndim or not 1 <= x.shape[axis] <= LONGEST_ROW:
        raise ValueError(f"expected an axis of x with 1 to {LONGEST_ROW} scores, got axis {axis} of {tuple(x.shape)}")
    return _Softmax.apply(x, axis) if want_gradients(x) else softmax(x, axis)
