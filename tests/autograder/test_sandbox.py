"""The untrusted side sees libraries and a scratch folder, and nothing that it starts or writes outlives it."""

import ast
import contextlib
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from autograder import cgroup, wire, worker
from autograder import sandbox as sandboxing
from autograder.blocks import ROOT
from autograder.check import Call
from autograder.errors import UserError
from autograder.sandbox import ChildDiedError, Sandbox, SandboxLostError

SECONDS = 20


def run(sandbox: Sandbox, source: str) -> dict:
    with sandbox.child() as child:
        return child.run_cell(source, SECONDS)


def printed(sandbox: Sandbox, source: str) -> str:
    reply = run(sandbox, source)
    assert reply["error"] is None, reply["error"]
    return reply["stdout"].strip()


def test_a_cell_gives_back_what_it_prints_and_shows(sandbox):
    source = "import sys; print('out'); print('err', file=sys.stderr); 6 * 7"
    reply = run(sandbox, source)
    assert (reply["stdout"], reply["stderr"], reply["error"]) == ("out\n", "err\n", None)
    assert reply["displays"] == [{"data": {"text/plain": "42"}, "result": True}]


def test_a_plot_comes_back_as_a_picture(sandbox):
    with sandbox.child() as child:
        child.run_cell("%matplotlib inline\nimport matplotlib.pyplot as plt", SECONDS)
        reply = child.run_cell("plt.plot([1, 2]);\nplt.show()", SECONDS)
    assert reply["error"] is None
    assert reply["displays"][0]["data"]["image/png"].startswith("iVBOR")


def test_html_and_scripts_stay_in_the_child(sandbox):
    reply = run(
        sandbox,
        "from IPython.display import HTML, Javascript, display\ndisplay(HTML('<script>x</script>'), Javascript('x'))",
    )
    assert all(set(display["data"]) <= {"text/plain"} for display in reply["displays"])


def test_an_error_comes_back_with_its_trace(sandbox):
    name, text, trace = run(sandbox, "def f():\n    return 1 / 0\nf()")["error"]
    assert (name, text) == ("ZeroDivisionError", "division by zero")
    assert "return" in trace


def test_a_function_is_called_on_copies_and_its_arrays_come_back(sandbox):
    x = np.arange(15.0).reshape(3, 5)
    with sandbox.child() as child:
        child.run_cell("def f(x):\n    x += 1\n    return x.sum(axis=0), 'no array'", SECONDS)
        answer = child.call(Call(["f"], 2, False, {"x": x}, []), SECONDS)
    np.testing.assert_array_equal(answer.outputs[0], (x + 1).sum(axis=0))
    assert answer.outputs[1] == "str"
    assert list(answer.changed) == ["x"]
    assert x[0, 0] == 0


def test_an_array_that_lies_about_equality_is_sent_as_its_bytes(sandbox):
    source = (
        "import numpy as np\n"
        "class Liar(np.ndarray):\n"
        "    def __eq__(self, other): return True\n"
        "    def __array_function__(self, *a, **k): return True\n"
        "def f(x): return np.zeros(3).view(Liar)"
    )
    with sandbox.child() as child:
        child.run_cell(source, SECONDS)
        answer = child.call(Call(["f"], 1, False, {"x": np.ones(3)}, []), SECONDS)
    assert type(answer.outputs[0]) is np.ndarray
    np.testing.assert_array_equal(answer.outputs[0], np.zeros(3))


@pytest.mark.parametrize(
    ("dtype", "arrives"), [("longdouble", "float64"), ("clongdouble", "complex128"), ("float16", "float16")]
)
def test_numbers_of_any_precision_come_back(sandbox, dtype, arrives):
    with sandbox.child() as child:
        child.run_cell(f"import numpy as np\ndef f(x): return x.astype(np.{dtype})", SECONDS)
        answer = child.call(Call(["f"], 1, False, {"x": np.ones(3)}, []), SECONDS)
    assert answer.outputs[0].dtype == arrives
    np.testing.assert_array_equal(answer.outputs[0], np.ones(3))


