"""Grade the same submissions with stock nbgrader and with this grader, in one run, and print how they compare.

`python -m benchmarks.grading` grades 40 submissions of the LSTM assignment three times: with `nbgrader autograde` in
an ordinary course, whose test cells ask check.py the same questions inside the student's kernel, and with
`python -m autograder grade` on one worker and on two. Every run is a process of its own with one thread for
arithmetic. Each grader also grades one submission for each worker alone: what that takes is start-up, and the rate is
that of the others. `--class 1000` grades a large class and prints how much memory is in use on the way.
"""

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import nbformat
import psutil
from nbformat import NotebookNode
from rich.console import Console
from rich.table import Table

from autograder import audit, compose, course, definition, execute, grade, gradebook, judge, pipeline
from autograder.blocks import ROOT
from autograder.sandbox import Child
from tests import sample_class

STEM = "lstm"
SIZE = 40
UNFIT = {"exits-in-answer", "loops-for-ever", "unreadable"}  # these end nbgrader's whole run
MEGABYTE = 1 << 20
STOCK_CONFIG = """c = get_config()
c.CourseDirectory.root = {root!r}
c.CourseDirectory.course_id = "stock"
c.Execute.timeout = 120
"""


@dataclass(frozen=True)
class Run:
    """What a command took: wall-clock seconds, and the largest memory of all its processes together, in bytes."""

    seconds: float
    memory: int


def make_course(folder: Path, size: int) -> list[str]:
    """Release the assignment and hand in that many notebooks, honest and mistaken ones by turns."""
    course.release(folder, STEM)
    released = nbformat.read(folder / "release" / STEM / f"{STEM}.ipynb", 4)
    kinds = [made for made in sample_class.submissions(STEM, released) if made.student not in UNFIT]
    students = [f"student-{number:04}" for number in range(size)]
    for student, kind in zip(students, itertools.cycle(kinds)):
        hand_in(folder, student, kind.notebook)
    return students


def hand_in(folder: Path, student: str, notebook: NotebookNode) -> None:
    path = folder / "submitted" / student / STEM
    path.mkdir(parents=True)
    nbformat.write(notebook, path / f"{STEM}.ipynb")


def make_stock_course(ours: Path, folder: Path) -> None:
    """The same course for stock nbgrader: a test cell's value is the score that check.py gives in the kernel."""
    shutil.copytree(ours / "source", folder / "source")
    shutil.copytree(ours / "submitted", folder / "submitted")
    for file in folder.glob(f"*/*/{STEM}/{STEM}.ipynb"):
        with_own_tests(file)
    with_own_tests(folder / "source" / STEM / f"{STEM}.ipynb")
    shutil.copytree(compose.handout(STEM, ours), folder / "source" / STEM, dirs_exist_ok=True)
    (folder / "nbgrader_config.py").write_text(STOCK_CONFIG.format(root=str(folder)), encoding="utf-8")
    nbgrader(folder, "generate_assignment", STEM)


def with_own_tests(file: Path) -> None:
    notebook = nbformat.read(file, 4)
    for cell in notebook.cells:
        name = compose.checked_question(cell)
        if name:
            cell.source = f'check("{name}").points'
    nbformat.write(notebook, file)


def command_of(tool: str) -> str:
    return str(Path(sys.executable).with_name(tool))


def nbgrader(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [command_of("nbgrader"), *arguments], cwd=folder, capture_output=True, text=True, env=environment()
    )
    if done.returncode:
        sys.exit(f"nbgrader {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")


def environment() -> dict[str, str]:
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **threads, "PYTHONPATH": str(ROOT), "PATH": path}


def measure(command: Sequence[str], folder: Path) -> Run:
    """Run a command to its end and watch the memory of it and all that it starts."""
    log = folder.parent / "log"
    start = time.perf_counter()
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, env=environment())
        peak = 0
        while process.poll() is None:
            peak = max(peak, memory_of(process.pid))
            with suppress(subprocess.TimeoutExpired):  # not oftener: looking at memory takes time of its own
                process.wait(1)
    seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{log.read_text()[-2000:]}")
    return Run(seconds, peak)


def memory_of(pid: int) -> int:
    """The memory of a process and its descendants in bytes; pages that several share count once, by their share."""
    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in family:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def ours(folder: Path, workers: int, *students: str) -> Run:
    command = [sys.executable, "-m", "autograder", "grade", STEM, "--course", str(folder), "--workers", str(workers)]
    return measure([*command, "--force", *(part for name in students for part in ("--only", name))], folder)


def stock(folder: Path, student: str = "*") -> Run:
    return measure([command_of("nbgrader"), "autograde", STEM, "--force", f"--student={student}"], folder)


