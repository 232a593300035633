"""Sample and divergence in Triton: what is their own. Values and gradients are tested with all kernels' twins."""

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")

from autograder import check
from autograder.questions.vae import KERNEL, walk_over_rows
from kernels import INTERPRETED, checker
from kernels.vae import reparameterize_kl, reparameterize_kl_forward
from solutions import vae as reference
from tests.kernel_guards import guarded_outputs
from tests.submitted_kernel import submitted, verdict_on
from tests.tolerances import assert_close

DEVICE = "cpu" if INTERPRETED else "cuda"
FLOAT32 = 1e-6  # of the terms that a divergence is summed from, each about 1


def draw(rng, batch=5, latent=3, dtype=torch.float32):
    arrays = (
        rng.standard_normal((batch, latent)),
        rng.uniform(-2, 2, (batch, latent)),
        rng.standard_normal((batch, latent)),
    )
    return tuple(torch.tensor(array, dtype=dtype, device=DEVICE) for array in arrays)


def numpy64(tensors):
    return [tensor.detach().cpu().double().numpy() for tensor in tensors]


@pytest.mark.parametrize("latent", [1, 255, 256, 257, 600])
@pytest.mark.parametrize("batch", [1, 4, 9])
def test_lanes_past_the_last_latent_and_row_count_nothing(batch, latent, rng):
    tensors = draw(rng, batch, latent)
    with guarded_outputs():
        z, kl = reparameterize_kl(*tensors)
    for came, right in zip((z, kl), reference.reparameterize_kl_forward(*numpy64(tensors))[:2], strict=True):
        assert_close(came.cpu().numpy(), right)


def test_the_divergence_of_the_prior_is_exactly_zero_whatever_the_padding():
    zeros = torch.zeros(5, 37, device=DEVICE)
    z, kl = reparameterize_kl(zeros, zeros, torch.ones_like(zeros))
    assert torch.equal(z, torch.ones_like(z))
    assert kl.tolist() == [0.0] * 5


@pytest.mark.parametrize("size", [1e-2, 1e-4])
def test_near_the_prior_the_error_of_float32_stays_small(size, rng):
    tensors = draw(rng, 3, 37)
    mu, logvar, eps = (size * tensors[0], size * tensors[1], tensors[2])
    _, kl = reparameterize_kl(mu, logvar, eps)
    right = reference.kl_gaussian_forward(*numpy64((mu, logvar)))[0]
    np.testing.assert_allclose(kl.cpu(), right, atol=37 * FLOAT32)


def test_divergences_of_half_numbers_are_summed_and_kept_in_float32(rng):
    tensors = draw(rng, 3, 600, torch.float16)
    z, kl = reparameterize_kl(*tensors)
    assert (z.dtype, kl.dtype) == (torch.float16, torch.float32)
    assert_close(kl.cpu().numpy(), reference.kl_gaussian_forward(*numpy64(tensors[:2]))[0])


def test_halves_of_one_array_need_no_copy(rng, monkeypatch):
    """An encoder's last layer gives mu and logvar side by side."""
    mu, logvar, eps = draw(rng, 5, 7)
    both = torch.cat([mu, logvar], dim=1)
    halves = both.chunk(2, dim=1)
    monkeypatch.setattr(torch.Tensor, "contiguous", None)  # which would copy
    z, kl = reparameterize_kl_forward(*halves, eps)
    expected = reparameterize_kl(mu, logvar, eps)
    assert torch.equal(z, expected[0])
    assert torch.equal(kl, expected[1])


def test_another_layout_gives_the_same(rng):
    tensors = draw(rng, 5, 7)
    turned = [tensor.T.contiguous().T for tensor in tensors]
    for came, right in zip(reparameterize_kl_forward(*turned), reparameterize_kl_forward(*tensors), strict=True):
        assert torch.equal(came, right)


@pytest.mark.parametrize("part", [0, 1])
def test_a_loss_may_use_one_output_only(part, rng):
    tensors = [tensor.requires_grad_() for tensor in draw(rng)]
    reparameterize_kl_forward(*tensors)[part].sum().backward()
    z, kl, cache = reference.reparameterize_kl_forward(*numpy64(tensors))
    upstream = [np.ones_like(output) if part == k else np.zeros_like(output) for k, output in enumerate((z, kl))]
    for tensor, right in zip(tensors, reference.reparameterize_kl_backward(*upstream, cache), strict=True):
        assert_close(tensor.grad.cpu().numpy(), right)


