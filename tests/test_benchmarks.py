"""What `make bench-cpu` and `make bench-gpu` time: contenders agree, results are kept and shown. All at tiny sizes."""

import itertools
import json

import numpy as np
import pytest
import torch

pytest.importorskip("triton", reason="the kernels need triton, which exists for Linux only")

from benchmarks import cpu, gpu, page, record
from kernels import INTERPRETED
from tests import ahead_of_time

CPU_OPERATIONS = [operation for operation in cpu.OPERATIONS if cpu.reference(operation)]
TINY = 7  # the longest axis of an operation when it is tested


def tiny(operation):
    return {axis: min(size, TINY + 2 * k) for k, (axis, size) in enumerate(operation.sizes.items())}


# NumPy against torch


@pytest.mark.parametrize("dtype", cpu.DTYPES)
@pytest.mark.parametrize("operation", CPU_OPERATIONS, ids=lambda operation: operation.name)
def test_an_operation_computes_the_same_in_numpy_and_in_torch(operation, dtype):
    if operation.torch is cpu.nms_in_cpp and not cpu.compiler():
        pytest.skip("no C++ compiler here, and what NMS is timed against has to be compiled")
    calls = cpu.contest(operation, dtype, **tiny(operation))
    cpu.assert_agreement(calls, dtype)
    for call in calls.values():
        call()


def test_operations_that_do_not_agree_are_not_timed():
    calls = {"numpy": lambda: np.ones(3), "torch": lambda: torch.tensor([1.0, 1.0, 1.001])}
    with pytest.raises(AssertionError, match="Mismatched elements: 1 / 3"):
        cpu.assert_agreement(calls, "float32")


def test_an_operation_whose_chapter_does_not_exist_is_left_out():
    assert cpu.reference(cpu.Operation("nothing", "no_such_chapter.nothing", 1.0, {})) is None
    assert cpu.reference(cpu.Operation("nothing", "lstm.no_such_function", 1.0, {})) is None
    assert cpu.reference(cpu.Operation("LSTM", "lstm.lstm_forward", 1.0, {})).__name__ == "lstm_forward"


def test_an_operation_whose_function_exists_can_be_timed():
    assert [operation.name for operation in CPU_OPERATIONS if not (operation.inputs and operation.torch)] == []


def test_calls_are_timed_by_turns_and_count_with_their_median(monkeypatch):
    ticks = iter([0, 100, 0, 100, 0, 4, 0, 8, 0, 5, 0, 1, 0, 90, 0, 7])
    monkeypatch.setattr(cpu.time, "perf_counter", lambda: next(ticks))
    order = []
    calls = {"one": lambda: order.append("one"), "two": lambda: order.append("two")}
    assert cpu.interleaved(calls, rounds=3) == {"one": 5, "two": 7}
    assert order == ["one", "two"] * 4


def test_a_result_has_the_ratio_and_the_parts_of_numpy_s_time(monkeypatch):
    operation = next(operation for operation in CPU_OPERATIONS if operation.parts)
    times = itertools.count(start=10)
    monkeypatch.setattr(cpu, "interleaved", lambda calls, rounds: {name: next(times) / 1000 for name in calls})
    row = cpu.measure(operation, "float64", **tiny(operation))
    assert (row["numpy_ms"], row["torch_ms"], row["ratio"]) == (10, 11, round(10 / 11, 3))
    assert sum(row["parts_ms"].values()) == pytest.approx(10)
    assert list(row["parts_ms"])[-1] == "all else"


# Kernels on a GPU

CASES = [case for case in gpu.CASES if gpu.host(case)]
DEVICE = "cpu" if INTERPRETED else "cuda"


def timed_once(calls):
    """Stand in for a CUDA graph: run each call, and take a second a call."""
    for call in calls:
        call()
    return lambda: 1.0


def never_bfloat16(case):
    return [dtype for dtype in case.dtypes if dtype != "bfloat16" or not INTERPRETED]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_kernel_and_contenders_compute_the_same(case):
    """torch.compile goes as far as a graph of operations, which any device has; it is not turned into machine code."""
    for dtype in never_bfloat16(case):
        row = gpu.measure(case, dtype, DEVICE, timed_once, sizes=case.tiny, cache=0, backend="aot_eager")
        assert row["failed"] == {}
        assert row["us"] == dict.fromkeys(["kernel", "eager", "compile", *case.others], 1e6)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case_has_sizes_of_its_own_and_tiny_ones(case):
    assert case.inputs
    assert case.eager
    assert case.sizes.keys() == case.tiny.keys()
    assert set(case.goals) <= {"kernel", "eager", "compile", "roofline", *case.others}


