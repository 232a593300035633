"""The plots of the class report: SVG to stand in a page, in the page's own colors, so that light and dark both work."""

import io
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

Numbers = np.ndarray[Any, Any]
STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "report",
    "text.parse_math": False,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
}
# each stands for a color of the page, var(--…)
INK, MUTED, GRID, PAPER = "#000001", "#000002", "#000003", "#000004"
BAR, FULL, PART, ZERO = "#000005", "#000006", "#000007", "#000008"
NAMES = dict(
    zip(
        (INK, MUTED, GRID, PAPER, BAR, FULL, PART, ZERO),
        ("ink", "muted", "grid", "paper", "bar", "full", "part", "zero"),
        strict=True,
    )
)
WIDTH = 5.0  # inches; the page scales it
MOST_BINS = 14
LONGEST_NAME = 44  # characters, in front of the mean


@dataclass(frozen=True)
class Shares:
    """How a class did in one question; all are shares between 0 and 1, `mean` that of the points."""

    name: str
    full: float
    zero: float
    mean: float


def distribution(scores: Sequence[float], out_of: float) -> Markup:
    """Draw a histogram of totals with their mean and median."""
    mean, median = float(np.mean(scores)), float(np.median(scores))
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
        axes = figure.add_subplot()
        bins = bin_edges(scores, out_of)
        axes.hist(scores, bins=bins, color=BAR, edgecolor=PAPER, linewidth=0.8, zorder=2)
        axes.axvline(mean, color=INK, linewidth=1.6, linestyle=(0, (4, 2)), label=f"mean {mean:.3g}", zorder=3)
        axes.axvline(median, color=ZERO, linewidth=1.6, label=f"median {median:.3g}", zorder=3)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderaxespad=0, labelcolor=INK)
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(axis="y", color=GRID, linewidth=0.8, zorder=0)
        axes.set_xlim(bins[0], bins[-1])
        axes.set_xlabel(f"points of {out_of:g}", color=MUTED)
        axes.set_ylabel("submissions", color=MUTED)
        _color_ticks(axes)
        return _svg(figure, f"Histogram of the totals: mean {mean:.3g}, median {median:.3g} of {out_of:g} points")


def bin_edges(scores: Sequence[float], out_of: float) -> list[float]:
    """Bins of a round width from 0 (or less) to the most that there is, the last one up to it."""
    low, high = min(0.0, *scores, 0.0), max(out_of, *scores, 0.0) or 1.0
    least = (high - low) / MOST_BINS
    power = 10.0 ** math.floor(math.log10(least))
    width = next(step * power for step in (1, 2, 5, 10) if step * power >= least * (1 - 1e-9))
    first = math.floor(low / width)
    count = max(1, math.ceil(high / width - 1e-9) - first)
    return [(first + k) * width for k in range(count + 1)]


def questions(shares: Sequence[Shares]) -> Markup:
    """Draw for each question who had full marks, part of them, none; a diamond shows the mean."""
    with rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 0.85 + 0.42 * len(shares)), layout="constrained")
        axes = figure.add_subplot()
        rows = np.arange(len(shares))
        full, zero = np.array([s.full for s in shares]), np.array([s.zero for s in shares])
        _bars(axes, full, 0 * full, FULL, "full marks")
        _bars(axes, np.clip(1 - full - zero, 0, 1), full, PART, "part")
        _bars(axes, zero, 1 - zero, ZERO, "zero")
        means = [s.mean for s in shares]
        axes.plot(means, rows, "D", ms=6, mfc=INK, mec=PAPER, mew=0.8, label="mean of points", clip_on=False, zorder=4)
        for row, there in enumerate(shares):
            axes.text(0, row - 0.26, _short(there.name), color=INK, va="bottom")
            axes.text(1, row - 0.26, f"{there.mean:.0%}", color=MUTED, ha="right", va="bottom")
        axes.set(xlim=(0, 1), ylim=(len(shares) - 0.6, -0.75), yticks=[])
        axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        _color_ticks(axes)
        _legend_above(figure, axes)
        return _svg(figure, "For each question the share with full marks, part, zero, and the mean; the table has them")


def _bars(axes: Axes, widths: Numbers, left: Numbers, color: str, label: str) -> None:
    rows = np.arange(len(widths))
    axes.barh(rows, widths, 0.36, left, color=color, label=label, edgecolor=PAPER, linewidth=0.8, zorder=2)


def _legend_above(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    tight = rc_context({"legend.handlelength": 0.9, "legend.handletextpad": 0.4, "legend.columnspacing": 1.1})
    with tight:
        figure.legend(
            handles, labels, loc="outside upper left", ncols=4, frameon=False, labelcolor=INK, borderaxespad=0
        )


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


def _color_ticks(axes: Axes) -> None:
    axes.tick_params(color=GRID, labelcolor=MUTED)
    axes.spines["bottom"].set_color(GRID)


def _svg(figure: Figure, label: str) -> Markup:
    """The figure as an element of a page: no size, no namespaces, no ids but those in use, the page's colors."""
    file = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # the browser has its own fonts
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(file.getvalue())
    text = re.sub("#00000[1-8]", lambda found: f"var(--{NAMES[found[0]]})", _bare(root, label))
    return Markup(text)  # built as a tree, so every text in it is escaped


def _bare(root: ElementTree.Element, label: str) -> str:
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    used = set(re.findall(r"(?:url\(|\")#([^)\"]+)", ElementTree.tostring(root, encoding="unicode")))
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(name): value for name, value in element.attrib.items()}
        if element.attrib.get("id") not in used:
            element.attrib.pop("id", None)
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "aria-label": label}
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    return name.rpartition("}")[2]