def test_noise_gets_a_gradient_only_where_it_asks_for_one(rng):
    mu, logvar, eps = draw(rng)
    z, kl = reparameterize_kl_forward(mu.requires_grad_(), logvar.requires_grad_(), eps)
    (z.sum() + kl.sum()).backward()
    assert eps.grad is None
    assert not reparameterize_kl_forward(mu.detach(), logvar.detach(), eps)[0].requires_grad


@pytest.mark.skipif(not INTERPRETED, reason="the checker watches the interpreter")
def test_each_number_is_read_once_and_written_once(rng):
    tensors = draw(rng, 9, 300)
    with checker.watch() as launches:
        reparameterize_kl(*tensors)
    (launch,) = launches
    assert launch.moved == 4 * (4 * 9 * 300 + 9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda mu, logvar, eps: (mu.numpy(force=True), logvar, eps), "expected mu to be a torch tensor, got ndarray"),
        (lambda mu, logvar, eps: (mu, logvar[:3], eps), r"expected logvar of \(5, 3\) .*, got \(3, 3\)"),
        (lambda mu, logvar, eps: (mu, logvar, eps[:, :2]), r"expected eps of \(5, 3\) .*, got \(5, 2\)"),
        (lambda mu, logvar, eps: (mu, logvar, eps.half()), "expected eps of .* torch.float32 .*, got .* torch.float16"),
        (lambda mu, logvar, eps: (mu[:0], logvar[:0], eps[:0]), r"expected one row and one latent .*, got \(0, 3\)"),
        (
            lambda mu, logvar, eps: (mu.double(), logvar, eps),
            "expected mu of dtype torch.float32 .*, got torch.float64",
        ),
    ],
)
def test_an_argument_that_does_not_fit_is_named(change, message, rng):
    with pytest.raises(ValueError, match=message):
        reparameterize_kl_forward(*change(*draw(rng)))


# What the grader takes the kernel for


@pytest.mark.parametrize("label", [*KERNEL.draws, *KERNEL.edges])
def test_the_walk_over_rows_gives_what_the_numpy_twin_gives(label, rng):
    inputs = {**KERNEL.draws, **KERNEL.edges}[label](rng)
    right = reference.reparameterize_kl_forward(*inputs.values())[:2]
    for came, expected in zip(walk_over_rows(**inputs), right, strict=True):
        assert_close(came, expected)


TERMS = "terms = 0.5 * (mu * mu + sigma * sigma - 1.0 - logvar)"
NOTEBOOK = ("reparameterize_kl_kernel", ("reparameterize_kl",))  # the kernel, and what is given
SLIPS = {
    "padded lanes add a half": [
        (TERMS, TERMS.replace("1.0", "tl.where(mask, 1.0, 0.0)")),
        ("tl.where(mask, terms, 0.0)", "terms"),
    ],
    "last block only": [("kl += tl.sum", "kl = tl.sum")],
    "first block only": [("range(0, latent, BLOCK_L)", "range(0, BLOCK_L, BLOCK_L)")],
    "variance for sigma": [("tl.exp(0.5 * logvar)", "tl.exp(logvar)")],
    "sign": [("kl_ptr + row, kl,", "kl_ptr + row, -kl,")],
    "the total in every row": [("kl_ptr + row, kl,", "kl_ptr + row, tl.sum(kl, axis=0) + 0.0 * kl,")],
}


@pytest.mark.skipif(not INTERPRETED, reason="the grader interprets")
@pytest.mark.parametrize("mistake", [None, *SLIPS])
def test_a_slip_in_the_source_of_the_kernel_is_named_as_its_twin_in_numpy(mistake, tmp_path):
    answer = submitted(*NOTEBOOK, SLIPS.get(mistake, []), tmp_path)
    for seed in (0, 1):
        verdict = verdict_on(KERNEL, 6.0, answer, seed)
        assert (verdict.points == verdict.out_of) == (mistake is None), verdict
        assert verdict.mistake == (KERNEL.mistakes[mistake].message if mistake else ""), verdict


@pytest.mark.skipif(not INTERPRETED, reason="the grader interprets")
def test_a_total_that_all_programs_add_to_without_an_atomic_is_named_as_a_race(tmp_path):
    """The right divergences, and beside them a total: all programs read and write one place."""
    store = "tl.store(kl_ptr + row, kl, mask=row < batch)"
    total = "tl.store(kl_ptr, tl.load(kl_ptr) + tl.sum(kl, axis=0))"
    answer = submitted(*NOTEBOOK, [(store, f"{total}\n    {store}")], tmp_path)
    verdict = verdict_on(KERNEL, 6.0, answer, 0)
    (memory,) = [step for step in verdict.steps if "stays in bounds" in step.title]
    assert not memory.passed
    assert memory.message.startswith("race:")
    assert verdict.mistake == check.FAULTS["race"]
