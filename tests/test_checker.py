"""The memory checker: every kind of fault is found and said in words; right kernels pass; costs are counted."""

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")

import triton
import triton.language as tl

from kernels import INTERPRETED, checker
from tests.kernel_guards import guarded_outputs

if not INTERPRETED:
    pytest.skip("the checker watches Triton's interpreter, and this run is on a GPU", allow_module_level=True)

ROWS, COLS, BLOCK = 5, 37, 64


@triton.jit
def scaled_rows_kernel(
    x_ptr, out_ptr, total_ptr, cols, x_stride, out_stride, SLIP: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Store twice each row and add its sum to the total; SLIP makes one mistake."""
    row = tl.program_id(0) + (SLIP == "wrong row")
    stride = cols if SLIP == "wrong stride" else x_stride
    k = tl.arange(0, BLOCK)
    if SLIP == "unmasked load":
        x = tl.load(x_ptr + row * stride + k)
    elif SLIP == "mask of the wrong axis":
        x = tl.load(x_ptr + row * stride + k, mask=k < cols + 1, other=0.0)
    elif SLIP == "no other":
        x = tl.load(x_ptr + row * stride + k, mask=k < cols)
    else:
        x = tl.load(x_ptr + row * stride + k, mask=k < cols, other=0.0)
    if SLIP == "store past the end":
        tl.store(out_ptr + row * out_stride + k, 2 * x)
    elif SLIP == "store to the first row":
        tl.store(out_ptr + k, 2 * x, mask=k < cols)
    elif SLIP == "lanes in one place":
        tl.store(out_ptr + row * out_stride + k // 2, 2 * x, mask=k < cols)
    elif SLIP != "missing store":
        tl.store(out_ptr + row * out_stride + k, 2 * x, mask=k < cols)
    if SLIP == "lost atomic":
        tl.store(total_ptr, tl.load(total_ptr) + tl.sum(x, axis=0))
    else:
        tl.atomic_add(total_ptr, tl.sum(x, axis=0))


def scaled_rows(x, slip=""):
    """Launch one program for each row."""
    out, total = torch.empty(x.shape), torch.zeros(1)
    grid = (len(x),)
    scaled_rows_kernel[grid](x, out, total, x.shape[1], x.stride(0), out.stride(0), SLIP=slip, BLOCK=BLOCK)
    return out, total


def prove(slip, rng):
    """Values, guards and memory, as the tests of every kernel have it."""
    x = torch.full((ROWS, COLS + 3), torch.nan)[:, :COLS]
    x[:] = torch.tensor(rng.standard_normal((ROWS, COLS)))
    with guarded_outputs():
        with checker.watch() as launches:
            out, total = scaled_rows(x, slip)
        found = [finding.message for finding in launches[0].findings]
        assert not found, "\n".join(found)
    torch.testing.assert_close(out, 2 * x)
    torch.testing.assert_close(total, x.sum().reshape(1))
    return launches[0]


MUTANTS = {
    "unmasked load": r"load out of bounds in program \(0, 0, 0\): x\[37\] of 5 × 37 \(between its rows\)\. Did you",
    "mask of the wrong axis": r"load out of bounds .* x\[37\] of 5 × 37 .*Does the mask leave out",
    "store past the end": r"store out of bounds in program \(4, 0, 0\): out\[185\] of 5 × 37\. Did you forget mask=",
    "lost atomic": r"race: program \(1, 0, 0\) loads total\[0\] of 1, program \(0, 0, 0\) stores it .*tl\.atomic_add",
    "wrong stride": r"x\[37\] of 5 × 37 \(between its rows\).*Does each row begin a stride after the one before\?",
    "wrong row": r"load out of bounds in program \(4, 0, 0\): x\[200\] of 5 × 37",
    "store to the first row": r"race: program \(1, 0, 0\) stores out\[0\] .*, program \(0, 0, 0\) stores it .*chance",
    "lanes in one place": r"two lanes of program \(0, 0, 0\) store different values at out\[0\] .*tl\.atomic_add",
    "no other": r"loads with a mask but without other=.*ends up in a result",
    "missing store": r"part of an output was never written",
}


@pytest.mark.parametrize(("slip", "message"), MUTANTS.items(), ids=MUTANTS.keys())
def test_every_mutant_fails_with_its_own_message(slip, message, rng):
    with pytest.raises(AssertionError, match=message):
        prove(slip, rng)


def test_the_kernel_without_a_slip_passes_and_its_cost_is_counted(rng):
    launch = prove("", rng)
    row = 4 * COLS
    assert (launch.kernel, launch.grid) == ("scaled_rows_kernel", (ROWS, 1, 1))
    assert launch.traffic["x"] == checker.Traffic(loaded=ROWS * row, stored=0, needed=ROWS * row)
    assert launch.traffic["out"] == checker.Traffic(loaded=0, stored=ROWS * row, needed=ROWS * row)
    assert launch.traffic["total"] == checker.Traffic(loaded=0, stored=ROWS * 4, needed=4)
    assert launch.roofline == launch.needed / checker.BANDWIDTH


@triton.jit
def product_kernel(x_ptr, y_ptr, out_ptr, K, BLOCK: tl.constexpr, TWICE: tl.constexpr):
    """Multiply two square matrices of BLOCK in steps of BLOCK; TWICE reads x again in each."""
    m, n = tl.arange(0, BLOCK)[:, None], tl.arange(0, BLOCK)[None, :]
    total = tl.zeros((BLOCK, BLOCK), tl.float32)
    for start in range(0, K, BLOCK):
        k = start + tl.arange(0, BLOCK)
        x = tl.load(x_ptr + m * K + k[None, :])
        if TWICE:
            x = (x + tl.load(x_ptr + m * K + k[None, :])) / 2
        total = tl.dot(x, tl.load(y_ptr + k[:, None] * BLOCK + n), total, input_precision="ieee")
    tl.store(out_ptr + m * BLOCK + n, total)


@pytest.mark.parametrize("twice", [False, True])
def test_operations_of_dots_and_what_is_read_twice_are_counted(twice, rng):
    x, y = (torch.tensor(rng.standard_normal(shape), dtype=torch.float32) for shape in [(16, 48), (48, 16)])
    out = torch.empty(16, 16)
    with checker.watch() as launches:
        product_kernel[(1,)](x, y, out, 48, BLOCK=16, TWICE=twice)
    torch.testing.assert_close(out, x @ y)
    assert launches[0].findings == []
    assert launches[0].flops == 2 * 16 * 48 * 16
    assert launches[0].needed == 4 * (2 * 16 * 48 + 16 * 16)
    assert launches[0].moved == launches[0].needed + 4 * 16 * 48 * twice


@triton.jit
def column_kernel(x_ptr, out_ptr, rows, cols, BLOCK: tl.constexpr):
    """Copy one column."""
    k = tl.arange(0, BLOCK)
    value = tl.load(x_ptr + k * cols + tl.program_id(0), mask=k < rows, other=0.0)
    tl.store(out_ptr + k * cols + tl.program_id(0), value, mask=k < rows)


def test_reading_along_columns_wastes_most_of_every_sector():
    x = torch.zeros(33, 40)
    with checker.watch() as launches:
        column_kernel[(40,)](x, torch.empty(33, 40), 33, 40, BLOCK=64)
    assert launches[0].share_of_sectors == 4 / checker.SECTOR
    assert launches[0].moved == launches[0].needed


@triton.jit
def shifted_kernel(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    """Store each element one place further on."""
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y_ptr + k + 1, tl.load(x_ptr + k, mask=k < n - 1, other=0.0), mask=k < n - 1)


def test_two_arguments_in_one_storage_share_their_races():
    buffer = torch.zeros(37)
    with checker.watch() as launches:
        shifted_kernel[(5,)](buffer, buffer, 37, BLOCK=8)
        shifted_kernel[(5,)](buffer, torch.zeros(37), 37, BLOCK=8)
    aliased, apart = launches
    assert [finding.kind for finding in aliased.findings] == ["race"]
    assert apart.findings == []


def test_a_pointer_far_outside_of_every_argument_does_no_harm():
    x, out = torch.ones(8), torch.zeros(9)
    with checker.watch() as launches:
        shifted_kernel[(1 << 4,)](x, out, 1 << 20, BLOCK=1 << 12)
    assert launches[0].findings[0].kind == "bounds"
    np.testing.assert_array_equal(out.numpy(), np.array([0.0] + [1.0] * 8))


@triton.jit
def last_only_kernel(x_ptr, y_ptr, n, programs, BLOCK: tl.constexpr):
    """Copy the elements of the last program's block only."""
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = (k < n) & (tl.program_id(0) + 1 == programs)
    tl.store(y_ptr + k, tl.load(x_ptr + k, mask=mask, other=0.0), mask=mask)


def test_a_mask_may_be_joined_with_a_condition_on_a_number():
    x, y = torch.ones(37), torch.zeros(37)
    with checker.watch() as launches:
        last_only_kernel[(5,)](x, y, 37, 5, BLOCK=8)
    assert launches[0].findings == []
    assert launches[0].moved == 2 * 4 * 5
    assert y.nonzero().flatten().tolist() == [32, 33, 34, 35, 36]


@triton.jit
def counts_kernel(ids_ptr, counts_ptr, n, ATOMIC: tl.constexpr, BLOCK: tl.constexpr):
    """Count how often each id occurs."""
    k = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    ids = tl.load(ids_ptr + k, mask=k < n, other=0)
    if ATOMIC:
        tl.atomic_add(counts_ptr + ids, 1, mask=k < n)
    else:
        tl.store(counts_ptr + ids, tl.load(counts_ptr + ids, mask=k < n, other=0) + 1, mask=k < n)


def test_adding_without_an_atomic_operation_is_a_race_and_with_one_it_is_none(rng):
    ids = torch.tensor(rng.integers(0, 3, 37))
    for atomic, kinds in [(True, []), (False, ["race"])]:
        counts = torch.zeros(3, dtype=torch.int32)
        with checker.watch() as launches:
            counts_kernel[(5,)](ids, counts, 37, ATOMIC=atomic, BLOCK=8)
        assert [finding.kind for finding in launches[0].findings] == kinds
        assert (counts.numpy() == np.bincount(ids)).all() == atomic


@triton.jit
def blocks_kernel(x_ptr, out_ptr, n, CHECKED: tl.constexpr, BLOCK: tl.constexpr):
    """Copy by block pointers."""
    first = tl.program_id(0) * BLOCK
    x = tl.make_block_ptr(x_ptr, shape=(n,), strides=(1,), offsets=(first,), block_shape=(BLOCK,), order=(0,))
    out = tl.make_block_ptr(out_ptr, shape=(n,), strides=(1,), offsets=(first,), block_shape=(BLOCK,), order=(0,))
    if CHECKED:
        tl.store(out, tl.load(x, boundary_check=(0,), padding_option="zero"), boundary_check=(0,))
    else:
        tl.store(out, tl.load(x), boundary_check=(0,))


@triton.jit
def descriptors_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """Copy by tensor descriptors."""
    first = tl.program_id(0) * BLOCK
    x = tl.make_tensor_descriptor(x_ptr, shape=[n], strides=[1], block_shape=[BLOCK])
    out = tl.make_tensor_descriptor(out_ptr, shape=[n], strides=[1], block_shape=[BLOCK])
    out.store([first], x.load([first]))


@pytest.mark.filterwarnings("ignore:tl.make_block_ptr is deprecated")
def test_block_pointers_and_descriptors_are_watched_too():
    x, out = torch.arange(37.0), torch.empty(3, 37)
    with checker.watch() as launches:
        blocks_kernel[(5,)](x, out[0], 37, CHECKED=True, BLOCK=8)
        descriptors_kernel[(5,)](x, out[1], 37, BLOCK=8)
        blocks_kernel[(5,)](x, out[2], 37, CHECKED=False, BLOCK=8)
    assert (out == x).all()
    *right, unchecked = launches
    assert [(launch.findings, launch.moved) for launch in right] == 2 * [([], 2 * 4 * 37)]
    assert unchecked.findings[0].message.startswith("load out of bounds in program (4, 0, 0): x[37] of 37")


@triton.jit
def pairs_kernel(x_ptr, out_ptr, n, BLOCK: tl.constexpr):
    """Copy two elements of 4 bytes as one of 8."""
    x, out = x_ptr.to(tl.pointer_type(tl.int64)), out_ptr.to(tl.pointer_type(tl.int64))
    k = tl.arange(0, BLOCK)
    tl.store(out + k, tl.load(x + k, mask=k < n, other=0), mask=k < n)


def test_a_pointer_of_another_type_reaches_as_far_as_its_own_elements():
    x, out = torch.arange(7.0), torch.zeros(7)
    with checker.watch() as launches:
        pairs_kernel[(1,)](x, out, 3, BLOCK=4)
        pairs_kernel[(1,)](x, torch.zeros(7), 4, BLOCK=4)
    assert (out[:6] == x[:6]).all()
    even, past = launches
    assert (even.findings, even.moved) == ([], 2 * 4 * 6)
    assert "out of bounds" in past.findings[0].message


def test_the_interpreter_is_as_before_when_the_watch_ends(rng):
    from triton.runtime import interpreter

    def parts():
        builder = interpreter.interpreter_builder
        return [vars(builder).get(name) for name in checker.PATCHED] + [
            interpreter._implicit_cvt,
            interpreter.GridExecutor.__call__,
        ]

    before = parts()
    with pytest.raises(AssertionError):
        prove("unmasked load", rng)
    assert parts() == before


def test_the_private_parts_of_triton_that_the_checker_needs_are_there():
    assert checker.why_not() == ""


def test_where_they_are_not_a_warning_says_so_and_kernels_run_unwatched(monkeypatch):
    monkeypatch.setattr(checker, "PATCHED", (*checker.PATCHED, "create_something_new"))
    x, out = torch.ones(8), torch.zeros(9)
    warning = r"not checked for their memory: triton .* has no create_something_new"
    with pytest.warns(RuntimeWarning, match=warning), checker.watch() as launches:
        shifted_kernel[(1,)](x, out, 8, BLOCK=8)
    assert launches == []
    assert out.sum() == 7
