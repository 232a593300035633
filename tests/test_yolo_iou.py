"""Boxes, their overlap, suppression, YOLO and average precision, against torch and against what must hold of them."""

import inspect
import itertools

import numpy as np
import pytest
import torch

from autograder import question
from solutions import yolo_iou, yolo_iou_torch
from tests.tolerances import assert_close

FORMATS = ("xyxy", "xywh", "cxcywh")


def drawn(rng, count=7, scale=1.0):
    """Boxes with corners in order, some of which overlap."""
    corner = rng.standard_normal((count, 2))
    return scale * np.hstack([corner, corner + 0.1 + np.abs(rng.standard_normal((count, 2)))])


def whole_numbers(rng, count=40, largest=9):
    """Boxes on a grid of pixels, none of them empty."""
    corner = rng.integers(0, largest, (count, 2))
    return np.hstack([corner, corner + rng.integers(1, largest, (count, 2))]).astype(float)


def as_pixels(box, size=20):
    """The set of unit squares that a box of whole numbers covers."""
    x1, y1, x2, y2 = box.astype(int)
    mask = np.zeros((size, size), bool)
    mask[y1:y2, x1:x2] = True
    return mask


# formats


@pytest.mark.parametrize(("source", "target"), list(itertools.product(FORMATS, FORMATS)))
def test_a_box_survives_the_way_through_any_format_and_back(source, target, rng):
    boxes = yolo_iou.box_convert(drawn(rng), "xyxy", source)
    there = yolo_iou.box_convert(boxes, source, target)
    assert_close(yolo_iou.box_convert(there, target, source), boxes)
    if source != target:
        assert np.abs(there - boxes).max() > 0.01


def test_centers_and_sizes_are_those_of_the_corners(rng):
    boxes = drawn(rng)
    corner, far = boxes[:, :2], boxes[:, 2:]
    assert_close(yolo_iou.box_convert(boxes, "xyxy", "xywh"), np.hstack([corner, far - corner]))
    assert_close(yolo_iou.box_convert(boxes, "xyxy", "cxcywh"), np.hstack([(corner + far) / 2, far - corner]))


def test_an_unknown_format_is_refused(rng):
    with pytest.raises(ValueError, match="out of xyxy, xywh and cxcywh, got 'yxyx' and 'xyxy'"):
        inspect.unwrap(yolo_iou.box_convert)(drawn(rng), "yxyx", "xyxy")


# overlap


def test_iou_counts_the_pixels_that_boxes_share_and_those_that_either_has(rng):
    a, b = whole_numbers(rng), whole_numbers(rng)
    shared = [
        (as_pixels(p) & as_pixels(q)).sum() / (as_pixels(p) | as_pixels(q)).sum() for p, q in zip(a, b, strict=True)
    ]
    assert 0 < np.count_nonzero(shared) < len(shared)
    assert_close(yolo_iou.iou(a, b), np.array(shared))


@pytest.mark.parametrize("fmt", FORMATS)
def test_iou_is_the_same_in_every_format(fmt, rng):
    a, b = drawn(rng, 23), drawn(rng, 23)
    turned = [yolo_iou.box_convert(boxes, "xyxy", fmt) for boxes in (a, b)]
    assert_close(yolo_iou.iou(*turned, fmt), yolo_iou.iou(a, b))


def test_iou_is_symmetric_and_knows_no_scale_and_no_place(rng):
    a, b = drawn(rng, 23), drawn(rng, 23)
    right = yolo_iou.iou(a, b)
    assert_close(yolo_iou.iou(b, a), right)
    assert_close(yolo_iou.iou(300 * a, 300 * b), right)
    assert_close(yolo_iou.iou(a + 5, b + 5), right)
    stretch = np.array([3.0, 0.2, 3.0, 0.2])  # each axis by a factor of its own
    assert_close(yolo_iou.iou(a * stretch, b * stretch), right)


def test_iou_is_at_most_the_ratio_of_the_areas_and_of_each_side(rng):
    a, b = drawn(rng, 97), drawn(rng, 97)
    overlap = yolo_iou.iou(a, b)
    size_a, size_b = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
    for bound in (size_a.prod(axis=1) / size_b.prod(axis=1), *(size_a / size_b).T):
        assert (overlap <= np.minimum(bound, 1 / bound) * (1 + 1e-12)).all()
    nested = np.hstack([a[:, :2] + 0.2 * size_a, a[:, :2] + 0.7 * size_a])
    assert_close(yolo_iou.iou(a, nested), np.full(97, 0.25))