def example(**changes):
    values = {"sizes": {"n": 6}, "inputs": ramp, "eager": torch.sin, "dtypes": ("float32",)}
    return gpu.Case("example", "lstm.no_such_kernel", {"eager": 1.0}, **values | changes)


def ramp(generator, dtype, n):
    return (torch.arange(n, device=generator.device, dtype=dtype),)


def test_a_kernel_that_is_wrong_is_told_and_not_timed_and_stops_no_other(monkeypatch):
    monkeypatch.setattr(gpu, "host", lambda case: torch.cos)
    row = gpu.measure(example(), "float32", DEVICE, timed_once, backend="aot_eager", cache=0)
    assert row["us"].keys() == {"eager", "compile"}
    assert row["failed"]["kernel"].startswith("AssertionError: output 0 is off by ")
    assert gpu.speedups(row) == {}
    assert gpu.roofline(row, "NVIDIA H200") is None


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda x: x.sin() + 0.02, r"output 0 is off by 0\.02"),
        (lambda x: x.sin() * torch.nan, r"output 0 is off by nan"),
        (lambda x: x.sin()[1:], r"expected outputs of shapes \[\(6,\)\], got \[\(5,\)\]"),
        (lambda x: (x.sin(), x), r"expected outputs of shapes \[\(6,\)\], got \[\(6,\), \(6,\)\]"),
    ],
)
def test_what_does_not_agree_is_told(wrong, told):
    x = ramp(torch.Generator(DEVICE), torch.float32, 6)[0]
    gpu.assert_agreement(lambda: x.sin() + 0.002, [x.sin()], "float32")
    with pytest.raises(AssertionError, match=told):
        gpu.assert_agreement(lambda: wrong(x), [x.sin()], "float32")


def test_gradients_count_where_a_case_says_so(monkeypatch):
    seen = []
    monkeypatch.setattr(gpu, "host", lambda case: torch.sin)
    case = example(gradient=True)
    row = gpu.measure(
        case, "float32", DEVICE, lambda calls: seen.append(calls[0]()) or (lambda: 1.0), backend="aot_eager"
    )
    assert row["failed"] == {}
    x = ramp(torch.Generator(DEVICE), torch.float32, 6)[0]
    for value, gradient in seen:
        torch.testing.assert_close(value, x.sin())
        torch.testing.assert_close(gradient, x.cos())
    assert row["bytes"] == 4 * 6 * 3


def test_inputs_are_rotated_past_the_cache():
    case = example(inputs=lambda generator, dtype, n: (gpu.normal(generator, dtype, n),))
    sets = gpu.rotation(case, "float32", DEVICE, {"n": 6}, cache=100)
    assert len(sets) == 5  # of 24 bytes each
    assert len({tuple(tensors[0].tolist()) for tensors in sets}) == 5
    assert len(gpu.rotation(case, "float32", DEVICE, {"n": 6}, cache=0)) == 2
    assert len(gpu.rotation(case, "float32", DEVICE, {"n": 6})) == gpu.MOST_SETS


def test_shares_and_speedups_are_those_of_the_times():
    row = {"us": {"kernel": 2.0, "eager": 5.0}, "bytes": 4.3e6, "operations": 0.0, "dtype": "float16"}
    assert gpu.speedups(row) == {"eager": 2.5}
    assert gpu.roofline(row, "NVIDIA H200") == pytest.approx(0.5)
    assert gpu.roofline(row | {"operations": 790e6}, "NVIDIA H200") == pytest.approx(0.5)
    assert gpu.roofline(row | {"operations": 790e6, "dtype": "float32"}, "NVIDIA H200") == pytest.approx(1.0)
    assert gpu.roofline(row, "another GPU") is None


class FakeCuda:
    """What capture() uses of torch.cuda, writing down what happens to the graph."""

    def __init__(self):
        self.log = []

    def __getattr__(self, name):
        def happen(*args, **keywords):
            self.log.append(name)
            return self

        return happen

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.log.append("end")

    def elapsed_time(self, end):
        return 6.0


