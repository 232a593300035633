"""What is special about the kernels of boxes: words of 32, chains, ties, areas too large for float16, errors."""

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")

from kernels import INTERPRETED, checker
from kernels import yolo_iou as kernels
from solutions import yolo_iou
from tests.tolerances import assert_close

DEVICE = "cpu" if INTERPRETED else "cuda"


def tensor(array, dtype=torch.float32):
    return torch.tensor(np.asarray(array), dtype=dtype, device=DEVICE)


def drawn(rng, count, largest=60):
    """Boxes of whole numbers, which float32 multiplies without rounding: any disagreement is a mistake."""
    corner = rng.integers(0, largest, (count, 2))
    return np.hstack([corner, corner + rng.integers(1, largest // 2, (count, 2))]).astype(np.float64)


def watched(function, *arguments):
    """Call a host function; no launch of it may reach out of bounds or race."""
    with checker.watch() if INTERPRETED else pytest.MonkeyPatch.context() as launches:
        out = function(*arguments)
    if INTERPRETED:
        assert [finding.message for launch in launches for finding in launch.findings] == []
    return out.cpu().numpy()


@pytest.mark.parametrize("shape", [(1, 129), (33, 127), (65, 257)])
def test_more_pairs_than_a_tile_equal_those_of_numpy(shape, rng):
    a, b = (drawn(rng, count) for count in shape)
    assert_close(watched(kernels.pairwise_iou, tensor(a), tensor(b)), yolo_iou.pairwise_iou(a, b))


def test_areas_larger_than_float16_can_say_are_no_trouble():
    a = tensor([[0, 0, 640, 480], [0, 0, 320, 480]], torch.float16)
    came = watched(kernels.pairwise_iou, a, a)
    assert came.dtype == np.float16
    assert came.tolist() == [[1, 0.5], [0.5, 1]]


def test_boxes_without_an_area_have_no_overlap():
    a = tensor([[1, 1, 1, 1], [0, 0, 2, 2]])
    assert watched(kernels.pairwise_iou, a, a).tolist() == [[0, 0], [0, 1]]


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_the_matrix_of_no_boxes_is_empty(shape, rng):
    a, b = (tensor(drawn(rng, count)) for count in shape)
    assert kernels.pairwise_iou(a, b).shape == shape


@pytest.mark.parametrize("count", [1, 31, 32, 33, 300])
@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.5])
def test_the_same_boxes_stay_as_in_numpy_ties_included(count, threshold, rng):
    boxes, scores = drawn(rng, count, 30), rng.integers(0, 40, count).astype(float)
    came = watched(kernels.nms, tensor(boxes), tensor(scores), threshold)
    assert came.dtype == bool
    np.testing.assert_array_equal(came, yolo_iou.nms(boxes, scores, threshold))


def test_of_many_equal_boxes_the_first_stays():
    """All bits of a word are set, the sign among them, and words behind it."""
    boxes = tensor([[0, 0, 3, 2]] * 100)
    assert np.flatnonzero(watched(kernels.nms, boxes, torch.ones(100, device=DEVICE))).tolist() == [0]


def test_a_chain_across_words_is_followed_link_by_link():
    """Each box covers the next one only, so that every other one stays."""
    start = np.arange(100.0)
    boxes = np.stack([start, 0 * start, start + 3, 0 * start + 1], axis=1)
    keep = watched(kernels.nms, tensor(boxes), tensor(-start), 0.4)
    np.testing.assert_array_equal(keep, np.arange(100) % 2 == 0)


def test_no_boxes_give_no_boxes():
    assert kernels.nms(torch.zeros((0, 4), device=DEVICE), torch.zeros(0, device=DEVICE)).shape == (0,)


def test_what_does_not_fit_is_refused(rng):
    boxes, scores = tensor(drawn(rng, 5)), tensor(rng.random(5))
    with pytest.raises(ValueError, match=r"expected b of \(5, 4\)"):
        kernels.pairwise_iou(boxes, boxes[:, :3])
    with pytest.raises(ValueError, match=r"expected scores of \(5,\)"):
        kernels.nms(boxes, scores[:4])
    with pytest.raises(ValueError, match=r"a threshold in \[0, 1\], got 1.5"):
        kernels.nms(boxes, scores, 1.5)


def test_more_boxes_than_there_are_bits_for_are_refused(rng, monkeypatch):
    monkeypatch.setitem(kernels.LARGEST, "boxes", 4)
    with pytest.raises(ValueError, match="at most 4 boxes, got 5"):
        kernels.nms(tensor(drawn(rng, 5)), tensor(rng.random(5)))


@pytest.mark.skipif(not INTERPRETED, reason="on a GPU nobody waits for the answer")
def test_a_box_with_corners_the_wrong_way_round_is_refused(rng):
    wrong, right = tensor([[0, 0, 1, 1], [4, 4, 2, 5]]), tensor(drawn(rng, 2))
    for call in (
        lambda: kernels.pairwise_iou(wrong, right),
        lambda: kernels.pairwise_iou(right, wrong),
        lambda: kernels.nms(wrong, torch.ones(2)),
    ):
        with pytest.raises(ValueError, match=r"x1 <= x2 and y1 <= y2, got \[4.0, 4.0, 2.0, 5.0\] in row 1"):
            call()


@pytest.mark.skipif(not INTERPRETED, reason="traffic is counted in the interpreter")
def test_the_scan_reads_the_bits_of_those_boxes_only_that_stay():
    """Of equal boxes one stays: the others cost one word each, in the block that decides about them."""
    with checker.watch() as launches:
        kernels.nms(tensor([[0, 0, 3, 2]] * 100), torch.ones(100))
    words, count = 4, 100
    own, others, order, keep = 4 * count, 4 * (words - 1), 4 * count, count
    assert launches[-1].moved == own + others + order + keep
