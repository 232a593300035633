"""The questions about boxes, suppression, YOLO and average precision, each with the mistakes known by name."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from autograder.question import Draw, Function, Mistake, Question, backward_slip, slip, variant
from solutions.yolo_iou import (
    average_precision,
    box_convert,
    giou_backward,
    giou_forward,
    iou,
    match_detections,
    nms,
    nms_per_class,
    pairwise_iou,
    which_iou,
    yolo_decode,
    yolo_encode,
    yolo_loss_backward,
    yolo_loss_forward,
)

Array = np.ndarray[Any, Any]

LIBRARIES = ("torch", "torchvision", "skimage", "scipy", "sklearn")  # whose functions would do a question's work

# --- boxes --------------------------------------------------------------------------------------------------------


def boxes(rng: np.random.Generator, count: int, image: float = 60.0) -> Array:
    """Boxes of a third of the image or less."""
    corner = rng.uniform(0, image, (count, 2))
    return np.hstack([corner, corner + rng.uniform(0.05, 0.35, (count, 2)) * image])


def near(rng: np.random.Generator, these: Array, share: float = 0.3) -> Array:
    """Boxes close to these: moved and stretched by some share of their size."""
    center, size = (these[:, :2] + these[:, 2:]) / 2, these[:, 2:] - these[:, :2]
    center = center + share * size * rng.uniform(-1, 1, center.shape)
    size = size * rng.uniform(0.6, 1.4, size.shape)
    return np.hstack([center - size / 2, center + size / 2])


def pairs(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Pairs of boxes around the origin: half of them overlap, the others lie close to each other or overlap.

    No two are so far apart that their union would be negative without a clamp: who then divides by it, and who
    answers 0 there, has made the same mistake.
    """
    a = boxes(rng, count) - 30
    b = np.vstack([near(rng, a[: count // 2]), near(rng, a[count // 2 :], 1.4)])
    return a, b


def packed(count: int, others: int) -> Draw:
    """Boxes so close that no two are further apart than they are wide: without a clamp, unions stay away from 0."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        corners = rng.uniform(0, 27, (count + others, 2))
        some = np.hstack([corners, corners + rng.uniform(12, 24, corners.shape)])
        return {"a": some[:count], "b": some[count:]}

    return make


# --- box_convert --------------------------------------------------------------------------------------------------


def converted(source: str, target: str) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        return {"boxes": box_convert(boxes(rng, 7), "xyxy", source), "source": source, "target": target}

    return make


def box_convert_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, box_convert, *edits)


BOX_CONVERT = Question(
    name="box_convert",
    reference=(box_convert,),
    outputs=("boxes",),
    by_draw=True,
    draws={
        "corners to center": converted("xyxy", "cxcywh"),
        "center to corners": converted("cxcywh", "xyxy"),
        "corner and size to center": converted("xywh", "cxcywh"),
        "center to corner and size": converted("cxcywh", "xywh"),
    },
    mistakes={
        "whole size around the center": box_convert_slip(
            "from the center, half of the size lies on either side: your boxes are twice as wide and as high",
            ("low - high / 2, low + high / 2", "low - high, low + high"),
        ),
        "center taken for a corner": box_convert_slip(
            'you read "cxcywh" as if its first two numbers were a corner: they are the center, half of the size away',
            ("low, high = low - high / 2, low + high / 2", "high = low + high"),
        ),
        "corner in place of the center": box_convert_slip(
            'in "cxcywh" the first two numbers are the center, the mean of the two corners; yours are a corner',
            ("(low + high) / 2, high - low", "low, high - low"),
        ),
        "size from the center": box_convert_slip(
            "your widths and heights are half as large: you subtract the center, which you have written over the first "
            "corner, from the second one. Compute the size before",
            ("(low + high) / 2, high - low", "(low + high) / 2, (high - low) / 2"),
        ),
        "corner in place of the size": box_convert_slip(
            "where a size is asked for, you give the second corner: subtract the first one",
            ("        high = high - low\n", "        pass\n"),
            ("(low + high) / 2, high - low", "(low + high) / 2, high"),
        ),
        "x and y exchanged": box_convert_slip(
            "x comes before y and the width before the height; you have them exchanged",
            ("np.hstack([low, high])", "np.hstack([low[:, ::-1], high[:, ::-1]])"),
        ),
    },
    edges={"nothing to do": converted("xywh", "xywh"), "corner and size to corners": converted("xywh", "xyxy")},
    forbid=LIBRARIES,
)

# --- iou ----------------------------------------------------------------------------------------------------------


def pairs_in(fmt: str, count: int = 30) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        a, b = pairs(rng, count)
        return {"a": box_convert(a, "xyxy", fmt), "b": box_convert(b, "xyxy", fmt), "fmt": fmt}

    return make


def touching(rng: np.random.Generator) -> Mapping[str, object]:
    """Boxes that share an edge, a corner or nothing."""
    a = rng.integers(5, 9, (3, 4)).astype(float)
    a[:, 2:] += a[:, :2]
    size = a[:, 2:] - a[:, :2]
    moves = np.array([[1, 0], [1, 1], [-1.5, 2]]) * size
    return {"a": a, "b": a + np.hstack([moves, moves]), "fmt": "xyxy"}


def nested(rng: np.random.Generator) -> Mapping[str, object]:
    """Boxes inside of others, and equal ones."""
    a = boxes(rng, 6)
    size = a[:, 2:] - a[:, :2]
    b = np.hstack([a[:, :2] + 0.3 * size, a[:, 2:] - 0.2 * size])
    return {"a": a, "b": np.vstack([b[:3], a[3:]]), "fmt": "xyxy"}


def without_area(rng: np.random.Generator) -> Mapping[str, object]:
    """Points and lines, with themselves and with a box around them."""
    point = np.repeat(rng.integers(3, 7, (3, 2)).astype(float), 1, axis=0)
    a = np.hstack([point, point + np.array([[0.0, 0], [0, 0], [2, 0]])])
    return {"a": a, "b": np.vstack([a[:1], a[1:2] + np.array([-1.0, -1, 1, 1]), a[2:]]), "fmt": "xyxy"}


READ = 'box_convert(a, fmt, "xyxy"), box_convert(b, fmt, "xyxy")'
CHECKED = "    _check_corners(a, b)\n"
INTER = "np.maximum(high - low, 0)"
AREAS = "(a[:, 2:] - a[:, :2]).prod(axis=1), (b[:, 2:] - b[:, :2]).prod(1)"
UNION = "area_a + area_b - inter"

IOU_SLIPS: Mapping[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "one pixel more": (
        "you add 1 to widths and heights, which counts pixels from the first to the last. Coordinates here are "
        "continuous: [0, 0, 10, 10] and [1, 1, 11, 11] have an IoU of 0.6807, with the extra pixel it would be 0.7042, "
        "and twice as large boxes would have another IoU",
        (
            (INTER, "np.maximum(high - low + 1, 0)"),
            (AREAS, "(a[:, 2:] - a[:, :2] + 1).prod(axis=1), (b[:, 2:] - b[:, :2] + 1).prod(1)"),
        ),
    ),
    "no clamp": (
        "boxes that lie apart along x and along y get an overlap: there, width and height of the intersection are both "
        "negative, and their product is positive. Clamp each of them at 0 before you multiply",
        ((INTER, "(high - low)"),),
    ),
    "clamped too late": (
        "you clamp the product of width and height at 0, and not each of them: where boxes lie apart along x and along "
        "y, both are negative, and their product is an area that does not exist",
        ((f"{INTER}.prod(axis=1)", "np.maximum((high - low).prod(axis=1), 0)"),),
    ),
    "counted twice": (
        "your union counts the intersection twice, once in each box: subtract it once. With itself, a box has an IoU "
        "of 1, yours is 0.5",
        ((UNION, "area_a + area_b"),),
    ),
    "smaller box": (
        "you divide by the area of the smaller box, so that a box inside of another one gets 1. The union is what is "
        "in either box",
        ((UNION, "np.minimum(area_a, area_b)"),),
    ),
}


def iou_slip(name: str) -> Mistake:
    message, edits = IOU_SLIPS[name]
    return slip(message, iou, *edits)


IOU = Question(
    name="iou",
    reference=(iou,),
    outputs=("iou",),
    by_draw=True,
    draws={"corners": pairs_in("xyxy"), "center and size": pairs_in("cxcywh"), "corner and size": pairs_in("xywh")},
    mistakes={
        "one pixel more": iou_slip("one pixel more"),
        "no clamp": iou_slip("no clamp"),
        "clamped too late": iou_slip("clamped too late"),
        "counted twice": iou_slip("counted twice"),
        "smaller box": iou_slip("smaller box"),
        "format ignored": slip(
            "fmt has no effect on your answer: (cx, cy, w, h) read as two corners is another box, or none at all. "
            "Convert both boxes first",
            iou,
            (READ, "a, b"),
            (CHECKED, ""),
        ),
        "center taken for a corner": slip(
            'you read the center of "cxcywh" as the upper left corner',
            iou,
            (READ, '(box_convert(box, fmt.replace("cxcywh", "xywh"), "xyxy") for box in (a, b))'),
        ),
        "one box converted": slip(
            "you convert the first box only: both are given in fmt",
            iou,
            (READ, 'box_convert(a, fmt, "xyxy"), b'),
            (CHECKED, ""),
        ),
    },
    edges={"boxes that touch": touching, "one inside the other": nested, "boxes without an area": without_area},
    tells=dict.fromkeys(("corners", "center and size", "corner and size"), ("clamped too late",)),
    forbid=LIBRARIES,
)

# --- pairwise_iou -------------------------------------------------------------------------------------------------


def all_pairs(one: Function) -> Function:
    """The matrix that an IoU of pairs gives when it is asked about all of them."""

    def matrix(a: Array, b: Array) -> Array:
        i, j = np.indices((len(a), len(b))).reshape(2, -1)
        return np.asarray(one(a[i], b[j])).reshape(len(a), len(b))

    return matrix


def matrix_slip(name: str) -> Mistake:
    message, edits = IOU_SLIPS[name]
    return Mistake(message, (all_pairs(variant(iou, *edits)),))


LAST = "return _ratio(inter, union)"

PAIRWISE_IOU = Question(
    name="pairwise_iou",
    reference=(pairwise_iou,),
    outputs=("iou",),
    draws={"5 boxes and 5": packed(5, 5), "11 boxes and 11": packed(11, 11), "7 boxes and 7": packed(7, 7)},
    mistakes={
        "transposed": slip(
            "yours is transposed: row i belongs to box i of a, column j to box j of b",
            pairwise_iou,
            (LAST, "return _ratio(inter, union).T.copy()"),
        ),
        "first with first": slip(
            "you compare the first box of a with the first of b, the second with the second, and so on. Every box of a "
            "meets every box of b: a[:, None] is (boxes, 1, 4), and broadcasts against (others, 4)",
            pairwise_iou,
            (LAST, "return np.diagonal(_ratio(inter, union)).copy()"),
        ),
        "within a": slip(
            "you compare the boxes of a with each other; the columns belong to b",
            pairwise_iou,
            ("_inter_and_union(a, b)", "_inter_and_union(a, a)"),
        ),
        **{name: matrix_slip(name) for name in ("one pixel more", "no clamp", "clamped too late", "counted twice")},
    },
    edges={"5 boxes and 3": packed(5, 3), "one box and 9": packed(1, 9), "no boxes": packed(0, 4)},
    tells=dict.fromkeys(("11 boxes and 11", "5 boxes and 3", "one box and 9"), ("no clamp", "clamped too late")),
    forbid=LIBRARIES,
)

# --- which_iou ----------------------------------------------------------------------------------------------------


def answers(count: int, more: int) -> Draw:
    """Answers of all five kinds, in some order. The first two boxes lie side by side, where several kinds agree."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        a, b = (some + 60 for some in pairs(rng, count))  # no number below 0, so that it can be read as a size
        b[0] = a[0] + np.array([1.5, 0, 1.5, 0]) * (a[0, 2] - a[0, 0] + 1)
        read = [box_convert(box, "cxcywh", "xyxy") for box in (a, b)]
        slips = [variant(iou, *IOU_SLIPS[name][1]) for name in ("one pixel more", "no clamp", "counted twice")]
        kinds = np.array([iou(a, b), *(wrong(a, b) for wrong in slips), iou(*read)])
        asked = rng.permutation(np.concatenate([np.arange(5), rng.integers(0, 5, more)]))
        return {"a": a, "b": b, "out": kinds[asked]}

    return make


WRONG = "[(a, b, 1.0, 0.0, 1), (a, b, 0.0, -np.inf, 1), (a, b, 0.0, 0.0, 0)]"

WHICH_IOU = Question(
    name="which_iou",
    reference=(which_iou,),
    outputs=("slip",),
    draws={"30 pairs": answers(30, 2), "20 pairs": answers(20, 5), "50 pairs": answers(50, 0)},
    mistakes={
        "pixel and clamp exchanged": slip(
            "1 stands for the additional pixel and 2 for the missing clamp; you have them exchanged. Without a clamp, "
            "only boxes that lie apart come out wrong",
            which_iou,
            (WRONG, "[(a, b, 0.0, -np.inf, 1), (a, b, 1.0, 0.0, 1), (a, b, 0.0, 0.0, 0)]"),
        ),
        "union and clamp exchanged": slip(
            "2 stands for the missing clamp and 3 for the union that counts the intersection twice; you have them "
            "exchanged. The latter is too small wherever boxes overlap",
            which_iou,
            (WRONG, "[(a, b, 1.0, 0.0, 1), (a, b, 0.0, 0.0, 0), (a, b, 0.0, -np.inf, 1)]"),
        ),
        "counts from one": slip(
            "your numbers begin at 1: 0 stands for no slip", which_iou, (".argmax(axis=1)", ".argmax(axis=1) + 1")
        ),
        "one pair is enough": slip(
            "you compare the first pair only: several formulas can agree there. An answer must agree in all pairs",
            which_iou,
            (".all(axis=2)", "[:, :, 0]"),
        ),
    },
    edges={"60 pairs, 50 answers": answers(60, 45)},
    forbid=LIBRARIES,
)

# --- generalized IoU ----------------------------------------------------------------------------------------------


def box_pairs(count: int) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        a, b = pairs(rng, count)
        return {"a": a, "b": b}

    return make


def apart(rng: np.random.Generator) -> Mapping[str, object]:
    """Boxes far from each other, in all directions."""
    a, b = boxes(rng, 9), boxes(rng, 9)
    shift = 300 * rng.choice([-1.0, 1.0], (9, 2))
    return {"a": a, "b": b + np.hstack([shift, shift])}


def inside(rng: np.random.Generator) -> Mapping[str, object]:
    drawn = nested(rng)
    return {"a": drawn["a"][:3], "b": drawn["b"][:3]}  # type: ignore[index]


GIOU = "inter / union - (hull - union) / hull"


def giou_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, giou_forward, *edits)


GIOU_FORWARD = Question(
    name="giou_forward",
    reference=(giou_forward,),
    outputs=("giou",),
    draws={"30 pairs": box_pairs(30), "17 pairs": box_pairs(17), "50 pairs": box_pairs(50)},
    mistakes={
        "iou alone": giou_slip(
            "this is the plain IoU: subtract the share of the hull that belongs to neither box", (GIOU, "inter / union")
        ),
        "no clamp": giou_slip(
            "the sides of your intersection are not clamped at 0: of boxes that lie apart, one or both are negative",
            ("np.maximum(inter_size, 0).prod(axis=1)", "inter_size.prod(axis=1)"),
            ("if not (union > 0).all():", "if False:"),
        ),
        "loss": giou_slip("this is 1 - GIoU, the loss: asked for is GIoU itself", (GIOU, f"1 - ({GIOU})")),
        "clamped at 0": giou_slip(
            "you clamp the result at 0. It lies in (-1, 1]: below 0 it says how far apart boxes are, which is what it "
            "is for",
            (GIOU, f"np.maximum({GIOU}, 0)"),
        ),
        "intersection for a hull": giou_slip(
            "your hull is the intersection: the smallest box around both has the *smaller* of the first corners and "
            "the *larger* of the second ones",
            ("hull = hull_size.prod(axis=1)", "hull = inter_size.prod(axis=1)"),
        ),
        "not divided": giou_slip(
            "the empty part of the hull is an area; divide it by that of the hull, or the result depends on the unit",
            (GIOU, "inter / union - (hull - union)"),
        ),
        "divided by the union": giou_slip(
            "you divide the empty part of the hull by the union, so that the result has no lower bound: divide by the "
            "hull, and it stays above -1",
            (GIOU, "inter / union - (hull - union) / union"),
        ),
        "without the intersection": giou_slip(
            "what is empty in the hull is hull minus *union*; you subtract the intersection only",
            (GIOU, "inter / union - (hull - inter) / hull"),
        ),
        "added": giou_slip(
            "the empty part of the hull is a penalty: subtract it", (GIOU, "inter / union + (hull - union) / hull")
        ),
    },
    edges={"far apart": apart, "one inside the other": inside},
    forbid=LIBRARIES,
)


def giou_backward_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, giou_forward, giou_backward, *edits)


DUNION = "dgiou * (1 / hull - inter / union**2)"

GIOU_BACKWARD = Question(
    name="giou_backward",
    reference=(giou_forward, giou_backward),
    outputs=("da", "db"),
    draws={"30 pairs": box_pairs(30), "17 pairs": box_pairs(17), "50 pairs": box_pairs(50)},
    mistakes={
        "nothing where boxes lie apart": giou_backward_slip(
            "pairs without an overlap get no gradient from you: there the IoU is flat, but the hull is not. Only the "
            "intersection's own gradient is 0",
            ("da = mine * dmeet", "dframe *= (inter > 0)[:, None]\n    da = mine * dmeet"),
        ),
        "hull constant": giou_backward_slip(
            "your hull does not move: its corners are corners of a or of b, and its area has a gradient",
            ("dhull = -dgiou * union / hull**2", "dhull = 0 * dgiou"),
        ),
        "union constant": giou_backward_slip(
            "your union does not move: it is the sum of both areas minus the intersection, and each of these three "
            "depends on the corners",
            (DUNION, "0 * dgiou"),
        ),
        "intersection missing in the union": giou_backward_slip(
            "the intersection counts twice: as the numerator, and in the union, from which it is subtracted. The "
            "second part is missing in your gradient",
            ("dgiou / union - dunion", "dgiou / union"),
        ),
        "hull through the union only": giou_backward_slip(
            "the union occurs twice in GIoU, below the intersection and in the empty part of the hull; you have the "
            "gradient of the first only",
            (DUNION, "dgiou * (-inter / union**2)"),
        ),
        "clamp forgotten": giou_backward_slip(
            "where boxes lie apart along one axis, you let a gradient through the clamp at 0 of that side; below 0 it "
            "is flat",
            (" * (inter_size >= 0)", ""),
        ),
        "own areas constant": giou_backward_slip(
            "the boxes' own areas have no effect on your gradient: each is a part of the union, and depends on all "
            "four numbers of its box",
            (" + own_a", ""),
            (" + own_b", ""),
        ),
        "dgiou ignored": giou_backward_slip(
            "multiply by dgiou, the gradient that arrives: each pair has its own",
            ("    dunion = dgiou", "    dgiou = np.ones_like(dgiou)\n    dunion = dgiou"),
        ),
        "db is minus da": giou_backward_slip(
            "you take db for minus da. That holds for moving a box as a whole, but not corner by corner",
            ("return da, db", "return da, -da"),
        ),
    },
    edges={"far apart": apart, "one inside the other": inside},
    forbid=LIBRARIES,
)

# --- nms ----------------------------------------------------------------------------------------------------------


def crowd(count: int, threshold: float, ties: bool = False) -> Draw:
    """Boxes around a few places and a chain of three, in no order; with ties, some scores are equal."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        places = boxes(rng, count // 6 + 1)
        some = near(rng, np.repeat(places, 6, axis=0), 0.4)[:count]
        scores = rng.permutation(count) // (20 if ties else 1) + 1.0
        links = np.array([[0.0, 0, 10, 10], [3.5, 0, 13.5, 10], [7.0, 0, 17, 10]]) - 100
        order = rng.permutation(count + 3)
        scores = np.concatenate([scores / (2 * count), [0.9, 0.8, 0.7]])
        return {"boxes": np.vstack([some, links])[order], "scores": scores[order], "threshold": threshold}

    return make


def chain(rng: np.random.Generator) -> Mapping[str, object]:
    """Rows of boxes that each cover the next one only, from the best score on, shuffled."""
    start = 10.0 * np.arange(24) // 10 * 10 + rng.uniform(0, 0.5)
    x = np.arange(24) * 4.0
    row = np.stack([x, start[0] + 0 * x, x + 10, start[0] + 0 * x + 10], axis=1)
    order = rng.permutation(24)
    return {"boxes": row[order], "scores": np.linspace(0.95, 0.1, 24)[order], "threshold": 0.4}


def at_the_threshold(rng: np.random.Generator) -> Mapping[str, object]:
    """Pairs that overlap by exactly 0.5, others by 0.25, and scores in no order."""
    at = np.arange(8) * 20.0
    whole = np.stack([at, 0 * at, at + 8, 0 * at + 4], axis=1)
    half, quarter = whole - np.array([0.0, 0, 4, 0]), whole - np.array([0.0, 0, 6, 0])
    scores = rng.permutation(24) / 30 + 0.1
    return {"boxes": np.vstack([whole, half, quarter]), "scores": scores, "threshold": 0.5}


def alone(rng: np.random.Generator) -> Mapping[str, object]:
    return {"boxes": boxes(rng, 1), "scores": rng.random(1), "threshold": 0.5}


def none(rng: np.random.Generator) -> Mapping[str, object]:
    return {"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "threshold": 0.5}


ORDER = 'np.argsort(-scores, kind="stable")'


def nms_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, nms, *edits)


NMS = Question(
    name="nms",
    reference=(nms,),
    outputs=("keep",),
    by_draw=True,
    draws={
        "40 boxes": crowd(40, 0.45),
        "a chain": chain,
        "equal scores": crowd(60, 0.3, ties=True),
        "an IoU of exactly the threshold": at_the_threshold,
    },
    mistakes={
        "not sorted": nms_slip(
            "you go through the boxes as they come: begin with the largest score", (ORDER, "np.arange(len(scores))")
        ),
        "worst first": nms_slip(
            "you begin with the smallest score, so that of a crowd the worst box stays", (ORDER, ORDER.replace("-", ""))
        ),
        "struck out by one that is out": nms_slip(
            "a box that is itself suppressed still suppresses others in yours. In a chain where A covers B and B "
            "covers C, C stays: only boxes that stay count",
            ("if stays[i]:", "if True:"),
        ),
        "at the threshold": nms_slip(
            "a box whose IoU *equals* the threshold stays: suppress those above it",
            ("_covering(boxes[order], threshold)", "_covering(boxes[order], np.nextafter(threshold, 0))"),
        ),
        "last of equals": nms_slip(
            "of boxes with equal scores the first one counts as better; yours takes the last. Sort stably, by the "
            "negative score",
            (ORDER, 'np.argsort(scores, kind="stable")[::-1]'),
        ),
        "best box only": nms_slip(
            "you strike out what overlaps the best box of all, and stop. Go on with the best box that is left, until "
            "none is",
            ("if stays[i]:", "if i == 0:"),
        ),
        "the others": nms_slip(
            "you mark the boxes that go; asked for are those that stay", ("    return keep", "    return ~keep")
        ),
        "in the order of the scores": nms_slip(
            "your answers are in the order of the scores: put each back to the place where its box came, "
            "keep[order] = ...",
            ("    return keep", "    return keep[order]"),
        ),
        "numbers of the boxes": nms_slip(
            "you return the numbers of the boxes that stay; asked for is True or False for each box",
            ("    return keep", "    return np.flatnonzero(keep)"),
        ),
        "numbers by score": nms_slip(
            "you return the numbers of the boxes that stay, the best first, as libraries do; asked for is True or "
            "False for each box, in the order in which they came",
            ("    return keep", "    return order[keep[order]]"),
        ),
    },
    edges={"one box": alone, "no boxes": none},
    tells=dict.fromkeys(("40 boxes", "a chain", "equal scores"), ("not sorted",)),
    forbid=LIBRARIES,
)

HALF = 100.0


def classes(count: int, threshold: float) -> Draw:
    """Boxes of three classes in the same places; some of class 1 lie 100 to the upper left of some of class 0."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        places = boxes(rng, 5, HALF) + HALF / 2
        some = near(rng, np.repeat(places, 8, axis=0), 0.25)[:count]
        labels = rng.integers(0, 3, count)
        far = near(rng, some[:10], 0.1) + np.array([HALF, HALF, HALF, HALF])
        everything = np.vstack([some, some[:10], far])
        labels = np.concatenate([labels, np.ones(10, int), np.zeros(10, int)])
        order = rng.permutation(len(labels))
        scores = (rng.permutation(len(labels)) + 1) / 100
        return {"boxes": everything[order], "scores": scores, "labels": labels[order], "threshold": threshold}

    return make


def one_class(rng: np.random.Generator) -> Mapping[str, object]:
    drawn = dict(crowd(20, 0.4)(rng))
    threshold = drawn.pop("threshold")
    return {**drawn, "labels": np.full(23, 2), "threshold": threshold}


FIRST = "    keep = np.zeros(len(boxes), bool)\n"


def per_class_slip(message: str, line: str) -> Mistake:
    return slip(message, nms_per_class, (FIRST, f"    {line}\n{FIRST}"))


NMS_PER_CLASS = Question(
    name="nms_per_class",
    reference=(nms_per_class,),
    outputs=("keep",),
    draws={"60 boxes": classes(40, 0.4), "50 boxes": classes(30, 0.6), "55 boxes": classes(35, 0.3)},
    mistakes={
        "all classes together": per_class_slip(
            "labels have no effect on your answer: a cat in front of a dog must not strike out the dog. Boxes compete "
            "with those of their own class only",
            "return nms(boxes, scores, threshold)",
        ),
        "offset too small": per_class_slip(
            "moving each class away from the others is a good trick, if it is moved far enough: by more than the "
            f"whole image for each class. You move them by {HALF:g}, and they meet boxes of other classes there",
            f"return nms(boxes + {HALF} * labels[:, None], scores, threshold)",
        ),
        "offset of one pixel": per_class_slip(
            "you move the boxes of each class by one pixel for each class; they still overlap with those of the others",
            "return nms(boxes + 1.0 * labels[:, None], scores, threshold)",
        ),
        "threshold ignored": per_class_slip("threshold has no effect on your answer: pass it on", "threshold = 0.5"),
        "class by class": per_class_slip(
            "your answers are in the order of the classes: put each back to the place where its box came, "
            "keep[of_class] = ...",
            "return np.hstack([nms(boxes[labels == k], scores[labels == k], threshold) for k in np.unique(labels)])",
        ),
        "best of each class": per_class_slip(
            "you keep one box of each class. There can be several objects of one class: suppress only what overlaps",
            "return np.array([s == scores[labels == k].max() for s, k in zip(scores, labels)])",
        ),
    },
    edges={"a single class": one_class},
    forbid=LIBRARIES,
)

# --- YOLO ---------------------------------------------------------------------------------------------------------


def in_image(count: int, grid: int) -> Draw:
    """Boxes in fractions of an image, which is not square in its use: rows and columns differ."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        center, size = rng.uniform(0.02, 0.98, (count, 2)), rng.uniform(0.05, 0.8, (count, 2))
        return {"boxes": np.hstack([center - size / 2, center + size / 2]), "grid": grid}

    return make


def on_the_border(rng: np.random.Generator) -> Mapping[str, object]:
    """Centers on the far border: of the last row, of the last column, of both."""
    center, size = np.array([[1.0, 0.3], [0.4, 1.0], [1.0, 1.0]]), rng.uniform(0.05, 0.3, (3, 2))
    center[:2] -= np.array([[0, 0.01], [0.01, 0]]) * rng.random((2, 1))
    return {"boxes": np.hstack([center - size / 2, center + size / 2]), "grid": 5}


def encode_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, yolo_encode, *edits)


ENCODED = "np.hstack([place - cell, np.sqrt(size)])"

YOLO_ENCODE = Question(
    name="yolo_encode",
    reference=(yolo_encode,),
    outputs=("cells", "t"),
    draws={"7 by 7 cells": in_image(9, 7), "3 by 3 cells": in_image(6, 3), "13 by 13 cells": in_image(11, 13)},
    mistakes={
        "row and column exchanged": encode_slip(
            "the row of a cell comes from y and the column from x, and the row comes first, as in any array: yours are "
            "exchanged",
            ("cell[:, ::-1].copy()", "cell"),
        ),
        "beyond the last cell": encode_slip(
            "a center on the far border falls into a row or column that does not exist, number grid: it belongs to the "
            "last one, grid - 1",
            ("np.minimum(place.astype(int), grid - 1)", "place.astype(int)"),
        ),
        "rounded": encode_slip(
            "you round to the nearest cell: a center 2.7 cells from the border lies in cell 2. Round down",
            ("place.astype(int)", "np.rint(place).astype(int)"),
        ),
        "corner": encode_slip(
            "the cell with the *center* is in charge of a box; you take the upper left corner",
            ("(boxes[:, :2] + boxes[:, 2:]) / 2", "boxes[:, :2] + 0.0"),
            ("if not ((center >= 0) & (center <= 1)).all():", "if False:"),
        ),
        "no root": encode_slip(
            "the sizes are missing their square root, which makes an error of a pixel count more for a small box",
            (ENCODED, "np.hstack([place - cell, size])"),
        ),
        "place in the image": encode_slip(
            "x and y are the place of the center *within its cell*, from 0 to 1: subtract the cell's own place",
            (ENCODED, "np.hstack([center, np.sqrt(size)])"),
        ),
        "offset in the unit of the image": encode_slip(
            "x and y are in units of a cell, from 0 to 1; yours are in units of the image: multiply by grid",
            (ENCODED, "np.hstack([(place - cell) / grid, np.sqrt(size)])"),
        ),
        "y before x": encode_slip(
            "in t, x comes first, as in a box; only cells has the row, which belongs to y, first",
            (ENCODED, "np.hstack([(place - cell)[:, ::-1], np.sqrt(size)])"),
        ),
        "remainder": encode_slip(
            "on the far border the place within the last cell is 1, not 0: subtract the cell in place of taking the "
            "remainder",
            (ENCODED, "np.hstack([place % 1, np.sqrt(size)])"),
        ),
    },
    edges={"centers on the far border": on_the_border},
    forbid=LIBRARIES,
)


def predicted(count: int, grid: int) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        t = np.hstack([rng.random((count, 2)), rng.uniform(0.2, 0.9, (count, 2))])
        return {"cells": rng.integers(0, grid, (count, 2)), "t": t, "grid": grid}

    return make


def corner_cells(rng: np.random.Generator) -> Mapping[str, object]:
    t = np.array([[0.0, 0, 0.5, 0.1], [1.0, 1, 0.3, 0.2]])
    return {"cells": np.array([[0, 0], [6, 6]]), "t": t, "grid": 7}


def decode_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, yolo_decode, *edits)


CENTER = "(cells[:, ::-1] + t[:, :2]) / grid"

YOLO_DECODE = Question(
    name="yolo_decode",
    reference=(yolo_decode,),
    outputs=("boxes",),
    draws={"7 by 7 cells": predicted(9, 7), "3 by 3 cells": predicted(6, 3), "13 by 13 cells": predicted(11, 13)},
    mistakes={
        "row and column exchanged": decode_slip(
            "cells has the row first, which belongs to y; x belongs to the column. Yours are exchanged",
            (CENTER, "(cells + t[:, :2]) / grid"),
        ),
        "offset not scaled": decode_slip(
            "the offset is in units of a cell as well: divide the sum of cell and offset by grid",
            (CENTER, "cells[:, ::-1] / grid + t[:, :2]"),
        ),
        "middle of the cell": decode_slip(
            "you put every center into the middle of its cell: it lies t[:, :2] away from the cell's corner",
            (CENTER, "(cells[:, ::-1] + 0.5) / grid"),
        ),
        "no square": decode_slip(
            "t holds the roots of width and height: square them", ("size = t[:, 2:] ** 2", "size = t[:, 2:]")
        ),
        "whole size on each side": decode_slip(
            "half of the size lies on either side of the center; your boxes are twice as wide and as high",
            ("np.hstack([center - size / 2, center + size / 2])", "np.hstack([center - size, center + size])"),
        ),
        "center as a corner": decode_slip(
            "you take the center for the upper left corner",
            ("np.hstack([center - size / 2, center + size / 2])", "np.hstack([center, center + size])"),
        ),
    },
    edges={"first and last cell": corner_cells},
    forbid=LIBRARIES,
)


def grids(cells: int, predictors: int, count: int, share: float = 0.4) -> Draw:
    """Predictions of some cells; in the first two of them one box is chosen, in others with some chance."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        occupied = rng.random(cells) < share
        occupied[:2], occupied[-2:] = share > 0, False
        best = rng.integers(0, predictors, cells)
        return {
            "pred": rng.random((cells, predictors, 5)),
            "p": rng.random((cells, count)),
            "target": rng.random((cells, predictors, 5)),
            "y": np.eye(count)[rng.integers(0, count, cells)],
            "chosen": (np.arange(predictors) == best[:, None]) & occupied[:, None],
            "coord": 3.0,
            "empty": 0.25,
        }

    return make


def loss_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, yolo_loss_forward, *edits)


CHOSEN, OBJECTNESS = "coord * chosen[..., None]", "np.where(chosen, 1.0, empty)"
GRIDS = {"9 cells, 2 boxes": grids(9, 2, 5), "11 cells, 3 boxes": grids(11, 3, 4), "7 cells": grids(7, 2, 3)}
FEW_CELLS = {"no object at all": grids(6, 2, 3, share=0.0), "one box for each cell": grids(5, 1, 3)}

YOLO_LOSS_FORWARD = Question(
    name="yolo_loss_forward",
    reference=(yolo_loss_forward,),
    outputs=("loss",),
    draws=GRIDS,
    mistakes={
        "all boxes of the cell": loss_slip(
            "in an occupied cell you compare every predicted box with the object: only the chosen one is responsible "
            "for it, the others are asked for an objectness of 0",
            (CHOSEN, "coord * chosen.any(axis=1)[:, None, None]"),
        ),
        "boxes of empty cells": loss_slip(
            "you compare boxes in cells without an object: there is nothing to compare them with. Empty cells are "
            "asked for their objectness alone",
            (CHOSEN, "coord"),
        ),
        "classes of empty cells": loss_slip(
            "you ask empty cells for a class: only cells with an object have one",
            ("chosen.any(axis=1)[:, None]", "np.ones((len(pred), 1))"),
        ),
        "no weight for empty cells": loss_slip(
            "the objectness of boxes that are not chosen counts with the weight empty, since there are so many; "
            "yours counts in full",
            (OBJECTNESS, "1.0"),
        ),
        "empty weight for all": loss_slip(
            "you give the chosen boxes' objectness the weight empty, too: theirs is 1", (OBJECTNESS, "empty")
        ),
        "coord for the objectness": loss_slip(
            "coord is the weight of places and sizes; that of a chosen box's objectness is 1",
            (OBJECTNESS, "np.where(chosen, coord, empty)"),
        ),
        "no weight for coordinates": loss_slip(
            "the weight coord is missing: without it, places and sizes drown among the objectness of empty cells",
            (CHOSEN, "chosen[..., None]"),
        ),
        "weights fixed": loss_slip(
            "coord and empty have no effect on your answer: 5 and 0.5 are their defaults, they can be other numbers",
            (CHOSEN, "5.0 * chosen[..., None]"),
            (OBJECTNESS, "np.where(chosen, 1.0, 0.5)"),
        ),
        "averaged": loss_slip(
            "you average over the cells: asked for is the sum (who wants a mean divides by the number of images)",
            ("return loss, ", "return loss / len(pred), "),
        ),
    },
    edges=FEW_CELLS,
    forbid=LIBRARIES,
)


def loss_backward_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, yolo_loss_forward, yolo_loss_backward, *edits)


