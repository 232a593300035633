"""The commands: python -m autograder build | release | grade | feedback | doctor."""

import functools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from autograder import blocks, compose, course, sandbox
from autograder import grade as grading
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
@click.argument("stem")
@click.option("--only", "students", multiple=True, metavar="STUDENT", help="Grade this student only; may be repeated.")
@COURSE
@SANDBOX
@one_line_errors
def grade(stem: str, students: tuple[str, ...], folder: Path, kind: str) -> None:
    """Grade submitted/<student>/<STEM>/ of a class into the gradebook. Exit status 2 if one could not be graded."""
    there = grading.submissions(folder, stem)
    missing = sorted(set(students) - set(there))
    if missing:
        raise UserError(f"no submission of {', '.join(missing)} for {stem} in {folder / 'submitted'}")
    chosen = list(dict.fromkeys(students)) or there
    console = Console()
    records: list[grading.Record] = []
    going = grading.grade(folder, stem, chosen, kind)
    try:
        for record in track(going, f"Grading {stem}", total=len(chosen), console=console, transient=True):
            records.append(record)
    except KeyboardInterrupt:
        console.print(f"stopped: {len(chosen) - len(records)} of {len(chosen)} are left; run this again to go on")
    console.print(table(stem, records))
    if len(records) < len(chosen) or any(record.problem for record in records):
        sys.exit(2)


def table(stem: str, records: list[grading.Record]) -> Table:
    """The marks of a class as a table for the terminal."""
    shown = Table(title=f"{stem}: {len(records)} submissions")
    for heading, justify in (
        ("student", "left"),
        ("points", "right"),
        ("of", "right"),
        ("seconds", "right"),
        ("", "left"),
    ):
        shown.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for record in records:
        marks = ("–", "–") if record.problem else (f"{record.points:g}", f"{record.out_of:g}")
        shown.add_row(escape(record.student), *marks, f"{record.seconds:.2f}", escape(record.problem))
    return shown


@main.command()
@click.argument("stem")
@COURSE
@one_line_errors
def feedback(stem: str, folder: Path) -> None:
    """Write feedback/<student>/<STEM>/<STEM>.html for every graded submission."""
    api = course.api(folder)
    if not any((folder / "autograded").glob(f"*/{blocks.require(stem)}")):
        raise UserError(f"nothing of {stem} has been graded yet: run `python -m autograder grade {stem}` first")
    result = api.generate_feedback(stem)
    if not result["success"]:
        raise UserError(f"nbgrader could not write the feedback: {course.reason(result)}")
    click.echo(folder / "feedback")


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
