"""The fused cross-entropy in Triton: what is its own. Its values and gradients are tested with all kernels' twins."""

import math

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")

from autograder.questions.losses import KERNEL, walk_over_blocks
from kernels import INTERPRETED
from kernels.losses import cross_entropy_forward, launch_cross_entropy
from solutions import losses as reference
from tests.kernel_guards import guarded_outputs
from tests.submitted_kernel import submitted, verdict_on
from tests.tolerances import assert_close

DEVICE = "cpu" if INTERPRETED else "cuda"


def tensors(logits, labels, dtype=torch.float32):
    return torch.tensor(logits, dtype=dtype, device=DEVICE), torch.tensor(labels, device=DEVICE)


def draw(rng, batch, classes, dtype=torch.float32):
    return tensors(3 * rng.standard_normal((batch, classes)), rng.integers(0, classes, batch), dtype)


def expected(logits, labels):
    """The losses and gradients of the rows by the NumPy twin, each row on its own."""
    logits, labels = logits.detach().cpu().double().numpy(), labels.cpu().numpy()
    singles = [reference.cross_entropy_forward(logits[m : m + 1], labels[m : m + 1]) for m in range(len(labels))]
    gradients = [reference.cross_entropy_backward(np.array(1.0), cache)[0] for _, cache in singles]
    return np.array([loss for loss, _ in singles]), np.array(gradients)


