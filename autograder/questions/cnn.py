"""The questions about convolution and pooling, each with the mistakes that are known by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from autograder.question import Draw, Mistake, Question, backward_slip, slip
from solutions.cnn import (
    col2im,
    conv2d_backward,
    conv2d_forward,
    conv_output_size,
    conv_params,
    depthwise_conv2d_forward,
    im2col,
    max_pool_backward,
    max_pool_forward,
    pointwise_conv2d_forward,
    receptive_field,
    which_filter,
)

LIBRARIES = ("torch", "scipy", "skimage")  # whose functions would do a question's work

# --- sizes and counts ---------------------------------------------------------------------------------------------


def sizes(window: int, stride: int, padding: int, dilation: int, rest: int) -> Draw:
    """An axis of some size on which the last step of the window leaves `rest` pixels over."""
    span = dilation * (window - 1) + 1

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        size = span + stride * int(rng.integers(5, 12)) + rest - 2 * padding
        return {"size": size, "window": window, "stride": stride, "padding": padding, "dilation": dilation}

    return make


CONV_OUTPUT_SIZE = Question(
    name="conv_output_size",
    reference=(conv_output_size,),
    outputs=("places",),
    by_draw=True,
    draws={
        "a window of 3": sizes(3, 1, 0, 1, 0),
        "a margin of 2": sizes(3, 1, 2, 1, 0),
        "stride 3, one pixel left over": sizes(5, 3, 1, 1, 1),
        "stride 2 and dilation 3": sizes(3, 2, 1, 3, 0),
    },
    mistakes={
        "rounded up": slip(
            "you round up where the last step does not fit: a place that reaches beyond the margin does not count, so "
            "divide with //, which rounds down",
            conv_output_size,
            ("(size + 2 * padding - span) // stride + 1", "-((span - size - 2 * padding) // stride) + 1"),
        ),
        "no plus one": slip(
            "one place is missing: the quotient counts the *steps*, and there is a place before the first step, so add "
            "1 behind the division",
            conv_output_size,
            ("// stride + 1", "// stride"),
        ),
        "no dilation": slip(
            "dilation has no effect on your answer: a window of K pixels spans D (K - 1) + 1",
            conv_output_size,
            ("dilation * (window - 1) + 1", "window"),
        ),
        "dilation times window": slip(
            "the span of a dilated window is D (K - 1) + 1, since only the K - 1 gaps are widened; yours is D K",
            conv_output_size,
            ("dilation * (window - 1) + 1", "dilation * window"),
        ),
        "padding once": slip(
            "the margin lies on both sides of the axis: it adds 2 P, yours adds P",
            conv_output_size,
            ("return (size + 2 * padding", "return (size + padding"),
        ),
        "one behind the bracket's division": slip(
            "you add the 1 before you divide; it belongs behind the division",
            conv_output_size,
            ("(size + 2 * padding - span) // stride + 1", "(size + 2 * padding - span + 1) // stride"),
        ),
    },
    edges={"a window of one pixel": sizes(1, 2, 0, 1, 0)},
)


def layer(groups: int, bias: bool, per_group: tuple[int, int] = (5, 7)) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        window = int(rng.choice([3, 5, 7]))
        return {
            "window": window,
            "c_in": groups * per_group[0],
            "c_out": groups * per_group[1],
            "groups": groups,
            "bias": bias,
        }

    return make


CONV_PARAMS = Question(
    name="conv_params",
    reference=(conv_params,),
    outputs=("count",),
    by_draw=True,
    draws={
        "with bias": layer(1, True),
        "without bias": layer(1, False),
        "three groups": layer(3, True),
        "six groups without bias": layer(6, False),
    },
    mistakes={
        "bias always": slip(
            "you count biases where there are none: with bias=False the layer has its weights only",
            conv_params,
            ("(c_out if bias else 0)", "c_out"),
        ),
        "bias never": slip(
            "the biases are missing: with bias=True there is one for each output channel",
            conv_params,
            ("(c_out if bias else 0)", "0"),
        ),
        "a bias for each input": slip(
            "there is one bias for each *output* channel, added after the sum over the inputs",
            conv_params,
            ("(c_out if bias else 0)", "(c_in if bias else 0)"),
        ),
        "groups ignored": slip(
            "groups have no effect on your answer: a filter reads the channels of its own group only, c_in / groups",
            conv_params,
            ("(c_in // groups)", "c_in"),
        ),
        "groups divide twice": slip(
            "you divide both numbers of channels by groups: a filter reads c_in / groups channels, but there are still "
            "c_out filters, over all groups together",
            conv_params,
            ("* c_out +", "* (c_out // groups) +"),
        ),
        "window not squared": slip(
            "a filter is as wide as it is high: the window counts twice, K * K", conv_params, ("window**2", "window")
        ),
    },
    edges={"one filter for each channel": layer(9, True, (1, 1))},
)


def stack(layers: int) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        return {
            "window": rng.choice([3, 5, 7], layers),
            "stride": rng.choice([2, 3], layers),
            "dilation": rng.choice([2, 3], layers),
        }

    return make


def one_layer(rng: np.random.Generator) -> Mapping[str, object]:
    return {"window": np.array([5]), "stride": np.array([3]), "dilation": np.array([2])}


JUMP = "np.cumprod(np.concatenate([np.ones(1, int), stride[:-1]]))"

RECEPTIVE_FIELD = Question(
    name="receptive_field",
    reference=(receptive_field,),
    outputs=("pixels",),
    draws={"3 layers": stack(3), "5 layers": stack(5), "2 layers": stack(2)},
    mistakes={
        "strides ignored": slip(
            "strides have no effect on your answer: behind a layer of stride 2, neighboring outputs lie two pixels "
            "apart, so every later layer reaches twice as far",
            receptive_field,
            (JUMP, "1"),
        ),
        "own stride": slip(
            "a layer's own stride does not widen what one of its outputs sees, only that of the layers behind it: "
            "multiply the strides of the layers *before*",
            receptive_field,
            (JUMP, "np.cumprod(stride)"),
        ),
        "last stride only": slip(
            "you take the stride of the layer before; the strides of all layers before multiply",
            receptive_field,
            (JUMP, "np.concatenate([np.ones(1, int), stride[:-1]])"),
        ),
        "top layer first": slip(
            "you take the layers in the wrong order: they come from the image upwards, so a layer's jump has the "
            "strides of the layers before it in the list",
            receptive_field,
            ("    jump =", "    window, stride, dilation = window[::-1], stride[::-1], dilation[::-1]\n    jump ="),
        ),
        "dilation ignored": slip(
            "dilation has no effect on your answer: it widens each of the K - 1 gaps of a window",
            receptive_field,
            ("dilation * (window - 1)", "(window - 1)"),
        ),
        "windows summed": slip(
            "windows overlap: a layer adds K - 1 to what is seen, and not K",
            receptive_field,
            ("(window - 1)", "window"),
        ),
        "no plus one": slip(
            "the pixel that you start from is missing: begin with 1", receptive_field, ("int(1 + (", "int((")
        ),
    },
    edges={"one layer": one_layer},
    tells={"5 layers": ("top layer first",)},
)

# --- which filter -------------------------------------------------------------------------------------------------


def answers(height: int, width: int, count: int) -> Draw:
    """Outputs of one image, each of the five filters at least once."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        x, W = rng.standard_normal((height, width)), rng.standard_normal((3, 3))
        filters = np.array([W, W[::-1, ::-1], W.T, W[:, ::-1], W[::-1]])
        outs, _ = conv2d_forward(x[None, None], filters[:, None], np.zeros(5))
        made_with = rng.permutation(np.concatenate([np.arange(5), rng.integers(0, 5, count - 5)]))
        return {"x": x, "W": W, "out": outs[0, made_with]}

    return make


