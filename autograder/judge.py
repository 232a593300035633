"""The trusted side of a question: fresh cases, the answers of a submission, a verdict."""

import hashlib
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from autograder.check import Answer, Call, Verdict, call_of, examine
from autograder.errors import UserError
from autograder.question import Question, draw_task, with_mistakes

SECRET_BYTES = 32
Ask = Callable[[Call], Answer]


def course_secret(course: Path) -> bytes:
    """Return the secret from which all seeds of a course derive; make it when the course has none yet.

    Raises UserError if the file has been damaged.
    """
    file = course / ".secret"
    if not file.exists():
        new = file.with_name(f".secret-{os.getpid()}")
        new.touch(mode=0o600)
        new.write_bytes(secrets.token_bytes(SECRET_BYTES))
        with suppress(FileExistsError):  # another grader was faster
            os.link(new, file)  # whole or not at all, whenever this process is killed
        new.unlink()
    secret = file.read_bytes()
    if len(secret) != SECRET_BYTES:
        raise UserError(f"{file} is damaged: restore it, or delete it and grade everybody again with new inputs")
    return secret


def seed(secret: bytes, student: str, question: str) -> int:
    """Derive the seed of one student's cases of one question: the same at every regrade, unknown to students."""
    text = f"{student}\0{question}".encode()
    return int.from_bytes(hashlib.blake2b(text, key=secret, digest_size=8).digest())


def judge(question: Question, points: float, seed: int, ask: Ask, uses: str = "") -> Verdict:
    """Ask a submission for its answers to fresh cases, and judge them.

    `uses` is what forbidden.used() found in its source.
    `ask` may raise TimeoutError, or ConnectionError when the submission's process is gone: this question then ends
    there, with an error for each case that is left.
    """
    task = draw_task(question, points, seed)
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
    verdict = examine(task, answers, reveal=False, uses=uses)
    if verdict.points == verdict.out_of:
        return verdict
    return examine(with_mistakes(question, task), answers, reveal=False, uses=uses)  # again, to name the mistake
