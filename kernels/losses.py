"""Fused softmax cross-entropy: loss and gradient of a row of logits in one launch, without storing probabilities.

Sums are taken in float32.
"""

import torch
import triton
import triton.language as tl
from torch.autograd.function import once_differentiable

from kernels.arguments import check_labels, check_tensors, want_gradients, whole_rows


@triton.jit
def cross_entropy_kernel(
    logits_ptr, labels_ptr, losses_ptr, dlogits_ptr, classes, row_stride, BLOCK: tl.constexpr,
):  # fmt: skip
    """Compute the loss of one row, and its gradient unless dlogits_ptr is None.

    Eq. losses-online. Program r has row r, which starts at logits_ptr + r * row_stride;
    rows of dlogits lie in one piece. The first walk over the row, BLOCK classes at a
    time, keeps the largest logit so far and the sum of exponentials relative to it; the
    second writes p - y. A label that is no class gives NaN.
    """
    row = tl.program_id(0).to(tl.int64)
    k = tl.arange(0, BLOCK)
    logits_ptr += row * row_stride
    label = tl.load(labels_ptr + row)
    right = tl.load(logits_ptr + label, mask=(label >= 0) & (label < classes), other=float("nan")).to(tl.float32)
    top, total = -3.0e38, 0.0  # lower than any logit, but finite: infinity minus infinity is NaN
    for start in range(0, classes, BLOCK):
        z = tl.load(logits_ptr + start + k, mask=start + k < classes, other=float("-inf")).to(tl.float32)
        new_top = tl.maximum(top, tl.max(z, axis=0))
        total = total * tl.exp(top - new_top) + tl.sum(tl.exp(z - new_top), axis=0)
        top = new_top
    tl.store(losses_ptr + row, tl.log(total) + (top - right))
    if dlogits_ptr is not None:
        for start in range(0, classes, BLOCK):
            z = tl.load(logits_ptr + start + k, mask=start + k < classes, other=float("-inf")).to(tl.float32)
            dz = tl.exp(z - top) / total - tl.where(start + k == label, 1.0, 0.0)
            tl.store(dlogits_ptr + row * classes + start + k, dz, mask=start + k < classes)


def launch_cross_entropy(logits, labels, gradient=True):
    """Launch one program for each row: the losses of the rows and, if wanted, the gradient of each at its logits."""
    batch, classes = logits.shape
    losses = torch.empty(batch, dtype=torch.float32, device=logits.device)
    dlogits = torch.empty((batch, classes), dtype=logits.dtype, device=logits.device) if gradient else None
    block = min(triton.next_power_of_2(classes), 1024)
    cross_entropy_kernel[(batch,)](
        logits, labels.to(torch.int32), losses, dlogits, classes, logits.stride(0), BLOCK=block
    )
    return losses, dlogits


class _CrossEntropy(torch.autograd.Function):
    """The reduced loss; the gradient is made in the forward pass, and only scaled in the backward pass."""

    @staticmethod
    def forward(ctx, logits, labels, divisor):
        losses, dlogits = launch_cross_entropy(logits, labels)
        ctx.save_for_backward(dlogits)
        ctx.divisor = divisor
        return (losses.sum() / divisor).to(logits.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, dloss):
        (dlogits,) = ctx.saved_tensors
        return dlogits * (dloss / ctx.divisor), None, None


def cross_entropy_forward(logits, labels, reduction="mean"):
    """Return the cross-entropy of softmax(logits) to the numbers of the right classes; autograd follows.

    Eq. losses-ce-logits. logits is (batch, classes) in float32, float16 or, on a GPU, bfloat16; its rows may lie
    apart, other layouts are copied. labels is (batch,), of integers; on a GPU, one that is no class makes the loss NaN.
    """
    check_tensors(logits=(logits, "batch classes"))
    check_labels(labels, logits.shape[1], logits.device)
    if len(labels) != len(logits) or 0 in logits.shape:
        raise ValueError(f"expected a label for each row, and some, got {len(labels)} for {tuple(logits.shape)}")
    if reduction not in ("mean", "sum"):
        raise ValueError(f"expected the reduction mean or sum, got {reduction!r}")
    (logits,) = whole_rows(logits)
    divisor = len(labels) if reduction == "mean" else 1
    if want_gradients(logits):
        return _CrossEntropy.apply(logits, labels, divisor)
    losses, _ = launch_cross_entropy(logits, labels, gradient=False)
    return (losses.sum() / divisor).to(logits.dtype)
