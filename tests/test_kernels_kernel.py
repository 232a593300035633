"""The first kernels in Triton: errors, edge values, what they move, and the kernel that is given with three bugs."""

import importlib.util
import itertools
import re

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")

from autograder import blocks, compose, kill_matrix, question, stubs
from autograder.check import examine
from kernels import INTERPRETED, checker, kernels
from solutions import kernels as reference
from tests.tolerances import assert_close

DEVICE = "cpu" if INTERPRETED else "cuda"
QUESTIONS = question.of_block("kernels")
interpreted = pytest.mark.skipif(not INTERPRETED, reason="the checker watches the interpreter")


def tensor(array, dtype=torch.float32):
    return torch.tensor(array, dtype=dtype, device=DEVICE)


# what a kernel moves


@interpreted
@pytest.mark.parametrize("name", QUESTIONS)
def test_a_question_knows_what_its_reference_moves(name):
    asked = QUESTIONS[name]
    host = getattr(kernels, asked.calls[0])
    for case in question.make_task(asked, 1, seed=3).cases:
        with checker.watch() as launches:
            host(*map(tensor, case.inputs.values()))
        assert [launch.moved for launch in launches] == [asked.moves(case.inputs)], case.label


@interpreted
def test_only_the_tiles_of_a_product_and_the_second_pass_of_a_variance_read_twice(rng):
    x, y = tensor(rng.standard_normal((70, 75))), tensor(rng.standard_normal((75, 45)))
    with checker.watch() as launches:
        kernels.vector_add(x[0], x[1])
        kernels.row_sum(x)
        kernels.row_softmax(x)
        kernels.transpose(x)
        kernels.matmul(x, y)
        kernels.row_variance(x)
    assert [launch.moved / launch.needed > 1 for launch in launches] == [False, False, False, False, True, True]


@interpreted
def test_columns_side_by_side_use_whole_sectors_and_single_columns_an_eighth(rng):
    x = tensor(rng.standard_normal((96, 64)))
    for columns, share in ((1, 1 / 8), (8, 1), (32, 1)):
        with checker.watch() as launches:
            kernels.launch_column_sum(x, BLOCK_R=32, BLOCK_C=columns)
        assert launches[0].share_of_sectors == pytest.approx(share)


# edge values


def test_softmax_holds_far_from_zero(rng):
    x = rng.standard_normal((5, 37)).astype(np.float32)
    for shift in (-1e4, -1e3, 1e3, 1e4):
        moved = np.float32(x + np.float32(shift))
        assert_close(kernels.row_softmax(tensor(moved)).cpu().numpy(), reference.row_softmax(moved.astype(float)))


def test_the_variance_keeps_its_digits_where_the_mean_is_large(rng):
    x = rng.integers(-9, 9, (3, 700)) + 2.0**14
    assert_close(kernels.row_variance(tensor(x)).cpu().numpy(), reference.row_variance(x))


def test_ten_thousand_equal_labels_are_all_counted():
    counts = kernels.histogram(torch.ones(9999, dtype=torch.int64, device=DEVICE), tensor(np.zeros(3)))
    assert counts.tolist() == [0, 9999, 0]


def test_a_float32_count_stops_at_two_to_the_24th():
    full = tensor(np.full(1, 2.0**24))
    assert kernels.histogram(torch.zeros(9, dtype=torch.int64, device=DEVICE), full).item() == 2.0**24


def test_sums_of_float16_are_taken_in_float32():
    x = tensor(np.full((1, 5000), 0.1), torch.float16)
    assert kernels.row_sum(x).item() == pytest.approx(x.double().sum().item(), rel=1e-3)


def test_empty_arrays_give_empty_results_or_sums_of_zero():
    empty = tensor(np.zeros(0))
    assert kernels.vector_add(empty, empty).shape == (0,)
    assert kernels.row_sum(tensor(np.zeros((0, 3)))).shape == (0,)
    assert kernels.row_sum(tensor(np.zeros((3, 0)))).tolist() == [0, 0, 0]
    assert kernels.transpose(tensor(np.zeros((3, 0)))).shape == (0, 3)
    assert kernels.matmul(tensor(np.zeros((3, 0))), tensor(np.zeros((0, 5)))).tolist() == [[0] * 5] * 3


