"""Loss functions: squared error and cross-entropy, from probabilities and from logits.

Predictions come first, targets second. Float targets get a gradient like any other
argument; labels, which are integers, get none.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from solutions.activations import sigmoid

Array = np.ndarray
Scalar = np.ndarray | np.floating


def _divisor(shape: tuple[int, ...], reduction: str) -> int:
    """Return what the sum of all single losses is divided by (eq. losses-reduction)."""
    divisors = {"batchmean": shape[0], "mean": int(np.prod(shape)), "sum": 1}
    if reduction not in divisors or 0 in shape:
        raise ValueError(
            f"expected a reduction out of {', '.join(divisors)} and at least one "
            f"example, got {reduction!r} and single losses of shape {shape}"
        )
    return divisors[reduction]


def _check_shapes(predictions: tuple[int, ...], targets: tuple[int, ...]) -> None:
    """Raise ValueError where NumPy would broadcast, and so compare all with all."""
    if predictions != targets:
        got = f"{predictions} and {targets}"
        raise ValueError(f"expected predictions and targets of one shape, got {got}")


def _check_unit_interval(name: str, array: Array) -> None:
    """Raise ValueError unless all numbers lie between 0 and 1."""
    if not ((array >= 0) & (array <= 1)).all():
        low, high = np.min(array), np.max(array)
        raise ValueError(f"expected {name} in [0, 1], got {low:g} to {high:g}")


def _check_labels(labels: Array, classes: int) -> None:
    """Raise ValueError unless every label is the number of a class, from 0 on."""
    if labels.size and not (0 <= labels.min() and labels.max() < classes):
        low, high = labels.min(), labels.max()
        raise ValueError(f"expected labels in 0..{classes - 1}, got {low} to {high}")


def mse_forward(
    y_hat: Float[Array, "batch d_out"],
    y: Float[Array, "batch d_out"],
    reduction: Literal["batchmean", "mean", "sum"] = "batchmean",
) -> tuple[Float[Scalar, ""], tuple]:
    """Return the squared distance of predictions to targets, reduced (eq. losses-mse).

    "batchmean" divides the sum by the batch size, "mean" by the number of all elements.
    """
    _check_shapes(y_hat.shape, y.shape)
    divisor = _divisor(y.shape, reduction)
    difference = y_hat - y
    loss = (difference**2).sum() / divisor
    return loss, (difference, divisor)


def mse_backward(
    dloss: Float[Scalar, ""],
    cache: tuple,
) -> tuple[Float[Array, "batch d_out"], Float[Array, "batch d_out"]]:
    """Return (dy_hat, dy) (eq. losses-mse-backward)."""
    difference, divisor = cache
    dy_hat = dloss * 2 * difference / divisor
    return dy_hat, -dy_hat


def bce_forward(
    p: Float[Array, "batch d_out"],
    y: Float[Array, "batch d_out"],
    reduction: Literal["batchmean", "mean", "sum"] = "batchmean",
) -> tuple[Float[Scalar, ""], tuple]:
    """Return the binary cross-entropy of probabilities p to targets y (eq. losses-bce).

    Logarithms end at -100, as in torch, so that p = 0 and p = 1 cost a finite amount.
    Raises ValueError where p or y leaves [0, 1].
    """
    _check_shapes(p.shape, y.shape)
    _check_unit_interval("p", p)
    _check_unit_interval("y", y)
    divisor = _divisor(y.shape, reduction)
    with np.errstate(divide="ignore"):  # log(0), which becomes -100
        log_p = np.maximum(np.log(p), -100)
        log_q = np.maximum(np.log1p(-p), -100)
    loss = -(y * log_p + (1 - y) * log_q).sum() / divisor
    return loss, (p, y, log_p, log_q, divisor)


def bce_backward(
    dloss: Float[Scalar, ""],
    cache: tuple,
) -> tuple[Float[Array, "batch d_out"], Float[Array, "batch d_out"]]:
    """Return (dp, dy), with p (1 - p) at least 1e-12, as in torch.

    Eq. losses-bce-backward.
    """
    p, y, log_p, log_q, divisor = cache
    dp = dloss * (p - y) / np.maximum(p * (1 - p), 1e-12) / divisor
    dy = dloss * (log_q - log_p) / divisor
    return dp, dy


def bce_with_logits_forward(
    logits: Float[Array, "batch d_out"],
    y: Float[Array, "batch d_out"],
    reduction: Literal["batchmean", "mean", "sum"] = "batchmean",
) -> tuple[Float[Scalar, ""], tuple]:
    """Return the binary cross-entropy of sigmoid(logits) to targets y, for any logits.

    Eq. losses-bce-logits. Raises ValueError where y leaves [0, 1].
    """
    _check_shapes(logits.shape, y.shape)
    _check_unit_interval("y", y)
    divisor = _divisor(y.shape, reduction)
    tail = np.log1p(np.exp(-np.abs(logits)))
    loss = (np.maximum(logits, 0) - logits * y + tail).sum() / divisor
    return loss, (logits, y, divisor)


def bce_with_logits_backward(
    dloss: Float[Scalar, ""],
    cache: tuple,
) -> tuple[Float[Array, "batch d_out"], Float[Array, "batch d_out"]]:
    """Return (dlogits, dy) (eq. losses-bce-logits-backward)."""
    logits, y, divisor = cache
    dlogits = dloss * (sigmoid(logits) - y) / divisor
    dy = -dloss * logits / divisor
    return dlogits, dy


def categorical_cross_entropy_forward(
    p: Float[Array, "batch classes"],
    y: Float[Array, "batch classes"],
    reduction: Literal["mean", "sum"] = "mean",
) -> tuple[Float[Scalar, ""], tuple]:
    """Return the cross-entropy of rows of probabilities to rows of targets.

    Eq. losses-ce. The logarithm ends at -100, as in bce_forward. Raises ValueError
    where p leaves [0, 1].
    """
    _check_shapes(p.shape, y.shape)
    _check_unit_interval("p", p)
    divisor = _divisor(y.shape[:1], reduction)
    with np.errstate(divide="ignore"):  # log(0), which becomes -100
        log_p = np.maximum(np.log(p), -100)
    loss = -(y * log_p).sum() / divisor
    return loss, (p, y, log_p, divisor)


def categorical_cross_entropy_backward(
    dloss: Float[Scalar, ""],
    cache: tuple,
) -> tuple[Float[Array, "batch classes"], Float[Array, "batch classes"]]:
    """Return (dp, dy), with p at least 1e-12 (eq. losses-ce-backward)."""
    p, y, log_p, divisor = cache
    dp = -dloss * y / np.maximum(p, 1e-12) / divisor
    dy = -dloss * log_p / divisor
    return dp, dy


def cross_entropy_forward(
    logits: Float[Array, "batch classes"],
    labels: Int[Array, " batch"],
    reduction: Literal["mean", "sum"] = "mean",
) -> tuple[Float[Scalar, ""], tuple]:
    """Return the cross-entropy of softmax(logits) to the numbers of the right classes.

    Eq. losses-ce-logits. Raises ValueError where a label is no class.
    """
    _check_shapes(logits.shape[:1], labels.shape)
    _check_labels(labels, logits.shape[1])
    divisor = _divisor(labels.shape, reduction)
    rows = np.arange(len(labels))
    shifted = logits - logits.max(axis=1, keepdims=True)
    right = shifted[rows, labels]
    e = np.exp(shifted, out=shifted)  # in place: the array is large
    total = e.sum(axis=1)
    loss = (np.log(total) - right).sum() / divisor
    return loss, (e, total, labels, divisor)


def cross_entropy_backward(
    dloss: Float[Scalar, ""],
    cache: tuple,
) -> Float[Array, "batch classes"]:
    """Return dlogits; labels have no gradient (eq. losses-ce-logits-backward)."""
    e, total, labels, divisor = cache
    rows, scale = np.arange(len(labels)), dloss / divisor
    dlogits = e * (scale / total)[:, None]
    dlogits[rows, labels] -= scale
    return dlogits


def soft_cross_entropy_forward(
    logits: Float[Array, "batch classes"],
    y: Float[Array, "batch classes"],
    reduction: Literal["mean", "sum"] = "mean",
) -> tuple[Float[Scalar, ""], tuple]:
    """Return the cross-entropy of softmax(logits) to rows of targets.

    Eq. losses-ce-soft. A row of targets is a distribution over the classes: one-hot,
    smoothed, or what another network says.
    """
    _check_shapes(logits.shape, y.shape)
    divisor = _divisor(y.shape[:1], reduction)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = -(y * log_p).sum() / divisor
    return loss, (log_p, y, divisor)


def soft_cross_entropy_backward(
    dloss: Float[Scalar, ""],
    cache: tuple,
) -> tuple[Float[Array, "batch classes"], Float[Array, "batch classes"]]:
    """Return (dlogits, dy), for targets of any sum (eq. losses-ce-soft-backward)."""
    log_p, y, divisor = cache
    mass = y.sum(axis=1, keepdims=True)
    dlogits = dloss * (mass * np.exp(log_p) - y) / divisor
    dy = -dloss * log_p / divisor
    return dlogits, dy


def smooth_labels(
    labels: Int[Array, " batch"],
    classes: int,
    eps: float,
) -> Float[Array, "batch classes"]:
    """Return smoothed one-hot rows: eps of each is spread evenly over all classes.

    Eq. losses-smoothing; Szegedy et al. 2016. Raises ValueError where a label is no
    class or eps leaves [0, 1].
    """
    _check_labels(labels, classes)
    if not 0 <= eps <= 1:
        raise ValueError(f"expected eps in [0, 1], got {eps}")
    y = np.full((len(labels), classes), eps / classes)
    y[np.arange(len(labels)), labels] += 1 - eps
    return y


def head_loss(
    head: Literal[
        "regression", "binary", "multi-label", "multi-class", "count", "duration"
    ],
    z: Float[Array, "batch d_out"],
    y: Float[Array, "batch d_out"],
) -> tuple[Float[Array, "batch d_out"], Float[Scalar, ""]]:
    """Return the prediction of a head and its loss, in the batch mean.

    Eq. losses-heads. z is what the last linear layer gives, y what was observed. Raises
    ValueError for a head of another name.
    """
    if head == "regression":
        prediction, losses = z, (z - y) ** 2
    elif head in ("binary", "multi-label"):
        prediction = sigmoid(z)
        losses = np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))
    elif head == "multi-class":
        shifted = z - z.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        prediction, losses = np.exp(log_p), -y * log_p
    elif head == "count":
        prediction, losses = np.exp(z), np.exp(z) - y * z
    elif head == "duration":
        prediction, losses = np.exp(z), y * np.exp(-z) + z
    else:
        raise ValueError(f"expected one of the six heads, got {head!r}")
    return prediction, losses.sum() / len(z)


def explain_plateau(
    loss: Float[Array, " runs"],
    classes: Int[Array, " runs"],
) -> Int[Array, " runs"]:
    """Say why the training loss of each run stopped falling where it did.

    0: the network fits its data; 1: it guesses; 2: it fits, but softmax is applied
    twice; 3: it guesses, and the loss is divided by the number of classes as well. The
    cause is the one whose loss lies nearest (eq. losses-double-softmax).
    """
    guessing = np.log(classes)
    twice = np.log1p((classes - 1) * np.exp(-1.0))
    at = np.array([np.zeros_like(guessing), guessing, twice, guessing / classes])
    return np.abs(loss - at).argmin(axis=0)
