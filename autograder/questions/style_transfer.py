"""The questions about style transfer, each with the mistakes that are known by name.

A mistake is an edit of the reference's source. The kernel's are edits of the walk over tiles below, which computes what
the kernel computes, in the same order.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from autograder.question import Draw, Mistake, Question, backward_slip, slip
from solutions.style_transfer import (
    adain,
    combine,
    content_loss_backward,
    content_loss_forward,
    explain_gram,
    gram_backward,
    gram_forward,
    gram_is_blind_to,
    ring_filters_forward,
    style_loss_backward,
    style_loss_forward,
    synthesize,
    tv_loss_backward,
    tv_loss_forward,
)

Array = np.ndarray[Any, Any]

TORCH = ("torch",)

# --- Gram matrices ------------------------------------------------------------------------------------------------


def features(normalize: str, shape: tuple[int, int, int]) -> Draw:
    """Features whose means are not zero, as behind a ReLU."""
    return lambda rng: {"F": rng.standard_normal(shape) + 0.5, "normalize": normalize}


GRAMS = {
    "positions": features("positions", (3, 5, 7)),
    "all": features("all", (5, 3, 6)),
    "none": features("none", (3, 7, 5)),
}
ONE_POSITION = {"a single position": features("positions", (2, 3, 1)), "one channel": features("all", (2, 1, 5))}
INNER = "F @ F.swapaxes(1, 2) / divisors[normalize]"
OF_POSITIONS, OF_ALL = '"positions": F.shape[2]', '"all": F.shape[1] * F.shape[2]'


def gram_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, gram_forward, *edits)


GRAM = Question(
    name="gram_forward",
    reference=(gram_forward,),
    outputs=("G",),
    by_draw=True,
    draws=GRAMS,
    mistakes={
        "positions by positions": gram_slip(
            "your matrix has a row for each *position*: it compares places, summed over the channels. A Gram matrix "
            "compares channels, summed over the places: F times its transpose, not the other way round",
            (INNER, "F.swapaxes(1, 2) @ F / divisors[normalize]"),
        ),
        "batch among the channels": gram_slip(
            "you fold the batch into the channels, so that channels of different images are compared: each image has "
            "a Gram matrix of its own",
            (INNER, "(F.reshape(-1, F.shape[2]) @ F.reshape(-1, F.shape[2]).T)[None] / divisors[normalize]"),
        ),
        "batch added up": gram_slip(
            "you add up the Gram matrices of the batch: each image keeps its own",
            (INNER, "(F @ F.swapaxes(1, 2)).sum(axis=0, keepdims=True) / divisors[normalize]"),
        ),
        "not normalized": gram_slip(
            "the inner products are right, and divided by nothing whatever `normalize` says: then a larger image has a "
            "larger Gram matrix",
            (" / divisors[normalize]", ""),
        ),
        "channels for all": gram_slip(
            '"all" divides by channels times positions, as some programs do; yours divides by the positions only',
            (OF_ALL, '"all": F.shape[2]'),
        ),
        "all for positions": gram_slip(
            '"positions" divides by the number of positions only; yours divides by channels times positions, which is '
            '"all"',
            (OF_POSITIONS, '"positions": F.shape[1] * F.shape[2]'),
        ),
        "divided by the channels": gram_slip(
            '"positions" divides by how many terms each sum has, height times width; yours divides by the number of '
            "channels",
            (OF_POSITIONS, '"positions": F.shape[1]'),
        ),
        "means subtracted": gram_slip(
            "you subtract each channel's mean: that is the covariance. The Gram matrix is of the features as they are",
            (INNER, "(f := F - F.mean(axis=2, keepdims=True)) @ f.swapaxes(1, 2) / divisors[normalize]"),
        ),
    },
    edges=ONE_POSITION,
    forbid=TORCH,
)


def gram_backward_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, gram_forward, gram_backward, *edits)


BOTH = "(dG + dG.swapaxes(1, 2))"

GRAM_BACKWARD = Question(
    name="gram_backward",
    reference=(gram_forward, gram_backward),
    outputs=("dF",),
    by_draw=True,
    draws=GRAMS,
    mistakes={
        "mirror image lost": gram_backward_slip(
            "F occurs twice in F Fᵀ, so dF has two terms: dG F and dGᵀ F. Yours has the first only, which is half of "
            "it where dG is symmetric",
            (BOTH, "dG"),
        ),
        "doubled": gram_backward_slip(
            "2 dG F is right for a symmetric dG only. In general the second term has dG transposed: (dG + dGᵀ) F",
            (BOTH, "(2 * dG)"),
        ),
        "not normalized": gram_backward_slip(
            "the gradient is divided by the same number as the Gram matrix; yours is not", (" / divisor", "")
        ),
        "normalized twice": gram_backward_slip(
            "you divide the gradient by the square of what the Gram matrix is divided by: once is enough",
            (" / divisor", " / divisor**2"),
        ),
    },
    edges=ONE_POSITION,
    forbid=TORCH,
)


def operation(op: str, shape: tuple[int, int, int] = (3, 5, 6)) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        positions = shape[1] * shape[2]
        return {"op": op, "F": rng.standard_normal(shape), "order": rng.permutation(positions)}

    return make


OPERATIONS = ("shuffle", "flip", "crop", "swap")
JUDGED = "    if op not in changes:"


def answers(op: str, answer: int, message: str) -> Mistake:
    """Another answer to one of the operations."""
    return slip(message, gram_is_blind_to, (JUDGED, f'    if op == "{op}":\n        return {answer}\n{JUDGED}'))


BLIND = Question(
    name="gram_is_blind_to",
    reference=(gram_is_blind_to,),
    outputs=("blind",),
    by_draw=True,
    draws={op: operation(op) for op in OPERATIONS},
    mistakes={
        "swap is invisible": answers(
            "swap",
            1,
            "you say that exchanging two channels is invisible: it exchanges two rows and two columns of the Gram "
            "matrix. Only *where* is forgotten, not *what*",
        ),
        "flip is visible": answers(
            "flip",
            0,
            "you say that a flip of the maps is visible: it puts positions into another order, the same in all "
            "channels, and a sum does not depend on the order of its terms",
        ),
        "shuffle is visible": answers(
            "shuffle",
            0,
            "you say that shuffled positions are visible: each entry of the Gram matrix is a sum over positions, and "
            "the same terms in another order have the same sum",
        ),
        "crop is invisible": answers(
            "crop",
            1,
            "you say that leaving out a column is invisible: its terms are missing from the sums, so the means over "
            "positions change",
        ),
        "the other way round": slip(
            "your answers are the wrong way round: 1 where the Gram matrix does *not* change",
            gram_is_blind_to,
            ("return int(", "return 1 - int("),
        ),
    },
    edges={"two channels of two pixels, turned round": operation("flip", (2, 1, 2))},
    forbid=TORCH,
)

CAUSES = 5


def explained(runs: int, shape: tuple[int, int]) -> Draw:
    """Gram matrices that came about in each of the ways, in random order, with rounding errors."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        channels, positions = shape
        every = channels * positions
        F = rng.standard_normal((runs, *shape)) + 1
        centered = F - F.mean(axis=2, keepdims=True)
        inner, covariance = F @ F.swapaxes(1, 2), centered @ centered.swapaxes(1, 2)
        ways = np.stack([inner, inner / positions, inner / every, inner / every**2, covariance / positions])
        causes = rng.permutation(np.resize(np.arange(CAUSES), runs))
        return {"F": F, "G": ways[causes, np.arange(runs)] * (1 + 1e-6 * rng.uniform(-1, 1, (runs, 1, 1)))}

    return make


