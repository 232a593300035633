"""Exhausting: right answers, and one cell or answer that takes all the time, memory, disk or processes there are."""

from nbformat import NotebookNode

from tests.attacks.attack import Given, begun, in_front, in_row, wrapped

attack = in_row("exhausting")
ONE = "load_torch_weights"  # no other question builds on it
COSTS_ONE = {ONE: "none"}


def own_cell(given: Given, source: str) -> NotebookNode:
    return in_front(given.solved(), source)


def in_the_answer(given: Given, line: str) -> NotebookNode:
    return begun(given.solved(), ONE, line)


@attack("a cell with while True", others="full")
def endless_cell(given: Given) -> NotebookNode:
    return own_cell(given, "while True:\n    pass")


@attack("an answer with while True", marks=COSTS_ONE, others="full", says="a loop that never ends")
def endless_answer(given: Given) -> NotebookNode:
    return in_the_answer(given, "while True: pass")


@attack("an endless loop that swallows every exception and blocks every signal", marks=COSTS_ONE, others="full")
def swallowed_interrupts(given: Given) -> NotebookNode:
    source = """
        import signal
        def stay():
            for number in range(1, 65):
                try:
                    signal.signal(number, signal.SIG_IGN)
                except (OSError, ValueError):
                    pass
            signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
            while True:
                try:
                    while True: pass
                except BaseException:
                    pass
        """
    return begun(own_cell(given, source), ONE, "stay()")


@attack("a call into C that holds the lock of the interpreter for hours", marks=COSTS_ONE, others="full")
def endless_call_in_c(given: Given) -> NotebookNode:
    return in_the_answer(given, "(1 << 300_000_000) ** 9 % 7")


@attack("stops its own process instead of answering", marks=COSTS_ONE, others="full")
def stopped_process(given: Given) -> NotebookNode:
    source = """
        import os, signal
        def freeze():
            if os.fork() == 0:
                os.kill(os.getppid(), signal.SIGSTOP)
            signal.pause()
        """
    return begun(own_cell(given, source), ONE, "freeze()")


@attack("prints for ever", others="full")
def endless_print(given: Given) -> NotebookNode:
    return own_cell(given, "while True:\n    print('x' * 1000)")


@attack("prints for ever from an answer, to the real descriptors too", marks=COSTS_ONE, others="full")
def endless_print_in_an_answer(given: Given) -> NotebookNode:
    return in_the_answer(given, "import os\n    while True: print('x' * 1000), os.write(1, b'x' * 1000)")


@attack("one line of 30 MB on each stream, as a result and as a display", others="full")
def one_line_of_30_megabytes(given: Given) -> NotebookNode:
    source = """
        import sys
        from IPython.display import display
        line = "x" * 30_000_000
        print(line)
        print(line, file=sys.stderr)
        display({"text/plain": line, "image/png": line}, raw=True)
        line
        """
    return own_cell(given, source)


@attack("an error whose text has 30 MB", marks=COSTS_ONE, others="full", says="ValueError: xxx")
def error_of_30_megabytes(given: Given) -> NotebookNode:
    return in_front(in_the_answer(given, "raise ValueError('x' * 30_000_000)"), "raise ValueError('x' * 30_000_000)")


@attack("an error whose text raises, and one that never ends", marks=COSTS_ONE, others="full")
def error_that_cannot_be_told(given: Given) -> NotebookNode:
    source = """
        class Untold(Exception):
            def __str__(self): raise self
        class Endless(Exception):
            def __str__(self):
                while True: pass
        """
    notebook = in_front(own_cell(given, "raise Untold"), source)
    return begun(notebook, ONE, "raise (Untold if weight_ih.shape[1] == 5 else Endless)")


@attack("allocates more than 4 GB in a cell and goes on", others="full")
def four_gigabytes_in_a_cell(given: Given) -> NotebookNode:
    return own_cell(given, "import numpy as np\nhoard = [np.ones(1 << 28) for _ in range(3)]")


@attack("allocates more than 4 GB in an answer", marks=COSTS_ONE, others="full", says="MemoryError")
def four_gigabytes_in_an_answer(given: Given) -> NotebookNode:
    return in_the_answer(given, "hoard = np.ones(5 << 27)")


@attack("allocates 5 GB that is shared with its children, which a limit on private data misses", others="full")
def five_gigabytes_of_shared_memory(given: Given) -> NotebookNode:
    source = """
        import ctypes, mmap
        hoard = mmap.mmap(-1, 5 << 30)
        for start in range(0, 5 << 30, 4096):
            hoard[start] = 1
        """
    return own_cell(given, source)