def test_columns_that_lie_apart_are_copied_first(rng):
    x = rng.standard_normal((5, 7)).astype(np.float32)
    turned = tensor(x.T.copy()).T
    assert turned.stride() == (1, 5)
    for name in ("row_sum", "row_softmax", "transpose", "row_variance"):
        expected = getattr(reference, name)(x.astype(float))
        assert_close(getattr(kernels, name)(turned).cpu().numpy(), expected)
    assert_close(kernels.vector_add(turned[:, 0], turned[:, 1]).cpu().numpy(), x[:, 0] + x[:, 1])
    assert_close(kernels.matmul(turned, tensor(x).T).cpu().numpy(), (x @ x.T).astype(float))


# errors


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("vector_add", ([1.0, 2.0], [1.0]), "expected x to be a torch tensor, got list"),
        ("vector_add", (torch.zeros(3), torch.zeros(5)), r"expected y of \(3,\) .*, got \(5,\)"),
        ("vector_add", (torch.zeros(3), torch.zeros(3, dtype=torch.float16)), r"expected y of \(3,\) torch.float32 on"),
        ("vector_add", (torch.zeros(3, 5), torch.zeros(3, 5)), r"expected x of \(n,\) .*, got \(3, 5\)"),
        ("row_sum", (torch.zeros(3),), r"expected x of \(rows, cols\) .*, got \(3,\)"),
        ("row_sum", (torch.zeros(3, 5, dtype=torch.float64),), "expected x of dtype .*, got torch.float64"),
        ("row_softmax", (torch.zeros(3, 0),), "expected rows of at least one element"),
        ("row_variance", (torch.zeros(3, 0),), "expected rows of at least one element"),
        ("transpose", (torch.zeros(3, 5, 7),), r"expected x of \(rows, cols\)"),
        ("matmul", (torch.zeros(3, 5), torch.zeros(6, 7)), r"expected B of \(5, 7\) .*, got \(6, 7\)"),
        ("histogram", (torch.zeros(3), torch.zeros(5)), "expected labels of one axis, torch.int32 or torch.int64"),
        ("histogram", ([0, 1], torch.zeros(5)), "expected labels to be a torch tensor, got list"),
        ("histogram", (torch.tensor([0, 5]), torch.zeros(5)), r"expected labels in 0\.\.4, got 0 to 5"),
        ("histogram", (torch.tensor([0, -1]), torch.zeros(5)), r"expected labels in 0\.\.4, got -1 to 0"),
    ],
)
def test_an_argument_that_does_not_fit_is_named(name, arguments, message):
    moved = (part.to(DEVICE) if isinstance(part, torch.Tensor) else part for part in arguments)
    with pytest.raises(ValueError, match=message):
        getattr(kernels, name)(*moved)


@pytest.mark.skipif(not INTERPRETED, reason="a GPU computes with bfloat16")
def test_bfloat16_is_refused_where_the_interpreter_would_get_it_wrong():
    with pytest.raises(ValueError, match=r"got torch\.bfloat16"):
        kernels.row_sum(torch.zeros(3, 5, dtype=torch.bfloat16))


@pytest.mark.skipif(INTERPRETED, reason="the interpreter reads the CPU's memory")
def test_tensors_on_the_cpu_are_refused_by_the_gpu():
    with pytest.raises(ValueError, match="expected tensors on a CUDA device"):
        kernels.row_sum(torch.zeros(3, 5))


# slips in the source of a kernel


