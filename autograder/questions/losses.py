"""The questions about loss functions, each with the mistakes that are known by name.

A mistake is an edit of the reference's source. The kernel's are edits of the walk over blocks below, which computes
what the kernel computes, in the same order.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from autograder.question import Draw, Function, Mistake, Question, backward_slip, slip
from solutions.activations import sigmoid
from solutions.losses import (
    bce_forward,
    bce_with_logits_backward,
    bce_with_logits_forward,
    cross_entropy_backward,
    cross_entropy_forward,
    explain_plateau,
    head_loss,
    mse_backward,
    mse_forward,
    smooth_labels,
)

Array = np.ndarray[Any, Any]

TORCH = ("torch",)
REDUCTIONS = ("batchmean", "mean", "sum")
SIZES = {"batchmean": (5, 3), "mean": (3, 7), "sum": (6, 5)}  # (batch, d_out), so that no two counts agree
ONE = (1, 3)


# --- drawing inputs ---------------------------------------------------------------------------------------------


def some_targets(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Targets of all kinds: mostly 0 or 1, and some between."""
    y = rng.integers(0, 2, shape).astype(float)
    y.flat[::4] = rng.uniform(0.2, 0.8, y.flat[::4].shape)
    return y


def real_numbers(reduction: str, shape: tuple[int, int]) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        y_hat, y = rng.standard_normal((2, *shape))
        return {"y_hat": y_hat, "y": y, "reduction": reduction}

    return make


def probabilities(reduction: str, shape: tuple[int, int]) -> Draw:
    """Probabilities of which one is very small where the target is 1, and one very large where it is 0."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        p, y = sigmoid(2 * rng.standard_normal(shape)), some_targets(rng, shape)
        p.flat[:2], y.flat[:2] = (1e-5, 1 - 2e-5), (1, 0)
        return {"p": p, "y": y, "reduction": reduction}

    return make


def certain_probabilities(rng: np.random.Generator) -> Mapping[str, object]:
    """0 and 1, with targets that agree and targets that do not."""
    p, y = np.tile([[0.0, 0.0, 1.0, 1.0, 0.0]], (3, 1)), np.tile([[0.0, 1.0, 0.0, 1.0, 0.25]], (3, 1))
    return {"p": rng.permuted(p, axis=0), "y": y, "reduction": "mean"}


def logits_and_targets(reduction: str, shape: tuple[int, int]) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        return {"logits": 2 * rng.standard_normal(shape), "y": some_targets(rng, shape), "reduction": reduction}

    return make


def huge_logits_and_targets(rng: np.random.Generator) -> Mapping[str, object]:
    """Logits of ±1000, right and wrong."""
    logits, y = np.tile([[1e3, 1e3, -1e3, -1e3, 1e3]], (3, 1)), np.tile([[1.0, 0.0, 1.0, 0.0, 0.25]], (3, 1))
    return {"logits": logits, "y": y, "reduction": "batchmean"}


def logits_and_labels(reduction: str, shape: tuple[int, int]) -> Draw:
    """Logits that are no small numbers, with labels among which the last class always is."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        labels = rng.integers(0, shape[1], shape[0])
        labels[0] = shape[1] - 1
        return {"logits": 2 * rng.standard_normal(shape), "labels": labels, "reduction": reduction}

    return make


def huge_logits_and_labels(rng: np.random.Generator) -> Mapping[str, object]:
    """Rows with logits of ±1000: right, wrong, and all alike."""
    rows = [[1e3, -1e3, 0, 5], [-1e3, 1e3, 0, 5], [1e3, 1e3, 1e3, 1e3], [-1e3, -1e3, -1e3, -1e3]]
    return {"logits": np.array(rows), "labels": np.array([0, 0, 3, 1]), "reduction": "mean"}


# --- mean squared error -----------------------------------------------------------------------------------------

DIVISOR = "_divisor(y.shape, reduction)"


def other_reduction(function: Function, asked: str, done: str, message: str) -> Mistake:
    """A function that takes one reduction for another."""
    return slip(message, function, (DIVISOR, f'_divisor(y.shape, {{"{asked}": "{done}"}}.get(reduction, reduction))'))


def wrong_reductions(function: Function) -> dict[str, Mistake]:
    return {
        "mean for batchmean": other_reduction(
            function,
            "batchmean",
            "mean",
            '"batchmean" divides by the size of the batch only, as the formula sheet does; yours divides by the number '
            "of all elements, which is torch's mean",
        ),
        "batchmean for mean": other_reduction(
            function,
            "mean",
            "batchmean",
            '"mean" divides by the number of all elements, batch times outputs, as torch does; yours divides by the '
            "size of the batch only, which is the sheet's formula and here called batchmean",
        ),
        "reduction ignored": slip(
            "your answer is the sum whatever `reduction` says: divide it by the size of the batch, or by the number of "
            "all elements",
            function,
            (DIVISOR, "1"),
        ),
    }


