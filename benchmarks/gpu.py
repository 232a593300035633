"""Time the kernels against torch on a GPU: `make bench-gpu`; without one it says so.

Each contender is captured once in a CUDA graph that calls it on several sets of random inputs, which together are
larger than the L2 cache, so that nothing is found there from the call before and no launch is paid for. The graphs
are replayed by turns, and a contender counts as the median of its replays. Contenders are the kernel, eager torch,
torch.compile of the same function, and a library's own where there is one. What a contender cannot do is noted in its
place and stops no other. Results go to benchmarks/results/, from where a page of the book shows them.
"""

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks import record

Call = Callable[[], Any]
Sizes = Mapping[str, int]

CACHE = 256 << 20  # bytes of inputs to rotate: five times the L2 cache of an H200
MOST_SETS = 64
ROUNDS = 50
WARM_UPS = 3
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
# What a GPU reaches: bytes a second in a copy, and operations a second of its tensor cores.
ROOFLINES = {"H200": (4.3e12, {"float32": 395e12, "float16": 790e12, "bfloat16": 790e12})}
AGREEMENT = {"float32": 5e-3, "float16": 1e-2, "bfloat16": 5e-2}  # tf32 keeps ten bits, bfloat16 seven


@dataclass(frozen=True)
class Case:
    """A host function of kernels/ and what it is compared with, on inputs(generator, dtype, **sizes).

    eager takes the same arguments as the kernel; torch.compile gets it too. The others get them once and return the
    call to time. With gradient, the gradients of all tensors of floats are computed and count. Goals are speedups
    over eager, compile and others by name, and "roofline", the share of what the GPU could do.
    """

    name: str
    kernel: str
    goals: Mapping[str, float]
    sizes: Sizes = field(default_factory=dict)
    tiny: Sizes = field(default_factory=dict)
    dtypes: Sequence[str] = ("float32", "float16")
    inputs: Callable[..., tuple[Tensor, ...]] | None = None
    eager: Callable[..., Any] | None = None
    others: Mapping[str, Callable[..., Call]] = field(default_factory=dict)
    options: Mapping[str, object] = field(default_factory=dict)
    operations: Callable[..., float] = lambda **sizes: 0.0  # multiplications and additions of its products
    gradient: bool = False


def normal(generator: torch.Generator, dtype: torch.dtype, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, device=generator.device).to(dtype)


def lstm_step_inputs(generator, dtype, batch, d_in, d_h) -> tuple[Tensor, ...]:
    x, h, c = (normal(generator, dtype, batch, d) for d in (d_in, d_h, d_h))
    W_x, W_h = (normal(generator, dtype, d, 4 * d_h) / d**0.5 for d in (d_in, d_h))
    return x, h, c, W_x, W_h, normal(generator, dtype, 4 * d_h)


def lstm_step_eager(x, h, c, W_x, W_h, b):
    a_i, a_f, a_g, a_o = (x @ W_x + h @ W_h + b).chunk(4, dim=1)
    c_t = a_f.sigmoid() * c + a_i.sigmoid() * a_g.tanh()
    return a_o.sigmoid() * c_t.tanh(), c_t


def lstm_cell_of_torch(x, h, c, W_x, W_h, b) -> Call:
    weights = W_x.T.contiguous(), W_h.T.contiguous(), b, torch.zeros_like(b)
    return lambda: torch.lstm_cell(x, (h, c), *weights)


def lstm_inputs(generator, dtype, batch, time, d_in, d_h) -> tuple[Tensor, ...]:
    _, h_0, c_0, *weights = lstm_step_inputs(generator, dtype, batch, d_in, d_h)
    return normal(generator, dtype, batch, time, d_in), h_0, c_0, *weights


def lstm_eager(x, h, c, W_x, W_h, b):
    hidden = []
    for x_t in x.unbind(dim=1):
        h, c = lstm_step_eager(x_t, h, c, W_x, W_h, b)
        hidden.append(h)
    return torch.stack(hidden, dim=1), c


