"""Forbidden calls: seen in the source where the answer can reach them, and at run time; nowhere else."""

import gc
import importlib
import json
import sys
import threading
import time

import numpy as np
import pytest
import torch

from autograder import blocks, check, compose, forbidden, question
from autograder.judge import judge

QUESTIONS = [(stem, name) for stem in blocks.stems() for name in question.of_block(stem)]
LSTM = "torch.nn.LSTM"
ANSWER = "def answer(x, h):\n    return {}"


def used(*cells: str, forbid: tuple[str, ...] = (LSTM,)) -> str:
    return forbidden.used(cells, ["answer"], forbid)


# in the source


@pytest.mark.parametrize(
    "cells",
    [
        ["import torch", ANSWER.format("torch.nn.LSTM(3, 4)(x)")],
        ["import torch.nn", ANSWER.format("torch.nn.LSTM(3, 4)(x)")],
        ["import torch as t", ANSWER.format("t.nn.LSTM(3, 4)(x)")],
        ["import torch.nn as nn", ANSWER.format("nn.LSTM(3, 4)(x)")],
        ["from torch import nn", ANSWER.format("nn.LSTM(3, 4)(x)")],
        ["from torch.nn import LSTM", ANSWER.format("LSTM(3, 4)(x)")],
        ["from torch.nn import LSTM as L", ANSWER.format("L(3, 4)(x)")],
        ["from torch.nn import *", ANSWER.format("LSTM(3, 4)(x)")],
        ["from torch import nn\nL = nn.LSTM", ANSWER.format("L(3, 4)(x)")],
        ["from torch import nn\n(L, G), n = (nn.LSTM, nn.GRU), 3", ANSWER.format("L(n, 4)(x)")],
        ["from torch import nn\nnet = nn.LSTM(3, 4)", ANSWER.format("net(x)")],
        ["from torch import nn\nnets = [nn.LSTM(3, 4)]", ANSWER.format("nets[0](x)")],
        ["from torch import nn\nnets = {}\nnets['a'] = nn.LSTM(3, 4)", ANSWER.format("nets['a'](x)")],
        ["from torch import nn\nnets = {n: nn.LSTM(n, n) for n in range(3)}", ANSWER.format("nets[1](x)")],
        ["import torch", ANSWER.format("getattr(torch.nn, 'LSTM')(3, 4)(x)")],
        ["import torch\nlook = getattr", ANSWER.format("look(look(torch, 'nn'), 'LSTM')(3, 4)(x)")],
        ["import torch", ANSWER.format("vars(torch.nn)['LSTM'](3, 4)(x)")],
        ["import torch", ANSWER.format("torch.nn.__dict__['LSTM'](3, 4)(x)")],
        ["import importlib", ANSWER.format("importlib.import_module('torch.nn').LSTM(3, 4)(x)")],
        ["from importlib import import_module as load", ANSWER.format("load('torch').nn.LSTM(3, 4)(x)")],
        [ANSWER.format("__import__('torch.nn').nn.LSTM(3, 4)(x)")],
        [ANSWER.format("__import__('torch.nn', fromlist=['nn']).LSTM(3, 4)(x)")],
        ["import sys", ANSWER.format("sys.modules['torch.nn'].LSTM(3, 4)(x)")],
        ["import sys", ANSWER.format("sys.modules.get('torch.nn').LSTM(3, 4)(x)")],
        ["def answer(x, h):\n    import torch.nn as nn\n    return nn.LSTM(3, 4)(x)"],
        ["def answer(x, h):\n    from torch import nn\n    L = nn.LSTM\n    return L(3, 4)(x)"],
        ["def answer(x, h):\n    from torch import nn\n    def inner():\n        return nn.LSTM(3, 4)(x)\n"
         "    return inner()"],
        ["def answer(x, h):\n    if h:\n        try:\n            from torch.nn import LSTM\n            y = LSTM(x)\n"
         "        finally:\n            pass\n    return y"],
        ["from torch import nn", ANSWER.format("(lambda: nn.LSTM(3, 4))()(x)")],
        ["from torch import nn", ANSWER.format("[L(3, 4)(x) for L in (nn.LSTM, nn.GRU)][0]")],
        ["from torch import nn", ANSWER.format("(n := nn).LSTM(3, 4)(x)")],
        ["from torch import nn", "def answer(x, h, net=nn.LSTM):\n    return net(3, 4)(x)"],
        ["from torch import nn", "def helper(x):\n    return nn.LSTM(3, 4)(x)", ANSWER.format("helper(x)")],
        [ANSWER.format("helper(x)"), "def helper(x):\n    return net(x)", "import torch\nnet = torch.nn.LSTM(3, 4)"],
        ["import torch", "class Net(torch.nn.LSTM):\n    pass", ANSWER.format("Net(3, 4)(x)")],
        ["import torch", "class Net:\n    def run(self):\n        torch.nn.LSTM(3, 4)", ANSWER.format("Net().run()")],
        ["import torch", "def mine(x, h):\n    return torch.nn.LSTM(3, 4)(x)", "answer = mine"],
        ["import torch", "answer = lambda x, h: torch.nn.LSTM(3, 4)(x)"],
        ["import torch", "def use(f):\n    return lambda *a: torch.nn.LSTM(3, 4)(a)", "@use\n" + ANSWER.format("x")],
        ["import torch", "if True:\n    answer = torch.nn.LSTM(3, 4)\nelse:\n    answer = None"],
        ["%matplotlib inline\nimport torch", "%%time\n" + ANSWER.format("torch.nn.LSTM(3, 4)(x)")],
        ["x = !ls\nimport torch", ANSWER.format("torch.nn.LSTM(3, 4)(x)")],
        ["def (", "import torch", ANSWER.format("torch.nn.LSTM(3, 4)(x)")],
        ["import torch", ANSWER.format("torch.nn.LSTM.forward(x, h)")],
    ],
)  # fmt: skip
def test_a_forbidden_name_is_found_however_the_answer_gets_hold_of_it(cells):
    assert used(*cells) == LSTM


