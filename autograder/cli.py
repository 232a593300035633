"""The commands: python -m autograder build | release | grade | feedback | report | export | doctor."""

import functools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import track

from autograder import blocks, compose, course, progress, sandbox, workers
from autograder import export as exporting
from autograder import feedback as returning
from autograder import grade as grading
from autograder import report as reporting
from autograder.errors import UserError

Command = Callable[..., Any]
COURSE = click.option(
    "--course", "folder", type=click.Path(path_type=Path), default=course.FOLDER, help="The course folder."
)
SANDBOX = click.option(
    "--sandbox",
    "kind",
    type=click.Choice(["bwrap", "none"]),
    default="bwrap",
    help="How to confine submissions.",
)

FEW = 8  # pages that one process has written before others have started


def one_line_errors(command: Command) -> Command:
    """Let a UserError end the command with its one line and exit status 2."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except UserError as error:
            click.echo(f"autograder: {error}", err=True)
            sys.exit(2)

    return wrapped


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Make exercise notebooks from the book, and grade what students hand in."""


@main.command()
@click.argument("stems", nargs=-1, metavar="[STEM]...")
@COURSE
@one_line_errors
def build(stems: tuple[str, ...], folder: Path) -> None:
    """Compose source/<STEM>/ of the course: the instructor's notebook and the public cases."""
    for stem in [blocks.require(stem) for stem in stems] or blocks.stems():
        click.echo(compose.build(stem, folder))


@main.command()
@click.argument("stems", nargs=-1, metavar="[STEM]...")
@click.option("--force", is_flag=True, help="Release again what students have handed in already.")
@COURSE
@one_line_errors
def release(stems: tuple[str, ...], folder: Path, force: bool) -> None:
    """Make release/<STEM>/, which students get: no solutions, check.py and the public cases beside it."""
    for stem in [blocks.require(stem) for stem in stems] or blocks.stems():
        if not force and any((folder / "submitted").glob(f"*/{stem}")):
            raise UserError(
                f"{stem} has been handed in already, and a new release may change what it is graded out of; "
                "if that is meant, add --force"
            )
        click.echo(course.release(folder, stem))


@main.command()
@click.argument("assignment")
@click.option("--only", "students", multiple=True, metavar="STUDENT", help="Grade this student only; may be repeated.")
@click.option("--force", is_flag=True, help="Grade again what is graded already.")
@click.option("--question", default="", metavar="NAME", help="Judge this question again and leave all other marks.")
@click.option("--workers", "count", type=click.IntRange(1), default=os.cpu_count(), help="Processes that judge.")
@click.option("--scheduler", default="", metavar="ADDRESS", help="Judge on the workers of this Dask scheduler.")
@COURSE
@SANDBOX
@one_line_errors
def grade(
    assignment: str,
    students: tuple[str, ...],
    force: bool,
    question: str,
    count: int,
    scheduler: str,
    folder: Path,
    kind: str,
) -> None:
    """Grade submitted/<student>/<ASSIGNMENT>/ of a class into the gradebook.

    What is graded already and has not changed is left alone, so a grader that was stopped goes on where it was.
    Exit status 2 if a submission could not be graded.
    """
    there = grading.submissions(folder, assignment)
    missing = sorted(set(students) - set(there))
    if missing:
        raise UserError(f"no submission of {', '.join(missing)} for {assignment} in {folder / 'submitted'}")
    opened = grading.open_assignment(folder, assignment, kind)
    grading.require_question(opened, question)
    chosen = list(dict.fromkeys(students)) or there
    cluster = workers.remote(scheduler) if scheduler else workers.local(min(count, len(chosen)), len(chosen) > 1)
    console = Console()
    records: list[grading.Record] = []
    try:
        with cluster as client:
            going = grading.grade(opened, chosen, client, force=force, only=question)
            for record in progress.of_class(going, assignment, len(chosen), console):
                records.append(record)
    except KeyboardInterrupt:
        console.print(f"stopped: {len(chosen) - len(records)} of {len(chosen)} are left; run this again to go on")
    progress.show(assignment, records, console)
    if len(records) < len(chosen) or any(record.problem for record in records):
        sys.exit(2)


@main.command()
@click.argument("assignment")
@click.option("--workers", "count", type=click.IntRange(1), default=os.cpu_count(), help="Processes that write.")
@COURSE
@one_line_errors
def feedback(assignment: str, count: int, folder: Path) -> None:
    """Write feedback/<student>/<ASSIGNMENT>/<ASSIGNMENT>.html for every graded submission."""
    students = returning.graded(folder, assignment)
    with workers.local(min(count, len(students)), len(students) > FEW) as client:
        pages = returning.write(folder, assignment, students, client)
        for _ in track(pages, "Writing feedback", len(students), console=Console(), transient=True):
            pass
    click.echo(folder / "feedback")


@main.command()
@click.argument("assignment")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@COURSE
@one_line_errors
def report(assignment: str, file: Path | None, folder: Path) -> None:
    """Write the class at a glance into one HTML FILE: marks, commonest mistakes, times, who needs a look."""
    click.echo(reporting.write(folder, assignment, file or folder / "report" / f"{assignment}.html"))


@main.command()
@click.argument("assignments", nargs=-1, metavar="[ASSIGNMENT]...")
@click.option("--to", "file", type=click.Path(path_type=Path), required=True, help="The file to write.")
@click.option("--for", "kind", type=click.Choice(list(exporting.KINDS)), default="csv", help="Who is to read it.")
@COURSE
@one_line_errors
def export(assignments: tuple[str, ...], file: Path, kind: str, folder: Path) -> None:
    """Write the marks into a CSV file that Canvas, Moodle or a spreadsheet reads."""
    click.echo(exporting.write(folder, kind, file, assignments))


@main.command()
@one_line_errors
def doctor() -> None:
    """Say what is installed here and which layers of the sandbox work."""
    click.echo(
        f"python {sys.version.split()[0]}, {os.cpu_count()} cores, bubblewrap: {shutil.which('bwrap') or 'missing'}"
    )
    for kind in ("bwrap", "none"):
        try:
            started = sandbox.Sandbox(kind)
            started.close()
            click.echo(f"--sandbox {kind}: works, with {', '.join(started.layers)}")
        except UserError as error:
            click.echo(f"--sandbox {kind}: {error}")
    click.echo(f"kernels: {_kernels()}")


def _kernels() -> str:
    """Whether kernels run here, and whether their use of memory can be watched."""
    try:
        from kernels import checker
    except ImportError as error:
        return str(error)
    return checker.why_not() or "run in Triton's interpreter, and their use of memory is watched"
