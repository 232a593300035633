"""A kernel as a student's notebook has it, given functions and all, with slips in its source; and its verdict."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autograder import check, compose, stubs
from autograder.judge import judge
from autograder.question import Question


def submitted(name: str, given: Sequence[str], edits: Sequence[tuple[str, str]], folder: Path) -> dict[str, Any]:
    """The names of a notebook whose kernel has pieces of its source replaced; each piece must stand there once."""
    source = "\n\n\n".join([compose.KERNEL_SETUP, *map(stubs.whole, given), stubs.solved(name)])
    for old, new in edits:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    file = folder / "answer.py"  # Triton reads a kernel's source from its file
    file.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("answer", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


def verdict_on(asked: Question, points: float, answer: dict[str, Any], seed: int) -> check.Verdict:
    """Judge an answer in this process, as the grader judges that of a submission."""

    def ask(call: check.Call) -> check.Answer:
        with np.errstate(all="ignore"):
            return check.perform(answer, call)

    return judge(asked, points, seed, ask)