@pytest.mark.parametrize(
    "cells",
    [
        [ANSWER.format("x")],
        [],
        ["import torch", ANSWER.format("x"), "assert answer(1, 2) == torch.nn.LSTM(3, 4)(1)"],
        ["import torch", ANSWER.format("x"), "net = torch.nn.LSTM(3, 4)\nx = net(1)\nh = x\nassert answer(x, h) == x"],
        ["from torch.nn import LSTM\nimport torch", ANSWER.format("x"), "def test():\n    answer(1, 2), LSTM(3, 4)"],
        ["import torch", "def helper(x):\n    return x", ANSWER.format("helper(x)"), "helper(torch.nn.LSTM(3, 4))"],
        ["import torch\nsteps = torch.nn.LSTM(3, 4)", "def answer(x, h):\n    steps = [x]\n    return steps"],
        ["import torch\nsteps = torch.nn.LSTM(3, 4)", ANSWER.format("[steps for steps in x]")],
        ["import torch\nsteps = torch.nn.LSTM(3, 4)", ANSWER.format("(lambda steps: steps)(x)")],
        ["import torch\nf = torch.nn.LSTM", "def f(x):\n    return x", ANSWER.format("f(x)")],
        ["import torch", "def answer(x, h):\n    return torch.nn.LSTM(3, 4)(x)", "def answer(x, h):\n    return x"],
        ["import torch", "def answer(x: torch.nn.LSTM, h) -> torch.nn.LSTM:\n    y: torch.nn.LSTM\n    return x"],
        ["import torch", ANSWER.format("None if isinstance(x, torch.nn.LSTM) else x")],
        ["import torch", ANSWER.format("torch.nn.GRU(3, 4)(x)")],
        ["import torch", ANSWER.format("torch.nn.LSTMCell(3, 4)(x)")],
        ["class nn:\n    LSTM = list", ANSWER.format("nn.LSTM(x)")],
        ["from mine import *\nfrom torch.nn import *", ANSWER.format("LSTM(x)")],
        ["from torch.nn import LSTM", ANSWER.format("x.LSTM")],
        ["import torch\nimport numpy as np", ANSWER.format("np.tanh(x)"), "np.testing.assert_equal(torch.nn.LSTM, 1)"],
        ["import torch", ANSWER.format("'torch.nn.LSTM'")],
        ["import torch", ANSWER.format("x") + "\n)", ANSWER.format("x")],
        ["import torch", "def answer(x, h):\n    def never():\n        return torch.nn.LSTM\n    return x"],
    ],
)  # fmt: skip
def test_what_the_answer_does_not_use_costs_nothing(cells):
    assert used(*cells) == ""


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("torch.tanh(x)", "torch"),
        ("torch.nn.functional.linear(x, h)", "torch"),
        ("F.linear(x, h)", "torch"),
        ("run(torch)", "torch"),
        ("torchvision.ops(x)", ""),
        ("np.tanh(x)", ""),
        ("isinstance(x, torch.Tensor)", ""),
    ],
)
def test_a_forbidden_module_forbids_all_that_lies_below_it(body, found):
    imports = "import torch\nimport torchvision\nimport numpy as np\nimport torch.nn.functional as F"
    assert used(imports, ANSWER.format(body), forbid=("torch",)) == found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("sys.setprofile(None)", "sys.setprofile"),
        ("sys.settrace(None)", "sys.settrace"),
        ("threading.setprofile(None)", "threading.setprofile"),
    ],
)
def test_to_end_the_watch_is_forbidden_where_anything_is(line, found):
    cells = ["import sys, threading", ANSWER.format(line)]
    assert used(*cells) == found
    assert used(*cells, forbid=()) == ""


