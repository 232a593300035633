"""The audit record of an assignment: what was judged when, with what, and how it came out; one JSON object a line.

Lines are only ever added. The last line of a student counts.
"""

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "torch", "triton", "ipython", "nbgrader", "dask")


def file_of(course: Path, assignment: str) -> Path:
    return course / "audit" / f"{assignment}.jsonl"


@cache
def versions() -> Mapping[str, str]:
    """The versions of what this process judges with."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def entry(student: str, assignment: str, outcome: str, **more: Any) -> dict[str, Any]:
    """One record; `outcome` is "graded", "unreadable" or "retry"."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"time": now, "student": student, "assignment": assignment, "outcome": outcome, **more}


def append(course: Path, record: Mapping[str, Any]) -> None:
    """Add one line, in one write that is on disk when this returns; a torn line of a killed grader ends before it."""
    file = file_of(course, record["assignment"])
    file.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(record, ensure_ascii=True) + "\n"
    descriptor = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o660)
    try:
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        os.write(descriptor, (b"\n" if torn else b"") + line.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def latest(course: Path, assignment: str) -> dict[str, dict[str, Any]]:
    """The last record of each student; empty if nothing was judged yet. Lines that a kill has torn are left out."""
    file = file_of(course, assignment)
    records: dict[str, dict[str, Any]] = {}
    if not file.exists():
        return records
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and "student" in record:
                records[record["student"]] = record
    return records
