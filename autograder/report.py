"""The class report: one page about how an assignment went, which mistakes were made, and who needs a look."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from autograder import audit, marks, plots
from autograder.errors import UserError
from autograder.marks import Cell, Submission

Records = Mapping[str, Mapping[str, Any]]
TEMPLATE = "report.html.j2"
LONGEST = 400  # characters of a message
OUTLYING = 5.0  # times the median of the class, and a second more
# how the judge's messages of a question begin
NO_ANSWER = ("no answer within", "not judged:")
ENDED = ("the process ended",)


@dataclass(frozen=True)
class QuestionMarks:
    """How the class did in one question, over those who have a mark; the shares are None where it is out of 0."""

    notebook: str
    name: str
    out_of: float
    graded: int
    mean: float | None
    full: float | None
    zero: float | None


@dataclass(frozen=True)
class Mistakes:
    """The named mistakes of one question, commonest first, each with how many made it; `lost` had less than all."""

    notebook: str
    name: str
    lost: int
    counts: Sequence[tuple[str, int]]

    @property
    def named(self) -> int:
        return sum(count for _, count in self.counts)


@dataclass(frozen=True)
class Times:
    """Seconds: of one question, or of a whole submission."""

    name: str
    count: int
    median: float
    most: float  # 95th percentile
    longest: float


@dataclass(frozen=True)
class Look:
    """Who needs a look for one reason: students, each with what to look at."""

    title: str
    advice: str
    rows: Sequence[tuple[str, Sequence[str]]]


def write(course: Path, assignment: str, file: Path) -> Path:
    """Write the report of an assignment as one HTML file that needs nothing else. Returns the file.

    Raises UserError if there is no such course or assignment, nothing was graded, or the file can't be written.
    """
    with marks.gradebook(course) as gradebook:
        marks.require(gradebook, assignment)
        cells = marks.cells(gradebook, assignment)
        submissions = marks.submissions(gradebook, assignment)
        names = {there.id: _name(there.first_name, there.last_name) for there in gradebook.students}
    records = audit.latest(course, assignment)
    if not records and not any(there.graded for there in submissions.values()):
        raise UserError(
            f"nothing of {assignment} has been graded yet: run `python -m autograder grade {assignment}` first"
        )
    waiting = sorted(handed_in(course, assignment) - set(records) - set(submissions))
    page = render(facts(assignment, cells, submissions, records, waiting) | {"names": names})
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(page.encode("utf-8", "replace"))  # a message may hold half a surrogate pair
    except OSError as error:
        raise UserError(f"can't write the report to {file}: {error.strerror}") from error
    return file


def _name(first: str | None, last: str | None) -> str:
    return " ".join(part for part in (first, last) if part)


def handed_in(course: Path, assignment: str) -> set[str]:
    """The students whose submission lies in the course."""
    submitted = course / "submitted"
    students = submitted.iterdir() if submitted.is_dir() else ()
    return {path.name for path in students if (path / assignment).is_dir()}


def facts(
    assignment: str,
    cells: Mapping[Cell, float],
    submissions: Mapping[str, Submission],
    records: Records,
    waiting: Sequence[str] = (),
) -> dict[str, Any]:
    """All that the page says."""
    scores = [there.score for there in submissions.values() if there.graded]
    out_of = sum(cells.values())
    by_question = question_marks(in_order(cells, records), submissions)
    outcomes = Counter(record.get("outcome") for record in records.values())
    judged = graded_records(records)
    return {
        "assignment": assignment,
        "out_of": out_of,
        "scores": scores,
        "mean": float(np.mean(scores)) if scores else None,
        "median": float(np.median(scores)) if scores else None,
        "submissions": len(set(submissions) | set(records) | set(waiting)),
        "unreadable": outcomes["unreadable"],
        "retry": outcomes["retry"],
        "several": len({notebook for notebook, _ in cells}) > 1,
        "questions": by_question,
        "judged": len(judged),
        "judged_questions": any(record.get("questions") for record in judged.values()),
        "mistakes": mistakes(judged),
        "question_times": question_times(judged),
        "submission_times": times("", [record["seconds"] for record in judged.values() if "seconds" in record]),
        "looks": [look for look in looks(submissions, records, waiting) if look.rows],
        "distribution_plot": plots.distribution(scores, out_of) if scores else None,
        "questions_plot": _questions_plot(by_question),
        "now": datetime.now(UTC),
        "graded_between": graded_between(records),
        "versions": versions(records),
        "layers": sorted({layer for record in records.values() for layer in record.get("sandbox") or ()}),
    }


def graded_records(records: Records) -> dict[str, Mapping[str, Any]]:
    return {student: record for student, record in records.items() if record.get("outcome") == "graded"}


def shown_name(cell: str) -> str:
    """A question as students know it: its check cell is named after it."""
    return cell.removeprefix("check-")


def cell_of(question: Mapping[str, Any], cells: Iterable[Cell]) -> Cell:
    """The graded cell of a judged question."""
    checked = (question["notebook"], f"check-{question['name']}")
    return checked if checked in cells else (question["notebook"], question["name"])


def in_order(cells: Mapping[Cell, float], records: Records) -> dict[Cell, float]:
    """The cells in the order of the notebook, which the records know and the gradebook doesn't."""
    fullest = max((record.get("questions") or [] for record in records.values()), key=len, default=[])
    order = {cell_of(question, cells): place for place, question in enumerate(fullest)}
    return dict(sorted(cells.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))