def lstm_of_cudnn(x, h_0, c_0, W_x, W_h, b) -> Call:
    """torch.nn.LSTM with these weights, in the one block of memory that cuDNN wants."""
    module = torch.nn.LSTM(x.shape[2], h_0.shape[1], batch_first=True, dtype=x.dtype, device=x.device)
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), (W_x.T, W_h.T, b, torch.zeros_like(b)), strict=True):
            parameter.copy_(value)
    module.requires_grad_(False).eval()

    def call():
        hidden, (_, c_T) = module(x, (h_0[None], c_0[None]))
        return hidden, c_T[0]

    return call


def conv2d_inputs(generator, dtype, batch, c_in, side, c_out) -> tuple[Tensor, ...]:
    W = normal(generator, dtype, c_out, c_in, 3, 3) / (9 * c_in) ** 0.5
    return normal(generator, dtype, batch, c_in, side, side), W, normal(generator, dtype, c_out)


def conv2d_channels_last(x, W, b) -> Call:
    x, W = (tensor.contiguous(memory_format=torch.channels_last) for tensor in (x, W))
    return lambda: torch.nn.functional.conv2d(x, W, b, padding=1)


def attention_inputs(generator, dtype, batch, heads, time, d_head) -> tuple[Tensor, ...]:
    return tuple(normal(generator, dtype, batch, heads, time, d_head) for _ in range(3))


def attention_eager(Q, K, V, causal):
    S = Q @ K.mT / Q.shape[3] ** 0.5
    if causal:
        S = S.masked_fill(torch.ones_like(S, dtype=torch.bool).triu(1), -torch.inf)
    return S.softmax(dim=3) @ V


def attention_of_torch(causal: bool) -> Callable[..., Call]:
    """scaled_dot_product_attention, which chooses among flash attention, cuDNN's and its own."""
    attend = torch.nn.functional.scaled_dot_product_attention
    return lambda Q, K, V: lambda: attend(Q, K, V, is_causal=causal)


def reparameterize_kl_eager(mu, logvar, eps):
    z = mu + torch.exp(0.5 * logvar) * eps
    return z, -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum(dim=1)


def discriminator_loss_eager(real, fake):
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    return bce(real, torch.full_like(real, 0.9)) + bce(fake, torch.zeros_like(fake))


def drawn_boxes(generator, dtype, count) -> Tensor:
    """Boxes of up to a tenth of the image."""
    corner, size = (torch.rand((count, 2), generator=generator, device=generator.device) for _ in range(2))
    return torch.cat([corner, corner + 0.01 + 0.09 * size], dim=1).to(dtype)


