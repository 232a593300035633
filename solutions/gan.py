"""Generative adversarial networks: the losses, the game on paper, and in one dimension.

Logits of real examples come first, those of fakes second. A discriminator's logit l
means that it takes its input for real with probability sigmoid(l).
"""

from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from solutions.activations import sigmoid

Array = np.ndarray
Scalar = np.ndarray | np.floating


def _check_some(**counts: int) -> None:
    """Raise ValueError where the mean over no example is asked for."""
    for name, count in counts.items():
        if not count:
            raise ValueError(f"expected at least one logit in {name}, got none")


def _check_distributions(p: Array, q: Array) -> None:
    """Raise ValueError unless p and q are distributions over the same bins."""
    if p.shape != q.shape:
        raise ValueError(f"expected p and q over the same bins, got {p.size}, {q.size}")
    for name, array in (("p", p), ("q", q)):
        if (array < 0).any() or not np.isclose(array.sum(), 1):
            raise ValueError(
                f"expected {name} of at least 0 with the sum 1, "
                f"got {array.min():g} or more with the sum {array.sum():g}"
            )


def discriminator_loss_forward(
    real: Float[Array, " real"],
    fake: Float[Array, " fake"],
    alpha: float = 0.9,
) -> tuple[Float[Scalar, ""], tuple]:
    """Return the discriminator's loss on logits, with the label alpha for real ones.

    Fakes have the label 0. Eq. gan-d-loss; Goodfellow et al. 2014, Salimans et al.
    2016. Raises ValueError where alpha leaves (0, 1] or there is nothing to average.
    """
    _check_some(real=len(real), fake=len(fake))
    if not 0 < alpha <= 1:
        raise ValueError(f"expected alpha above 0 and at most 1, got {alpha:g}")
    of_real = np.logaddexp(0, -real) + (1 - alpha) * real
    loss = of_real.mean() + np.logaddexp(0, fake).mean()
    return loss, (real, fake, alpha)


def discriminator_loss_backward(
    dloss: Float[Scalar, ""],
    cache: tuple,
) -> tuple[Float[Array, " real"], Float[Array, " fake"]]:
    """Return (dreal, dfake) (eq. gan-d-loss-backward)."""
    real, fake, alpha = cache
    dreal = dloss * (sigmoid(real) - alpha) / len(real)
    dfake = dloss * sigmoid(fake) / len(fake)
    return dreal, dfake


def generator_loss_forward(
    fake: Float[Array, " fake"],
    kind: Literal["saturating", "non-saturating"] = "non-saturating",
) -> tuple[Float[Scalar, ""], tuple]:
    """Return what the generator minimizes, from the discriminator's logits of fakes.

    Eq. gan-g-loss; Goodfellow et al. 2014. Raises ValueError for another kind.
    """
    _check_some(fake=len(fake))
    if kind == "saturating":
        loss = -np.logaddexp(0, fake).mean()
    elif kind == "non-saturating":
        loss = np.logaddexp(0, -fake).mean()
    else:
        raise ValueError(f"expected saturating or non-saturating, got {kind!r}")
    return loss, (fake, kind)


def generator_loss_backward(
    dloss: Float[Scalar, ""],
    cache: tuple,
) -> Float[Array, " fake"]:
    """Return dfake, at the logits (eq. gan-g-loss-backward)."""
    fake, kind = cache
    slope = -sigmoid(fake) if kind == "saturating" else -sigmoid(-fake)
    return dloss * slope / len(fake)


def optimal_discriminator(
    p: Float[Array, " bins"],
    q: Float[Array, " bins"],
    alpha: float = 1.0,
    beta: float = 0.0,
) -> Float[Array, " bins"]:
    """Return the best probability of "real", for data from p and fakes from q.

    Labels are alpha for data and beta for fakes; where nothing ever comes, it is 1/2.
    Eq. gan-optimal and gan-smoothing; Goodfellow et al. 2014, Salimans et al. 2016.
    """
    _check_distributions(p, q)
    total = p + q
    best = np.full_like(total, 0.5)
    return np.divide(alpha * p + beta * q, total, out=best, where=total > 0)


def jensen_shannon(
    p: Float[Array, " bins"],
    q: Float[Array, " bins"],
) -> Float[Scalar, ""]:
    """Return the Jensen-Shannon divergence in nats, between 0 and log 2 (eq. gan-js).

    Terms of probability 0 count 0. Raises ValueError unless both are distributions.
    """
    _check_distributions(p, q)
    middle = (p + q) / 2
    terms = [a[a > 0] * np.log(a[a > 0] / middle[a > 0]) for a in (p, q)]
    return (terms[0].sum() + terms[1].sum()) / 2


