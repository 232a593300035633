"""What an instructor sees in the terminal while a class is graded, and at the end."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from autograder.grade import Record

LONG = 60  # a class above this size is summed up, not listed


def of_class(going: Iterable[Record], assignment: str, total: int, console: Console) -> Iterator[Record]:
    """Pass records on, under a bar that tells what is done, what is left, how long it takes, and what failed."""
    kinds: Counter[str] = Counter()
    columns = (
        TextColumn("Grading {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failures]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(escape(assignment), total=total, failures="")
        for record in going:
            kinds[record.outcome] += 1
            bar.update(task, advance=1, failures=failures(kinds))
            yield record


def failures(kinds: Counter[str]) -> str:
    return ", ".join(f"{kinds[kind]} {kind}" for kind in ("unreadable", "retry") if kinds[kind])


def show(assignment: str, records: Sequence[Record], console: Console) -> None:
    """Print the marks of a class; of a long one only what needs a look."""
    kinds = Counter(record.outcome for record in records)
    listed = [record for record in records if record.problem or len(records) <= LONG]
    if listed:
        console.print(_table(assignment, listed))
    words = {
        "graded": "graded",
        "done": "graded before and unchanged",
        "unreadable": "unreadable",
        "retry": "not graded for a fault of the machine: run this again",
    }
    console.print("; ".join(f"{kinds[kind]} {text}" for kind, text in words.items() if kinds[kind]))


def _table(assignment: str, records: Sequence[Record]) -> Table:
    table = Table(title=escape(assignment))
    table.add_column("student")
    for heading in ("points", "of", "seconds"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for record in records:
        marks = ("–", "–") if record.problem else (f"{record.points:g}", f"{record.out_of:g}")
        seconds = f"{record.seconds:.2f}" if record.outcome == "graded" else "–"
        student = record.student.encode("utf-8", "replace").decode()
        table.add_row(escape(student), *marks, seconds, escape(record.problem))
    return table