def by_reduction(make: Any) -> dict[str, Draw]:
    return {reduction: make(reduction, SIZES[reduction]) for reduction in REDUCTIONS}


MSE = Question(
    name="mse_forward",
    reference=(mse_forward,),
    outputs=("loss",),
    by_draw=True,
    draws=by_reduction(real_numbers),
    mistakes={
        **wrong_reductions(mse_forward),
        "one half": slip(
            "yours is half the right loss: neither the sheet nor torch has a factor 1/2 in the mean squared error",
            mse_forward,
            (".sum() / divisor", ".sum() / divisor / 2"),
        ),
        "root": slip(
            "yours is the root of the mean squared error: leave the square root out",
            mse_forward,
            ("(difference**2).sum() / divisor", "np.sqrt((difference**2).sum() / divisor)"),
        ),
        "absolute value": slip(
            "yours sums absolute differences; here they are squared",
            mse_forward,
            ("(difference**2)", "np.abs(difference)"),
        ),
        "difference of sums": slip(
            "square each difference, then sum; yours sums first, so that errors of opposite sign cancel",
            mse_forward,
            ("(difference**2).sum()", "difference.sum() ** 2"),
        ),
    },
    edges={"a batch of one": real_numbers("batchmean", ONE)},
    forbid=TORCH,
)

MSE_BACKWARD = Question(
    name="mse_backward",
    reference=(mse_forward, mse_backward),
    outputs=("dy_hat", "dy"),
    draws=by_reduction(real_numbers),
    mistakes={
        "sign": backward_slip(
            "both gradients have the wrong sign: the loss grows with y_hat where y_hat is above y, so dy_hat has the "
            "sign of y_hat - y, and dy the opposite one",
            mse_forward,
            mse_backward,
            ("dloss * 2", "dloss * -2"),
        ),
        "sign of dy": backward_slip(
            "dy_hat is right; dy is its opposite, since the loss depends on the difference y_hat - y only",
            mse_forward,
            mse_backward,
            ("-dy_hat", "dy_hat.copy()"),
        ),
        "no gradient at y": backward_slip(
            "dy_hat is right, but dy is all zeros: a change of y changes the difference as well, the other way",
            mse_forward,
            mse_backward,
            ("-dy_hat", "0 * dy_hat"),
        ),
        "no factor 2": backward_slip(
            "the derivative of a square is twice its root: the factor 2 is missing. It would cancel against a 1/2 in "
            "the loss, but this loss has none",
            mse_forward,
            mse_backward,
            ("dloss * 2 *", "dloss *"),
        ),
        "not divided": backward_slip(
            "the loss was divided by the batch size or the number of elements, so its gradient is too",
            mse_forward,
            mse_backward,
            ("difference / divisor", "difference"),
        ),
        "dloss ignored": backward_slip(
            "dloss does not enter: the loss may be multiplied or added to other terms afterwards, and dloss says by "
            "how much it counts. Multiply by it",
            mse_forward,
            mse_backward,
            ("dloss * 2", "2"),
        ),
    },
    edges={"a batch of one": real_numbers("batchmean", ONE)},
    forbid=TORCH,
)

# --- binary cross-entropy ---------------------------------------------------------------------------------------

LOG_P, LOG_Q = "np.maximum(np.log(p), -100)", "np.maximum(np.log1p(-p), -100)"


def clipped(eps: str) -> tuple[tuple[str, str], ...]:
    return (LOG_P, f"np.log(np.clip(p, {eps}, 1 - {eps}))"), (LOG_Q, f"np.log(1 - np.clip(p, {eps}, 1 - {eps}))")