def test_a_graph_has_one_call_of_each_set_after_warming_up(monkeypatch):
    cuda = FakeCuda()
    monkeypatch.setattr(gpu.torch, "cuda", cuda)
    replay = gpu.capture([lambda: cuda.log.append("first"), lambda: cuda.log.append("second")])
    graph = cuda.log.index("graph")
    assert cuda.log[graph:] == ["graph", "first", "second", "end", "Event", "Event"]
    assert cuda.log[:graph].count("first") == cuda.log[:graph].count("second") == gpu.WARM_UPS
    assert replay() == pytest.approx(0.003)  # 6 ms for two calls
    assert cuda.log[-4:] == ["record", "replay", "record", "synchronize"]


def test_replays_are_timed_by_turns_and_count_with_their_median():
    times = {"one": iter([100, 4, 5, 90]), "two": iter([100, 8, 1, 7])}
    replays = {name: (lambda name=name: next(times[name])) for name in times}
    assert gpu.interleaved(replays, rounds=3) == {"one": 5, "two": 7}


def test_all_cases_are_measured_and_saved_where_one_breaks(monkeypatch, tmp_path, capsys):
    def some_break(case, dtype):
        if dtype == "float16":
            raise RuntimeError("out of memory\nand more")
        return gpu.described(case, dtype, case.sizes) | {
            "us": {"kernel": 2.0},
            "failed": {},
            "bytes": 8,
            "operations": 0,
        }

    monkeypatch.setattr(gpu, "measure", some_break)
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu.torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(gpu.torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(gpu.torch, "set_float32_matmul_precision", lambda precision: None)
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    assert gpu.main() == 1
    rows = json.loads((tmp_path / "gpu-nvidia-h200.json").read_text(encoding="utf-8"))["operations"]
    assert [(row["name"], row["dtype"]) for row in rows] == [
        (case.name, dtype) for case in CASES for dtype in case.dtypes
    ]
    assert {row["failed"].get("all") for row in rows} == {None, "RuntimeError: out of memory"}
    assert "no kernel yet" in capsys.readouterr().out


def test_a_kernel_that_refuses_sizes_is_no_failure(monkeypatch, tmp_path):
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu.torch.cuda, "get_device_name", lambda: "NVIDIA H200")
    monkeypatch.setattr(gpu.torch, "set_float32_matmul_precision", lambda precision: None)
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    row = gpu.described(example(), "float32", {"n": 6}) | {"us": {}}
    for reason, code in (
        ("ValueError: expected d_h of at most 64, got 512", 0),
        ("AssertionError: output 0 is off", 1),
    ):
        monkeypatch.setattr(gpu, "results", lambda reason=reason: [row | {"failed": {"kernel": reason}}])
        assert gpu.main() == code


def test_without_a_gpu_one_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: False)
    assert gpu.main() == 0
    assert capsys.readouterr().out.splitlines() == ["no GPU here: kernels are timed on one only"]


# Results


def test_a_result_is_read_as_it_was_written(tmp_path):
    path = record.save("cpu", "A Chip (TM) 9, 3 cores", {"operations": [1, 2]}, tmp_path)
    assert path.name == "cpu-a-chip-tm-9-3-cores.json"
    record.save("gpu", "Another", {"operations": []}, tmp_path)
    (read,) = record.load("cpu", tmp_path)
    assert (read["machine"], read["operations"]) == ("A Chip (TM) 9, 3 cores", [1, 2])
    assert record.load("tpu", tmp_path) == []


def test_no_result_names_more_of_a_machine_than_its_processor():
    for kind in ("cpu", "gpu"):
        for result in record.load(kind):
            assert set(result) == {"machine", "date", "versions", "operations"}
            assert "/" not in result["machine"]


# The page


