"""Grade every attack and print the verdicts: `python -m tests.attacks`; the exit status is 1 if one is wrong."""

import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from autograder import compose, course
from tests.attacks.attack import STEM, Attack
from tests.attacks.classroom import (
    ATTACKS,
    Classroom,
    close_sandbox,
    examine,
    fast_folder,
    last_classmate,
    one_worker,
    open_classroom,
)


def must_get(attack: Attack) -> str:
    """The verdict that an attack must get, in few words."""
    if attack.problem:
        return f"ungraded: {attack.problem}"
    named = [f"{name} {mark}" for name, mark in attack.marks.items()]
    return ", ".join([*named, f"{'the others' if named else 'all'} {attack.others}"])


def judged(classroom: Classroom, attack: Attack) -> list[str]:
    """Say what is wrong with an attack's verdict; an error of the suite is told like one."""
    try:
        return examine(classroom, attack)
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


def made_course(folder: Path) -> Path:
    """A course with the assignment released."""
    made = folder / "released"
    made.mkdir()
    compose.build(STEM, made)
    course.release(made, STEM)
    return made


def main() -> int:
    console = Console()
    if sys.platform != "linux":
        console.print("skipped: bubblewrap, which confines submissions, runs on Linux only")
        return 0
    start = time.monotonic()
    with (
        tempfile.TemporaryDirectory(dir=fast_folder()) as folder,
        one_worker() as client,
        open_classroom(Path(folder), made_course(Path(folder)), client) as classroom,
    ):
        going = track(ATTACKS, "Attacking", console=console, transient=True)
        found = {attack: judged(classroom, attack) for attack in going}
        last = last_classmate(classroom)
    close_sandbox()
    table = Table(title=f"{len(found)} attacks, graded in {time.monotonic() - start:.0f} s", expand=True)
    for column in ("row", "attack", "what it tries", "must get", "got", ""):
        table.add_column(column)
    for attack, problems in found.items():
        got = "; ".join(problems) or "that"
        table.add_row(attack.row, attack.name, attack.tries, must_get(attack), got, "WRONG" if problems else "right")
    table.add_row("", "last class-mate", "nothing", "all full", "; ".join(last) or "that", "WRONG" if last else "right")
    console.print(table)
    return 1 if last or any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