@pytest.mark.parametrize(
    "cell",
    [
        "x" + ".a" * 20_000,
        "(" * 5_000,
        "-" * 90_000 + "1",
        "x = " + "[" * 80 + "]" * 80,
        "\0",
        "\ud800",
        "%magic\n" * 9_000,
        "!ls\n" * 19,
        "a?",
        "x = 1\n" * 100_000,
        "x = (" + " if x else ".join(["x.a"] * 200) + " else 1)",
        "x = x.nn if x else x.LSTM\n" * 2_000,
        ("y = x" + ".a" * 400 + "\n") * 90,
        ("y = " + "x(" * 90 + ")" * 90 + "\n") * 250,
        "if 1:\n" + " x=x;x=x\n" * 8_000,
        "import torch\n" + "if torch: x = torch\nfor x in x: x = x.nn\n" * 1_500,
        "def f():\n" + " f(f);f=f\n" * 7_000,
        ("def f():\n" + " f(f);f=f\n" * 70) * 100,
        "x = " + " or ".join(["x.y"] * 12_000),
    ],
)
@pytest.mark.parametrize("answer", [ANSWER.format("x"), ANSWER.format("(x, f, torch.nn.LSTM)")], ids=["fair", "not"])
def test_no_cell_is_too_strange_to_be_read_in_seconds(cell, answer):
    start = time.monotonic()
    assert used("f = x = 0", cell, "import torch", answer, cell[:100]) == (LSTM if "LSTM" in answer else "")
    assert time.monotonic() - start < 10


# at run time


def answer_of(function, forbid=(LSTM,), tensors=False) -> check.Answer:
    """What comes of a function that gets two arrays, or tensors."""
    inputs = {"x": np.ones((2, 3)), "h": np.ones((2, 4))}
    return check.perform({"answer": function}, check.Call(["answer"], 1, tensors, inputs, [], forbid=forbid))


def hidden_by_exec(x, h):
    names = {}
    exec("import torch\nnet = torch.nn." + "LS" + "TM(3, 4)", names)
    return names["net"](torch.tensor(x, dtype=torch.float32))[0].detach().numpy()


def in_a_thread(x, h):
    thread = threading.Thread(target=lambda: torch.nn.LSTM(3, 4))
    thread.start()
    thread.join()
    return x


def with_an_error(x, h):
    raise ValueError(str(torch.nn.LSTM(3, 4)))


class Derived(torch.nn.LSTM):
    pass


NET = torch.nn.LSTM(3, 4)
CELL_OF_C = torch.lstm_cell


@pytest.mark.parametrize(
    ("function", "forbid", "name"),
    [
        (hidden_by_exec, (LSTM,), LSTM),
        (in_a_thread, (LSTM,), LSTM),
        (with_an_error, (LSTM,), LSTM),
        (lambda x, h: Derived(3, 4), (LSTM,), LSTM),
        (lambda x, h: NET(torch.zeros(1, 2, 3))[0].detach(), (LSTM,), LSTM),
        (lambda x, h: torch.lstm, ("torch.lstm",), ""),
        (lambda x, h: torch.nn.LSTM(3, 4)(torch.zeros(1, 2, 3)), ("torch.lstm",), "torch.lstm"),
        (lambda x, h: CELL_OF_C(*[torch.zeros(1, 3)], [torch.zeros(1, 2)] * 2, torch.zeros(8, 3), torch.zeros(8, 2)),
         ("torch.lstm", "torch.lstm_cell"), "torch.lstm_cell"),
        (lambda x, h: torch.nn.GRU(3, 4), (LSTM, "torch.nn.LSTMCell"), ""),
        (lambda x, h: torch.tanh(torch.tensor(x)).numpy(), ("torch",), "torch"),
        (lambda x, h: (torch.Tensor(x) @ torch.Tensor(x).mT).numpy(), ("torch",), "torch"),
        (lambda x, h: np.convolve(x[0], h[0]), ("numpy.convolve",), "numpy.convolve"),
        (lambda x, h: np.linalg.inv(x @ x.T + np.eye(2)), ("numpy.linalg",), "numpy.linalg"),
        (lambda x, h: np.tanh(x), ("torch", "numpy.linalg", "numpy.convolve", LSTM), ""),
        (lambda x, h: sys.setprofile(None), (LSTM,), "sys.setprofile"),
        (lambda x, h: threading.setprofile(None), (LSTM,), "threading.setprofile"),
        (lambda x, h: sorted(x.ravel()), ("builtins.sorted",), "builtins.sorted"),
        (lambda x, h: json.JSONEncoder().encode(1), ("json.JSONEncoder",), "json.JSONEncoder"),
    ],
)  # fmt: skip
def test_a_forbidden_call_is_seen_while_the_function_runs(function, forbid, name):
    assert answer_of(function, forbid).used == name


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x, h: torch.nn.LSTM(3, 4)(x), LSTM),
        (lambda x, h: NET(x[None])[0], LSTM),
        (lambda x, h: CELL_OF_C(x, [h, h], torch.zeros(16, 3), torch.zeros(16, 4)), "torch.lstm_cell"),
        (lambda x, h: torch.tanh(x @ torch.ones(3, 4)), ""),
        (with_an_error, LSTM),
    ],
)
def test_a_forbidden_call_is_seen_among_tensors(function, name):
    forbid = (LSTM, "torch.lstm_cell")
    assert answer_of(function, forbid, tensors=True).used == name