def test_boxes_that_touch_or_have_no_area_do_not_overlap():
    square = np.array([[0.0, 0, 2, 2]])
    for other in ([2.0, 0, 4, 2], [2.0, 2, 3, 3], [5.0, 5, 6, 6], [1.0, 1, 1, 1], [1.0, 0, 1, 2]):
        assert yolo_iou.iou(square, np.array([other])) == 0
    point = np.array([[1.0, 1, 1, 1]])
    assert yolo_iou.iou(point, point) == 0
    assert yolo_iou.iou(square, square) == 1


def test_a_box_with_corners_the_wrong_way_round_is_refused(rng):
    wrong = drawn(rng)
    wrong[3] = [4.0, 4.0, 2.0, 2.0]
    for call in (yolo_iou.iou, yolo_iou.pairwise_iou, yolo_iou.giou_forward, yolo_iou.diou_forward):
        for pair in ((wrong, drawn(rng)), (drawn(rng), wrong)):
            with pytest.raises(ValueError, match=r"x1 <= x2 and y1 <= y2, got \[4.0, 4.0, 2.0, 2.0\] in row 3"):
                call(*pair)


def test_the_matrix_has_the_iou_of_every_pair(rng):
    a, b = drawn(rng, 7), drawn(rng, 11)
    each = [[yolo_iou.iou(p[None], q[None])[0] for q in b] for p in a]
    assert_close(yolo_iou.pairwise_iou(a, b), np.array(each))


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_the_matrix_of_no_boxes_is_empty(shape, rng):
    a, b = (drawn(rng, count) for count in shape)
    assert yolo_iou.pairwise_iou(a, b).shape == shape


# generalized


@pytest.mark.parametrize("name", ["giou", "diou"])
def test_values_and_gradients_of_the_relatives_equal_those_of_autograd(name, rng):
    forward, backward = getattr(yolo_iou, f"{name}_forward"), getattr(yolo_iou, f"{name}_backward")
    a, b = (
        np.vstack([drawn(rng, 31), whole_numbers(rng, 90, 4)]),
        np.vstack([drawn(rng, 31), whole_numbers(rng, 90, 4)]),
    )
    tensors = [torch.tensor(boxes, requires_grad=True) for boxes in (a, b)]
    right = getattr(yolo_iou_torch, f"{name}_forward")(*tensors)
    out, cache = forward(a, b)
    dout = rng.standard_normal(len(out))
    assert_close(out, right.detach().numpy())
    for came, expected in zip(
        backward(dout, cache), torch.autograd.grad(right, tensors, torch.tensor(dout)), strict=True
    ):
        assert_close(came, expected.numpy())


def test_giou_is_iou_minus_the_empty_part_of_the_hull(rng):
    a, b = whole_numbers(rng), whole_numbers(rng)
    giou, _ = yolo_iou.giou_forward(a, b)
    for p, q, came in zip(a, b, giou, strict=True):
        hull = as_pixels(np.hstack([np.minimum(p, q)[:2], np.maximum(p, q)[2:]]))
        both, either = as_pixels(p) & as_pixels(q), as_pixels(p) | as_pixels(q)
        assert came == pytest.approx(both.sum() / either.sum() - (hull & ~either).sum() / hull.sum(), rel=1e-12)


def test_the_relatives_lie_between_minus_one_and_iou(rng):
    a, b = drawn(rng, 97), drawn(rng, 97, scale=3.0)
    overlap = yolo_iou.iou(a, b)
    for forward in (yolo_iou.giou_forward, yolo_iou.diou_forward):
        value, _ = forward(a, b)
        assert (value > -1).all()
        assert (value <= overlap + 1e-12).all()
        assert_close(forward(a, a)[0], np.ones(97))
    far = np.array([[0.0, 0, 1, 1]]), np.array([[1e6, 1e6, 1e6 + 1, 1e6 + 1]])
    assert yolo_iou.giou_forward(*far)[0] == pytest.approx(-1, abs=1e-5)


def test_boxes_apart_are_drawn_together_by_their_relatives_and_not_by_iou(rng):
    a, b = np.array([[0.0, 0, 1, 1]]), np.array([[3.0, 2.0, 5.0, 2.5]])
    assert yolo_iou.iou(a, b) == yolo_iou.iou(a + 0.1, b) == 0
    for forward, backward in (
        (yolo_iou.giou_forward, yolo_iou.giou_backward),
        (yolo_iou.diou_forward, yolo_iou.diou_backward),
    ):
        before, cache = forward(a, b)
        da, db = backward(np.ones(1), cache)
        after, _ = forward(a + 1e-3 * da, b + 1e-3 * db)
        assert after > before
        assert da[0, 2] > 0
        assert da[0, 3] > 0


