"""The first kernels of the book: one idea each, from a masked block to tiles and atomics.

`launch_<name>` launches a kernel on arguments as it wants them; `<name>` is the twin of the NumPy function of that
name, which checks them first. Rows of a matrix may lie apart, by a stride; elements of a row may not. Sums are taken
in float32. Gradients do not pass.
"""

import torch
import triton
import triton.language as tl

from kernels.arguments import check_labels, check_tensors, whole_rows


@triton.jit
def vector_add_kernel(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """Add block p of two vectors of n elements in program p.

    Eq. kernels-vector-add.
    """
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < n
    x = tl.load(x_ptr + i, mask=mask, other=0.0)
    y = tl.load(y_ptr + i, mask=mask, other=0.0)
    tl.store(out_ptr + i, x + y, mask=mask)


def launch_vector_add(x, y):
    """Launch one program for each block of 1024 elements."""
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    grid = (triton.cdiv(len(x), 1024),)
    vector_add_kernel[grid](x, y, out, len(x), BLOCK=1024)
    return out


@triton.jit
def row_sum_kernel(x_ptr, sum_ptr, cols, x_stride, BLOCK: tl.constexpr):
    """Sum row p of cols elements in program p (eq. kernels-row-sum).

    Row p starts at x_ptr + p * x_stride, and its sum goes to sum_ptr + p.
    """
    row = tl.program_id(0)
    total = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, cols, BLOCK):
        k = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * x_stride + k, mask=k < cols, other=0.0)
        total += x.to(tl.float32)
    tl.store(sum_ptr + row, tl.sum(total, axis=0))


def launch_row_sum(x):
    """Launch one program for each row, which reads 512 elements at a time."""
    rows, cols = x.shape
    sums = torch.empty((rows,), dtype=x.dtype, device=x.device)
    row_sum_kernel[(rows,)](x, sums, cols, x.stride(0), BLOCK=512)
    return sums


@triton.jit
def column_sum_kernel(
    x_ptr, sum_ptr, rows, cols, x_stride,
    BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Sum block p of the columns in program p (eq. kernels-column-sum).

    A block has BLOCK_C columns; the rows are walked BLOCK_R at a time. Row r starts at
    x_ptr + r * x_stride, and the sum of column c goes to sum_ptr + c.
    """
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    total = tl.zeros((BLOCK_R, BLOCK_C), tl.float32)
    for start in range(0, rows, BLOCK_R):
        r = start + tl.arange(0, BLOCK_R)
        mask = (r[:, None] < rows) & (c[None, :] < cols)
        x = tl.load(x_ptr + r[:, None] * x_stride + c[None, :], mask=mask, other=0.0)
        total += x.to(tl.float32)
    tl.store(sum_ptr + c, tl.sum(total, axis=0), mask=c < cols)


def launch_column_sum(x, BLOCK_R=32, BLOCK_C=32):
    """Launch one program for each block of columns."""
    rows, cols = x.shape
    sums = torch.empty((cols,), dtype=x.dtype, device=x.device)
    grid = (triton.cdiv(cols, BLOCK_C),)
    blocks = {"BLOCK_R": BLOCK_R, "BLOCK_C": BLOCK_C}
    column_sum_kernel[grid](x, sums, rows, cols, x.stride(0), **blocks)
    return sums


@triton.jit
def row_softmax_kernel(x_ptr, out_ptr, cols, x_stride, BLOCK: tl.constexpr):
    """Turn row p into probabilities in program p (eq. kernels-row-softmax).

    The whole row fits into one block. Row p starts at x_ptr + p * x_stride in x, at
    out_ptr + p * cols in out.
    """
    row = tl.program_id(0)
    k = tl.arange(0, BLOCK)
    mask = k < cols
    x = tl.load(x_ptr + row * x_stride + k, mask=mask, other=-float("inf"))
    x = x.to(tl.float32)
    e = tl.exp(x - tl.max(x, axis=0))
    tl.store(out_ptr + row * cols + k, e / tl.sum(e, axis=0), mask=mask)


def launch_row_softmax(x):
    """Launch one program for each row, with a block that is the next power of two."""
    rows, cols = x.shape
    out = torch.empty((rows, cols), dtype=x.dtype, device=x.device)
    block = triton.next_power_of_2(cols)
    row_softmax_kernel[(rows,)](x, out, cols, x.stride(0), BLOCK=block)
    return out


@triton.jit
def transpose_kernel(x_ptr, out_ptr, rows, cols, x_stride, BLOCK: tl.constexpr):
    """Copy tile (p, q) of x to tile (q, p) of out (eq. kernels-transpose).

    Program (p, q) does it. A tile has BLOCK rows and BLOCK columns. Row r of x starts
    at x_ptr + r * x_stride; out has cols rows of rows elements each, without gaps.
    """
    r = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = (r[:, None] < rows) & (c[None, :] < cols)
    tile = tl.load(x_ptr + r[:, None] * x_stride + c[None, :], mask=mask, other=0.0)
    mask = (c[:, None] < cols) & (r[None, :] < rows)
    tl.store(out_ptr + c[:, None] * rows + r[None, :], tl.trans(tile), mask=mask)


def launch_transpose(x):
    """Launch one program for each tile of 32 rows and 32 columns."""
    rows, cols = x.shape
    out = torch.empty((cols, rows), dtype=x.dtype, device=x.device)
    grid = (triton.cdiv(rows, 32), triton.cdiv(cols, 32))
    transpose_kernel[grid](x, out, rows, cols, x.stride(0), BLOCK=32)
    return out


@triton.jit
def matmul_kernel(
    A_ptr, B_ptr, C_ptr, rows, inner, cols, A_stride, B_stride,
    BLOCK_R: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Compute tile (p, q) of C = A B in program (p, q) (eq. kernels-matmul).

    A tile has BLOCK_R rows and BLOCK_C columns; the inner axis is walked BLOCK_K at a
    time. A is (rows, inner), B is (inner, cols); their rows start every A_stride and
    B_stride elements. C is (rows, cols), without gaps.
    """
    r = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)[:, None]
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)[None, :]
    acc = tl.zeros((BLOCK_R, BLOCK_C), tl.float32)
    for start in range(0, inner, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        A_mask = (r < rows) & (k[None, :] < inner)
        B_mask = (k[:, None] < inner) & (c < cols)
        A = tl.load(A_ptr + r * A_stride + k[None, :], mask=A_mask, other=0.0)
        B = tl.load(B_ptr + k[:, None] * B_stride + c, mask=B_mask, other=0.0)
        acc = tl.dot(A, B, acc, input_precision="tf32")
    tl.store(C_ptr + r * cols + c, acc, mask=(r < rows) & (c < cols))


def launch_matmul(A, B):
    """Launch one program for each tile of C, 64 rows by 32 columns."""
    (rows, inner), cols = A.shape, B.shape[1]
    C = torch.empty((rows, cols), dtype=A.dtype, device=A.device)
    grid = (triton.cdiv(rows, 64), triton.cdiv(cols, 32))
    matmul_kernel[grid](
        A, B, C, rows, inner, cols, A.stride(0), B.stride(0),
        BLOCK_R=64, BLOCK_C=32, BLOCK_K=32,
    )  # fmt: skip
    return C


@triton.jit
def histogram_kernel(labels_ptr, counts_ptr, n, BLOCK: tl.constexpr):
    """Count the labels of block p in program p (eq. kernels-histogram).

    There are n labels, each the index of a count; to the counts as they are, add one
    for each of their labels.
    """
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = i < n
    label = tl.load(labels_ptr + i, mask=mask, other=0)
    tl.atomic_add(counts_ptr + label, 1.0, mask=mask)


def launch_histogram(labels, counts):
    """Copy the counts, then launch one program for each block of 512 labels."""
    labels, out = labels.to(torch.int32), counts.to(torch.float32, copy=True)
    grid = (triton.cdiv(len(labels), 512),)
    histogram_kernel[grid](labels, out, len(labels), BLOCK=512)
    return out.to(counts.dtype)


@triton.jit
def row_variance_kernel(x_ptr, var_ptr, cols, x_stride, BLOCK: tl.constexpr):
    """Compute the variance of row p in program p (eq. kernels-row-variance).

    One pass is for the mean, one for the squares. Row p starts at x_ptr + p * x_stride,
    and its variance goes to var_ptr + p.
    """
    row = tl.program_id(0)
    total = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, cols, BLOCK):
        k = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * x_stride + k, mask=k < cols, other=0.0)
        total += x.to(tl.float32)
    mean = tl.sum(total, axis=0) / cols
    squares = tl.zeros((BLOCK,), tl.float32)
    for start in range(0, cols, BLOCK):
        k = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + row * x_stride + k, mask=k < cols, other=0.0)
        d = tl.where(k < cols, x.to(tl.float32) - mean, 0.0)
        squares += d * d
    tl.store(var_ptr + row, tl.sum(squares, axis=0) / cols)