def explain_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, explain_gram, *edits)


EXPLAIN = Question(
    name="explain_gram",
    reference=(explain_gram,),
    outputs=("cause",),
    draws={
        "5 matrices": explained(5, (3, 14)),
        "10 matrices": explained(10, (5, 21)),
        "7 matrices": explained(7, (6, 11)),
    },
    mistakes={
        "twice goes unseen": explain_slip(
            "you never answer 3: divided by channels times positions, and by the same number once more, which leaves "
            "next to nothing",
            ("inner / every**2", "inner / every"),
        ),
        "covariance goes unseen": explain_slip(
            "you never answer 4: subtract each channel's mean over the positions before you multiply",
            ("centered = F - F.mean(axis=2, keepdims=True)", "centered = F"),
        ),
        "one answer for all runs": explain_slip(
            "you give all runs the answer of the first: each has a cause of its own",
            (".argmin(axis=0)", ".argmin(axis=0)[0] + 0 * np.arange(len(F))"),
        ),
        "causes from 1": explain_slip(
            "the causes are numbered from 0; yours are one too high", (".argmin(axis=0)", ".argmin(axis=0) + 1")
        ),
    },
    edges={"six channels, 55 positions": explained(5, (6, 55))},
    forbid=TORCH,
)

# --- losses -------------------------------------------------------------------------------------------------------


