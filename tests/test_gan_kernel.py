"""The fused loss of the discriminator: what the tests of all kernels leave open."""

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")

from autograder import check
from autograder.questions.gan import KERNEL, walk_over_blocks
from kernels import INTERPRETED, checker
from kernels.gan import discriminator_loss_forward
from solutions import gan as reference
from tests.kernel_guards import guarded_outputs
from tests.submitted_kernel import submitted, verdict_on
from tests.tolerances import assert_close

DEVICE = "cpu" if INTERPRETED else "cuda"
interpreted = pytest.mark.skipif(not INTERPRETED, reason="launches are watched in the interpreter")


def draw(rng, n_real, n_fake, dtype=torch.float32):
    vectors = 3 * rng.standard_normal(n_real), 3 * rng.standard_normal(n_fake)
    return [torch.tensor(vector, dtype=dtype, device=DEVICE) for vector in vectors]


def expected(real, fake, alpha):
    """The loss and its gradients by the NumPy twin."""
    arrays = (tensor.detach().cpu().double().numpy() for tensor in (real, fake))
    loss, cache = reference.discriminator_loss_forward(*arrays, alpha)
    return loss, reference.discriminator_loss_backward(np.array(1.0), cache)


@pytest.mark.parametrize(("n_real", "n_fake"), [(1, 3000), (3000, 1), (1023, 1025), (1024, 1024), (2049, 5)])
@pytest.mark.parametrize("alpha", [0.7, 1.0])
def test_the_parts_of_all_programs_add_up_to_the_loss_whatever_the_lengths(n_real, n_fake, alpha, rng):
    real, fake = (tensor.requires_grad_() for tensor in draw(rng, n_real, n_fake))
    with guarded_outputs():
        loss = discriminator_loss_forward(real, fake, alpha)
        loss.backward()
    right, (dreal, dfake) = expected(real, fake, alpha)
    assert_close(loss.detach().cpu().numpy(), right)
    assert_close(real.grad.cpu().numpy(), dreal)
    assert_close(fake.grad.cpu().numpy(), dfake)


@pytest.mark.parametrize("size", [10.0, 20.0, 50.0])
def test_a_discriminator_that_is_sure_and_right_keeps_the_digits_of_its_small_loss(size):
    real, fake = (torch.full((n,), sign * size, device=DEVICE) for n, sign in ((5, 1.0), (3, -1.0)))
    came = discriminator_loss_forward(real, fake, 1.0).item()
    assert came == pytest.approx(2 * np.log1p(np.exp(-size)), rel=1e-5, abs=0)


@pytest.mark.parametrize("size", [1e3, 1e30])
def test_huge_logits_cost_what_they_should_and_keep_their_gradients(size):
    real, fake = (torch.tensor([-sign * size], device=DEVICE, requires_grad=True) for sign in (1, -1))
    loss = discriminator_loss_forward(real, fake, 0.9)
    loss.backward()
    assert loss.item() == pytest.approx(1.9 * size)
    assert (real.grad.item(), fake.grad.item()) == (pytest.approx(-0.9), 1.0)


@interpreted
def test_the_loss_takes_one_launch_and_its_gradients_one_more_and_no_array_of_losses(rng):
    real, fake = (tensor.requires_grad_() for tensor in draw(rng, 2000, 1500))
    with checker.watch() as launches:
        discriminator_loss_forward(real, fake).backward()
    assert [launch.kernel for launch in launches] == ["discriminator_loss_kernel", "discriminator_loss_backward_kernel"]
    assert launches[0].traffic["losses"].stored == 2 * 4  # one number for each program
    assert launches[0].moved == 4 * (2000 + 1500 + 2)


def test_without_gradients_nothing_is_kept_for_them(rng):
    real, fake = draw(rng, 5, 7)
    assert not discriminator_loss_forward(real, fake).requires_grad
    with torch.no_grad():
        assert not discriminator_loss_forward(real.requires_grad_(), fake).requires_grad


