"""One sandbox and one released course for the tests of a process; both take seconds to make."""

import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from autograder import compose, course
from autograder.execute import warm_sandbox
from autograder.sandbox import Sandbox


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    if sys.platform != "linux":
        pytest.skip("bubblewrap, which confines submissions, runs on Linux only")
    yield warm_sandbox("bwrap")
    warm_sandbox("bwrap").close()
    warm_sandbox.cache_clear()


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