def test_the_course_and_the_home_folder_are_out_of_sight(sandbox):
    paths = [
        str(ROOT / "solutions"),
        str(ROOT / "course"),
        str(Path.home() / ".gitconfig"),
        "/etc/passwd",
        "/etc/shadow",
    ]
    assert printed(sandbox, f"import os; print([p for p in {paths} if os.path.exists(p)])") == "[]"


def test_the_child_sees_no_more_of_the_book_than_it_runs(sandbox):
    listed = "import glob; print(sorted(glob.glob('**/*.*', root_dir='/grader', recursive=True)))"
    assert printed(sandbox, listed) == str(sorted(sandboxing.INSIDE))


def test_the_child_never_holds_the_reference(sandbox):
    loaded = "import sys; print([m for m in sys.modules if m.partition('.')[0] in ('solutions', 'kernels', 'tests')])"
    assert printed(sandbox, loaded) == "['kernels', 'kernels.checker']"
    assert run(sandbox, "import kernels.lstm")["error"][0] == "ModuleNotFoundError"
    assert run(sandbox, "import solutions")["error"][0] == "ModuleNotFoundError"
    assert run(sandbox, "import autograder.judge")["error"][0] == "ModuleNotFoundError"


@pytest.mark.parametrize("folder", ["/usr", "/grader/autograder", "/", sys.prefix, "/dev"])
def test_nothing_but_the_scratch_folder_can_be_written(sandbox, folder):
    assert run(sandbox, f"open({folder + '/planted'!r}, 'w')")["error"][0] in ("OSError", "PermissionError")


def test_there_is_no_network(sandbox):
    reply = run(sandbox, "import socket; socket.create_connection(('127.0.0.1', 9), timeout=1)")
    assert reply["error"][0] in ("PermissionError", "ConnectionRefusedError", "OSError")
    assert printed(sandbox, "print(len(open('/proc/net/route').read().splitlines()))") == "1"


def test_the_environment_tells_nothing_of_the_grader(sandbox, monkeypatch):
    monkeypatch.setenv("COURSE_TOKEN", "secret")
    assert "COURSE_TOKEN" not in printed(sandbox, "import os; print(dict(os.environ))")


def test_what_one_submission_writes_is_gone_for_the_next(sandbox):
    assert (
        printed(sandbox, "import os; open('/scratch/planted', 'w').write('x'); print(os.listdir('/scratch'))") != "[]"
    )
    assert printed(sandbox, "import os; print([n for n in os.listdir('/scratch') if n == 'planted'])") == "[]"


def test_no_open_file_is_passed_from_one_submission_to_the_next(sandbox):
    links = "import os, glob; print([os.readlink(n) for n in glob.glob('/proc/self/fd/*') if os.path.lexists(n)])"
    opened = [link for link in ast.literal_eval(printed(sandbox, links)) if link != "/dev/null"]
    assert len(opened) == 1, opened
    assert opened[0].startswith("socket:")  # the connection to the grader


def test_shared_memory_is_gone_for_the_next_submission(sandbox):
    make = "import ctypes; libc = ctypes.CDLL(None); print(libc.shmget(4242, 4096, 0o1666))"
    assert int(printed(sandbox, make)) >= 0
    find = "import ctypes; libc = ctypes.CDLL(None); print(libc.shmget(4242, 4096, 0))"
    assert printed(sandbox, find) == "-1"


def test_what_one_submission_patches_is_whole_for_the_next(sandbox):
    run(sandbox, "import numpy as np; np.allclose = lambda *a: True")
    assert printed(sandbox, "import numpy as np; print(np.allclose(1, 2))") == "False"


