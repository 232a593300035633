"""A class to grade: honest, mistaken, hostile and unlucky submissions of a block, with the verdict each must get.

`python -m tests.sample_class FOLDER [STEM ...]` makes a course of its own in a folder, hands in, grades, writes
feedback and report and prints the marks, for each block named (all of them where none is). What was in the folder is
deleted.
"""

import builtins
import html
import keyword
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell
from rich.console import Console
from rich.table import Table

from autograder import blocks, compose, course, feedback, judge, progress, report, workers
from autograder import grade as grading
from autograder.errors import UserError
from autograder.question import Mistake, of_block


@dataclass(frozen=True)
class Submission:
    """What a student hands in, and what must come of it: the questions that lose points, and the words that say why."""

    student: str
    notebook: NotebookNode | str
    says: Mapping[str, str]
    graded: bool = True


def solved(stem: str) -> NotebookNode:
    """The block's notebook with the reference's answers."""
    return compose.source_notebook(stem)


def answer_cell(notebook: NotebookNode, name: str) -> NotebookNode:
    return next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == name)


def edits(stem: str, cell: NotebookNode, mistake: Mistake) -> list[tuple[str, str]]:
    """The edits that make a mistake in an answer; none where they do not fit, or call what the notebook has not."""
    written = [function for function in mistake.functions if f"def {function.__name__}" in cell.source]
    found = [edit for function in written for edit in getattr(function, "edits", ())]
    called = {name for _, new in found for name in re.findall(r"(?<![\w.])(\w+)\(", new)}
    known = words(cell.source) | of_block(stem).keys() | given(stem).keys() | set(dir(builtins)) | set(keyword.kwlist)
    return found if called <= known and all(cell.source.count(old) == 1 for old, _ in found) else []


def words(source: str) -> set[str]:
    return set(re.findall(r"\w+", source))


@cache
def given(stem: str) -> dict[str, str]:
    """The source of each function that the notebook gives."""
    ids = {cell.metadata.get("nbgrader", {}).get("grade_id", ""): cell for cell in solved(stem).cells}
    return {name.removeprefix("given-"): cell.source for name, cell in ids.items() if name.startswith("given-")}


@cache
def used(stem: str) -> dict[str, set[str]]:
    """For each question, those whose answers are called when it is judged: by its own answer, by what is given, or by
    the grader."""
    notebook, questions, helpers = solved(stem), of_block(stem), given(stem)
    found = {}
    for name, question in questions.items():
        called = words(answer_cell(notebook, name).source) | {function.__name__ for function in question.reference}
        for helper in called & helpers.keys():
            called |= words(helpers[helper])
        found[name] = (called & questions.keys()) - {name}
    return found


def needed(stem: str, name: str) -> set[str]:
    """The questions that a question builds on, and those that they build on."""
    found, new = set[str](), {name}
    while new:
        found |= new
        new = {other for one in new for other in used(stem)[one]} - found
    return found - {name}


def mistaken(stem: str) -> Iterator[Submission]:
    """Each named mistake that can be made by an edit of the answer, once.

    A student makes one mistake in each of several questions, none of which builds on another of them.
    """
    builds_on = {name: needed(stem, name) | {name} for name in of_block(stem)}
    students: list[dict[str, Mistake]] = []
    for name, question in of_block(stem).items():
        cell = answer_cell(solved(stem), name)
        for mistake in question.mistakes.values():
            if edits(stem, cell, mistake):
                free = (
                    made for made in students if not any(name in builds_on[o] or o in builds_on[name] for o in made)
                )
                made = next(free, None)
                if made is None:
                    students.append(made := {})
                made[name] = mistake
    for number, made in enumerate(students, 1):
        says = {name: mistake.message for name, mistake in made.items()}
        yield Submission(f"mistaken-{number}", with_mistakes(stem, made), says)


def with_mistakes(stem: str, made: Mapping[str, Mistake]) -> NotebookNode:
    """The solved notebook with a slip made in each of some answers."""
    notebook = solved(stem)
    for name, mistake in made.items():
        cell = answer_cell(notebook, name)
        for old, new in edits(stem, cell, mistake):
            cell.source = cell.source.replace(old, new)
    return notebook


def without_masks(stem: str) -> Iterator[Submission]:
    """A student who forgets the masks of the first kernel that has any."""
    for name, question in of_block(stem).items():
        notebook = solved(stem)
        cell = answer_cell(notebook, name)
        bare = cell.source.replace(", mask=mask, other=0.0", "").replace(", mask=mask", "")
        if question.tensors and bare != cell.source:
            cell.source = bare
            yield Submission("no-masks", notebook, {name: "Did you forget mask=?"})
            return


def as_given(stem: str) -> Iterator[Submission]:
    """Students who hand in the wrong code that a question gives them to mend."""
    for exercise in compose.exercises(stem):
        given = re.search(rf"```python\n((?:@.*\n)?def {exercise.name}\(.*?)```", exercise.text, re.DOTALL)
        if given:
            notebook = solved(stem)
            answer_cell(notebook, exercise.name).source = given[1]
            yield Submission(f"{exercise.name}-as-given", notebook, {exercise.name: "bugs are there"})


def edited(stem: str, change: Callable[[NotebookNode], None]) -> NotebookNode:
    notebook = solved(stem)
    change(notebook)
    return notebook


def first_line(name: str, line: str) -> Callable[[NotebookNode], None]:
    """A change that puts a line in front of the body of an answer."""

    def change(notebook: NotebookNode) -> None:
        cell = answer_cell(notebook, name)
        cell.source = cell.source.replace("    ### BEGIN SOLUTION", f"    {line}\n    ### BEGIN SOLUTION", 1)

    return change


