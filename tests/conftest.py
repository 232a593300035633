"""What every test shares: one thread, kernels on the interpreter, and random numbers that never change."""

import os

os.environ.setdefault("TRITON_INTERPRET", "1")  # set it to 0 to run the kernels on a GPU
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import zlib

import numpy as np
import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A random generator seeded by the name of the test: each test draws the same numbers every time."""
    return np.random.default_rng(zlib.crc32(request.node.name.encode()))
