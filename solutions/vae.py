"""The variational autoencoder: divergence, reparameterization, bounds, a linear VAE.

A Gaussian q(z | x) is given by its mean mu and the logarithm of its variance, logvar,
one of each for every latent. All bounds and divergences are in nats.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from solutions.activations import sigmoid

Array = np.ndarray
Scalar = np.ndarray | np.floating


def _check_shapes(arrays: dict[str, Array]) -> None:
    """Raise ValueError unless all arrays are of one shape and hold something."""
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or 0 in next(iter(shapes.values())):
        got = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"expected one shape without an empty axis, got {got}")


def kl_gaussian_forward(
    mu: Float[Array, "batch latent"],
    logvar: Float[Array, "batch latent"],
) -> tuple[Float[Array, " batch"], tuple]:
    """Return KL(N(mu, exp(logvar)) || N(0, 1)) of each row, summed over the latents.

    Eq. vae-kl; Kingma & Welling 2014.
    """
    _check_shapes({"mu": mu, "logvar": logvar})
    excess = np.expm1(logvar)  # sigma^2 - 1, all of its digits near sigma = 1
    kl = 0.5 * (mu**2 + excess - logvar).sum(axis=1)
    return kl, (mu, excess)


def kl_gaussian_backward(
    dkl: Float[Array, " batch"],
    cache: tuple,
) -> tuple[Float[Array, "batch latent"], Float[Array, "batch latent"]]:
    """Return (dmu, dlogvar) (eq. vae-kl-backward)."""
    mu, excess = cache
    return dkl[:, None] * mu, dkl[:, None] * 0.5 * excess


def reparameterize_forward(
    mu: Float[Array, "batch latent"],
    logvar: Float[Array, "batch latent"],
    eps: Float[Array, "batch latent"],
) -> tuple[Float[Array, "batch latent"], tuple]:
    """Turn standard normal noise into a sample of N(mu, exp(logvar)).

    Eq. vae-reparameterization; Kingma & Welling 2014.
    """
    _check_shapes({"mu": mu, "logvar": logvar, "eps": eps})
    sigma = np.exp(0.5 * logvar)
    z = mu + sigma * eps
    return z, (sigma, eps)


def reparameterize_backward(
    dz: Float[Array, "batch latent"],
    cache: tuple,
) -> tuple[
    Float[Array, "batch latent"],
    Float[Array, "batch latent"],
    Float[Array, "batch latent"],
]:
    """Return (dmu, dlogvar, deps) (eq. vae-reparameterization-backward)."""
    sigma, eps = cache
    dmu = dz.copy()
    dlogvar = 0.5 * dz * sigma * eps
    deps = dz * sigma
    return dmu, dlogvar, deps


def reparameterize_kl_forward(
    mu: Float[Array, "batch latent"],
    logvar: Float[Array, "batch latent"],
    eps: Float[Array, "batch latent"],
) -> tuple[Float[Array, "batch latent"], Float[Array, " batch"], tuple]:
    """Return a sample and the divergence of each row, as one kernel does.

    Eq. vae-reparameterization and eq. vae-kl.
    """
    z, of_z = reparameterize_forward(mu, logvar, eps)
    kl, of_kl = kl_gaussian_forward(mu, logvar)
    return z, kl, (of_z, of_kl)


def reparameterize_kl_backward(
    dz: Float[Array, "batch latent"],
    dkl: Float[Array, " batch"],
    cache: tuple,
) -> tuple[
    Float[Array, "batch latent"],
    Float[Array, "batch latent"],
    Float[Array, "batch latent"],
]:
    """Return (dmu, dlogvar, deps) of both ways (eq. vae-fused-backward)."""
    of_z, of_kl = cache
    dmu, dlogvar, deps = reparameterize_backward(dz, of_z)
    dmu_kl, dlogvar_kl = kl_gaussian_backward(dkl, of_kl)
    return dmu + dmu_kl, dlogvar + dlogvar_kl, deps


def negative_elbo_forward(
    decoded: Float[Array, "batch pixels"],
    x: Float[Array, "batch pixels"],
    mu: Float[Array, "batch latent"],
    logvar: Float[Array, "batch latent"],
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli",
    beta: float = 1.0,
) -> tuple[Float[Scalar, ""], tuple]:
    """Return the loss of a VAE: sum over pixels and latents, mean over the batch.

    Eq. vae-loss. decoded holds logits for "bernoulli", means for "gaussian", whose
    variance is 1. beta weighs the divergence; Higgins et al. 2017.
    """
    _check_shapes({"decoded": decoded, "x": x})
    if likelihood == "bernoulli":
        tail = np.log1p(np.exp(-np.abs(decoded)))
        nll = (np.maximum(decoded, 0) - decoded * x + tail).sum(axis=1)
    elif likelihood == "gaussian":
        nll = 0.5 * ((decoded - x) ** 2 + np.log(2 * np.pi)).sum(axis=1)
    else:
        raise ValueError(f"expected bernoulli or gaussian, got {likelihood!r}")
    kl, of_kl = kl_gaussian_forward(mu, logvar)
    _check_shapes({"log_likelihoods": nll, "divergences": kl})
    loss = (nll + beta * kl).mean()
    return loss, (decoded, x, likelihood, beta, of_kl)


def negative_elbo_backward(
    dloss: Float[Scalar, ""],
    cache: tuple,
) -> tuple[
    Float[Array, "batch pixels"],
    Float[Array, "batch pixels"],
    Float[Array, "batch latent"],
    Float[Array, "batch latent"],
]:
    """Return (ddecoded, dx, dmu, dlogvar) (eq. vae-loss-backward)."""
    decoded, x, likelihood, beta, of_kl = cache
    share = dloss / len(x)
    if likelihood == "bernoulli":
        ddecoded, dx = share * (sigmoid(decoded) - x), -share * decoded
    else:
        ddecoded, dx = share * (decoded - x), share * (x - decoded)
    dkl = np.full(len(x), share * beta)
    dmu, dlogvar = kl_gaussian_backward(dkl, of_kl)
    return ddecoded, dx, dmu, dlogvar


def kl_monte_carlo(
    mu: Float[Array, "batch latent"],
    logvar: Float[Array, "batch latent"],
    eps: Float[Array, "samples batch latent"],
) -> tuple[Float[Array, " batch"], Float[Array, " batch"]]:
    """Estimate the divergence of each row from samples, and the standard error of that.

    Eq. vae-kl-monte-carlo. Raises ValueError for fewer than two samples.
    """
    _check_shapes({"mu": mu, "logvar": logvar, "eps": eps[0] if len(eps) else eps})
    if len(eps) < 2:
        raise ValueError(f"expected two samples or more, got {len(eps)}")
    z = mu + np.exp(0.5 * logvar) * eps
    log_ratio = 0.5 * (z**2 - eps**2 - logvar).sum(axis=2)  # log q(z | x) - log p(z)
    estimate = log_ratio.mean(axis=0)
    error = log_ratio.std(axis=0, ddof=1) / np.sqrt(len(eps))
    return estimate, error


def iwae_bound(
    log_px: Float[Array, "samples batch"],
    mu: Float[Array, "batch latent"],
    logvar: Float[Array, "batch latent"],
    eps: Float[Array, "samples batch latent"],
) -> Float[Array, " batch"]:
    """Return the importance-weighted bound on log p(x) of each row.

    Eq. vae-iwae; Burda et al. 2016. log_px[k] is log p(x | z) at the k-th sample,
    z = mu + exp(logvar / 2) eps[k]. With one sample it is that sample's ELBO.
    """
    _check_shapes({"mu": mu, "logvar": logvar, "eps": eps[0] if len(eps) else eps})
    z = mu + np.exp(0.5 * logvar) * eps
    log_ratio = 0.5 * (z**2 - eps**2 - logvar).sum(axis=2)  # log q(z | x) - log p(z)
    _check_shapes({"log_px": log_px, "log_ratios": log_ratio})
    log_w = log_px - log_ratio
    top = log_w.max(axis=0)
    return top + np.log(np.exp(log_w - top).mean(axis=0))


def score_function_gradient(
    f: Float[Array, " samples"],
    logvar: Float[Array, " latent"],
    eps: Float[Array, "samples latent"],
) -> tuple[Float[Array, "samples latent"], Float[Array, "samples latent"]]:
    """Estimate the gradients of the mean of f at (mu, logvar), once from each sample.

    Eq. vae-score; Williams 1992. f[k] is the value at the k-th sample,
    z = mu + exp(logvar / 2) eps[k]; no derivative of f is needed.
    """
    dmu = f[:, None] * eps * np.exp(-0.5 * logvar)
    dlogvar = f[:, None] * 0.5 * (eps**2 - 1)
    return dmu, dlogvar


def train_linear_vae(
    x: Float[Array, "batch pixels"],
    W_mu: Float[Array, "pixels latent"],
    logvar: Float[Array, " latent"],
    W_out: Float[Array, "latent pixels"],
    b_out: Float[Array, " pixels"],
    eps: Float[Array, "steps batch latent"],
    rate: float = 0.1,
) -> tuple[
    Float[Array, "pixels latent"],
    Float[Array, " latent"],
    Float[Array, "latent pixels"],
    Float[Array, " pixels"],
    Float[Array, " steps"],
]:
    """Train a VAE of linear encoder and decoder; return its parameters and losses.

    Eq. vae-training; Lucas et al. 2019. All images share one logvar. Each step takes
    all of x and its own noise. Raises ValueError where a pixel leaves [0, 1].
    """
    if not ((x >= 0) & (x <= 1)).all():
        low, high = np.min(x), np.max(x)
        raise ValueError(f"expected pixels in [0, 1], got {low:g} to {high:g}")
    centered, losses = x - x.mean(axis=0), np.empty(len(eps))
    for step in range(len(eps)):
        mu = centered @ W_mu
        spread = np.broadcast_to(logvar, mu.shape)
        z, of_z = reparameterize_forward(mu, spread, eps[step])
        logits = z @ W_out + b_out
        losses[step], of_loss = negative_elbo_forward(logits, x, mu, spread)
        dlogits, _, dmu, dlogvar = negative_elbo_backward(np.float64(1), of_loss)
        dmu_z, dlogvar_z, _ = reparameterize_backward(dlogits @ W_out.T, of_z)
        W_mu = W_mu - rate * centered.T @ (dmu + dmu_z)
        logvar = logvar - rate * (dlogvar + dlogvar_z).sum(axis=0)
        W_out = W_out - rate * z.T @ dlogits
        b_out = b_out - rate * dlogits.sum(axis=0)
    return W_mu, logvar, W_out, b_out, losses


def explain_vae(
    nll_sampled: Float[Array, " runs"],
    nll_mean: Float[Array, " runs"],
    kl: Float[Array, " runs"],
    baseline: Float[Array, " runs"],
) -> Int[Array, " runs"]:
    """Say what each trained VAE suffers from, by its account in nats an image.

    0: nothing; 1: the posterior collapsed; 2: it was trained without noise; 3: the
    divergence did not count, so that the bound is no better than the best fixed image.
    Eq. vae-account.
    """
    collapsed = kl < 0.1
    noise_is_news = (nll_sampled > baseline) & (nll_mean < baseline)
    spends_too_much = nll_sampled + kl > baseline
    return np.select([collapsed, noise_is_news, spends_too_much], [1, 2, 3], 0)
