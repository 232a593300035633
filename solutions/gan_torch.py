"""A generator, a discriminator, and the step that trains both, in torch."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import softplus


class Generator(nn.Module):
    """Turn noise into examples, by two hidden layers of ReLU."""

    def __init__(self, d_z: int, d_h: int, d_out: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(d_z, d_h),
            nn.ReLU(),
            nn.Linear(d_h, d_h),
            nn.ReLU(),
            nn.Linear(d_h, d_out),
        )

    def forward(self, z: Float[Tensor, "batch d_z"]) -> Float[Tensor, "batch d_out"]:
        """Return one example for each row of noise."""
        return self.layers(z)


class Discriminator(nn.Module):
    """Tell real from fake, by two hidden layers of ReLU."""

    def __init__(self, d_in: int, d_h: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(d_in, d_h),
            nn.ReLU(),
            nn.Linear(d_h, d_h),
            nn.ReLU(),
            nn.Linear(d_h, 1),
        )

    def forward(self, x: Float[Tensor, "batch d_in"]) -> Float[Tensor, " batch"]:
        """Return the logit of "real" for each row."""
        return self.layers(x)[:, 0]


def discriminator_loss_forward(
    real: Float[Tensor, " real"],
    fake: Float[Tensor, " fake"],
    alpha: float = 0.9,
) -> Float[Tensor, ""]:
    """Return the discriminator's loss on logits (eq. gan-d-loss)."""
    return (softplus(-real) + (1 - alpha) * real).mean() + softplus(fake).mean()


def generator_loss_forward(
    fake: Float[Tensor, " fake"],
    kind: str = "non-saturating",
) -> Float[Tensor, ""]:
    """Return what the generator minimizes (eq. gan-g-loss)."""
    if kind not in ("saturating", "non-saturating"):
        raise ValueError(f"expected saturating or non-saturating, got {kind!r}")
    return -softplus(fake).mean() if kind == "saturating" else softplus(-fake).mean()


def train_step(
    generator: nn.Module,
    discriminator: nn.Module,
    optimizers: tuple[torch.optim.Optimizer, torch.optim.Optimizer],
    real: Float[Tensor, "batch d_in"],
    z: Float[Tensor, "2 batch d_z"],
    alpha: float = 0.9,
    kind: str = "non-saturating",
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Update D, then G against the new D; return both losses (eq. gan-step).

    The optimizers are those of G and of D. D learns from the fakes of z[0], G from
    those of z[1].
    """
    of_generator, of_discriminator = optimizers
    fake = generator(z[0]).detach()  # no gradient reaches G from here
    loss_d = discriminator_loss_forward(discriminator(real), discriminator(fake), alpha)
    of_discriminator.zero_grad()
    loss_d.backward()
    of_discriminator.step()

    loss_g = generator_loss_forward(discriminator(generator(z[1])), kind)
    of_generator.zero_grad()
    loss_g.backward()  # also fills the gradients of D, which its next step clears
    of_generator.step()
    return loss_d.detach(), loss_g.detach()