def against_a_style(batch: int, channels: int, positions: int, size: float = 3.0) -> Draw:
    """Features, and the Gram matrix of other features at another number of positions."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        S = size * rng.standard_normal((channels, positions + 2)) + 0.5
        F = size * rng.standard_normal((batch, channels, positions))
        return {"F": F, "A": S @ S.T / S.shape[1]}

    return make


STYLES = {
    "three images": against_a_style(3, 5, 7),
    "one image": against_a_style(1, 3, 11),
    "five images": against_a_style(5, 7, 6),
}
STYLE_EDGES = {"one channel": against_a_style(2, 1, 5), "a single position": against_a_style(2, 3, 1)}
QUARTER = "1 / (4 * len(A) ** 2)"
NORMALIZED = 'gram_forward(F, "positions")'


def style_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, style_loss_forward, *edits)


STYLE_LOSS = Question(
    name="style_loss_forward",
    reference=(style_loss_forward,),
    outputs=("loss",),
    draws=STYLES,
    mistakes={
        "normalized twice": style_slip(
            "you normalize twice: Gatys's 1 / (4 C² N²) is for inner products that are divided by nothing. Here the "
            "Gram matrices are divided by N positions already, so 1 / (4 C²) is left",
            (QUARTER, "1 / (4 * len(A) ** 2 * F.shape[2] ** 2)"),
        ),
        "not normalized": style_slip(
            "your Gram matrix is divided by nothing, while A is divided by the positions of its own image: divide F Fᵀ "
            "by the number of positions",
            (NORMALIZED, 'gram_forward(F, "none")'),
        ),
        "normalized by all": style_slip(
            "your Gram matrix is divided by channels times positions, while A is divided by positions only",
            (NORMALIZED, 'gram_forward(F, "all")'),
        ),
        "mean of the entries": style_slip(
            "yours is the mean of the squared differences, four times this loss: its factor is 1 / (4 C²)",
            (QUARTER, "1 / len(A) ** 2"),
        ),
        "sum of the entries": style_slip(
            "the sum of the squared differences lacks its factor, 1 / (4 C²)", (QUARTER, "1.0")
        ),
        "mean over the batch": style_slip(
            "you average over the batch: here the losses of its images are added up",
            ("(difference**2).sum()", "(difference**2).sum() / len(F)"),
        ),
        "mean of the Gram matrices": style_slip(
            "you average the Gram matrices of the batch and then compare: each image is compared by itself, else an "
            "image that is too smooth makes up for one that is too rough",
            ("(difference**2).sum()", "len(F) * (difference.mean(axis=0) ** 2).sum()"),
        ),
    },
    edges=STYLE_EDGES,
    forbid=TORCH,
)


def style_backward_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, style_loss_forward, style_loss_backward, *edits)


THROUGH_GRAM = "gram_backward(dG, of_gram)"

STYLE_LOSS_BACKWARD = Question(
    name="style_loss_backward",
    reference=(style_loss_forward, style_loss_backward),
    outputs=("dF", "dA"),
    draws=STYLES,
    mistakes={
        "factor 2 of the symmetry": style_backward_slip(
            "your dF is half of what it should be: G is symmetric, each feature enters it in a row and in a column. "
            "The 2 of the square and this 2 cancel the 4 of the factor: dF = (G - A) F / (C² N), N positions",
            (THROUGH_GRAM, "dG @ of_gram[0] / of_gram[1]"),
        ),
        "factor 2 of the square": style_backward_slip(
            "both gradients are half of what they should be: the derivative of a square has a factor 2",
            ("dloss * 2 * factor", "dloss * factor"),
        ),
        "normalized twice": style_backward_slip(
            "your dF is divided by the number of positions twice: it belongs to the Gram matrix, which is divided once",
            (THROUGH_GRAM, f"{THROUGH_GRAM} / of_gram[1]"),
        ),
        "not normalized": style_backward_slip(
            "your dF lacks the division by the number of positions, which is a part of the Gram matrix",
            (THROUGH_GRAM, f"{THROUGH_GRAM} * of_gram[1]"),
        ),
        "dA of the first image": style_backward_slip(
            "all images of the batch are compared with A, so dA is the sum over the batch; yours is the first image's",
            ("-dG.sum(axis=0)", "-dG[0]"),
        ),
        "sign of dA": style_backward_slip(
            "A is subtracted, so its gradient has the opposite sign", ("-dG.sum(axis=0)", "dG.sum(axis=0)")
        ),
        "uphill": style_backward_slip(
            "your dF has the wrong sign: it grows with G - A, so that subtracting it brings G towards A",
            (THROUGH_GRAM, f"-{THROUGH_GRAM}"),
        ),
        "dloss ignored": style_backward_slip(
            "the gradient that arrives, dloss, has no effect: multiply by it", ("dloss * 2 * factor", "2 * factor")
        ),
    },
    edges=STYLE_EDGES,
    forbid=TORCH,
)


def two_features(*shape: int) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        F, P = rng.standard_normal((2, *shape))
        return {"F": F, "P": P}

    return make


def equal_features(rng: np.random.Generator) -> Mapping[str, object]:
    F = rng.standard_normal((2, 3, 5))
    return {"F": F, "P": F.copy()}


CONTENTS = {"three images": two_features(3, 5, 7), "one image": two_features(1, 3, 6), "six": two_features(6, 3, 5)}
HALF_SUM = "(difference**2).sum() / 2"

CONTENT_LOSS = Question(
    name="content_loss_forward",
    reference=(content_loss_forward,),
    outputs=("loss",),
    draws=CONTENTS,
    mistakes={
        "mean": slip(
            "yours is the mean of the squared differences, which is what most libraries have; the paper, and this "
            "question, take half of their *sum*. The two differ by a factor that depends on the layer",
            content_loss_forward,
            (HALF_SUM, "(difference**2).mean()"),
        ),
        "half of the mean": slip(
            "you take half of the mean of the squared differences; it is half of their sum",
            content_loss_forward,
            (HALF_SUM, "(difference**2).mean() / 2"),
        ),
        "no half": slip(
            "the half in front of the sum is missing", content_loss_forward, (HALF_SUM, "(difference**2).sum()")
        ),
        "mean over the batch": slip(
            "you average over the batch: here the losses of its images are added up",
            content_loss_forward,
            (HALF_SUM, f"{HALF_SUM} / len(F)"),
        ),
        "absolute": slip(
            "you add up absolute differences; they are squared here",
            content_loss_forward,
            (HALF_SUM, "np.abs(difference).sum() / 2"),
        ),
    },
    edges={"nothing to change": equal_features},
    forbid=TORCH,
)


def content_backward_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, content_loss_forward, content_loss_backward, *edits)


CONTENT_LOSS_BACKWARD = Question(
    name="content_loss_backward",
    reference=(content_loss_forward, content_loss_backward),
    outputs=("dF", "dP"),
    draws=CONTENTS,
    mistakes={
        "of the content image": content_backward_slip(
            "your dF and dP are exchanged: the first gradient is that of F, the features of the image that is made. "
            "With yours it would run away from the content",
            ("return dF, -dF", "return -dF, dF"),
        ),
        "factor 2": content_backward_slip(
            "the 2 of the square and the half in front of the sum cancel: yours is twice as large",
            ("dloss * difference", "dloss * 2 * difference"),
        ),
        "mean": content_backward_slip(
            "you divide by the number of features: this loss is half of a sum, not a mean",
            ("dloss * difference", "dloss * difference / difference.size"),
        ),
        "dloss ignored": content_backward_slip(
            "the gradient that arrives, dloss, has no effect: multiply by it", ("dloss * difference", "difference")
        ),
        "no gradient at P": content_backward_slip(
            "dP is not zero: a change of P changes the difference as well, the other way",
            ("return dF, -dF", "return dF, 0 * dF"),
        ),
    },
    edges={"nothing to change": equal_features},
    forbid=TORCH,
)


def image(*shape: int) -> Draw:
    return lambda rng: {"x": rng.standard_normal(shape)}


IMAGES = {"two images": image(2, 3, 5, 7), "one image": image(1, 3, 6, 5), "three images": image(3, 1, 7, 9)}
TV_EDGES = {"one row": image(1, 3, 1, 5), "one column": image(2, 1, 6, 1), "one pixel": image(1, 3, 1, 1)}
DOWN, RIGHT = "x[:, :, 1:] - x[:, :, :-1]", "x[:, :, :, 1:] - x[:, :, :, :-1]"
SQUARES = "(down**2).sum() + (right**2).sum()"


def tv_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, tv_loss_forward, *edits)


TV_LOSS = Question(
    name="tv_loss_forward",
    reference=(tv_loss_forward,),
    outputs=("loss",),
    draws=IMAGES,
    mistakes={
        "wraps around": tv_slip(
            "your differences wrap around: the last row is compared with the first, and the last column with the "
            "first (np.roll does that). The border has no neighbor outside",
            (DOWN, "np.roll(x, -1, 2) - x"),
            (RIGHT, "np.roll(x, -1, 3) - x"),
        ),
        "dark border": tv_slip(
            "you pad the image with zeros, so that its last row and column are compared with black: take differences "
            "of pixels that both exist",
            (DOWN, "np.diff(x, axis=2, append=0)"),
            (RIGHT, "np.diff(x, axis=3, append=0)"),
        ),
        "rows only": tv_slip(
            "differences along a row are missing: add those to the right", (SQUARES, "(down**2).sum()")
        ),
        "columns only": tv_slip(
            "differences along a column are missing: add those downwards", (SQUARES, "(right**2).sum()")
        ),
        "corners cut": tv_slip(
            "you cut both kinds of differences to one shape, so that some at the border are missing. They need not "
            "have the same shape: add up each by itself",
            (SQUARES, "(down[:, :, :, :-1] ** 2).sum() + (right[:, :, :-1] ** 2).sum()"),
        ),
        "absolute": tv_slip(
            "you add up absolute differences, the original total variation; here they are squared",
            (SQUARES, "np.abs(down).sum() + np.abs(right).sum()"),
        ),
        "wrong axes": tv_slip(
            "your differences run over colors and rows: the axes are batch, channels, height, width, so take those of "
            "the last two",
            (DOWN, "np.diff(x, axis=1)"),
            (RIGHT, "np.diff(x, axis=2)"),
        ),
        "mean": tv_slip("you divide by the number of pixels; it is a sum", (SQUARES, f"({SQUARES}) / x.size")),
    },
    edges=TV_EDGES,
    forbid=TORCH,
)


def tv_backward_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, tv_loss_forward, tv_loss_backward, *edits)


WRAPPED = (
    "    x = np.zeros(shape)\n"
    "    x[:, :, 1:] += np.cumsum(down, axis=2)\n"
    "    x[..., 1:] += np.cumsum(right[:, :, :1], axis=3)\n"
    "    return dloss * 2 * sum(2 * x - np.roll(x, 1, k) - np.roll(x, -1, k) for k in (2, 3))\n"
)

TV_LOSS_BACKWARD = Question(
    name="tv_loss_backward",
    reference=(tv_loss_forward, tv_loss_backward),
    outputs=("dx",),
    draws=IMAGES,
    mistakes={
        "wraps around": tv_backward_slip(
            "at the border your gradient wraps around to the other side (np.roll does that): a pixel of the first row "
            "has no neighbor above",
            ("    dx = np.zeros(shape)\n", WRAPPED),
        ),
        "one end only": tv_backward_slip(
            "a difference has two ends, and both get a gradient, with opposite signs: yours leaves out the upper and "
            "the left pixel",
            ("    dx[:, :, :-1] -= 2 * down\n", ""),
            ("    dx[:, :, :, :-1] -= 2 * right\n", ""),
        ),
        "both ends alike": tv_backward_slip(
            "the two ends of a difference get gradients of opposite signs; yours are alike",
            ("dx[:, :, :-1] -= 2 * down", "dx[:, :, :-1] += 2 * down"),
            ("dx[:, :, :, :-1] -= 2 * right", "dx[:, :, :, :-1] += 2 * right"),
        ),
        "factor 2": tv_backward_slip(
            "yours is half of it: the derivative of a square has a factor 2", ("dloss * dx", "dloss * dx / 2")
        ),
        "uphill": tv_backward_slip(
            "your signs are exchanged: a pixel that is brighter than its neighbors has a positive gradient",
            ("dloss * dx", "-dloss * dx"),
        ),
        "dloss ignored": tv_backward_slip(
            "the gradient that arrives, dloss, has no effect: multiply by it", ("dloss * dx", "dx")
        ),
    },
    edges=TV_EDGES,
    forbid=TORCH,
)

# --- statistics of channels, and weights --------------------------------------------------------------------------


def content_and_style(batch: int, channels: int, positions: int) -> Draw:
    """Features with means and deviations of their own, of an equal number of positions."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        F, S = rng.standard_normal((2, batch, channels, positions))
        means, deviations = rng.standard_normal((2, batch, channels, 1)), rng.uniform(0.5, 3, (2, batch, channels, 1))
        return {"F": means[0] + deviations[0] * F, "S": means[1] + deviations[1] * S}

    return make