FILTERS = "[W, W[::-1, ::-1], W.T, W[:, ::-1], W[::-1]]"

WHICH_FILTER = Question(
    name="which_filter",
    reference=(which_filter,),
    outputs=("slip",),
    draws={"7 by 9": answers(7, 9, 6), "6 by 5": answers(6, 5, 9), "11 by 7": answers(11, 7, 5)},
    mistakes={
        "true convolution taken for right": slip(
            "you take true convolution, with the filter turned by 180 degrees, for right, and the right one for the "
            "slip: in deep learning the filter is not turned",
            which_filter,
            (FILTERS, "[W[::-1, ::-1], W, W.T, W[:, ::-1], W[::-1]]"),
        ),
        "rows and columns exchanged": slip(
            "W[::-1] reverses the order of the rows and W[:, ::-1] that of the columns; you have them exchanged",
            which_filter,
            (FILTERS, "[W, W[::-1, ::-1], W.T, W[::-1], W[:, ::-1]]"),
        ),
        "counts from one": slip(
            "your numbers begin at 1: 0 stands for no slip",
            which_filter,
            ("same.argmax(axis=1)", "same.argmax(axis=1) + 1"),
        ),
        "transposed for turned": slip(
            "W.T mirrors the filter at its diagonal; turned by 180 degrees it is W[::-1, ::-1]",
            which_filter,
            (FILTERS, "[W, W.T, W[::-1, ::-1], W[:, ::-1], W[::-1]]"),
        ),
    },
    edges={"an image as large as the filter": answers(3, 3, 5)},
    forbid=LIBRARIES,
)