def question_marks(cells: Mapping[Cell, float], submissions: Mapping[str, Submission]) -> list[QuestionMarks]:
    """How the class did in each question."""
    found = []
    for cell, out_of in cells.items():
        given = (there.marks[cell].score for there in submissions.values() if cell in there.marks)
        scores = np.array([score for score in given if score is not None])
        shares: tuple[float | None, ...] = (None, None, None)
        if out_of and scores.size:
            shares = (float(scores.mean() / out_of), _share(scores >= out_of - 1e-9), _share(scores <= 0))
        found.append(QuestionMarks(cell[0], shown_name(cell[1]), out_of, scores.size, *shares))
    return found


def _share(these: Any) -> float:
    return float(np.mean(these))


def _questions_plot(found: Sequence[QuestionMarks]) -> Any:
    shares = [
        plots.Shares(there.name, there.full, there.zero, there.mean)
        for there in found
        if there.mean is not None and there.full is not None and there.zero is not None
    ]
    return plots.questions(shares) if shares else None


def _questions(judged: Records) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for student, record in judged.items():
        for question in record.get("questions") or ():
            yield student, question


def mistakes(judged: Records) -> list[Mistakes]:
    """The named mistakes by question, in the order in which questions were asked; none for questions without any."""
    lost: Counter[Cell] = Counter()
    counts: dict[Cell, Counter[str]] = defaultdict(Counter)
    for _, question in _questions(judged):
        key = question["notebook"], question["name"]
        lost[key] += question["points"] < question["out_of"]
        if question.get("mistake"):
            counts[key][question["mistake"]] += 1
    return [Mistakes(*key, lost[key], counts[key].most_common()) for key in lost if key in counts]


def question_times(judged: Records) -> list[Times]:
    """The seconds that each question took, of those that were asked."""
    seconds: dict[Cell, list[float]] = defaultdict(list)
    for _, question in _questions(judged):
        if not any(message.startswith("not judged:") for message in _messages(question)):
            seconds[question["notebook"], question["name"]].append(question["seconds"])
    return [there for (_, name), values in seconds.items() if (there := times(name, values))]


def times(name: str, seconds: Sequence[float]) -> Times | None:
    """Median, 95th percentile and longest of some seconds; None of none."""
    if not seconds:
        return None
    median, most = (float(value) for value in np.percentile(seconds, [50, 95]))
    return Times(name, len(seconds), median, most, max(seconds))


# --- who needs a look -------------------------------------------------------------------------------------------


def looks(submissions: Mapping[str, Submission], records: Records, waiting: Sequence[str]) -> list[Look]:
    """The reasons to look at a submission, most urgent first, each with the students whom it concerns."""
    judged = graded_records(records)
    failed = set(records) - set(judged)
    graded_else = {student: there for student, there in submissions.items() if student not in failed}
    ungraded = [student for student, there in graded_else.items() if student not in judged and not there.graded]
    return [
        Look("Grade again", "A fault of the machine, not of the work: no mark was given.", _failed(records, "retry")),
        Look("Unreadable", "Could not be graded at all: no mark was given.", _failed(records, "unreadable")),
        Look("Not graded yet", "Handed in since.", [(student, ()) for student in sorted({*waiting, *ungraded})]),
        Look(
            "Timed out, or ended the process",
            "A call that gives no answer earns nothing.",
            _by_student(_cut_off(judged)),
        ),
        Look("Took unusually long", "More than five times the median of the class.", _by_student(_slow(judged))),
        Look("Manual grading open", "The total may still rise.", _by_student(_open(graded_else))),
        Look("Late", "Time after the due date, extensions counted.", _by_student(_late(submissions))),
        Look(
            "Mark differs from what was judged",
            "Changed by hand, or by another grading, since.",
            _by_student(_changed(submissions, judged)),
        ),
    ]