BCE = Question(
    name="bce_forward",
    reference=(bce_forward,),
    outputs=("loss",),
    by_draw=True,
    draws=by_reduction(probabilities),
    mistakes={
        **wrong_reductions(bce_forward),
        "log of 0": slip(
            "log(0) is minus infinity, and 0 times minus infinity is NaN: end both logarithms at -100, as torch does",
            bce_forward,
            (LOG_P, "np.log(p)"),
            (LOG_Q, "np.log1p(-p)"),
        ),
        "clipped at 1e-3": slip(
            "you keep p at least 0.001 away from 0 and 1. Ordinary predictions go closer than that, so their loss is "
            "falsified, and clipping has no gradient there: end the logarithms at -100 instead",
            bce_forward,
            *clipped("1e-3"),
        ),
        "clipped at 1e-7": slip(
            "you keep p at least 1e-7 away from 0 and 1, as Keras does, so that a certain and wrong prediction costs "
            "16 at most; here, as in torch, the logarithm ends at -100",
            bce_forward,
            *clipped("1e-7"),
        ),
        "clipped at 1e-12": slip(
            "you keep p at least 1e-12 away from 0 and 1, so that a certain and wrong prediction costs 28 at most; "
            "here, as in torch, the logarithm ends at -100",
            bce_forward,
            *clipped("1e-12"),
        ),
        "first term only": slip(
            "targets of 0 cost nothing in your loss: the term (1 - y) * log(1 - p) is missing",
            bce_forward,
            ("(y * log_p + (1 - y) * log_q)", "(y * log_p)"),
        ),
        "sign": slip(
            "a logarithm of a probability is negative, a loss is not: the minus in front is missing",
            bce_forward,
            ("-(y * log_p", "(y * log_p"),
        ),
        "p and y swapped": slip(
            "predictions and targets have traded places: the logarithm is that of the prediction p, which comes first",
            bce_forward,
            ("np.log(p)", "np.log(y)"),
            ("np.log1p(-p)", "np.log1p(-y)"),
            ("(y * log_p + (1 - y) * log_q)", "(p * log_p + (1 - p) * log_q)"),
        ),
    },
    edges={
        "a batch of one": probabilities("batchmean", ONE),
        "probabilities of 0 and 1": certain_probabilities,
    },
    forbid=TORCH,
)

LOGITS_LOSS = "(np.maximum(logits, 0) - logits * y + tail)"
BY_SIGMOID = "-(y * {log_p} + (1 - y) * {log_q})"

BCE_WITH_LOGITS = Question(
    name="bce_with_logits_forward",
    reference=(bce_with_logits_forward,),
    outputs=("loss",),
    by_draw=True,
    draws=by_reduction(logits_and_targets),
    mistakes={
        **wrong_reductions(bce_with_logits_forward),
        "sigmoid, then log": slip(
            "at a logit of -1000 the sigmoid is 0 and its logarithm minus infinity: do not compose the two, use "
            "max(z, 0) - z*y + log1p(exp(-|z|))",
            bce_with_logits_forward,
            (LOGITS_LOSS, BY_SIGMOID.format(log_p="np.log(sigmoid(logits))", log_q="np.log(1 - sigmoid(logits))")),
        ),
        "log1p(exp(z))": slip(
            "log1p(exp(z)) - z*y is the right loss, but exp overflows for z above 709: take max(z, 0) out of it, so "
            "that exp sees -|z| only",
            bce_with_logits_forward,
            (LOGITS_LOSS, "(np.log1p(np.exp(logits)) - logits * y)"),
        ),
        "by bce_forward": slip(
            "bce_forward(sigmoid(logits), y) ends its logarithms at -100: a wrong logit of 1000 costs 100 there, but "
            "should cost 1000. Compute the loss from the logits themselves",
            bce_with_logits_forward,
            (
                LOGITS_LOSS,
                BY_SIGMOID.format(
                    log_p="np.maximum(np.log(sigmoid(logits)), -100)",
                    log_q="np.maximum(np.log1p(-sigmoid(logits)), -100)",
                ),
            ),
        ),
        "sigmoid twice": slip(
            "the sigmoid is applied to the logits before a formula that has it inside already: between 0.313 and 1.313 "
            "is all that such a loss can be for one target of 0 or 1",
            bce_with_logits_forward,
            ("    tail =", "    logits = sigmoid(logits)\n    tail ="),
        ),
        "sign of the product": slip(
            "the product z*y has a minus: where the target is 1, a larger logit makes the loss smaller",
            bce_with_logits_forward,
            ("- logits * y", "+ logits * y"),
        ),
        "no absolute value": slip(
            "the exponential sees -z, so that for negative z it is large: beside max(z, 0) stands log1p(exp(-|z|))",
            bce_with_logits_forward,
            ("np.exp(-np.abs(logits))", "np.exp(-logits)"),
        ),
        "no maximum": slip(
            "the term max(z, 0) is missing: log1p(exp(-|z|)) alone is log(1 + exp(z)) for negative z only",
            bce_with_logits_forward,
            ("np.maximum(logits, 0) - ", "-"),
        ),
        "targets of ±1": slip(
            "log(1 + exp(-y*z)) is for targets of -1 and 1; here they are 0 and 1",
            bce_with_logits_forward,
            (LOGITS_LOSS, "np.logaddexp(0, -y * logits)"),
        ),
    },
    edges={
        "a batch of one": logits_and_targets("batchmean", ONE),
        "logits at ±1000": huge_logits_and_targets,
    },
    tells={"a batch of one": ("no maximum", "no absolute value")},
    forbid=TORCH,
)


def with_logits_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, bce_with_logits_forward, bce_with_logits_backward, *edits)


