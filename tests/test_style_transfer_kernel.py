"""The Gram matrix in Triton: what is its own. Its values and gradients are tested with all kernels' twins."""

import pytest
import torch

pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")

from kernels import INTERPRETED, checker
from kernels.style_transfer import gram_forward, launch_gram
from tests.tolerances import assert_close

DEVICE = "cpu" if INTERPRETED else "cuda"


def features(rng, *shape, **options):
    return torch.tensor(rng.standard_normal(shape), dtype=torch.float32, device=DEVICE, **options)


@pytest.mark.parametrize("channels", [63, 64, 65, 127, 129, 257])
def test_tiles_meet_without_gap_or_overlap_around_the_size_of_a_block(channels, rng):
    F = features(rng, 2, channels, 33)
    G = launch_gram(F, 1 / 33)
    if INTERPRETED:
        assert_close(G.numpy(), (F.double() @ F.double().mT / 33).numpy())
    assert torch.equal(G, G.mT)  # both halves come from the same sums


def test_nothing_is_multiplied_above_the_diagonal(rng):
    if not INTERPRETED:
        pytest.skip("the checker watches the interpreter")
    F = features(rng, 1, 257, 5)  # three blocks of channels: six of nine tiles
    with checker.watch() as launches:
        launch_gram(F, 1.0)
    (launch,) = launches
    tiles = [(p, q) for p in (128, 128, 1) for q in (128, 128, 1)]
    below = [tiles[k] for k in (0, 3, 4, 6, 7, 8)]
    stored = 257 * 257
    assert launch.moved == 4 * (sum(5 * (p + q) for p, q in below) + stored)
    assert launch.findings == []


def test_the_gradient_of_a_matrix_that_is_not_symmetric_adds_its_mirror_image(rng):
    F = features(rng, 2, 5, 37, requires_grad=True)
    dG = features(rng, 2, 5, 5)
    (dF,) = torch.autograd.grad(gram_forward(F, "none"), F, dG)
    right = (dG + dG.mT).double() @ F.detach().double()
    assert_close(dF.cpu().half().numpy(), right.cpu().numpy())


def test_layouts_that_are_not_contiguous_are_copied(rng):
    F = features(rng, 3, 37, 5).mT  # (3, 5, 37)
    torch.testing.assert_close(gram_forward(F), gram_forward(F.contiguous()))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gram_forward(torch.ones(3, 5, device=DEVICE)), r"expected F of \(batch, channels, positions\)"),
        (lambda: gram_forward(torch.ones(1, 3, 0, device=DEVICE)), "some features, got 'positions' and shape"),
        (lambda: gram_forward(torch.ones(1, 3, 5, device=DEVICE), "rows"), "normalize out of positions, all, none"),
        (lambda: gram_forward([[3.0]]), "expected F to be a torch tensor, got list"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