def test_a_pair_without_any_area_has_no_generalized_iou():
    point, line = np.array([[1.0, 1, 1, 1]]), np.array([[0.0, 0, 3, 0]])
    for forward in (yolo_iou.giou_forward, yolo_iou.diou_forward):
        with pytest.raises(ValueError, match="a box with an area in each pair"):
            forward(point, line)


# suppression


def greedy(boxes, scores, threshold):
    """Non-maximum suppression as it is told: take the best, strike out what it covers, again."""
    overlap = yolo_iou.pairwise_iou(boxes, boxes)
    left, keep = list(np.argsort(-scores, kind="stable")), np.zeros(len(boxes), bool)
    while left:
        best, *left = left
        keep[best] = True
        left = [i for i in left if overlap[best, i] <= threshold]
    return keep


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("count", [1, 7, 150])
def test_suppression_equals_the_greedy_loop(count, threshold, rng):
    boxes, scores = drawn(rng, count), rng.standard_normal(count)
    np.testing.assert_array_equal(yolo_iou.nms(boxes, scores, threshold), greedy(boxes, scores, threshold))


@pytest.mark.parametrize("threshold", [0.25, 0.5])
def test_suppression_equals_the_greedy_loop_where_scores_and_overlaps_tie(threshold, rng):
    boxes, scores = whole_numbers(rng, 90, 4), rng.integers(0, 5, 90).astype(float)
    tied = yolo_iou.pairwise_iou(boxes, boxes) == threshold
    assert tied.any()
    np.testing.assert_array_equal(yolo_iou.nms(boxes, scores, threshold), greedy(boxes, scores, threshold))


def test_wide_and_narrow_boxes_find_each_other(rng):
    """Candidates are looked for by where they begin; a wide box may begin far left of a narrow one."""
    boxes = np.vstack([drawn(rng, 90), 0.01 * drawn(rng, 90), drawn(rng, 90, 30.0)])
    scores = rng.standard_normal(len(boxes))
    for threshold in (0.001, 0.05, 0.9):
        np.testing.assert_array_equal(yolo_iou.nms(boxes, scores, threshold), greedy(boxes, scores, threshold))


def test_a_box_that_is_struck_out_strikes_out_no_other():
    chain = np.array([[0.0, 0, 4, 1], [1.0, 0, 5, 1], [2.0, 0, 6, 1]])  # neighbors overlap by 0.6, the ends by 1/3
    keep = yolo_iou.nms(chain, np.array([0.9, 0.8, 0.7]), 0.5)
    assert keep.tolist() == [True, False, True]
    assert yolo_iou.nms(chain, np.array([0.8, 0.9, 0.7]), 0.5).tolist() == [False, True, False]


def test_no_boxes_give_no_boxes_and_a_threshold_out_of_range_is_refused(rng):
    assert yolo_iou.nms(np.zeros((0, 4)), np.zeros(0)).shape == (0,)
    for threshold in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match=r"a threshold in \[0, 1\]"):
            yolo_iou.nms(drawn(rng), np.ones(7), threshold)


def test_what_stays_does_not_overlap_and_what_goes_is_covered_by_what_stays(rng):
    boxes, scores = drawn(rng, 150), rng.standard_normal(150)
    keep, over = yolo_iou.nms(boxes, scores, 0.4), yolo_iou.pairwise_iou(boxes, boxes) > 0.4
    np.fill_diagonal(over, False)
    assert not over[np.ix_(keep, keep)].any()
    better = scores[:, None] > scores
    assert (over & better)[keep][:, ~keep].any(axis=0).all()


def test_classes_do_not_suppress_each_other(rng):
    boxes, scores = np.vstack([drawn(rng, 40)] * 3), rng.standard_normal(120)
    labels = np.repeat([7, 0, 3], 40)
    keep = yolo_iou.nms_per_class(boxes, scores, labels, 0.4)
    for label in (0, 3, 7):
        one = labels == label
        np.testing.assert_array_equal(keep[one], greedy(boxes[one], scores[one], 0.4))
    assert keep.sum() > yolo_iou.nms(boxes, scores, 0.4).sum()


# YOLO