# --- columns ------------------------------------------------------------------------------------------------------

Moves = tuple[int, int, int]  # stride, padding, dilation
PLAIN, MOVED, WIDE = (1, 0, 1), (2, 1, 1), (1, 2, 2)
LABELS = {"stride 1": PLAIN, "stride 2, padding 1": MOVED, "padding 2, dilation 2": WIDE}


def moves_of(moves: Moves) -> dict[str, int]:
    return dict(zip(("stride", "padding", "dilation"), moves, strict=True))


def image(moves: Moves, c_in: int = 3, height: int = 9, width: int = 10, k_h: int = 3, k_w: int = 2) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        return {"x": rng.standard_normal((c_in, height, width)), "k_h": k_h, "k_w": k_w, **moves_of(moves)}

    return make


COPIED = "windows.copy()"

IM2COL = Question(
    name="im2col",
    reference=(im2col,),
    outputs=("columns",),
    by_draw=True,
    draws={label: image(moves) for label, moves in LABELS.items()},
    mistakes={
        "a window in each row": slip(
            "yours is transposed: a window is a column here, so that the filters multiply from the left",
            im2col,
            ("k_w, -1)", "k_w, -1).T"),
        ),
        "channels last": slip(
            "within a column, the channel comes first and the place in the window last: that is the order of "
            "W.reshape(c_out, -1). Yours has the channel last",
            im2col,
            (COPIED, "windows.transpose(1, 2, 0, 3, 4)"),
        ),
        "window column by column": slip(
            "within a column, a window is written row by row; yours goes down its columns",
            im2col,
            (COPIED, "windows.transpose(0, 2, 1, 3, 4)"),
        ),
        "places column by column": slip(
            "the places of the window are numbered row by row of the image; yours go down its columns",
            im2col,
            (COPIED, "windows.transpose(0, 1, 2, 4, 3)"),
        ),
        "reshaped, not transposed": slip(
            "your windows have the axes (channel, place down, place across, row, column) when you reshape them, and a "
            "reshape does not move axes: transpose first, so that the places come last",
            im2col,
            (COPIED, "windows.transpose(0, 3, 4, 1, 2)"),
        ),
        "rows reshaped to columns": slip(
            "you have a window in each row and then reshape: that cuts the rows anew and does not turn them into "
            "columns. Transpose in place of it",
            im2col,
            (COPIED, "windows.transpose(3, 4, 0, 1, 2)"),
        ),
        "window turned": slip(
            "each window is turned by 180 degrees: that is true convolution; here the window is written as it lies",
            im2col,
            (COPIED, "windows[:, ::-1, ::-1]"),
        ),
        "dilation ignored": slip(
            "dilation has no effect on your answer: the pixels of a window lie that far apart",
            im2col,
            ("stride, dilation)", "stride, 1)"),
        ),
    },
    edges={
        "a window of one pixel": image(PLAIN, k_h=1, k_w=1),
        "a window as large as the image": image(PLAIN, 3, 5, 3, 5, 3),
    },
    forbid=LIBRARIES,
)


def columns(moves: Moves, c_in: int = 3, height: int = 9, width: int = 10, k_h: int = 3, k_w: int = 2) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        places = conv_output_size(height, k_h, *moves) * conv_output_size(width, k_w, *moves)
        return {
            "columns": rng.standard_normal((c_in * k_h * k_w, places)),
            "height": height,
            "width": width,
            "k_h": k_h,
            "k_w": k_w,
            **moves_of(moves),
        }

    return make


CROP = "padded[:, padding : padding + height, padding : padding + width]"

