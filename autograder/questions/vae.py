"""The questions about the variational autoencoder, each with the mistakes that are known by name.

A mistake is an edit of the reference's source. The kernel's are edits of the walk over rows below, which computes
what the kernel computes.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from autograder.question import (
    Draw,
    Mistake,
    Question,
    backward_slip,
    from_signature,
    slip,
    with_inputs,
)
from solutions.vae import (
    explain_vae,
    iwae_bound,
    kl_gaussian_backward,
    kl_gaussian_forward,
    kl_monte_carlo,
    negative_elbo_backward,
    negative_elbo_forward,
    reparameterize_backward,
    reparameterize_forward,
    train_linear_vae,
)

Array = np.ndarray[Any, Any]

TORCH = ("torch",)
ONE = {"batch": 1}

# --- the divergence ---------------------------------------------------------------------------------------------


def kl_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, kl_gaussian_forward, *edits)


TERMS, SUMMED = "0.5 * (mu**2 + excess - logvar)", ".sum(axis=1)"

KL = Question(
    name="kl_gaussian_forward",
    reference=(kl_gaussian_forward,),
    outputs=("kl",),
    mistakes={
        "sign": kl_slip(
            "the sign is wrong: a divergence is never negative, and yours is never positive. The sheet's formula has "
            "its minus sign inside, and the divergence is subtracted from the ELBO, so the loss adds it",
            ("0.5 * (mu", "-0.5 * (mu"),
        ),
        "mean over the latents": kl_slip(
            "latents are independent, so their divergences add up; yours is the mean over them, which makes the "
            "divergence count less the more latents there are",
            (SUMMED, ".mean(axis=1)"),
        ),
        "sum over the batch": kl_slip(
            "the sum runs over the wrong axis: one number for each row, summed over the latents (axis 1); yours has "
            "one for each latent, summed over the batch",
            (SUMMED, ".sum(axis=0)"),
        ),
        "one number for the batch": kl_slip(
            "yours is a single number, summed over rows and latents: keep one divergence for each row. The loss takes "
            "their mean later",
            (SUMMED, ".sum()"),
        ),
        "logvar taken for sigma": kl_slip(
            "you take logvar for the standard deviation itself. It is the logarithm of the variance: sigma**2 is "
            "exp(logvar)",
            (TERMS, "0.5 * (mu**2 + logvar**2 - 1 - np.log(logvar**2))"),
        ),
        "logvar taken for the variance": kl_slip(
            "you take logvar for the variance itself. It is its logarithm: sigma**2 is exp(logvar), and log(sigma**2) "
            "is logvar as it stands",
            (TERMS, "0.5 * (mu**2 + logvar - 1 - np.log(np.abs(logvar)))"),
        ),
        "logvar taken for log sigma": kl_slip(
            "you take logvar for log(sigma), so that its double enters; it is log(sigma**2), the logarithm of the "
            "variance",
            (TERMS, "0.5 * (mu**2 + np.exp(2 * logvar) - 1 - 2 * logvar)"),
        ),
        "sigma in place of its square": kl_slip(
            "the term behind mu**2 is the variance, exp(logvar); yours is the standard deviation, exp(logvar / 2)",
            (TERMS, "0.5 * (mu**2 + np.exp(0.5 * logvar) - 1 - logvar)"),
        ),
        "no half": kl_slip(
            "yours is twice the right divergence: the factor 1/2, which comes from the exponent of the Gaussian, is "
            "missing",
            ("0.5 * (mu", "(mu"),
        ),
        "no minus one": kl_slip(
            "at mu = 0 and logvar = 0 the divergence must be 0; yours is 1/2 for each latent: subtract the 1",
            (TERMS, "0.5 * (mu**2 + excess + 1 - logvar)"),
        ),
        "sign of logvar": kl_slip(
            "logvar enters with a minus: with a plus, the divergence of a narrow q is negative",
            ("- logvar", "+ logvar"),
        ),
        "logvar left out": kl_slip(
            "the term -logvar is missing: without it, a narrow q costs nothing, or less", (" - logvar", "")
        ),
        "mu not squared": kl_slip("the mean enters squared; yours enters as it is", ("mu**2", "mu")),
        "the other direction": kl_slip(
            "this is the divergence of the prior from q, KL(p || q); asked for is KL(q || p), whose mean is taken "
            "under q. A divergence is not symmetric",
            (TERMS, "0.5 * ((mu**2 + 1) * np.exp(-logvar) - 1 + logvar)"),
        ),
    },
    edges={
        "a batch of one": from_signature(kl_gaussian_forward, sizes=ONE),
        "at the prior, where it is 0": with_inputs(from_signature(kl_gaussian_forward), mu=0.0, logvar=0.0),
        "very narrow": with_inputs(from_signature(kl_gaussian_forward), logvar=-30.0),
        "very wide": with_inputs(from_signature(kl_gaussian_forward), logvar=9.0),
    },
    forbid=TORCH,
)


def kl_backward_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, kl_gaussian_forward, kl_gaussian_backward, *edits)


DMU, DLOGVAR = "dkl[:, None] * mu", "dkl[:, None] * 0.5 * excess"

KL_BACKWARD = Question(
    name="kl_gaussian_backward",
    reference=(kl_gaussian_forward, kl_gaussian_backward),
    outputs=("dmu", "dlogvar"),
    mistakes={
        "gradient at the variance": kl_backward_slip(
            "dlogvar is the gradient at sigma**2, (1 - 1 / sigma**2) / 2; asked for is the one at its logarithm, which "
            "has a factor sigma**2 more",
            (DLOGVAR, "dkl[:, None] * 0.5 * excess / (1 + excess)"),
        ),
        "gradient at sigma": kl_backward_slip(
            "dlogvar is the gradient at sigma, sigma - 1 / sigma; asked for is the one at logvar, which has a factor "
            "sigma / 2 more",
            (DLOGVAR, "dkl[:, None] * excess / np.sqrt(1 + excess)"),
        ),
        "no half": kl_backward_slip(
            "dlogvar is twice what it should be: (sigma**2 - 1) / 2, since the 1/2 of the divergence finds no square "
            "to cancel against, as it does at mu",
            (DLOGVAR, "dkl[:, None] * excess"),
        ),
        "half at mu": kl_backward_slip(
            "dmu is half of what it should be: the 2 from the square of mu cancels the 1/2",
            (DMU, "dkl[:, None] * 0.5 * mu"),
        ),
        "sign of dlogvar": kl_backward_slip(
            "dlogvar has the wrong sign: where sigma is above 1 the divergence grows with it, so it is (sigma**2 - 1) "
            "/ 2",
            (DLOGVAR, "dkl[:, None] * -0.5 * excess"),
        ),
        "sign": kl_backward_slip(
            "both gradients have the wrong sign: the divergence grows as mu leaves 0, so dmu has the sign of mu",
            (DMU, "-dkl[:, None] * mu"),
            (DLOGVAR, "dkl[:, None] * -0.5 * excess"),
        ),
        "no minus one": kl_backward_slip(
            "dlogvar must be 0 at sigma = 1, where the divergence has its minimum: subtract the 1, the derivative of "
            "-logvar",
            (DLOGVAR, "dkl[:, None] * 0.5 * (excess + 1)"),
        ),
        "dkl ignored": kl_backward_slip(
            "each row's gradients are multiplied by what arrives for that row, dkl; yours are those of the plain sum",
            (DMU, "np.ones_like(dkl)[:, None] * mu"),
            (DLOGVAR, "np.ones_like(dkl)[:, None] * 0.5 * excess"),
        ),
    },
    edges={
        "a batch of one": from_signature(kl_gaussian_forward, sizes=ONE),
        "at the prior, where both are 0": with_inputs(from_signature(kl_gaussian_forward), mu=0.0, logvar=0.0),
        "very narrow": with_inputs(from_signature(kl_gaussian_forward), logvar=-30.0),
        "very wide": with_inputs(from_signature(kl_gaussian_forward), logvar=9.0),
    },
    forbid=TORCH,
)

# --- the sample -------------------------------------------------------------------------------------------------


def sample_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, reparameterize_forward, *edits)


SIGMA, SAMPLE = "np.exp(0.5 * logvar)", "mu + sigma * eps"
SAMPLE_EDGES: dict[str, Draw] = {
    "a batch of one": from_signature(reparameterize_forward, sizes=ONE),
    "no noise": with_inputs(from_signature(reparameterize_forward), eps=0.0),
    "very narrow": with_inputs(from_signature(reparameterize_forward), logvar=-60.0),
    "very wide": with_inputs(from_signature(reparameterize_forward), logvar=9.0),
}

REPARAMETERIZE = Question(
    name="reparameterize_forward",
    reference=(reparameterize_forward,),
    outputs=("z",),
    mistakes={
        "variance for sigma": sample_slip(
            "the noise is scaled by the variance, exp(logvar); scale it by the standard deviation, exp(logvar / 2)",
            (SIGMA, "np.exp(logvar)"),
        ),
        "half outside the exponential": sample_slip(
            "the half belongs inside the exponential: sigma is exp(logvar / 2), the root of the variance, not "
            "exp(logvar) / 2",
            (SIGMA, "0.5 * np.exp(logvar)"),
        ),
        "logvar for sigma": sample_slip(
            "the noise is scaled by logvar itself, which may be negative; sigma is exp(logvar / 2)",
            (SIGMA, "logvar"),
        ),
        "half of logvar for sigma": sample_slip(
            "the exponential is missing: logvar / 2 is the logarithm of sigma",
            (SIGMA, "0.5 * logvar"),
        ),
        "one over sigma": sample_slip(
            "the noise is divided by sigma: a wide q must spread its samples, not gather them",
            (SIGMA, "np.exp(-0.5 * logvar)"),
        ),
        "no noise": sample_slip(
            "this is the mean, not a sample: without the noise, a VAE is an ordinary autoencoder, and what its decoder "
            "makes of the prior is noise",
            (SAMPLE, "mu + 0 * eps"),
        ),
        "no mean": sample_slip("the sample lies around 0: add the mean mu", (SAMPLE, "sigma * eps")),
        "mean scaled too": sample_slip(
            "only the noise is scaled by sigma; yours scales the mean as well", (SAMPLE, "sigma * (mu + eps)")
        ),
    },
    edges=SAMPLE_EDGES,
    forbid=TORCH,
)


def sample_backward_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, reparameterize_forward, reparameterize_backward, *edits)


DLOGVAR_OF_Z = "dlogvar = 0.5 * dz * sigma * eps"

REPARAMETERIZE_BACKWARD = Question(
    name="reparameterize_backward",
    reference=(reparameterize_forward, reparameterize_backward),
    outputs=("dmu", "dlogvar", "deps"),
    mistakes={
        "no half": sample_backward_slip(
            "dlogvar is twice what it should be: the derivative of exp(logvar / 2) has the inner derivative 1/2",
            (DLOGVAR_OF_Z, "dlogvar = dz * sigma * eps"),
        ),
        "gradient at sigma": sample_backward_slip(
            "dlogvar is the gradient at sigma, dz * eps; go on through sigma = exp(logvar / 2), whose derivative is "
            "sigma / 2",
            (DLOGVAR_OF_Z, "dlogvar = dz * eps"),
        ),
        "variance for sigma": sample_backward_slip(
            "dlogvar has the variance where the standard deviation belongs: dz * eps * sigma / 2",
            (DLOGVAR_OF_Z, "dlogvar = 0.5 * dz * sigma**2 * eps"),
        ),
        "noise forgotten": sample_backward_slip(
            "dlogvar lacks the noise: sigma is multiplied by eps on the way to z, so its gradient is too",
            (DLOGVAR_OF_Z, "dlogvar = 0.5 * dz * sigma"),
        ),
        "no way through the noise": sample_backward_slip(
            "dlogvar is 0, as if z were cut off from it. That is the point of the reparameterization: the sample is a "
            "differentiable function of mu and logvar",
            (DLOGVAR_OF_Z, "dlogvar = 0 * dz"),
        ),
        "mean scaled": sample_backward_slip(
            "the mean goes into z as it is, so dmu is dz; yours is multiplied by sigma",
            ("dmu = dz.copy()", "dmu = dz * sigma"),
        ),
        "deps without sigma": sample_backward_slip(
            "deps is dz * sigma: the noise is scaled by sigma on the way to z",
            ("deps = dz * sigma", "deps = dz.copy()"),
        ),
    },
    edges=SAMPLE_EDGES,
    forbid=TORCH,
)

# --- the loss ---------------------------------------------------------------------------------------------------


def images(likelihood: str, beta: float = 1.0, size: float = 0.0, batch: int | None = None) -> Draw:
    """What the loss takes: logits or means, ordinary ones or ± a size, and pixels, of which some are 0 or 1."""
    sizes = {"batch": batch} if batch else None

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        inputs = from_signature(negative_elbo_forward, sizes=sizes)(rng)
        decoded, pixels = (np.asarray(inputs[name]) for name in ("decoded", "x"))
        pixels = np.round(4 * rng.random(pixels.shape)) / 4
        if size:
            decoded = size * np.sign(decoded)
            decoded.flat[0], pixels.flat[0] = -size, 0.0  # right and certain: 0 times log 0 for who computes that
        return {**inputs, "decoded": decoded, "x": pixels, "likelihood": likelihood, "beta": beta}

    return make


LOSS_DRAWS = {
    "Bernoulli": images("bernoulli"),
    "Gaussian": images("gaussian"),
    "Bernoulli, beta 4": images("bernoulli", 4.0),
}
LOSS_EDGES = {
    "a batch of one": images("bernoulli", batch=1),
    "logits at ±1000": images("bernoulli", size=1e3),
    "beta 0": images("gaussian", 0.0),
}


def loss_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, negative_elbo_forward, *edits)


REDUCED = "(nll + beta * kl).mean()"

NEGATIVE_ELBO = Question(
    name="negative_elbo_forward",
    reference=(negative_elbo_forward,),
    outputs=("loss",),
    by_draw=True,
    draws=LOSS_DRAWS,
    mistakes={
        "mean over the pixels": loss_slip(
            "the likelihood is averaged over the pixels; their logarithms add up. With the mean, the divergence weighs "
            "as many times too much as there are pixels, and the posterior collapses",
            (REDUCED, "(nll / x.shape[1] + beta * kl).mean()"),
        ),
        "mean of everything": loss_slip(
            "likelihood and divergence are both averaged over everything: sum over pixels, sum over latents, and take "
            "the mean over the batch only",
            (REDUCED, "(nll / x.shape[1] + beta * kl / mu.shape[1]).mean()"),
        ),
        "mean over the latents": loss_slip(
            "the divergence is averaged over the latents; it is their sum. The likelihood is right",
            (REDUCED, "(nll + beta * kl / mu.shape[1]).mean()"),
        ),
        "sum over the batch": loss_slip(
            "yours is the sum over the batch; divide it by the number of rows, so that the learning rate does not "
            "depend on it",
            (REDUCED, "(nll + beta * kl).sum()"),
        ),
        "divergence subtracted": loss_slip(
            "the loss rewards a large divergence: the ELBO subtracts it, and the loss, minus the ELBO, adds it",
            (REDUCED, "(nll - beta * kl).mean()"),
        ),
        "the bound itself": loss_slip(
            "this is the ELBO, which is maximized (the sheet calls it a loss); the loss is minus that",
            (REDUCED, "-(nll + beta * kl).mean()"),
        ),
        "likelihood subtracted": loss_slip(
            "the divergence is right, but the log-likelihood enters with the wrong sign: a picture that is decoded "
            "well must cost less",
            (REDUCED, "(beta * kl - nll).mean()"),
        ),
        "no divergence": loss_slip(
            "the divergence is missing: without it, this is an ordinary autoencoder with noise, which makes q narrow "
            "and spreads the means",
            (REDUCED, "nll.mean()"),
        ),
        "beta ignored": loss_slip("beta has no effect: it multiplies the divergence", ("beta * kl).mean", "kl).mean")),
        "beta on the likelihood": loss_slip(
            "beta multiplies the divergence; yours multiplies the likelihood", (REDUCED, "(beta * nll + kl).mean()")
        ),
        "squared error without a half": loss_slip(
            "Gaussian: the logarithm of the density has the squared error halved. Without the half, the divergence "
            "counts half as much",
            ("0.5 * ((decoded - x) ** 2 + np.log(2 * np.pi))", "((decoded - x) ** 2 + 0.5 * np.log(2 * np.pi))"),
        ),
        "no constant": loss_slip(
            "Gaussian: the constant log(2 pi) / 2 of each pixel is missing. It moves no gradient, but without it the "
            "number is no bound on log p(x)",
            ("((decoded - x) ** 2 + np.log(2 * np.pi))", "((decoded - x) ** 2)"),
        ),
        "one constant for the image": loss_slip(
            "Gaussian: the constant log(2 pi) / 2 belongs to the density of each pixel; yours is added once for each "
            "image",
            (
                "0.5 * ((decoded - x) ** 2 + np.log(2 * np.pi)).sum(axis=1)",
                "0.5 * ((decoded - x) ** 2).sum(axis=1) + 0.5 * np.log(2 * np.pi)",
            ),
        ),
        "always Bernoulli": loss_slip(
            "`likelihood` has no effect: yours is always the Bernoulli one",
            ('likelihood == "bernoulli"', 'likelihood in ("bernoulli", "gaussian")'),
        ),
        "squared error for Bernoulli": loss_slip(
            "Bernoulli: decoded holds logits, and the likelihood is the binary cross-entropy; yours compares their "
            "sigmoid with the pixels by a squared error",
            (
                "(np.maximum(decoded, 0) - decoded * x + tail).sum(axis=1)",
                "((sigmoid(decoded) - x) ** 2 + 0 * tail).sum(axis=1)",
            ),
        ),
        "overflow": loss_slip(
            "an exponential of a large logit overflows: log(1 + exp(z)) is max(z, 0) + log(1 + exp(-|z|))",
            ("np.maximum(decoded, 0) - decoded * x + tail", "np.log(1 + np.exp(decoded)) - decoded * x + 0 * tail"),
        ),
        "logarithms of probabilities": loss_slip(
            "a sigmoid that is exactly 0 or 1 has no logarithm: compute the cross-entropy from the logits",
            (
                "(np.maximum(decoded, 0) - decoded * x + tail)",
                "-(x * np.log(sigmoid(decoded)) + (1 - x) * np.log(1 - sigmoid(decoded)) + 0 * tail)",
            ),
        ),
    },
    edges=LOSS_EDGES,
    forbid=TORCH,
)


def loss_backward_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return backward_slip(message, negative_elbo_forward, negative_elbo_backward, *edits)


OF_BERNOULLI = "share * (sigmoid(decoded) - x), -share * decoded"
OF_GAUSSIAN = "share * (decoded - x), share * (x - decoded)"

NEGATIVE_ELBO_BACKWARD = Question(
    name="negative_elbo_backward",
    reference=(negative_elbo_forward, negative_elbo_backward),
    outputs=("ddecoded", "dx", "dmu", "dlogvar"),
    draws=LOSS_DRAWS,
    mistakes={
        "sum over the batch": loss_backward_slip(
            "all gradients are too large by the size of the batch: the loss is the mean over the rows",
            ("dloss / len(x)", "dloss"),
        ),
        "mean over the pixels": loss_backward_slip(
            "the gradients of the likelihood are divided by the number of pixels; it is summed over them. The "
            "divergence then outweighs it, and the posterior collapses",
            (OF_BERNOULLI, "share / x.shape[1] * (sigmoid(decoded) - x), -share / x.shape[1] * decoded"),
            (OF_GAUSSIAN, "share / x.shape[1] * (decoded - x), share / x.shape[1] * (x - decoded)"),
        ),
        "divergence not averaged": loss_backward_slip(
            "the gradients at mu and logvar are too large by the size of the batch: the divergence is averaged over "
            "the rows too",
            ("share * beta", "dloss * beta"),
        ),
        "beta ignored": loss_backward_slip(
            "the gradients at mu and logvar lack the factor beta", ("share * beta", "share")
        ),
        "sign of the likelihood": loss_backward_slip(
            "ddecoded and dx have the wrong sign: the loss has minus the log-likelihood, so ddecoded is prediction "
            "minus pixel",
            (OF_BERNOULLI, "share * (x - sigmoid(decoded)), share * decoded"),
            (OF_GAUSSIAN, "share * (x - decoded), share * (decoded - x)"),
        ),
        "sign of the divergence": loss_backward_slip(
            "the gradients at mu and logvar have the wrong sign: the loss adds the divergence, so a step must bring mu "
            "towards 0",
            ("share * beta", "-share * beta"),
        ),
        "sign of dx": loss_backward_slip(
            "Bernoulli: dx has the wrong sign. A pixel stands in one term of the loss only, - decoded * x, so dx has "
            "minus the logit",
            ("-share * decoded", "share * decoded"),
        ),
        "logits for probabilities": loss_backward_slip(
            "Bernoulli: ddecoded is sigmoid(decoded) minus the pixel; yours has the logit itself",
            ("sigmoid(decoded) - x", "decoded - x"),
        ),
        "twice the squared error": loss_backward_slip(
            "Gaussian: the 2 from the square cancels the 1/2 of the density; your gradients are twice the right ones",
            (OF_GAUSSIAN, "2 * share * (decoded - x), 2 * share * (x - decoded)"),
        ),
        "dloss ignored": loss_backward_slip(
            "multiply by dloss, the gradient that arrives; yours are the gradients for dloss = 1",
            ("dloss / len(x)", "1 / len(x) + 0 * dloss"),
        ),
    },
    edges=LOSS_EDGES,
    forbid=TORCH,
)

# --- by sampling ------------------------------------------------------------------------------------------------


def estimate_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, kl_monte_carlo, *edits)


def several(samples: int, size: float = 1.0) -> Draw:
    """Means, logarithms of variances, and noise for so many samples."""
    return from_signature(kl_monte_carlo, sizes={"samples": samples}, scale=size)


LOG_RATIO, ERROR = "0.5 * (z**2 - eps**2 - logvar)", "log_ratio.std(axis=0, ddof=1) / np.sqrt(len(eps))"

KL_MONTE_CARLO = Question(
    name="kl_monte_carlo",
    reference=(kl_monte_carlo,),
    outputs=("estimate", "error"),
    draws={f"{samples} samples": several(samples) for samples in (12, 25, 50)},
    mistakes={
        "ratio inverted": estimate_slip(
            "the ratio is upside down: the divergence is the mean of log q - log p under q, and yours is that of log p "
            "- log q, its opposite",
            ("log_ratio.mean(axis=0)", "-log_ratio.mean(axis=0)"),
        ),
        "samples of the prior": estimate_slip(
            "the samples must come from q, z = mu + sigma * eps; yours are the noise itself, samples of the prior",
            (
                LOG_RATIO + ".sum(axis=2)",
                "0.5 * (eps**2 - ((eps - mu) * np.exp(-0.5 * logvar)) ** 2 - logvar).sum(axis=2)",
            ),
        ),
        "variance for sigma": estimate_slip(
            "the noise is scaled by exp(logvar), the variance: z is mu + sigma * eps, with sigma = exp(logvar / 2)",
            ("np.exp(0.5 * logvar)", "np.exp(logvar)"),
        ),
        "normalizer forgotten": estimate_slip(
            "log q(z) contains -logvar / 2, the logarithm of its normalizer; without it, a narrow q looks no denser "
            "than a wide one",
            (LOG_RATIO, "0.5 * (z**2 - eps**2)"),
        ),
        "mean over the latents": estimate_slip(
            "the logarithms of the latents' densities add up; yours are averaged", (".sum(axis=2)", ".mean(axis=2)")
        ),
        "no half": estimate_slip(
            "both are twice what they should be: the exponent of a Gaussian is -z**2 / 2", ("0.5 * (z**2", "(z**2")
        ),
        "spread of single samples": estimate_slip(
            "your error is the standard deviation of a single log ratio; that of the mean is smaller by the root of "
            "the number of samples",
            (ERROR, "log_ratio.std(axis=0, ddof=1)"),
        ),
        "divided by the number of samples": estimate_slip(
            "the error of a mean falls with the root of the number of samples; yours is divided by the number itself",
            (ERROR, "log_ratio.std(axis=0, ddof=1) / len(eps)"),
        ),
        "variance of the mean": estimate_slip(
            "your error is a variance: take its square root", (ERROR, "log_ratio.var(axis=0, ddof=1) / len(eps)")
        ),
        "divided by n in the spread": estimate_slip(
            "the spread of a sample around its own mean is divided by n - 1 (ddof=1); yours is divided by n, and too "
            "small",
            ("ddof=1", "ddof=0"),
        ),
    },
    edges={
        "a batch of one": from_signature(kl_monte_carlo, sizes={"samples": 12, "batch": 1}),
        "two samples": several(2),
        "q is the prior": with_inputs(several(12), mu=0.0, logvar=0.0),
    },
    forbid=TORCH,
)


def likelihoods(samples: int, around: float = -20.0, batch: int | None = None, apart: float = 0.0) -> Draw:
    """Log-likelihoods of so many samples around a number, as those of an image are; every other row lies apart."""
    sizes = {"samples": samples} | ({"batch": batch} if batch else {})

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        inputs = from_signature(iwae_bound, sizes=sizes)(rng)
        log_px = around + 2 * np.asarray(inputs["log_px"])
        log_px[:, ::2] += apart
        return {**inputs, "log_px": log_px}

    return make


def bound_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, iwae_bound, *edits)


BOUND = "top + np.log(np.exp(log_w - top).mean(axis=0))"

IWAE_BOUND = Question(
    name="iwae_bound",
    reference=(iwae_bound,),
    outputs=("bound",),
    draws={f"{samples} samples": likelihoods(samples) for samples in (6, 12, 25)},
    mistakes={
        "mean of the logarithms": bound_slip(
            "this is the mean of the logarithms, the plain ELBO: more samples steady it and do not raise it. Take the "
            "logarithm of the mean of the weights",
            (BOUND, "log_w.mean(axis=0)"),
        ),
        "sum for mean": bound_slip(
            "the logarithm of the sum is too large by the logarithm of the number of samples, and no bound at all: "
            "divide by it",
            (".mean(axis=0))", ".sum(axis=0))"),
        ),
        "largest not added back": bound_slip(
            "the largest log weight was subtracted before the exponential: add it after the logarithm",
            (BOUND, "np.log(np.exp(log_w - top).mean(axis=0))"),
        ),
        "one largest for all rows": bound_slip(
            "you subtract the largest log weight of the whole batch, so that all weights of a row far below it become "
            "0: each row has a largest of its own",
            ("log_w.max(axis=0)", "log_w.max()"),
        ),
        "likelihood only": bound_slip(
            "the weights lack the factor p(z) / q(z | x): samples come from q, the integral is over the prior",
            ("log_w = log_px - log_ratio", "log_w = log_px"),
        ),
        "ratio inverted": bound_slip(
            "the weights have q(z | x) / p(z) where p(z) / q(z | x) belongs",
            ("log_px - log_ratio", "log_px + log_ratio"),
        ),
        "the mean divergence": bound_slip(
            "every sample gets the same divergence, the mean over q; a weight takes log q - log p at its own sample",
            (
                "log_w = log_px - log_ratio",
                "log_w = log_px - 0.5 * (mu**2 + np.exp(logvar) - 1 - logvar).sum(axis=1)",
            ),
        ),
        "the best sample": bound_slip(
            "this is the largest weight alone; the others count too", (BOUND, "log_w.max(axis=0)")
        ),
        "overflow": bound_slip(
            "the exponential of a log weight around -1000 is 0, and of one around 1000 infinite: subtract the largest "
            "before, add it after the logarithm",
            (BOUND, "np.log(np.exp(log_w).mean(axis=0))"),
        ),
    },
    edges={
        "one sample, which gives its ELBO": likelihoods(1),
        "a batch of one": likelihoods(6, batch=1),
        "log-likelihoods around -1000": likelihoods(6, around=-1e3),
        "log-likelihoods around 1000": likelihoods(6, around=1e3),
        "both in one batch": likelihoods(6, around=-1e3, batch=4, apart=2e3),
    },
    forbid=TORCH,
)

# --- training ---------------------------------------------------------------------------------------------------


def pictures(steps: int, rate: float, **sizes: int) -> Draw:
    """Pixels between 0 and 1, small weights, and noise for so many steps."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        inputs = from_signature(train_linear_vae, sizes={"steps": steps, **sizes}, scale=0.5)(rng)
        pixels = np.round(4 * rng.random(np.asarray(inputs["x"]).shape)) / 4
        return {**inputs, "x": pixels, "eps": 2 * np.asarray(inputs["eps"]), "rate": rate}

    return make


