"""Outputs of kernels between guards: every element must be written, and nothing beside them."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch

GUARD = 131


@contextmanager
def guarded_outputs() -> Iterator[None]:
    """Let torch.empty give NaN between guards of NaN (integers: of their smallest); at the end the array alone differs.

    Fails with AssertionError where an element was never written, or something beside the array was.
    """
    buffers: list[torch.Tensor] = []
    empty = torch.empty

    def guarded(*size: Any, **options: Any) -> torch.Tensor:
        shape = tuple(size[0]) if size and isinstance(size[0], tuple | list | torch.Size) else size
        buffer = empty((math.prod(shape) + 2 * GUARD,), **options)
        buffers.append(buffer.fill_(_filling(buffer)))
        return buffer[GUARD:-GUARD].view(shape)

    def guarded_like(tensor: torch.Tensor, **options: Any) -> torch.Tensor:
        return guarded(tuple(tensor.shape), **{"dtype": tensor.dtype, "device": tensor.device, **options})

    with mock.patch.object(torch, "empty", guarded), mock.patch.object(torch, "empty_like", guarded_like):
        yield
    for buffer in buffers:
        assert not _untouched(buffer[GUARD:-GUARD]).any(), "part of an output was never written"
        assert _untouched(buffer[:GUARD]).all(), "the kernel wrote in front of its output"
        assert _untouched(buffer[-GUARD:]).all(), "the kernel wrote past the end of its output"


def _filling(buffer: torch.Tensor) -> float:
    return math.nan if buffer.is_floating_point() else torch.iinfo(buffer.dtype).min


def _untouched(buffer: torch.Tensor) -> torch.Tensor:
    return buffer.isnan() if buffer.is_floating_point() else buffer == torch.iinfo(buffer.dtype).min
