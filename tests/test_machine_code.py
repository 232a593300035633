"""Every kernel as machine code for two GPUs that are not here: what real hardware would run.

The kernels are found by name and launched by their host functions on inputs drawn for them. What they become is kept
in kernels/machine_code.json, for people to read and for these tests to compare with; `make machine-code` writes it.
"""

import json

import pytest

pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")

from kernels import INTERPRETED
from tests import ahead_of_time

pytestmark = pytest.mark.xdist_group("machine code")  # all is compiled once, in one process
KERNELS = sorted(ahead_of_time.kernels_by_name())
NEARLY = 0.1

# Kernels with dots that on sm_90 run as mma, products of one warp, not as wgmma, those of four on 64 rows; and why.
FEW_ROWS = "its tiles have 16 rows: a sequence is a chain of steps, and a step of few rows is a short one"
NO_WGMMA: dict[str, str] = {
    "lstm_sequence.lstm_sequence_kernel": FEW_ROWS,
    "lstm_sequence.lstm_sequence_backward_kernel": FEW_ROWS,
    "rnn_sequence.rnn_sequence_kernel": FEW_ROWS,
    "rnn_sequence.rnn_sequence_backward_kernel": FEW_ROWS,
}

# Kernels without dots that do not read 16 bytes at a time where sizes are multiples of 16, and why.
GATHER = "neighboring numbers come from windows that lie a stride apart, each pixel behind a test of its own"
SMALL_LOADS: dict[str, str] = {
    "cnn.max_pool_kernel": GATHER,
    "cnn.max_pool_backward_kernel": GATHER,
    "yolo_iou.pairwise_iou_kernel": "the four numbers of a box are loaded one by one; it stores a tile, by 16 bytes",
    "yolo_iou.nms_scan_kernel": "it reads rows of bits, as many as there are words, which is seldom a multiple of 4",
}


@pytest.fixture(scope="module")
def compiled():
    """What every launch of every kernel becomes now, by kernel and variant."""
    if reason := ahead_of_time.why_not():
        pytest.skip(reason)
    if not INTERPRETED:
        pytest.skip("launches are recorded where kernels are interpreted")
    return ahead_of_time.compile_all(ahead_of_time.jobs())


@pytest.fixture(scope="module")
def kept():
    return json.loads(ahead_of_time.TABLE.read_text(encoding="utf-8"))


def whole(variants):
    """Those variants whose sizes are multiples of 16."""
    return {variant: code for variant, code in variants.items() if "odd sizes" not in variant}


def test_the_table_names_every_kernel_and_no_other(kept):
    assert sorted(kept) == KERNELS, "`make machine-code` writes the table again"


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_compiles_for_real_gpus_without_spilling_registers(kernel, compiled):
    gpus = {variant.split()[0] for variant in compiled[kernel]}
    assert gpus == set(ahead_of_time.GPUS), "no host function with a NumPy twin launches it"
    assert {variant: code["stack"] for variant, code in compiled[kernel].items() if code["stack"]} == {}


@pytest.mark.parametrize("kernel", KERNELS)
def test_dots_run_on_tensor_cores(kernel, compiled):
    for variant, code in compiled[kernel].items():
        if code["dots"]:
            instruction = "wgmma" if variant.startswith("sm_90") and kernel not in NO_WGMMA else "mma"
            assert code[instruction] >= code["dots"], variant


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_that_streams_memory_reads_sixteen_bytes_at_a_time(kernel, compiled):
    for variant, code in whole(compiled[kernel]).items():
        if "float32" in variant and not code["dots"] and kernel not in SMALL_LOADS:
            assert code["loads of 16 bytes"] > 0, variant


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_takes_the_registers_and_the_memory_that_the_table_says(kernel, compiled, kept):
    assert sorted(compiled[kernel]) == sorted(kept[kernel]), "`make machine-code` writes the table again"
    for variant, code in compiled[kernel].items():
        before = kept[kernel][variant]
        for figure in ("registers", "shared"):
            assert code[figure] == pytest.approx(before[figure], rel=NEARLY), f"{figure} of {variant}"
        uses = [[kind for kind in ahead_of_time.INSTRUCTIONS if figures[kind]] for figures in (code, before)]
        assert uses[0] == uses[1], f"the kinds of instructions of {variant}"


def test_no_exception_has_outlived_its_reason(compiled):
    assert sorted({*NO_WGMMA, *SMALL_LOADS} - set(KERNELS)) == []
    for kernel in NO_WGMMA:
        variants = [code for variant, code in compiled[kernel].items() if variant.startswith("sm_90")]
        assert any(code["wgmma"] < code["dots"] for code in variants), kernel
    for kernel in SMALL_LOADS:
        variants = [code for variant, code in whole(compiled[kernel]).items() if "float32" in variant]
        assert any(code["loads of 16 bytes"] == 0 for code in variants), kernel


@pytest.mark.parametrize(
    ("instruction", "kinds"),
    [
        ("wgmma.mma_async.sync.aligned.m64n16k8.f32.tf32.tf32 {%r1}, %rd1, %rd2, 1, 1, 1", ["wgmma"]),
        ("wgmma.wait_group.sync.aligned 0", []),
        ("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%r1}, {%r2}, {%r3}, {%r4}", ["mma"]),
        ("ld.global.v4.b32 { %r1, %r2, %r3, %r4 }, [ %rd1 + 0 ]", ["loads of 16 bytes", "loads"]),
        ("ld.global.v2.b64 { %rd1, %rd2 }, [ %rd3 + 0 ]", ["loads of 16 bytes", "loads"]),
        ("ld.global.v2.b32 { %r1, %r2 }, [ %rd1 + 0 ]", ["loads"]),
        ("ld.global.b16 { %rs1 }, [ %rd1 + 0 ]", ["loads"]),
        ("ld.shared.v4.b32 {%r1, %r2, %r3, %r4}, [%r5]", []),
        ("cp.async.cg.shared.global [ %r1 + 0 ], [ %rd1 + 0 ], 0x10, %r2", ["loads of 16 bytes", "loads"]),
        ("cp.async.ca.shared.global [ %r1 + 0 ], [ %rd1 + 0 ], 0x4, %r2", ["loads"]),
        ("cp.async.commit_group", []),
        ("st.global.v4.b32 [ %rd1 + 0 ], { %r1, %r2, %r3, %r4 }", ["stores of 16 bytes", "stores"]),
        ("st.global.b32 [ %rd1 + 0 ], { %r1 }", ["stores"]),
        ("atom.global.gpu.acq_rel.add.f32 %r1, [ %rd1 + 0 ], %r2", ["atomics"]),
        ("red.global.gpu.relaxed.add.u32 [ %rd1 + 0 ], %r1", ["atomics"]),
        ("atom.shared.add.u32 %r1, [ %r2 ], %r3", []),
        ("redux.sync.add.s32 %r1, %r2, %r3", []),
    ],
)
def test_an_instruction_is_counted_as_what_it_is(instruction, kinds):
    for line in (f"\t{instruction};", f"\t@%p1 {instruction};", f"  @!%p12 {instruction};"):
        assert ahead_of_time.INSTRUCTION.findall(line) == [instruction]
    assert ahead_of_time.kinds(instruction) == kinds