def test_processes_that_outlive_the_cell_are_killed(sandbox):
    run(sandbox, "import subprocess; subprocess.Popen(['sleep', '1000'], start_new_session=True)")
    processes = "[open(f'/proc/{p}/cmdline', 'rb').read() for p in os.listdir('/proc') if p.isdigit()]"
    alive = f"import os; print([line for line in {processes} if b'sleep' in line])"
    assert printed(sandbox, alive) == "[]"


def test_the_memory_of_other_processes_cannot_be_opened(sandbox):
    source = (
        "import os, glob\nmine, readable = os.readlink('/proc/self'), []\n"
        "others = [p for p in glob.glob('/proc/[0-9]*') if p != f'/proc/{mine}']\n"
        "for p in others:\n    try: readable.append(open(p + '/mem', 'rb'))\n    except PermissionError: pass\n"
        "print(len(others) > 0, readable)"
    )
    assert printed(sandbox, source) == "True []"


@pytest.mark.parametrize(
    "source",
    [
        "while True: pass",
        "import time; time.sleep(1000)",
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))\nwhile True: pass",
    ],
)
def test_a_cell_that_never_ends_is_stopped(sandbox, source):
    start = time.monotonic()
    with sandbox.child() as child, pytest.raises(TimeoutError):
        child.run_cell(source, 0.5)
    assert time.monotonic() - start < 5
    assert printed(sandbox, "print('next')") == "next"


@pytest.mark.parametrize(
    "source",
    [
        "import os; os._exit(0)",
        "import os; os.abort()",
        "import ctypes; ctypes.string_at(0)",
    ],
)
def test_a_process_that_ends_itself_is_noticed(sandbox, source):
    with sandbox.child() as child, pytest.raises(ChildDiedError):
        child.run_cell(source, SECONDS)
    assert printed(sandbox, "print('next')") == "next"


@pytest.mark.parametrize("target", ["os.getppid()", "-1", "2"])
def test_a_submission_cannot_kill_what_is_not_its_own(sandbox, target):
    zygote = sandbox._process.pid
    run(sandbox, f"import os, signal\nos.kill({target}, signal.SIGKILL)")
    assert printed(sandbox, "print('next')") == "next"
    assert sandbox._process.pid == zygote, "the sandbox had to be started again"


def test_a_submission_is_the_first_process_of_its_own_namespace(sandbox):
    assert printed(sandbox, "import os; print(os.getpid(), os.getppid())") == "1 0"


@pytest.mark.parametrize("kind", ["bwrap", "none"])
def test_landlock_leaves_the_scratch_folder_to_write_to(kind, tmp_path):
    sandbox = Sandbox(kind)
    try:
        assert "Landlock" in sandbox.layers
        assert printed(sandbox, "import os; open(os.environ['TMPDIR'] + '/mine', 'w').write('x'); print('ok')") == "ok"
        assert run(sandbox, f"open({str(tmp_path / 'planted')!r}, 'w')")["error"] is not None
        assert not (tmp_path / "planted").exists()
    finally:
        sandbox.close()


def test_a_zygote_that_died_between_two_submissions_costs_neither():
    sandbox = Sandbox("bwrap")
    try:
        sandbox._process.kill()
        sandbox._process.wait()
        sandbox._control.settimeout(SECONDS)
        assert sandbox._control.recv(1) == b""  # what ran inside is gone too
        assert printed(sandbox, "print('next')") == "next"
    finally:
        sandbox.close()


def test_too_much_memory_is_an_error_of_the_cell(sandbox):
    reply = run(sandbox, "import numpy as np; np.ones(1 << 30)")
    assert reply["error"][0].endswith("MemoryError")


def test_endless_printing_is_cut(sandbox):
    assert len(run(sandbox, "for _ in range(100000): print('x' * 100)")["stdout"]) <= 200_000