def cell_in_front(source: str) -> Callable[[NotebookNode], None]:
    return lambda notebook: notebook.cells.insert(3, new_code_cell(source))


def without_check(name: str) -> Callable[[NotebookNode], None]:
    def change(notebook: NotebookNode) -> None:
        notebook.cells = [cell for cell in notebook.cells if compose.checked_question(cell) != name]

    return change


def unlucky(stem: str, released: NotebookNode) -> Iterator[Submission]:
    """The right answers, none, and what happens to real submissions."""
    questions = of_block(stem)
    names = list(questions)
    alone = [name for name in reversed(names) if not any(name in needed(stem, other) for other in names)]
    stuck = alone[0]
    exits = next((name for name in alone if not questions[name].tensors), stuck)  # no kernel can, as no GPU's could
    ended = "Triton has no Import" if questions[exits].tensors else "the process ended"
    plots = "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()"
    yield Submission("all-right", solved(stem), {})
    yield Submission("empty-stubs", released, dict.fromkeys(names, "is not implemented yet"))
    yield Submission("plots", edited(stem, cell_in_front(plots)), {})
    yield Submission("sys-exit", edited(stem, cell_in_front("import sys\nsys.exit()")), {})
    leaves, loops = first_line(exits, "import os; os._exit(0)"), first_line(stuck, "while True: pass")
    yield Submission("exits-in-answer", edited(stem, leaves), {exits: ended})
    yield Submission("loops-for-ever", edited(stem, loops), {stuck: "a loop that never ends"})
    yield Submission("deleted-check", edited(stem, without_check(names[0])), {})
    yield Submission("unreadable", "{ this is no notebook", {}, graded=False)


def submissions(stem: str, released: NotebookNode) -> list[Submission]:
    return [*unlucky(stem, released), *mistaken(stem), *without_masks(stem), *as_given(stem)]


def hand_in(folder: Path, stem: str, submission: Submission) -> None:
    path = folder / "submitted" / submission.student / stem
    path.mkdir(parents=True, exist_ok=True)
    if isinstance(submission.notebook, str):
        (path / f"{stem}.ipynb").write_text(submission.notebook, encoding="utf-8")
    else:
        nbformat.write(submission.notebook, path / f"{stem}.ipynb")


def verdict_problem(folder: Path, stem: str, submission: Submission) -> str:
    """Say how the verdict on a graded submission differs from the one that it must get; empty if it does not."""
    notebook = nbformat.read(folder / "autograded" / submission.student / stem / f"{stem}.ipynb", 4)
    checks = {compose.checked_question(cell): cell for cell in notebook.cells if compose.checked_question(cell)}
    lost = {name for name, cell in checks.items() if float(cell.outputs[0].data["text/plain"]) < compose.points(cell)}
    dependent = {name for name in checks if needed(stem, name) & submission.says.keys()}
    if not submission.says.keys() <= lost or lost - submission.says.keys() - dependent:
        return f"lost points in {sorted(lost)}, expected {sorted(submission.says)}"
    page = (folder / "feedback" / submission.student / stem / f"{stem}.html").read_text(encoding="utf-8")
    said = html.unescape(page)
    unsaid = [words for words in submission.says.values() if words not in said]
    return "" if not unsaid else f"the feedback does not say: {unsaid}"


def grade_class(folder: Path, stem: str, console: Console) -> list[str]:
    """Hand in, grade and write the feedback of a block's class; print the marks. Return what is not as it must be."""
    course.release(folder, stem)
    released = nbformat.read(folder / "release" / stem / f"{stem}.ipynb", 4)
    students = {submission.student: submission for submission in submissions(stem, released)}
    for submission in students.values():
        hand_in(folder, stem, submission)
    order = {student: number for number, student in enumerate(students)}
    start = time.monotonic()
    opened = grading.open_assignment(folder, stem)
    with workers.local(os.cpu_count() or 1) as client:
        going = grading.grade(opened, list(students), client)
        records = sorted(progress.of_class(going, stem, len(students), console), key=lambda r: order[r.student])
        seconds = time.monotonic() - start
        list(feedback.write(folder, stem, feedback.graded(folder, stem), client))
    report.write(folder, stem, folder / "report" / f"{stem}.html")
    table = Table(title=f"{stem}: a sample class of {len(records)}, graded in {seconds:.0f} s", expand=True)
    table.add_column("student", no_wrap=True)
    table.add_column("points", no_wrap=True, justify="right")
    table.add_column("right", no_wrap=True)
    table.add_column("the feedback says", no_wrap=True, overflow="ellipsis", ratio=1)
    wrong = []
    for record in records:
        submission = students[record.student]
        problem = verdict_problem(folder, stem, submission) if not record.problem else ""
        good = submission.graded == (not record.problem) and not problem
        if not good:
            wrong.append(f"{stem}, {record.student}: {problem or record.problem or 'graded, and must not be'}")
        marks = f"{record.points:g}/{record.out_of:g}" if not record.problem else "–"
        said = "\n".join(dict.fromkeys(submission.says.values()))
        table.add_row(record.student, marks, "yes" if good else "NO", problem or record.problem or said)
    console.print(table)
    return wrong


def main() -> None:
    console = Console()
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / ".secret").write_bytes(bytes(judge.SECRET_BYTES))  # the same numbers, and so the same marks, every time
    try:
        stems = [blocks.require(stem) for stem in sys.argv[2:]] or blocks.stems()
        wrong = [line for stem in stems for line in grade_class(folder, stem, console)]
    except UserError as error:
        sys.exit(f"sample class: {error}")
    if wrong:
        sys.exit("\n".join(["sample class: a verdict is not as it must be", *wrong]))


if __name__ == "__main__":
    main()
