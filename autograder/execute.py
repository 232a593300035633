"""nbgrader's Execute preprocessor replaced: the cells run in the sandbox, the judge writes the check cells' outputs."""

import atexit
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader.api import Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Enum, Float

from autograder import audit, blocks, compose, forbidden, judge, kernel_source, question
from autograder.check import Answer, Call, Verdict, nothing
from autograder.sandbox import Child, ChildDiedError, Sandbox
from autograder.submission import files_of

Outcome = list[NotebookNode]
Judge = Callable[[question.Question, float, judge.Ask, str], Verdict]
QUIET_SECONDS = 60.0  # for laying files into the sandbox
OUT_OF_TIME = "not judged: the cells of this notebook used up the time of the whole notebook"
MAX_OUTPUTS = 20 << 20  # characters, of a whole notebook


class NotJudgedError(Exception):
    """A question that could not be judged for a fault of ours: never a mark."""


class JudgedExecute(NbGraderPreprocessor):  # type: ignore[misc]
    """Run a submission's cells in order; where a check cell stands, judge its question.

    A cell or a call that never ends, or ends the process, costs itself only: the cells before it run again in a
    fresh child without it, and grading goes on behind it. An assignment that is no block of the book has ordinary
    tests as nbgrader knows them: all its cells run in the sandbox, beside its files, and nothing is judged.

    What came out of it, for the audit record, is left in `resources["judged"]`.
    """

    sandbox = Enum(("bwrap", "none"), "bwrap", help="How to confine submissions.").tag(config=True)
    cell_seconds = Float(20.0, help="How long one cell may run.").tag(config=True)
    notebook_seconds = Float(120.0, help="How long one submission may run in all.").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        about = resources["nbgrader"]
        start = time.monotonic()
        judging = about["assignment"] in blocks.stems()
        worth = graded_points(about) if judging else {}
        if judging:
            compose.restore_check_cells(nb, worth)
        seeds = about["seeds"] if "seeds" in about else seeds_of(self._course(), about["student"], worth)
        asked = question.of_block(about["assignment"]) if judging else {}
        kept = keep_outputs(nb, about["kept"]) if "kept" in about else frozenset[str | None]()
        run = Run(
            sandbox=warm_sandbox(self.sandbox),
            questions={name: asked[name] for name in worth if name not in kept},
            decide=lambda asked, points, ask, uses: judge.judge(asked, points, int(seeds[asked.name], 16), ask, uses),
            cell_seconds=self.cell_seconds,
            deadline=time.monotonic() + self.notebook_seconds,
            files=about["files"] if "files" in about else self._files_beside(judging, resources),
            given=compose.kernel_cells(about["assignment"]) if judging else (),
        )
        run.all([cell for cell in nb.cells if compose.checked_question(cell) not in kept])
        judged = [{"notebook": about["notebook"], "seed": seeds[entry["name"]], **entry} for entry in run.entries]
        with_what = {"sandbox": run.sandbox.layers, "versions": dict(audit.versions())}
        resources["judged"] = {"seconds": round(time.monotonic() - start, 4), **with_what, "questions": judged}
        return nb, resources

    def _files_beside(self, judging: bool, resources: Mapping[str, Any]) -> dict[str, bytes]:
        """What nbgrader has put beside the notebook, which ordinary tests may read."""
        return {} if judging else dict(files_of(Path(resources["metadata"]["path"]), ()))

    def _course(self) -> Path:
        """The course folder, where nbgrader itself runs this: preprocessor, exporter, converter."""
        return Path(self.parent.parent.coursedir.root)


def graded_points(about: Mapping[str, Any]) -> dict[str, float]:
    """The points of each question as they were released: those of the gradebook, whatever the page says today."""
    with Gradebook(about["db_url"]) as gradebook:
        notebook = gradebook.find_notebook(about["notebook"], about["assignment"])
        return {cell.name.removeprefix("check-"): cell.max_score for cell in notebook.grade_cells}


def keep_outputs(nb: NotebookNode, kept: Mapping[str | None, Outcome]) -> frozenset[str | None]:
    """Put the outputs of an earlier judging back; return the questions that are not judged again."""
    for cell in nb.cells:
        name = compose.checked_question(cell)
        if name in kept:
            cell.outputs = kept[name]
    return frozenset(kept)