COL2IM = Question(
    name="col2im",
    reference=(col2im,),
    outputs=("x",),
    by_draw=True,
    draws={label: columns(moves) for label, moves in LABELS.items()},
    mistakes={
        "overwrites": slip(
            "where windows overlap, you overwrite what an earlier one left: a pixel that was read several times gets "
            "the *sum*, so add",
            col2im,
            ("windows[:, i, j] +=", "windows[:, i, j] ="),
        ),
        "mean of the overlaps": slip(
            "you divide by how often each pixel was read; the adjoint adds and does not average",
            col2im,
            (CROP, f"(padded / np.maximum(count, 1)){CROP.removeprefix('padded')}"),
            ("    for i in range", "    count = np.zeros_like(padded)\n    for i in range"),
            (
                "windows[:, i, j] += columns[:, i, j]",
                "windows[:, i, j] += columns[:, i, j]\n"
                "            _windows(count, k_h, k_w, stride, dilation)[:, i, j] += 1",
            ),
        ),
        "margin kept": slip(
            "you return the image with its margin: cut it off, padding pixels on each side", col2im, (CROP, "padded")
        ),
        "margin cut off at one end": slip(
            "the margin lies on both sides: cut padding pixels off the front as well; you cut all of it at the end",
            col2im,
            (CROP, "padded[:, :height, :width]"),
        ),
        "cut off with a minus": slip(
            "you cut the margin off with -padding as the end, and without a margin that is 0: nothing is left. Count "
            "the end from the front, padding + height",
            col2im,
            (CROP, "padded[:, padding:-padding, padding:-padding]"),
        ),
        "window turned": slip(
            "each column is put back turned by 180 degrees: row i, column j of the window goes to where im2col has "
            "read it",
            col2im,
            ("+= columns[:, i, j]", "+= columns[:, k_h - 1 - i, k_w - 1 - j]"),
        ),
    },
    edges={"a window of one pixel": columns(PLAIN, k_h=1, k_w=1)},
    forbid=LIBRARIES,
)

# --- convolution --------------------------------------------------------------------------------------------------


def convolution(moves: Moves, batch: int = 2, c_in: int = 3, c_out: int = 5, k_h: int = 3, k_w: int = 2) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        return {
            "x": rng.standard_normal((batch, c_in, 9, 10)),
            "W": rng.standard_normal((c_out, c_in, k_h, k_w)),
            "b": rng.standard_normal(c_out),
            **moves_of(moves),
        }

    return make


ROWS = "filters = W.reshape(c_out, -1)"
PADDED = "_pad(x[m], padding)"
FIRST = "    (batch, c_in, height, width), (c_out, _, k_h, k_w) = x.shape, W.shape\n"
BIAS = "        out[m] += b[:, None]\n"
CONVOLUTIONS = {label: convolution(moves) for label, moves in LABELS.items()}
SMALL_CONVOLUTIONS = {
    "one pixel, one channel": convolution(PLAIN, 1, 1, 1, 1, 1),
    "a batch of one": convolution(MOVED, batch=1),
}


def conv2d_slips() -> dict[str, Mistake]:
    """Slips of the forward pass that a kernel can have as well."""
    return {
        "filter turned": slip(
            "your filter is turned by 180 degrees: that is true convolution. Deep learning uses cross-correlation, "
            "which multiplies the first row of the filter with the first row of the window",
            conv2d_forward,
            (ROWS, "filters = W[:, :, ::-1, ::-1].reshape(c_out, -1)"),
        ),
        "no bias": slip("b, one number for each output channel, is never added", conv2d_forward, (BIAS, "")),
        "bias for each input channel": slip(
            "the bias is added once for each input channel; it belongs behind the sum over the channels",
            conv2d_forward,
            ("+= b[:, None]", "+= c_in * b[:, None]"),
        ),
        "first channel only": slip(
            "only the first input channel has an effect: each filter reads all channels, and their sums are added",
            conv2d_forward,
            (ROWS, "filters = (W * (np.arange(c_in) == 0)[:, None, None]).reshape(c_out, -1)"),
        ),
        "dilation ignored": slip(
            "your windows are not dilated: row i of the filter belongs to the row that lies dilation * i further down",
            conv2d_forward,
            ("stride, dilation)\n        np.matmul", "stride, 1)[..., :out_h, :out_w]\n        np.matmul"),
        ),
    }


