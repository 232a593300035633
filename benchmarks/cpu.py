"""Time the NumPy reference against torch, both on one thread: `make bench-cpu`.

Each operation runs by turns in NumPy and in torch, on the same numbers, and counts as the median of its runs; the
ratio is NumPy's time over torch's. torch runs without autograd, the fastest way it has, although the reference keeps
what its backward pass needs. Results go to benchmarks/results/, from where a page of the book shows them.
"""

import os

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when NumPy and torch are imported

import ctypes
import importlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import record

Array = np.ndarray
Call = Callable[[], Any]
Inputs = Callable[..., tuple[Array, ...]]

DTYPES = (
    "float64",
    "float32",
)  # the reference's own, for which the goals are, and the one that torch is mostly used in
ROUNDS = 25
AGREEMENT = {"float64": 1e-10, "float32": 1e-4}  # relative to the largest value


@dataclass(frozen=True)
class Operation:
    """What is timed: a function of solutions/, called with inputs(rng, **sizes) and options, against torch.

    torch gets the same inputs as tensors and returns the call to time, so that what happens once, such as loading
    weights, is not timed. parts splits the reference's time, for operations that need an explanation.
    """

    name: str
    function: str
    goal: float
    sizes: Mapping[str, int]
    inputs: Inputs | None = None
    torch: Callable[..., Call] | None = None
    options: Mapping[str, object] = field(default_factory=dict)
    parts: Callable[..., dict[str, Call]] | None = None


def lstm_inputs(rng, time, batch, d_in, d_h) -> tuple[Array, ...]:
    states = rng.standard_normal((2, batch, d_h))
    W_x = rng.standard_normal((d_in, 4 * d_h)) / d_in**0.5
    W_h = rng.standard_normal((d_h, 4 * d_h)) / d_h**0.5
    return rng.standard_normal((batch, time, d_in)), *states, W_x, W_h, rng.standard_normal(4 * d_h)


def lstm_of_torch(x, h_0, c_0, W_x, W_h, b) -> Call:
    weights = [W_x.T.contiguous(), W_h.T.contiguous(), b, torch.zeros_like(b)]
    return lambda: torch.lstm(x, (h_0[None], c_0[None]), weights, True, 1, 0.0, False, False, True)


def lstm_parts(x, h_0, c_0, W_x, W_h, b) -> dict[str, Call]:
    """The products of each step, of its input and of its state; the rest is gates, cell and sums."""
    steps = range(x.shape[1])
    return {
        "the products $x_t W_x$": lambda: [x[:, t] @ W_x for t in steps],
        "the products $h_{t-1} W_h$": lambda: [h_0 @ W_h for _ in steps],
    }


def conv2d_inputs(window: int) -> Inputs:
    """Images, square filters of this width, biases."""

    def inputs(rng, batch, c_in, side, c_out) -> tuple[Array, ...]:
        W = rng.standard_normal((c_out, c_in, window, window)) / (c_in * window**2) ** 0.5
        return rng.standard_normal((batch, c_in, side, side)), W, rng.standard_normal(c_out)

    return inputs


def pool_parts(x) -> dict[str, Call]:
    """Fetching each map from memory once, into an array that stays in the cache; the rest compares and stores."""
    maps = x.reshape(-1, *x.shape[2:])
    in_cache = np.empty_like(maps[0])
    return {"fetching every pixel once": lambda: [np.copyto(in_cache, one) for one in maps]}


def nms_inputs(rng, boxes) -> tuple[Array, ...]:
    """Boxes of 16 to 128 pixels all over an image of 640 by 640, and scores."""
    center, size = rng.uniform(0, 640, (boxes, 2)), rng.uniform(16, 128, (boxes, 2))
    return np.hstack([center - size / 2, center + size / 2]), rng.random(boxes)


def nms_in_cpp(boxes, scores) -> Call:
    """The greedy loop of greedy_nms.cpp, since torch has no NMS of its own and torchvision is not installed."""
    greedy = getattr(greedy_nms(), f"nms_{boxes.numpy().dtype}")
    keep = torch.empty(len(boxes), dtype=torch.bool)
    pointers = [ctypes.c_void_p(tensor.data_ptr()) for tensor in (boxes, scores, keep)]

    def call():
        greedy(*pointers[:2], ctypes.c_int64(len(boxes)), ctypes.c_double(0.5), pointers[2])
        return keep.clone()

    return call


def compiler() -> str | None:
    """The C++ compiler of this machine, if it has one."""
    return next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)


@cache
def greedy_nms() -> ctypes.CDLL:
    """Compile the loop, once. Raises FileNotFoundError where there is no C++ compiler."""
    if compiler() is None:
        raise FileNotFoundError("no C++ compiler here: NMS is timed against a loop that has to be compiled")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "greedy_nms.so"
        source = Path(__file__).with_name("greedy_nms.cpp")
        subprocess.run([compiler(), "-O3", "-shared", "-fPIC", "-o", library, source], check=True)
        return ctypes.CDLL(str(library))


