"""Neural style transfer: Gram matrices, losses on features and pixels, texture.

Feature maps are (batch, channels, positions): one row for each channel, as on the
formula sheet. Images of a batch have nothing to do with each other, so losses are
added up over the batch.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray
Scalar = np.ndarray | np.floating


# --- Gram matrices ----------------------------------------------------------------


def gram_forward(
    F: Float[Array, "batch channels positions"],
    normalize: Literal["positions", "all", "none"] = "positions",
) -> tuple[Float[Array, "batch channels channels"], tuple]:
    """Return the inner products of all pairs of channels of each image.

    Eq. gram; Gatys, Ecker & Bethge 2015. "positions" divides them by the number of
    positions, "all" by that of all features of an image, "none" by nothing.
    """
    divisors = {"positions": F.shape[2], "all": F.shape[1] * F.shape[2], "none": 1}
    if normalize not in divisors or 0 in F.shape:
        raise ValueError(
            f"expected normalize out of {', '.join(divisors)} and some features, "
            f"got {normalize!r} and shape {F.shape}"
        )
    G = F @ F.swapaxes(1, 2) / divisors[normalize]
    return G, (F, divisors[normalize])


def gram_backward(
    dG: Float[Array, "batch channels channels"],
    cache: tuple,
) -> Float[Array, "batch channels positions"]:
    """Return dF (eq. gram-backward)."""
    F, divisor = cache
    return (dG + dG.swapaxes(1, 2)) @ F / divisor


def gram_is_blind_to(
    op: Literal["shuffle", "flip", "crop", "swap"],
    F: Float[Array, "channels height width"],
    order: Int[Array, " positions"],
) -> int:
    """Say whether an operation on feature maps leaves their Gram matrix as it is.

    Eq. gram-blind. 1: it does; 0: it does not. The operations: to put positions into
    another order, the same in all channels; to turn each row round; to leave out the
    last column; to exchange the first two channels.
    """
    shuffled = F.reshape(len(F), -1)[:, order].reshape(F.shape)
    swapped = np.concatenate([F[1::-1], F[2:]])
    changes = {
        "shuffle": shuffled,
        "flip": F[:, :, ::-1],
        "crop": F[:, :, :-1],
        "swap": swapped,
    }
    if op not in changes:
        raise ValueError(f"expected op out of {', '.join(changes)}, got {op!r}")
    before, after = (f.reshape(1, len(F), -1) for f in (F, changes[op]))
    return int(np.allclose(gram_forward(before)[0], gram_forward(after)[0]))


def explain_gram(
    F: Float[Array, "runs channels positions"],
    G: Float[Array, "runs channels channels"],
) -> Int[Array, " runs"]:
    """Say of each Gram matrix how it came about, out of its features.

    0: divided by nothing; 1: by the number of positions; 2: by that of all features;
    3: by that of all features, twice; 4: by the number of positions, but of features
    whose means had been subtracted (eq. gram-normalizations).
    """
    _, channels, positions = F.shape
    inner = F @ F.swapaxes(1, 2)
    centered = F - F.mean(axis=2, keepdims=True)
    every = channels * positions
    candidates = np.stack(
        [
            inner,
            inner / positions,
            inner / every,
            inner / every**2,
            centered @ centered.swapaxes(1, 2) / positions,
        ]
    )
    sizes = np.abs(candidates).max(axis=(2, 3))
    return (np.abs(candidates - G).max(axis=(2, 3)) / sizes).argmin(axis=0)


def adain(
    F: Float[Array, "batch channels positions"],
    S: Float[Array, "batch channels positions_of_style"],
    eps: float = 1e-5,
) -> Float[Array, "batch channels positions"]:
    """Give each channel of F the mean and the standard deviation of that of S.

    Eq. adain; Huang & Belongie 2017. eps is added to both variances.
    """
    mean, mean_s = F.mean(axis=2, keepdims=True), S.mean(axis=2, keepdims=True)
    std = np.sqrt(F.var(axis=2, keepdims=True) + eps)
    std_s = np.sqrt(S.var(axis=2, keepdims=True) + eps)
    return std_s * (F - mean) / std + mean_s


# --- losses -----------------------------------------------------------------------


def style_loss_forward(
    F: Float[Array, "batch channels positions"],
    A: Float[Array, "channels channels"],
) -> tuple[Float[Scalar, ""], tuple]:
    """Return the squared distance of the Gram matrices to that of the style.

    Eq. style-loss; Gatys, Ecker & Bethge 2016. A is normalized by its own positions.
    """
    G, cache = gram_forward(F, "positions")
    difference = G - A
    factor = 1 / (4 * len(A) ** 2)
    return factor * (difference**2).sum(), (difference, factor, cache)


def style_loss_backward(
    dloss: Float[Scalar, ""],
    cache: tuple,
) -> tuple[Float[Array, "batch channels positions"], Float[Array, "channels channels"]]:
    """Return (dF, dA) (eq. style-loss-backward)."""
    difference, factor, of_gram = cache
    dG = dloss * 2 * factor * difference
    return gram_backward(dG, of_gram), -dG.sum(axis=0)


def content_loss_forward(
    F: Float[Array, "batch channels positions"],
    P: Float[Array, "batch channels positions"],
) -> tuple[Float[Scalar, ""], tuple]:
    """Return half of the squared distance of features F to those of the content, P.

    Eq. content-loss; Gatys, Ecker & Bethge 2016.
    """
    if F.shape != P.shape:
        raise ValueError(f"expected features of one shape, got {F.shape} and {P.shape}")
    difference = F - P
    return (difference**2).sum() / 2, (difference,)


def content_loss_backward(
    dloss: Float[Scalar, ""],
    cache: tuple,
) -> tuple[
    Float[Array, "batch channels positions"], Float[Array, "batch channels positions"]
]:
    """Return (dF, dP) (eq. content-loss-backward)."""
    (difference,) = cache
    dF = dloss * difference
    return dF, -dF


def tv_loss_forward(
    x: Float[Array, "batch channels height width"],
) -> tuple[Float[Scalar, ""], tuple]:
    """Return the squared differences of all pairs of neighboring pixels, added up.

    Eq. tv-loss; Mahendran & Vedaldi 2015.
    """
    down = x[:, :, 1:] - x[:, :, :-1]
    right = x[:, :, :, 1:] - x[:, :, :, :-1]
    return (down**2).sum() + (right**2).sum(), (down, right, x.shape)


def tv_loss_backward(
    dloss: Float[Scalar, ""],
    cache: tuple,
) -> Float[Array, "batch channels height width"]:
    """Return dx (eq. tv-loss-backward)."""
    down, right, shape = cache
    dx = np.zeros(shape)
    dx[:, :, 1:] += 2 * down
    dx[:, :, :-1] -= 2 * down
    dx[:, :, :, 1:] += 2 * right
    dx[:, :, :, :-1] -= 2 * right
    return dloss * dx


def combine(
    dcontent: Float[Array, "*shape"],
    dstyle: Float[Array, "*shape"],
    ratio: float,
) -> tuple[float, float, Float[Array, "*shape"]]:
    """Weigh two gradients so that the style pulls ratio times as hard as the content.

    Return (alpha, beta, dx) of eq. style-balance: alpha times the content's gradient
    has length 1, beta times the style's has length ratio. Raises ValueError where a
    gradient is zero.
    """
    lengths = [float(np.sqrt((d**2).sum())) for d in (dcontent, dstyle)]
    if not min(lengths) > 0:
        raise ValueError(f"expected gradients longer than 0, got lengths {lengths}")
    alpha, beta = 1 / lengths[0], ratio / lengths[1]
    return alpha, beta, alpha * dcontent + beta * dstyle


# --- texture ----------------------------------------------------------------------


def ring_filters_forward(
    x: Float[Array, "height width"],
    W: Float[Array, "channels k_h k_w"],
) -> tuple[Float[Array, "channels positions"], tuple]:
    """Filter an image whose edges are joined, and rectify the maps (eq. ring-filters).

    Right of the last column lies the first one, and below the last row the first.
    """
    maps = np.zeros((len(W), *x.shape))
    for i, j in np.ndindex(W.shape[1:]):
        maps += W[:, i, j, None, None] * np.roll(x, (-i, -j), axis=(0, 1))
    return np.maximum(maps, 0).reshape(len(W), -1), (x, W, maps)


def ring_filters_backward(
    dF: Float[Array, "channels positions"],
    cache: tuple,
) -> tuple[Float[Array, "height width"], Float[Array, "channels k_h k_w"]]:
    """Return (dx, dW) (eq. ring-filters-backward)."""
    x, W, maps = cache
    dmaps = dF.reshape(maps.shape) * (maps > 0)
    dx, dW = np.zeros_like(x), np.empty_like(W)
    for i, j in np.ndindex(W.shape[1:]):
        dW[:, i, j] = (dmaps * np.roll(x, (-i, -j), axis=(0, 1))).sum(axis=(1, 2))
        pulled = (W[:, i, j, None, None] * dmaps).sum(axis=0)
        dx += np.roll(pulled, (i, j), axis=(0, 1))
    return dx, dW


def synthesize(
    x: Float[Array, "height width"],
    W: Float[Array, "channels k_h k_w"],
    A: Float[Array, "channels channels"],
    steps: int,
) -> tuple[Float[Array, "height width"], Float[Array, " steps"]]:
    """Change the pixels of x until its Gram matrix is A, step by step downhill.

    Eq. texture; Gatys, Ecker & Bethge 2015. Return the image after all steps and the
    style loss before each of them.
    """
    losses = np.empty(steps)
    for step in range(steps):
        F, cache = ring_filters_forward(x, W)
        channels, positions = F.shape
        difference = F @ F.T / positions - A
        losses[step] = (difference**2).sum() / (4 * channels**2)
        dF = difference @ F / (channels**2 * positions)
        dx, _ = ring_filters_backward(dF, cache)
        steepness = (dx**2).sum()
        rate = 2 * losses[step] / steepness if steepness > 0 else 0.0
        x = x - rate * dx
    return x, losses