BCE_WITH_LOGITS_BACKWARD = Question(
    name="bce_with_logits_backward",
    reference=(bce_with_logits_forward, bce_with_logits_backward),
    outputs=("dlogits", "dy"),
    draws=by_reduction(logits_and_targets),
    mistakes={
        "derivative of the sigmoid": with_logits_slip(
            "your dlogits has the factor sigmoid * (1 - sigmoid): it belongs to a squared error behind a sigmoid. In "
            "the cross-entropy it cancels against the derivative of the logarithm",
            (
                "(sigmoid(logits) - y)",
                "(sigmoid(logits) - y) * sigmoid(logits) * (1 - sigmoid(logits))",
            ),
        ),
        "not averaged": with_logits_slip(
            "the loss is divided by the batch size or the number of elements, so dlogits is too; yours is not averaged",
            ("(sigmoid(logits) - y) / divisor", "(sigmoid(logits) - y)"),
        ),
        "no sigmoid": with_logits_slip(
            "dlogits is sigmoid(z) - y; yours is z - y, the gradient of half a squared error",
            ("(sigmoid(logits) - y)", "(logits - y)"),
        ),
        "sign": with_logits_slip(
            "dlogits has the wrong sign: a logit above its target is to fall, so its gradient, sigmoid(z) - y, is "
            "positive",
            ("(sigmoid(logits) - y)", "(y - sigmoid(logits))"),
        ),
        "dloss ignored": with_logits_slip(
            "dloss does not enter: multiply both gradients by it, since the loss may be scaled afterwards",
            ("dloss * (sigmoid", "(sigmoid"),
            ("-dloss * logits", "-logits"),
        ),
        "no gradient at y": with_logits_slip(
            "dlogits is right, but dy is all zeros: z*y is in the loss with a minus, so dy is -z, divided like the "
            "rest",
            ("-dloss * logits / divisor", "np.zeros_like(y)"),
        ),
        "sign of dy": with_logits_slip(
            "dlogits is right, but dy has the wrong sign: z*y is in the loss with a minus, so dy is -z, divided like "
            "the rest",
            ("-dloss * logits", "dloss * logits"),
        ),
        "dy as in a squared error": with_logits_slip(
            "dlogits is right, but dy is not its opposite, as it is in a squared error: y is in the loss as -z*y only, "
            "so dy is -z, divided like the rest",
            ("-dloss * logits / divisor", "-dlogits"),
        ),
    },
    edges={
        "a batch of one": logits_and_targets("batchmean", ONE),
        "logits at ±1000": huge_logits_and_targets,
    },
    forbid=TORCH,
)

# --- categorical cross-entropy ----------------------------------------------------------------------------------

SHIFT = "shifted = logits - logits.max(axis=1, keepdims=True)"
SOFTMAX_FIRST = (
    "logits = np.exp(logits - logits.max(axis=1, keepdims=True))\n"
    "    logits = logits / logits.sum(axis=1, keepdims=True)\n    "
)

CROSS_ENTROPY = Question(
    name="cross_entropy_forward",
    reference=(cross_entropy_forward,),
    outputs=("loss",),
    by_draw=True,
    draws={
        "mean": logits_and_labels("mean", (5, 3)),
        "mean over more classes than rows": logits_and_labels("mean", (3, 7)),
        "sum": logits_and_labels("sum", (6, 5)),
    },
    mistakes={
        "double softmax": slip(
            "softmax is applied twice: once to the logits, and once more inside the loss. Such a loss cannot fall "
            "below a floor of 1.461 for 10 classes (0.551 for 3): are these already probabilities?",
            cross_entropy_forward,
            (SHIFT, SOFTMAX_FIRST + SHIFT),
        ),
        "one maximum for all rows": slip(
            "you subtract the largest logit of the whole array: in a row that lies far below it every exponential is "
            "0, and log(0) is minus infinity. Subtract each row's own maximum",
            cross_entropy_forward,
            (SHIFT, "shifted = logits - logits.max()"),
        ),
        "mean over the classes too": slip(
            'with "mean", the sum is divided by the number of rows; yours is divided by the number of classes as well, '
            "but a row is one example with one loss",
            cross_entropy_forward,
            ("- right).sum() / divisor", '- right).sum() / (logits.size if reduction == "mean" else 1)'),
        ),
        "always the mean": slip(
            'your answer is the mean whatever `reduction` says; "sum" is the sum over the rows',
            cross_entropy_forward,
            ("_divisor(labels.shape, reduction)", "len(labels)"),
        ),
        "always the sum": slip(
            'your answer is the sum whatever `reduction` says; "mean" divides it by the number of rows',
            cross_entropy_forward,
            ("_divisor(labels.shape, reduction)", "1"),
        ),
        "log of softmax": slip(
            "a probability that softmax rounds to 0 has the logarithm minus infinity: do not take the logarithm of the "
            "probability, but log(sum(exp(z - max))) - (z - max) at the label",
            cross_entropy_forward,
            ("(np.log(total) - right).sum()", "-np.log((e / total[:, None])[rows, labels]).sum()"),
        ),
        "no shift": slip(
            "exp overflows above 709 and is 0 below -745: subtract the largest logit of each row first, which changes "
            "nothing else",
            cross_entropy_forward,
            (SHIFT, "shifted = logits.copy()"),
        ),
        "all rows with all labels": slip(
            "logits[:, labels] takes the columns of all labels in every row; pair rows with labels, "
            "logits[np.arange(batch), labels]",
            cross_entropy_forward,
            ("shifted[rows, labels]", "shifted[:, labels].mean(axis=1)"),
        ),
        "labels from 1": slip(
            "classes are counted from 0; your loss looks one column to the left of the label",
            cross_entropy_forward,
            ("shifted[rows, labels]", "shifted[rows, labels - 1]"),
        ),
        "sign": slip(
            "your loss has the wrong sign: the right class's log-probability is negative, its loss positive",
            cross_entropy_forward,
            ("(np.log(total) - right)", "(right - np.log(total))"),
        ),
    },
    edges={
        "a batch of one": logits_and_labels("mean", ONE),
        "logits at ±1000": huge_logits_and_labels,
    },
    tells=dict.fromkeys(
        ("mean", "mean over more classes than rows", "sum"), ("all rows with all labels", "labels from 1")
    ),
    forbid=TORCH,
)