DPRED, DP = "dloss * 2 * weight * off", "dloss * 2 * occupied * missed"

YOLO_LOSS_BACKWARD = Question(
    name="yolo_loss_backward",
    reference=(yolo_loss_forward, yolo_loss_backward),
    outputs=("dpred", "dp", "dtarget", "dy"),
    draws=GRIDS,
    mistakes={
        "factor 2": loss_backward_slip(
            "the factor 2 of the squares is missing in your gradients",
            (DPRED, DPRED.replace(" * 2", "")),
            (DP, DP.replace(" * 2", "")),
        ),
        "dloss ignored": loss_backward_slip(
            "multiply by dloss, the gradient that arrives: the loss need not be the last step",
            (DPRED, DPRED.replace("dloss * ", "")),
            (DP, DP.replace("dloss * ", "")),
        ),
        "no weights": loss_backward_slip(
            "the weights of the forward pass are missing in dpred: a box that is not chosen gets a gradient from its "
            "objectness alone, and that with the weight empty",
            (DPRED, DPRED.replace("weight * ", "")),
        ),
        "classes of empty cells": loss_backward_slip(
            "your dp is not 0 in cells without an object: their class is not asked for",
            (DP, DP.replace("occupied * ", "")),
        ),
        "targets constant": loss_backward_slip(
            "your gradients with respect to the targets are 0. The loss depends on pred - target, so they are minus "
            "those of the predictions",
            ("return dpred, dp, -dpred, -dp", "return dpred, dp, 0 * dpred, 0 * dp"),
        ),
        "sign of the targets": loss_backward_slip(
            "targets are subtracted, so their gradients have the other sign",
            ("return dpred, dp, -dpred, -dp", "return dpred, dp, dpred, dp"),
        ),
    },
    edges=FEW_CELLS,
    forbid=LIBRARIES,
)