CONV2D_FORWARD = Question(
    name="conv2d_forward",
    reference=(conv2d_forward,),
    outputs=("out",),
    by_draw=True,
    draws=CONVOLUTIONS,
    mistakes={
        **conv2d_slips(),
        "padding after the convolution": slip(
            "the margin of zeros belongs around the image, before the window moves; you put it around the output",
            conv2d_forward,
            (
                FIRST,
                f"{FIRST}"
                "    if padding:\n"
                "        inner, cache = conv2d_forward(x, W, b, stride, 0, dilation)\n"
                "        full = [conv_output_size(x.shape[a], W.shape[a], stride, padding, dilation) for a in (2, 3)]\n"
                "        more = [a - b for a, b in zip(full, inner.shape[2:])]\n"
                "        return np.pad(inner, [(0, 0), (0, 0)] + [(n // 2, n - n // 2) for n in more]), cache\n",
            ),
        ),
        "padding at the end": slip(
            "the margin lies on all four sides of the image; yours is below and to the right only",
            conv2d_forward,
            (PADDED, "np.pad(x[m], ((0, 0), (0, 2 * padding), (0, 2 * padding)))"),
        ),
        "padding by repetition": slip(
            "the margin is made of zeros; yours repeats the pixels at the edge",
            conv2d_forward,
            (PADDED, 'np.pad(x[m], ((0, 0), (padding, padding), (padding, padding)), "edge")'),
        ),
    },
    edges=SMALL_CONVOLUTIONS,
    forbid=LIBRARIES,
)

BACK_ROWS, PUT_BACK = "filters.T @ da", "col2im(filters.T @ da, *x.shape[2:], k_h, k_w, *moves)"


def conv2d_backward_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, conv2d_forward, conv2d_backward, *edits)


CONV2D_BACKWARD = Question(
    name="conv2d_backward",
    reference=(conv2d_forward, conv2d_backward),
    outputs=("dx", "dW", "db"),
    draws=CONVOLUTIONS,
    mistakes={
        "no flip in dx": conv2d_backward_slip(
            "in dx the filter must be turned once, and in yours it is not: a pixel that lay under the *last* weight of "
            "one window lies under the first weight of a later one. As a convolution of dout, dx has "
            "W[..., ::-1, ::-1]; col2im turns it by itself",
            (BACK_ROWS, "W[:, :, ::-1, ::-1].reshape(c_out, -1).T @ da"),
        ),
        "margin not cut off": conv2d_backward_slip(
            "dx is shifted by the padding: you keep the first rows and columns of the padded gradient, which belong to "
            "the margin. Cut off padding pixels on every side",
            (
                PUT_BACK,
                "col2im(filters.T @ da, x.shape[2] + 2 * moves[1], x.shape[3] + 2 * moves[1], k_h, k_w, moves[0], 0, "
                "moves[2])[:, : x.shape[2], : x.shape[3]]",
            ),
        ),
        "dW of the last image": conv2d_backward_slip(
            "your dW is that of the last image only: all images of the batch share W, so their gradients add up",
            ("dW += da", "dW[...] = da"),
        ),
        "dW averaged": conv2d_backward_slip(
            "you average dW over the batch; gradients of shared weights are summed (the mean, if any, is in the loss "
            "and arrives with dout)",
            ("dW.reshape(W.shape)", "dW.reshape(W.shape) / len(x)"),
        ),
        "dW turned": conv2d_backward_slip(
            "your dW is turned by 180 degrees: it is the correlation of the image with dout, without a flip",
            ("dW.reshape(W.shape)", "dW.reshape(W.shape)[:, :, ::-1, ::-1]"),
        ),
        "db averaged": conv2d_backward_slip(
            "b is added at every place of every image, so db is the *sum* of dout over them; yours is the mean",
            ("dout.sum(axis=(0, 2, 3))", "dout.mean(axis=(0, 2, 3))"),
        ),
        "db of one image": conv2d_backward_slip(
            "your db sums over the places of the first image only: sum over the batch as well, axes 0, 2 and 3",
            ("dout.sum(axis=(0, 2, 3))", "dout[0].sum(axis=(1, 2))"),
        ),
    },
    edges={"one pixel, one channel": convolution(PLAIN, 2, 1, 1, 1, 1)},
    forbid=LIBRARIES,
)


def depthwise(stride: int, padding: int, channels: int = 3) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        return {
            "x": rng.standard_normal((2, channels, 9, 10)),
            "W": rng.standard_normal((channels, 3, 2)),
            "b": rng.standard_normal(channels),
            "stride": stride,
            "padding": padding,
        }

    return make


def depthwise_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, depthwise_conv2d_forward, *edits)


