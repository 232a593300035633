"""The untrusted side of one submission: run its cells in an IPython shell and answer the grader's requests.

This runs in a confined child of the zygote. Nothing of the reference is in its reach.
"""

import base64
import contextlib
import dataclasses
import io
import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from IPython.core.displayhook import CapturingDisplayHook
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from autograder import wire
from autograder.check import Call, perform

MAX_TEXT = 200_000
MAX_RICH = 3_000_000  # of one cell
MAX_DISPLAYS = 1_000  # of one cell
MIME_TYPES = ("text/plain", "image/png")
FOREVER = 86_400.0


class CappedText(io.StringIO):
    """Text that stops growing at a limit, so that an endless print costs no memory."""

    def write(self, text: str) -> int:
        room = MAX_TEXT - self.tell()
        if room > 0:
            super().write(text[:room])
        return len(text)


def serve(connection: socket.socket, shell: InteractiveShell) -> None:
    """Answer requests until the grader hangs up."""
    sys.modules["check"] = _silent_check()
    me = os.getpid()
    while True:
        request = wire.receive(connection, time.monotonic() + FOREVER)
        ((kind, content),) = request.items()
        if kind == "files":
            answer = write_files(content)
        else:
            answer = run_cell(shell, content) if kind == "cell" else call(shell, content)
        if os.getpid() != me:
            os._exit(0)  # a copy of this process that the submission made answers nothing
        wire.send(connection, answer)


def _silent_check() -> ModuleType:
    """What `from check import check` gives here: the grader asks its own questions."""
    module = ModuleType("check")
    module.check = lambda name: None  # type: ignore[attr-defined]
    return module


def call(shell: InteractiveShell, request: dict[str, Any]) -> dict[str, Any]:
    """Call a function of the submission; what it prints is dropped."""
    with contextlib.redirect_stdout(CappedText()), contextlib.redirect_stderr(CappedText()):
        return dataclasses.asdict(perform(shell.user_ns, Call(**request)))


def write_files(files: dict[str, Any]) -> dict[str, Any]:
    """Lay files into the working directory, for cells that read or import them."""
    for name, content in files.items():
        file = Path(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.tobytes())
    sys.path.insert(0, "")
    return {}


class Results(list[dict[str, Any]]):
    """Marks what the display hook appends, the value of a cell's last line, in a list shared with what is displayed."""

    def __init__(self, outputs: list[dict[str, Any]]) -> None:
        self._outputs = outputs

    def append(self, output: dict[str, Any]) -> None:
        self._outputs.append({**output, "result": True})


def run_cell(shell: InteractiveShell, source: str) -> dict[str, Any]:
    """Run one cell; return its text, its displayed data of harmless kinds, and its error if it had one."""
    out, err = CappedText(), CappedText()
    shell.display_pub = publisher = CapturingDisplayPublisher()
    shell.display_trap.hook = CapturingDisplayHook(shell=shell, outputs=Results(publisher.outputs))
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        result = shell.run_cell(source, store_history=True)
    error = result.error_before_exec or result.error_in_exec
    return {
        "stdout": out.getvalue(),
        "stderr": err.getvalue(),
        "displays": list(_affordable(publisher.outputs)),
        "error": None if error is None else [type(error).__name__, str(error)[:MAX_TEXT], _trace(shell, error)],
    }


def _trace(shell: InteractiveShell, error: BaseException) -> str:
    lines = shell.InteractiveTB.structured_traceback(type(error), error, error.__traceback__)
    return "\n".join(lines)[:MAX_TEXT]


def _affordable(displays: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Pass displays on as long as they fit into one reply together."""
    room = MAX_RICH
    for number, display in enumerate(displays, 1):
        data = _harmless(display["data"])
        room -= sum(map(len, data.values()))
        if number == MAX_DISPLAYS:
            room = -1
        if room < 0:
            data = {"text/plain": "[left out: the pictures and texts of this cell are too many or too large]"}
        yield {"data": data, "result": display.get("result", False)}
        if room < 0:
            return


def _harmless(data: dict[str, Any]) -> dict[str, str]:
    """Keep text and pictures, never HTML or scripts."""
    kept = {}
    for mime in MIME_TYPES:
        value = data.get(mime)
        if isinstance(value, bytes):
            value = base64.b64encode(value).decode()
        if isinstance(value, str) and len(value) <= MAX_RICH:
            kept[mime] = value
    return kept