def cross_entropy_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, cross_entropy_forward, cross_entropy_backward, *edits)


CROSS_ENTROPY_BACKWARD = Question(
    name="cross_entropy_backward",
    reference=(cross_entropy_forward, cross_entropy_backward),
    outputs=("dlogits",),
    draws={
        "mean": logits_and_labels("mean", (5, 3)),
        "mean over more classes than rows": logits_and_labels("mean", (3, 7)),
        "sum": logits_and_labels("sum", (6, 5)),
    },
    mistakes={
        "not averaged": cross_entropy_slip(
            "the gradient is not averaged: the loss is the mean over the rows, so each row's p - y is divided by their "
            "number",
            ("dloss / divisor", "dloss"),
        ),
        "averaged over the classes too": cross_entropy_slip(
            "divide by the number of rows only; yours is divided by the number of classes as well",
            ("dloss / divisor", "dloss / divisor / e.shape[1]"),
        ),
        "no one-hot": cross_entropy_slip(
            "yours is softmax(z) alone, which is positive everywhere: subtract 1 at the label, so that the right class "
            "is pushed up",
            ("dlogits[rows, labels] -= scale", "return dlogits"),
        ),
        "one-hot of full weight": cross_entropy_slip(
            "the 1 at the label is subtracted after the rest was scaled: dloss and the mean apply to p - y as a whole",
            ("dlogits[rows, labels] -= scale", "dlogits[rows, labels] -= 1"),
        ),
        "sign": cross_entropy_slip(
            "the gradient is p - y; yours is y - p, which climbs",
            ("return dlogits", "return -dlogits"),
        ),
        "dloss ignored": cross_entropy_slip(
            "dloss does not enter: multiply by it, since the loss may be scaled or added to others afterwards",
            ("dloss / divisor", "1 / divisor"),
        ),
        "through softmax once more": cross_entropy_slip(
            "p - y is the gradient at the logits already; yours is sent through the derivative of softmax once more",
            (
                "return dlogits",
                "p = e / total[:, None]\n    return p * (dlogits - (dlogits * p).sum(axis=1, keepdims=True))",
            ),
        ),
    },
    edges={
        "a batch of one": logits_and_labels("mean", ONE),
        "logits at ±1000": huge_logits_and_labels,
    },
    forbid=TORCH,
)

# --- label smoothing --------------------------------------------------------------------------------------------


def labels_to_smooth(batch: int, classes: int, eps: float) -> Draw:
    return lambda rng: {"labels": rng.integers(0, classes, batch), "classes": classes, "eps": eps}


EVENLY, RIGHT = "eps / classes)", "+= 1 - eps"