CPU_ROW = {"name": "LSTM sequence", "function": "lstm.lstm_forward"}
CPU_RESULT = {
    "machine": "A Chip, 3 cores",
    "date": "2026-05-04",
    "versions": {"numpy": "2", "torch": "3"},
    "operations": [
        CPU_ROW | {"dtype": "float64", "numpy_ms": 3.0, "torch_ms": 2.0, "ratio": 1.5, "goal": 1.5},
        CPU_ROW
        | {"dtype": "float32", "numpy_ms": 8.0, "torch_ms": 4.0, "ratio": 2.0, "goal": None}
        | {"parts_ms": {"the products": 6.0, "all else": 2.0}},
    ],
}
GPU_ROW = {"name": "GELU", "kernel": "activations.gelu_forward", "dtype": "float16", "sizes": {"rows": 4096}}
GPU_RESULT = {
    "machine": "NVIDIA H200",
    "date": "2026-05-04",
    "versions": {"torch": "3"},
    "operations": [
        GPU_ROW
        | {"goals": {"eager": 1.8, "roofline": 0.9}, "bytes": 4.3e6, "operations": 0}
        | {"us": {"kernel": 2.0, "eager": 5.0}, "failed": {"compile": "RuntimeError: no compiler"}},
        GPU_ROW | {"goals": {}, "us": {}, "failed": {"all": "OutOfMemoryError: too large"}},
    ],
}


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_the_page_says_which_goals_are_met():
    _, _, met, free = cells(page.cpu_table(CPU_RESULT))
    assert met[1:] == ["float64", "3.0", "2.0", "1.50", "≤\xa01.5", "yes"]
    assert free[1:] == ["float32", "8.0", "4.0", "2.00", "", ""]
    assert page.misses([CPU_RESULT]) == "Every goal is met."
    assert page.measured_on(CPU_RESULT) == "**A Chip, 3 cores**, 2026-05-04: numpy 2, torch 3."


def test_the_page_says_which_goals_are_missed():
    slow = CPU_RESULT | {"operations": [CPU_RESULT["operations"][0] | {"ratio": 1.51}]}
    assert page.misses([CPU_RESULT, slow]) == "Missed: LSTM sequence, 1.51 instead of 1.5 (A Chip, 3 cores)."
    assert cells(page.cpu_table(slow))[2][-1] == "**no**"


def test_the_page_splits_the_time_of_what_is_timed_in_parts():
    _, _, products, rest = cells(page.profiles(CPU_RESULT))
    assert products == ["LSTM sequence", "float32", "the products", "6.0", "75%", "1.50"]
    assert rest[2:] == ["all else", "2.0", "25%", "0.50"]


def test_the_figure_has_a_bar_for_each_ratio_and_a_line_for_each_goal():
    (ax,) = page.cpu_bars(CPU_RESULT).axes
    assert sorted(bar.get_width() for bar in ax.patches) == [1.5, 2.0]
    assert [line.get_xdata()[0] for line in ax.lines if line.get_label() == "goal"] == [1.5]
    page.plt.close("all")


def test_the_page_names_every_operation_that_has_no_figures(monkeypatch):
    names = [operation.name for operation in cpu.OPERATIONS]
    assert "LSTM sequence" not in page.cpu_missing([CPU_RESULT])
    assert all(name in page.cpu_missing([CPU_RESULT]) for name in names if name != "LSTM sequence")
    due = page.cpu_missing([]).partition("Not timed yet, `make bench-cpu` does it: ")[2]
    assert "LSTM sequence" in due


def test_the_page_shows_what_was_timed_on_a_gpu_and_what_could_not_be():
    shown = page.gpu_section([GPU_RESULT])
    assert "| GELU, `gelu_forward`: rows 4,096 | float16 | 2.0 | eager 2.50× (1.8) | 50% (90%) |" in shown
    assert "compile: `RuntimeError: no compiler`; GELU, float16, all: `OutOfMemoryError: too large`." in shown


def test_the_page_says_so_where_no_gpu_was_timed():
    assert "No results yet" in page.gpu_section([])
    assert "`make bench-gpu`" in page.gpu_section([])


def test_the_page_shows_each_kernel_s_machine_code():
    for gpu_name in ("sm_80", "sm_90"):
        table, told = page.machine_code(gpu_name).split("\n\n")
        assert told == "None of them spills."
        header, _, *rows = cells(table)
        kernels = {row[0].split("`")[1] + "_kernel" for row in rows}
        assert kernels == {name.split(".")[1] for name in json.loads(ahead_of_time.TABLE.read_text(encoding="utf-8"))}
        assert {len(row) for row in rows} == {len(header)}
