"""Boxes: formats, overlap and its gradients, non-maximum suppression, YOLO, precision.

Where no format is named, a box is (x1, y1, x2, y2): its upper left and its lower right
corner, in an image whose y axis points down. Coordinates are continuous, so that a box
is x2 - x1 wide; there is no pixel to add.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

Array = np.ndarray
Scalar = np.ndarray | np.floating


# --- formats ----------------------------------------------------------------------


def _check_corners(*arrays: Array) -> None:
    """Raise ValueError where the first corner is not the upper left one."""
    for boxes in arrays:
        wrong = np.flatnonzero((boxes[:, 2:] < boxes[:, :2]).any(axis=1))
        if len(wrong):
            got = f"{boxes[wrong[0]].tolist()} in row {wrong[0]}"
            raise ValueError(f"expected boxes with x1 <= x2 and y1 <= y2, got {got}")


def box_convert(
    boxes: Float[Array, "boxes 4"],
    source: Literal["xyxy", "xywh", "cxcywh"],
    target: Literal["xyxy", "xywh", "cxcywh"],
) -> Float[Array, "boxes 4"]:
    """Write boxes in another format (eq. box-formats).

    "xyxy" has two corners, "xywh" the upper left corner and the size, "cxcywh" the
    center and the size. Raises ValueError for any other word.
    """
    if not {source, target} <= {"xyxy", "xywh", "cxcywh"}:
        got = f"{source!r} and {target!r}"
        raise ValueError(f"expected formats out of xyxy, xywh and cxcywh, got {got}")
    low, high = boxes[:, :2], boxes[:, 2:]
    if source == "xywh":
        high = low + high
    elif source == "cxcywh":
        low, high = low - high / 2, low + high / 2
    if target == "xywh":
        high = high - low
    elif target == "cxcywh":
        low, high = (low + high) / 2, high - low
    return np.hstack([low, high])


# --- overlap ----------------------------------------------------------------------


def _ratio(inter: Array, union: Array) -> Array:
    """Divide; two boxes without an area have no overlap, so 0 / 0 counts as 0."""
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)


def iou(
    a: Float[Array, "boxes 4"],
    b: Float[Array, "boxes 4"],
    fmt: Literal["xyxy", "xywh", "cxcywh"] = "xyxy",
) -> Float[Array, " boxes"]:
    """Divide the intersection of each pair of boxes by their union (eq. iou).

    Jaccard 1912. Raises ValueError where a box has a negative size.
    """
    a, b = box_convert(a, fmt, "xyxy"), box_convert(b, fmt, "xyxy")
    _check_corners(a, b)
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    inter = np.maximum(high - low, 0).prod(axis=1)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(axis=1), (b[:, 2:] - b[:, :2]).prod(1)
    return _ratio(inter, area_a + area_b - inter)


def _inter_and_union(a: Array, b: Array) -> tuple[Array, Array]:
    """Return the intersection and the union of every box of a with every box of b."""
    (x1, y1, x2, y2), (u1, v1, u2, v2) = a.T[:, :, None], b.T.copy()
    inter = np.minimum(x2, u2)
    inter -= np.maximum(x1, u1)
    np.maximum(inter, 0, out=inter)
    height = np.minimum(y2, v2)
    height -= np.maximum(y1, v1)
    np.maximum(height, 0, out=height)
    inter *= height
    union = np.add((x2 - x1) * (y2 - y1), (u2 - u1) * (v2 - v1), out=height)
    union -= inter
    return inter, union


def pairwise_iou(
    a: Float[Array, "boxes 4"], b: Float[Array, "others 4"]
) -> Float[Array, "boxes others"]:
    """Return the IoU of every box of a with every box of b (eq. iou-matrix)."""
    _check_corners(a, b)
    inter, union = _inter_and_union(a, b)
    return _ratio(inter, union)


def _meet(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """Return the sizes of intersection and hull, (pairs, 2) each, and what a decides.

    The third, (pairs, 4), is 1 where a corner of the intersection is a's, 0 where it is
    b's and 1/2 where both have it; in the hull it is the other way round.
    """
    _check_corners(a, b)
    smaller = (1 + np.sign(b - a)) / 2  # is a's coordinate the smaller one?
    mine = np.hstack([1 - smaller[:, :2], smaller[:, 2:]])
    inter = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    hull = np.maximum(a[:, 2:], b[:, 2:]) - np.minimum(a[:, :2], b[:, :2])
    return inter, hull, mine


def _corners(dsize: Array) -> Array:
    """Send the gradient of sizes to the corners: high minus low."""
    return np.hstack([-dsize, dsize])


def giou_forward(
    a: Float[Array, "boxes 4"], b: Float[Array, "boxes 4"]
) -> tuple[Float[Array, " boxes"], tuple]:
    """Return the generalized IoU of each pair of boxes (eq. giou; Rezatofighi 2019).

    Raises ValueError where neither box of a pair has an area.
    """
    inter_size, hull_size, mine = _meet(a, b)
    size_a, size_b = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
    inter = np.maximum(inter_size, 0).prod(axis=1)
    union = size_a.prod(axis=1) + size_b.prod(axis=1) - inter
    hull = hull_size.prod(axis=1)
    if not (union > 0).all():
        raise ValueError("expected a box with an area in each pair, got a pair of none")
    giou = inter / union - (hull - union) / hull
    cache = (inter_size, hull_size, mine, size_a, size_b, inter, union, hull)
    return giou, cache


def giou_backward(
    dgiou: Float[Array, " boxes"], cache: tuple
) -> tuple[Float[Array, "boxes 4"], Float[Array, "boxes 4"]]:
    """Return (da, db) (eq. giou-backward)."""
    inter_size, hull_size, mine, size_a, size_b, inter, union, hull = cache
    dunion = dgiou * (1 / hull - inter / union**2)
    dinter = dgiou / union - dunion  # the union holds minus the intersection
    dhull = -dgiou * union / hull**2
    sides = np.maximum(inter_size, 0)[:, ::-1]  # the width changes by the height
    dsize = dinter[:, None] * sides * (inter_size >= 0)
    dmeet, dframe = _corners(dsize), _corners(dhull[:, None] * hull_size[:, ::-1])
    own_a, own_b = (_corners(dunion[:, None] * s[:, ::-1]) for s in (size_a, size_b))
    da = mine * dmeet + (1 - mine) * dframe + own_a
    db = (1 - mine) * dmeet + mine * dframe + own_b
    return da, db


def diou_forward(
    a: Float[Array, "boxes 4"], b: Float[Array, "boxes 4"]
) -> tuple[Float[Array, " boxes"], tuple]:
    """Return IoU minus the squared distance of the centers over the hull's diagonal's.

    Eq. diou; Zheng et al. 2020. Raises ValueError where neither box has an area.
    """
    inter_size, hull_size, mine = _meet(a, b)
    size_a, size_b = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
    inter = np.maximum(inter_size, 0).prod(axis=1)
    union = size_a.prod(axis=1) + size_b.prod(axis=1) - inter
    if not (union > 0).all():
        raise ValueError("expected a box with an area in each pair, got a pair of none")
    apart = (a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2
    diagonal = (hull_size**2).sum(axis=1)
    diou = inter / union - (apart**2).sum(axis=1) / diagonal
    cache = (inter_size, hull_size, mine, size_a, size_b, inter, union, apart, diagonal)
    return diou, cache


def diou_backward(
    ddiou: Float[Array, " boxes"], cache: tuple
) -> tuple[Float[Array, "boxes 4"], Float[Array, "boxes 4"]]:
    """Return (da, db) (eq. diou-backward)."""
    inter_size, hull_size, mine, size_a, size_b, inter, union, apart, diagonal = cache
    dunion = -ddiou * inter / union**2
    dinter = ddiou / union - dunion
    dsize = dinter[:, None] * np.maximum(inter_size, 0)[:, ::-1] * (inter_size >= 0)
    squared = (apart**2).sum(axis=1)
    dhull_size = (ddiou * squared / diagonal**2)[:, None] * 2 * hull_size
    dapart = -(ddiou / diagonal)[:, None] * 2 * apart
    dmeet, dframe = _corners(dsize), _corners(dhull_size)
    own_a, own_b = (_corners(dunion[:, None] * s[:, ::-1]) for s in (size_a, size_b))
    half = np.hstack([dapart, dapart]) / 2  # a center is the mean of two corners
    da = mine * dmeet + (1 - mine) * dframe + own_a + half
    db = (1 - mine) * dmeet + mine * dframe + own_b - half
    return da, db


# --- non-maximum suppression ------------------------------------------------------


def _covers(rows: Array, cols: Array, threshold: float, room: Array) -> Array:
    """Say of all pairs whether the IoU is above the threshold, without a division.

    I > t (A + B - I) is (1 + t) I > t A + t B. One clamp will do: with one side
    positive, a negative other side makes the product negative.
    """
    (x1, y1, x2, y2), (u1, v1, u2, v2) = rows.T[:, :, None], cols.T.copy()
    tiles = room[:, : len(rows) * len(cols)].reshape(3, len(rows), len(cols))
    inter, height, other = tiles  # used again and again: new memory would take longer
    np.minimum(x2, u2, out=inter)
    inter -= np.maximum(x1, u1, out=other)
    np.maximum(inter, 0, out=inter)
    np.minimum(y2, v2, out=height)
    height -= np.maximum(y1, v1, out=other)
    inter *= height
    inter *= 1 + threshold
    areas = threshold * (x2 - x1) * (y2 - y1), threshold * (u2 - u1) * (v2 - v1)
    return inter > np.add(*areas, out=other)


def _covering(boxes: Array, threshold: float) -> tuple[Array, Array]:
    """Return all pairs (i, j), i < j, whose IoU is above the threshold, sorted by i.

    An IoU is at most the common width over the larger width. So the partners of a box
    that begin further right do so within (1 - threshold) of its width; only they are
    looked at, in blocks of rows, with a little more room for rounding.
    """
    by_x = np.argsort(boxes[:, 0], kind="stable")
    ranked, starts = boxes[by_x], np.arange(0, len(boxes), 64)
    x1, x2 = ranked[:, 0], ranked[:, 2]
    reach = np.searchsorted(x1, x2 - (threshold - 1e-3) * (x2 - x1), "right")
    ends = np.maximum(np.maximum.reduceat(reach, starts), starts + 64)
    room = np.empty((3, 64 * (ends - starts).max()), boxes.dtype)
    pairs = []
    for start, end in zip(starts, ends, strict=True):
        rows = ranked[start : start + 64]
        over = _covers(rows, ranked[start:end], threshold, room)
        over[:, :64] = np.triu(over[:, :64], 1)
        i, j = np.divmod(np.flatnonzero(over), over.shape[1])
        pairs.append(np.sort(by_x[[start + i, start + j]], axis=0))
    first, second = np.hstack(pairs)
    by_first = np.argsort(first, kind="stable")
    return first[by_first], second[by_first]


def nms(
    boxes: Float[Array, "boxes 4"],
    scores: Float[Array, " boxes"],
    threshold: float = 0.5,
) -> Bool[Array, " boxes"]:
    """Say of each box whether it stays: not so if a better one that stays covers it.

    Eq. nms. A box covers those whose IoU with it is above the threshold. Of equal
    scores the first counts as the better one.
    """
    _check_corners(boxes)
    if not 0 <= threshold <= 1:
        raise ValueError(f"expected a threshold in [0, 1], got {threshold:g}")
    if len(boxes) == 0:
        return np.zeros(0, bool)
    order = np.argsort(-scores, kind="stable")
    better, worse = _covering(boxes[order], threshold)
    stays = [True] * len(boxes)
    for i, j in zip(better.tolist(), worse.tolist(), strict=True):
        if stays[i]:
            stays[j] = False
    keep = np.empty(len(boxes), bool)
    keep[order] = stays
    return keep


def nms_per_class(
    boxes: Float[Array, "boxes 4"],
    scores: Float[Array, " boxes"],
    labels: Int[Array, " boxes"],
    threshold: float = 0.5,
) -> Bool[Array, " boxes"]:
    """Suppress among the boxes of each class by themselves (eq. nms)."""
    keep = np.zeros(len(boxes), bool)
    for label in np.unique(labels):
        of_class = np.flatnonzero(labels == label)
        keep[of_class] = nms(boxes[of_class], scores[of_class], threshold)
    return keep


# --- YOLO -------------------------------------------------------------------------


def yolo_encode(
    boxes: Float[Array, "boxes 4"], grid: int
) -> tuple[Int[Array, "boxes 2"], Float[Array, "boxes 4"]]:
    """Return the cell (row, column) that each center falls into, and what it predicts.

    Eq. yolo-encode; Redmon et al. 2016. Boxes are in fractions of the image; predicted
    are the center's place within the cell, x and y, and the roots of width and height.
    Raises ValueError where a center lies outside of the image.
    """
    _check_corners(boxes)
    center, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    if not ((center >= 0) & (center <= 1)).all():
        got = f"{center.min():g} to {center.max():g}"
        raise ValueError(f"expected centers in [0, 1], got {got}")
    place = grid * center  # (boxes, 2), x first
    cell = np.minimum(place.astype(int), grid - 1)  # a center on the far border
    return cell[:, ::-1].copy(), np.hstack([place - cell, np.sqrt(size)])


def yolo_decode(
    cells: Int[Array, "boxes 2"], t: Float[Array, "boxes 4"], grid: int
) -> Float[Array, "boxes 4"]:
    """Return the boxes that cells (row, column) predict with t (eq. yolo-decode)."""
    center = (cells[:, ::-1] + t[:, :2]) / grid
    size = t[:, 2:] ** 2
    return np.hstack([center - size / 2, center + size / 2])


def yolo_responsible(
    boxes: Float[Array, "cells predictors 4"],
    truths: Float[Array, "cells 4"],
    occupied: Bool[Array, " cells"],
) -> tuple[Bool[Array, "cells predictors"], Float[Array, "cells predictors"]]:
    """Choose the predicted box of each occupied cell with the largest IoU.

    Eq. yolo-responsible. Returns the choice and the IoU that each chosen box must
    predict, 0 for all others. Of equal ones the first is chosen.
    """
    count, predictors, _ = boxes.shape
    a, b = boxes.reshape(-1, 4), np.repeat(truths, predictors, axis=0)
    overlap = iou(a, b).reshape(count, predictors)
    best = overlap.argmax(axis=1)
    chosen = (np.arange(predictors) == best[:, None]) & occupied[:, None]
    return chosen, np.where(chosen, overlap, 0.0)


def yolo_loss_forward(
    pred: Float[Array, "cells predictors 5"],
    p: Float[Array, "cells classes"],
    target: Float[Array, "cells predictors 5"],
    y: Float[Array, "cells classes"],
    chosen: Bool[Array, "cells predictors"],
    coord: float = 5.0,
    empty: float = 0.5,
) -> tuple[Float[Scalar, ""], tuple]:
    """Return YOLO's sum of weighted squares (eq. yolo-loss; Redmon et al. 2016).

    The last axis of pred and target is x, y, root of width, root of height, objectness.
    A cell is occupied if one of its boxes is chosen.
    """
    weight = np.empty(pred.shape)
    weight[..., :4] = coord * chosen[..., None]
    weight[..., 4] = np.where(chosen, 1.0, empty)
    occupied = chosen.any(axis=1)[:, None]
    off, missed = pred - target, p - y
    loss = (weight * off**2).sum() + (occupied * missed**2).sum()
    return loss, (weight, off, occupied, missed)


def yolo_loss_backward(
    dloss: Float[Scalar, ""], cache: tuple
) -> tuple[
    Float[Array, "cells predictors 5"],
    Float[Array, "cells classes"],
    Float[Array, "cells predictors 5"],
    Float[Array, "cells classes"],
]:
    """Return (dpred, dp, dtarget, dy) (eq. yolo-loss-backward)."""
    weight, off, occupied, missed = cache
    dpred = dloss * 2 * weight * off
    dp = dloss * 2 * occupied * missed
    return dpred, dp, -dpred, -dp


# --- how good is a detector -------------------------------------------------------


def match_detections(
    boxes: Float[Array, "boxes 4"],
    scores: Float[Array, " boxes"],
    truths: Float[Array, "truths 4"],
    threshold: float = 0.5,
) -> Bool[Array, " boxes"]:
    """Say of each detection in an image whether it found an object (eq. detection-hit).

    The better score chooses first, among the objects that nobody has found yet, the one
    with the largest IoU, which must be at least the threshold.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"expected a threshold in (0, 1], got {threshold:g}")
    overlap, hits = pairwise_iou(boxes, truths), np.zeros(len(boxes), bool)
    for i in np.argsort(-scores, kind="stable"):
        if (overlap[i] >= threshold).any():
            hits[i] = True
            overlap[:, overlap[i].argmax()] = -1.0  # found: out of the game
    return hits


