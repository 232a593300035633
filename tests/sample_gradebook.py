"""A gradebook and an audit record that nobody had to grade for: for the tests of report and export, and to look at.

`python -m tests.sample_gradebook FOLDER` makes a course of 60 students there, its report, and pictures of that.
"""

import base64
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from nbgrader.api import Grade, Gradebook, Student, SubmittedAssignment, SubmittedNotebook

from autograder import audit, report
from autograder import course as courses
from book.chromium import THEMES, browser, open_page, set_theme, set_width

DUE = datetime(2026, 11, 20, 22, 0)
Marks = Mapping[str, float | None]


@cache
def empty_gradebook() -> bytes:
    """A new gradebook, which takes nbgrader seconds to make."""
    with tempfile.TemporaryDirectory() as folder:
        directory = courses.api(Path(folder)).coursedir
        Gradebook(directory.db_url, directory.course_id).close()
        return (Path(folder) / "gradebook.db").read_bytes()


@contextmanager
def opened(course: Path) -> Iterator[Gradebook]:
    """The gradebook of a course, made if there is none."""
    course.mkdir(parents=True, exist_ok=True)
    if not (course / "gradebook.db").exists():
        (course / "gradebook.db").write_bytes(empty_gradebook())
    directory = courses.api(course).coursedir
    with Gradebook(directory.db_url, directory.course_id) as gradebook:
        yield gradebook


def add_assignment(gradebook: Gradebook, name: str, cells: Mapping[str, float], notebook: str = "") -> None:
    """An assignment with one notebook, due on DUE, and what each of its cells is out of."""
    gradebook.update_or_create_assignment(name, duedate=DUE)
    gradebook.add_notebook(notebook or name, name)
    for cell, out_of in cells.items():
        gradebook.add_grade_cell(cell, notebook or name, name, max_score=out_of, cell_type="code")


def add_submissions(gradebook: Gradebook, assignment: str, class_marks: Mapping[str, Marks]) -> None:
    """Automatic marks by student and cell, handed in on DUE; None is a cell that a person must mark."""
    there = gradebook.find_assignment(assignment)
    students = {student.id: student for student in gradebook.students}
    (notebook,) = there.notebooks
    cells = {cell.name: cell for cell in notebook.grade_cells}
    for student, marks in class_marks.items():
        who = students.get(student) or Student(id=student)
        submission = SubmittedAssignment(assignment=there, student=who, timestamp=DUE)
        answers = SubmittedNotebook(notebook=notebook, assignment=submission)
        for name, score in marks.items():
            grade = Grade(cell=cells[name], notebook=answers, auto_score=score, needs_manual_grade=score is None)
            gradebook.db.add(grade)
    gradebook.db.commit()


def judged(name: str, points: float, out_of: float, mistake: str = "", message: str = "", seconds: float = 0.02) -> Any:
    """A question in the audit record."""
    steps = [{"title": "h is right", "passed": points == out_of, "message": message}]
    about = {"notebook": "lstm", "name": name, "seed": "9f", "seconds": seconds, "points": points, "out_of": out_of}
    return {**about, "mistake": mistake, "steps": steps}


def add_record(course: Path, student: str, questions: Iterable[Any] = (), seconds: float = 0.5, **more: Any) -> None:
    layers = {"sandbox": ["bubblewrap", "Landlock"], "versions": {"python": "3.11.7", "numpy": "2.4.6"}}
    fields: dict[str, Any] = {"outcome": "graded", "problem": "", "seconds": seconds, "questions": list(questions)}
    audit.append(course, audit.entry(student, "lstm", **{**fields, **layers, **more}))


# --- sixty students to look at ----------------------------------------------------------------------------------

QUESTIONS = {
    "sigmoid_backward": 2.0,
    "lstm_step_forward": 4.0,
    "lstm_step_backward": 5.0,
    "lstm_forward": 3.0,
    "lstm_backward": 4.0,
    "truncated_backpropagation_through_time": 2.0,
}
MISTAKES = {
    "lstm_step_forward": [
        "the output gate multiplies tanh(c_t); yours multiplies c_t itself",
        "the gates are packed in the order i, f, g, o; yours has i, f, o, g",
        "the forget gate is added to the old cell, not multiplied with it",
    ],
    "lstm_step_backward": [
        "the gradient that arrives at c_t comes by two ways, from h_t and from c_{t+1}; yours drops the second",
        "f multiplied the old cell, so the gradient of its pre-activation has the factor c_{t-1}; yours has c_t",
    ],
    "lstm_backward": ["the gradients of W_x, W_h and b are sums over all time steps; yours are those of the last one"],
}
FIRST = ("Ada", "Blaise", "Carl", "Dora", "Emmy", "Félix", "Grace", "Hedy", "Ivo", "Jānis", "Katherine", "Mary", "Olga")
LAST = ("Lovelace", "Pascal", "Gauß", "O’Neil", "Nwosu-Featherstonehaugh", "李", "Ståhl", "García", "Márquez")
MANUAL = "check-explain-why-the-cell-state-is-kept"