def seeds_of(course: Path, student: str, names: Iterable[str]) -> dict[str, str]:
    """The seeds of a student's questions, in hexadecimal. Raises UserError if the course's secret is damaged."""
    secret = judge.course_secret(course)
    return {name: f"{judge.seed(secret, student, name):016x}" for name in names}


@cache
def warm_sandbox(kind: str) -> Sandbox:
    """The sandbox of this process, started once. Raises UserError where it can't start."""
    sandbox = Sandbox(kind)
    atexit.register(sandbox.close)
    return sandbox


@dataclass
class Run:
    """One submission on its way through the sandbox; `entries` tells of each question that was judged.

    `given` holds the cells that stand in front of the kernels: a kernel is judged behind them, in a child of its own
    which sees nothing else of the notebook.
    """

    sandbox: Sandbox
    questions: Mapping[str, question.Question]
    decide: Judge
    cell_seconds: float
    deadline: float
    files: Mapping[str, bytes] = field(default_factory=dict)
    given: Sequence[str] = ()
    room: int = MAX_OUTPUTS
    entries: list[dict[str, Any]] = field(default_factory=list)

    def all(self, cells: Sequence[NotebookNode]) -> None:
        """Give every code cell its outputs, and judge every question. Raises NotJudgedError, SandboxLostError."""
        code = [cell for cell in cells if cell.cell_type == "code"]
        self._through(code)
        waiting = [number for number, cell in enumerate(code) if self._asks_for_kernel(cell)]
        while waiting:
            with self.sandbox.child() as child, suppress(TimeoutError, ChildDiedError):  # then a fresh one goes on
                self._prepare(child)
                while waiting:
                    number = waiting.pop(0)
                    self._judge_kernel(child, code[number], code[:number])

    def _through(self, code: Sequence[NotebookNode]) -> None:
        """Run the cells in order, in as many children as it takes, and judge what is no kernel.

        Each child runs the cells in order: again those that are done, but for the ones that ended a child, then the
        others. A cell that ends a child is not run again, unless it went well before: then it has a second chance.
        """
        skipped: set[int] = set()  # cells that ended a child
        doubted: set[int] = set()  # cells that ended a child only when they ran again, once
        done = 0  # cells whose outputs stand
        while done < len(code):
            with self.sandbox.child() as child:
                if self.files:
                    child.lay_files(self.files, QUIET_SECONDS)
                current = 0
                try:
                    for current, cell in enumerate(code):
                        if time.monotonic() >= self.deadline:
                            self._give_up(code[done:])
                            return
                        if current >= done:
                            self._step(child, cell, code[:current])
                            done = current + 1
                        elif current not in skipped and self._question(cell) is None:
                            child.run_cell(cell.source, self._left())  # again, for what it defines
                except (TimeoutError, ChildDiedError) as failure:
                    if current < done and current not in doubted:
                        doubted.add(current)
                        continue
                    self._spoil(code[current], failure)
                    skipped.add(current)
                    done = max(done, current + 1)

    def _question(self, cell: NotebookNode) -> str | None:
        name = compose.checked_question(cell)
        return name if name in self.questions else None

    def _asks_for_kernel(self, cell: NotebookNode) -> bool:
        name = self._question(cell)
        return name is not None and self.questions[name].tensors

    def _left(self) -> float:
        return max(0.05, min(self.cell_seconds, self.deadline - time.monotonic()))

    def _step(self, child: Child, cell: NotebookNode, before: Sequence[NotebookNode]) -> None:
        """Run a cell, or judge the question that it checks by what the cells `before` it have defined."""
        name = self._question(cell)
        if name is None:
            cell.outputs = self._affordable(outputs_of(child.run_cell(cell.source, self._left())))
            return
        if not self._asks_for_kernel(cell):
            sources = [earlier.source for earlier in before if self._question(earlier) is None]
            self._judge(child, cell, forbidden.used(sources, self.questions[name].called, self.questions[name].forbid))

    def _prepare(self, child: Child) -> None:
        """Give a child what stands in front of every kernel."""
        for source in (*self.given, kernel_source.SETUP):
            try:
                error = child.run_cell(source, QUIET_SECONDS)["error"]
            except (TimeoutError, ChildDiedError) as failure:
                raise NotJudgedError(f"no kernel can be judged in this sandbox: {failure}") from failure
            if error:
                raise NotJudgedError(f"no kernel can be judged in this sandbox: {error[0]}: {error[1]}")

    def _judge_kernel(self, child: Child, cell: NotebookNode, before: Sequence[NotebookNode]) -> None:
        """Judge a kernel by its source alone: it gets the book's host function and nothing of the student's cells."""
        name, worth = compose.checked_question(cell) or "", compose.points(cell)
        if time.monotonic() >= self.deadline:
            self._conclude(cell, nothing(name, worth, OUT_OF_TIME), 0.0)
            return
        own = [earlier.source for earlier in before if self._question(earlier) is None]
        start = time.monotonic()
        try:
            for source in kernel_source.alone(own, name, self.given):
                error = child.run_cell(source, self._left())["error"]
                if error:
                    raise kernel_source.NotAKernelError(f"{error[0]}: {error[1][:500]}")
        except kernel_source.NotAKernelError as error:
            self._conclude(cell, nothing(name, worth, str(error)), time.monotonic() - start)
            return
        except (TimeoutError, ChildDiedError):
            text = "defining this kernel, or what it calls, did not end well: what do its default values do?"
            self._conclude(cell, nothing(name, worth, text), time.monotonic() - start)
            raise
        self._judge(child, cell, "")

    def _judge(self, child: Child, cell: NotebookNode, uses: str) -> None:
        """Judge a question by what the cells of a child have defined."""
        name = compose.checked_question(cell) or ""
        asked = self.questions[name]
        failure: list[Exception] = []

        def ask(call: Call) -> Answer:
            try:
                return child.call(call, min(asked.seconds, self._left()))
            except (TimeoutError, ChildDiedError) as error:
                failure.append(error)
                raise

        start = time.monotonic()
        try:
            verdict = self.decide(asked, compose.points(cell), ask, uses)
        except Exception as error:
            raise NotJudgedError(f"question {name} could not be judged: {type(error).__name__}: {error}") from error
        self._conclude(cell, verdict, time.monotonic() - start)
        if failure:
            raise failure[0]

    def _affordable(self, outputs: Outcome) -> Outcome:
        """Outputs as long as those of all cells together stay within bounds, then errors only."""
        self.room -= sum(len(str(output)) for output in outputs)
        if self.room >= 0:
            return outputs
        note = "[left out: the outputs of this notebook are too large together]\n"
        return [new_output("stream", name="stdout", text=note), *(o for o in outputs if o.output_type == "error")]

    def _conclude(self, cell: NotebookNode, verdict: Verdict, seconds: float) -> None:
        cell.outputs = [output_of(verdict)]
        steps = [{"title": step.title, "passed": step.passed, "message": step.message} for step in verdict.steps]
        about = {"name": verdict.name, "seconds": round(seconds, 4), "points": verdict.points}
        self.entries.append({**about, "out_of": verdict.out_of, "mistake": verdict.mistake, "steps": steps})

    def _give_up(self, cells: Sequence[NotebookNode]) -> None:
        """The submission's time is up: what is left was not run."""
        for cell in cells:
            name = self._question(cell)
            if name is not None:
                self._conclude(cell, nothing(name, compose.points(cell), OUT_OF_TIME), 0.0)
            else:
                self._spoil(cell, TimeoutError())

    def _spoil(self, cell: NotebookNode, failure: Exception) -> None:
        """Say in a cell why it has no outputs; a check cell already has its verdict."""
        if self._question(cell) is None:
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
    for display in reply["displays"]:
        kept = {mime: text for mime, text in display["data"].items() if _harmless(mime, text)}
        if kept:
            outputs.append(new_output("execute_result" if display["result"] else "display_data", data=kept))
    if reply["error"]:
        name, text, trace = reply["error"]
        outputs.append(new_output("error", ename=name, evalue=text, traceback=trace.splitlines()))
    return outputs


def _harmless(mime: str, text: Any) -> bool:
    """Text, and pictures that are nothing but base64: feedback pages write them into an attribute as they are."""
    if not isinstance(text, str):
        return False
    return mime == "text/plain" or (mime == "image/png" and re.fullmatch(r"[A-Za-z0-9+/=\s]+", text) is not None)
