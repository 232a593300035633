"""nbgrader's Execute preprocessor replaced: the cells run in the sandbox, the judge writes the check cells' outputs."""

import atexit
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.api import Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Enum, Float

from autograder import compose, judge, question
from autograder.check import Answer, Call, Verdict, nothing
from autograder.sandbox import Child, ChildDiedError, Sandbox

LOGGER = logging.getLogger(__name__)
Outcome = list[NotebookNode]
Judge = Callable[[question.Question, float, judge.Ask], Verdict]


class JudgedExecute(NbGraderPreprocessor):  # type: ignore[misc]
    """Run a submission's cells in order; where a check cell stands, judge its question.

    A cell or a call that never ends, or ends the process, costs itself only: the cells before it run again in a
    fresh child without it, and grading goes on behind it.
    """

    sandbox = Enum(("bwrap", "none"), "bwrap", help="How to confine submissions.").tag(config=True)
    cell_seconds = Float(20.0, help="How long one cell may run.").tag(config=True)
    notebook_seconds = Float(120.0, help="How long one submission may run in all.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        stem = resources["nbgrader"]["notebook"]
        student = resources["nbgrader"]["student"]
        compose.restore_check_cells(nb, graded_points(resources["nbgrader"]))
        secret = judge.course_secret(Path(self.parent.parent.coursedir.root))  # preprocessor, exporter, converter

        def decide(asked: question.Question, points: float, ask: judge.Ask) -> Verdict:
            return judge.judge(asked, points, judge.seed(secret, student, asked.name), ask)

        run = Run(warm_sandbox(self.sandbox), decide, self.cell_seconds, time.monotonic() + self.notebook_seconds)
        run.all(nb.cells, question.of_block(stem))
        return nb, resources


def graded_points(about: dict[str, Any]) -> dict[str, float]:
    """The points of each question as they were released: those of the gradebook, whatever the page says today."""
    with Gradebook(about["db_url"]) as gradebook:
        notebook = gradebook.find_notebook(about["notebook"], about["assignment"])
        return {cell.name.removeprefix("check-"): cell.max_score for cell in notebook.grade_cells}


@cache
def warm_sandbox(kind: str) -> Sandbox:
    """The sandbox of this process, started once. Raises UserError where it can't start."""
    sandbox = Sandbox(kind)
    atexit.register(sandbox.close)
    return sandbox


@dataclass
class Run:
    """One submission on its way through the sandbox."""

    sandbox: Sandbox
    decide: Judge
    cell_seconds: float
    deadline: float

    def all(self, cells: Sequence[NotebookNode], questions: Mapping[str, question.Question]) -> None:
        """Give every code cell its outputs, in as many children as it takes.

        Each child runs the cells in order: again those that are done, but for the ones that ended a child, then the
        others. A cell that ends a child is not run again.
        """
        code = [cell for cell in cells if cell.cell_type == "code"]
        skipped: set[int] = set()  # cells that ended a child
        done = 0  # cells whose outputs stand
        while done < len(code):
            with self.sandbox.child() as child:
                current = 0
                try:
                    for current, cell in enumerate(code):
                        if time.monotonic() >= self.deadline:
                            self._give_up(code[done:])
                            return
                        if current >= done:
                            self._step(child, cell, questions)
                            done = current + 1
                        elif current not in skipped and compose.checked_question(cell) is None:
                            child.run_cell(cell.source, self._left())  # again, for what it defines
                except (TimeoutError, ChildDiedError) as failure:
                    self._spoil(code[current], failure)
                    skipped.add(current)
                    done = max(done, current + 1)

    def _left(self) -> float:
        return max(0.05, min(self.cell_seconds, self.deadline - time.monotonic()))

    def _step(self, child: Child, cell: NotebookNode, questions: Mapping[str, question.Question]) -> None:
        name = compose.checked_question(cell)
        if name is None:
            cell.outputs = outputs_of(child.run_cell(cell.source, self._left()))
            return
        failure: list[Exception] = []

        def ask(call: Call) -> Answer:
            try:
                return child.call(call, min(questions[name].seconds, self._left()))
            except (TimeoutError, ChildDiedError) as error:
                failure.append(error)
                raise

        try:
            verdict = self.decide(questions[name], compose.points(cell), ask)
        except Exception as error:  # a fault of ours, or an answer that nobody thought of: never a mark
            LOGGER.exception("question %s could not be judged", name)
            verdict = nothing(name, compose.points(cell), f"could not be judged: {type(error).__name__}: {error}")
        cell.outputs = [output_of(verdict)]
        if failure:
            raise failure[0]

    def _give_up(self, cells: Sequence[NotebookNode]) -> None:
        """The submission's time is up: what is left was not run."""
        for cell in cells:
            name = compose.checked_question(cell)
            if name is not None:
                message = "not judged: the cells of this notebook used up the time of the whole notebook"
                cell.outputs = [output_of(nothing(name, compose.points(cell), message))]

    def _spoil(self, cell: NotebookNode, failure: Exception) -> None:
        """Say in a cell why it has no outputs; a check cell already has its verdict."""
        if compose.checked_question(cell) is None:
            late = isinstance(failure, TimeoutError)
            text = "This cell did not end in time and was stopped." if late else "This cell ended the process."
            cell.outputs = [new_output("error", ename=type(failure).__name__, evalue=text, traceback=[text])]


def output_of(verdict: Verdict) -> NotebookNode:
    """The output of a check cell: its text is the score, which is what nbgrader reads; its HTML is for people."""
    data = {"text/plain": f"{verdict.points}", "text/html": verdict._repr_html_()}
    return new_output("execute_result", data=data, execution_count=None)


def outputs_of(reply: dict[str, Any]) -> Outcome:
    """The outputs of a student's cell as notebook nodes, text and pictures only."""
    outputs = [new_output("stream", name=name, text=reply[name]) for name in ("stdout", "stderr") if reply[name]]
    for data in reply["displays"]:
        kept = {mime: text for mime, text in data.items() if _harmless(mime, text)}
        if kept:
            outputs.append(new_output("display_data", data=kept))
    if reply["error"]:
        name, text, trace = reply["error"]
        outputs.append(new_output("error", ename=name, evalue=text, traceback=trace.splitlines()))
    return outputs


def _harmless(mime: str, text: Any) -> bool:
    """Text, and pictures that are nothing but base64: feedback pages write them into an attribute as they are."""
    if not isinstance(text, str):
        return False
    return mime == "text/plain" or (mime == "image/png" and re.fullmatch(r"[A-Za-z0-9+/=\s]+", text) is not None)