def compare(folder: Path, size: int, console: Console) -> None:
    """Grade a few submissions and then a class with each grader; print submissions per second, ratios, peak memory."""
    students = make_course(folder / "one", size)
    for copy in ("two", "split"):
        shutil.copytree(folder / "one", folder / copy)
    make_stock_course(folder / "one", folder / "stock")
    graders = {
        "nbgrader autograde": (1, lambda *more: stock(folder / "stock", *more)),
        "ours, 1 worker": (1, lambda *more: ours(folder / "one", 1, *more)),
        "ours, 2 workers": (2, lambda *more: ours(folder / "two", 2, *more)),
    }
    runs = {name: (grader(*students[:first]), grader()) for name, (first, grader) in graders.items()}
    rates = {name: (size - graders[name][0]) / (whole.seconds - first.seconds) for name, (first, whole) in runs.items()}
    base, (_, base_run) = rates["nbgrader autograde"], runs["nbgrader autograde"]
    table = Table(title=f"{size} submissions of {STEM}")
    for heading in ("", "seconds", "the first", "then per second", "times nbgrader", "with start-up", "peak memory"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, (first, whole) in runs.items():
        times = (f"{whole.seconds:.1f}", f"{first.seconds:.1f}", f"{rates[name]:.2f}", f"{rates[name] / base:.1f}")
        table.add_row(name, *times, f"{base_run.seconds / whole.seconds:.1f}", f"{whole.memory / MEGABYTE:.0f} MB")
    console.print(table)
    console.print(f"two workers to one: {rates['ours, 2 workers'] / rates['ours, 1 worker']:.2f}")
    console.print(same_marks(folder / "one", folder / "stock"))
    split(folder / "split", console)


def same_marks(ours: Path, stock: Path) -> str:
    """Say in how many questions the two graders agree; they draw other inputs, so a rare difference is no error."""

    def marks(folder: Path, course_id: str) -> dict[tuple[str, str], float | None]:
        with gradebook.Gradebook(f"sqlite:///{folder}/gradebook.db", course_id) as opened:
            return {
                (submission.student.id, grade.name): grade.auto_score
                for submission in opened.assignment_submissions(STEM)
                for notebook in submission.notebooks
                for grade in notebook.grades
            }

    mine, theirs = marks(ours, "deep-learning-block-by-block"), marks(stock, "stock")
    equal = sum(mine[key] == theirs[key] for key in mine)
    return f"the graders agree on {equal} of {len(mine)} marks"


# --- where the time goes ----------------------------------------------------------------------------------------


@contextmanager
def timed(times: dict[str, float]) -> Iterator[None]:
    """Count the seconds that parts of the grader take; what is counted inside another part is not counted twice."""
    inside: list[float] = []

    def wrap(owner: Any, name: str, part: str) -> Callable[[], None]:
        real = getattr(owner, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            inside.append(0.0)
            start = time.perf_counter()
            try:
                return real(*arguments, **options)
            finally:
                seconds = time.perf_counter() - start
                times[part] += seconds - inside.pop()
                if inside:
                    inside[-1] += seconds

        setattr(owner, name, counted)
        return lambda: setattr(owner, name, real)

    undo = [
        wrap(pipeline, "_sanitized", "sanitize (nbgrader)"),
        wrap(execute.JudgedExecute, "preprocess", "start and end of a child, the rest"),
        wrap(Child, "run_cell", "the student's cells"),
        wrap(Child, "call", "the student's answers"),
        wrap(judge, "make_task", "reference and mistakes"),
        wrap(judge, "examine", "comparison"),
        wrap(execute.forbidden, "used", "search for forbidden names"),
        wrap(gradebook, "save", "gradebook (nbgrader)"),
    ]
    try:
        yield
    finally:
        for back in undo:
            back()


def split(folder: Path, console: Console) -> None:
    """Judge and save each submission in this process, and print where the time goes."""
    opened = grade.open_assignment(folder, STEM)
    students = grade.submissions(folder, STEM)
    with console.status("Splitting the time"), execute.warm_sandbox("bwrap").child():
        pass
    times: dict[str, float] = defaultdict(float)
    start = time.perf_counter()
    with timed(times):
        for student in students:
            read = grade._read(opened, student)
            seeds = execute.seeds_of(folder, student, definition.questions(opened.defined))
            judged = pipeline.judged(read, opened.defined, seeds, opened.config, {})
            gradebook.save(opened.coursedir, opened.config, read, judged)
    total = time.perf_counter() - start
    execute.warm_sandbox("bwrap").close()
    times["reading and writing notebooks"] = total - sum(times.values())
    table = Table(title="one submission, in one process, without start-up")
    for heading in ("", "ms", "share"):
        table.add_column(heading, justify="left" if not heading else "right")
    for part, seconds in sorted(times.items(), key=lambda item: -item[1]):
        table.add_row(part, f"{1000 * seconds / len(students):.0f}", f"{seconds / total:.0%}")
    table.add_row("in all", f"{1000 * total / len(students):.0f}", "")
    console.print(table)


# --- a large class ----------------------------------------------------------------------------------------------


def large(folder: Path, size: int, console: Console) -> None:
    """Grade a large class on two workers, and print the memory of all processes at every tenth of the way."""
    make_course(folder / "large", size)
    seen: list[tuple[int, int]] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(2):
            graders = [child.pid for child in psutil.Process().children()]
            seen.append((len(audit.latest(folder / "large", STEM)), sum(map(memory_of, graders))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run = ours(folder / "large", 2)
    finally:
        done.set()
        watcher.join()
    console.print(f"{size} submissions in {run.seconds:.0f} s: {size / run.seconds:.2f} per second on two workers")
    for tenth in range(1, 11):
        at = [memory for count, memory in seen if size * (tenth - 1) / 10 < count <= size * tenth / 10]
        if at:
            console.print(f"  {size * tenth // 10:5} done: {max(at) / MEGABYTE:6.0f} MB at most")


@click.command()
@click.option("--size", default=SIZE, help="How many submissions to compare on.")
@click.option("--class", "class_size", default=0, help="Grade a class of this size instead.")
def main(size: int, class_size: int) -> None:
    console = Console()
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        if class_size:
            large(Path(folder), class_size, console)
        else:
            compare(Path(folder), size, console)


if __name__ == "__main__":
    main()