def constant_channel(rng: np.random.Generator) -> Mapping[str, object]:
    F, S = rng.standard_normal((2, 2, 3, 5))
    F[:, 1] = 0.7
    return {"F": F, "S": S}


ADAPTED = "std_s * (F - mean) / std + mean_s"
F_STD, S_STD = "np.sqrt(F.var(axis=2, keepdims=True) + eps)", "np.sqrt(S.var(axis=2, keepdims=True) + eps)"


def adain_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, adain, *edits)


ADAIN = Question(
    name="adain",
    reference=(adain,),
    outputs=("out",),
    draws={"a": content_and_style(3, 5, 7), "b": content_and_style(1, 3, 6), "c": content_and_style(5, 6, 9)},
    mistakes={
        "roles exchanged": adain_slip(
            "content and style are exchanged: F is what is normalized, S what gives mean and deviation",
            (ADAPTED, "std * (S - mean_s) / std_s + mean"),
        ),
        "no mean": adain_slip("the mean of the style is missing: add it at the end", (ADAPTED, ADAPTED[:-9])),
        "no deviation": adain_slip(
            "the deviation of the style is missing: multiply by it", (ADAPTED, "(F - mean) / std + mean_s")
        ),
        "variance": adain_slip(
            "you divide by the variance and multiply by the variance: it is the standard deviation, its square root",
            (ADAPTED, "std_s**2 * (F - mean) / std**2 + mean_s"),
        ),
        "all channels together": adain_slip(
            "you normalize with one mean and one deviation for all channels: each channel has its own",
            ("F.mean(axis=2", "F.mean(axis=(1, 2)"),
            ("F.var(axis=2", "F.var(axis=(1, 2)"),
        ),
        "n - 1": adain_slip(
            "your variances are divided by n - 1 (torch's default for var); here, and in every normalization layer, by "
            "n",
            ("F.var(axis=2", "F.var(ddof=1, axis=2"),
            ("S.var(axis=2", "S.var(ddof=1, axis=2"),
        ),
        "eps outside of the root": adain_slip(
            "you add eps to the deviations: it is added to the variances, before the root is taken",
            (F_STD, "F.std(axis=2, keepdims=True) + eps"),
            (S_STD, "S.std(axis=2, keepdims=True) + eps"),
        ),
        "eps for the content only": adain_slip(
            "you add eps to the variance of the content only: here the style's variance gets it as well",
            (S_STD, "S.std(axis=2, keepdims=True)"),
        ),
        "no eps": adain_slip(
            "eps has no effect on your answer: it is added to both variances, so that a channel that is constant does "
            "not end in a division by zero",
            (F_STD, "F.std(axis=2, keepdims=True)"),
            (S_STD, "S.std(axis=2, keepdims=True)"),
        ),
    },
    edges={"a channel that is constant": constant_channel},
    forbid=TORCH,
)