def launch_row_variance(x):
    """Launch one program for each row, which reads 512 elements at a time."""
    rows, cols = x.shape
    var = torch.empty((rows,), dtype=x.dtype, device=x.device)
    row_variance_kernel[(rows,)](x, var, cols, x.stride(0), BLOCK=512)
    return var


def _check_columns(x):
    if x.shape[1] == 0:
        raise ValueError(f"expected rows of at least one element, got shape {tuple(x.shape)}")


def vector_add(x, y):
    """Add two vectors element by element (eq. kernels-vector-add)."""
    check_tensors(x=(x, "n"), y=(y, "n"))
    return launch_vector_add(x.contiguous(), y.contiguous())


def row_sum(x):
    """Sum every row (eq. kernels-row-sum)."""
    check_tensors(x=(x, "rows cols"))
    return launch_row_sum(*whole_rows(x))


def column_sum(x):
    """Sum every column (eq. kernels-column-sum)."""
    check_tensors(x=(x, "rows cols"))
    return launch_column_sum(*whole_rows(x))


def row_softmax(x):
    """Turn every row into probabilities without overflow (eq. kernels-row-softmax)."""
    check_tensors(x=(x, "rows cols"))
    _check_columns(x)
    return launch_row_softmax(*whole_rows(x))


def transpose(x):
    """Copy a matrix so that its columns become rows (eq. kernels-transpose)."""
    check_tensors(x=(x, "rows cols"))
    return launch_transpose(*whole_rows(x))


def matmul(A, B):
    """Multiply two matrices (eq. kernels-matmul)."""
    check_tensors(A=(A, "rows inner"), B=(B, "inner cols"))
    return launch_matmul(*whole_rows(A, B))


def histogram(labels, counts):
    """Add to every count how often its label occurs (eq. kernels-histogram)."""
    check_tensors(counts=(counts, "bins"))
    check_labels(labels, len(counts), counts.device)
    return launch_histogram(labels.contiguous(), counts.contiguous())


def row_variance(x):
    """Return the mean squared distance of every row from its mean (eq. kernels-row-variance)."""
    check_tensors(x=(x, "rows cols"))
    _check_columns(x)
    return launch_row_variance(*whole_rows(x))
