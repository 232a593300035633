"""A variational autoencoder as a torch module, and torch twins of its loss."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


def kl_gaussian_forward(
    mu: Float[Tensor, "batch latent"],
    logvar: Float[Tensor, "batch latent"],
) -> Float[Tensor, " batch"]:
    """Return KL(N(mu, exp(logvar)) || N(0, 1)) of each row (eq. vae-kl)."""
    return 0.5 * (mu**2 + logvar.expm1() - logvar).sum(dim=1)


def reparameterize_forward(
    mu: Float[Tensor, "batch latent"],
    logvar: Float[Tensor, "batch latent"],
    eps: Float[Tensor, "batch latent"],
) -> Float[Tensor, "batch latent"]:
    """Turn noise into a sample of N(mu, exp(logvar)) (eq. vae-reparameterization)."""
    return mu + (0.5 * logvar).exp() * eps


def negative_log_likelihood(
    decoded: Float[Tensor, "batch pixels"],
    x: Float[Tensor, "batch pixels"],
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli",
) -> Float[Tensor, " batch"]:
    """Return -log p(x | z) of each row (eq. vae-likelihoods).

    Raises ValueError for any other word than those of the annotation.
    """
    if likelihood == "bernoulli":
        nll = functional.binary_cross_entropy_with_logits(decoded, x, reduction="none")
    elif likelihood == "gaussian":
        nll = functional.gaussian_nll_loss(
            decoded, x, torch.ones_like(x), full=True, reduction="none"
        )
    else:
        raise ValueError(f"expected bernoulli or gaussian, got {likelihood!r}")
    return nll.sum(dim=1)


def negative_elbo_forward(
    decoded: Float[Tensor, "batch pixels"],
    x: Float[Tensor, "batch pixels"],
    mu: Float[Tensor, "batch latent"],
    logvar: Float[Tensor, "batch latent"],
    likelihood: Literal["bernoulli", "gaussian"] = "bernoulli",
    beta: float = 1.0,
) -> Float[Tensor, ""]:
    """Return the loss of a VAE in the batch mean (eq. vae-loss)."""
    nll = negative_log_likelihood(decoded, x, likelihood)
    return (nll + beta * kl_gaussian_forward(mu, logvar)).mean()


class VAE(nn.Module):
    """Encode an image as a Gaussian over latents, and decode a latent into pixels.

    Both halves have one hidden layer; Kingma & Welling 2014. What `decode` returns
    is logits or means, as the likelihood has it.
    """

    def __init__(self, pixels: int, d_h: int, latent: int):
        super().__init__()
        self.hidden = nn.Linear(pixels, d_h)
        self.mu = nn.Linear(d_h, latent)
        self.logvar = nn.Linear(d_h, latent)
        self.decoder = nn.Sequential(
            nn.Linear(latent, d_h), nn.Tanh(), nn.Linear(d_h, pixels)
        )

    def encode(
        self, x: Float[Tensor, "batch pixels"]
    ) -> tuple[Float[Tensor, "batch latent"], Float[Tensor, "batch latent"]]:
        """Return the mean and the logarithm of the variance of q(z | x)."""
        h = self.hidden(x).tanh()
        return self.mu(h), self.logvar(h)

    def decode(self, z: Float[Tensor, "batch latent"]) -> Float[Tensor, "batch pixels"]:
        """Return the parameters of p(x | z), one for each pixel."""
        return self.decoder(z)

    def forward(
        self,
        x: Float[Tensor, "batch pixels"],
        eps: Float[Tensor, "batch latent"] | None = None,
    ) -> tuple[
        Float[Tensor, "batch pixels"],
        Float[Tensor, "batch latent"],
        Float[Tensor, "batch latent"],
    ]:
        """Return (decoded, mu, logvar), with fresh noise unless it is given."""
        mu, logvar = self.encode(x)
        eps = torch.randn_like(mu) if eps is None else eps
        z = reparameterize_forward(mu, logvar, eps)
        return self.decode(z), mu, logvar