@attack("a fork bomb in a cell", others="full")
def fork_bomb(given: Given) -> NotebookNode:
    source = """
        import os
        while True:
            try:
                os.fork()
            except OSError:
                pass
        """
    return own_cell(given, source)


@attack("a fork bomb in an answer", marks=COSTS_ONE, others="full")
def fork_bomb_in_an_answer(given: Given) -> NotebookNode:
    return in_the_answer(given, "import os\n    while True: os.fork()")


@attack("a thousand threads that never end", others="full")
def a_thousand_threads(given: Given) -> NotebookNode:
    source = """
        import threading, time
        for _ in range(1000):
            threading.Thread(target=time.sleep, args=(10_000,), daemon=True).start()
        """
    return own_cell(given, source)


@attack("daemons in sessions of their own that are to outlive the grading", others="full")
def daemon_in_its_own_session(given: Given) -> NotebookNode:
    source = """
        import os, subprocess, sys, time
        for _ in range(5):
            subprocess.Popen(["sleep", "86400.0", TOKEN][:2], start_new_session=True)
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(86400)", TOKEN], start_new_session=True)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(86400)
            os._exit(0)
        """
    notebook = own_cell(given, source)
    return in_front(notebook, given.facts())


@attack("fills the disk with files, each as large as it may be", others="full")
def full_disk(given: Given) -> NotebookNode:
    source = """
        import os
        for folder in (os.getcwd(), "/scratch", "/tmp", "/dev/shm"):
            for number in range(100):
                try:
                    with open(f"{folder}/fill-{number}", "wb", 0) as file:
                        while True:
                            file.write(bytes(1 << 22))
                except OSError:
                    pass
        """
    return own_cell(given, source)


@attack("makes ten thousand empty files", others="full")
def ten_thousand_files(given: Given) -> NotebookNode:
    return own_cell(given, "for number in range(10_000):\n    open(f'file-{number}', 'w').close()")


@attack("folders nested thousands deep, so that the clean-up runs into a limit", others="full")
def folders_nested_deep(given: Given) -> NotebookNode:
    source = """
        import os
        home = os.getcwd()
        for _ in range(3000):
            os.mkdir("d")
            os.chdir("d")
        os.chdir(home)
        """
    return own_cell(given, source)


@attack("a folder that nobody may open, so that the clean-up fails", others="full")
def folder_that_nobody_may_open(given: Given) -> NotebookNode:
    source = """
        import os
        os.makedirs("locked/inner")
        open("locked/inner/file", "w").close()
        os.chmod("locked/inner", 0)
        os.chmod("locked", 0)
        os.chmod(os.getcwd(), 0)
        """
    return own_cell(given, source)


@attack("opens files until there are no descriptors left", others="full")
def every_descriptor_open(given: Given) -> NotebookNode:
    source = """
        hoard = []
        try:
            while True:
                hoard.append(open("/dev/null"))
        except OSError:
            hoard.clear()
        """
    return own_cell(given, source)


@attack("opens files in an answer until there are no descriptors left", marks=COSTS_ONE, others="full")
def no_descriptors_for_an_answer(given: Given) -> NotebookNode:
    return in_the_answer(given, "hoard = []\n    while True: hoard.append(open('/dev/null'))")


@attack("os._exit in a cell", others="full")
def exit_of_the_process(given: Given) -> NotebookNode:
    return own_cell(given, "import os\nos._exit(0)")


@attack("os._exit in an answer", marks=COSTS_ONE, others="full", says="the process ended")
def exit_of_the_process_in_an_answer(given: Given) -> NotebookNode:
    return in_the_answer(given, "import os; os._exit(0)")


@attack("os.abort and a closed connection, in cells of their own", others="full")
def abort_and_closed_connection(given: Given) -> NotebookNode:
    notebook = own_cell(given, "import os\nos.abort()")
    return in_front(notebook, "import os\nos.closerange(3, 256)")


@attack("a segmentation fault in a cell", others="full")
def segfault(given: Given) -> NotebookNode:
    return own_cell(given, "import ctypes\nctypes.string_at(0)")


@attack("a segmentation fault in an answer", marks=COSTS_ONE, others="full", says="the process ended")
def segfault_in_an_answer(given: Given) -> NotebookNode:
    return in_the_answer(given, "import ctypes; ctypes.string_at(0)")


@attack("sys.exit, exit and quit in cells", others="full")
def system_exit(given: Given) -> NotebookNode:
    notebook = given.solved()
    for line in ("import sys\nsys.exit()", "exit()", "quit()", "raise SystemExit(3)"):
        in_front(notebook, line)
    return notebook


