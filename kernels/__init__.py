"""The CUDA step of each chapter, in Triton: on the GPU, or in Triton's interpreter where there is none.

Triton reads TRITON_INTERPRET while it is imported. So this package sets it before, without a CUDA device.
TRITON_INTERPRET=0 in the environment keeps the compiler, for compiling ahead of time on such a machine;
TRITON_INTERPRET=1 interprets on a machine with a GPU too.
"""

import os

import torch


class KernelsUnavailableError(ImportError):
    """Say in one line why no kernel can run here, and what to do about it."""


if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

try:
    import triton
except ModuleNotFoundError:
    raise KernelsUnavailableError(
        "kernels need triton, which is not installed here: on Linux run `pip install -r requirements.txt`, "
        "elsewhere leave the kernel sections out (all else works without it)"
    ) from None

INTERPRETED = triton.knobs.runtime.interpret

if isinstance(triton.language.sum, triton.JITFunction) == INTERPRETED:
    raise KernelsUnavailableError(
        f"triton was imported before TRITON_INTERPRET={int(INTERPRETED)} was set: "
        "restart Python and import kernels before triton"
    )
