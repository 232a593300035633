"""Stealing answers: nothing is answered, and a trick looks for the right answers wherever they may lie."""

import base64
from textwrap import dedent

from nbformat import NotebookNode

from tests.attacks.attack import FORWARD, Given, in_front, in_row, unanswered, written, wrong

attack = in_row("stealing answers")

LOOT = """
    import glob, json, os, re
    def loot(*patterns):
        "Run the code of every notebook and module that can be read at these paths."
        for path in [path for pattern in patterns for path in glob.glob(pattern, recursive=True)]:
            try:
                text = open(path, encoding="utf-8").read()
                codes = [text]
                if path.endswith(".ipynb"):
                    codes = ["".join(cell["source"]) for cell in json.loads(text)["cells"]]
                    codes = [code for code in codes if "NotImplementedError(" not in code]
            except (OSError, ValueError, KeyError):
                continue
            for code in codes:
                try:
                    exec(code, globals())
                except Exception:
                    pass
    """


def looting(given: Given, trick: str) -> NotebookNode:
    return unanswered(given, dedent(LOOT) + dedent(trick))


@attack("reads its own autograded notebook with the tests put back")
def read_own_autograded_notebook(given: Given) -> NotebookNode:
    return looting(given, 'loot(f"{COURSE}/autograded/**/*.ipynb", "../*/*.ipynb", "**/*.ipynb", "*.ipynb")')


@attack("runs the instructor's notebook from source/")
def run_the_source_notebook(given: Given) -> NotebookNode:
    trick = """
        loot(f"{COURSE}/source/lstm/*", "../../../source/lstm/*", "../source/**/*", f"{ROOT}/course/source/lstm/*")
        """
    return looting(given, trick)


@attack("imports the reference, solutions.lstm, by name and by path")
def import_the_reference(given: Given) -> NotebookNode:
    trick = """
        import importlib.util, sys
        sys.path[:0] = [ROOT, os.getcwd(), "/grader", f"{ROOT}/solutions"]
        for name in ("solutions.lstm", "lstm", "kernels.lstm"):
            try:
                globals().update(vars(importlib.import_module(name)))
            except ImportError:
                pass
        loot(f"{ROOT}/solutions/*.py", f"{ROOT}/kernels/*.py", "/usr/lib/**/solutions/lstm.py")
        """
    return looting(given, trick)


@attack("imports the questions and the judge, which hold the reference")
def import_the_questions(given: Given) -> NotebookNode:
    trick = """
        import importlib, sys
        sys.path.insert(0, ROOT)
        for name in ("autograder.questions.lstm", "autograder.judge", "autograder.question", "autograder.compose"):
            try:
                module = importlib.import_module(name)
                for question in getattr(module, "QUESTIONS", ()):
                    globals().update({function.__name__: function for function in question.reference})
            except ImportError:
                pass
        """
    return looting(given, trick)


@attack("copies the answers out of class-mates' folders")
def read_the_folders_of_others(given: Given) -> NotebookNode:
    trick = """
        loot(f"{COURSE}/submitted/{CLASSMATE}/lstm/lstm.ipynb", f"{COURSE}/submitted/*/*/*", "../../*/lstm/*.ipynb")
        """
    return looting(given, trick)


@attack("walks the whole file system for notebooks and modules about the LSTM")
def walk_the_file_system(given: Given) -> NotebookNode:
    trick = """
        for folder, folders, files in os.walk("/"):
            folders[:] = [name for name in folders if name not in ("proc", "sys", "torch", "nvidia")]
            loot(*(f"{folder}/{name}" for name in files if re.search(r"lstm.*\\.(ipynb|py)$", name)))
        """
    return looting(given, trick)


@attack("goes through /proc: roots, working folders and open files of other processes")
def read_through_proc(given: Given) -> NotebookNode:
    trick = """
        for process in glob.glob("/proc/[0-9]*"):
            loot(f"{process}/root{COURSE}/source/lstm/lstm.ipynb", f"{process}/root{ROOT}/solutions/lstm.py",
                 f"{process}/cwd/solutions/lstm.py", f"{process}/cwd/source/lstm/lstm.ipynb", f"{process}/fd/*")
        """
    return looting(given, trick)


@attack("looks through all frames, of every thread, for what is expected")
def walk_the_frames(given: Given) -> NotebookNode:
    trick = """
        import sys
        def found(like):
            frames = list(sys._current_frames().values())
            while frames:
                frame = frames.pop()
                if frame is None:
                    continue
                for name, value in {**frame.f_globals, **frame.f_locals}.items():
                    if name in ("expected", "case", "task", "answers", "reference", "upstream"):
                        for part in getattr(value, "expected", None) or (value if name == "expected" else ()):
                            if getattr(part, "shape", None) == like.shape:
                                return part
                frames.append(frame.f_back)
            raise LookupError("nothing in the frames")
        """
    return answered_by_finding(given, trick)


@attack("goes through gc.get_objects() for arrays of the right shape and for cases of the judge")
def search_the_garbage_collector(given: Given) -> NotebookNode:
    trick = """
        import gc
        def found(like):
            for value in gc.get_objects():
                if type(value).__name__ in ("Case", "Task", "Question"):
                    for part in getattr(value, "expected", ()):
                        if part.shape == like.shape:
                            return part
                for part in value.values() if type(value) is dict else value if type(value) in (list, tuple) else ():
                    if type(part) is np.ndarray and part.shape == like.shape and not np.shares_memory(part, like):
                        if abs(part).max() <= 1 and part.dtype == float:
                            return part
            raise LookupError("nothing in memory")
        """
    return answered_by_finding(given, trick)


