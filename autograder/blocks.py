"""The blocks of the course, read from _toc.yml, and where the parts of each one lie."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from autograder.errors import UserError

ROOT = Path(__file__).resolve().parent.parent


def _files(node: Any) -> Iterator[str]:
    """Every `file:` of a table of contents, in reading order."""
    if isinstance(node, dict):
        if "file" in node:
            yield node["file"]
        for value in node.values():
            yield from _files(value)
    elif isinstance(node, list):
        for value in node:
            yield from _files(value)


@cache
def pages() -> tuple[str, ...]:
    """Name every page of the book in reading order, as _toc.yml does: its path without suffix."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return (toc["root"], *_files(toc))


@cache
def stems() -> tuple[str, ...]:
    """Name the blocks in the order of the book: one for each exercise page."""
    prefix = "book/exercises/"
    return tuple(page.removeprefix(prefix) for page in pages() if page.startswith(prefix))


def require(stem: str) -> str:
    """Return the stem if the course has such a block, else raise UserError with the stems that it has."""
    if stem not in stems():
        raise UserError(f"there is no block {stem!r}; the blocks of _toc.yml are: {', '.join(stems())}")
    return stem


def chapter(stem: str) -> Path:
    return ROOT / "book" / "chapters" / f"{stem}.md"


def exercises(stem: str) -> Path:
    return ROOT / "book" / "exercises" / f"{stem}.md"


def solution(stem: str) -> Path:
    return ROOT / "solutions" / f"{stem}.py"


def kernel(stem: str) -> Path:
    return ROOT / "kernels" / f"{stem}.py"


def questions(stem: str) -> Path:
    return ROOT / "autograder" / "questions" / f"{stem}.py"


def tests(stem: str) -> Path:
    return ROOT / "tests" / f"test_{stem}.py"
