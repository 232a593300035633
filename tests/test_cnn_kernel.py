"""What is special about the kernels of convolution and pooling: blocks, ties, NaN, errors, what is kept."""

import numpy as np
import pytest
import torch
from torch.nn import functional

pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")

from kernels import INTERPRETED, checker
from kernels.cnn import conv2d_forward, max_pool_forward
from tests.tolerances import assert_close

DEVICE = "cpu" if INTERPRETED else "cuda"


def tensor(array, **options):
    return torch.tensor(array, **{"dtype": torch.float32, "device": DEVICE, **options})


def test_more_channels_and_places_than_a_block_equal_those_of_torch(rng):
    x, W, b = (tensor(rng.standard_normal(shape)) for shape in ((2, 5, 13, 11), (67, 5, 3, 3), (67,)))
    with checker.watch() if INTERPRETED else pytest.MonkeyPatch.context() as launches:
        out = conv2d_forward(x, W, b, 1, 1)
    right = functional.conv2d(x.double(), W.double(), b.double(), 1, 1)
    numbers = out.cpu().numpy()
    assert_close(numbers if INTERPRETED else numbers.astype(np.float16), right.cpu().numpy())
    if INTERPRETED:
        assert [finding.message for launch in launches for finding in launch.findings] == []


def test_a_margin_wider_than_the_window_gives_the_bias_alone(rng):
    x, W = tensor(rng.standard_normal((1, 1, 3, 3))), tensor(rng.standard_normal((1, 1, 2, 2)))
    out = conv2d_forward(x, W, tensor([0.75]), 1, 3)
    assert out.shape == (1, 1, 8, 8)
    assert out[0, 0, 0].tolist() == out[0, 0, -1].tolist() == [0.75] * 8


@pytest.mark.parametrize("pool", [(2, 2, 0), (3, 2, 1), (3, 1, 1)])
def test_the_gradient_of_equal_numbers_goes_where_torch_sends_it(pool, rng):
    x = tensor(rng.integers(0, 3, (2, 3, 9, 7)), requires_grad=True)
    out, right = max_pool_forward(x, *pool), functional.max_pool2d(x, *pool)
    dout = torch.randn_like(out)
    assert torch.equal(out, right)
    gradients = [torch.autograd.grad(result, x, dout)[0] for result in (out, right)]
    torch.testing.assert_close(*gradients)


def test_minus_infinity_and_nan_pass_as_they_do_in_torch():
    x = tensor([[[[-np.inf, -np.inf, 1.0, np.nan], [-np.inf, -np.inf, 2.0, 3.0]]]], requires_grad=True)
    out, right = max_pool_forward(x), functional.max_pool2d(x, 2)
    assert torch.equal(out[..., :1], right[..., :1])
    assert out[..., 1].isnan().all()
    came, expected = (torch.autograd.grad(result, x, torch.ones_like(result))[0] for result in (out, right))
    assert torch.equal(came, expected)


def test_places_of_the_maxima_are_not_kept_where_nobody_asks_for_gradients(rng, monkeypatch):
    kept = []
    empty = torch.empty
    monkeypatch.setattr(
        torch, "empty", lambda *size, **options: kept.append(options["dtype"]) or empty(*size, **options)
    )
    x = tensor(rng.standard_normal((1, 2, 7, 5)))
    max_pool_forward(x)
    assert kept == [torch.float32]
    max_pool_forward(x.requires_grad_())
    assert sorted(map(str, kept[1:])) == ["torch.float32", "torch.int32"]


def test_images_that_are_not_contiguous_are_taken(rng):
    x = tensor(rng.standard_normal((2, 9, 7, 3))).permute(0, 3, 1, 2)
    W, b = tensor(rng.standard_normal((5, 3, 3, 3))), tensor(rng.standard_normal(5))
    assert torch.equal(conv2d_forward(x, W, b), conv2d_forward(x.contiguous(), W, b))
    assert torch.equal(max_pool_forward(x), max_pool_forward(x.contiguous()))


BAD = {
    "channels that do not fit": (lambda x, W, b: conv2d_forward(x, W[:, :2], b), r"expected W of \(5, 3"),
    "a window that fits nowhere": (lambda x, W, b: conv2d_forward(x, W, b, 1, 0, 4), "an image that the window fits"),
    "no stride": (lambda x, W, b: conv2d_forward(x, W, b, 0), "of at least 1"),
    "a negative margin": (lambda x, W, b: max_pool_forward(x, 2, 2, -1), "of at least 0"),
    "a wide margin": (lambda x, W, b: max_pool_forward(x, 3, 2, 2), "at most half a window, got 2 for a window of 3"),
    "a pool that fits nowhere": (lambda x, W, b: max_pool_forward(x, 9), "got 7 pixels for a window of 9"),
    "three axes": (lambda x, W, b: max_pool_forward(x[0]), "expected x of"),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD.keys())
def test_what_does_not_fit_is_refused_in_words(call, message, rng):
    x, W, b = (tensor(rng.standard_normal(shape)) for shape in ((2, 3, 7, 7), (5, 3, 3, 3), (5,)))
    with pytest.raises(ValueError, match=message):
        call(x, W, b)