# --- how good is a detector ---------------------------------------------------------------------------------------


def detections(objects: int, each: int, threshold: float = 0.5) -> Draw:
    """Objects far apart, several detections around each, and some around nothing; scores in no order."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        at = 100.0 * np.stack([np.arange(objects), np.arange(objects) % 2], axis=1)
        truths = np.hstack([at, at + rng.uniform(20, 40, (objects, 2))])
        close = near(rng, np.repeat(truths, each, axis=0), 0.12)
        stray, exact = boxes(rng, 4) + 1000, truths[: objects // 2] + 0.5
        some = np.vstack([truths[:1] + np.array([[0.25], [0.5], [0.75]]), close, stray, exact])
        order = rng.permutation(len(some))
        scores = (rng.permutation(len(some)) + 1) / 50
        scores[order < 3] = 0.51, 0.01, 0.99  # of those that find the first object: no one first, the best one last
        return {"boxes": some[order], "scores": scores, "truths": truths, "threshold": threshold}

    return make


def twins(rng: np.random.Generator) -> Mapping[str, object]:
    """Two objects close to each other, and two detections that both like the same one better."""
    x = float(rng.integers(1, 9))
    truths = np.array([[x, 0, x + 10, 10], [x + 2, 0, x + 12, 10]])
    found = np.array([[x, 0, x + 10, 9], [x + 0.5, 0, x + 10.5, 10]])
    return {"boxes": found, "scores": np.array([0.3, 0.8]), "truths": truths, "threshold": 0.5}


def no_objects(rng: np.random.Generator) -> Mapping[str, object]:
    return {"boxes": boxes(rng, 5), "scores": rng.random(5), "truths": np.zeros((0, 4)), "threshold": 0.5}


def exactly_half(rng: np.random.Generator) -> Mapping[str, object]:
    """A detection that covers half of its object, and one that covers less."""
    x = float(rng.integers(1, 9))
    truths = np.array([[x, 0, x + 8, 4], [x + 40, 0, x + 48, 4]])
    found = np.array([[x, 0, x + 4, 4], [x + 40, 0, x + 43, 4]])
    return {"boxes": found, "scores": np.array([0.4, 0.9]), "truths": truths, "threshold": 0.5}


def match_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, match_detections, *edits)


SEARCH = 'np.argsort(-scores, kind="stable")'
TAKEN = "overlap[:, overlap[i].argmax()] = -1.0"

MATCH_DETECTIONS = Question(
    name="match_detections",
    reference=(match_detections,),
    outputs=("hits",),
    by_draw=True,
    draws={
        "6 objects": detections(6, 3),
        "two objects side by side": twins,
        "a stricter threshold": detections(5, 4, 0.75),
        "an IoU of exactly the threshold": exactly_half,
    },
    mistakes={
        "found twice": match_slip(
            "several detections of one object all count as hits. Each object is found once, by the detection with the "
            "best score; further ones are false alarms",
            (TAKEN, "pass"),
        ),
        "first come": match_slip(
            "you go through the detections as they come: the best score chooses first", (SEARCH, "range(len(scores))")
        ),
        "worst first": match_slip(
            "the smallest score chooses first in yours; it is the largest", (SEARCH, SEARCH.replace("-", ""))
        ),
        "fixed threshold": match_slip(
            "threshold has no effect on your answer: you always compare with 0.5",
            ("(overlap[i] >= threshold).any()", "(overlap[i] >= 0.5).any()"),
        ),
        "above the threshold": match_slip(
            "an IoU that equals the threshold is a hit: at least, not above",
            ("(overlap[i] >= threshold).any()", "(overlap[i] > threshold).any()"),
        ),
        "one object used up, all used up": match_slip(
            "once an object is found, you count no further detections at all: only that object is out of the game",
            (TAKEN, "overlap[:] = -1.0"),
        ),
        "taken by a miss": match_slip(
            "a detection below the threshold takes its best object out of the game in yours: only a hit finds one",
            ("            overlap[:, overlap[i]", "        if truths.size:\n            overlap[:, overlap[i]"),
        ),
        "in the order of the scores": match_slip(
            "your answers are in the order of the scores: put each back to the place where its box came, hits[i] = ...",
            ("    return hits", f"    return hits[{SEARCH}]"),
        ),
        "favorite is taken": match_slip(
            "a detection whose best object has been found already may still find another one that overlaps enough: "
            "look among those that are left",
            ("    for i in", "    favorite = overlap.argmax(axis=1) if truths.size else None\n    for i in"),
            ("(overlap[i] >= threshold).any()", "truths.size and overlap[i, favorite[i]] >= threshold"),
        ),
    },
    edges={"no objects": no_objects},
    tells={"6 objects": ("taken by a miss",), "a stricter threshold": ("fixed threshold", "taken by a miss")},
    forbid=LIBRARIES,
)


def ranked(count: int, share: float, more: int) -> Draw:
    """Hits among detections in no order, a miss on top, and some objects that nobody found."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        hits = rng.random(count) < share
        scores = (rng.permutation(count) + 1) / (count + 1)
        best = np.argsort(-scores)
        hits[best[:4]] = [False, True, False, True]
        hits[best[-1]] = False
        return {"scores": scores, "hits": hits, "truths": int(hits.sum()) + more}

    return make