def two_gradients(content: float, style: float, *shape: int) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        dcontent, dstyle = rng.standard_normal((2, *shape))
        return {"dcontent": content * dcontent, "dstyle": style * dstyle, "ratio": float(rng.uniform(2, 9))}

    return make


WEIGHTS = "alpha, beta = 1 / lengths[0], ratio / lengths[1]"
LENGTH = "float(np.sqrt((d**2).sum()))"


def combine_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, combine, *edits)


COMBINE = Question(
    name="combine",
    reference=(combine,),
    outputs=("alpha", "beta", "dx"),
    draws={
        "style is weaker": two_gradients(2.0, 0.3, 3, 5),
        "style is stronger": two_gradients(0.5, 7.0, 5, 3),
        "an image": two_gradients(1.0, 1.0, 1, 3, 6, 7),
    },
    mistakes={
        "exchanged": combine_slip(
            "α and β are exchanged: α belongs to the content, β to the style",
            (WEIGHTS, "beta, alpha = 1 / lengths[0], ratio / lengths[1]"),
        ),
        "ratio at the content": combine_slip(
            "the ratio is at the wrong place: the *style* shall pull ratio times as hard, and yours makes the content "
            "do so",
            (WEIGHTS, "alpha, beta = ratio / lengths[0], 1 / lengths[1]"),
        ),
        "multiplied": combine_slip(
            "you multiply each gradient by its length, which makes the strong one stronger: divide by it",
            (WEIGHTS, "alpha, beta = lengths[0], ratio * lengths[1]"),
        ),
        "squares": combine_slip(
            "you divide by the squared length: take the square root of the sum of squares", (LENGTH, "(d**2).sum()")
        ),
        "root of the mean": combine_slip(
            "you divide by the root of the *mean* square; the length is the root of the sum. The ratio is right, but "
            "the content's gradient does not get length 1",
            (LENGTH, "float(np.sqrt((d**2).mean()))"),
        ),
        "not weighted": combine_slip(
            "the weights are right, but dx is the plain sum of both gradients: multiply each by its weight",
            ("alpha * dcontent + beta * dstyle", "dcontent + dstyle"),
        ),
    },
    edges={"a style that is a thousand times weaker": two_gradients(1.0, 1e-3, 3, 5)},
    forbid=TORCH,
)