@pytest.mark.parametrize("grid", [3, 7])
def test_boxes_come_back_from_their_cells(grid, rng):
    center, size = rng.uniform(0, 1, (40, 2)), rng.uniform(0.01, 0.9, (40, 2))
    boxes = np.hstack([center - size / 2, center + size / 2])
    cells, t = yolo_iou.yolo_encode(boxes, grid)
    assert_close(yolo_iou.yolo_decode(cells, t, grid), boxes)
    assert ((t[:, :2] >= 0) & (t[:, :2] < 1)).all()
    np.testing.assert_array_equal(cells, np.floor(grid * center[:, ::-1]))


def test_a_center_on_the_far_border_belongs_to_the_last_cell():
    boxes = np.array([[0.9, 0.2, 1.1, 0.3], [0.5, 0.95, 0.6, 1.05], [0.9, 0.9, 1.1, 1.1], [-0.1, -0.2, 0.1, 0.2]])
    cells, t = yolo_iou.yolo_encode(boxes, 5)
    assert cells.tolist() == [[1, 4], [4, 2], [4, 4], [0, 0]]
    assert_close(yolo_iou.yolo_decode(cells, t, 5), boxes)
    below = np.nextafter(1.0, 0.0)  # rounds up to 7 when it is multiplied by 7
    assert yolo_iou.yolo_encode(np.array([[below, below, below, below]]), 7)[0].tolist() == [[6, 6]]


def test_a_center_outside_of_the_image_is_refused():
    with pytest.raises(ValueError, match=r"centers in \[0, 1\], got 0.5 to 1.5"):
        yolo_iou.yolo_encode(np.array([[1.0, 0.0, 2.0, 1.0]]), 7)


def test_the_box_with_the_largest_iou_is_responsible_and_no_other(rng):
    boxes = np.stack([drawn(rng, 9) for _ in range(3)], axis=1)
    truths, occupied = drawn(rng, 9), rng.random(9) < 0.6
    chosen, overlap = yolo_iou.yolo_responsible(boxes, truths, occupied)
    for cell in range(9):
        right = yolo_iou.pairwise_iou(boxes[cell], truths[cell][None])[:, 0]
        assert chosen[cell].sum() == occupied[cell]
        if occupied[cell]:
            assert chosen[cell, right.argmax()]
            assert overlap[cell].max() == pytest.approx(right.max(), rel=1e-12)
    assert (overlap[~chosen] == 0).all()


def test_the_loss_and_its_gradients_equal_those_of_autograd(rng):
    shapes = ((7, 3, 5), (7, 6), (7, 3, 5), (7, 6))
    arrays, chosen = [rng.standard_normal(shape) for shape in shapes], rng.random((7, 3)) < 0.3
    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    right = yolo_iou_torch.yolo_loss_forward(*tensors, torch.tensor(chosen), 3.0, 0.25)
    loss, cache = yolo_iou.yolo_loss_forward(*arrays, chosen, 3.0, 0.25)
    assert_close(loss, right.detach().numpy())
    expected = torch.autograd.grad(right, tensors)
    for came, gradient in zip(yolo_iou.yolo_loss_backward(np.array(1.0), cache), expected, strict=True):
        assert_close(came, gradient.numpy())


def test_an_empty_cell_is_asked_for_its_objectness_alone(rng):
    pred, p = rng.standard_normal((4, 2, 5)), rng.standard_normal((4, 3))
    loss, _ = yolo_iou.yolo_loss_forward(pred, p, 0 * pred, 0 * p, np.zeros((4, 2), bool), 5.0, 0.5)
    assert_close(loss, 0.5 * (pred[..., 4] ** 2).sum())


def test_the_small_network_predicts_for_every_cell_and_learns_an_image(rng):
    torch.manual_seed(0)
    network = yolo_iou_torch.MiniYolo(classes=3, predictors=2, width=6)
    x = torch.tensor(rng.random((5, 1, 24, 40)), dtype=torch.float32)
    pred, p = network(x)
    assert pred.shape == (5, 3, 5, 2, 5)
    assert p.shape == (5, 3, 5, 3)
    torch.testing.assert_close(p.sum(dim=3), torch.ones(5, 3, 5))
    target, y = torch.rand(75, 2, 5), torch.eye(3).repeat(25, 1)
    chosen = torch.arange(150).reshape(75, 2) % 3 == 0
    optimizer, history = torch.optim.Adam(network.parameters(), lr=1e-2), []
    for _ in range(30):
        pred, p = (part.flatten(0, 2) for part in network(x))
        loss = yolo_iou_torch.yolo_loss_forward(pred, p, target, y, chosen)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.5 * history[0]


# how good is a detector