def train_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, train_linear_vae, *edits)


AT_LOSS = "negative_elbo_forward(logits, x, mu, spread)"
AT_BACKWARD = "negative_elbo_backward(np.float64(1), of_loss)"
STEP_OF_MU, STEP_OF_LOGVAR = "centered.T @ (dmu + dmu_z)", "(dlogvar + dlogvar_z).sum(axis=0)"
STEP_OF_OUT = "        W_out = W_out - rate * z.T @ dlogits\n"

TRAIN = Question(
    name="train_linear_vae",
    reference=(train_linear_vae,),
    outputs=("W_mu", "logvar", "W_out", "b_out", "losses"),
    draws={
        "5 steps": pictures(5, 0.2),
        "7 steps": pictures(7, 0.1),
        "3 steps": pictures(3, 0.3),
    },
    mistakes={
        "mean over the pixels": train_slip(
            "posterior collapse: check reductions. Your likelihood is averaged over the pixels, so that the divergence "
            "outweighs it and the latents end up unused; sum over the pixels",
            (AT_LOSS, "negative_elbo_forward(logits, x, mu, spread, beta=float(x.shape[1]))"),
            (AT_BACKWARD, "negative_elbo_backward(np.float64(1 / x.shape[1]), of_loss)"),
            ("return W_mu, logvar, W_out, b_out, losses", "return W_mu, logvar, W_out, b_out, losses / x.shape[1]"),
        ),
        "no sampling": train_slip(
            "no sampling at training time: z is the mean. The ELBO that you report rises, but the decoder has never "
            "seen the space between the means, and what it makes of the prior's samples is noise",
            ("eps[step])", "0 * eps[step])"),
        ),
        "the same noise in every step": train_slip(
            "every step uses the noise of the first one: the decoder learns these samples by heart. Step t takes "
            "eps[t]",
            ("eps[step])", "eps[0])"),
        ),
        "no divergence on the way back": train_slip(
            "the gradient of the divergence does not reach mu and logvar: add it to what comes through z",
            (STEP_OF_MU, "centered.T @ dmu_z"),
            (STEP_OF_LOGVAR, "dlogvar_z.sum(axis=0)"),
        ),
        "nothing through z": train_slip(
            "only the divergence moves mu and logvar, so that the posterior can but collapse: the gradient of the "
            "likelihood comes back through z",
            (STEP_OF_MU, "centered.T @ dmu"),
            (STEP_OF_LOGVAR, "dlogvar.sum(axis=0)"),
        ),
        "logvar averaged": train_slip(
            "all rows share one logvar, so its gradient is their sum (the mean over the batch is in the loss already); "
            "yours is divided by the size of the batch once more",
            ("dlogvar_z).sum(axis=0)", "dlogvar_z).mean(axis=0)"),
        ),
        "pixels not centered": train_slip(
            "the encoder reads x minus the mean image; yours reads x as it is",
            ("x - x.mean(axis=0)", "x + 0"),
        ),
        "decoder stepped too early": train_slip(
            "the gradient at z was taken with the new W_out: compute all gradients of a step before any parameter "
            "moves",
            (STEP_OF_OUT, ""),
            (
                f"dlogits, _, dmu, dlogvar = {AT_BACKWARD}",
                f"dlogits, _, dmu, dlogvar = {AT_BACKWARD}\n        W_out = W_out - rate * z.T @ dlogits",
            ),
        ),
        "uphill": train_slip(
            "your parameters climb: the loss is minus the ELBO, and a step goes against its gradient",
            ("np.float64(1), of_loss)", "np.float64(-1), of_loss)"),
        ),
        "sum over the batch": train_slip(
            "your steps are too large by the size of the batch: the loss is the mean over the rows",
            ("np.float64(1), of_loss)", "np.float64(len(x)), of_loss)"),
        ),
        "averaged twice": train_slip(
            "your steps are too small by the size of the batch: the mean over the rows is in the loss already, and so "
            "in its gradients",
            ("np.float64(1), of_loss)", "np.float64(1 / len(x)), of_loss)"),
        ),
        "mean over all pixels": train_slip(
            "the mean image has a mean for each pixel, x.mean(axis=0); yours subtracts a single number",
            ("x.mean(axis=0)", "x.mean()"),
        ),
        "W_mu by x as it is": train_slip(
            "the gradient of W_mu has x as it is: W_mu multiplies x minus the mean image, so that belongs into its "
            "gradient too",
            (STEP_OF_MU, "x.T @ (dmu + dmu_z)"),
        ),
        "b_out stays": train_slip(
            "the bias of the decoder never moves: its gradient is the sum of dlogits over the rows",
            ("b_out - rate * dlogits.sum(axis=0)", "b_out"),
        ),
        "losses with the sign of the bound": train_slip(
            "the parameters are right; the losses are ELBOs, of the opposite sign",
            ("return W_mu, logvar, W_out, b_out, losses", "return W_mu, logvar, W_out, b_out, -losses"),
        ),
    },
    edges={
        "one step": pictures(1, 0.2),
        "no learning, rate 0": pictures(3, 0.0),
        "one latent": pictures(5, 0.2, latent=1),
    },
    seconds=20.0,
    forbid=TORCH,
)

