"""A warm process that has imported libraries only, and forks one confined child for each submission.

The grader starts it inside the sandbox and talks to it over a control socket, the file descriptor in argv[1]:
FORK, with a connected socket attached, starts a child that serves on it, and says READY there first; KILL ends that
child and all that it started.
argv[2] is "own-pids" if the process lives in a PID namespace of its own. argv[3] is the scratch folder.
"""

import ctypes
import gc
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from autograder.confine import confine

FORK, KILL, DONE, READY = b"f", b"k", b"d", b"r"
PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 4, 36
GIGABYTE = 1 << 30
LIMITS = {
    resource.RLIMIT_CPU: 120,
    resource.RLIMIT_DATA: 4 * GIGABYTE,
    resource.RLIMIT_FSIZE: 64 << 20,
    resource.RLIMIT_NOFILE: 256,
    resource.RLIMIT_NPROC: 256,
    resource.RLIMIT_CORE: 0,
}


def warm_up() -> tuple[object, list[ModuleType]]:
    """Import what submissions import, with one thread each; return an IPython shell and the optional modules."""
    import matplotlib as mpl
    import numpy as np
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    mpl.use("agg")
    import matplotlib.pyplot  # noqa: F401

    optional = []
    with suppress(ImportError):
        import torch

        torch.set_num_threads(1)
        optional.append(torch)
    with suppress(ImportError):
        import triton
        import triton.language

        optional.append(triton)
        from autograder.warm_kernel import warm_kernel

        warm_kernel()
    np.random.seed(0)
    without_history = Config({"HistoryManager": {"enabled": False, "hist_file": ":memory:"}})
    shell = InteractiveShell.instance(config=without_history)
    shell.enable_gui = lambda gui=None: None  # %matplotlib asks for it
    shell._showtraceback = lambda *_: None  # an error travels in the reply, not on stdout
    import autograder.worker  # noqa: F401 — here, and not in each child

    gc.collect()
    gc.freeze()  # a child that collects garbage would otherwise copy every page that it looks at
    return shell, optional


def become_child(connection: socket.socket, scratch: Path, optional: list[ModuleType], shell: object) -> None:
    """Confine this process, give it fresh random generators, and serve one submission."""
    import numpy as np

    own_proc()
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    close_all_but(connection.fileno())
    confine(scratch)
    home = scratch / "home"
    home.mkdir()
    os.chdir(home)
    for limit, value in LIMITS.items():
        resource.setrlimit(limit, (value, value))
    random.seed()
    np.random.seed()
    for module in optional:
        if module.__name__ == "torch":
            module.seed()
    from autograder import worker

    connection.sendall(READY)
    worker.serve(connection, shell)


def own_proc() -> None:
    """Let this process read and write its own /proc/self again, which a process that can't be dumped may not."""
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)


def close_all_but(kept: int) -> None:
    """Close what the zygote has open, so that no file of its lets one submission leave something for the next."""
    opened = [int(name) for name in os.listdir("/proc/self/fd")]
    for descriptor in opened:
        if descriptor > 2 and descriptor != kept:
            with suppress(OSError):  # the folder's own descriptor is gone already
                os.close(descriptor)


def probe(scratch: Path) -> int:
    """Try the layers of confine() in a process of their own; return the bits of those that hold here."""
    pid = os.fork()
    if pid == 0:
        held = 0
        try:
            own_proc()
            held = confine(scratch)
        except BaseException:
            traceback.print_exc()  # for the person who started the grader
        os._exit(held)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF


def kill_all(pid: int, own_pids: bool, scratch: Path) -> None:
    """End the child and what it started, and leave nothing in the scratch folder."""
    with suppress(ProcessLookupError):
        if own_pids:
            os.kill(-1, signal.SIGKILL)  # all of this PID namespace but its init and ourselves
        else:
            os.killpg(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    left = [str(entry) for entry in scratch.iterdir()]  # nothing, where the child had a folder of its own
    if left:  # folders a thousand deep among it, or locked ones: more than shutil.rmtree can take
        subprocess.run(["chmod", "-R", "u+rwx", "--", *left], stderr=subprocess.DEVNULL)
        subprocess.run(["rm", "-rf", "--", *left], stderr=subprocess.DEVNULL)


def in_own_pid_namespace() -> bool:
    """Check that init of our PID namespace is bubblewrap: killing every process is right only there."""
    return Path("/proc/1/comm").read_text(encoding="ascii").strip() == "bwrap"


def main() -> None:
    control = socket.socket(fileno=int(sys.argv[1]))
    own_pids, scratch = sys.argv[2] == "own-pids", Path(sys.argv[3])
    if own_pids and not in_own_pid_namespace():
        sys.exit("the sandbox has no PID namespace of its own")
    shell, optional = warm_up()
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # what a child leaves behind becomes ours to wait for
    control.sendall(DONE + bytes([probe(scratch)]))
    pid = 0
    while True:
        command, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not command:
            return
        if command == FORK:
            connection = socket.socket(fileno=descriptors[0])
            pid = os.fork()
            if pid == 0:
                try:
                    control.close()
                    become_child(connection, scratch, optional, shell)
                finally:
                    os._exit(0)
            connection.close()
        elif command == KILL and pid:
            kill_all(pid, own_pids, scratch)
            pid = 0
        control.sendall(DONE)


if __name__ == "__main__":
    main()