SMOOTH_LABELS = Question(
    name="smooth_labels",
    reference=(smooth_labels,),
    outputs=("y",),
    draws={
        "eps 0.1": labels_to_smooth(5, 3, 0.1),
        "eps 0.3": labels_to_smooth(3, 7, 0.3),
        "eps 0.05": labels_to_smooth(6, 5, 0.05),
    },
    mistakes={
        "1 - eps and eps": slip(
            "your rows do not sum to 1: every wrong class got eps. Here eps is the share that is spread over all "
            "classes, eps / classes for each",
            smooth_labels,
            (EVENLY, "eps)"),
            (RIGHT, "= 1 - eps"),
        ),
        "right class without its share": slip(
            "your rows sum to less than 1: the right class gets its share of what is spread as well, 1 - eps + eps / "
            "classes",
            smooth_labels,
            (RIGHT, "= 1 - eps"),
        ),
        "over the wrong classes only": slip(
            "you spread eps over the classes - 1 wrong ones. That is another convention in use; here and in torch it "
            "is spread over all classes, the right one included",
            smooth_labels,
            (EVENLY, "eps / (classes - 1))"),
            (RIGHT, "= 1 - eps"),
        ),
        "not smoothed": slip(
            "these are one-hot rows: eps has no effect",
            smooth_labels,
            (EVENLY, "0.0)"),
            (RIGHT, "= 1"),
        ),
        "eps the other way round": slip(
            "eps is the small part, which is spread; in yours it is the part that stays on the right class",
            smooth_labels,
            (EVENLY, "(1 - eps) / classes)"),
            (RIGHT, "+= eps"),
        ),
    },
    edges={
        "eps 0, which leaves one-hot rows": labels_to_smooth(5, 3, 0.0),
        "eps 1, which leaves nothing of the label": labels_to_smooth(5, 3, 1.0),
        "two classes": labels_to_smooth(6, 2, 0.2),
    },
)

# --- heads ------------------------------------------------------------------------------------------------------


def observed(head: str, rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Targets as the head expects them."""
    if head == "regression":
        return rng.standard_normal(shape)
    if head == "count":
        return rng.poisson(2.0, shape).astype(float)
    if head == "duration":
        return rng.exponential(2.0, shape)
    if head == "multi-class":
        return np.eye(shape[1])[rng.integers(0, shape[1], shape[0])]
    return rng.integers(0, 2, shape).astype(float)


def head_inputs(head: str, shape: tuple[int, int], size: float = 0.0) -> Draw:
    """Numbers from the last linear layer, ordinary ones or ± a size, and targets for them."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        z = rng.standard_normal(shape)
        return {"head": head, "z": size * np.sign(z) if size else z, "y": observed(head, rng, shape)}

    return make


HEADS = {
    "regression": (5, 3),
    "binary": (6, 1),
    "multi-label": (5, 3),
    "multi-class": (3, 5),
    "count": (5, 3),
    "duration": (6, 5),
}
ONE_SIGMOID = 'elif head in ("binary", "multi-label"):'


def head_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, head_loss, *edits)


HEAD_LOSS = Question(
    name="head_loss",
    reference=(head_loss,),
    outputs=("prediction", "loss"),
    by_draw=True,
    draws={head: head_inputs(head, shape) for head, shape in HEADS.items()},
    mistakes={
        "softmax for multi-label": head_slip(
            "multi-label: softmax makes the labels compete, so that only one can be likely. Several may apply at once: "
            "give each its own sigmoid and binary cross-entropy",
            (ONE_SIGMOID, 'elif head == "binary":'),
            ('elif head == "multi-class":', 'elif head in ("multi-class", "multi-label"):'),
        ),
        "softmax for one output": head_slip(
            "binary: softmax over a single number is always 1, whatever the network says, and the loss 0 or wrong for "
            "good. One output takes a sigmoid",
            (ONE_SIGMOID, 'elif head == "multi-label":'),
            ('elif head == "multi-class":', 'elif head in ("multi-class", "binary"):'),
        ),
        "squared error for a probability": head_slip(
            "binary and multi-label: a squared error behind a sigmoid has the factor sigmoid * (1 - sigmoid) in its "
            "gradient and stalls where the prediction is certain and wrong. Use the binary cross-entropy",
            ("losses = np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))", "losses = (prediction - y) ** 2"),
        ),
        "softmax on counts": head_slip(
            "count: counts are no distribution over the outputs; softmax forces them to sum to 1. A count is at least "
            "0 and has no upper end: predict exp(z), with the Poisson likelihood",
            ('elif head == "multi-class":', 'elif head in ("multi-class", "count"):'),
        ),
        "squared error on counts": head_slip(
            "count: a squared error lets the prediction be negative and takes all counts for equally uncertain. "
            "Predict exp(z), with the Poisson likelihood: exp(z) - y*z",
            ('if head == "regression":', 'if head in ("regression", "count"):'),
        ),
        "squared error on durations": head_slip(
            "duration: a squared error lets the prediction be negative. Predict the mean exp(z), with the exponential "
            "likelihood: y*exp(-z) + z",
            ('if head == "regression":', 'if head in ("regression", "duration"):'),
        ),
        "durations as counts": head_slip(
            "duration: exp(z) - y*z is the Poisson loss, for counts; a waiting time follows the exponential "
            "distribution: y*exp(-z) + z",
            ("np.exp(z), y * np.exp(-z) + z", "np.exp(z), np.exp(z) - y * z"),
        ),
        "mean over the outputs": head_slip(
            "the losses of an example's outputs are added up, since their probabilities multiply; only the batch is "
            "averaged. Yours is the mean over both",
            ("losses.sum() / len(z)", "losses.mean() if losses.shape[1] > 1 else losses.sum() / len(z)"),
        ),
        "half of a square": head_slip(
            "regression: yours is half of the squared error; here it stands without a factor",
            ("(z - y) ** 2", "(z - y) ** 2 / 2"),
        ),
        "scores for predictions": head_slip(
            "the loss is right, but the prediction is z as it came: apply the head's activation to it",
            ("return prediction,", "return z,"),
        ),
    },
    edges={
        "one example": head_inputs("multi-label", (1, 3)),
        "binary at ±1000": head_inputs("binary", (6, 1), size=1e3),
        "multi-class at ±1000": head_inputs("multi-class", (5, 3), size=1e3),
    },
    tells={"binary at ±1000": ("squared error for a probability",)},
    forbid=TORCH,
)

