"""The discriminator's loss fused: cross-entropy from logits, one-sided label smoothing and both means in one launch.

The backward pass reads the logits once more instead of keeping an array of gradients from the forward pass.
"""

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

from kernels.arguments import check_tensors, want_gradients
from kernels.lstm import _sigmoid

BLOCK = 1024


@triton.jit
def _log1p(u):
    """Return log(1 + u) for u from 0 to 1, by its series where 1 + u would round the digits of u away."""
    return tl.where(u < 0.01, u * (1.0 - u * (0.5 - u / 3.0)), tl.log(1.0 + u))


@triton.jit
def discriminator_loss_kernel(real_ptr, fake_ptr, losses_ptr, n_real, n_fake, alpha, BLOCK: tl.constexpr):
    """Compute one program's part of the discriminator's loss (eq. gan-parts).

    Program p has the p-th block of both vectors of logits, which may differ in length.
    It stores its part at losses_ptr + p; the parts add up to the loss.
    """
    program = tl.program_id(0)
    k = program.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    real = tl.load(real_ptr + k, mask=k < n_real, other=0.0).to(tl.float32)
    fake = tl.load(fake_ptr + k, mask=k < n_fake, other=0.0).to(tl.float32)
    of_real = tl.maximum(real, 0.0) - alpha * real + _log1p(tl.exp(-tl.abs(real)))
    of_fake = tl.maximum(fake, 0.0) + _log1p(tl.exp(-tl.abs(fake)))
    of_real = tl.where(k < n_real, of_real, 0.0)  # a lane past the end would add log 2
    of_fake = tl.where(k < n_fake, of_fake, 0.0)
    tl.store(losses_ptr + program, tl.sum(of_real / n_real + of_fake / n_fake, axis=0))


def launch_discriminator_loss(real, fake, alpha):
    """Launch one program for each block of the longer vector; return the parts of the loss, which add up to it."""
    programs = triton.cdiv(max(len(real), len(fake)), 1024)
    losses = torch.empty(programs, dtype=torch.float32, device=real.device)
    discriminator_loss_kernel[(programs,)](real, fake, losses, len(real), len(fake), alpha, BLOCK=1024)
    return losses


@triton.jit
def discriminator_loss_backward_kernel(
    real_ptr, fake_ptr, dloss_ptr, dreal_ptr, dfake_ptr, n_real, n_fake, alpha, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute the gradients at a block of both vectors of logits (eq. gan-d-loss-backward)."""
    k = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    dloss = tl.load(dloss_ptr).to(tl.float32)
    real = tl.load(real_ptr + k, mask=k < n_real, other=0.0).to(tl.float32)
    fake = tl.load(fake_ptr + k, mask=k < n_fake, other=0.0).to(tl.float32)
    tl.store(dreal_ptr + k, dloss * (_sigmoid(real) - alpha) / n_real, mask=k < n_real)
    tl.store(dfake_ptr + k, dloss * _sigmoid(fake) / n_fake, mask=k < n_fake)


class _DiscriminatorLoss(torch.autograd.Function):
    """The loss with its gradients, each in one launch."""

    @staticmethod
    def forward(ctx, real, fake, alpha):
        ctx.save_for_backward(real, fake)
        ctx.alpha = alpha
        return launch_discriminator_loss(real, fake, alpha).sum().to(real.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, dloss):
        real, fake = ctx.saved_tensors
        dreal, dfake = torch.empty_like(real), torch.empty_like(fake)
        grid = (triton.cdiv(max(len(real), len(fake)), BLOCK),)
        discriminator_loss_backward_kernel[grid](
            real, fake, dloss, dreal, dfake, len(real), len(fake), ctx.alpha, BLOCK=BLOCK
        )
        return dreal, dfake, None


def discriminator_loss_forward(real, fake, alpha=0.9):
    """Return the discriminator's loss on logits, with the label alpha for real ones; autograd follows.

    Eq. gan-d-loss. real is (real,), fake (fake,), of one dtype: float32, float16 or, on a GPU, bfloat16.
    """
    check_tensors(real=(real, "real"), fake=(fake, "fake"))
    if not 0 < alpha <= 1 or 0 in (len(real), len(fake)):
        raise ValueError(
            f"expected alpha above 0 and at most 1, and some logits; got {alpha}, {len(real)}, {len(fake)}"
        )
    real, fake = real.contiguous(), fake.contiguous()
    if want_gradients(real, fake):
        return _DiscriminatorLoss.apply(real, fake, alpha)
    return launch_discriminator_loss(real, fake, alpha).sum().to(real.dtype)
