"""Importing the kernels: the interpreter where there is no GPU, one clear line where they cannot run."""

import os
import runpy
import sys
from pathlib import Path

import pytest
import torch

PACKAGE = Path(__file__).parents[1] / "kernels" / "__init__.py"


def load_afresh():
    return runpy.run_path(str(PACKAGE))


def test_a_machine_without_triton_is_told_what_to_do_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(ImportError, match=r"need triton, which is not installed here: .*pip install") as caught:
        load_afresh()
    assert "\n" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_machine_without_a_gpu_interprets(monkeypatch):
    triton = pytest.importorskip("triton")
    if not triton.knobs.runtime.interpret:
        pytest.skip("this run compiles its kernels")
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert load_afresh()["INTERPRETED"] is True
    assert os.environ["TRITON_INTERPRET"] == "1"


def test_triton_imported_for_the_other_mode_is_noticed(monkeypatch):
    triton = pytest.importorskip("triton")
    other = not triton.knobs.runtime.interpret
    monkeypatch.setenv("TRITON_INTERPRET", str(int(other)))
    with pytest.raises(ImportError, match=rf"triton was imported before TRITON_INTERPRET={int(other)} was set"):
        load_afresh()