# --- texture ------------------------------------------------------------------------------------------------------


def texture(height: int, width: int, size: int, steps: int = 150) -> Draw:
    """A texture of columns, the Gram matrix of its maps, and noise to start from.

    The filters are orthonormal, so that the loss falls to less than a thousandth on its way.
    """

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        columns = np.sin(np.arange(width) * 2 * np.pi / 4) * np.ones((height, 1))
        W = np.linalg.qr(rng.standard_normal((size**2, 3)))[0].T.reshape(3, size, size)
        F, _ = ring_filters_forward(columns + 0.3 * rng.standard_normal((height, width)), W)
        return {"x": rng.standard_normal((height, width)) / 2, "W": W, "A": F @ F.T / F.shape[1], "steps": steps}

    return make


def silent(rng: np.random.Generator) -> Mapping[str, object]:
    """Filters that are negative where the image is positive: behind the ReLU nothing is left, and no gradient."""
    inputs = texture(7, 8, 2, 3)(rng)
    return {**inputs, "x": np.abs(np.asarray(inputs["x"])), "W": -np.abs(np.asarray(inputs["W"]))}


STEP = "x = x - rate * dx"
RATE = "2 * losses[step] / steepness"


def texture_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, synthesize, *edits)


SYNTHESIZE = Question(
    name="synthesize",
    reference=(synthesize,),
    outputs=("x", "losses"),
    draws={
        "13 x 12 pixels": texture(13, 12, 3),
        "9 x 16 pixels": texture(9, 16, 3),
        "stopped early": texture(11, 12, 2, 20),
    },
    tolerance=1e-6,
    mistakes={
        "filters instead of pixels": texture_slip(
            "you change the filters, not the image: the loss falls, and the picture is still the noise that you began "
            "with. W is fixed; the pixels are what is learned",
            ("dx, _ = ring", "dx, dW = ring"),
            (STEP, "W = W - rate * dW"),
        ),
        "target from the image": texture_slip(
            "you compute the target Gram matrix from the image that you are changing: the loss is 0 from the start and "
            "the image stays noise. A comes from the texture, and is fixed",
            (" / positions - A", " / positions - F @ F.T / positions"),
        ),
        "target moves along": texture_slip(
            "you replace the target by the Gram matrix of the image after each step, so that nothing pulls any more "
            "after the first: A is fixed",
            (STEP, "x, A = x - rate * dx, F @ F.T / positions"),
        ),
        "uphill": texture_slip(
            "you add the gradient, which leads uphill: the loss grows. Subtract it", (STEP, "x = x + rate * dx")
        ),
        "half of a step": texture_slip(
            "your steps are half as long: the line is the *root* of the loss, whose slope gives the 2 in 2 L / ‖dx‖²",
            (RATE, "losses[step] / steepness"),
        ),
        "length not squared": texture_slip(
            "you divide by the length of dx; the step is divided by its square, ‖dx‖²",
            (RATE, "2 * losses[step] / np.sqrt(steepness)"),
        ),
        "not normalized": texture_slip(
            "your Gram matrix of the image is not divided by the number of positions, but A is",
            ("F @ F.T / positions - A", "F @ F.T - A"),
        ),
        "a step too few": texture_slip(
            "you make a step less than asked: the losses are right, but x is the image before the last step",
            (STEP, "x = x - rate * dx if step < steps - 1 else x"),
        ),
    },
    edges={"no step at all": texture(7, 8, 2, 0), "one step": texture(7, 8, 2, 1), "filters that see nothing": silent},
    forbid=TORCH,
)