def pairwise_iou_eager(a, b):
    a, b = a.float(), b.float()
    size = torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])
    inter = size.clamp(min=0).prod(dim=2)
    area_a, area_b = ((boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (a, b))
    return inter / (area_a[:, None] + area_b - inter)


def nms_eager(boxes, scores, threshold=0.5, rounds=24):
    """Suppression without a loop over boxes: each round lets those strike out others that the last one left in.

    After as many rounds as the longest chain of suppressions has links, it is what the greedy loop gives. (torchvision
    has a kernel for it, torch has not.)
    """
    order = torch.sort(scores, descending=True, stable=True).indices
    ranked = boxes[order]
    covers = (pairwise_iou_eager(ranked, ranked) > threshold).triu(1)
    stays = torch.ones_like(scores, dtype=torch.bool)
    for _ in range(rounds):
        stays = ~(covers & stays[:, None]).any(dim=0)
    return torch.zeros_like(stays).scatter(0, order, stays)


CASES = (
    Case(
        "GELU and bias, fused",
        "activations.bias_gelu_forward",
        {"eager": 1.8, "compile": 1.0, "roofline": 0.9},
        {"batch": 16384, "d_h": 8192},
        {"batch": 5, "d_h": 37},
        inputs=lambda generator, dtype, batch, d_h: (
            normal(generator, dtype, batch, d_h),
            normal(generator, dtype, d_h),
        ),
        eager=lambda x, b, approximate: torch.nn.functional.gelu(x + b, approximate=approximate),
        options={"approximate": "tanh"},
    ),
    Case(
        "cross-entropy, loss and gradient",
        "losses.cross_entropy_forward",
        {"eager": 1.5, "compile": 1.0, "roofline": 0.8},
        {"batch": 4096, "classes": 131072},
        {"batch": 5, "classes": 37},
        inputs=lambda generator, dtype, batch, classes: (
            normal(generator, dtype, batch, classes),
            torch.randint(classes, (batch,), generator=generator, device=generator.device),
        ),
        eager=lambda logits, labels: torch.nn.functional.cross_entropy(logits, labels),
        gradient=True,
    ),
    Case("batch norm and ReLU", "batch_norm.batch_norm_forward", {"eager": 1.5, "compile": 0.95, "roofline": 0.75}),
    Case(
        "conv2d",
        "cnn.conv2d_forward",
        {"cuDNN, channels last": 0.85, "compile": 0.85, "roofline": 0.65},
        {"batch": 32, "c_in": 128, "side": 56, "c_out": 128},
        {"batch": 2, "c_in": 3, "side": 7, "c_out": 5},
        inputs=conv2d_inputs,
        eager=lambda x, W, b, padding: torch.nn.functional.conv2d(x, W, b, padding=padding),
        others={"cuDNN, channels last": conv2d_channels_last},
        options={"padding": 1},
        operations=lambda batch, c_in, side, c_out: 2.0 * batch * side**2 * c_out * c_in * 9,
    ),
    Case("depthwise 3×3", "residual.depthwise_forward", {"eager": 1.2, "compile": 1.2, "roofline": 0.75}),
    Case(
        "max-pool",
        "cnn.max_pool_forward",
        {"eager": 1.5, "compile": 0.95, "roofline": 0.75},
        {"batch": 64, "channels": 64, "side": 112},
        {"batch": 2, "channels": 3, "side": 7},
        inputs=lambda generator, dtype, batch, channels, side: (normal(generator, dtype, batch, channels, side, side),),
        eager=lambda x, window, stride, padding: torch.nn.functional.max_pool2d(x, window, stride, padding),
        options={"window": 3, "stride": 2, "padding": 1},
    ),
    Case(
        "LSTM step",
        "lstm.lstm_step_forward",
        {},
        {"batch": 1024, "d_in": 1024, "d_h": 1024},
        {"batch": 3, "d_in": 5, "d_h": 7},
        inputs=lstm_step_inputs,
        eager=lstm_step_eager,
        others={"torch.lstm_cell": lstm_cell_of_torch},
        operations=lambda batch, d_in, d_h: 2.0 * batch * (d_in + d_h) * 4 * d_h,
    ),
    *(
        Case(
            f"LSTM sequence, hidden {d_h}",
            "lstm_sequence.lstm_forward",
            goals,
            {"batch": 64, "time": 64, "d_in": d_h, "d_h": d_h},
            {"batch": 3, "time": 5, "d_in": 7, "d_h": 6},
            dtypes,
            inputs=lstm_inputs,
            eager=lstm_eager,
            others={"cuDNN": lstm_of_cudnn},
            operations=lambda batch, time, d_in, d_h: 2.0 * batch * time * (d_in + d_h) * 4 * d_h,
        )
        for d_h, goals, dtypes in (
            (64, {"cuDNN": 1.0, "compile": 5.0}, ("float32", "float16")),
            (128, {"cuDNN": 1.0, "compile": 5.0}, ("float16",)),
            (512, {"cuDNN": 0.4, "compile": 5.0}, ("float16",)),
        )
    ),
    *(
        Case(
            f"flash attention, d 128{', causal' * causal}",
            "attention.attention_forward",
            {} if causal else {"SDPA": 0.75, "compile": 0.75, "roofline": 0.55},
            {"batch": 4, "heads": 16, "time": 4096, "d_head": 128},
            {"batch": 2, "heads": 3, "time": 37, "d_head": 5},
            ("float16", "bfloat16"),
            inputs=attention_inputs,
            eager=attention_eager,
            others={"SDPA": attention_of_torch(causal)},
            options={"causal": causal},
            operations=lambda batch, heads, time, d_head, causal=causal: (
                4.0 * batch * heads * time**2 * d_head / (1 + causal)
            ),
        )
        for causal in (False, True)
    ),
    Case(
        "reparameterization and KL",
        "vae.reparameterize_kl_forward",
        {"eager": 5.0, "compile": 1.0, "roofline": 0.8},
        {"batch": 131072, "latent": 256},
        {"batch": 5, "latent": 7},
        inputs=lambda generator, dtype, batch, latent: tuple(normal(generator, dtype, batch, latent) for _ in range(3)),
        eager=reparameterize_kl_eager,
    ),
    Case(
        "GAN loss",
        "gan.discriminator_loss_forward",
        {"eager": 3.0, "compile": 1.0, "roofline": 0.8},
        {"count": 1 << 24},
        {"count": 37},
        inputs=lambda generator, dtype, count: (normal(generator, dtype, count), normal(generator, dtype, count)),
        eager=discriminator_loss_eager,
        gradient=True,
    ),
    Case(
        "Gram matrix",
        "style_transfer.gram_forward",
        {"eager": 1.15, "compile": 1.0, "roofline": 0.55},
        {"batch": 32, "channels": 512, "positions": 4096},
        {"batch": 2, "channels": 5, "positions": 37},
        inputs=lambda generator, dtype, batch, channels, positions: (
            normal(generator, dtype, batch, channels, positions),
        ),
        eager=lambda F: F @ F.mT / F.shape[2],
        operations=lambda batch, channels, positions: 1.0 * batch * channels * (channels + 1) * positions,  # one half
    ),
    Case(
        "pairwise IoU",
        "yolo_iou.pairwise_iou",
        {"eager": 6.0, "compile": 1.0, "roofline": 0.8},
        {"boxes": 16384, "others": 16384},
        {"boxes": 37, "others": 5},
        inputs=lambda generator, dtype, boxes, others: (
            drawn_boxes(generator, dtype, boxes),
            drawn_boxes(generator, dtype, others),
        ),
        eager=lambda a, b: pairwise_iou_eager(a, b).to(a.dtype),
    ),
    *(
        Case(
            f"NMS, {count:,} boxes",
            "yolo_iou.nms",
            {"eager": goal},
            {"boxes": count},
            {"boxes": 37},
            ("float32",),
            inputs=lambda generator, dtype, boxes: (
                drawn_boxes(generator, dtype, boxes),
                torch.randperm(boxes, generator=generator, device=generator.device).to(dtype),
            ),
            eager=nms_eager,
        )
        for count, goal in ((10_000, 1.2), (20_000, 3.0))
    ),
    Case("embedding, gather", "embeddings.embedding_forward", {"eager": 1.5, "compile": 1.0, "roofline": 0.8}),
    Case("skip-gram step", "embeddings.skip_gram_forward", {"eager": 5.0, "compile": 2.0, "roofline": 0.5}),
    Case("dropout", "regularization.dropout_forward", {"eager": 1.3, "compile": 1.0, "roofline": 0.85}),
)


def host(case: Case) -> Callable[..., Any] | None:
    """The host function that a case times; None where it does not exist yet."""
    module, name = case.kernel.split(".")
    try:
        return getattr(importlib.import_module(f"kernels.{module}"), name, None)
    except ModuleNotFoundError:
        return None


def contenders(case: Case, backend: str = "inductor") -> dict[str, Callable[..., Call]]:
    """Who runs: by name, a function from the inputs to the call to time."""
    compiled = torch.compile(case.eager, backend=backend, fullgraph=True, dynamic=False)
    plain = {"kernel": host(case), "eager": case.eager, "compile": compiled}
    prepared = {name: prepare(function, case) for name, function in plain.items()}
    return prepared | dict(case.others)


def prepare(function: Callable[..., Any], case: Case) -> Callable[..., Call]:
    """Turn a function of the inputs into one that returns the call to time, with its gradients if they count."""

    def prepared(*tensors: Tensor) -> Call:
        if not case.gradient:
            return lambda: function(*tensors, **case.options)
        leaves = [tensor.requires_grad_() for tensor in tensors if tensor.is_floating_point()]

        def with_gradients() -> list[Tensor]:
            outputs = listed(function(*tensors, **case.options))
            return [*outputs, *torch.autograd.grad(outputs, leaves, [torch.ones_like(output) for output in outputs])]

        return with_gradients

    return prepared


def listed(outputs: Any) -> list[Tensor]:
    return list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]