# --- reading a loss curve ---------------------------------------------------------------------------------------

CAUSES = 4


def plateaus(classes: tuple[int, ...]) -> Draw:
    """Two runs of each cause, in random order, which ended a little above the value that gives the cause away.

    With a thousand classes two of these values lie 0.0069 apart, so a little is less than half of that.
    """

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        causes = rng.permutation(np.tile(np.arange(CAUSES), 2))
        k = np.resize(classes, len(causes))
        at = np.array([np.zeros(len(k)), np.log(k), np.log1p((k - 1) / math.e), np.log(k) / k])
        loss = at[causes, np.arange(len(k))] + rng.uniform(0.0001, 0.003, len(k))
        return {"loss": loss, "classes": k}

    return make


def causes_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, explain_plateau, *edits)


TWICE = "np.log1p((classes - 1) * np.exp(-1.0))"

EXPLAIN_PLATEAU = Question(
    name="explain_plateau",
    reference=(explain_plateau,),
    outputs=("cause",),
    draws={
        "3 to 6 classes": plateaus((3, 4, 5, 6)),
        "10 and 17 classes": plateaus((10, 17, 10)),
        "7 and 12 classes": plateaus((7, 12, 7, 7)),
    },
    mistakes={
        "no double softmax": causes_slip(
            "you never answer 2: a network that fits, with softmax applied twice, ends at log(1 + (classes - 1) / e). "
            "(log(classes - 1 + e) is the logarithm of the sum only: subtract the right class's logit, which is 1)",
            (TWICE, "np.log(classes - 1 + np.e)"),
        ),
        "logarithm to base 2": causes_slip(
            "a network that guesses has a loss of log(classes) with the natural logarithm; yours is in bits",
            ("guessing = np.log(classes)", "guessing = np.log2(classes)"),
        ),
        "the floor of ten classes": causes_slip(
            "your floor of the double softmax is wrong for few classes: it is log(1 + (classes - 1) / e), 0.551 for 3 "
            "and 1.461 for 10. Does yours depend on the number of classes, and on one less than that number?",
            (TWICE, "np.full(len(classes), np.log1p(9 / np.e))"),
        ),
        "causes from 1": causes_slip(
            "the causes are numbered from 0; yours are one too high", ("axis=0)", "axis=0) + 1")
        ),
    },
    edges={"two classes": plateaus((2,)), "a thousand classes": plateaus((1000,))},
    tells={"3 to 6 classes": ("the floor of ten classes",)},
)

# --- the kernel -------------------------------------------------------------------------------------------------


