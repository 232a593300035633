"""Judge right answers and every known mistake on many draws, to find those that only few students would get.

`python -m tests.sweep [STEM ...] [--seconds 20]` spends that long on each question, of all blocks where none is named.
It prints each mistake that some draw let pass, that some draw gave another name, or that costs one student more than
another, with a seed that shows it; and it ends with 1 if there is any.
"""

import argparse
import os
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from rich.console import Console

from autograder import blocks, compose, question
from autograder.check import examine
from autograder.kill_matrix import answers, wrong_answer
from autograder.question import Question, make_task

RIGHT = "the right answer"
FEWEST = 10  # draws, however slow a question is


@dataclass(frozen=True)
class Outcome:
    """What came of an answer on a draw: its points, and the mistakes that it was told."""

    points: float
    told: tuple[str, ...]


@dataclass(frozen=True)
class Swept:
    """All outcomes of the answers to a question, each with the first seed that had it."""

    stem: str
    question: str
    out_of: float
    draws: int
    outcomes: dict[str, dict[Outcome, int]]

    def findings(self) -> Iterator[str]:
        for answer, outcomes in self.outcomes.items():
            wanted = Outcome(self.out_of, ()) if answer == RIGHT else None
            for outcome, seed in outcomes.items():
                if wanted and outcome != wanted:
                    yield f"{answer} gets {outcome.points:g} of {self.out_of:g} (seed {seed})"
                elif not wanted and outcome.points >= self.out_of:
                    yield f"{answer}: passes (seed {seed})"
                elif not wanted and outcome.told != (answer,):
                    yield f"{answer}: told {', '.join(outcome.told) or 'no mistake'} (seed {seed})"
            if len({outcome.points for outcome in outcomes}) > 1:
                marks = ", ".join(f"{outcome.points:g} (seed {seed})" for outcome, seed in outcomes.items())
                yield f"{answer}: marks differ: {marks}"


def sweep(stem: str, name: str, seconds: float) -> Swept:
    """Judge the answers to a question on one draw after the other until the time is up."""
    asked = question.of_block(stem)[name]
    (out_of,) = (exercise.points for exercise in compose.exercises(stem) if exercise.name == name)
    outcomes: dict[str, dict[Outcome, int]] = {}
    end = time.monotonic() + seconds
    seed = 0
    while seed < FEWEST or time.monotonic() < end:
        for answer, outcome in outcomes_on(asked, out_of, seed):
            outcomes.setdefault(answer, {}).setdefault(outcome, seed)
        seed += 1
    return Swept(stem, name, out_of, seed, outcomes)


def outcomes_on(asked: Question, out_of: float, seed: int) -> Iterator[tuple[str, Outcome]]:
    """What comes of each answer on one draw. A right kernel is left out: it is no function of arrays."""
    task = make_task(asked, out_of, seed)
    given = {name: wrong_answer(asked, name) for name in asked.mistakes}
    if not asked.tensors:
        given = {RIGHT: dict(zip(asked.called, asked.reference, strict=True)), **given}
    for name, functions in given.items():
        with warnings.catch_warnings(action="ignore"):
            verdict = examine(task, answers(task, functions), reveal=False)
        told = tuple(one for one, mistake in asked.mistakes.items() if verdict.mistake == mistake.message)
        yield name, Outcome(verdict.points, told)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stems", nargs="*", metavar="STEM", help="a block, such as lstm")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each question (default: 20)")
    arguments = parser.parse_args()
    stems = [blocks.require(stem) for stem in arguments.stems] or blocks.stems()
    console = Console(highlight=False)
    found = False
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        jobs = [
            processes.submit(sweep, stem, name, arguments.seconds) for stem in stems for name in question.of_block(stem)
        ]
        for job in jobs:
            swept = job.result()
            findings = list(swept.findings())
            found = found or bool(findings)
            console.print(f"{swept.stem}  {swept.question}: {swept.draws} draws, {len(findings) or 'no'} findings")
            for finding in findings:
                console.print(f"    {finding}", markup=False, soft_wrap=True)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
