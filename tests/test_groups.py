"""Tests that share something costly, such as a browser, run in one process: pytest and its plugin must agree on it."""

import os
import subprocess
import sys
from pathlib import Path

GROUPS = """
import os
import time
from pathlib import Path

import pytest

@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("group", [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in ("a", "b")])
def test_where_it_runs(group, number):
    time.sleep(0.05)
    with Path(group).open("a") as processes:
        print(os.getpid(), file=processes)
"""


def test_a_group_of_tests_stays_in_one_process(tmp_path: Path) -> None:
    (tmp_path / "test_two_groups.py").write_text(GROUPS, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider"]
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, text=True, check=False)
    assert "10 passed" in done.stdout, done.stdout + done.stderr
    processes = {group: set((tmp_path / group).read_text(encoding="utf-8").split()) for group in ("a", "b")}
    assert all(len(found) == 1 for found in processes.values()), processes
