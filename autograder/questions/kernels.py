"""The first kernels: a mistake is the edit of the NumPy reference that a wrong kernel equals in value.

Elements that a kernel never stores come out as NaN, and so they do here. What is wrong in memory only, such as a
missing mask, is found by kernels/checker.py.
"""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from autograder.cases import draw
from autograder.question import Draw, Function, Mistake, Question, from_signature, slip
from solutions.kernels import (
    histogram,
    matmul,
    row_softmax,
    row_sum,
    row_variance,
    transpose,
    vector_add,
)

# The blocks with which the given host functions launch.
ADD, SUM, TILE, COUNT, VARIANCE = 1024, 512, 32, 512, 512
TILE_ROWS, TILE_COLS, TILE_INNER = 64, 32, 32
NUMBER = 4  # bytes of a float32, and of an int32
FAR = 1e3  # where exp overflows or underflows in float32


def blocks(length: int, size: int) -> int:
    """How many blocks of a size cover a length."""
    return -(-length // size)


def in_float32(make: Draw) -> Draw:
    """Draw numbers that float32 holds exactly, so that only what a kernel computes can differ."""
    return lambda rng: {name: np.asarray(value, np.float32).astype(float) for name, value in make(rng).items()}


def shifted(function: Function, by: float) -> Draw:
    """Ordinary numbers, all moved by the same distance."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        drawn = draw(function, rng, sizes={"rows": 5, "cols": 37})
        return {name: np.asarray(value) + by for name, value in drawn.items()}

    return in_float32(make)


def matrices(function: Function, *shapes: tuple[int, int]) -> dict[str, Draw]:
    return {f"{rows} × {cols}": from_signature(function, sizes={"rows": rows, "cols": cols}) for rows, cols in shapes}


ROWS_APART = "rows that lie apart in memory"

# --- vector_add -------------------------------------------------------------------------------------------------


def written(message: str, condition: str) -> Mistake:
    """The right sums, but only where a condition on the number i of the element holds."""
    some = f"np.where([{condition} for i in range(len(x))], x + y, np.nan)"
    return slip(message, vector_add, ("return x + y", f"return {some}"))


VECTOR_ADD = Question(
    name="vector_add_kernel",
    reference=(vector_add,),
    outputs=("out",),
    calls=("launch_vector_add",),
    tensors=True,
    tolerance=1e-4,
    draws={f"{n} elements": from_signature(vector_add, sizes={"n": n}) for n in (37, 2500, 3001)},
    mistakes={
        "first block only": written(
            f"only the first {ADD} elements are written: every program does the work of program 0. Program p owns "
            "the elements from p * BLOCK on, and tl.program_id(0) is p",
            f"i < {ADD}",
        ),
        "program id not scaled": written(
            "program p begins at element p, so that nearly all programs do the same elements: it must begin at "
            "p * BLOCK",
            f"i < {ADD} - 1 + -(-len(x) // {ADD})",
        ),
        "no last block": written(
            "the last block is never written where it is not full: the mask must switch off single lanes, i < n, "
            "not the whole block",
            f"i < len(x) // {ADD} * {ADD}",
        ),
        "last element": written(
            "the last element is never written: the mask is i < n, not i < n - 1", "i < len(x) - 1"
        ),
        "x twice": slip("your kernel stores x + x: y must be loaded from y_ptr", vector_add, ("x + y", "x + x")),
        "y twice": slip("your kernel stores y + y: x must be loaded from x_ptr", vector_add, ("x + y", "y + y")),
        "difference": slip("your kernel stores x - y, not x + y", vector_add, ("x + y", "x - y")),
    },
    edges={
        "one element": from_signature(vector_add, sizes={"n": 1}),
        "two full blocks": from_signature(vector_add, sizes={"n": 2 * ADD}),
    },
    moves=lambda inputs: NUMBER * 3 * len(inputs["x"]),
)

# --- row_sum ----------------------------------------------------------------------------------------------------

TOTAL = "x.sum(axis=1)"

ROW_SUM = Question(
    name="row_sum_kernel",
    reference=(row_sum,),
    outputs=("sums",),
    calls=("launch_row_sum",),
    tensors=True,
    tolerance=1e-4,
    draws=matrices(row_sum, (5, 37), (3, 700), (7, 1100)),
    mistakes={
        "first block only": slip(
            f"only the first {SUM} elements of a row count: loop over the row in steps of BLOCK, and read from start "
            "+ tl.arange(0, BLOCK)",
            row_sum,
            (TOTAL, f"x[:, :{SUM}].sum(axis=1)"),
        ),
        "last block only": slip(
            "only the last block of a row counts: add each block to what came before, in place of overwriting it",
            row_sum,
            (TOTAL, f"x[:, (x.shape[1] - 1) // {SUM} * {SUM} :].sum(axis=1)"),
        ),
        "full blocks only": slip(
            "the last block of a row is left out where it is not full: loop up to cols, and mask what lies beyond",
            row_sum,
            (TOTAL, f"x[:, : x.shape[1] // {SUM} * {SUM}].sum(axis=1)"),
        ),
        "mean": slip("this is the mean of the row: do not divide by cols", row_sum, (TOTAL, "x.mean(axis=1)")),
        "row 0 only": slip(
            "only the first sum is written: every program stores at sum_ptr, and program p must store at sum_ptr + p",
            row_sum,
            (TOTAL, f"np.where(np.arange(len(x)) == 0, {TOTAL}, np.nan)"),
        ),
        "row 0 for all": slip(
            "every row gets the sum of the first: row p begins at x_ptr + p * x_stride, and tl.program_id(0) is p",
            row_sum,
            (TOTAL, "x[:1].sum(axis=1).repeat(len(x))"),
        ),
    },
    edges={
        "one element": from_signature(row_sum, sizes={"rows": 1, "cols": 1}),
        ROWS_APART: from_signature(row_sum, sizes={"rows": 6, "cols": 83}),
    },
    apart={ROWS_APART: ("x",)},
    moves=lambda inputs: NUMBER * (inputs["x"].size + len(inputs["x"])),
)

# --- row_softmax ------------------------------------------------------------------------------------------------

LARGEST, EXP, RATIO = "x.max(axis=1, keepdims=True)", "np.exp(x - largest)", "e / e.sum(axis=1, keepdims=True)"
PADDING = "((1 << (x.shape[1] - 1).bit_length()) - x.shape[1])"

ROW_SOFTMAX = Question(
    name="row_softmax_kernel",
    reference=(row_softmax,),
    outputs=("probabilities",),
    calls=("launch_row_softmax",),
    tensors=True,
    tolerance=1e-4,
    draws=matrices(row_softmax, (5, 3), (6, 37), (3, 150)),
    mistakes={
        "no maximum": slip(
            f"exp overflows or underflows: at {FAR:g} it is infinity in float32, at -{FAR:g} it is 0, and infinity / "
            "infinity and 0 / 0 are NaN. Subtract the largest number of the row first, which changes no ratio",
            row_softmax,
            (EXP, "np.exp(np.float32(x))"),
        ),
        "padding as zeros": slip(
            "the lanes beyond the row take part as if the row went on with zeros: with other=-float('inf') the largest "
            "number stays what it is, and exp of the padding is 0",
            row_softmax,
            (LARGEST, f"np.maximum({LARGEST}, 0)"),
            (RATIO, f"e / (e.sum(axis=1, keepdims=True) + {PADDING} * np.exp(-largest))"),
        ),
        "maximum over zeros": slip(
            "the largest number of a row is taken over zeros beyond its end, so a row far below 0 underflows to 0 / 0: "
            "load with other=-float('inf')",
            row_softmax,
            (LARGEST, f"np.maximum({LARGEST}, 0)"),
        ),
        "not divided": slip(
            "the rows do not sum to 1: divide by the sum of the exponentials",
            row_softmax,
            (RATIO, "e"),
        ),
        "logarithm": slip(
            "this is the logarithm of the softmax, x minus the maximum minus the log of the sum: store exp of it",
            row_softmax,
            (RATIO, "x - largest - np.log(e.sum(axis=1, keepdims=True))"),
        ),
        "row 0 for all": slip(
            "every row is that of row 0: row p begins at x_ptr + p * x_stride, and tl.program_id(0) is p",
            row_softmax,
            (RATIO, "np.tile((e / e.sum(axis=1, keepdims=True))[:1], (len(x), 1))"),
        ),
    },
    edges={
        "one element": from_signature(row_softmax, sizes={"rows": 1, "cols": 1}),
        f"numbers near {FAR:g}": shifted(row_softmax, FAR),
        f"numbers near -{FAR:g}": shifted(row_softmax, -FAR),
        ROWS_APART: from_signature(row_softmax, sizes={"rows": 6, "cols": 19}),
    },
    apart={ROWS_APART: ("x",)},
    moves=lambda inputs: NUMBER * 2 * inputs["x"].size,
)

# --- transpose --------------------------------------------------------------------------------------------------


def only_where(message: str, function: Function, whole: str, rows: str, cols: str) -> Mistake:
    """The right matrix, but only in its first rows and columns; these are numbers or expressions."""
    inside = f"(np.arange(out.shape[0]) < {rows})[:, None] & (np.arange(out.shape[1]) < {cols})"
    return slip(message, function, (whole, f"(lambda out: np.where({inside}, out, np.nan))({whole})"))


TRANSPOSE = Question(
    name="transpose_kernel",
    reference=(transpose,),
    outputs=("transpose",),
    calls=("launch_transpose",),
    tensors=True,
    tolerance=1e-4,
    draws=matrices(transpose, (7, 5), (37, 70), (99, 3)),
    mistakes={
        "not transposed": slip(
            "this is a copy, not a transpose: element (r, c) of x belongs at out_ptr + c * rows + r",
            transpose,
            ("x.T.copy()", "x.reshape(x.shape[::-1]).copy()"),
        ),
        "first tile only": only_where(
            "only the first tile is written: program (p, q) owns the rows from p * BLOCK and the columns from "
            "q * BLOCK on, and tl.program_id(0) and tl.program_id(1) are p and q",
            transpose,
            "x.T.copy()",
            str(TILE),
            str(TILE),
        ),
        "programs swapped": only_where(
            "part of the output is never written: the grid has one program for each block of rows along axis 0 and "
            "for each block of columns along axis 1; your kernel takes axis 0 for the columns",
            transpose,
            "x.T.copy()",
            f"{TILE} * -(-x.shape[0] // {TILE})",
            f"{TILE} * -(-x.shape[1] // {TILE})",
        ),
    },
    edges={
        "one element": from_signature(transpose, sizes={"rows": 1, "cols": 1}),
        "one row": from_signature(transpose, sizes={"rows": 1, "cols": 45}),
        ROWS_APART: from_signature(transpose, sizes={"rows": 6, "cols": 35}),
    },
    apart={ROWS_APART: ("x",)},
    moves=lambda inputs: NUMBER * 2 * inputs["x"].size,
)

# --- matmul -----------------------------------------------------------------------------------------------------


def block_sum(A: str, B: str) -> str:
    """A sum of products of blocks along the inner axis, which begin at s and are w long."""
    pairs = f"for s in range(0, A.shape[1], {TILE_INNER}) for w in [min({TILE_INNER}, A.shape[1] - s)]"
    return f"sum({A} @ {B} {pairs})"


def moves_of_matmul(inputs: Mapping[str, Any]) -> int:
    """Each column of tiles reads all of A, each row of tiles all of B, and C is written once."""
    A, B = inputs["A"], inputs["B"]
    rows, cols = len(A), B.shape[1]
    return NUMBER * int(A.size * blocks(cols, TILE_COLS) + B.size * blocks(rows, TILE_ROWS) + rows * cols)


def product(rows: int, inner: int, cols: int) -> Draw:
    return from_signature(matmul, sizes={"rows": rows, "inner": inner, "cols": cols})


MATMUL = Question(
    name="matmul_kernel",
    reference=(matmul,),
    outputs=("C",),
    calls=("launch_matmul",),
    tensors=True,
    tolerance=1e-4,
    draws={
        "smaller than a tile": product(5, 7, 3),
        "several tiles, several steps": product(70, 73, 75),
        "more rows than a tile": product(131, 35, 3),
    },
    mistakes={
        "last step only": slip(
            f"only the last block of {TILE_INNER} inner elements counts: add each product to acc, in place of "
            "overwriting it. tl.dot(A, B, acc) is acc + A B",
            matmul,
            ("A @ B", f"(lambda s: A[:, s:] @ B[s:])((len(B) - 1) // {TILE_INNER} * {TILE_INNER})"),
        ),
        "first step only": slip(
            f"only the first {TILE_INNER} inner elements count: loop over inner in steps of BLOCK_K",
            matmul,
            ("A @ B", f"A[:, :{TILE_INNER}] @ B[:{TILE_INNER}]"),
        ),
        "B stands still": slip(
            "every step multiplies the first rows of B: the rows of B must move on with k, as the columns of A do",
            matmul,
            ("A @ B", block_sum("A[:, s : s + w]", "B[:w]")),
        ),
        "A stands still": slip(
            "every step multiplies the first columns of A: the columns of A must move on with k, as the rows of B do",
            matmul,
            ("A @ B", block_sum("A[:, :w]", "B[s : s + w]")),
        ),
        "first tile only": only_where(
            "only the first tile of C is written: program (p, q) owns the rows from p * BLOCK_R and the columns from "
            "q * BLOCK_C on, and tl.program_id(0) and tl.program_id(1) are p and q",
            matmul,
            "A @ B",
            str(TILE_ROWS),
            str(TILE_COLS),
        ),
        "programs swapped": only_where(
            "part of C is never written: the grid has one program for each block of rows along axis 0 and for each "
            "block of columns along axis 1; your kernel takes axis 0 for the columns",
            matmul,
            "A @ B",
            f"{TILE_ROWS} * -(-B.shape[1] // {TILE_COLS})",
            f"{TILE_COLS} * -(-A.shape[0] // {TILE_ROWS})",
        ),
    },
    edges={"all of size one": product(1, 1, 1), ROWS_APART: product(6, 35, 9)},
    apart={ROWS_APART: ("A", "B")},
    moves=moves_of_matmul,
)

# --- histogram --------------------------------------------------------------------------------------------------


def labelled(n: int, bins: int) -> Draw:
    """Labels that use all counts, and counts that are not zero."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        return {"labels": rng.integers(0, bins, n), "counts": rng.integers(1, 50, bins).astype(float)}

    return make


def moves_of_histogram(inputs: Mapping[str, Any]) -> int:
    """Each label is read once; each program adds to the counts of its labels."""
    labels = inputs["labels"]
    touched = sum(len(np.unique(labels[s : s + COUNT])) for s in range(0, len(labels), COUNT))
    return NUMBER * (len(labels) + touched)


OCCURRENCES = "np.bincount(labels, minlength=len(counts))"
OF_BLOCK = f"for s in range(0, len(labels), {COUNT})"
SEEN = "np.isin(np.arange(len(counts)), {})"
COUNTED = "np.bincount({}, minlength=len(counts))"


def miscounted(message: str, occurrences: str) -> Mistake:
    return slip(message, histogram, (OCCURRENCES, occurrences))


HISTOGRAM = Question(
    name="histogram_kernel",
    reference=(histogram,),
    outputs=("counts",),
    calls=("launch_histogram",),
    tensors=True,
    tolerance=1e-4,
    draws={
        "37 labels of 5 kinds": labelled(37, 5),
        "1300 labels of 11 kinds": labelled(1300, 11),
        "700 labels of 3 kinds": labelled(700, 3),
    },
    mistakes={
        "last write wins": miscounted(
            "a count grows by 1 at most in each program: load, add and store lets lanes with one label overwrite each "
            "other. tl.atomic_add makes them queue",
            f"sum({SEEN.format(f'labels[s : s + {COUNT}]')} {OF_BLOCK})",
        ),
        "overwritten": miscounted(
            "a count whose label occurs becomes 1, whatever it was: add to it with tl.atomic_add",
            f"{SEEN.format('labels')} * (1 - counts)",
        ),
        "padding counted": miscounted(
            "label 0 is counted too often: lanes beyond the last label read other=0 and are counted. Give "
            "tl.atomic_add the same mask",
            f"{COUNTED.format('labels')} + (np.arange(len(counts)) == 0) * (-len(labels) % {COUNT})",
        ),
        "first block only": miscounted(
            f"only the first {COUNT} labels are counted, once for each program: program p owns the labels from "
            "p * BLOCK on",
            f"-(-len(labels) // {COUNT}) * {COUNTED.format(f'labels[:{COUNT}]')}",
        ),
        "label added": miscounted(
            "each label adds itself to its count: add 1",
            f"np.arange(len(counts)) * {COUNTED.format('labels')}",
        ),
    },
    edges={
        "one label": lambda rng: {"labels": np.array([2]), "counts": rng.integers(1, 50, 3).astype(float)},
        "one kind of label": labelled(600, 1),
    },
    moves=moves_of_histogram,
)

# --- row_variance, whose kernel is given with three bugs ----------------------------------------------------------

BUGS: dict[str, tuple[str, tuple[str, str]]] = {
    "mean of the last block": (
        "the mean counts the last block of the row only",
        (
            "x.sum(axis=1, keepdims=True) / cols",
            f"x[:, (cols - 1) // {VARIANCE} * {VARIANCE} :].sum(axis=1, keepdims=True) / cols",
        ),
    ),
    "padding squared": (
        "lanes beyond the row add the square of their distance from the mean",
        ("((x - mean) ** 2).sum(axis=1)", f"((x - mean) ** 2).sum(axis=1) + -cols % {VARIANCE} * mean[:, 0] ** 2"),
    ),
    "divided by the block": (
        "the squares are divided by the length of a block",
        ("squares / cols", f"squares / {VARIANCE}"),
    ),
}


def bugs_left() -> Iterator[tuple[str, Mistake]]:
    """Every way to mend fewer than all three bugs."""
    for count in (1, 2, 3):
        for names in combinations(BUGS, count):
            what = "; ".join(BUGS[name][0] for name in names)
            left = {1: "one bug is left", 2: "two bugs are left", 3: "all three bugs are there"}[count]
            yield " and ".join(names), slip(f"{left}: {what}", row_variance, *(BUGS[name][1] for name in names))


def rising(rows: int, cols: int) -> Draw:
    """Rows that rise by 1 from their first number to their last, so that no block has the mean of its row."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        drawn = draw(row_variance, rng, sizes={"rows": rows, "cols": cols})
        return {name: np.asarray(value) + np.linspace(0.0, 1.0, cols) for name, value in drawn.items()}

    return in_float32(make)


ROW_VARIANCE = Question(
    name="row_variance_kernel",
    reference=(row_variance,),
    outputs=("variances",),
    calls=("launch_row_variance",),
    tensors=True,
    tolerance=1e-4,
    draws={"5 × 37": rising(5, 37), "3 × 700": rising(3, 700), "7 × 1100": rising(7, 1100)},
    mistakes={
        **dict(bugs_left()),
        "cols - 1": slip(
            "divide by cols: the variance asked for is the mean of the squares, with no correction for small samples",
            row_variance,
            ("squares / cols", "squares / (cols - 1)"),
        ),
        "square root": slip(
            "this is the standard deviation: leave out the square root",
            row_variance,
            ("squares / cols", "(squares / cols) ** 0.5"),
        ),
    },
    edges={
        "one element": from_signature(row_variance, sizes={"rows": 1, "cols": 1}),
        "numbers near 10000": shifted(row_variance, 1e4),
        ROWS_APART: from_signature(row_variance, sizes={"rows": 6, "cols": 83}),
    },
    tells={"one element": tuple(name for name, _ in bugs_left() if "padding squared" in name)},
    apart={ROWS_APART: ("x",)},
    moves=lambda inputs: NUMBER * (2 * inputs["x"].size + len(inputs["x"])),
)

QUESTIONS = (VECTOR_ADD, ROW_SUM, ROW_SOFTMAX, TRANSPOSE, MATMUL, HISTOGRAM, ROW_VARIANCE)