# --- finding what is wrong --------------------------------------------------------------------------------------

CAUSES = 4
WORSE = 4  # than the best fixed image, at the mean too: no cause of its own, its answer is 3
ACCOUNT = ("nll_sampled", "nll_mean", "kl", "baseline")


def account(cause: int, tight: bool, baseline: float, rng: np.random.Generator) -> tuple[float, float, float]:
    """(nll_sampled, nll_mean, kl) of a run that suffers from a cause; tight ones are told by one number only."""
    gap = rng.uniform(1.0, 3.0)
    if cause == 1:  # sampled and mean lie on both sides of the baseline
        return baseline + rng.uniform(0.05, 0.3), baseline - rng.uniform(0.05, 0.3), rng.uniform(0.001, 0.09)
    if cause == 2:
        return baseline * rng.uniform(1.3, 2.0), baseline * rng.uniform(0.4, 0.6), rng.uniform(5.0, 40.0)
    if cause == WORSE:
        return baseline * rng.uniform(1.3, 2.0), baseline * rng.uniform(1.1, 1.2), rng.uniform(5.0, 40.0)
    saved = rng.uniform(2.5, 4.0) if tight else baseline * rng.uniform(0.3, 0.5)
    sampled = baseline - saved
    if cause == 3:  # the account is only just negative: with the likelihood at the mean it would be positive
        return sampled, sampled - gap, saved + (gap / 2 if tight else saved)
    return sampled, sampled - gap, (rng.uniform(0.2, 0.9) if tight else saved * rng.uniform(0.3, 0.8))