def bilinear_game(
    start: Float[Array, "2"],
    lr: float = 0.1,
    steps: int = 10,
    order: Literal["simultaneous", "alternating"] = "simultaneous",
) -> Float[Array, "places 2"]:
    """Play min over x, max over y of xy by gradient steps; return all places (x, y).

    Eq. gan-bilinear. "alternating" lets y see the x that has just moved.
    """
    if order not in ("simultaneous", "alternating"):
        raise ValueError(f"expected simultaneous or alternating, got {order!r}")
    path = np.empty((steps + 1, 2))
    path[0] = x, y = start
    for t in range(1, steps + 1):
        old = x
        x = x - lr * y
        y = y + lr * (old if order == "simultaneous" else x)
        path[t] = x, y
    return path


def discriminator_features(x: Float[Array, " batch"]) -> Float[Array, "batch 3"]:
    """Return the columns 1, x and x squared (eq. gan-quadratic)."""
    return np.stack([np.ones_like(x), x, x**2], axis=1)


def gan_step(
    theta: Float[Array, "2"],
    phi: Float[Array, "3"],
    real: Float[Array, " batch"],
    z: Float[Array, "2 batch"],
    lr: float = 0.1,
    alpha: float = 0.9,
) -> tuple[Float[Array, "2"], Float[Array, "3"]]:
    """Let D take a step, then G one against the new D; return the new (theta, phi).

    G(z) is theta[0] + theta[1] z, the logit of D is features @ phi. D learns from
    the fakes of z[0], G from those of z[1], by the non-saturating loss. Eq. gan-step.
    """
    fake = theta[0] + theta[1] * z[0]  # for D these are data like any other
    on_real, on_fake = discriminator_features(real), discriminator_features(fake)
    _, cache = discriminator_loss_forward(on_real @ phi, on_fake @ phi, alpha)
    dreal, dfake = discriminator_loss_backward(np.array(1.0), cache)
    new_phi = phi - lr * (on_real.T @ dreal + on_fake.T @ dfake)

    fake = theta[0] + theta[1] * z[1]
    _, cache = generator_loss_forward(discriminator_features(fake) @ new_phi)
    dlogits = generator_loss_backward(np.array(1.0), cache)
    dx = dlogits * (new_phi[1] + 2 * new_phi[2] * fake)
    new_theta = theta - lr * np.array([dx.sum(), (dx * z[1]).sum()])
    return new_theta, new_phi


def train_gaussian(
    theta: Float[Array, "2"],
    real: Float[Array, "rounds steps batch"],
    z: Float[Array, "rounds steps+1 batch"],
    lr: Float[Array, "2"],
) -> tuple[Float[Scalar, ""], Float[Scalar, ""]]:
    """Train G(z) = theta[0] + theta[1] z until its fakes are like the data.

    In each round D takes its steps at the rate lr[0], each with a batch of data and
    fresh noise, and then G takes one at lr[1], with the last row of noise. D starts
    from zeros. Returns the last theta as mean and standard deviation. Eq. gan-step.
    """
    phi = np.zeros(3)
    for data, noise in zip(real, z, strict=True):
        for x, row in zip(data, noise[:-1], strict=True):
            fake = theta[0] + theta[1] * row
            both = discriminator_features(np.concatenate([x, fake]))
            dlogits = sigmoid(both @ phi)
            dlogits[: len(x)] -= 1
            phi = phi - lr[0] * both.T @ dlogits / len(x)
        fake = theta[0] + theta[1] * noise[-1]
        dlogits = -sigmoid(-discriminator_features(fake) @ phi) / len(fake)
        dx = dlogits * (phi[1] + 2 * phi[2] * fake)
        theta = theta - lr[1] * np.array([dx.sum(), (dx * noise[-1]).sum()])
    return theta[0], theta[1]


def mode_shares(
    samples: Float[Array, "n d"],
    centers: Float[Array, "modes d"],
    radius: float = 0.3,
) -> Float[Array, " modes"]:
    """Return the share of the samples within a radius of each center (eq. gan-modes).

    Centers must lie more than two radii apart for the shares to add up to what is good.
    """
    distance = np.linalg.norm(samples[:, None] - centers, axis=2)
    return (distance <= radius).mean(axis=0)


def explain_samples(
    samples: Float[Array, "runs n d"],
    centers: Float[Array, "modes d"],
    radius: float = 0.3,
) -> Int[Array, " runs"]:
    """Say from its samples what went wrong in each run.

    0: nothing; 1: modes are missing, fewer than 3/4 of them have 2 % of the samples;
    2: the generator never moved, all samples lie within the radius of the origin; 3: it
    found the modes, but fewer than 7 in 10 samples lie in one. Eq. gan-modes.
    """
    shares = np.array([mode_shares(run, centers, radius) for run in samples])
    good, found = shares.sum(axis=1), (shares >= 0.02).sum(axis=1)
    still = np.linalg.norm(samples, axis=2).max(axis=1) <= radius
    few = found < 0.75 * len(centers)
    return np.select([still, few, good < 0.7], [2, 1, 3], 0)