def walk_over_blocks(logits: Array, labels: Array) -> tuple[Array, Array]:
    """What launch_cross_entropy returns, computed as its kernel does: over each row, block by block."""
    labels, rows = labels.astype(int), np.arange(len(logits))
    batch, classes = logits.shape
    block = min(2 ** math.ceil(math.log2(classes)), 1024)
    padded = np.full((batch, -(-classes // block) * block), -np.inf)
    padded[:, :classes] = logits
    top, total = np.full((batch, 1), -3e38), np.zeros((batch, 1))
    for start in range(0, padded.shape[1], block):
        z = padded[:, start : start + block]
        new_top = np.maximum(top, z.max(axis=1, keepdims=True))
        total = total * np.exp(top - new_top) + np.exp(z - new_top).sum(axis=1, keepdims=True)
        top = new_top
    losses = np.log(total[:, 0]) + (top[:, 0] - logits[rows, labels])
    dlogits = np.exp(logits - top) / total
    dlogits[rows, labels] -= 1
    return losses, dlogits


def rows_of_logits(batch: int, classes: int, around: float = 0.0) -> Draw:
    """Logits whose largest one stands at the end of each row, so that the maximum moves from block to block."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        logits = 2 * rng.standard_normal((batch, classes)) + around
        logits[:, -1] = logits.max(axis=1) + 1
        labels = rng.integers(0, classes, batch)
        labels[0] = classes - 1
        return {"logits": logits, "labels": labels}

    return make


def rows_of_huge_logits(rng: np.random.Generator) -> Mapping[str, object]:
    logits = np.where(np.arange(5 * 37) % 2, -1e3, 1e3).reshape(5, 37)
    return {"logits": logits, "labels": rng.integers(0, 37, 5)}


def bytes_of_rows(inputs: Mapping[str, Any]) -> int:
    """What two walks over each row load and store: logits twice, gradient once; label, its logit and the loss."""
    batch, classes = map(int, inputs["logits"].shape)
    return 4 * batch * (3 * classes + 3)


def kernel_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, walk_over_blocks, *edits)


ROWS_APART = "rows of logits that lie apart in memory"

KERNEL = Question(
    name="cross_entropy_kernel",
    reference=(walk_over_blocks,),
    outputs=("losses", "dlogits"),
    calls=("launch_cross_entropy",),
    tensors=True,
    tolerance=1e-4,
    draws={
        "fewer classes than a block": rows_of_logits(5, 3),
        "more classes than a block": rows_of_logits(3, 1500),
        "many rows": rows_of_logits(37, 11),
    },
    mistakes={
        "padding of zeros": kernel_slip(
            "lanes past the end of a row enter the sum: with other=0.0 each adds exp(0 - top). Load with mask=, and "
            'other=float("-inf"), whose exponential is 0',
            ("-np.inf)", "0.0)"),
        ),
        "maximum of zeros": kernel_slip(
            "your running maximum never falls below 0: it starts there, or lanes past the end of the row bring zeros "
            "into it. Where all logits are far below 0, every exponential is then 0. Start below any logit",
            ("np.full((batch, 1), -3e38)", "np.zeros((batch, 1))"),
        ),
        "no maximum": kernel_slip(
            "exponentials overflow: subtract the running maximum before exp, and add it to the logarithm again",
            ("np.maximum(top, z.max(axis=1, keepdims=True))", "0 * top"),
        ),
        "no rescaling": kernel_slip(
            "when a later block raises the maximum, the sum so far is still relative to the old one: multiply it by "
            "exp(old - new) before you add the block",
            ("total * np.exp(top - new_top)", "total"),
        ),
        "first block only": kernel_slip(
            "only the first BLOCK classes of a row enter the sum: loop over the row in steps of BLOCK",
            ("range(0, padded.shape[1], block)", "range(0, 1)"),
        ),
        "last block only": kernel_slip(
            "only the last block of a row is left in the sum: add each block to what there is",
            ("total * np.exp(top - new_top) + ", ""),
        ),
        "label in each block": kernel_slip(
            "in rows longer than a block, 1 is subtracted at the wrong places: the classes of a block are start + k, "
            "so compare these with the label, not k",
            ("dlogits[rows, labels] -= 1", "dlogits -= np.arange(classes) % block == labels[:, None]"),
        ),
        "no one-hot": kernel_slip(
            "the gradient is p - y; yours is p: subtract 1 in the lane whose class is the label",
            ("dlogits[rows, labels] -= 1", "rows = rows"),
        ),
        "sign": kernel_slip(
            "the gradient is p - y; yours is y - p", ("return losses, dlogits", "return losses, -dlogits")
        ),
        "mean": kernel_slip(
            "the kernel gives each row's own loss and gradient; yours divides the gradient by the number of rows",
            ("return losses, dlogits", "return losses, dlogits / batch"),
        ),
    },
    edges={
        "one row and one class": rows_of_logits(1, 1),
        "logits around -1000": rows_of_logits(3, 37, around=-1e3),
        "logits at ±1000": rows_of_huge_logits,
        ROWS_APART: rows_of_logits(5, 7),
    },
    apart={ROWS_APART: ("logits",)},
    moves=bytes_of_rows,
)

QUESTIONS = (
    MSE,
    MSE_BACKWARD,
    BCE,
    BCE_WITH_LOGITS,
    BCE_WITH_LOGITS_BACKWARD,
    CROSS_ENTROPY,
    CROSS_ENTROPY_BACKWARD,
    SMOOTH_LABELS,
    HEAD_LOSS,
    EXPLAIN_PLATEAU,
    KERNEL,
)