@pytest.mark.parametrize(("batch", "classes"), [(1, 1), (5, 3), (3, 1023), (3, 1024), (2, 1025), (2, 3000)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["float32", "float16"])
def test_each_row_gets_its_own_loss_and_gradient_around_the_size_of_a_block(batch, classes, dtype, rng):
    logits, labels = draw(rng, batch, classes, dtype)
    with guarded_outputs():
        came, dlogits = launch_cross_entropy(logits, labels)
    right, gradients = expected(logits, labels)
    assert came.dtype == torch.float32
    assert dlogits.dtype == dtype
    assert_close(came.cpu().numpy(), right)
    assert_close(dlogits.cpu().numpy(), gradients)


@pytest.mark.parametrize("around", [-1e4, 0.0, 1e4])
@pytest.mark.parametrize("rising", [False, True], ids=["maximum first", "maximum last"])
def test_the_running_maximum_may_stand_anywhere_and_have_any_size(around, rising, rng):
    row = np.sort(10 * rng.standard_normal(2500))
    logits, labels = tensors(np.round(around + (row if rising else row[::-1]))[None], [7])
    came, dlogits = launch_cross_entropy(logits, labels)
    right, gradients = expected(logits, labels)
    assert_close(came.cpu().numpy(), right)
    assert_close(dlogits.cpu().numpy(), gradients)


def test_classes_that_are_ruled_out_count_nothing_even_where_they_fill_a_block(rng):
    logits = 3 * rng.standard_normal((2, 2500))
    logits[:, :1100] = -np.inf
    came, dlogits = launch_cross_entropy(*tensors(logits, [1200, 2499]))
    right, gradients = expected(*tensors(logits, [1200, 2499]))
    assert_close(came.cpu().numpy(), right)
    assert_close(dlogits.cpu().numpy(), gradients)


@pytest.mark.parametrize("size", [50.0, 1e3, 1e30])
def test_huge_logits_cost_what_they_should(size):
    logits, labels = tensors([[size, -size, 0.0], [size, -size, 0.0]], [0, 1])
    came, dlogits = launch_cross_entropy(logits, labels)
    assert came.tolist() == [0.0, pytest.approx(2 * size)]
    np.testing.assert_allclose(dlogits.cpu(), [[0, 0, 0], [1, -1, 0]], atol=2 * math.exp(-50))


def test_without_a_gradient_the_kernel_writes_the_losses_only(rng):
    logits, labels = draw(rng, 3, 1500)
    came, dlogits = launch_cross_entropy(logits, labels, gradient=False)
    assert dlogits is None
    assert torch.equal(came, launch_cross_entropy(logits, labels)[0])


def test_logits_in_another_layout_give_the_same(rng):
    logits, labels = draw(rng, 5, 7)
    turned = logits.T.contiguous().T
    assert torch.equal(cross_entropy_forward(turned, labels), cross_entropy_forward(logits, labels))


def test_a_gradient_may_be_asked_for_twice(rng):
    logits, labels = draw(rng, 5, 7)
    loss = cross_entropy_forward(logits.requires_grad_(), labels)
    first, second = (torch.autograd.grad(loss * 3, logits, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_no_gradient_is_prepared_where_none_is_wanted(rng):
    logits, labels = draw(rng, 5, 7)
    assert not cross_entropy_forward(logits, labels).requires_grad
    assert cross_entropy_forward(logits.requires_grad_(), labels).requires_grad
    with torch.no_grad():
        assert not cross_entropy_forward(logits, labels).requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda z, y: (z.numpy(force=True), y), "expected logits to be a torch tensor, got ndarray"),
        (lambda z, y: (z, y.tolist()), "expected labels to be a torch tensor, got list"),
        (lambda z, y: (z[0], y), r"expected logits of \(batch, classes\) .*, got \(7,\)"),
        (lambda z, y: (z, y[:3]), r"expected a label for each row, and some, got 3 for \(5, 7\)"),
        (lambda z, y: (z[:0], y[:0]), r"expected a label for each row, and some, got 0 for \(0, 7\)"),
        (lambda z, y: (z.double(), y), "expected logits of dtype torch.float32 or torch.float16.*, got torch.float64"),
        (lambda z, y: (z, y.float()), "expected labels of one axis, torch.int32 or torch.int64, .* torch.float32"),
        (lambda z, y: (z, y, "none"), "expected the reduction mean or sum, got 'none'"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(change, message, rng):
    with pytest.raises(ValueError, match=message):
        cross_entropy_forward(*change(*draw(rng, 5, 7)))


@pytest.mark.parametrize("label", [-1, 7])
def test_a_label_that_is_no_class_is_refused_on_the_cpu_and_gives_nan_on_a_gpu(label, rng):
    logits, labels = draw(rng, 3, 7)
    labels[1] = label
    if INTERPRETED:
        with pytest.raises(ValueError, match=rf"expected labels in 0\.\.6, got {labels.min()} to {labels.max()}"):
            cross_entropy_forward(logits, labels)
    assert launch_cross_entropy(logits, labels)[0].isnan().tolist() == [False, True, False]


@pytest.mark.skipif(not INTERPRETED, reason="a GPU computes with bfloat16")
def test_bfloat16_is_refused_where_the_interpreter_would_get_it_wrong(rng):
    with pytest.raises(ValueError, match=r"got torch\.bfloat16"):
        cross_entropy_forward(*draw(rng, 3, 5, torch.bfloat16))


@pytest.mark.skipif(INTERPRETED, reason="the interpreter reads the CPU's memory")
def test_tensors_on_the_cpu_are_refused_by_the_gpu(rng):
    with pytest.raises(ValueError, match="expected tensors on a CUDA device"):
        cross_entropy_forward(*(tensor.cpu() for tensor in draw(rng, 3, 5)))


# What the grader takes the kernel for


@pytest.mark.parametrize("label", [*KERNEL.draws, *KERNEL.edges])
def test_the_walk_over_blocks_gives_the_losses_and_gradients_of_the_rows(label, rng):
    inputs = {**KERNEL.draws, **KERNEL.edges}[label](rng)
    for came, right in zip(walk_over_blocks(**inputs), expected(*map(torch.tensor, inputs.values())), strict=True):
        assert_close(came, right)


WALK = "    for start in range(0, classes, BLOCK):\n"
LOAD = 'z = tl.load(logits_ptr + start + k, mask=start + k < classes, other=float("-inf"))'
INDENTS = ("\n" + 8 * " ", "\n" + 12 * " ")  # it is loaded twice: for the sum, and for the gradient
SLIPS = {
    "padding of zeros": [(indent + LOAD, indent + LOAD.replace('float("-inf")', "0.0")) for indent in INDENTS],
    "maximum of zeros": [("top, total = -3.0e38, 0.0", "top, total = 0.0, 0.0")],
    "no maximum": [("tl.maximum(top, tl.max(z, axis=0))", "0.0 * top")],
    "no rescaling": [("total * tl.exp(top - new_top)", "total")],
    "no one-hot": [("tl.where(start + k == label, 1.0, 0.0)", "0.0")],
    "sign": [("start + k, dz, mask", "start + k, -dz, mask")],
    "first block only": [(WALK + "        z", "    for start in range(0, BLOCK, BLOCK):\n        z")],
}


@pytest.mark.skipif(not INTERPRETED, reason="the grader interprets")
@pytest.mark.parametrize("mistake", [None, *SLIPS])
def test_a_slip_in_the_source_of_the_kernel_is_named_as_its_twin_in_numpy(mistake, tmp_path):
    answer = submitted("cross_entropy_kernel", ["launch_cross_entropy"], SLIPS.get(mistake, []), tmp_path)
    for seed in (0, 1):
        verdict = verdict_on(KERNEL, 6.0, answer, seed)
        assert (verdict.points == verdict.out_of) == (mistake is None), verdict
        assert verdict.mistake == (KERNEL.mistakes[mistake].message if mistake else ""), verdict