# --- the kernel ---------------------------------------------------------------------------------------------------

FLOAT = 4  # bytes


def walk_over_tiles(F: Array, scale: float) -> tuple[Array]:
    """What launch_gram returns, computed as its kernel does: tile by tile, below the diagonal only."""
    batch, channels, positions = F.shape
    block = 64 if channels <= 64 else 128
    G = np.full((batch, channels, channels), np.nan)
    for p in range(0, channels, block):
        for q in range(0, p + 1, block):
            rows, cols = F[:, p : p + block], F[:, q : q + block]
            total = np.zeros((batch, rows.shape[1], cols.shape[1]))
            for k in range(0, positions, 32):
                total = total + rows[:, :, k : k + 32] @ cols[:, :, k : k + 32].swapaxes(1, 2)
            tile = scale * total
            G[:, p : p + block, q : q + block] = tile
            if q < p:
                G[:, q : q + block, p : p + block] = tile.swapaxes(1, 2)
    return (G,)


def features_to_multiply(batch: int, channels: int, positions: int) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        return {"F": rng.standard_normal((batch, channels, positions)), "scale": 1 / positions**0.5}

    return make


def bytes_of_tiles(inputs: Mapping[str, Any]) -> int:
    """Rows and columns of each tile on or below the diagonal, and each number of the matrix once."""
    batch, channels, positions = map(int, inputs["F"].shape)
    block = 64 if channels <= 64 else 128
    lengths = [min(block, channels - start) for start in range(0, channels, block)]
    tiles = sum(lengths[p] + lengths[q] for p in range(len(lengths)) for q in range(p + 1))
    return FLOAT * batch * (positions * tiles + channels**2)