FILTER = "W[:, i, j, None, None] * windows[:, :, i, j]"

DEPTHWISE_CONV2D_FORWARD = Question(
    name="depthwise_conv2d_forward",
    reference=(depthwise_conv2d_forward,),
    outputs=("out",),
    by_draw=True,
    draws={"stride 1": depthwise(1, 0), "stride 2, padding 1": depthwise(2, 1)},
    mistakes={
        "channels summed": depthwise_slip(
            "you sum over the channels, as an ordinary convolution does: here channel c of the output sees channel c "
            "of the input only",
            (FILTER, f"({FILTER}).sum(axis=1, keepdims=True)"),
        ),
        "one filter for all": depthwise_slip(
            "every channel gets the first filter: each has a filter of its own",
            (FILTER, FILTER.replace("W[:, i", "W[:1, i")),
        ),
        "filter turned": depthwise_slip(
            "your filters are turned by 180 degrees: that is true convolution, deep learning does not turn them",
            (FILTER, FILTER.replace("W[:, i, j", "W[:, k_h - 1 - i, k_w - 1 - j")),
        ),
        "no bias": depthwise_slip("b, one number for each channel, is never added", ("out + b[:, None, None]", "out")),
    },
    edges={"a single channel": depthwise(1, 1, 1)},
    forbid=LIBRARIES,
)


def pointwise(channels: int, height: int = 6, width: int = 7) -> Draw:
    """As many channels out as in: then a missing transposition is no crash, but a wrong answer that can be named."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        return {
            "x": rng.standard_normal((2, channels, height, width)),
            "W": rng.standard_normal((channels, channels)),
            "b": rng.standard_normal(channels),
        }

    return make


def pointwise_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, pointwise_conv2d_forward, *edits)


POINTWISE_CONV2D_FORWARD = Question(
    name="pointwise_conv2d_forward",
    reference=(pointwise_conv2d_forward,),
    outputs=("out",),
    draws={"3 channels": pointwise(3), "5 channels": pointwise(5)},
    mistakes={
        "a scale for each channel": pointwise_slip(
            "you multiply each channel by a number of its own. A 1x1 convolution *mixes* the channels of a pixel: each "
            'output channel is a weighted sum of all input channels ("channel-wise", as a formula sheet has it, '
            "sounds like the other thing)",
            ("W @ x", "(W * np.eye(len(W))) @ x"),
        ),
        "transposed": pointwise_slip(
            "W is used transposed: row f of W has the weights of output channel f", ("W @ x", "W.T @ x")
        ),
        "no bias": pointwise_slip("b, one number for each output channel, is never added", (" + b[:, None]", "")),
        "pixels mixed up": pointwise_slip(
            "channels and pixels are mixed up in a reshape: the channel is axis 1, so that a reshape that puts it last "
            "has to be a transposition",
            ("W @ x.reshape(batch, c_in, height * width)", "W @ x.reshape(batch, height * width, c_in).swapaxes(1, 2)"),
        ),
        "mixed up on the way back": pointwise_slip(
            "your result has the channel as its last axis when you reshape it, and a reshape does not move axes: "
            "transpose, so that the channel is axis 1 again",
            ("return out.reshape(", "return out.swapaxes(1, 2).reshape("),
        ),
    },
    edges={"a single pixel": pointwise(3, 1, 1)},
    forbid=LIBRARIES,
)

# --- pooling ------------------------------------------------------------------------------------------------------


def pool(window: int, stride: int, padding: int, ties: bool = False, shift: float = 0.0) -> Draw:
    """Images of random numbers, or of few whole numbers, so that windows have several maxima."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        shape = (2, 3, 9, 11)
        x = rng.integers(0, 3, shape).astype(float) if ties else rng.standard_normal(shape)
        return {"x": x + shift, "window": window, "stride": stride, "padding": padding}

    return make


def constant(rng: np.random.Generator) -> Mapping[str, object]:
    return {"x": np.zeros((1, 2, 7, 7)), "window": 3, "stride": 2, "padding": 1}


POOLS = {
    "windows side by side": pool(2, 2, 0),
    "windows that overlap": pool(3, 2, 0, shift=-3.0),
    "with a margin": pool(3, 2, 1, shift=-9.0),
}
POOL_FIRST = "    _check_pool_padding(window, padding)\n"


def pool_slip(message: str, line: str) -> Mistake:
    """Another line at the start."""
    return slip(message, max_pool_forward, (POOL_FIRST, f"{POOL_FIRST}{line}\n"))


