"""A class survives kills of its grader and of its workers, here and on a Dask cluster of other processes."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autograder import audit
from autograder.blocks import ROOT
from tests import interruptions

pytestmark = [pytest.mark.xdist_group("scale"), pytest.mark.skipif(sys.platform != "linux", reason="needs bubblewrap")]
SIZE = 14


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """A class that was graded without any trouble, by local workers."""
    folder = tmp_path_factory.mktemp("undisturbed") / "course"
    interruptions.make_class(folder, "lstm", SIZE)
    (folder / ".secret").write_bytes(bytes(32))
    shutil.copytree(folder, folder.with_name("ungraded"))
    subprocess.run(interruptions.command(folder, "lstm"), check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return folder


@pytest.fixture
def ungraded(undisturbed, tmp_path) -> Path:
    folder = tmp_path / "course"
    shutil.copytree(undisturbed.with_name("ungraded"), folder)
    return folder


def test_a_grader_killed_at_any_moment_goes_on_to_the_same_gradebook(undisturbed, ungraded):
    done = interruptions.disturbed(ungraded, "lstm", [3.0, 4.7, 6.1])
    assert done[0] is not None  # the first kill came while it was grading
    assert interruptions.marks(ungraded, "lstm") == interruptions.marks(undisturbed, "lstm")
    records = audit.latest(ungraded, "lstm")
    assert {record["outcome"] for record in records.values()} == {"graded"}
    assert len(records) == SIZE


@contextlib.contextmanager
def dask_cluster(folder: Path) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """Start a Dask scheduler and two workers as processes of their own, as on a cluster."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    file = folder / "scheduler.json"
    where = ["--scheduler-file", str(file)]
    quiet = {"env": environment, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    worker = [sys.executable, "-m", "dask", "worker", "--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard"]
    processes = [subprocess.Popen([*scheduler, *where], **quiet, start_new_session=True)]
    try:
        deadline = time.monotonic() + 60
        while not file.exists():
            assert time.monotonic() < deadline, "the scheduler did not start"
            time.sleep(0.1)
        address = subprocess.run(
            [sys.executable, "-c", f"import json; print(json.load(open({str(file)!r}))['address'])"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        command = [*worker, *where, "--no-nanny", "--local-directory", str(folder)]
        processes += [subprocess.Popen(command, **quiet, start_new_session=True) for _ in range(2)]
        yield address, processes[1:]
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_a_cluster_of_other_processes_gives_the_same_gradebook_and_a_killed_worker_costs_nothing(
    undisturbed, ungraded, tmp_path
):
    killed = threading.Event()

    def kill_a_worker(worker: subprocess.Popen) -> None:
        while len(audit.latest(ungraded, "lstm")) < 3:
            time.sleep(0.05)
        os.killpg(worker.pid, signal.SIGKILL)
        if len(audit.latest(ungraded, "lstm")) < SIZE:
            killed.set()

    with dask_cluster(tmp_path) as (address, workers):
        killer = threading.Thread(target=kill_a_worker, args=(workers[0],))
        killer.start()
        command = interruptions.command(ungraded, "lstm", "--scheduler", address)
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        killer.join()
    assert done.returncode == 0, done.stdout + done.stderr
    assert killed.is_set()
    assert interruptions.marks(ungraded, "lstm") == interruptions.marks(undisturbed, "lstm")
    lines = audit.file_of(ungraded, "lstm").read_text().splitlines()
    assert len(lines) == SIZE  # nothing was graded twice