def draw(case: Case, dtype: str, device: str, seed: int, sizes: Sizes) -> tuple[Tensor, ...]:
    return case.inputs(torch.Generator(device).manual_seed(seed), DTYPES[dtype], **sizes)


def rotation(case: Case, dtype: str, device: str, sizes: Sizes, cache: int = CACHE) -> list[tuple[Tensor, ...]]:
    """As many sets of inputs as it takes to fill the cache, two at least and MOST_SETS at most."""
    first = draw(case, dtype, device, 0, sizes)
    count = min(max(2, -(-cache // size_of(first))), MOST_SETS)
    return [first, *(draw(case, dtype, device, seed, sizes) for seed in range(1, count))]


def size_of(tensors: Sequence[Tensor]) -> int:
    """The bytes of the tensors together."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def assert_agreement(call: Call, expected: Sequence[Tensor], dtype: str) -> None:
    """Raise AssertionError unless a call gives what is expected, as closely as the GPU's tensor cores compute."""
    came = listed(call())
    if [output.shape for output in came] != [right.shape for right in expected]:
        shapes = [[tuple(output.shape) for output in outputs] for outputs in (expected, came)]
        raise AssertionError(f"expected outputs of shapes {shapes[0]}, got {shapes[1]}")
    for index, (output, right) in enumerate(zip(came, expected, strict=True)):
        gap, scale = (output.float() - right.float()).abs().max().item(), right.float().abs().max().item()
        if not gap <= AGREEMENT[dtype] * scale:  # NaN is no number of that size
            raise AssertionError(f"output {index} is off by {gap:.2g}, where the largest value is {scale:.2g}")


def capture(calls: Sequence[Call]) -> Callable[[], float]:
    """Record the calls in one CUDA graph; return a function that replays it and says how many seconds a call took."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # compiles what has to be compiled
        for _ in range(WARM_UPS):
            for call in calls:
                call()
    torch.cuda.current_stream().wait_stream(stream)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = [call() for call in calls]  # all are kept, so that they lie apart as well
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def replay() -> float:
        start.record()
        graph.replay()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1000 / len(outputs)

    return replay


def interleaved(replays: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, float]:
    """Replay by turns; the median seconds of a call by contender. The first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in replays}
    for _ in range(rounds + 1):
        for name, replay in replays.items():
            seconds[name].append(replay())
    return {name: median(times[1:]) for name, times in seconds.items()}


def measure(case: Case, dtype: str, device: str = "cuda", capturing=capture, **options: Any) -> dict[str, Any]:
    """Time all contenders of a case; microseconds by contender, and in one line why one has none."""
    sizes = options.pop("sizes", case.sizes)
    sets = rotation(case, dtype, device, sizes, options.pop("cache", CACHE))
    replays, failed = {}, {}
    expected = [output.detach() for output in listed(prepare(case.eager, case)(*sets[0])())]
    for name, prepared in contenders(case, **options).items():
        try:
            calls = [prepared(*tensors) for tensors in sets]
            if name in ("kernel", "compile") or not case.gradient:
                assert_agreement(calls[0], expected, dtype)
            replays[name] = capturing(calls)
        except Exception as error:  # of whatever kind: the others run all the same
            failed[name] = first_line(error)
    times = interleaved(replays)
    traffic, work = size_of(sets[0]) + size_of(expected), case.operations(**sizes)
    figures = {"us": {name: round(1e6 * seconds, 2) for name, seconds in times.items()}, "failed": failed}
    return described(case, dtype, sizes) | figures | {"bytes": traffic, "operations": work}


def described(case: Case, dtype: str, sizes: Sizes) -> dict[str, Any]:
    """What is timed, as the results say it."""
    return {
        "name": case.name,
        "kernel": case.kernel,
        "dtype": dtype,
        "sizes": dict(sizes),
        "goals": dict(case.goals),
    }


def first_line(error: Exception) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text}"[:200]


def roofline(row: Mapping[str, Any], gpu: str) -> float | None:
    """The share of what memory or tensor cores allow that the kernel reaches; None for a GPU that is not listed."""
    found = [limits for name, limits in ROOFLINES.items() if name in gpu]
    if not found or "kernel" not in row["us"]:
        return None
    bandwidth, peaks = found[0]
    return 1e6 * max(row["bytes"] / bandwidth, row["operations"] / peaks[row["dtype"]]) / row["us"]["kernel"]


def speedups(row: Mapping[str, Any]) -> dict[str, float]:
    """How many times faster the kernel is than each other contender."""
    times = row["us"]
    return {name: times[name] / times["kernel"] for name in times if name != "kernel" and "kernel" in times}


def untimed() -> list[str]:
    """Host functions of kernels/ that take a layer's arguments and that no case times."""
    import kernels  # not before it is known that there is a GPU: without triton it cannot be imported

    timed = {case.kernel for case in CASES}
    hosts = [
        f"{found.name}.{name}"
        for found in pkgutil.iter_modules(kernels.__path__)
        for name, thing in vars(importlib.import_module(f"kernels.{found.name}")).items()
        if inspect.isfunction(thing) and name.endswith("_forward") and not name.startswith(("_", "launch_"))
    ]
    return [name for name in hosts if name not in timed]


def results(cases: Sequence[Case] = CASES) -> Iterator[dict[str, Any]]:
    """Measure every case whose kernel exists, in each of its dtypes."""
    for case in cases:
        if host(case) is not None:
            for dtype in case.dtypes:
                try:
                    yield measure(case, dtype)
                except Exception as error:
                    yield described(case, dtype, case.sizes) | {"us": {}, "failed": {"all": first_line(error)}}
                torch.cuda.empty_cache()


def add_row(table: Table, row: Mapping[str, Any], gpu: str) -> None:
    """Show one result: the kernel's time, its speedup over each other contender, and what failed."""
    time, share = row["us"].get("kernel"), roofline(row, gpu)
    others = [f"{name} × {ratio:.2f}" for name, ratio in speedups(row).items()]
    others += [f"{name}: {reason}" for name, reason in row["failed"].items()]
    table.add_row(
        row["name"],
        row["dtype"],
        "" if time is None else f"{time:.1f}",
        "\n".join(others),
        "" if share is None else f"{share:.0%}",
    )


def main() -> int:
    if not torch.cuda.is_available():
        print("no GPU here: kernels are timed on one only")
        return 0
    torch.set_float32_matmul_precision("high")  # tf32, as in the kernels
    gpu, rows = torch.cuda.get_device_name(), []
    versions = record.versions("torch", "triton") | {
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }
    table = Table("kernel", "dtype", "µs", "faster than", "roofline", title=gpu)
    for row in results():
        rows.append(row)
        add_row(table, row, gpu)
        record.save("gpu", gpu, {"versions": versions, "operations": rows})  # now: what was measured stays
    Console().print(table)
    missing = [f"{case.name}: no kernel yet" for case in CASES if host(case) is None]
    print(*missing, *(f"{name}: no case yet" for name in untimed()), sep="\n")
    reasons = [reason for row in rows for reason in row["failed"].values()]
    return int(any(not reason.startswith("ValueError") for reason in reasons))  # with that, a kernel refuses sizes


if __name__ == "__main__":
    sys.exit(main())