MAX_POOL_FORWARD = Question(
    name="max_pool_forward",
    reference=(max_pool_forward,),
    outputs=("out",),
    by_draw=True,
    draws=POOLS,
    mistakes={
        "margin of zeros": pool_slip(
            "your margin is made of zeros, which win against negative numbers: fill it with -np.inf, which never wins",
            "    if padding:\n        return max_pool_forward(_pad(x, padding), window, stride)",
        ),
        "mean": pool_slip(
            "yours is average pooling: take the largest number of each window, not the mean",
            "    return avg_pool_forward(x, window, stride, padding)",
        ),
        "stride ignored": pool_slip(
            "your windows lie side by side whatever stride says: they start stride pixels apart, and may overlap",
            "    stride = window",
        ),
        "largest absolute value": pool_slip(
            "you compare absolute values: the largest number is the one furthest to the right on the number line",
            "    x = np.abs(x)",
        ),
        "smallest": slip(
            "yours keeps the smallest number of each window",
            max_pool_forward,
            (POOL_FIRST, f"{POOL_FIRST}    x = -x\n"),
            ("out = out.reshape(", "out = -out.reshape("),
        ),
    },
    edges={"all equal": constant, "a window of one pixel": pool(1, 2, 0)},
    forbid=LIBRARIES,
)

CHOSEN = "waiting & (windows[:, :, i, j] == out)"
POOL_CROP = "dpadded[:, :, padding:end_h, padding:end_w]"


def pool_backward_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, max_pool_forward, max_pool_backward, *edits)


MAX_POOL_BACKWARD = Question(
    name="max_pool_backward",
    reference=(max_pool_forward, max_pool_backward),
    outputs=("dx",),
    by_draw=True,
    draws={
        "windows side by side": pool(2, 2, 0),
        "windows that overlap": pool(3, 2, 0),
        "many equal numbers": pool(3, 2, 1, ties=True),
    },
    mistakes={
        "all ties": pool_backward_slip(
            "where a window has several equal maxima, all of them get the gradient in yours, so that it counts more "
            "than once: only the first one gets it, row by row, as in torch",
            (CHOSEN, "windows[:, :, i, j] == out"),
        ),
        "shared among ties": pool_backward_slip(
            "you share the gradient among equal maxima. That is a valid subgradient too; the rule here is torch's: the "
            "first one, row by row, gets it all",
            (CHOSEN, "windows[:, :, i, j] == out"),
            ("+= dout * chosen", "+= dout * chosen / (windows == out[:, :, None, None]).sum(axis=(2, 3))"),
        ),
        "last of the ties": pool_backward_slip(
            "of several equal maxima the *first* one, row by row, gets the gradient; yours goes to the last",
            ("for i in range(window)", "for i in reversed(range(window))"),
            ("for j in range(window)", "for j in reversed(range(window))"),
        ),
        "first column by column": pool_backward_slip(
            "of several equal maxima you choose the first column by column; the window is searched row by row",
            (
                "for i in range(window):\n        for j in range(window)",
                "for j in range(window):\n        for i in range(window)",
            ),
        ),
        "overwrites": pool_backward_slip(
            "where windows overlap, one pixel can be the maximum of several: their gradients add up, yours keeps the "
            "last",
            (
                "dwindows[:, :, i, j] += dout * chosen",
                "dwindows[:, :, i, j] = np.where(chosen, dout, dwindows[:, :, i, j])",
            ),
        ),
        "overwrites place by place": pool_backward_slip(
            "where windows overlap, one pixel can be the maximum of several, and a later place overwrites what an "
            "earlier one left there: add (with repeated indices, np.add.at; `+=` adds only once)",
            (
                "dwindows[:, :, i, j] += dout * chosen",
                "dwindows[:, :, i, j] += dout * (chosen & (dwindows[:, :, i, j] == 0))",
            ),
        ),
        "margin kept": pool_backward_slip(
            "you return the gradient of the padded image: cut the margin off, padding pixels on each side",
            (POOL_CROP, "dpadded"),
        ),
        "cut off with a minus": pool_backward_slip(
            "you cut the margin off with -padding as the end, and without a margin that is 0: nothing is left. Count "
            "the end from the front, padding + height",
            (POOL_CROP, "dpadded[:, :, padding:-padding, padding:-padding]"),
        ),
        "mean": pool_backward_slip(
            "you share each gradient out evenly to its window: that is the way back through *average* pooling",
            ("+= dout * chosen", "+= dout / window**2"),
        ),
    },
    edges={"all equal": constant},
    forbid=LIBRARIES,
)