def runs(low: float, high: float) -> Draw:
    """Two runs of each cause, one of them a tight one, and a run that is worse all around, in random order."""

    def make(rng: np.random.Generator) -> Mapping[str, object]:
        of_causes = [(cause, tight) for cause in range(CAUSES) for tight in (False, True)]
        kinds = rng.permutation([*of_causes, (WORSE, False)])
        baseline = rng.uniform(low, high, len(kinds))
        rows = [account(int(c), bool(t), float(b), rng) for (c, t), b in zip(kinds, baseline, strict=True)]
        sampled, mean, kl = np.array(rows).T
        return dict(zip(ACCOUNT, (sampled, mean, kl, baseline), strict=True))

    return make


def one_run(rng: np.random.Generator) -> Mapping[str, object]:
    """A run that spends too much."""
    sampled, mean, kl = account(3, False, 30.0, rng)
    return {name: np.array([value]) for name, value in zip(ACCOUNT, (sampled, mean, kl, 30.0), strict=True)}


def explain_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, explain_vae, *edits)


ORDER = "[collapsed, noise_is_news, spends_too_much], [1, 2, 3]"

EXPLAIN = Question(
    name="explain_vae",
    reference=(explain_vae,),
    outputs=("cause",),
    draws={
        "small images": runs(25.0, 35.0),
        "larger images": runs(90.0, 210.0),
        "images of 784 pixels": runs(200.0, 550.0),
    },
    mistakes={
        "divergence left out of the account": explain_slip(
            "you hold the likelihood alone against the baseline. A VAE pays for its latents: the divergence belongs to "
            "the bill, or an autoencoder that spends hundreds of nats looks healthy",
            ("nll_sampled + kl > baseline", "nll_sampled > baseline"),
        ),
        "account at the mean": explain_slip(
            "the bound averages the likelihood over samples of q; yours takes it at the mean of q, which is always "
            "better and no bound",
            ("nll_sampled + kl > baseline", "nll_mean + kl > baseline"),
        ),
        "any gap is trouble": explain_slip(
            "decoding the mean is a little better than decoding samples in every VAE. It is a trouble where the "
            "samples are worse than the best fixed image while the means are better",
            ("(nll_sampled > baseline) & (nll_mean < baseline)", "nll_sampled > nll_mean"),
        ),
        "means not looked at": explain_slip(
            "samples that are worse than the best fixed image show cause 2 only where the means are better. Where both "
            "are worse, the noise is not to blame: that is cause 3",
            ("(nll_sampled > baseline) & (nll_mean < baseline)", "nll_sampled > baseline"),
        ),
        "collapse last": explain_slip(
            "look for collapse first: where the divergence is below 0.1, samples say nothing of the image, and small "
            "differences to the baseline are chance",
            (ORDER, "[noise_is_news, spends_too_much, collapsed], [2, 3, 1]"),
        ),
        "account before noise": explain_slip(
            "a model that was trained without noise has a bad account too, so cause 2 must be looked for before cause "
            "3",
            (ORDER, "[collapsed, spends_too_much, noise_is_news], [1, 3, 2]"),
        ),
        "threshold of one nat": explain_slip(
            "you take any divergence below 1 nat for a collapse; the threshold is 0.1. Half a nat that saves more than "
            "it costs is a latent at work",
            ("kl < 0.1", "kl < 1.0"),
        ),
        "causes from 1": explain_slip(
            "the causes are numbered from 0, which is a healthy run; yours are one too high",
            ("[1, 2, 3], 0)", "[2, 3, 4], 1)"),
        ),
    },
    edges={"one run": one_run, "images of three million pixels": runs(1e6, 2e6)},
)

