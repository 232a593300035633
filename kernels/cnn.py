"""Convolution as one product of matrices whose right factor is never stored; max-pooling with its argmax.

Sums are taken in float32.
"""

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

from kernels.arguments import check_tensors, want_gradients


def _places(size, window, stride, padding, dilation=1):
    """Return in how many places a window fits along an axis; raise ValueError where it fits nowhere."""
    if min(window, stride, dilation) < 1 or padding < 0:
        got = f"{window}, {stride}, {dilation} and {padding}"
        raise ValueError(f"expected window, stride, dilation of at least 1 and padding of at least 0, got {got}")
    places = (size + 2 * padding - dilation * (window - 1) - 1) // stride + 1
    if places < 1:
        raise ValueError(f"expected an image that the window fits into, got {size} pixels for a window of {window}")
    return places


# --- convolution --------------------------------------------------------------------------------------------------


@triton.jit
def conv2d_kernel(
    x_ptr, W_ptr, b_ptr, out_ptr,
    batch, c_in, height, width, c_out, out_h, out_w, stride, padding, dilation,
    K_H: tl.constexpr, K_W: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute BLOCK_C channels of out at BLOCK_P positions (eq. conv2d).

    Positions are numbered through all images, row by row. Program (p, q) has the p-th
    block of positions and the q-th of channels; it sums filters @ columns by blocks of
    BLOCK_K and makes the columns of im2col as it goes. All arrays are contiguous.
    """
    at = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)[None, :]
    channel = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)[:, None]
    image, place = at // (out_h * out_w), at % (out_h * out_w)
    top = place // out_w * stride - padding
    left = place % out_w * stride - padding
    length = c_in * K_H * K_W
    total = tl.zeros((BLOCK_C, BLOCK_P), tl.float32)
    for start in range(0, length, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        W_mask = (channel < c_out) & (k[None, :] < length)
        W = tl.load(W_ptr + channel * length + k[None, :], mask=W_mask, other=0.0)
        row = top + (k // K_W % K_H * dilation)[:, None]
        col = left + (k % K_W * dilation)[:, None]
        inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
        inside = inside & (k[:, None] < length) & (image < batch)
        pixel = ((image * c_in + (k // (K_H * K_W))[:, None]) * height + row) * width + col
        columns = tl.load(x_ptr + pixel, mask=inside, other=0.0)
        total = tl.dot(W, columns, total, input_precision="tf32")
    b = tl.load(b_ptr + channel, mask=channel < c_out, other=0.0).to(tl.float32)
    out = out_ptr + (image * c_out + channel) * (out_h * out_w) + place
    tl.store(out, total + b, mask=(channel < c_out) & (image < batch))


def conv2d(x, W, b, stride=1, padding=0, dilation=1):
    """Launch one program for each tile of channels and positions, on arguments as the kernel wants them."""
    (batch, c_in, height, width), (c_out, _, k_h, k_w) = x.shape, W.shape
    out_h = (height + 2 * padding - dilation * (k_h - 1) - 1) // stride + 1
    out_w = (width + 2 * padding - dilation * (k_w - 1) - 1) // stride + 1
    out = torch.empty((batch, c_out, out_h, out_w), dtype=x.dtype, device=x.device)
    grid = (triton.cdiv(batch * out_h * out_w, 128), triton.cdiv(c_out, 64))
    conv2d_kernel[grid](
        x, W, b, out,
        batch, c_in, height, width, c_out, out_h, out_w, stride, padding, dilation,
        K_H=k_h, K_W=k_w, BLOCK_C=64, BLOCK_P=128, BLOCK_K=32, num_warps=8,
    )  # fmt: skip
    return out


class _Conv2d(torch.autograd.Function):
    """The convolution with its gradients; both products of the backward pass are torch's."""

    @staticmethod
    def forward(ctx, x, W, b, stride, padding, dilation):
        ctx.save_for_backward(x, W)
        ctx.moves = [stride, stride], [padding, padding], [dilation, dilation]
        return conv2d(x, W, b, stride, padding, dilation)

    @staticmethod
    @once_differentiable
    def backward(ctx, dout):
        (x, W), (stride, padding, dilation) = ctx.saved_tensors, ctx.moves
        gradients = torch.ops.aten.convolution_backward(
            dout.contiguous(), x, W, [len(W)], stride, padding, dilation, False, [0, 0], 1, [True, True, True]
        )
        return *gradients, None, None, None


def conv2d_forward(x, W, b, stride=1, padding=0, dilation=1):
    """Slide every filter of W over every image; autograd follows (eq. conv2d).

    x is (batch, c_in, height, width), W (c_out, c_in, k_h, k_w), b (c_out,), of one dtype: float32, float16 or, on a
    GPU, bfloat16. Layouts other than contiguous ones are copied.
    """
    check_tensors(x=(x, "batch c_in height width"), W=(W, "c_out c_in k_h k_w"), b=(b, "c_out"))
    for size, window in zip(x.shape[2:], W.shape[2:], strict=True):
        _places(size, window, stride, padding, dilation)
    tensors = [tensor.contiguous() for tensor in (x, W, b)]
    moves = (stride, padding, dilation)
    return _Conv2d.apply(*tensors, *moves) if want_gradients(*tensors) else conv2d(*tensors, *moves)


# --- max-pooling --------------------------------------------------------------------------------------------------


@triton.jit
def max_pool_kernel(
    x_ptr, out_ptr, argmax_ptr, count, height, width, out_h, out_w, stride, padding,
    WINDOW: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute BLOCK of the count outputs, and where in its map each was found (eq. max-pool).

    Outputs are numbered through all maps, row by row. Unless argmax_ptr is None, the
    place row * width + col of the first maximum goes there. The margin is never chosen.
    """
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    map_ptr = x_ptr + at // (out_h * out_w) * (height * width)
    top = at // out_w % out_h * stride - padding
    left = at % out_w * stride - padding
    best = tl.full((BLOCK,), float("-inf"), tl.float32)
    found = tl.maximum(top, 0) * width + tl.maximum(left, 0)
    for i in tl.static_range(WINDOW):
        for j in tl.static_range(WINDOW):
            row, col = top + i, left + j
            inside = (at < count) & (row >= 0) & (row < height) & (col >= 0) & (col < width)
            x = tl.load(map_ptr + row * width + col, mask=inside, other=float("-inf")).to(tl.float32)
            better = (x > best) | (x != x)  # NaN stays, as in torch
            found = tl.where(better, row * width + col, found)
            best = tl.where(better, x, best)
    tl.store(out_ptr + at, best, mask=at < count)
    if argmax_ptr is not None:
        tl.store(argmax_ptr + at, found, mask=at < count)


def max_pool(x, window=2, stride=2, padding=0, argmax=None):
    """Launch one program for each block of outputs, on arguments as the kernel wants them."""
    *leading, height, width = x.shape
    out_h = (height + 2 * padding - window) // stride + 1
    out_w = (width + 2 * padding - window) // stride + 1
    out = torch.empty((*leading, out_h, out_w), dtype=x.dtype, device=x.device)
    grid = (triton.cdiv(out.numel(), 1024),)
    max_pool_kernel[grid](
        x, out, argmax, out.numel(), height, width, out_h, out_w, stride, padding, WINDOW=window, BLOCK=1024
    )
    return out


@triton.jit
def max_pool_backward_kernel(
    dout_ptr, argmax_ptr, dx_ptr, count, height, width, out_h, out_w, stride, padding,
    WINDOW: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute BLOCK of the count pixels of dx (eq. max-pool-backward).

    Each pixel asks all windows that it lies in whether they chose it. So no two programs
    add to one pixel, and the order of the sum is always the same.
    """
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    first = at // (height * width) * (out_h * out_w)  # output of the pixel's map
    place = at % (height * width)
    row, col = place // width + padding, place % width + padding
    dx = tl.zeros((BLOCK,), tl.float32)
    for i in tl.static_range(WINDOW):
        for j in tl.static_range(WINDOW):
            o, q = (row - i) // stride, (col - j) // stride
            starts = (row >= i) & (col >= j) & ((row - i) % stride == 0) & ((col - j) % stride == 0)
            inside = (at < count) & starts & (o < out_h) & (q < out_w)
            chosen = tl.load(argmax_ptr + first + o * out_w + q, mask=inside, other=-1) == place
            dout = tl.load(dout_ptr + first + o * out_w + q, mask=inside & chosen, other=0.0)
            dx += dout.to(tl.float32)
    tl.store(dx_ptr + at, dx, mask=at < count)


class _MaxPool(torch.autograd.Function):
    """Max-pooling, which keeps for the way back where each maximum was found."""

    @staticmethod
    def forward(ctx, x, window, stride, padding):
        places = [_places(size, window, stride, padding) for size in x.shape[2:]]
        argmax = torch.empty((*x.shape[:2], *places), dtype=torch.int32, device=x.device)
        out = max_pool(x, window, stride, padding, argmax)
        ctx.save_for_backward(argmax)
        ctx.sizes, ctx.moves = x.shape, (window, stride, padding)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, dout):
        (argmax,), (window, stride, padding) = ctx.saved_tensors, ctx.moves
        dx = torch.empty(ctx.sizes, dtype=dout.dtype, device=dout.device)
        max_pool_backward_kernel[(triton.cdiv(dx.numel(), 1024),)](
            dout.contiguous(), argmax, dx, dx.numel(), *ctx.sizes[2:], *argmax.shape[2:], stride, padding,
            WINDOW=window, BLOCK=1024,
        )  # fmt: skip
        return dx, None, None, None


def max_pool_forward(x, window=2, stride=2, padding=0):
    """Keep the largest number of each window; autograd follows, to the first of equal ones (eq. max-pool).

    x is (batch, channels, height, width): float32, float16 or, on a GPU, bfloat16. Layouts other than contiguous ones
    are copied. The margin counts as minus infinity.
    """
    check_tensors(x=(x, "batch channels height width"))
    for size in x.shape[2:]:
        _places(size, window, stride, padding)
    if 2 * padding > window:
        raise ValueError(f"expected padding of at most half a window, got {padding} for a window of {window}")
    x = x.contiguous()
    return _MaxPool.apply(x, window, stride, padding) if want_gradients(x) else max_pool(x, window, stride, padding)