def kernel_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, walk_over_tiles, *edits)


KERNEL = Question(
    name="gram_kernel",
    reference=(walk_over_tiles,),
    outputs=("G",),
    calls=("launch_gram",),
    tensors=True,
    tolerance=1e-4,
    draws={
        "less than a block": features_to_multiply(3, 5, 37),
        "more channels than a block": features_to_multiply(1, 131, 77),
        "two images": features_to_multiply(2, 150, 35),
    },
    mistakes={
        "no mirror": kernel_slip(
            "the half above the diagonal is never written: a tile below it is stored twice, the second time turned "
            "over, at its mirror image",
            ("if q < p:", "if False:"),
        ),
        "mirror not turned over": kernel_slip(
            "above the diagonal you store the tile as it is: at the mirror image rows and columns are exchanged, so "
            "transpose it",
            (
                "tile.swapaxes(1, 2)",
                "np.pad(tile, ((0, 0), (0, block), (0, block)))[:, : cols.shape[1], : rows.shape[1]]",
            ),
        ),
        "no scale": kernel_slip("the products are right; multiply them by scale", ("scale * total", "total")),
        "scaled twice": kernel_slip("you multiply by scale twice", ("scale * total", "scale**2 * total")),
        "first block only": kernel_slip(
            "only the first BLOCK_P positions count: loop over them in steps of BLOCK_P and add up the products",
            ("range(0, positions, 32)", "range(0, 32, 32)"),
        ),
        "last block only": kernel_slip(
            "each product replaces the sum so far, so only the last block of positions is left: pass the sum to tl.dot "
            "as its third argument, or add",
            ("total = total + ", "total = "),
        ),
        "diagonal twice": kernel_slip(
            "the tiles on the diagonal come out doubled: they are their own mirror image, and are counted once",
            ("scale * total", "scale * total * (2 if p == q else 1)"),
        ),
        "first image": kernel_slip(
            "every image gets the Gram matrix of the first: image m begins at F_ptr + m * channels * positions",
            ("tile = scale * total", "tile = scale * total[:1] + 0 * total"),
        ),
    },
    edges={"all of size one": features_to_multiply(1, 1, 1), "one position": features_to_multiply(2, 7, 1)},
    tells={"all of size one": ("diagonal twice",)},
    moves=bytes_of_tiles,
)

QUESTIONS = (
    GRAM,
    GRAM_BACKWARD,
    BLIND,
    EXPLAIN,
    CONTENT_LOSS,
    CONTENT_LOSS_BACKWARD,
    STYLE_LOSS,
    STYLE_LOSS_BACKWARD,
    TV_LOSS,
    TV_LOSS_BACKWARD,
    ADAIN,
    COMBINE,
    SYNTHESIZE,
    KERNEL,
)