def all_right(rng: np.random.Generator) -> Mapping[str, object]:
    return {"scores": rng.permutation(5) / 5, "hits": np.ones(5, bool), "truths": 5}


def none_right(rng: np.random.Generator) -> Mapping[str, object]:
    return {"scores": rng.permutation(5) / 5, "hits": np.zeros(5, bool), "truths": 3}


ENVELOPE = "np.maximum.accumulate(precision[::-1])[::-1]"
AREA = "float((envelope * np.diff(recall, prepend=0.0)).sum())"
CURVE = "precision_recall(scores, hits, truths)"


def precision_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, average_precision, *edits)


AVERAGE_PRECISION = Question(
    name="average_precision",
    reference=(average_precision,),
    outputs=("average",),
    draws={
        "23 detections": ranked(23, 0.5, 3),
        "40 detections": ranked(40, 0.3, 1),
        "15 detections": ranked(15, 0.7, 6),
    },
    mistakes={
        "no envelope": precision_slip(
            "the precision falls at each false alarm and rises again; what counts at a recall is the best precision "
            "from there on. Take the running maximum from the right",
            (ENVELOPE, "precision"),
        ),
        "envelope from the left": precision_slip(
            "your running maximum goes from the left, so that one early hit hides all false alarms: it has to look at "
            "what is still to come, from the right",
            (ENVELOPE, "np.maximum.accumulate(precision)"),
        ),
        "not sorted": precision_slip(
            "the detections have to be sorted by their scores, the best first; you take them as they come",
            (CURVE, "precision_recall(-np.arange(len(scores)) * 1.0, hits, truths)"),
        ),
        "objects nobody found": precision_slip(
            "you divide by the number of hits: objects that no detection found are missing from your recall, which "
            "then always ends at 1. Divide by truths",
            (CURVE, "precision_recall(scores, hits, max(1, int(hits.sum())))"),
        ),
        "first step missing": precision_slip(
            "the first step is missing: before the first detection, recall is 0, so give np.diff a prepend=0",
            (AREA, "float((envelope[1:] * np.diff(recall)).sum())"),
        ),
        "trapezoids": precision_slip(
            "you join the points of the curve by straight lines; asked for is the area below a staircase, the envelope",
            (AREA, "float(np.trapezoid(precision, recall))"),
        ),
        "mean over detections": precision_slip(
            "you average the precision over all detections: it is the area over *recall*, so only those steps count "
            "at which recall grows",
            (AREA, "float(envelope.mean())"),
        ),
        "eleven points": precision_slip(
            "this is the mean over eleven recalls, as in the first VOC challenges; asked for is the whole area below "
            "the envelope",
            (AREA, "float(np.mean([envelope[recall >= r / 10].max(initial=0.0) for r in range(11)]))"),
        ),
    },
    edges={"all are hits": all_right, "none is": none_right},
    forbid=LIBRARIES,
)

