"""The tables and figures of the book's page on speed, from the results that are committed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from autograder.blocks import ROOT
from benchmarks import cpu, gpu

Row = Mapping[str, Any]
COLORS = {"float64": "#0072b2", "float32": "#e69f00", "goal": "#d55e00"}
BAR = 0.36


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]], texts: int = 2) -> str:
    """A table in Markdown; all columns but the first two are numbers and stand to the right."""
    aligned = [*["---"] * texts, *["---:"] * (len(header) - texts)]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in (header, aligned, *rows))


def measured_on(result: Row) -> str:
    """The machine, the day and the versions of a result."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    return f"**{result['machine']}**, {result['date']}: {versions}."


# NumPy against torch


def cpu_table(result: Row) -> str:
    header = ["operation", "precision", "NumPy, ms", "torch, ms", "ratio", "goal", "met"]
    return markdown(header, [cpu_row(row) for row in result["operations"]])


def cpu_row(row: Row) -> list[str]:
    sizes = next((operation.sizes for operation in cpu.OPERATIONS if operation.name == row["name"]), {})
    described = ", ".join(f"{axis} {size:,}" for axis, size in sizes.items())
    figures = [f"{row['numpy_ms']:.1f}", f"{row['torch_ms']:.1f}", f"{row['ratio']:.2f}"]
    goal = [f"≤\xa0{row['goal']:g}", "**no**" if missed(row) else "yes"] if row["goal"] else ["", ""]
    return [f"{row['name']}, `{row['function'].split('.')[1]}`: {described}", row["dtype"], *figures, *goal]


def missed(row: Row) -> bool:
    return row["goal"] is not None and row["ratio"] > row["goal"]


def cpu_bars(result: Row) -> Figure:
    """A bar for the ratio of each operation and precision, and a line across it at the goal, if it has one."""
    names = list(dict.fromkeys(row["name"] for row in result["operations"]))
    figure, ax = plt.subplots(figsize=(6.4, 1.1 + 0.75 * len(names)), layout="constrained")
    for row in result["operations"]:
        place = names.index(row["name"]) + BAR * cpu.DTYPES.index(row["dtype"])
        ax.barh(place, row["ratio"], BAR, color=COLORS[row["dtype"]], label=row["dtype"])
        beside = max(row["ratio"], row["goal"] or 0)  # right of the tick as well
        ax.text(beside + 0.03, place, f"{row['ratio']:.2f}", va="center")
        if row["goal"]:
            ends = [place - 0.6 * BAR, place + 0.6 * BAR]
            ax.plot([row["goal"]] * 2, ends, color=COLORS["goal"], linewidth=3, label="goal")
    handles = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, frameon=False)
    ax.axvline(1, color="black", linewidth=1, linestyle=":")
    ax.set_yticks([k + BAR / 2 for k in range(len(names))], names)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.12 * max(max(row["ratio"], row["goal"] or 0) for row in result["operations"]))
    ax.set_xlabel("time of NumPy / time of torch")
    return figure


def cpu_missing(results: Sequence[Row]) -> str:
    """Which operations have no figures, and why."""
    timed = {row["name"] for result in results for row in result["operations"]}
    without = [operation for operation in cpu.OPERATIONS if operation.name not in timed]
    waiting = [operation.name for operation in without if cpu.reference(operation) is None]
    due = [operation.name for operation in without if cpu.reference(operation) is not None]
    return sentences(("No chapter yet, so nothing to time", waiting), ("Not timed yet, `make bench-cpu` does it", due))


def sentences(*lists: tuple[str, list[str]]) -> str:
    """One line for each list that has something in it."""
    return "\n\n".join(f"{what}: {'; '.join(names)}." for what, names in lists if names)


def misses(results: Sequence[Row]) -> str:
    """Which goals are missed, and by how much."""
    rows = [(result["machine"], row) for result in results for row in result["operations"] if missed(row)]
    names = [f"{row['name']}, {row['ratio']:.2f} instead of {row['goal']:g} ({machine})" for machine, row in rows]
    return sentences(("Missed", names)) or "Every goal is met."


