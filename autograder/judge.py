"""The trusted side of a question: fresh cases, the answers of a submission, a verdict."""

import hashlib
import secrets
from collections.abc import Callable
from pathlib import Path

from autograder.check import Answer, Call, Verdict, call_of, examine
from autograder.question import Question, make_task

Ask = Callable[[Call], Answer]


def course_secret(course: Path) -> bytes:
    """Return the secret from which all seeds of a course derive; make it when the course has none yet."""
    file = course / ".secret"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_bytes(secrets.token_bytes(32))
    return file.read_bytes()


def seed(secret: bytes, student: str, question: str) -> int:
    """Derive the seed of one student's cases of one question: the same at every regrade, unknown to students."""
    text = f"{student}\0{question}".encode()
    return int.from_bytes(hashlib.blake2b(text, key=secret, digest_size=8).digest())


def judge(question: Question, points: float, seed: int, ask: Ask) -> Verdict:
    """Ask a submission for its answers to fresh cases, and judge them.

    `ask` may raise TimeoutError, or ConnectionError when the submission's process is gone: this question then ends
    there, with an error for each case that is left.
    """
    task = make_task(question, points, seed)
    answers: list[Answer] = []
    error = ""
    for case in task.cases:
        if not error:
            try:
                answers.append(ask(call_of(task, case)))
                continue
            except TimeoutError:
                error = f"no answer within {question.seconds:g} s: is there a loop that never ends?"
            except ConnectionError:
                error = "the process ended during the call: did it exit, or run out of memory?"
        answers.append(Answer(error=error))
    return examine(task, answers, reveal=False)