def namespace(name, source, folder):
    """What a notebook defines with this source for a kernel, behind the functions that the page gives."""
    given = [stubs.whole(part.name) for part in compose.parse("kernels") if isinstance(part, compose.Given)]
    file = folder / f"{name}.py"
    file.write_text("\n\n\n".join([compose.KERNEL_SETUP, *given, source]), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


def verdict_on(name, source, folder, seed=0):
    task = question.make_task(QUESTIONS[name], 10.0, seed)
    return examine(task, kill_matrix.answers(task, namespace(name, source, folder)), reveal=False)


SLIPS = {
    ("vector_add_kernel", "first block only"): ("tl.program_id(0) * BLOCK + ", ""),
    ("vector_add_kernel", "program id not scaled"): ("tl.program_id(0) * BLOCK", "tl.program_id(0)"),
    ("vector_add_kernel", "last element"): ("mask = i < n", "mask = i < n - 1"),
    ("vector_add_kernel", "x twice"): ("x + y,", "x + x,"),
    ("row_sum_kernel", "first block only"): ("range(0, cols, BLOCK)", "range(0, BLOCK, BLOCK)"),
    ("row_sum_kernel", "last block only"): ("total += x.to(", "total = x.to("),
    ("row_sum_kernel", "full blocks only"): ("range(0, cols, BLOCK)", "range(0, cols // BLOCK * BLOCK, BLOCK)"),
    ("row_sum_kernel", "row 0 for all"): ("row * x_stride + k", "k"),
    ("row_softmax_kernel", "no maximum"): ("tl.exp(x - tl.max(x, axis=0))", "tl.exp(x)"),
    ("row_softmax_kernel", "padding as zeros"): ('other=-float("inf")', "other=0.0"),
    ("row_softmax_kernel", "maximum over zeros"): ("tl.max(x, axis=0)", "tl.max(tl.where(mask, x, 0.0), axis=0)"),
    ("row_softmax_kernel", "not divided"): ("e / tl.sum(e, axis=0)", "e"),
    ("transpose_kernel", "first tile only"): ("tl.program_id(1) * BLOCK + ", ""),
    ("matmul_kernel", "last step only"): ("acc = tl.dot(A, B, acc,", "acc = tl.dot(A, B,"),
    ("matmul_kernel", "B stands still"): ("k[:, None] * B_stride", "(k - start)[:, None] * B_stride"),
    ("matmul_kernel", "A stands still"): ("r * A_stride + k[None, :]", "r * A_stride + (k - start)[None, :]"),
    ("histogram_kernel", "padding counted"): ("1.0, mask=mask", "1.0"),
    ("histogram_kernel", "label added"): ("label, 1.0", "label, label.to(tl.float32)"),
    ("histogram_kernel", "last write wins"): (
        "tl.atomic_add(counts_ptr + label, 1.0, mask=mask)",
        "tl.store(counts_ptr + label, tl.load(counts_ptr + label, mask=mask, other=0.0) + 1.0, mask=mask)",
    ),
    ("row_variance_kernel", "square root"): (
        "tl.sum(squares, axis=0) / cols",
        "tl.sqrt(tl.sum(squares, axis=0) / cols)",
    ),
}
SWAPPED = [("tl.program_id(0)", "tl.program_id(9)"), ("tl.program_id(1)", "tl.program_id(0)"), ("(9)", "(1)")]


@pytest.mark.parametrize(("name", "mistake"), SLIPS)
def test_a_slip_in_a_kernel_is_named_as_its_twin_in_numpy(name, mistake, tmp_path):
    source = stubs.solved(name)
    old, new = SLIPS[name, mistake]
    assert source.count(old) >= 1
    if mistake == "first tile only":
        source = source.replace("tl.program_id(0) * BLOCK + ", "")
    verdict = verdict_on(name, source.replace(old, new), tmp_path)
    assert verdict.points < verdict.out_of
    assert verdict.mistake == QUESTIONS[name].mistakes[mistake].message, verdict


@pytest.mark.parametrize("name", ["transpose_kernel", "matmul_kernel"])
def test_swapped_axes_of_the_grid_are_named(name, tmp_path):
    source = stubs.solved(name)
    for old, new in SWAPPED:
        source = source.replace(old, new)
    assert verdict_on(name, source, tmp_path).mistake == QUESTIONS[name].mistakes["programs swapped"].message


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_kernel_of_the_solved_notebook_gets_full_marks(name, tmp_path):
    verdict = verdict_on(name, stubs.solved(name), tmp_path, seed=5)
    assert verdict.points == verdict.out_of, verdict


ANOTHER_WAY = {
    "row_sum_kernel": [
        ("total = tl.zeros((BLOCK,), tl.float32)", "total = 0.0"),
        ("total += x.to(tl.float32)", "total += tl.sum(x, axis=0)"),
        ("tl.sum(total, axis=0)", "total"),
    ],
    "row_softmax_kernel": [
        ('other=-float("inf")', "other=0.0"),
        ("tl.max(x, axis=0)", "tl.max(tl.where(mask, x, -1e38), axis=0)"),
        ("tl.sum(e, axis=0)", "tl.sum(tl.where(mask, e, 0.0), axis=0)"),
    ],
    "transpose_kernel": [
        ("c[:, None] * rows + r[None, :], tl.trans(tile)", "c[None, :] * rows + r[:, None], tile"),
        ("mask = (c[:, None] < cols) & (r[None, :] < rows)", "mask = (c[None, :] < cols) & (r[:, None] < rows)"),
    ],
    "matmul_kernel": [("acc = tl.dot(A, B, acc,", "acc += tl.dot(A, B,")],
    "histogram_kernel": [("other=0)", "other=-1)"), ("1.0, mask=mask", "1.0, mask=label >= 0")],
}


@pytest.mark.parametrize("name", ANOTHER_WAY)
def test_a_right_kernel_by_another_way_gets_full_marks(name, tmp_path):
    source = stubs.solved(name)
    for old, new in ANOTHER_WAY[name]:
        assert source.count(old) == 1
        source = source.replace(old, new)
    verdict = verdict_on(name, source, tmp_path)
    assert verdict.points == verdict.out_of, verdict


@interpreted
def test_a_softmax_that_reads_its_row_twice_is_right_and_pays_for_the_bytes(tmp_path):
    load = 'tl.load(x_ptr + row * x_stride + k, mask=mask, other=-float("inf"))'
    source = stubs.solved("row_softmax_kernel")
    assert source.count("tl.max(x, axis=0)") == 1
    verdict = verdict_on("row_softmax_kernel", source.replace("tl.max(x, axis=0)", f"tl.max({load}, axis=0)"), tmp_path)
    assert [step.title for step in verdict.steps if not step.passed] == ["moves no more bytes than it must"]


@interpreted
@pytest.mark.parametrize(
    ("name", "old", "new", "kind"),
    [
        ("vector_add_kernel", "tl.store(out_ptr + i, x + y, mask=mask)", "tl.store(out_ptr + i, x + y)", "bounds"),
        ("row_softmax_kernel", 'mask=mask, other=-float("inf")', "", "bounds"),
        ("transpose_kernel", "c[:, None] * rows", "c[:, None] * cols", "bounds"),
        ("histogram_kernel", "label = tl.load(labels_ptr + i, mask=mask, other=0)", "label = tl.load(labels_ptr + i)",
         "bounds"),
    ],
)  # fmt: skip
def test_a_fault_in_memory_is_found(name, old, new, kind, tmp_path):
    source = stubs.solved(name)
    assert source.count(old) == 1
    task = question.make_task(QUESTIONS[name], 10.0, 0)
    with checker.watch() as launches:
        kill_matrix.answers(task, namespace(name, source.replace(old, new), tmp_path))
    assert kind in {finding.kind for launch in launches for finding in launch.findings}


# the kernel that is given with three bugs

MENDS = {
    "mean of the last block": ("total = x.to(", "total += x.to("),
    "padding squared": ("d = x.to(tl.float32) - mean", "d = tl.where(k < cols, x.to(tl.float32) - mean, 0.0)"),
    "divided by the block": ("tl.sum(squares, axis=0) / BLOCK", "tl.sum(squares, axis=0) / cols"),
}


def kernel_with_bugs():
    page = blocks.exercises("kernels").read_text(encoding="utf-8")
    (source,) = re.findall(r"```python\n(@triton\.jit\ndef row_variance_kernel.*?)```", page, re.DOTALL)
    return source


@pytest.mark.parametrize(
    "mended",
    [mended for count in range(4) for mended in itertools.combinations(MENDS, count)],
    ids=lambda mended: " and ".join(mended) or "nothing",
)
def test_each_bug_that_is_left_is_named_and_no_other(mended, tmp_path):
    source = kernel_with_bugs()
    for bug in mended:
        assert source.count(MENDS[bug][0]) == 1
        source = source.replace(*MENDS[bug])
    left = " and ".join(bug for bug in MENDS if bug not in mended)
    verdict = verdict_on("row_variance_kernel", source, tmp_path)
    if left:
        assert verdict.points < verdict.out_of
        assert verdict.mistake == QUESTIONS["row_variance_kernel"].mistakes[left].message
    else:
        assert verdict.points == verdict.out_of


@interpreted
def test_the_kernel_with_bugs_keeps_to_its_own_memory(rng, tmp_path):
    """Students run it as it is."""
    launch = namespace("with_bugs", kernel_with_bugs(), tmp_path)["launch_row_variance"]
    with checker.watch() as launches:
        for shape in ((5, 37), (3, 700)):
            launch(tensor(rng.standard_normal(shape)))
    assert [launch.findings for launch in launches] == [[], []]
