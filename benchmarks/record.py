"""Where figures of speed are kept: one JSON file for each kind and machine, with machine, versions and date."""

import datetime
import importlib
import json
import os
import platform
import re
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def cpu() -> str:
    """Name the processor by its model and the cores that this process may use, never by the machine's name."""
    models = re.findall(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE)
    model = models[0].strip() if models else platform.machine()
    return f"{model}, {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores"


def _cpuinfo() -> str:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def versions(*packages: str) -> dict[str, str]:
    """The versions of Python and of these packages."""
    found = {package: importlib.import_module(package).__version__ for package in packages}
    return {"python": platform.python_version()} | found


def save(kind: str, machine: str, result: dict[str, Any], folder: Path | None = None) -> Path:
    """Write a result to <kind>-<machine>.json, over what an earlier run on such a machine left there."""
    slug = re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-")
    path = (folder or RESULTS) / f"{kind}-{slug}.json"
    heading = {"machine": machine, "date": datetime.date.today().isoformat()}
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(heading | result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def load(kind: str, folder: Path | None = None) -> list[dict[str, Any]]:
    """Read the results of one kind from all machines, in the order of the machines' names; none is no error."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((folder or RESULTS).glob(f"{kind}-*.json"))]
