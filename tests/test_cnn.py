"""Convolution and pooling, against torch in float64 and against what must hold of them."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from solutions import cnn
from tests.tolerances import assert_close

MOVES = [(1, 0, 1), (2, 1, 1), (3, 2, 1), (1, 3, 2), (2, 5, 3)]  # stride, padding, dilation
each_move = pytest.mark.parametrize("moves", MOVES, ids=str)


def tensors(*arrays):
    return [torch.tensor(array, requires_grad=True) for array in arrays]


def drawn(rng, batch=3, c_in=5, height=11, width=9, c_out=6, k_h=3, k_w=2):
    return rng.standard_normal((batch, c_in, height, width)), rng.standard_normal((c_out, c_in, k_h, k_w))


def assert_same_as_torch(out, gradients, torch_out, torch_inputs, dout):
    assert_close(out, torch_out.detach().numpy())
    expected = torch.autograd.grad(torch_out, torch_inputs, torch.tensor(dout))
    for came, right in zip(gradients, expected, strict=True):
        assert_close(came, right.numpy())


# sizes and counts


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 3])
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("window", [1, 2, 3, 5])
def test_the_output_is_as_large_as_that_of_torch(window, stride, padding, dilation):
    for size in range(dilation * (window - 1) + 1, 25):
        came = functional.conv1d(torch.zeros(1, 1, size), torch.zeros(1, 1, window), None, stride, padding, dilation)
        assert cnn.conv_output_size(size, window, stride, padding, dilation) == came.shape[-1]


def test_a_window_that_fits_nowhere_is_refused():
    with pytest.raises(ValueError, match=r"room for a span of 5, got a size of 2 \+ 2 \* 1"):
        cnn.conv_output_size(2, 3, 1, 1, 2)
    assert cnn.conv_output_size(3, 3, 1, 1, 2) == 1


@pytest.mark.parametrize(("window", "stride", "padding", "dilation"), [(0, 1, 0, 1), (3, 0, 0, 1), (3, 1, 0, 0)])
def test_a_window_that_is_none_or_does_not_move_is_refused(window, stride, padding, dilation):
    with pytest.raises(ValueError, match="of at least 1"):
        cnn.conv_output_size(7, window, stride, padding, dilation)
    with pytest.raises(ValueError, match="of at least 0"):
        cnn.conv_output_size(7, 3, 1, -1, 1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 3, 6])
def test_parameters_are_counted_as_torch_has_them(groups, bias):
    module = torch.nn.Conv2d(6, 12, 5, groups=groups, bias=bias)
    assert cnn.conv_params(5, 6, 12, groups, bias) == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("groups", [0, 4, 9])
def test_groups_that_do_not_divide_the_channels_are_refused(groups):
    with pytest.raises(ValueError, match="6 and 9 channels for"):
        cnn.conv_params(3, 6, 9, groups)


@pytest.mark.parametrize(
    ("window", "stride", "dilation"),
    [([3], [1], [1]), ([3, 3, 3], [1, 1, 1], [1, 2, 4]), ([7, 3, 3, 5], [2, 2, 1, 3], [1, 1, 2, 1])],
)
def test_the_receptive_field_has_the_pixels_whose_gradient_is_not_zero(window, stride, dilation):
    x = torch.zeros(1, 1, 301, dtype=torch.float64, requires_grad=True)
    out = x
    for k, s, d in zip(window, stride, dilation, strict=True):
        out = functional.conv1d(out, torch.ones(1, 1, k, dtype=torch.float64), None, s, 0, d)
    (dx,) = torch.autograd.grad(out[0, 0, out.shape[-1] // 2], x)
    reached = torch.nonzero(dx[0, 0])
    came = cnn.receptive_field(*map(np.array, (window, stride, dilation)))
    assert came == (reached.max() - reached.min() + 1).item()


# windows as columns


@each_move
def test_im2col_equals_unfold_of_torch(moves, rng):
    stride, padding, dilation = moves
    x, _ = drawn(rng)
    expected = functional.unfold(torch.tensor(x), (3, 2), dilation, padding, stride)
    for image, columns in zip(x, expected.numpy(), strict=True):
        np.testing.assert_array_equal(cnn.im2col(image, 3, 2, *moves), columns)


@each_move
def test_col2im_equals_fold_of_torch(moves, rng):
    stride, padding, dilation = moves
    positions = cnn.conv_output_size(11, 3, *moves) * cnn.conv_output_size(9, 2, *moves)
    columns = rng.standard_normal((5 * 3 * 2, positions))
    expected = functional.fold(torch.tensor(columns)[None], (11, 9), (3, 2), dilation, padding, stride)
    assert_close(cnn.col2im(columns, 11, 9, 3, 2, *moves), expected[0].numpy())


@each_move
def test_col2im_is_the_adjoint_of_im2col(moves, rng):
    x = rng.standard_normal((5, 11, 9))
    columns = cnn.im2col(x, 3, 2, *moves)
    other = rng.standard_normal(columns.shape)
    assert_close((columns * other).sum(), (x * cnn.col2im(other, 11, 9, 3, 2, *moves)).sum())


def test_im2col_gives_columns_of_its_own(rng):
    x = rng.standard_normal((1, 7, 7))
    for window in (1, 3):
        assert not np.shares_memory(cnn.im2col(x, window, window), x)


# convolution


@each_move
def test_convolution_equals_that_of_torch(moves, rng):
    x, W = drawn(rng)
    b = rng.standard_normal(6)
    out, cache = cnn.conv2d_forward(x, W, b, *moves)
    dout = rng.standard_normal(out.shape)
    inputs = tensors(x, W, b)
    assert_same_as_torch(out, cnn.conv2d_backward(dout, cache), functional.conv2d(*inputs, *moves), inputs, dout)


@each_move
@pytest.mark.parametrize("groups", [1, 2])
def test_a_grouped_convolution_equals_that_of_torch(moves, groups, rng):
    x, W = rng.standard_normal((3, groups, 5, 11, 9)), rng.standard_normal((groups, 6, 5, 3, 2))
    b = rng.standard_normal((groups, 6))
    out, cache = cnn.grouped_conv2d_forward(x, W, b, *moves)
    dout = rng.standard_normal(out.shape)
    inputs = tensors(x, W, b)
    flat = inputs[0].flatten(1, 2), inputs[1].flatten(0, 1), inputs[2].flatten()
    right = functional.conv2d(*flat, *moves, groups).unflatten(1, (groups, 6))
    assert_same_as_torch(out, cnn.grouped_conv2d_backward(dout, cache), right, inputs, dout)


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), (3, 2)])
def test_a_depthwise_convolution_equals_one_with_as_many_groups_as_channels(stride, padding, rng):
    x, W, b = rng.standard_normal((3, 5, 11, 9)), rng.standard_normal((5, 3, 2)), rng.standard_normal(5)
    out, cache = cnn.depthwise_conv2d_forward(x, W, b, stride, padding)
    dout = rng.standard_normal(out.shape)
    inputs = tensors(x, W, b)
    right = functional.conv2d(inputs[0], inputs[1][:, None], inputs[2], stride, padding, groups=5)
    assert_same_as_torch(out, cnn.depthwise_conv2d_backward(dout, cache), right, inputs, dout)


def test_a_pointwise_convolution_is_one_with_a_window_of_one_pixel(rng):
    x, W, b = rng.standard_normal((3, 5, 11, 9)), rng.standard_normal((6, 5)), rng.standard_normal(6)
    out, cache = cnn.pointwise_conv2d_forward(x, W, b)
    dout = rng.standard_normal(out.shape)
    inputs = tensors(x, W, b)
    right = functional.conv2d(inputs[0], inputs[1][:, :, None, None], inputs[2])
    assert_same_as_torch(out, cnn.pointwise_conv2d_backward(dout, cache), right, inputs, dout)


def test_a_convolution_does_not_flip_its_filter(rng):
    x, W = drawn(rng, 1, 1, 11, 9, 1)
    out, _ = cnn.conv2d_forward(x, W, np.zeros(1))
    flipped, _ = cnn.conv2d_forward(x, W[..., ::-1, ::-1].copy(), np.zeros(1))
    by_hand = sum(W[0, 0, i, j] * x[0, 0, i : i + 9, j : j + 8] for i in range(3) for j in range(2))
    assert_close(out[0, 0], by_hand)
    assert not np.allclose(out, flipped)


def test_a_convolution_moves_with_the_image(rng):
    x, W = drawn(rng)
    shifted = np.roll(x, (2, 1), axis=(2, 3))
    out, there = (cnn.conv2d_forward(image, W, np.zeros(6))[0] for image in (x, shifted))
    assert_close(there[:, :, 2:, 1:], out[:, :, :-2, :-1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_convolution_keeps_the_dtype_of_its_image(dtype, rng):
    x, W = (array.astype(dtype) for array in drawn(rng))
    out, cache = cnn.conv2d_forward(x, W, np.zeros(6, dtype))
    dx, dW, _ = cnn.conv2d_backward(out, cache)
    assert {out.dtype, dx.dtype, dW.dtype} == {np.dtype(dtype)}


def test_a_batch_may_be_empty(rng):
    x, W = drawn(rng, batch=0)
    out, cache = cnn.conv2d_forward(x, W, np.zeros(6))
    assert out.shape == (0, 6, 9, 8)
    dx, dW, db = cnn.conv2d_backward(out, cache)
    assert (dx.shape, dW.any(), db.any()) == (x.shape, False, False)


def test_a_filter_that_is_larger_than_the_image_is_refused(rng):
    x, W = drawn(rng, height=2)
    with pytest.raises(ValueError, match="room for a span of 3"):
        cnn.conv2d_forward(x, W, np.zeros(6))


# pooling

POOLS = [(2, 2, 0), (3, 2, 1), (3, 1, 0), (2, 3, 1), (5, 2, 2)]  # window, stride, padding
each_pool = pytest.mark.parametrize("pool", POOLS, ids=str)
IMAGES = {
    "random": lambda rng: rng.standard_normal((3, 5, 11, 9)),
    "with ties": lambda rng: rng.integers(0, 3, (3, 5, 11, 9)).astype(float),
    "all equal": lambda rng: np.zeros((3, 5, 11, 9)),
    "negative": lambda rng: rng.standard_normal((3, 5, 11, 9)) - 10,
}


@each_pool
@pytest.mark.parametrize("images", IMAGES.values(), ids=IMAGES)
def test_max_pooling_equals_that_of_torch_ties_included(images, pool, rng):
    x = images(rng)
    out, cache = cnn.max_pool_forward(x, *pool)
    dout = rng.standard_normal(out.shape)
    inputs = tensors(x)
    right = functional.max_pool2d(*inputs, *pool)
    assert_same_as_torch(out, [cnn.max_pool_backward(dout, cache)], right, inputs, dout)


def test_max_pooling_of_many_large_maps_equals_that_of_torch(rng):
    x = rng.standard_normal((3, 7, 131, 67))  # in blocks of eight maps, the last one of five
    right = functional.max_pool2d(torch.tensor(x), 3, 2, 1)
    np.testing.assert_array_equal(cnn.max_pool_forward(x, 3, 2, 1)[0], right.numpy())


def test_minus_infinity_in_an_image_is_chosen_before_the_margin(rng):
    x = np.full((1, 1, 3, 3), -np.inf)
    out, cache = cnn.max_pool_forward(x, 3, 2, 1)
    dx = cnn.max_pool_backward(np.ones_like(out), cache)
    assert dx.sum() == out.size


@each_pool
def test_average_pooling_equals_that_of_torch(pool, rng):
    x = rng.standard_normal((3, 5, 11, 9))
    out, cache = cnn.avg_pool_forward(x, *pool)
    dout = rng.standard_normal(out.shape)
    inputs = tensors(x)
    right = functional.avg_pool2d(*inputs, *pool)
    assert_same_as_torch(out, [cnn.avg_pool_backward(dout, cache)], right, inputs, dout)


@pytest.mark.parametrize("pool", [cnn.max_pool_forward, cnn.avg_pool_forward])
def test_a_margin_wider_than_half_a_window_is_refused(pool):
    with pytest.raises(ValueError, match="padding of at most half a window, got 2 for a window of 3"):
        pool(np.zeros((1, 1, 7, 7)), 3, 2, 2)


# which slip


def test_each_filter_is_told_from_the_others(rng):
    x, W = rng.standard_normal((7, 9)), rng.standard_normal((3, 3))
    filters = [W, W[::-1, ::-1], W.T, W[:, ::-1], W[::-1]]
    outs = [cnn.conv2d_forward(x[None, None], f[None, None].copy(), np.zeros(1))[0][0, 0] for f in filters]
    order = [3, 1, 4, 0, 2, 2]
    assert cnn.which_filter(x, W, np.array(outs)[order]).tolist() == order


def test_nothing_writes_to_its_inputs(rng):
    x, W = drawn(rng)
    inputs = [x, W, rng.standard_normal(6)]
    for array in inputs:
        array.setflags(write=False)
    out, cache = cnn.conv2d_forward(*inputs, 2, 1)
    cnn.conv2d_backward(np.ones_like(out), cache)
    for forward, backward in (
        (cnn.max_pool_forward, cnn.max_pool_backward),
        (cnn.avg_pool_forward, cnn.avg_pool_backward),
    ):
        out, cache = forward(x, 3, 2, 1)
        backward(np.ones_like(out), cache)
