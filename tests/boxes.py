"""Boxes as tests draw them: what an annotation "boxes 4" cannot say is that the corners stand in order."""

from collections.abc import Callable
from typing import Any

import numpy as np

from autograder import cases


def in_order(function: Callable[..., Any], inputs: dict[str, object]) -> dict[str, Any]:
    """Make boxes of those drawn arrays that are annotated as some number of rows of 4: a corner, and one beyond it."""
    shapes = cases.shapes(function)
    rows_of_4 = {name for name, axes in shapes.items() if axes.split()[1:] == ["4"] and name in inputs}
    return {name: _boxes(value) if name in rows_of_4 else value for name, value in inputs.items()}


def _boxes(drawn: Any) -> np.ndarray[Any, Any]:
    return np.hstack([drawn[:, :2], drawn[:, :2] + 0.1 + np.abs(drawn[:, 2:])])
