"""Start the zygote behind bubblewrap, and open confined children for submissions.

Layers: bubblewrap (system libraries and this interpreter read-only, no course, no home, no network, its own PID
namespace, a small scratch folder in memory), what confine.py adds in each child, a control group around all of it,
resource limits (zygote.py), and a wall clock for every request.
"""

import dataclasses
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from autograder import wire
from autograder.cgroup import ControlGroup
from autograder.check import GUARDS, Answer, Call
from autograder.confine import NAMES, NO_NEW_PRIVILEGES
from autograder.errors import UserError
from autograder.worker import MAX_DISPLAYS
from autograder.zygote import DONE, FORK, KILL, READY

START_SECONDS = 120.0
HERE = Path(__file__).resolve().parent
OWN_FILES = ("__init__.py", "check.py", "confine.py", "warm_kernel.py", "wire.py", "worker.py", "zygote.py")
# what the untrusted side may see of us
INSIDE = (*(f"autograder/{name}" for name in OWN_FILES), "kernels/checker.py")
NOBODY = "65534"
SCRATCH = "/scratch"
ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "MPLBACKEND": "agg",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PATH": "/usr/bin:/bin",
    "PYTHONPATH": "/grader",
    "TRITON_INTERPRET": "1",
}


class ChildDiedError(ConnectionError):
    """The submission's process ended, or sent what is no answer."""


class SandboxLostError(Exception):
    """The sandbox itself ended or can't fork: a fault of the machine, which says nothing about a submission."""


def _bubblewrap(descriptor: int) -> list[str]:
    """The command that runs the zygote with nothing in sight but libraries and its own files."""
    command = ["bwrap", "--unshare-all", "--unshare-user", "--uid", NOBODY, "--gid", NOBODY, "--cap-drop", "ALL"]
    command += ["--die-with-parent", "--new-session", "--clearenv"]
    for name, value in {**ENVIRONMENT, "HOME": SCRATCH, "TMPDIR": SCRATCH}.items():
        command += ["--setenv", name, value]
    for folder in ("/usr", "/lib", "/lib64", "/bin"):
        link = Path(folder).is_symlink()
        command += ["--symlink", os.readlink(folder), folder] if link else ["--ro-bind-try", folder, folder]
    interpreter = [folder for folder in dict.fromkeys((sys.base_prefix, sys.prefix)) if not folder.startswith("/usr")]
    for folder in interpreter:
        command += ["--ro-bind", folder, folder]
    if not any(folder.startswith("/tmp") for folder in interpreter):
        command += ["--symlink", SCRATCH, "/tmp"]
    command += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", "--proc", "/proc", "--dev", "/dev"]
    command += ["--remount-ro", "/dev", "--size", str(512 << 20), "--tmpfs", SCRATCH]
    for file in INSIDE:
        command += ["--ro-bind", str(HERE.parent / file), f"/grader/{file}"]
    command += ["--remount-ro", "/", "--chdir", SCRATCH]
    return [*command, sys.executable, "-m", "autograder.zygote", str(descriptor), "own-pids", SCRATCH]


class Sandbox:
    """The warm zygote; one submission at a time: whoever comes second waits."""

    def __init__(self, kind: str = "bwrap") -> None:
        """Start the zygote. `kind` is "bwrap", or "none" for what can be had without it, such as Landlock.

        Raises UserError if bubblewrap is missing or refuses.
        """
        if kind == "bwrap" and shutil.which("bwrap") is None:
            raise UserError(
                "bubblewrap (the command bwrap) is not installed, and without it a submission could read your files; "
                "install the package bubblewrap, or accept that with --sandbox none"
            )
        self.kind = kind
        self._turn = threading.Lock()
        self._start()

    def _start(self) -> None:
        self._control, inner = socket.socketpair()
        self._group = ControlGroup()
        self._scratch = None if self.kind == "bwrap" else tempfile.mkdtemp(prefix="submission-")
        if self._scratch is None:
            command, environment = _bubblewrap(inner.fileno()), {}  # bubblewrap sets the environment
        else:
            descriptor, folders = str(inner.fileno()), {"HOME": self._scratch, "TMPDIR": self._scratch}
            command = [sys.executable, "-m", "autograder.zygote", descriptor, "shared-pids", self._scratch]
            environment = {**ENVIRONMENT, **folders, "PYTHONPATH": str(HERE.parent)}
        with inner:
            self._process = subprocess.Popen(
                self._group.around(command),
                pass_fds=[inner.fileno()],
                env=environment or None,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        held = self._control.recv(1) if self._confirmed(START_SECONDS) else b""
        if not held or not held[0] & NO_NEW_PRIVILEGES:  # which every Linux grants: something went wrong
            self._process.kill()
            text = self._process.stderr.read().decode(errors="replace").strip() if self._process.stderr else ""
            self.close()
            raise UserError(f"the sandbox did not start: {text.splitlines()[-1] if text else 'no answer'}")
        inner_layers = [name for bit, name in NAMES.items() if held[0] & bit]
        outer_layers = ["bubblewrap"] if self.kind == "bwrap" else []
        group = [self._group.name] if self._group.name else []
        self.layers = [*outer_layers, *inner_layers, *group, "resource limits", "wall clock"]

    def _confirmed(self, seconds: float) -> bool:
        self._control.settimeout(seconds)
        try:
            return self._control.recv(1) == DONE
        except OSError:
            return False

    @contextmanager
    def child(self) -> Iterator["Child"]:
        """Fork a child for one submission; afterwards it and all that it started are dead.

        Raises SandboxLostError if the sandbox did not outlive the child, whose answers then mean nothing.
        """
        ours, theirs = socket.socketpair()
        with self._turn, ours, theirs:
            if not self._commanded(FORK, theirs.fileno()):
                self._restart()
                if not self._commanded(FORK, theirs.fileno()):
                    raise SandboxLostError("the sandbox can't fork: is the machine out of memory or processes?")
            theirs.close()
            alive = True
            try:
                if not _says_ready(ours):
                    raise SandboxLostError("a process for a submission did not start: is the machine out of memory?")
                yield Child(ours)
            finally:
                alive = self._commanded(KILL)
                if not alive:
                    self._restart()
            if not alive:
                raise SandboxLostError("the sandbox ended while a submission ran: was the machine out of memory?")

    def _commanded(self, command: bytes, *descriptors: int) -> bool:
        """Send a command to the zygote; false if it is gone."""
        try:
            socket.send_fds(self._control, [command], descriptors)
        except OSError:
            return False
        return self._confirmed(START_SECONDS)

    def _restart(self) -> None:
        self.close()
        self._start()

    def close(self) -> None:
        """End the zygote and everything inside the sandbox."""
        self._process.kill()
        self._process.wait()
        if self._process.stderr:
            self._process.stderr.close()
        self._control.close()
        self._group.remove()
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)