# --- the kernel ---------------------------------------------------------------------------------------------------

FLOAT = 4  # bytes
BLOCK_A, BLOCK_B = 32, 128  # of launch_pairwise_iou


def moved(inputs: Mapping[str, Any]) -> int:
    """Bytes: each block of a once for each block of b, and the other way round; all pairs once."""
    count, others = len(inputs["a"]), len(inputs["b"])
    blocks_a, blocks_b = -(-count // BLOCK_A), -(-others // BLOCK_B)
    return FLOAT * (4 * (blocks_b * count + blocks_a * others) + count * others)


ROWS_APART = "rows that lie apart"

PAIRWISE_IOU_KERNEL = Question(
    name="pairwise_iou_kernel",
    reference=(pairwise_iou,),
    outputs=("iou",),
    calls=("launch_pairwise_iou",),
    tensors=True,
    tolerance=1e-4,
    draws={
        "smaller than a tile": packed(11, 37),
        "several tiles": packed(45, 150),
        "one row of tiles": packed(7, 263),
    },
    mistakes={
        **{name: matrix_slip(name) for name in ("one pixel more", "no clamp", "counted twice", "smaller box")},
        "first tile only": slip(
            "all programs compute the same tile: program (p, q) begins at row p * BLOCK_A and column q * BLOCK_B",
            pairwise_iou,
            (
                LAST,
                "rows, cols = np.arange(len(a)) % 32, np.arange(len(b)) % 128\n"
                "    return _ratio(inter, union)[rows][:, cols]",
            ),
        ),
        "coordinates exchanged": slip(
            "you read (x1, x2, y1, y2): the second number of a box is y1, the third x2",
            pairwise_iou,
            ("_inter_and_union(a, b)", "_inter_and_union(a[:, [0, 2, 1, 3]], b[:, [0, 2, 1, 3]])"),
        ),
    },
    edges={
        "one pair": packed(1, 1),
        "exactly one tile": packed(32, 128),
        ROWS_APART: packed(6, 9),
    },
    tells={
        "one pair": ("one pixel more", "counted twice", "smaller box", "coordinates exchanged"),
        ROWS_APART: ("no clamp",),
    },
    apart={ROWS_APART: ("a", "b")},
    moves=moved,
)

QUESTIONS = (
    BOX_CONVERT,
    IOU,
    PAIRWISE_IOU,
    WHICH_IOU,
    GIOU_FORWARD,
    GIOU_BACKWARD,
    NMS,
    NMS_PER_CLASS,
    YOLO_ENCODE,
    YOLO_DECODE,
    YOLO_LOSS_FORWARD,
    YOLO_LOSS_BACKWARD,
    MATCH_DETECTIONS,
    AVERAGE_PRECISION,
    PAIRWISE_IOU_KERNEL,
)
