"""The IoU of all pairs of boxes, and non-maximum suppression in two steps: bits of who covers whom, then one scan.

Areas are computed in float32: in float16, a box of 256 by 256 pixels would have none.
"""

import torch
import triton
import triton.language as tl

from kernels.arguments import check_tensors, whole_rows

LARGEST = {"boxes": 131_072}  # of nms: that many have bits of 2 GiB


def _check_corners(boxes):
    """Raise ValueError where corners stand the wrong way round; on a GPU nobody waits for the answer."""
    if not boxes.is_cuda:
        wrong = torch.nonzero((boxes[:, 2:] < boxes[:, :2]).any(dim=1))
        if len(wrong):
            row = wrong[0].item()
            raise ValueError(f"expected boxes with x1 <= x2 and y1 <= y2, got {boxes[row].tolist()} in row {row}")


# --- pairwise IoU -------------------------------------------------------------------------------------------------


@triton.jit
def pairwise_iou_kernel(
    a_ptr, b_ptr, out_ptr, count_a, count_b, a_stride, b_stride, BLOCK_A: tl.constexpr, BLOCK_B: tl.constexpr,
):  # fmt: skip
    """Compute the IoU of BLOCK_A boxes of a with BLOCK_B boxes of b (eq. iou-matrix).

    Program (p, q) has the p-th block of a and the q-th of b. The four numbers of a box
    lie side by side, boxes a_stride and b_stride apart; out is contiguous. Two boxes
    without an area have an IoU of 0.
    """
    i = tl.program_id(0) * BLOCK_A + tl.arange(0, BLOCK_A)[:, None]
    j = tl.program_id(1) * BLOCK_B + tl.arange(0, BLOCK_B)[None, :]
    a, b = a_ptr + i * a_stride, b_ptr + j * b_stride
    x1 = tl.load(a, mask=i < count_a, other=0.0).to(tl.float32)
    y1 = tl.load(a + 1, mask=i < count_a, other=0.0).to(tl.float32)
    x2 = tl.load(a + 2, mask=i < count_a, other=0.0).to(tl.float32)
    y2 = tl.load(a + 3, mask=i < count_a, other=0.0).to(tl.float32)
    u1 = tl.load(b, mask=j < count_b, other=0.0).to(tl.float32)
    v1 = tl.load(b + 1, mask=j < count_b, other=0.0).to(tl.float32)
    u2 = tl.load(b + 2, mask=j < count_b, other=0.0).to(tl.float32)
    v2 = tl.load(b + 3, mask=j < count_b, other=0.0).to(tl.float32)
    width = tl.maximum(tl.minimum(x2, u2) - tl.maximum(x1, u1), 0.0)
    height = tl.maximum(tl.minimum(y2, v2) - tl.maximum(y1, v1), 0.0)
    inter = width * height
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - inter
    out = out_ptr + i.to(tl.int64) * count_b + j
    tl.store(out, inter / tl.where(union > 0, union, 1.0), mask=(i < count_a) & (j < count_b))


def launch_pairwise_iou(a, b):
    """Launch one program for each tile of 32 by 128 pairs, on arguments as the kernel wants them."""
    out = torch.empty((len(a), len(b)), dtype=a.dtype, device=a.device)
    grid = (triton.cdiv(len(a), 32), triton.cdiv(len(b), 128))
    pairwise_iou_kernel[grid](a, b, out, len(a), len(b), a.stride(0), b.stride(0), BLOCK_A=32, BLOCK_B=128, num_warps=8)
    return out


def pairwise_iou(a, b):
    """Return the IoU of every box of a with every box of b, without a gradient (eq. iou-matrix).

    a is (boxes, 4) and b (others, 4), in float32, float16 or, on a GPU, bfloat16; their rows may lie apart, other
    layouts are copied. On a GPU, a box with its corners the wrong way round is not noticed.
    """
    check_tensors(a=(a, "boxes 4"), b=(b, "others 4"))
    _check_corners(a)
    _check_corners(b)
    if 0 in (len(a), len(b)):
        return a.new_zeros((len(a), len(b)))
    return launch_pairwise_iou(*whole_rows(a, b))


# --- non-maximum suppression --------------------------------------------------------------------------------------