@pytest.mark.parametrize(
    "reply",
    [
        "{'outputs': 3}",
        "['outputs']",
        "{'outputs': [], 'returned': 1, 'changed': [], 'error': ''}",
        "{'outputs': [], 'returned': 1, 'changed': [], 'error': 7}",
        "{'outputs': [1] * 99, 'returned': 1, 'changed': [], 'error': ''}",
    ],
)
def test_a_forged_reply_is_refused(sandbox, reply):
    forge = (
        "import gc, socket\nfrom autograder import wire\nfor s in gc.get_objects():\n"
        f"    if isinstance(s, socket.socket) and s.fileno() > 2: wire.send(s, {reply})"
    )
    with sandbox.child() as child:
        wire.send(child._connection, {"cell": forge})  # its forged reply now lies in front of all others
        with pytest.raises(ChildDiedError, match="malformed"):
            child.call(Call(["f"], 1, False, {}, []), SECONDS)


def test_without_bubblewrap_one_line_says_what_to_do(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=r"bubblewrap .* is not installed.*--sandbox none"):
        Sandbox("bwrap")


def test_without_isolation_the_limits_still_hold():
    sandbox = Sandbox("none")
    try:
        with sandbox.child() as child, pytest.raises(TimeoutError):
            child.run_cell("while True: pass", 0.5)
        assert printed(sandbox, "print('next')") == "next"
    finally:
        sandbox.close()


def lose(sandbox: Sandbox) -> None:
    """Start a process in a child, then end the sandbox under it."""
    with sandbox.child() as child:
        child.run_cell("import subprocess; subprocess.Popen(['sleep', '4242'], start_new_session=True)", SECONDS)
        sandbox._process.kill()
        sandbox._process.wait()


def test_a_sandbox_that_is_lost_is_told_apart_from_a_submission_that_ends_and_leaves_no_process():
    sandbox = Sandbox("bwrap")
    with contextlib.closing(sandbox):
        with pytest.raises(SandboxLostError, match="the sandbox ended while"):
            lose(sandbox)
        deadline = time.monotonic() + 10
        while subprocess.run(["pgrep", "-f", "sleep 4242"], capture_output=True).returncode == 0:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert run(sandbox, "6 * 7")["error"] is None


def test_a_flood_of_processes_ends_at_the_bound_of_the_control_group(sandbox):
    if not any("processes" in layer for layer in sandbox.layers):
        pytest.skip("this process may not make a control group that bounds processes")
    bomb = "import os, signal\nfor started in range(10 * bound):\n    if os.fork() == 0:\n        signal.pause()"
    with sandbox.child() as child:
        reply = child.run_cell(f"bound = {cgroup.MAX_PROCESSES}\n{bomb}", SECONDS)
        counted = child.run_cell("import os\nprint(started < bound, flush=True)", SECONDS)
    assert reply["error"][0] == "BlockingIOError"
    assert counted["stdout"] == "True\n"


def test_memory_that_no_limit_of_a_process_counts_ends_at_the_bound_of_the_control_group(sandbox, monkeypatch):
    if not any("GB" in layer for layer in sandbox.layers):
        pytest.skip("this process may not make a control group that bounds memory")
    monkeypatch.setattr(cgroup, "MAX_MEMORY", 1 << 30)
    flood = "import mmap\nkept = [mmap.mmap(-1, 64 << 20) for _ in range(40)]\nfor m in kept: m.write(bytes(64 << 20))"
    with contextlib.closing(Sandbox("bwrap")) as small:
        with pytest.raises(ChildDiedError), small.child() as child:
            child.run_cell(flood, SECONDS)
        assert run(small, "6 * 7")["error"] is None


def test_a_closed_sandbox_leaves_no_control_group():
    mine = f"**/{cgroup.PREFIX}{os.getpid()}-*"  # other processes that test have sandboxes of their own
    before = set(cgroup.MOUNT.glob(mine))
    sandbox = Sandbox("bwrap")
    sandbox.close()
    assert set(cgroup.MOUNT.glob(mine)) <= before


