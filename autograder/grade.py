"""Grade a class: workers judge, this process alone writes the gradebook, and no submission can stop the others.

A submission is done when its line stands in the audit record, which is written last. A grader that was killed and
starts again goes on with those that have none.
"""

from asyncio import CancelledError
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distributed import Client, Future, as_completed
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config

from autograder import audit, blocks, course, definition, gradebook, marks, pipeline, submission, workers
from autograder.errors import UserError
from autograder.execute import seeds_of
from autograder.submission import Submission, UnreadableError

AHEAD = 2  # submissions that wait at each worker
TRIES = 2


@dataclass(frozen=True)
class Record:
    """What became of one submission.

    `outcome` is "graded", "done" (graded before, unchanged since), "unreadable", or "retry" where the machine was at
    fault; of the last two `problem` tells why.
    """

    student: str
    outcome: str
    points: float = 0.0
    out_of: float = 0.0
    seconds: float = 0.0
    problem: str = ""


@dataclass(frozen=True)
class Assignment:
    """All that grading needs to know of an assignment: what was released, and the files that its tests read."""

    name: str
    folder: Path
    config: Config
    coursedir: CourseDirectory
    defined: str
    files: Mapping[str, bytes]


def submissions(folder: Path, assignment: str) -> list[str]:
    """The students who handed in an assignment, sorted. Raises UserError if there is no course, or nobody did."""
    if not folder.is_dir():
        raise UserError(f"there is no course in {folder}: make one with `python -m autograder build`")
    students = sorted(path.parent.name for path in (folder / "submitted").glob(f"*/{assignment}") if path.is_dir())
    if not students:
        raise UserError(f"no submission lies in {folder / 'submitted'}/<student>/{assignment}/")
    return students


def open_assignment(folder: Path, name: str, sandbox: str = "bwrap") -> Assignment:
    """Read what was released, and for ordinary tests the files beside them.

    Raises UserError if there is no course, if nothing of that name was released in it, or if a file is none.
    """
    config = course.configure(Config(), course.require(folder), sandbox)
    coursedir = CourseDirectory(config=config)
    with marks.gradebook(folder) as opened:
        defined = definition.of_assignment(opened, name)
    if name in blocks.stems():
        course.require_questions(name, definition.questions(defined))
        return Assignment(name, folder, config, coursedir, defined, {})
    source = Path(coursedir.format_path(coursedir.source_directory, ".", name))
    try:
        files = dict(submission.files_of(source, coursedir.ignore))
    except UnreadableError as error:
        raise UserError(f"what lies in {source} can't go with a submission: {error}") from error
    return Assignment(name, folder, config, coursedir, defined, files)


def require_question(assignment: Assignment, name: str) -> None:
    """Raise UserError if an assignment has no question of that name that can be judged alone; "" is none."""
    if name and assignment.name not in blocks.stems():
        raise UserError(f"the tests of {assignment.name} are its own cells, which run together: use --force")
    known = definition.questions(assignment.defined)
    if name and name not in known:
        raise UserError(f"{assignment.name} has no question {name!r}; it has: {', '.join(known)}")


def grade(
    assignment: Assignment, students: Sequence[str], client: Client, *, force: bool = False, only: str = ""
) -> Iterator[Record]:
    """Grade submissions as the workers finish them, and yield a record of each.

    What was graded before and has not changed since is left as it is, unless `force`. With `only`, that question is
    judged again in the submissions that were graded before, and nothing else of theirs changes.

    Raises UserError before the first one if a sandbox can't start.
    """
    workers.start_sandboxes(client, assignment.config.JudgedExecute.sandbox)
    room = AHEAD * max(1, sum(client.nthreads().values()))
    waiting = _jobs(assignment, students, force, only)
    judging = as_completed([], loop=client.loop)
    sent: dict[Future, Job] = {}
    try:
        while True:
            while len(sent) < room and (job := next(waiting, None)):
                if isinstance(job, Record):
                    yield job
                else:
                    future = client.submit(pipeline.judged, *job.arguments, retries=TRIES - 1, pure=False)
                    sent[future] = job
                    judging.add(future)
            if not sent:
                return
            future = next(judging)
            yield _conclude(assignment, sent.pop(future), future)
            future.release()
    finally:
        client.cancel(list(sent))