def precision_recall(
    scores: Float[Array, " boxes"], hits: Bool[Array, " boxes"], truths: int
) -> tuple[Float[Array, " boxes"], Float[Array, " boxes"]]:
    """Return precision and recall of the best detections, from one to all of them.

    Eq. precision-recall. Raises ValueError unless there are objects, enough for all
    hits.
    """
    if truths < max(1, hits.sum()):
        raise ValueError(
            f"expected an object for each hit, and one at least, got {truths}"
        )
    found = np.cumsum(hits[np.argsort(-scores, kind="stable")])
    return found / np.arange(1, len(hits) + 1), found / truths


def average_precision(
    scores: Float[Array, " boxes"], hits: Bool[Array, " boxes"], truths: int
) -> float:
    """Return the area below precision's envelope over recall (eq. average-precision).

    Everingham et al. 2015: at each recall counts the best precision from there on.
    """
    precision, recall = precision_recall(scores, hits, truths)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((envelope * np.diff(recall, prepend=0.0)).sum())


# --- which slip -------------------------------------------------------------------


def which_iou(
    a: Float[Array, "boxes 4"],
    b: Float[Array, "boxes 4"],
    out: Float[Array, "answers boxes"],
) -> Int[Array, " answers"]:
    """Say how each answer to iou(a, b) was really computed.

    0: right; 1: one pixel is added to every width and height; 2: no clamp at 0; 3: the
    union is the sum of both areas; 4: the boxes are read as (cx, cy, w, h).
    """
    read = [box_convert(box, "cxcywh", "xyxy") for box in (a, b)]
    wrong = [(a, b, 1.0, 0.0, 1), (a, b, 0.0, -np.inf, 1), (a, b, 0.0, 0.0, 0)]
    variants = [(a, b, 0.0, 0.0, 1), *wrong, (*read, 0.0, 0.0, 1)]
    results = []
    for one, two, pixel, floor, minus in variants:
        low, high = np.maximum(one, two)[:, :2], np.minimum(one, two)[:, 2:]
        inter = np.maximum(high - low + pixel, floor).prod(axis=1)
        areas = [(box[:, 2:] - box[:, :2] + pixel).prod(axis=1) for box in (one, two)]
        results.append(inter / (areas[0] + areas[1] - minus * inter))
    return np.isclose(out[:, None], np.array(results)).all(axis=2).argmax(axis=1)
