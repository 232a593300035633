"""A sample of q(z | x) and its divergence from the prior in one launch; and the way back in another.

Numbers are float32 from the load to the store, whatever the type of the tensors; divergences stay float32.
"""

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

from kernels.arguments import check_tensors, want_gradients, whole_rows


@triton.jit
def reparameterize_kl_kernel(
    mu_ptr, logvar_ptr, eps_ptr, z_ptr, kl_ptr, batch, latent, mu_stride, logvar_stride, eps_stride,
    BLOCK_B: tl.constexpr, BLOCK_L: tl.constexpr,
):  # fmt: skip
    """Compute BLOCK_B rows of z, and the divergence of each (eqs. vae-reparameterization and vae-kl).

    Program p has the p-th block of rows and walks along their latents, BLOCK_L at a time.
    Row r of mu starts at mu_ptr + r * mu_stride, likewise logvar and eps; z is contiguous,
    and so is kl, one number for each row. No two programs store to the same place.
    """
    row = tl.program_id(0).to(tl.int64) * BLOCK_B + tl.arange(0, BLOCK_B)
    rows, cols = row[:, None], tl.arange(0, BLOCK_L)[None, :]
    kl = tl.zeros((BLOCK_B,), dtype=tl.float32)
    for start in range(0, latent, BLOCK_L):
        mask = (rows < batch) & (start + cols < latent)
        mu = tl.load(mu_ptr + rows * mu_stride + start + cols, mask=mask, other=0.0).to(tl.float32)
        logvar = tl.load(logvar_ptr + rows * logvar_stride + start + cols, mask=mask, other=0.0).to(tl.float32)
        eps = tl.load(eps_ptr + rows * eps_stride + start + cols, mask=mask, other=0.0).to(tl.float32)
        sigma = tl.exp(0.5 * logvar)
        tl.store(z_ptr + rows * latent + start + cols, mu + sigma * eps, mask=mask)
        terms = 0.5 * (mu * mu + sigma * sigma - 1.0 - logvar)
        kl += tl.sum(tl.where(mask, terms, 0.0), axis=1)
    tl.store(kl_ptr + row, kl, mask=row < batch)


def reparameterize_kl(mu, logvar, eps):
    """Launch one program for each block of rows: (z, kl), on arguments as the kernel wants them."""
    batch, latent = mu.shape
    z = torch.empty((batch, latent), dtype=mu.dtype, device=mu.device)
    kl = torch.empty(batch, dtype=torch.float32, device=mu.device)
    block_l = min(triton.next_power_of_2(latent), 256)
    block_b = 1024 // block_l
    reparameterize_kl_kernel[(triton.cdiv(batch, block_b),)](
        mu, logvar, eps, z, kl, batch, latent, mu.stride(0), logvar.stride(0), eps.stride(0),
        BLOCK_B=block_b, BLOCK_L=block_l,
    )  # fmt: skip
    return z, kl


@triton.jit
def reparameterize_kl_backward_kernel(
    dz_ptr, dkl_ptr, mu_ptr, logvar_ptr, eps_ptr, dmu_ptr, dlogvar_ptr, deps_ptr,
    batch, latent, mu_stride, logvar_stride, eps_stride, BLOCK_B: tl.constexpr, BLOCK_L: tl.constexpr,
):  # fmt: skip
    """Compute a tile of dmu and dlogvar, and of deps unless its pointer is None (eq. vae-fused-backward).

    The standard deviation is computed anew: an exponential costs less than a trip through memory.
    """
    row = tl.program_id(0).to(tl.int64) * BLOCK_B + tl.arange(0, BLOCK_B)
    rows, cols = row[:, None], tl.program_id(1) * BLOCK_L + tl.arange(0, BLOCK_L)[None, :]
    mask = (rows < batch) & (cols < latent)
    dz = tl.load(dz_ptr + rows * latent + cols, mask=mask, other=0.0).to(tl.float32)
    dkl = tl.load(dkl_ptr + row, mask=row < batch, other=0.0).to(tl.float32)[:, None]
    mu = tl.load(mu_ptr + rows * mu_stride + cols, mask=mask, other=0.0).to(tl.float32)
    logvar = tl.load(logvar_ptr + rows * logvar_stride + cols, mask=mask, other=0.0).to(tl.float32)
    eps = tl.load(eps_ptr + rows * eps_stride + cols, mask=mask, other=0.0).to(tl.float32)
    sigma = tl.exp(0.5 * logvar)
    tl.store(dmu_ptr + rows * latent + cols, dz + dkl * mu, mask=mask)
    dlogvar = 0.5 * (dz * sigma * eps + dkl * (sigma * sigma - 1.0))
    tl.store(dlogvar_ptr + rows * latent + cols, dlogvar, mask=mask)
    if deps_ptr is not None:
        tl.store(deps_ptr + rows * latent + cols, dz * sigma, mask=mask)


class _ReparameterizeKL(torch.autograd.Function):
    """Sample and divergence, which keep their arguments only; noise gets a gradient where it asks for one."""

    @staticmethod
    def forward(ctx, mu, logvar, eps):
        ctx.save_for_backward(mu, logvar, eps)
        return reparameterize_kl(mu, logvar, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx, dz, dkl):
        mu, logvar, eps = ctx.saved_tensors
        batch, latent = mu.shape
        dmu, dlogvar = (torch.empty((batch, latent), dtype=mu.dtype, device=mu.device) for _ in range(2))
        deps = torch.empty_like(dmu) if ctx.needs_input_grad[2] else None
        block_l = min(triton.next_power_of_2(latent), 256)
        block_b = 1024 // block_l
        grid = (triton.cdiv(batch, block_b), triton.cdiv(latent, block_l))
        reparameterize_kl_backward_kernel[grid](
            dz.contiguous(), dkl.contiguous(), mu, logvar, eps, dmu, dlogvar, deps,
            batch, latent, mu.stride(0), logvar.stride(0), eps.stride(0),
            BLOCK_B=block_b, BLOCK_L=block_l,
        )  # fmt: skip
        return dmu, dlogvar, deps


def reparameterize_kl_forward(mu, logvar, eps):
    """Return a sample of N(mu, exp(logvar)) and the divergence of each row from N(0, 1); autograd follows.

    Eqs. vae-reparameterization and vae-kl. All are (batch, latent), of one dtype: float32, float16 or, on a GPU,
    bfloat16. Rows may lie apart, as they do where mu and logvar are halves of one array; other layouts are copied.
    """
    check_tensors(mu=(mu, "batch latent"), logvar=(logvar, "batch latent"), eps=(eps, "batch latent"))
    if 0 in mu.shape:
        raise ValueError(f"expected one row and one latent or more, got {tuple(mu.shape)}")
    tensors = whole_rows(mu, logvar, eps)
    return _ReparameterizeKL.apply(*tensors) if want_gradients(*tensors) else reparameterize_kl(*tensors)
