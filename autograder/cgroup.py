"""A control group around the sandbox: bounds on processes and memory that hold for all of it together, root included.

Resource limits bind each process alone, and the one on processes does not bind root. Control groups of version 1 and 2
are used where this process may make one.
"""

import os
import secrets
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
MAX_PROCESSES = 300  # threads count
MAX_MEMORY = 6 << 30  # bytes, scratch folder included
PREFIX = "autograder-"
LEAVING_SECONDS = 5.0


class ControlGroup:
    """The group of one sandbox; `name` says what it bounds, "" where no group can be had."""

    def __init__(self) -> None:
        """Make a group, and remove those that killed graders have left."""
        self._folders = [folder for make in (_version_1, _version_2) for folder in make()]
        bounds = {"pids.max": f"{MAX_PROCESSES} processes"}
        bounds |= dict.fromkeys(("memory.max", "memory.limit_in_bytes"), f"{MAX_MEMORY >> 30} GB")
        held = [text for file, text in bounds.items() if any((folder / file).exists() for folder in self._folders)]
        self.name = f"control group ({', '.join(held)})" if held else ""

    def around(self, command: Sequence[str]) -> list[str]:
        """The command that enters the group and then becomes the given one."""
        enter = [f"echo $$ > {shlex.quote(str(folder / 'cgroup.procs'))}" for folder in self._folders]
        return ["/bin/sh", "-c", " && ".join([*enter, 'exec "$@"']), "sh", *command] if enter else list(command)

    def remove(self) -> None:
        """Remove the group when what was just killed has left it; what stays is for the next grader to remove."""
        deadline = time.monotonic() + LEAVING_SECONDS
        for folder in self._folders:
            while folder.exists() and time.monotonic() < deadline:
                try:
                    folder.rmdir()
                except OSError:
                    time.sleep(0.02)


def _version_1() -> Iterator[Path]:
    """One group for each controller."""
    limits = {"pids": {"pids.max": MAX_PROCESSES}, "memory": {"memory.limit_in_bytes": MAX_MEMORY}}
    for controller, path in _mine():
        if controller in limits and (made := _made(MOUNT / controller / path.lstrip("/"), limits[controller])):
            yield made


def _version_2() -> Iterator[Path]:
    """One group for all controllers, below our own group or beside it."""
    path = dict(_mine()).get("")
    if path is None or not (MOUNT / "cgroup.controllers").exists():
        return
    own = MOUNT / path.lstrip("/")
    for parent in (own, own.parent):
        with suppress(OSError):
            (parent / "cgroup.subtree_control").write_text("+pids +memory")
            if made := _made(parent, {"pids.max": MAX_PROCESSES, "memory.max": MAX_MEMORY}):
                yield made
                return


def _mine() -> Iterator[tuple[str, str]]:
    """The controllers and the groups of this process; "" is the one of version 2."""
    with suppress(FileNotFoundError):
        for line in Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines():
            _, controllers, path = line.split(":", 2)
            yield from ((controller, path) for controller in controllers.split(","))


def _made(parent: Path, limits: dict[str, int]) -> Path | None:
    """Make a group with these limits; None where that is not allowed."""
    for left in parent.glob(f"{PREFIX}*-*"):
        if not Path("/proc", left.name.split("-")[1]).exists():
            with suppress(OSError):
                left.rmdir()
    folder = parent / f"{PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        folder.mkdir()
        for file, value in limits.items():
            (folder / file).write_text(str(value), encoding="ascii")
    except OSError:
        with suppress(OSError):
            folder.rmdir()
        return None
    return folder
