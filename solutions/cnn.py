"""Convolution and pooling: values and gradients, parameters, receptive field.

Images are (batch, channels, height, width). Stride, padding and dilation are single
numbers, for rows and columns alike; windows may be higher than wide.
"""

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray


def conv_output_size(
    size: int, window: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    """Return in how many places a window fits along one axis (eq. conv-output-size).

    Raises ValueError where it fits nowhere.
    """
    if min(window, stride, dilation) < 1 or padding < 0:
        raise ValueError(
            "expected window, stride and dilation of at least 1 and padding of at "
            f"least 0, got {window}, {stride}, {dilation} and {padding}"
        )
    span = dilation * (window - 1) + 1
    if size + 2 * padding < span:
        padded = f"{size} + 2 * {padding}"
        raise ValueError(f"expected room for a span of {span}, got a size of {padded}")
    return (size + 2 * padding - span) // stride + 1


def conv_params(
    window: int, c_in: int, c_out: int, groups: int = 1, bias: bool = True
) -> int:
    """Count the weights and biases of a square convolution (eq. conv-params).

    Raises ValueError where the channels cannot be shared out evenly to the groups.
    """
    if groups < 1 or c_in % groups or c_out % groups:
        got = f"{c_in} and {c_out} channels for {groups}"
        raise ValueError(f"expected channels that the groups divide, got {got}")
    return window**2 * (c_in // groups) * c_out + (c_out if bias else 0)


def receptive_field(
    window: Int[Array, " layers"],
    stride: Int[Array, " layers"],
    dilation: Int[Array, " layers"],
) -> int:
    """Return how many pixels along one axis can reach one output of a stack of layers.

    Eq. receptive-field; Araujo, Norris & Sim 2019.
    """
    jump = np.cumprod(np.concatenate([np.ones(1, int), stride[:-1]]))
    return int(1 + (dilation * (window - 1) * jump).sum())


# --- windows ----------------------------------------------------------------------


def _pad(x: Array, padding: int, value: float = 0.0) -> Array:
    """Put a margin around the last two axes."""
    if padding == 0:
        return x
    *leading, height, width = x.shape
    shape = (*leading, height + 2 * padding, width + 2 * padding)
    padded = np.full(shape, value, x.dtype)
    padded[..., padding : padding + height, padding : padding + width] = x
    return padded


def _windows(padded: Array, k_h: int, k_w: int, stride: int, dilation: int) -> Array:
    """View each pixel of each window: (..., k_h, k_w, out_h, out_w), without a copy."""
    *leading, height, width = padded.shape
    out_h = conv_output_size(height, k_h, stride, 0, dilation)
    out_w = conv_output_size(width, k_w, stride, 0, dilation)
    *outer, row, col = padded.strides
    return np.lib.stride_tricks.as_strided(  # quicker than sliding_window_view
        padded,
        (*leading, k_h, k_w, out_h, out_w),
        (*outer, dilation * row, dilation * col, stride * row, stride * col),
    )


def im2col(
    x: Float[Array, "c_in height width"],
    k_h: int,
    k_w: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Float[Array, "c_in*{k_h}*{k_w} positions"]:
    """Write each window of an image into a column, channel by channel (eq. im2col)."""
    windows = _windows(_pad(x, padding), k_h, k_w, stride, dilation)
    return windows.copy().reshape(len(x) * k_h * k_w, -1)


def col2im(
    columns: Float[Array, "rows positions"],
    height: int,
    width: int,
    k_h: int,
    k_w: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Float[Array, "c_in {height} {width}"]:
    """Add each column to the pixels that it was read from: the adjoint of im2col.

    Eq. col2im.
    """
    c_in = len(columns) // (k_h * k_w)
    padded = np.zeros((c_in, height + 2 * padding, width + 2 * padding), columns.dtype)
    windows = _windows(padded, k_h, k_w, stride, dilation)
    columns = columns.reshape(windows.shape)
    for i in range(k_h):
        for j in range(k_w):  # windows overlap, but never at the same offset
            windows[:, i, j] += columns[:, i, j]
    return padded[:, padding : padding + height, padding : padding + width].copy()


# --- convolution ------------------------------------------------------------------


def conv2d_forward(
    x: Float[Array, "batch c_in height width"],
    W: Float[Array, "c_out c_in k_h k_w"],
    b: Float[Array, " c_out"],
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> tuple[Float[Array, "batch c_out out_h out_w"], tuple]:
    """Slide each filter over each image, one product of matrices for each image.

    Eq. conv2d; LeCun et al. 1989. Like all libraries, this does not flip the filter.
    """
    (batch, c_in, height, width), (c_out, _, k_h, k_w) = x.shape, W.shape
    out_h = conv_output_size(height, k_h, stride, padding, dilation)
    out_w = conv_output_size(width, k_w, stride, padding, dilation)
    filters = W.reshape(c_out, -1)
    columns = np.empty((c_in, k_h, k_w, out_h, out_w), x.dtype)  # used again and again
    out = np.empty((batch, c_out, out_h * out_w), x.dtype)
    for m in range(batch):
        columns[...] = _windows(_pad(x[m], padding), k_h, k_w, stride, dilation)
        np.matmul(filters, columns.reshape(filters.shape[1], -1), out=out[m])
        out[m] += b[:, None]
    return out.reshape(batch, c_out, out_h, out_w), (x, W, stride, padding, dilation)


def conv2d_backward(
    dout: Float[Array, "batch c_out out_h out_w"],
    cache: tuple,
) -> tuple[
    Float[Array, "batch c_in height width"],
    Float[Array, "c_out c_in k_h k_w"],
    Float[Array, " c_out"],
]:
    """Return (dx, dW, db) (eq. conv2d-backward)."""
    x, W, *moves = cache
    c_out, _, k_h, k_w = W.shape
    filters = W.reshape(c_out, -1)
    dx, dW = np.empty_like(x), np.zeros_like(filters)
    for m in range(len(x)):
        da = dout[m].reshape(c_out, -1)
        columns = im2col(x[m], k_h, k_w, *moves)
        dW += da @ columns.T
        dx[m] = col2im(filters.T @ da, *x.shape[2:], k_h, k_w, *moves)
    return dx, dW.reshape(W.shape), dout.sum(axis=(0, 2, 3))


def grouped_conv2d_forward(
    x: Float[Array, "batch groups c_in height width"],
    W: Float[Array, "groups c_out c_in k_h k_w"],
    b: Float[Array, "groups c_out"],
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> tuple[Float[Array, "batch groups c_out out_h out_w"], tuple]:
    """Convolve each group of channels by itself (eq. grouped-conv2d).

    Groups are an axis of their own, in front of the channels of one group.
    """
    moves = (stride, padding, dilation)
    results = [conv2d_forward(x[:, g], W[g], b[g], *moves) for g in range(x.shape[1])]
    outs, caches = zip(*results, strict=True)
    return np.stack(outs, axis=1), caches


def grouped_conv2d_backward(
    dout: Float[Array, "batch groups c_out out_h out_w"],
    cache: tuple,
) -> tuple[
    Float[Array, "batch groups c_in height width"],
    Float[Array, "groups c_out c_in k_h k_w"],
    Float[Array, "groups c_out"],
]:
    """Return (dx, dW, db), group by group (eq. grouped-conv2d)."""
    parts = [conv2d_backward(dout[:, g], cache[g]) for g in range(len(cache))]
    dx, dW, db = zip(*parts, strict=True)
    return np.stack(dx, axis=1), np.stack(dW), np.stack(db)


def depthwise_conv2d_forward(
    x: Float[Array, "batch channels height width"],
    W: Float[Array, "channels k_h k_w"],
    b: Float[Array, " channels"],
    stride: int = 1,
    padding: int = 0,
) -> tuple[Float[Array, "batch channels out_h out_w"], tuple]:
    """Convolve each channel with a filter of its own (eq. depthwise)."""
    _, k_h, k_w = W.shape
    windows = _windows(_pad(x, padding), k_h, k_w, stride, 1)
    out = np.zeros((*x.shape[:2], *windows.shape[-2:]), x.dtype)
    for i in range(k_h):
        for j in range(k_w):
            out += W[:, i, j, None, None] * windows[:, :, i, j]
    return out + b[:, None, None], (x, W, stride, padding)


def depthwise_conv2d_backward(
    dout: Float[Array, "batch channels out_h out_w"],
    cache: tuple,
) -> tuple[
    Float[Array, "batch channels height width"],
    Float[Array, "channels k_h k_w"],
    Float[Array, " channels"],
]:
    """Return (dx, dW, db) (eq. depthwise-backward)."""
    x, W, stride, padding = cache
    (_, _, height, width), (_, k_h, k_w) = x.shape, W.shape
    padded = _pad(x, padding)
    dpadded, dW = np.zeros(padded.shape, x.dtype), np.zeros_like(W)
    windows = _windows(padded, k_h, k_w, stride, 1)
    dwindows = _windows(dpadded, k_h, k_w, stride, 1)
    for i in range(k_h):
        for j in range(k_w):
            dW[:, i, j] = (dout * windows[:, :, i, j]).sum(axis=(0, 2, 3))
            dwindows[:, :, i, j] += W[:, i, j, None, None] * dout
    dx = dpadded[:, :, padding : padding + height, padding : padding + width].copy()
    return dx, dW, dout.sum(axis=(0, 2, 3))


def pointwise_conv2d_forward(
    x: Float[Array, "batch c_in height width"],
    W: Float[Array, "c_out c_in"],
    b: Float[Array, " c_out"],
) -> tuple[Float[Array, "batch c_out height width"], tuple]:
    """Mix the channels of each pixel with one matrix: a 1x1 convolution.

    Eq. pointwise; Lin, Chen & Yan 2014.
    """
    batch, c_in, height, width = x.shape
    out = W @ x.reshape(batch, c_in, height * width) + b[:, None]
    return out.reshape(batch, len(W), height, width), (x, W)


def pointwise_conv2d_backward(
    dout: Float[Array, "batch c_out height width"],
    cache: tuple,
) -> tuple[
    Float[Array, "batch c_in height width"],
    Float[Array, "c_out c_in"],
    Float[Array, " c_out"],
]:
    """Return (dx, dW, db) (eq. pointwise-backward)."""
    x, W = cache
    dx = np.einsum("ji,njhw->nihw", W, dout, optimize=True)
    dW = np.einsum("njhw,nihw->ji", dout, x, optimize=True)
    return dx, dW, dout.sum(axis=(0, 2, 3))


# --- pooling ----------------------------------------------------------------------


def _check_pool_padding(window: int, padding: int) -> None:
    """Raise ValueError where a window could lie in the margin as a whole."""
    if 2 * padding > window:
        got = f"{padding} for a window of {window}"
        raise ValueError(f"expected padding of at most half a window, got {got}")


def _largest_ahead(numbers: Array, step: int, count: int, out: Array) -> Array:
    """Return the largest of each number and the count - 1 that follow it step apart.

    Axes do not matter: NumPy is quickest on one long run. The last numbers that come
    back mean nothing, since too few follow.
    """
    largest = run = numbers.reshape(-1)
    for i in range(1, count):
        end = run.size - i * step
        largest = np.maximum(largest[:end], run[i * step :], out=out.reshape(-1)[:end])
    return out if count > 1 else numbers


def _fill_with_largest(
    out: Array, maps: Array, window: int, stride: int, padding: int
) -> None:
    """Fill out with the largest number of each window, a few maps at a time."""
    (_, height, width), (_, out_h, out_w) = maps.shape, out.shape
    step = 1 + 65_536 // (height * width)  # maps that fit into the cache
    count = len(maps[:step])
    tall = np.full((count, height + 2 * padding, width), -np.inf, maps.dtype)
    wide = np.full((count, out_h, width + 2 * padding), -np.inf, maps.dtype)
    high, best = np.empty_like(tall), np.empty_like(wide)  # used again and again
    for at in range(0, len(maps), step):
        some = maps[at : at + step]
        tall[: len(some), padding : padding + height] = some
        rows = _largest_ahead(tall, width, window, high)[:, ::stride][:, :out_h]
        wide[..., padding : padding + width] = rows
        columns = _largest_ahead(wide, 1, window, best)[: len(some), :, ::stride]
        out[at : at + step] = columns[..., :out_w]


def max_pool_forward(
    x: Float[Array, "batch channels height width"],
    window: int = 2,
    stride: int = 2,
    padding: int = 0,
) -> tuple[Float[Array, "batch channels out_h out_w"], tuple]:
    """Keep the largest number of each window: of its rows, then of its columns.

    Eq. max-pool. The margin counts as minus infinity, so it is never chosen.
    """
    _check_pool_padding(window, padding)
    batch, channels, height, width = x.shape
    out_h = conv_output_size(height, window, stride, padding)
    out_w = conv_output_size(width, window, stride, padding)
    out = np.empty((batch * channels, out_h, out_w), x.dtype)
    maps = x.reshape(batch * channels, height, width)
    _fill_with_largest(out, maps, window, stride, padding)
    out = out.reshape(batch, channels, out_h, out_w)
    return out, (x, out, window, stride, padding)


def max_pool_backward(
    dout: Float[Array, "batch channels out_h out_w"],
    cache: tuple,
) -> Float[Array, "batch channels height width"]:
    """Send each gradient to the first maximum of its window, row by row.

    Eq. max-pool-backward. Only one of equal maxima gets it, as in torch.
    """
    x, out, window, stride, padding = cache
    padded = _pad(x, padding, np.nan)  # equal to nothing
    dpadded = np.zeros(padded.shape, x.dtype)
    windows = _windows(padded, window, window, stride, 1)
    dwindows = _windows(dpadded, window, window, stride, 1)
    waiting = np.ones(out.shape, bool)  # has no pixel of the window been chosen yet?
    for i in range(window):
        for j in range(window):
            chosen = waiting & (windows[:, :, i, j] == out)
            dwindows[:, :, i, j] += dout * chosen
            waiting &= ~chosen
    end_h, end_w = (size - padding for size in padded.shape[2:])
    return dpadded[:, :, padding:end_h, padding:end_w].copy()


def avg_pool_forward(
    x: Float[Array, "batch channels height width"],
    window: int = 2,
    stride: int = 2,
    padding: int = 0,
) -> tuple[Float[Array, "batch channels out_h out_w"], tuple]:
    """Return the mean of each window; the margin counts as zeros (eq. avg-pool)."""
    _check_pool_padding(window, padding)
    windows = _windows(_pad(x, padding), window, window, stride, 1)
    return windows.mean(axis=(2, 3)), (x.shape, window, stride, padding)


def avg_pool_backward(
    dout: Float[Array, "batch channels out_h out_w"],
    cache: tuple,
) -> Float[Array, "batch channels height width"]:
    """Share each gradient out evenly to its window (eq. avg-pool)."""
    (*leading, height, width), window, stride, padding = cache
    share = dout / window**2
    dpadded = np.zeros((*leading, height + 2 * padding, width + 2 * padding))
    dwindows = _windows(dpadded, window, window, stride, 1)
    for i in range(window):
        for j in range(window):
            dwindows[:, :, i, j] += share
    end_h, end_w = padding + height, padding + width
    return dpadded[:, :, padding:end_h, padding:end_w].copy()


# --- which slip -------------------------------------------------------------------


def which_filter(
    x: Float[Array, "height width"],
    W: Float[Array, "k k"],
    out: Float[Array, "answers height-k+1 width-k+1"],
) -> Int[Array, " answers"]:
    """Say which filter each answer was really computed with.

    0: W as it is; 1: W turned by 180 degrees, which is true convolution; 2: W
    transposed; 3: W with its columns in reverse; 4: W with its rows in reverse.
    """
    filters = np.array([W, W[::-1, ::-1], W.T, W[:, ::-1], W[::-1]])
    windows = _windows(x, *W.shape, 1, 1)
    outs = np.einsum("fij,ijhw->fhw", filters, windows)
    same = np.isclose(out[:, None], outs).all(axis=(2, 3))
    return same.argmax(axis=1)