@dataclass(frozen=True)
class Job:
    """A submission for a worker to judge; `before` is its audit record where only one question is judged again."""

    read: Submission
    arguments: tuple[Any, ...]
    only: str
    before: Mapping[str, Any]


def _jobs(assignment: Assignment, students: Sequence[str], force: bool, only: str) -> Iterator[Job | Record]:
    """What is to be judged, and the records of those that need no worker."""
    records = audit.latest(assignment.folder, assignment.name)
    with marks.gradebook(assignment.folder) as opened:
        standing = marks.submissions(opened, assignment.name)
    for student in students:
        before = records.get(student, {})
        try:
            read = _read(assignment, student)
        except UnreadableError as error:
            yield _refused(assignment, student, "unreadable", str(error))
            continue
        done = _done(assignment, read, before) and student in standing and standing[student].graded
        if done and not force and not only:
            yield Record(student, "done", standing[student].score, definition.worth(assignment.defined))
        else:
            yield _job(assignment, read, only if done else "", before)


def _read(assignment: Assignment, student: str) -> Submission:
    """Read a submission; ordinary tests may need the files that it brings, and those of the course."""
    names = definition.notebooks(assignment.defined)
    ignored = ["*"] if assignment.name in blocks.stems() else assignment.coursedir.ignore
    read = submission.read(assignment.folder, student, assignment.name, names, ignored)
    return replace(read, files={**read.files, **assignment.files})


def _done(assignment: Assignment, read: Submission, before: Mapping[str, Any]) -> bool:
    """True for a submission that was graded as it is and whose autograded notebooks are still there."""
    same = before.get("digest") == read.digest and before.get("definition") == definition.digest(assignment.defined)
    folder = gradebook.autograded(assignment.coursedir, read.student, read.assignment)
    there = all((folder / f"{name}.ipynb").exists() for name in read.notebooks)
    return before.get("outcome") == "graded" and same and there


def _job(assignment: Assignment, read: Submission, only: str, before: Mapping[str, Any]) -> Job:
    seeds = seeds_of(assignment.folder, read.student, definition.questions(assignment.defined))
    folder = gradebook.autograded(assignment.coursedir, read.student, read.assignment)
    earlier = {name: (folder / f"{name}.ipynb").read_text("utf-8") for name in read.notebooks} if only else {}
    config = Config({name: part for name, part in assignment.config.items() if name != "CourseDirectory"})  # a password
    return Job(read, (read, assignment.defined, seeds, config, earlier, only), only, before)


def _conclude(assignment: Assignment, job: Job, future: Future) -> Record:
    """Write what a worker found into the gradebook, then into the audit record."""
    student = job.read.student
    try:
        judged: pipeline.Judged = future.result()
        gradebook.save(assignment.coursedir, assignment.config, job.read, judged, job.only)
        points = gradebook.score(assignment.coursedir, student, assignment.name)
    except UnreadableError as error:
        return _refused(assignment, student, "unreadable", str(error))
    except (Exception, CancelledError) as error:
        return _refused(assignment, student, "retry", course.fault(error))
    about = dict(judged.about)
    if job.only:
        again = {entry["name"]: entry for entry in about["questions"]}
        about["questions"] = [again.get(entry["name"], entry) for entry in job.before["questions"]]
    written = {"digest": job.read.digest, "definition": definition.digest(assignment.defined), **about}
    audit.append(assignment.folder, audit.entry(student, assignment.name, "graded", problem="", **written))
    return Record(student, "graded", points, definition.worth(assignment.defined), judged.about["seconds"])


def _refused(assignment: Assignment, student: str, outcome: str, problem: str) -> Record:
    """The record of a submission without marks. An earlier mark stands only where the machine was at fault."""
    if outcome == "unreadable" and submission.is_text(student):  # no gradebook holds another name
        try:
            gradebook.take_back(assignment.coursedir, student, assignment.name)
        except Exception as error:
            outcome, problem = "retry", course.fault(error)
    entry = audit.entry(student, assignment.name, outcome, problem=problem, seconds=0.0, questions=[])
    audit.append(assignment.folder, entry)
    return Record(student, outcome, problem=problem)