def test_where_nothing_is_forbidden_nothing_is_watched():
    seen = []
    answer_of(lambda x, h: seen.append(sys.getprofile()), ())
    answer_of(lambda x, h: seen.append(sys.getprofile()))
    assert [hook is None for hook in seen] == [True, False]


@pytest.mark.parametrize(
    "function", [lambda x, h: x, lambda x, h: NET, lambda x, h: 1 / 0, lambda x, h: torch.nn.LSTM(3, 4)]
)
def test_a_profile_of_the_users_own_goes_on_afterwards(function):
    def own(frame, event, arg):
        return None

    sys.setprofile(own)
    try:
        answer_of(function)
        assert sys.getprofile() is own
    finally:
        sys.setprofile(None)
    assert threading.getprofile() is None
    assert gc.isenabled()


def test_what_the_collector_clears_away_is_not_the_answers():
    class Left:
        def __del__(self):
            torch.tanh(torch.zeros(1))

    left = Left()
    left.itself = left
    del left
    assert answer_of(lambda x, h: [[] for _ in range(100_000)], ("torch",)).used == ""


# in the verdict


def verdict_on(name, function, uses=""):
    asked = question.of_block("lstm")[name]
    return judge(asked, 4.0, 0, lambda call: check.perform({asked.called[-1]: function}, call), uses)


def by_torch(x, h, c, W_x, W_h, b):
    arrays = (torch.tensor(array) for array in (x, h, c, W_x, W_h, b))
    from solutions.lstm_torch import lstm_step_forward

    return *(output.numpy() for output in lstm_step_forward(*arrays)), None


def test_a_right_answer_that_uses_what_is_forbidden_gets_nothing_and_is_told_what():
    verdict = verdict_on("lstm_step_forward", by_torch)
    assert verdict.points == 0
    (step,) = verdict.steps
    assert step.message.startswith("uses torch: this question asks for an answer without it")
    assert verdict.mistake == ""


def test_what_the_source_shows_counts_as_what_a_call_shows():
    reference = question.of_block("lstm")["lstm_step_forward"].reference[0]
    assert verdict_on("lstm_step_forward", reference).points == 4
    verdict = verdict_on("lstm_step_forward", reference, "torch.nn.LSTM")
    assert verdict.points == 0
    assert verdict.steps[0].message.startswith("uses torch.nn.LSTM: ")


def test_an_answer_that_crashes_is_told_of_its_crash_first():
    verdict = verdict_on("lstm_step_forward", lambda *inputs: torch.tanh(1))
    assert "TypeError" in verdict.steps[0].message


# every question of the book

ELSEWHERE = {"torchvision"}  # the course does without it, but a student's machine may have it


@pytest.mark.parametrize(("stem", "name"), QUESTIONS)
def test_every_forbidden_name_is_that_of_something(stem, name):
    for forbid in set(question.of_block(stem)[name].forbid) - ELSEWHERE:
        importlib.import_module(forbid.partition(".")[0])
        assert check.resolve(forbid) is not None, f"{name} forbids {forbid}, which does not exist"


def test_a_name_of_nothing_does_not_resolve():
    assert check.resolve("torch.nn.LTSM") is None
    assert check.resolve("no_such_module.function") is None


@pytest.mark.parametrize(("stem", "name"), QUESTIONS)
def test_the_solved_notebook_uses_nothing_forbidden_until_a_cell_more_does(stem, name):
    asked = question.of_block(stem)[name]
    cells = [cell.source for cell in compose.source_notebook(stem).cells if cell.cell_type == "code"]
    assert forbidden.used(cells, asked.called, asked.forbid) == ""
    for forbid in asked.forbid:
        cheat = f"import {forbid.partition('.')[0]}\n{asked.called[-1]} = {forbid}"
        assert forbidden.used([*cells, cheat], asked.called, asked.forbid) == forbid