@attack("sys.exit in an answer", marks=COSTS_ONE, others="full", says="SystemExit")
def system_exit_in_an_answer(given: Given) -> NotebookNode:
    return in_the_answer(given, "import sys; sys.exit()")


@attack("recursion without an end in an answer", marks=COSTS_ONE, others="full", says="RecursionError")
def deep_recursion(given: Given) -> NotebookNode:
    return in_the_answer(given, "return load_torch_weights(weight_ih, weight_hh, bias_ih, bias_hh)")


@attack("recursion in C until the stack overflows", marks=COSTS_ONE, others="full")
def recursion_in_c(given: Given) -> NotebookNode:
    source = """
        import sys
        def overflow():
            sys.setrecursionlimit(1 << 30)
            nest = []
            for _ in range(1_000_000):
                nest = [nest]
            repr(nest)
        """
    return begun(own_cell(given, source), ONE, "overflow()")


@attack("source that no parser can nest, and a cell of 5 MB", others="full")
def source_nested_deep(given: Given) -> NotebookNode:
    notebook = own_cell(given, "(" * 5000 + ")" * 5000)
    return in_front(notebook, "x = '" + "x" * 5_000_000 + "'")


@attack("replies of one byte at a time, to outlast every clock", others="none")
def replies_one_byte_at_a_time(given: Given) -> NotebookNode:
    source = """
        import json, struct, time
        from autograder import wire
        def drip(connection, value):
            connection.sendall(struct.pack(">II", 1 << 20, 0))
            while True:
                connection.sendall(b" ")
                time.sleep(0.05)
        wire.send = drip
        """
    notebook = in_front(given.released(), source)
    return in_front(notebook, "pass")


@attack("answers of a gigabyte", marks=COSTS_ONE, others="full")
def answers_of_a_gigabyte(given: Given) -> NotebookNode:
    return in_the_answer(given, "return np.zeros(1 << 27), np.zeros(1 << 27), np.zeros(1 << 27)")


@attack("an answer of ten million parts, and one that contains itself", marks=COSTS_ONE, others="full")
def answers_without_an_end(given: Given) -> NotebookNode:
    lines = "nest = []; nest += [nest, nest, nest]\n    return nest if weight_ih.shape[1] == 5 else [nest] * 10_000_000"
    return in_the_answer(given, lines)


@attack("finalizers, exit handlers and threads that never let the process end", others="full")
def a_process_that_will_not_end(given: Given) -> NotebookNode:
    source = """
        import atexit, threading
        class Endless:
            def __del__(self):
                while True: pass
        keep = [Endless()]
        keep.append(keep)
        def wait():
            while True: pass
        atexit.register(wait)
        threading._register_atexit(wait)
        threading.Thread(target=threading.Event().wait).start()
        """
    return own_cell(given, source)


@attack("a regular expression and a sum that take for ever", marks=COSTS_ONE, others="full")
def a_regular_expression_without_an_end(given: Given) -> NotebookNode:
    return in_the_answer(given, "import re; re.match('(a+)+$', 'a' * 64 + 'b')")


@attack("a hundred cells that each end the process", others="full")
def many_cells_that_end_the_process(given: Given) -> NotebookNode:
    notebook = given.solved()
    for _ in range(30):
        in_front(notebook, "import os\nos._exit(0)")
    return notebook


@attack("waits for input that never comes, from the keyboard and in the debugger", others="full")
def input_that_never_comes(given: Given) -> NotebookNode:
    notebook = own_cell(given, "input('name? ')")
    in_front(notebook, "import getpass\ngetpass.getpass()")
    return in_front(notebook, "breakpoint()")


@attack("changes the generators, clocks and limits that the grader's process started with", others="full")
def changed_limits(given: Given) -> NotebookNode:
    source = """
        import resource, signal, time
        for name in dir(resource):
            if name.startswith("RLIMIT_") and name not in ("RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_STACK"):
                limit = getattr(resource, name)
                for value in (resource.RLIM_INFINITY, resource.getrlimit(limit)[1]):
                    try:
                        resource.setrlimit(limit, (value, value))
                    except (OSError, ValueError):
                        pass
        time.sleep = time.monotonic = lambda *args: 0.0
        signal.setitimer(signal.ITIMER_REAL, 0)
        """
    return own_cell(given, source)


@attack("an answer wrapped so that each call takes most of its time", marks={ONE: "none"}, others="full")
def slow_answers(given: Given) -> NotebookNode:
    source = """
        import time
        quick = load_torch_weights
        def load_torch_weights(*inputs):
            time.sleep(60)
            return quick(*inputs)
        """
    return wrapped(given.solved(), ONE, source)