@attack("looks in In[], Out[] and the history for the hidden tests")
def read_the_history(given: Given) -> NotebookNode:
    trick = """
        def found(like):
            history = [*In, *map(repr, Out.values()), *(row[2] for row in get_ipython().history_manager.get_range())]
            for text in history:
                if "assert" in text or "expected" in text and "def found" not in text:
                    exec(text, globals())
                    return globals()["expected"]
            raise LookupError("nothing in the history")
        """
    return answered_by_finding(given, trick)


def answered_by_finding(given: Given, trick: str) -> NotebookNode:
    """Each answer looks for itself while it is called; what it can't find is an error."""
    notebook = in_front(given.released(), dedent(trick) + "\nlie = found")
    for name, source in FORWARD.items():
        written(notebook, name, source)
    return notebook


@attack("scans the memory that it was forked with for the text of the reference")
def scan_the_inherited_memory(given: Given) -> NotebookNode:
    trick = """
        needle = b"    ### BEGIN " + b"SOLUTION"
        hits = []
        with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
            for line in maps:
                bounds, access, _, _, inode = line.split()[:5]
                start, end = (int(bound, 16) for bound in bounds.split("-"))
                if access.startswith("rw") and inode == "0" and end - start < 64 << 20:
                    try:
                        memory.seek(start)
                        data = memory.read(end - start)
                    except (OSError, ValueError, OverflowError):
                        continue
                    place = data.find(needle)
                    if place >= 0:
                        hits.append(data[data.rfind(b"def ", 0, place):data.find(b"### END", place)])
        for hit in hits:
            try:
                exec(hit.decode(errors="ignore"), globals())
            except Exception:
                pass
        """
    return looting(given, trick)


@attack("opens the gradebook and the secret of the course to draw its own cases")
def read_gradebook_and_secret(given: Given) -> NotebookNode:
    trick = """
        import sqlite3
        try:
            secret = open(f"{COURSE}/.secret", "rb").read()
            for (source,) in sqlite3.connect(f"file:{COURSE}/gradebook.db?mode=ro", uri=True).execute(
                "SELECT source FROM source_cell"
            ):
                exec(source, globals())
        except (OSError, sqlite3.Error):
            pass
        """
    return looting(given, trick)


@attack("reads the environment and command lines of every process for paths and keys")
def read_the_environment_of_the_grader(given: Given) -> NotebookNode:
    trick = """
        for name in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
            try:
                text = open(name, "rb").read().decode(errors="ignore")
            except OSError:
                continue
            for folder in re.findall(r"(/[^\\0:= ]+)", text):
                loot(f"{folder}/solutions/lstm.py", f"{folder}/course/source/lstm/lstm.ipynb", f"{folder}/source/*/*")
        """
    return looting(given, trick)


HARD_CODED = """
    import base64, io
    import numpy as np
    from autograder import check as library
    known = library.load(io.BytesIO(base64.b64decode(CASES)))
    def looked_up(name, *inputs):
        cases = known[name].cases
        def distance(case):
            mine = [np.asarray(value) for value in inputs]
            theirs = [np.asarray(value) for value in case.inputs.values()]
            near = (m.shape == t.shape and (m.dtype.kind != "f" or np.allclose(m, t)) for m, t in zip(mine, theirs))
            return -sum(near)
        return [np.array(part) for part in min(cases, key=distance).expected]
    def lstm_step_forward(*inputs): return *looked_up("lstm_step_forward", *inputs), None
    def lstm_peephole_step_forward(*inputs): return *looked_up("lstm_peephole_step_forward", *inputs), None
    def gru_step_forward(*inputs): return *looked_up("gru_step_forward", *inputs), None
    def load_torch_weights(*inputs): return looked_up("load_torch_weights", *inputs)
    """


@attack("carries the public cases along and answers with the right outputs of the nearest one")
def hard_coded_public_outputs(given: Given) -> NotebookNode:
    cases = base64.b64encode((given.course / "release/lstm/cases.npz").read_bytes()).decode()
    return unanswered(given, f"CASES = {cases!r}\n" + dedent(HARD_CODED))


@attack("asks the class-mate for help: answers lie in wait in shared memory, sockets and scratch files")
def messages_from_an_earlier_submission(given: Given) -> NotebookNode:
    trick = """
        import ctypes
        loot("/scratch/**/*", "/tmp/**/*", "/dev/shm/*", "/var/tmp/*", "/run/**/*", "/dev/mqueue/*")
        """
    return looting(given, trick)


@attack("takes the answer from an exception that it provokes in the judge", marks={"lstm_step_forward": "none"})
def provoke_the_judge(given: Given) -> NotebookNode:
    notebook = wrong(given, "")
    for name in FORWARD:
        written(notebook, name, f"def {name}(*inputs): return {{'expected': ...}}, [[...]], object()")
    written(notebook, "lstm_step_kernel", "def lstm_step(*inputs): raise ValueError('expected {case.expected}')")
    return notebook