@pytest.mark.parametrize(
    "source",
    [
        "import os\nfor _ in range(3000):\n    os.mkdir('d')\n    os.chdir('d')",
        "import os\nos.mkdir('closed')\nopen('closed/file', 'w').close()\nos.chmod('closed', 0)",
    ],
)
def test_what_is_hard_to_remove_does_not_outlive_its_child(sandbox, source):
    process = sandbox._process
    reply = run(sandbox, source)
    assert reply["error"] is None
    assert run(sandbox, "import os\nprint(os.listdir())")["stdout"] == "[]\n"
    assert sandbox._process is process


def test_a_copy_that_a_cell_makes_of_its_process_answers_nothing(sandbox):
    with sandbox.child() as child:
        child.run_cell("import os\nif os.fork() == 0:\n    raise ValueError('of a copy')", SECONDS)
        replies = [child.run_cell(f"print({number})", SECONDS)["stdout"] for number in range(5)]
    assert replies == [f"{number}\n" for number in range(5)]


def test_a_cell_that_shows_a_thousand_things_and_more_keeps_the_first(sandbox):
    reply = run(sandbox, "for number in range(5000): display(number)")
    assert len(reply["displays"]) == worker.MAX_DISPLAYS
    assert "too many" in reply["displays"][-1]["data"]["text/plain"]


def test_who_comes_second_waits_for_the_child_of_the_first(sandbox):
    def square(number: int) -> str:
        return run(sandbox, f"import time\ntime.sleep(0.1)\nprint({number} ** 2)")["stdout"]

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(square, range(5))) == [f"{number**2}\n" for number in range(5)]


def test_a_flood_of_processes_does_not_reach_the_next_child(sandbox):
    for _ in range(3):
        with sandbox.child() as child, contextlib.suppress(TimeoutError, ChildDiedError):
            child.run_cell("import os\nwhile True: os.fork()", 0.5)
        assert run(sandbox, "import threading\nthreading.Thread(target=print).start()")["error"] is None


AS_NOBODY = """
import sys
sys.path.insert(0, {root!r})
from autograder.sandbox import Sandbox
for kind in ("bwrap", "none"):
    sandbox = Sandbox(kind)
    with sandbox.child() as child:
        print(kind, sandbox.layers, child.run_cell("6 * 7", 20)["displays"][0]["data"]["text/plain"])
    sandbox.close()
"""


@pytest.mark.skipif(os.getuid() != 0, reason="the other tests run as an ordinary user already")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv, which runs a command as another user, is missing")
def test_the_sandbox_of_an_ordinary_user_has_every_layer_but_the_control_group(sandbox, tmp_path):
    """Root may do what an ordinary user may not, such as write to /proc/self of a process that can't be dumped."""
    needed = {Path(sys.base_prefix), Path(sys.prefix), ROOT}
    closed = {folder for path in needed for folder in [path, *path.parents] if not folder.stat().st_mode & 0o001}
    outermost = {folder for folder in closed if not closed & set(folder.parents)}
    steps = ["set -e"]  # in a mount namespace of its own, folders that others may not enter are put into ones they may
    for number, path in enumerate(sorted(needed)):
        steps += [f"mkdir -p {tmp_path}/{number}", f"mount --bind {path} {tmp_path}/{number}"]
    steps += [f"mount -t tmpfs -o mode=755 opened {folder}" for folder in sorted(outermost)]
    for number, path in enumerate(sorted(needed)):
        if outermost & set(path.parents):
            steps += [f"mkdir -p {path}", f"mount --bind {tmp_path}/{number} {path}"]
    steps.append('exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"')
    program = [sys.executable, "-c", AS_NOBODY.format(root=str(ROOT))]
    command = ["unshare", "--mount", "sh", "-c", "\n".join(steps), "sh", *program]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": os.environ["PATH"]}, cwd="/")
    if "unshare failed" in done.stderr:
        pytest.skip("this root may not make a mount namespace")
    assert done.returncode == 0, done.stderr
    layers = [layer for layer in sandbox.layers if "control group" not in layer]
    assert done.stdout.splitlines() == [f"bwrap {layers} 42", f"none {layers[1:]} 42"]
