"""A grader that is killed again and again must end with the gradebook of one that was left alone.

`python -m tests.interruptions FOLDER` grades a class of 100 twice: once undisturbed, and once with ten SIGKILLs at
random moments; it prints the moments, and whether the gradebooks are equal. What was in the folder is deleted.
"""

import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook
from rich.console import Console

from autograder import audit, course
from autograder.blocks import ROOT
from tests import sample_class

Mark = tuple[float | None, float | None, bool, str | None]
FAST = {"exits-in-answer", "loops-for-ever"}  # left out: a loop takes as long as its clock


def make_class(folder: Path, stem: str, size: int) -> list[str]:
    """Make a course with that many submissions, honest and mistaken ones by turns."""
    course.release(folder, stem)
    released = nbformat.read(folder / "release" / stem / f"{stem}.ipynb", 4)
    kinds = [made for made in sample_class.submissions(stem, released) if made.graded and made.student not in FAST]
    students = [f"student-{number:03}" for number in range(size)]
    for student, kind in zip(students, itertools.cycle(kinds)):
        path = folder / "submitted" / student / stem
        path.mkdir(parents=True)
        nbformat.write(kind.notebook, path / f"{stem}.ipynb")
    return students


def marks(folder: Path, stem: str) -> dict[tuple[str, str], Mark]:
    """All that grading writes into the gradebook, by student and cell."""
    found: dict[tuple[str, str], Mark] = {}
    with Gradebook(f"sqlite:///{folder}/gradebook.db", "deep-learning-block-by-block") as gradebook:
        for submission in gradebook.assignment_submissions(stem):
            for notebook in submission.notebooks:
                for grade in notebook.grades:
                    mark = (grade.auto_score, grade.manual_score, grade.needs_manual_grade, None)
                    found[submission.student.id, grade.name] = mark
                for comment in notebook.comments:
                    found[submission.student.id, comment.name] = (None, None, False, comment.auto_comment)
    return found


def command(folder: Path, stem: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "autograder", "grade", stem, "--course", str(folder), *options]


def descendants(pid: int) -> set[int]:
    """The processes below one, and itself."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parents[int(entry.name)] = int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found and child not in found}:
        found |= more
    return found


def alive(pids: set[int]) -> set[int]:
    """Those that still run; what is dead and only waits to be reaped does not count."""
    left = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            left.add(pid)
    return left


def kill_after(seconds: float, folder: Path, stem: str, *options: str) -> int | None:
    """Grade, and kill the grader after a while, nothing else; return how many submissions were done then.

    None if it ended before. Raises AssertionError if a process of it outlives it by more than half a minute.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    grader = subprocess.Popen(command(folder, stem, *options), stdout=subprocess.DEVNULL, env=environment)
    try:
        grader.wait(seconds)
        return None
    except subprocess.TimeoutExpired:
        family = descendants(grader.pid)
        grader.send_signal(signal.SIGKILL)
        grader.wait()
    deadline = time.monotonic() + 30
    while left := alive(family):
        assert time.monotonic() < deadline, f"processes {left} outlive their grader"
        time.sleep(0.1)
    return len(audit.latest(folder, stem))


def disturbed(folder: Path, stem: str, moments: Sequence[float], *options: str) -> list[int | None]:
    """Grade with a SIGKILL at each of these moments, in seconds after each start; then let it end."""
    done = [kill_after(seconds, folder, stem, *options) for seconds in moments]
    subprocess.run(command(folder, stem, *options), check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    return done


def main() -> None:
    console = Console()
    folder, stem, size, kills = Path(sys.argv[1]), "lstm", 100, 10
    shutil.rmtree(folder, ignore_errors=True)
    make_class(folder / "alone", stem, size)
    (folder / "alone/.secret").write_bytes(bytes(32))
    shutil.copytree(folder / "alone", folder / "killed")
    start = time.monotonic()
    subprocess.run(command(folder / "alone", stem), check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    seconds = time.monotonic() - start
    draw = random.Random(0)
    moments = [draw.uniform(0.1, 0.5) * seconds for _ in range(kills)]
    done = disturbed(folder / "killed", stem, moments)
    for moment, count in zip(moments, done, strict=True):
        console.print(f"killed after {moment:5.1f} s" if count is not None else "had ended", f"with {count} done")
    equal = marks(folder / "alone", stem) == marks(folder / "killed", stem)
    lines = audit.file_of(folder / "killed", stem).read_text().count("\n")
    console.print(f"{size} submissions, undisturbed in {seconds:.0f} s; {lines} lines in the audit record of the other")
    console.print("the gradebooks are equal" if equal else "THE GRADEBOOKS DIFFER")
    sys.exit(not equal)


if __name__ == "__main__":
    main()