# --- the kernel ---------------------------------------------------------------------------------------------------

FLOAT = 4  # bytes
BLOCK_C, BLOCK_P, BLOCK_K = 64, 128, 32  # of conv2d


def touched(inputs: Mapping[str, Any]) -> tuple[np.ndarray[Any, Any], ...]:
    """The pixel that each place (row) reads for each weight (column), and whether it lies in the image."""
    (batch, c_in, height, width), (_, _, k_h, k_w) = inputs["x"].shape, inputs["W"].shape
    moves = inputs["stride"], inputs["padding"], inputs["dilation"]
    out_h, out_w = conv_output_size(height, k_h, *moves), conv_output_size(width, k_w, *moves)
    stride, padding, dilation = moves
    image, o, q = (axis.reshape(-1, 1) for axis in np.indices((batch, out_h, out_w)))
    c, i, j = (axis.reshape(1, -1) for axis in np.indices((c_in, k_h, k_w)))
    row, col = o * stride - padding + i * dilation, q * stride - padding + j * dilation
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    return ((image * c_in + c) * height + row) * width + col, inside


def moved_by_conv2d(inputs: Mapping[str, Any]) -> int:
    """Bytes: W and b for each block of places; for each block of channels the pixels of a block, once for each load."""
    pixel, inside = touched(inputs)
    (places, length), c_out = pixel.shape, int(inputs["b"].shape[0])
    pixels = sum(
        len(np.unique(pixel[p : p + BLOCK_P, k : k + BLOCK_K][inside[p : p + BLOCK_P, k : k + BLOCK_K]]))
        for p in range(0, places, BLOCK_P)
        for k in range(0, length, BLOCK_K)
    )
    blocks_p, blocks_c = -(-places // BLOCK_P), -(-c_out // BLOCK_C)
    return FLOAT * int(blocks_p * c_out * (length + 1) + blocks_c * pixels + places * c_out)


WRAPPED = (
    "    rows = x.reshape(-1, width)\n"
    "    none = np.zeros((1, width))\n"
    "    before, after = np.vstack([none, rows])[:-1], np.vstack([rows, none])[1:]\n"
    "    rows = np.hstack([before[:, width - padding :], rows, after[:, :padding]])\n"
    "    rows = rows.reshape(batch, c_in, height, -1)\n"
)

CONV2D_KERNEL = Question(
    name="conv2d_kernel",
    reference=(conv2d_forward,),
    outputs=("out",),
    calls=("conv2d",),
    tensors=True,
    tolerance=1e-4,
    draws={
        "smaller than a block": convolution(PLAIN),
        "stride 2, padding 1": convolution(MOVED),
        "padding 2, dilation 2": convolution(WIDE),
        "more channels than a block": convolution(MOVED, 1, 7, 67, 3, 3),
    },
    mistakes={
        **conv2d_slips(),
        "first image only": slip(
            "every image of the batch comes out like the first one: image m begins m * c_in * height * width numbers "
            "behind x_ptr",
            conv2d_forward,
            (PADDED, "_pad(x[0], padding)"),
        ),
        "halo wraps around": slip(
            "to the left and right of the image your kernel reads the end of the row above and the start of the row "
            "below: they lie next to it in memory. The mask must test the column as well as the row",
            conv2d_forward,
            (FIRST, FIRST + WRAPPED),
            (PADDED, "np.pad(rows[m], ((0, 0), (padding, padding), (0, 0)))"),
        ),
    },
    edges={
        "all of size one": convolution(PLAIN, 1, 1, 1, 1, 1),
        "a batch of one, odd sizes": convolution((3, 2, 2), 1, 5, 3, 3, 3),
    },
    moves=moved_by_conv2d,
)

QUESTIONS = (
    CONV_OUTPUT_SIZE,
    CONV_PARAMS,
    RECEPTIVE_FIELD,
    WHICH_FILTER,
    IM2COL,
    COL2IM,
    CONV2D_FORWARD,
    CONV2D_BACKWARD,
    MAX_POOL_FORWARD,
    MAX_POOL_BACKWARD,
    DEPTHWISE_CONV2D_FORWARD,
    POINTWISE_CONV2D_FORWARD,
    CONV2D_KERNEL,
)
