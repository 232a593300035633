"""What every test shares: one thread, kernels on the interpreter, random numbers that never change.

One sandbox, one Dask worker and one released course serve all tests of a process; each takes seconds to make.
"""

import os

os.environ.setdefault("TRITON_INTERPRET", "1")  # set it to 0 to run the kernels on a GPU
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import logging
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from distributed import Client, LocalCluster
from nbformat import NotebookNode

from autograder import compose, course
from autograder import grade as grading
from autograder.execute import warm_sandbox
from autograder.sandbox import Sandbox

torch.set_num_threads(1)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A random generator seeded by the name of the test: each test draws the same numbers every time."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))


@pytest.fixture(autouse=True)
def torch_draws_the_same_numbers_every_time(request: pytest.FixtureRequest) -> None:
    torch.manual_seed(zlib.crc32(request.node.name.encode()))


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    if sys.platform != "linux":
        pytest.skip("bubblewrap, which confines submissions, runs on Linux only")
    yield warm_sandbox("bwrap")
    warm_sandbox("bwrap").close()
    warm_sandbox.cache_clear()


@pytest.fixture(scope="session")
def client(sandbox: Sandbox) -> Iterator[Client]:
    """A Dask worker in this very process, with the tests' sandbox, so that a test can change what it does."""
    options = {"processes": False, "dashboard_address": "127.0.0.1:0", "silence_logs": logging.CRITICAL}
    with LocalCluster(n_workers=1, threads_per_worker=1, **options) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture
def graded(client: Client) -> Callable[..., list[grading.Record]]:
    """Grade students of a course folder; return their records in the order in which they came."""

    def run(folder: Path, students: Sequence[str], assignment: str = "lstm", **options) -> list[grading.Record]:
        opened = grading.open_assignment(folder, assignment)
        return list(grading.grade(opened, students, client, **options))

    return run


@pytest.fixture(scope="session")
def lstm_course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course with the LSTM assignment released."""
    folder = tmp_path_factory.mktemp("course")
    compose.build("lstm", folder)
    course.release(folder, "lstm")
    return folder


@pytest.fixture
def solved(lstm_course: Path) -> NotebookNode:
    """The LSTM notebook with every answer right, as a student might hand it in."""
    return nbformat.read(lstm_course / "source/lstm/lstm.ipynb", 4)


@pytest.fixture
def released(lstm_course: Path) -> NotebookNode:
    """The LSTM notebook as students get it."""
    return nbformat.read(lstm_course / "release/lstm/lstm.ipynb", 4)