def test_a_gradient_may_be_asked_for_twice_and_at_one_side_only(rng):
    real, fake = draw(rng, 5, 7)
    loss = discriminator_loss_forward(real, fake.requires_grad_(), 0.8)
    first, second = (torch.autograd.grad(3 * loss, fake, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)
    assert_close(first.cpu().numpy(), 3 * expected(real, fake, 0.8)[1][1])


def test_logits_that_lie_apart_in_memory_give_the_same(rng):
    real, fake = draw(rng, 5, 7)
    wide = torch.stack([real, torch.full_like(real, torch.nan)], dim=1)
    assert torch.equal(discriminator_loss_forward(wide[:, 0], fake), discriminator_loss_forward(real, fake))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r, f: (r.numpy(force=True), f), "expected real to be a torch tensor, got ndarray"),
        (lambda r, f: (r[:, None], f), r"expected real of \(real,\) .*, got \(5, 1\)"),
        (lambda r, f: (r, f.half()), "expected fake of .*float32.*, got .*float16"),
        (lambda r, f: (r.double(), f), "expected real of dtype torch.float32 or torch.float16.*, got torch.float64"),
        (lambda r, f: (r, f[:0]), "and some logits; got 0.9, 5, 0"),
        (lambda r, f: (r, f, 1.5), "expected alpha above 0 and at most 1, and some logits; got 1.5, 5, 7"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(change, message, rng):
    with pytest.raises(ValueError, match=message):
        discriminator_loss_forward(*change(*draw(rng, 5, 7)))


# What the grader takes the kernel for


@pytest.mark.parametrize("label", [*KERNEL.draws, *KERNEL.edges])
def test_the_walk_over_blocks_adds_up_to_the_loss(label, rng):
    inputs = {**KERNEL.draws, **KERNEL.edges}[label](rng)
    loss, _ = reference.discriminator_loss_forward(*inputs.values())
    assert_close(walk_over_blocks(**inputs).sum(), loss)


STABLE = "tl.maximum({x}, 0.0) {label}+ _log1p(tl.exp(-tl.abs({x})))"
OF_REAL, OF_FAKE = STABLE.format(x="real", label="- alpha * real "), STABLE.format(x="fake", label="")
PART = "of_real / n_real + of_fake / n_fake"
NOTEBOOK = ("discriminator_loss_kernel", ("_log1p", "launch_discriminator_loss"))  # the kernel, and what is given
SLIPS = {
    "padding counts": [
        ("tl.where(k < n_real, of_real, 0.0)", "of_real"),
        ("tl.where(k < n_fake, of_fake, 0.0)", "of_fake"),
    ],
    "mean of each block": [(PART, "(of_real + of_fake) / BLOCK")],
    "sums": [(PART, "of_real + of_fake")],
    "one mean for both": [(PART, "(of_real + of_fake) / (n_real + n_fake)")],
    "not smoothed": [("alpha * real", "real")],
    "log D of the fakes": [(OF_FAKE, f"{OF_FAKE} - fake")],
    "no maximum": [("tl.maximum(real, 0.0)", "0.0"), ("tl.maximum(fake, 0.0) +", "")],
    "overflow": [(OF_REAL, "tl.log(1.0 + tl.exp(real)) - alpha * real"), (OF_FAKE, "tl.log(1.0 + tl.exp(fake))")],
}


@interpreted
@pytest.mark.parametrize("mistake", [None, *SLIPS])
def test_a_slip_in_the_source_of_the_kernel_is_named_as_its_twin_in_numpy(mistake, tmp_path):
    answer = submitted(*NOTEBOOK, SLIPS.get(mistake, []), tmp_path)
    for seed in (0, 1):
        verdict = verdict_on(KERNEL, 6.0, answer, seed)
        assert (verdict.points == verdict.out_of) == (mistake is None), verdict
        assert verdict.mistake == (KERNEL.mistakes[mistake].message if mistake else ""), verdict


@interpreted
@pytest.mark.parametrize(
    "store",
    [
        "tl.store(losses_ptr, tl.load(losses_ptr) + ",  # added to one number, which all programs read and write
        "tl.store(losses_ptr, ",
    ],
)
def test_programs_that_meet_at_one_number_are_told_that_they_race(store, tmp_path):
    answer = submitted(*NOTEBOOK, [("tl.store(losses_ptr + program, ", store)], tmp_path)
    verdict = verdict_on(KERNEL, 6.0, answer, 0)
    assert verdict.mistake == check.FAULTS["race"], verdict
    assert verdict.points < verdict.out_of