def test_an_object_is_found_once_and_the_better_score_chooses_first():
    truths = np.array([[0.0, 0, 4, 4], [10.0, 0, 14, 4]])
    boxes = np.array([[0.0, 0, 4, 4], [0.0, 0, 4, 5], [10.0, 0, 14, 3], [20.0, 0, 24, 4]])
    scores = np.array([0.5, 0.9, 0.3, 0.8])
    assert yolo_iou.match_detections(boxes, scores, truths).tolist() == [False, True, True, False]
    assert yolo_iou.match_detections(boxes, scores, truths, 0.8).tolist() == [False, True, False, False]
    assert yolo_iou.match_detections(boxes, scores, truths, 0.9).tolist() == [True, False, False, False]


def test_an_overlap_that_equals_the_threshold_is_a_hit():
    square, half = np.array([[0.0, 0, 2, 2]]), np.array([[0.0, 0, 1, 2]])
    assert yolo_iou.match_detections(half, np.ones(1), square, 0.5).tolist() == [True]


def test_where_there_are_no_objects_or_no_detections_there_are_no_hits(rng):
    none = np.zeros((0, 4))
    assert not yolo_iou.match_detections(drawn(rng), rng.random(7), none).any()
    assert yolo_iou.match_detections(none, np.zeros(0), drawn(rng)).shape == (0,)
    for threshold in (0.0, 1.5):
        with pytest.raises(ValueError, match=r"a threshold in \(0, 1\]"):
            yolo_iou.match_detections(drawn(rng), rng.random(7), drawn(rng), threshold)


def area_under_the_envelope(scores, hits, truths):
    """For each object the best precision at which it, or one more, is found: their mean over all objects."""
    ranked, total = hits[np.argsort(-scores, kind="stable")], 0.0
    for wanted in range(1, truths + 1):
        reached = [ranked[:k].mean() for k in range(1, len(ranked) + 1) if ranked[:k].sum() >= wanted]
        total += max(reached, default=0.0)
    return total / truths


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_average_precision_is_the_mean_over_objects_of_the_best_precision_that_reaches_them(share, rng):
    for _ in range(20):
        scores, hits = rng.random(23), rng.random(23) < share
        came = yolo_iou.average_precision(scores, hits, 25)
        assert came == pytest.approx(area_under_the_envelope(scores, hits, 25), rel=1e-12)


def test_average_precision_of_the_extremes():
    assert yolo_iou.average_precision(np.arange(3.0), np.ones(3, bool), 3) == 1
    assert yolo_iou.average_precision(np.arange(3.0), np.ones(3, bool), 6) == 0.5
    assert yolo_iou.average_precision(np.arange(3.0), np.zeros(3, bool), 3) == 0
    assert yolo_iou.average_precision(np.zeros(0), np.zeros(0, bool), 3) == 0
    precision, recall = yolo_iou.precision_recall(np.array([0.1, 0.9]), np.array([True, False]), 2)
    assert precision.tolist() == [0, 0.5]
    assert recall.tolist() == [0, 0.5]
    for truths in (0, 2):
        with pytest.raises(ValueError, match=f"one at least, got {truths}"):
            yolo_iou.average_precision(np.arange(3.0), np.ones(3, bool), truths)


# which slip


def test_each_slip_is_told_by_its_number(rng):
    a, b = drawn(rng, 23, 3.0), drawn(rng, 23, 3.0)
    low, high = np.maximum(a, b)[:, :2], np.minimum(a, b)[:, 2:]
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(1), (b[:, 2:] - b[:, :2]).prod(1)
    inter = np.maximum(high - low, 0).prod(1)
    grown = [box + np.array([0, 0, 1, 1]) for box in (a, b)]
    as_centers = [yolo_iou.box_convert(np.abs(box), "cxcywh", "xyxy") for box in (a, b)]
    answers = np.array(
        [
            yolo_iou.iou(a, b),
            np.clip(high - low + 1, 0, None).prod(1) * 0 + yolo_iou.iou(*grown),
            (high - low).prod(1) / (area_a + area_b - (high - low).prod(1)),
            inter / (area_a + area_b),
        ]
    )
    np.testing.assert_array_equal(yolo_iou.which_iou(a, b, answers), [0, 1, 2, 3])
    positive = [np.abs(box) for box in (a, b)]
    assert yolo_iou.which_iou(*positive, yolo_iou.iou(*as_centers)[None]).tolist() == [4]


@pytest.mark.parametrize("seed", range(20))
def test_each_of_the_five_answers_about_boxes_is_asked_for(seed):
    task = question.draw_task(question.of_block("yolo_iou")["which_iou"], 4.0, seed)
    for case in task.cases:
        assert set(case.expected[0].tolist()) == set(range(5)), case.label