@triton.jit
def nms_bits_kernel(
    boxes_ptr, bits_ptr, count, words, threshold, BLOCK: tl.constexpr, WORDS: tl.constexpr,
):  # fmt: skip
    """Write down for BLOCK boxes which of 32 WORDS others, further down the list, they cover (eq. nms).

    Boxes are sorted, the best first, and turned: all x1, then all y1, x2 and y2. Bit s of
    bits[i, w] is set where box i covers box 32 w + s. Program (p, q) has the p-th block
    of boxes and the q-th of words.
    """
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)[:, None]
    j = tl.program_id(1) * (32 * WORDS) + tl.arange(0, 32 * WORDS)[None, :]
    x1 = tl.load(boxes_ptr + i, mask=i < count, other=0.0).to(tl.float32)
    y1 = tl.load(boxes_ptr + count + i, mask=i < count, other=0.0).to(tl.float32)
    x2 = tl.load(boxes_ptr + 2 * count + i, mask=i < count, other=0.0).to(tl.float32)
    y2 = tl.load(boxes_ptr + 3 * count + i, mask=i < count, other=0.0).to(tl.float32)
    u1 = tl.load(boxes_ptr + j, mask=j < count, other=0.0).to(tl.float32)
    v1 = tl.load(boxes_ptr + count + j, mask=j < count, other=0.0).to(tl.float32)
    u2 = tl.load(boxes_ptr + 2 * count + j, mask=j < count, other=0.0).to(tl.float32)
    v2 = tl.load(boxes_ptr + 3 * count + j, mask=j < count, other=0.0).to(tl.float32)
    width = tl.maximum(tl.minimum(x2, u2) - tl.maximum(x1, u1), 0.0)
    height = tl.maximum(tl.minimum(y2, v2) - tl.maximum(y1, v1), 0.0)
    inter = width * height
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - inter
    covers = (inter > threshold * union) & (j > i)
    bits = tl.reshape(covers.to(tl.int32) << (j % 32), (BLOCK, WORDS, 32))
    word = tl.program_id(1) * WORDS + tl.arange(0, WORDS)[None, :]
    tl.store(bits_ptr + i * words + word, tl.sum(bits, axis=2), mask=(i < count) & (word < words))


@triton.jit
def nms_scan_kernel(bits_ptr, order_ptr, keep_ptr, count, words, BLOCK: tl.constexpr):
    """Go down the list once, in a single program: a box that is still in strikes out those that it covers (eq. nms).

    struck has a bit for each box, in BLOCK words. 32 boxes are decided at a time, from
    the word that holds them. The box at place i of the list has number order[i].
    """
    word, lane = tl.arange(0, BLOCK), tl.arange(0, 32)
    struck = tl.zeros((BLOCK,), tl.int32)
    for k in range(words):
        here = tl.sum(tl.where(word == k, struck, 0), axis=0)
        for r in tl.static_range(32):
            inside = 32 * k + r < count
            row_ptr = bits_ptr + (32 * k + r) * words
            among_these = tl.load(row_ptr + k, mask=inside, other=0)
            stays = inside & (((here >> r) & 1) == 0)
            here |= tl.where(stays, among_these, 0)
            struck |= tl.load(row_ptr + word, mask=stays & (word > k) & (word < words), other=0)
        place = 32 * k + lane
        number = tl.load(order_ptr + place, mask=place < count, other=0)
        tl.store(keep_ptr + number, (((here >> lane) & 1) == 0).to(tl.int8), mask=place < count)


def nms(boxes, scores, threshold=0.5):
    """Say of each box whether it stays: not so if a better one that stays covers it (eq. nms).

    boxes is (boxes, 4), scores (boxes,), in float32, float16 or, on a GPU, bfloat16. Nothing waits for the GPU, so
    that the answer is one bool for each box. There, a box with its corners the wrong way round is not noticed.
    """
    check_tensors(boxes=(boxes, "boxes 4"), scores=(scores, "boxes"))
    _check_corners(boxes)
    if not 0 <= threshold <= 1:
        raise ValueError(f"expected a threshold in [0, 1], got {threshold:g}")
    count = len(boxes)
    if count > LARGEST["boxes"]:
        raise ValueError(f"expected at most {LARGEST['boxes']} boxes, got {count}")
    keep = torch.empty(count, dtype=torch.int8, device=boxes.device)
    if count == 0:
        return keep.bool()
    order = torch.sort(scores, descending=True, stable=True).indices.to(torch.int32)
    words = triton.cdiv(count, 32)
    bits = torch.empty((count, words), dtype=torch.int32, device=boxes.device)
    grid = (triton.cdiv(count, 32), triton.cdiv(words, 8))
    nms_bits_kernel[grid](boxes[order].T.contiguous(), bits, count, words, threshold, BLOCK=32, WORDS=8, num_warps=8)
    nms_scan_kernel[(1,)](bits, order, keep, count, words, BLOCK=triton.next_power_of_2(words))
    return keep.bool()