def _by_student(found: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    reasons: dict[str, list[str]] = defaultdict(list)
    for student, reason in found:
        reasons[student].append(reason)
    return sorted(reasons.items())


def _failed(records: Records, outcome: str) -> list[tuple[str, list[str]]]:
    found = {student: record for student, record in records.items() if record.get("outcome") == outcome}
    return _by_student((student, record.get("problem") or "no reason given") for student, record in found.items())


def _messages(question: Mapping[str, Any]) -> list[str]:
    return [step.get("message") or "" for step in question.get("steps") or ()]


def _cut_off(judged: Records) -> Iterator[tuple[str, str]]:
    for student, question in _questions(judged):
        told = next((text for text in _messages(question) if text.startswith((*NO_ANSWER, *ENDED))), None)
        if told:
            yield student, f"{question['name']}: {told}"


def _slow(judged: Records) -> Iterator[tuple[str, str]]:
    whole = times("", [record.get("seconds", 0.0) for record in judged.values()])
    for student, record in judged.items():
        if whole and outlying(record.get("seconds", 0.0), whole.median):
            yield student, f"the whole submission: {duration(record['seconds'])}, median {duration(whole.median)}"
    medians = {there.name: there.median for there in question_times(judged)}
    for student, question in _questions(judged):
        median = medians.get(question["name"], question["seconds"])
        if outlying(question["seconds"], median):
            yield student, f"{question['name']}: {duration(question['seconds'])}, median {duration(median)}"


def outlying(seconds: float, median: float) -> bool:
    return seconds > OUTLYING * median and seconds > median + 1


def _open(submissions: Mapping[str, Submission]) -> Iterator[tuple[str, str]]:
    for student, there in submissions.items():
        for (_, cell), mark in sorted(there.marks.items()):
            if mark.open and there.graded:
                yield student, shown_name(cell)


def _late(submissions: Mapping[str, Submission]) -> Iterator[tuple[str, str]]:
    for student, there in submissions.items():
        if there.seconds_late > 0:
            less = f"{there.penalty:g} {'point' if there.penalty == 1 else 'points'} less"
            yield student, f"{duration(there.seconds_late)}, {less if there.penalty else 'no penalty'}"


def _changed(submissions: Mapping[str, Submission], judged: Records) -> Iterator[tuple[str, str]]:
    for student, question in _questions(judged):
        there = submissions[student].marks if student in submissions else {}
        mark = there.get(cell_of(question, there))
        if mark is None or mark.score is None:
            yield student, f"{question['name']}: judged {question['points']:g}, no mark in the gradebook"
        elif abs(mark.score - question["points"]) > 0.005:
            how = " by hand" if mark.by_hand else ""
            yield student, f"{question['name']}: judged {question['points']:g}, now {mark.score:g}{how}"


# --- the page ---------------------------------------------------------------------------------------------------


def graded_between(records: Records) -> tuple[datetime, datetime] | None:
    """When the first and the last record that counts was written."""
    moments = [datetime.fromisoformat(record["time"]) for record in records.values() if record.get("time")]
    return (min(moments), max(moments)) if moments else None


def versions(records: Records) -> dict[str, str]:
    """The versions that graded, by package; several where they changed on the way."""
    found: dict[str, set[str]] = defaultdict(set)
    for record in records.values():
        for package, version in (record.get("versions") or {}).items():
            found[package].add(version)
    return {package: ", ".join(sorted(found[package])) for package in found}


def percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"


def points(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def moment(when: datetime) -> str:
    when = when.astimezone(UTC)
    return f"{when.day} {when:%B %Y, %H:%M} UTC"


def duration(seconds: float) -> str:
    """A time as people say it: 0.4 ms, 21 ms, 1.6 s, 12 min, 3 h 5 min, 2 days 4 h."""
    if seconds < 1:
        return f"{1000 * seconds:.{1 if seconds < 0.01 else 0}f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} days {hours} h" if hours else f"{days} days"


def clipped(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def render(about: Mapping[str, Any]) -> str:
    """Put the facts into the page; all text is escaped, plots excepted."""
    loader = FileSystemLoader(Path(__file__).parent)
    pages = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    pages.filters.update(percent=percent, points=points, moment=moment, duration=duration, clipped=clipped)
    return pages.get_template(TEMPLATE).render(about)