def _says_ready(connection: socket.socket) -> bool:
    connection.settimeout(START_SECONDS)
    try:
        return connection.recv(1) == READY
    except OSError:
        return False


class Child:
    """One submission's process, as the grader sees it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def run_cell(self, source: str, seconds: float) -> dict[str, Any]:
        """Run a cell; return what worker.run_cell returns. Raises TimeoutError, ChildDiedError."""
        reply = self._request({"cell": source}, seconds)
        if not _well_formed_cell(reply):
            raise ChildDiedError("malformed reply to a cell")
        outcome: dict[str, Any] = reply
        return outcome

    def lay_files(self, files: Mapping[str, bytes], seconds: float) -> None:
        """Write files into the submission's working directory. Raises TimeoutError, ChildDiedError."""
        self._request({"files": {name: np.frombuffer(data, np.uint8) for name, data in files.items()}}, seconds)

    def call(self, call: Call, seconds: float) -> Answer:
        """Call a function of the submission. Raises TimeoutError, ChildDiedError."""
        reply = self._request({"call": dataclasses.asdict(call)}, seconds)
        try:
            answer = Answer(**reply)
        except TypeError as error:
            raise ChildDiedError(f"malformed reply to a call: {error}") from error
        if not _well_formed(answer, call):
            raise ChildDiedError("malformed reply to a call")
        return answer

    def _request(self, request: Any, seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        try:
            self._connection.settimeout(seconds)
            wire.send(self._connection, request)
            return wire.receive(self._connection, deadline)
        except TimeoutError:
            raise
        except (wire.BrokenWireError, OSError) as error:
            raise ChildDiedError("the process of the submission ended") from error


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _well_formed_cell(reply: Any) -> bool:
    """Check the types of what a child says that a cell gave."""
    return (
        isinstance(reply, dict)
        and set(reply) == {"stdout", "stderr", "displays", "error"}
        and isinstance(reply["stdout"], str)
        and isinstance(reply["stderr"], str)
        and isinstance(reply["displays"], list)
        and len(reply["displays"]) <= MAX_DISPLAYS
        and all(map(_well_formed_display, reply["displays"]))
        and (reply["error"] is None or (_strings(reply["error"]) and len(reply["error"]) == 3))
    )


def _well_formed_display(display: Any) -> bool:
    return (
        isinstance(display, dict)
        and set(display) == {"data", "result"}
        and isinstance(display["data"], dict)
        and isinstance(display["result"], bool)
    )


def _well_formed(answer: Answer, call: Call) -> bool:
    """Check the types of what a child says its function returned; the values are the judge's business."""
    return (
        isinstance(answer.outputs, list)
        and type(answer.returned) is int
        and len(answer.outputs) == (0 if answer.error else min(answer.returned, call.outputs))
        and all(isinstance(output, np.ndarray | str) for output in answer.outputs)
        and _strings(answer.changed)
        and isinstance(answer.error, str)
        and isinstance(answer.used, str)
        and answer.used in ("", *call.forbid, *GUARDS)
        and isinstance(answer.findings, list)
        and all(_strings(finding) and len(finding) == 2 for finding in answer.findings)
        and type(answer.moved) is int
        and answer.moved >= 0
    )