def profiles(result: Row) -> str:
    """Where the time goes, for the operations that are timed in parts: alone, and against all of torch's time."""
    header = ["operation", "precision", "part of NumPy's time", "ms", "share", "over torch's whole time"]
    rows = [
        [row["name"], row["dtype"], part, f"{ms:.1f}", f"{ms / row['numpy_ms']:.0%}", f"{ms / row['torch_ms']:.2f}"]
        for row in result["operations"]
        for part, ms in row.get("parts_ms", {}).items()
    ]
    return markdown(header, rows, texts=3)


# Kernels on a GPU


def gpu_section(results: Sequence[Row]) -> str:
    """The tables of all GPUs that were measured, or how to measure one."""
    if not results:
        return (
            "**No results yet.** These kernels have not been timed on a GPU. On a machine with one, `make bench-gpu` "
            "does it and writes them to `benchmarks/results/`; the next build of this page shows them."
        )
    return "\n\n".join(f"{measured_on(result)}\n\n{gpu_table(result)}\n\n{gpu_failures(result)}" for result in results)


def gpu_table(result: Row) -> str:
    """One line for each kernel and dtype: its time, its speedups over the others, its share of the roofline."""
    header = ["kernel", "precision", "µs", "faster than (goal)", "of the roofline (goal)"]
    timed = [row for row in result["operations"] if "kernel" in row["us"]]
    return markdown(header, [gpu_row(row, result["machine"]) for row in timed])


def gpu_row(row: Row, machine: str) -> list[str]:
    goals, share = row["goals"], gpu.roofline(row, machine)
    ratios = [f"{name} {ratio:.2f}×{goal_of(goals, name)}" for name, ratio in gpu.speedups(row).items()]
    sizes = ", ".join(f"{axis} {size:,}" for axis, size in row["sizes"].items())
    name = f"{row['name']}, `{row['kernel'].split('.')[1]}`: {sizes}"
    reached = "" if share is None else f"{share:.0%}" + (f" ({goals['roofline']:.0%})" if "roofline" in goals else "")
    return [name, row["dtype"], f"{row['us']['kernel']:.1f}", ", ".join(ratios), reached]


def goal_of(goals: Mapping[str, float], name: str) -> str:
    return f" ({goals[name]:g})" if name in goals else ""


def gpu_failures(result: Row) -> str:
    """What could not be timed, in the words of the error."""
    failed = [
        f"{row['name']}, {row['dtype']}, {name}: `{reason}`"
        for row in result["operations"]
        for name, reason in row["failed"].items()
    ]
    return sentences(("Could not be timed", failed))


def goals_below_one() -> str:
    """The cases whose goal is to be slower than what they are compared with."""
    below = [
        f"{case.name} ({goal:g} of {name})"
        for case in gpu.CASES
        for name, goal in case.goals.items()
        if goal < 1 and name != "roofline"
    ]
    return "; ".join(below)


# Machine code


def machine_code(gpu_name: str) -> str:
    """What each kernel becomes on one GPU in each precision, where sizes are multiples of 16, and which spill."""
    table = json.loads((ROOT / "kernels" / "machine_code.json").read_text(encoding="utf-8"))
    header = ["kernel", "registers", "shared, bytes", "tensor", "loads", "stores", "atomics"]
    found = {
        f"`{kernel.split('.')[1].removesuffix('_kernel')}` {dtype}": largest(variants, f"{gpu_name} {dtype}")
        for kernel, variants in table.items()
        for dtype in ("float32", "float16")
    }
    rows = [machine_code_row(name, code) for name, code in found.items() if code]
    spilling = [name for name, code in found.items() if code and code["stack"]]
    return f"{markdown(header, rows, texts=1)}\n\n{sentences(('These spill', spilling)) or 'None of them spills.'}"


def largest(variants: Mapping[str, Row], wanted: str) -> Row | None:
    """Of the ways in which a kernel is launched, the one that takes the most registers."""
    found = [code for name, code in variants.items() if name.startswith(wanted) and "odd sizes" not in name]
    return max(found, key=lambda code: code["registers"], default=None)


def machine_code_row(name: str, code: Row) -> list[object]:
    moves = [f"{code[f'{kind} of 16 bytes']}/{code[kind]}" for kind in ("loads", "stores")]
    return [name, code["registers"], f"{code['shared']:,}", code["wgmma"] + code["mma"], *moves, code["atomics"]]