OPERATIONS = (
    Operation(
        "conv2d 3×3",
        "cnn.conv2d_forward",
        1.4,
        {"batch": 8, "c_in": 64, "side": 56, "c_out": 64},
        conv2d_inputs(3),
        lambda x, W, b: lambda: torch.nn.functional.conv2d(x, W, b, padding=1),
        {"padding": 1},
    ),
    Operation(
        "conv2d 7×7, stride 2",
        "cnn.conv2d_forward",
        0.7,
        {"batch": 8, "c_in": 3, "side": 224, "c_out": 64},
        conv2d_inputs(7),
        lambda x, W, b: lambda: torch.nn.functional.conv2d(x, W, b, stride=2, padding=3),
        {"stride": 2, "padding": 3},
    ),
    Operation(
        "max-pool 3×3, stride 2",
        "cnn.max_pool_forward",
        0.2,
        {"batch": 8, "channels": 64, "side": 112},
        lambda rng, batch, channels, side: (rng.standard_normal((batch, channels, side, side)),),
        lambda x: lambda: torch.nn.functional.max_pool2d(x, 3, 2, 1),
        {"window": 3, "stride": 2, "padding": 1},
        pool_parts,
    ),
    Operation("batch norm", "batch_norm.batch_norm_forward", 0.6, {"batch": 32, "channels": 64, "side": 28}),
    Operation(
        "LSTM sequence",
        "lstm.lstm_forward",
        1.5,
        {"time": 64, "batch": 32, "d_in": 128, "d_h": 256},
        lstm_inputs,
        lstm_of_torch,
        parts=lstm_parts,
    ),
    Operation(
        "attention",
        "attention.attention_forward",
        1.3,
        {"batch": 2, "heads": 8, "time": 512, "d_head": 64},
        lambda rng, batch, heads, time, d_head: tuple(rng.standard_normal((3, batch, heads, time, d_head))),
        lambda Q, K, V: lambda: torch.nn.functional.scaled_dot_product_attention(Q, K, V),
    ),
    *(
        Operation(
            f"NMS, {count:,} boxes, against a loop in C++",
            "yolo_iou.nms",
            goal,
            {"boxes": count},
            nms_inputs,
            nms_in_cpp,
        )
        for count, goal in ((1000, 0.8), (4000, 0.4))
    ),
    Operation(
        "softmax cross-entropy",
        "losses.cross_entropy_forward",
        1.3,
        {"batch": 256, "classes": 8192},
        lambda rng, batch, classes: (rng.standard_normal((batch, classes)), rng.integers(0, classes, batch)),
        lambda logits, labels: lambda: torch.nn.functional.cross_entropy(logits, labels),
    ),
    Operation(
        "GELU, tanh form",
        "activations.gelu_forward",
        0.8,
        {"numbers": 1 << 20},
        lambda rng, numbers: (rng.standard_normal(numbers),),
        lambda x: lambda: torch.nn.functional.gelu(x, approximate="tanh"),
        {"approximate": "tanh"},
    ),
)


def reference(operation: Operation) -> Callable[..., Any] | None:
    """The function of solutions/ that an operation times; None where its chapter does not exist yet."""
    module, name = operation.function.split(".")
    try:
        return getattr(importlib.import_module(f"solutions.{module}"), name, None)
    except ModuleNotFoundError:
        return None


def contest(operation: Operation, dtype: str, **sizes: int) -> dict[str, Call]:
    """The calls to time, on inputs that are drawn here: NumPy, torch and, if there are any, parts of NumPy's time."""
    drawn = operation.inputs(np.random.default_rng(0), **(operation.sizes | sizes))
    arrays = [array.astype(dtype) if array.dtype == np.float64 else array for array in drawn]
    ours = reference(operation)
    theirs = operation.torch(*map(torch.from_numpy, arrays))
    parts = operation.parts(*arrays) if operation.parts else {}
    return {"numpy": lambda: ours(*arrays, **operation.options), "torch": torch.inference_mode()(theirs)} | parts


def first(outputs: Any) -> Array:
    """The first array of what a function returned."""
    return np.asarray(outputs[0] if isinstance(outputs, tuple) else outputs)


def assert_agreement(calls: Mapping[str, Call], dtype: str) -> None:
    """Raise AssertionError unless NumPy and torch compute the same."""
    ours, theirs = first(calls["numpy"]()), first(calls["torch"]())
    tolerance = AGREEMENT[dtype]
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * np.abs(theirs).max())


def interleaved(calls: Mapping[str, Call], rounds: int = ROUNDS) -> dict[str, float]:
    """Run the calls by turns; return the median seconds of each. The first round warms up and is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: median(times[1:]) for name, times in seconds.items()}


def measure(operation: Operation, dtype: str, rounds: int = ROUNDS, **sizes: int) -> dict[str, Any]:
    """Time one operation; milliseconds, and the ratio of NumPy to torch."""
    calls = contest(operation, dtype, **sizes)
    assert_agreement(calls, dtype)
    times = {name: round(1000 * seconds, 3) for name, seconds in interleaved(calls, rounds).items()}
    ours, theirs = times.pop("numpy"), times.pop("torch")
    figures = {"numpy_ms": ours, "torch_ms": theirs, "ratio": round(ours / theirs, 3)}
    if times:
        times["all else"] = round(ours - sum(times.values()), 3)
    goal = operation.goal if dtype == DTYPES[0] else None
    described = {"name": operation.name, "function": operation.function, "dtype": dtype, "goal": goal}
    return described | figures | ({"parts_ms": times} if times else {})


def main() -> None:
    torch.set_num_threads(1)
    table = Table("operation", "dtype", "NumPy ms", "torch ms", "ratio", "goal", title=record.cpu())
    rows = []
    for operation in OPERATIONS:
        if reference(operation) is None:
            table.add_row(operation.name, "", "", "", "no chapter yet", f"≤ {operation.goal}")
            continue
        for dtype in DTYPES:
            rows.append(row := measure(operation, dtype))
            figures = (f"{row[column]:.2f}" for column in ("numpy_ms", "torch_ms", "ratio"))
            table.add_row(operation.name, dtype, *figures, f"≤ {row['goal']}" if row["goal"] else "")
    Console().print(table)
    print(record.save("cpu", record.cpu(), {"versions": record.versions("numpy", "torch"), "operations": rows}))


if __name__ == "__main__":
    main()