# --- the kernel -------------------------------------------------------------------------------------------------


def walk_over_rows(mu: Array, logvar: Array, eps: Array) -> tuple[Array, Array]:
    """What the host function returns, computed as its kernel does: rows padded with zeros to whole blocks."""
    latent = mu.shape[1]
    block = min(2 ** math.ceil(math.log2(latent)), 256)
    width = -(-latent // block) * block
    mu, logvar, eps = (np.pad(part, ((0, 0), (0, width - latent))) for part in (mu, logvar, eps))
    inside = np.arange(width) < latent
    sigma = np.exp(0.5 * logvar)
    z = mu + sigma * eps
    kl = np.zeros(len(mu))
    for start in range(0, width, block):
        at = slice(start, start + block)
        terms = 0.5 * (mu[:, at] * mu[:, at] + sigma[:, at] * sigma[:, at] - 1.0 - logvar[:, at])
        kl = kl + np.where(inside[at], terms, 0.0).sum(axis=1)
    return z[:, :latent], kl


def sum_of_blocks(kl: Array, rows: int) -> Array:
    """The total of each block of rows, in place of each of them."""
    totals = [kl[start : start + rows].sum() for start in range(0, len(kl), rows)]
    return np.repeat(totals, rows)[: len(kl)]


def walk_slip(message: str, *edits: tuple[str, str]) -> Mistake:
    return slip(message, walk_over_rows, *edits)


def posteriors(batch: int, latent: int) -> Draw:
    def make(rng: np.random.Generator) -> Mapping[str, object]:
        mu, logvar, eps = rng.standard_normal((3, batch, latent))
        return {"mu": mu, "logvar": logvar, "eps": eps}

    return make


def bytes_of_rows(inputs: Mapping[str, Any]) -> int:
    """Three numbers read and one written for each latent, and a divergence for each row."""
    batch, latent = map(int, inputs["mu"].shape)
    return 4 * (4 * batch * latent + batch)


ROWS_APART = "rows of mu and logvar that lie apart in memory, as halves of one array do"
NOISE_APART = "rows of eps that lie apart"
SQUARES = "mu[:, at] * mu[:, at] + sigma[:, at] * sigma[:, at]"
MASKED = "np.where(inside[at], terms, 0.0)"

KERNEL = Question(
    name="reparameterize_kl_kernel",
    reference=(walk_over_rows,),
    outputs=("z", "kl"),
    calls=("reparameterize_kl",),
    tensors=True,
    tolerance=1e-4,
    draws={
        "fewer latents than a block": posteriors(5, 3),
        "more latents than a block": posteriors(3, 300),
        "many rows": posteriors(150, 11),
    },
    mistakes={
        "padded lanes add a half": walk_slip(
            "lanes past the last latent enter the divergence: loaded as 0, they have sigma = 1, and each adds sigma**2 "
            "/ 2, a half. Mask the terms before you sum",
            (f"{SQUARES} - 1.0 - logvar[:, at])", f"{SQUARES} - inside[at] - logvar[:, at])"),
            (MASKED, "terms"),
        ),
        "the 1 of padded lanes": walk_slip(
            "the 1 is subtracted once for each latent, not for each lane of the block: yours loses a half for each "
            "lane past the last latent",
            (MASKED, "(np.where(inside[at], terms + 0.5, 0.0) - 0.5)"),
        ),
        "last block only": walk_slip(
            "only the last block of a row is left in its divergence: add each block to what there is",
            ("kl = kl + ", "kl = "),
        ),
        "first block only": walk_slip(
            "only the first BLOCK_L latents of a row are seen, the samples of the others stay unwritten: loop over the "
            "row in steps of BLOCK_L",
            ("range(0, width, block)", "range(0, 1)"),
            ("z = mu + sigma * eps", "z = np.where(np.arange(width) < block, mu + sigma * eps, np.nan)"),
        ),
        "variance for sigma": walk_slip(
            "the noise is scaled by exp(logvar), the variance: sigma is exp(logvar / 2), its square the variance",
            ("np.exp(0.5 * logvar)", "np.exp(logvar)"),
        ),
        "sigma in place of its square": walk_slip(
            "z is right; in the divergence, the term behind mu**2 is sigma**2, and yours is sigma",
            ("sigma[:, at] * sigma[:, at]", "sigma[:, at]"),
        ),
        "sign": walk_slip(
            "the divergence has the wrong sign: it is never negative",
            ("return z[:, :latent], kl", "return z[:, :latent], -kl"),
        ),
        "no half": walk_slip("the divergence lacks its factor 1/2", ("terms = 0.5 * (", "terms = (")),
        "mean over the latents": walk_slip(
            "the divergence of a row is the sum over its latents; yours is their mean",
            ("return z[:, :latent], kl", "return z[:, :latent], kl / latent"),
        ),
        "the total in every row": walk_slip(
            "every row got the sum over its whole block: sum along axis=1, the latents, and keep the rows apart",
            ("return z[:, :latent], kl", "return z[:, :latent], sum_of_blocks(kl, 1024 // block)"),
        ),
        "no noise": walk_slip("z is the mean: add sigma * eps", ("mu + sigma * eps", "mu + 0 * eps")),
    },
    edges={
        "one row and one latent": posteriors(1, 1),
        "at the prior, where the divergence is 0": with_inputs(posteriors(5, 7), mu=0.0, logvar=0.0),
        ROWS_APART: posteriors(5, 7),
        NOISE_APART: posteriors(5, 7),
    },
    tells={
        "one row and one latent": ("no half", "variance for sigma", "sigma in place of its square", "sign", "no noise")
    },
    apart={ROWS_APART: ("mu", "logvar"), NOISE_APART: ("eps",)},
    moves=bytes_of_rows,
)

QUESTIONS = (
    KL,
    KL_BACKWARD,
    REPARAMETERIZE,
    REPARAMETERIZE_BACKWARD,
    NEGATIVE_ELBO,
    NEGATIVE_ELBO_BACKWARD,
    KL_MONTE_CARLO,
    IWAE_BOUND,
    TRAIN,
    EXPLAIN,
    KERNEL,
)