def plausible(course: Path, count: int = 60) -> None:
    """A course whose report has something to say in every section."""
    rng = np.random.default_rng(7)
    with opened(course) as gradebook:
        add_assignment(
            gradebook, "lstm", {**{f"check-{name}": points for name, points in QUESTIONS.items()}, MANUAL: 4}
        )
        for number in range(count):
            first, last = FIRST[number % len(FIRST)], LAST[number % len(LAST)]
            student = f"{first.lower()}{number:02d}"
            gradebook.add_student(student, first_name=first, last_name=last, email=f"{student}@example.org")
            if number in (11, 37):
                problem = f"lstm.ipynb is no readable notebook: Expecting value: line {number} column 1 (char 0)"
                add_record(course, student, outcome="unreadable", problem=problem)
                continue
            if number == 23:
                add_record(course, student, outcome="retry", problem="the worker was lost: no space left on device")
                continue
            skill = rng.beta(4, 1.6)
            questions = [_answered(rng, name, out_of, skill, number) for name, out_of in QUESTIONS.items()]
            marks: dict[str, float | None] = {f"check-{q['name']}": q["points"] for q in questions}
            marks[MANUAL] = None if number % 9 == 4 else float(rng.integers(1, 5))
            add_submissions(gradebook, "lstm", {student: marks})
            add_record(course, student, questions, seconds=41.0 if number == 31 else float(rng.gamma(8, 0.08)))
            _late(gradebook, student, number)
        _by_hand(gradebook, "dora03", "check-lstm_backward")
    (course / "submitted" / "zoë" / "lstm").mkdir(parents=True)


def _answered(rng: np.random.Generator, name: str, out_of: float, skill: float, number: int) -> Any:
    if number == 17 and name == "lstm_backward":
        return judged(
            name, 0.0, out_of, message="no answer within 10 s: is there a loop that never ends?", seconds=10.02
        )
    if number == 42 and name == "lstm_step_backward":
        text = "the process ended during the call: did it exit, or run out of memory?"
        return judged(name, 0.0, out_of, message=text)
    luck = rng.random()
    points = out_of if luck < skill else 0.0 if luck > 0.6 + skill / 2 else round(out_of * rng.uniform(0.2, 0.8), 2)
    known = MISTAKES.get(name, [])
    mistake = str(rng.choice(known)) if known and 0 < points < out_of and rng.random() < 0.8 else ""
    return judged(name, points, out_of, mistake, seconds=float(rng.gamma(4, 0.004) * out_of))


def _late(gradebook: Gradebook, student: str, number: int) -> None:
    if number % 13 == 5:
        submission = gradebook.find_submission("lstm", student)
        submission.timestamp = DUE + timedelta(hours=float(number))
        submission.notebooks[0].late_submission_penalty = 1.0
        gradebook.db.commit()


def _by_hand(gradebook: Gradebook, student: str, cell: str) -> None:
    grade = gradebook.find_grade(cell, "lstm", "lstm", student)
    grade.manual_score, grade.extra_credit = 2.5, 0.5
    gradebook.db.commit()


def main(folder: Path) -> None:
    plausible(folder)
    page = report.write(folder, "lstm", folder / "lstm.html")
    print(page)
    with browser() as driver:
        for theme in THEMES:
            for width in (1280, 390):
                set_theme(driver, theme)
                set_width(driver, width)
                open_page(driver, page.resolve().as_uri())
                height = driver.execute_script("return document.documentElement.scrollHeight")
                set_width(driver, width, height)
                print(driver.save_screenshot(str(folder / f"{theme}-{width}.png")), theme, width, height)
        pdf = driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"]
        (folder / "printed.pdf").write_bytes(base64.b64decode(pdf))
        print([entry["message"] for entry in driver.get_log("browser")])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
