"""A course in which attacks are handed in and graded, and what is looked at before and after each of them."""

import json
import logging
import os
import secrets
import shutil
import socket
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import nbformat
from bs4 import BeautifulSoup
from distributed import Client, LocalCluster
from nbformat import NotebookNode
from nbgrader.api import Gradebook

from autograder import audit, compose, course
from autograder import grade as grading
from autograder.blocks import ROOT
from autograder.check import SHARES
from autograder.execute import warm_sandbox
from tests.attacks import exhausting, lying, mangled, reaching_out, stealing, tampering, unlucky
from tests.attacks.attack import STEM, Attack, Given, Mark

SETTINGS = "c = get_config()\nc.JudgedExecute.cell_seconds = 3\n"
MODULES = (tampering, stealing, lying, reaching_out, exhausting, mangled, unlucky)
ATTACKS = tuple(value for module in MODULES for value in vars(module).values() if isinstance(value, Attack))
WITH_CLASSMATE = ("reaching out", "exhausting", "mangled notebooks")
SLOW = 60.0  # seconds that an attack may take from the class
PATIENCE = 5.0  # seconds for killed processes to disappear
LARGE = 5 << 20
Process = tuple[int, int]  # number and start time


# --- the grading API: all contact with it lies here -------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What grading says of a student: a problem, or points in all."""

    points: float
    problem: str
    outcome: str


def grade(folder: Path, students: Sequence[str], client: Client) -> dict[str, Verdict]:
    """Grade students in this order through the whole pipeline, each when the one before is done."""
    assignment = grading.open_assignment(folder, STEM)
    records = [record for student in students for record in grading.grade(assignment, [student], client)]
    return {record.student: Verdict(record.points, record.problem, record.outcome) for record in records}


@contextmanager
def one_worker() -> Iterator[Client]:
    """A Dask worker in this very process, whose sandbox can be looked at."""
    options = {"processes": False, "dashboard_address": None, "silence_logs": logging.CRITICAL}
    with LocalCluster(n_workers=1, threads_per_worker=1, **options) as cluster, Client(cluster) as client:
        yield client


def sandbox_process() -> int:
    """The process of the sandbox that grades."""
    return warm_sandbox("bwrap")._process.pid


def close_sandbox() -> None:
    """End the sandbox that grades; the next grading starts another one."""
    warm_sandbox("bwrap").close()
    warm_sandbox.cache_clear()


def written_by_grading(path: Path, students: Sequence[str]) -> bool:
    """True for a path in the course that grading these students may write."""
    stage = path.parts[0]
    if stage in ("autograded", "feedback"):
        return len(path.parts) == 1 or path.parts[1] in students
    return stage == "audit" or path.name.startswith("gradebook.db")


def audit_of(folder: Path) -> str:
    """The audit record, to which grading appends."""
    file = audit.file_of(folder, STEM)
    return file.read_text(encoding="utf-8") if file.exists() else ""


# --- the course -------------------------------------------------------------------------------------------------


@cache
def notebook_of(file: Path) -> NotebookNode:
    """A notebook of the course, read once."""
    return nbformat.read(file, 4)


@dataclass
class Classroom:
    """A course, canary files in other folders, and sockets that nobody may reach."""

    course: Path
    canaries: tuple[Path, ...]
    sockets: Mapping[str, socket.socket]
    client: Client
    token: str = field(default_factory=lambda: secrets.token_hex(6))

    def given(self, classmate: str) -> Given:
        """What an attack is built from."""
        return Given(
            solved_notebook=notebook_of(self.course / f"source/{STEM}/{STEM}.ipynb"),
            released_notebook=notebook_of(self.course / f"release/{STEM}/{STEM}.ipynb"),
            course=self.course,
            root=ROOT,
            canaries=self.canaries,
            token=self.token,
            tcp_port=self.sockets["tcp"].getsockname()[1],
            udp_port=self.sockets["udp"].getsockname()[1],
            abstract_name=self.sockets["abstract"].getsockname()[1:].decode(),
            classmate=classmate,
        )

    def hand_in(self, student: str, attack: Attack | None, given: Given) -> None:
        """Lay a submission into the student's folder: that of an attack, or the solved notebook."""
        folder = self.course / "submitted" / student / STEM
        folder.mkdir(parents=True)
        submission = attack.build(given) if attack else given.solved()
        if isinstance(submission, NotebookNode):
            submission = json.dumps(submission)
        if isinstance(submission, str):
            submission = submission.encode("utf-8", "surrogatepass")
        if isinstance(submission, bytes):
            (folder / f"{STEM}.ipynb").write_bytes(submission)
        else:
            submission(folder)

    def marks(self, student: str) -> dict[str, tuple[float, float]]:
        """The points of each question and what they are out of, as the gradebook has them."""
        with self.gradebook() as gradebook:
            (notebook,) = gradebook.find_submission(STEM, student).notebooks
            return {
                part.cell.name.removeprefix("check-"): (part.auto_score, part.max_score) for part in notebook.grades
            }

    def shown(self, student: str) -> dict[str, tuple[float, str]]:
        """The points of each question and the words of its verdict, as the autograded notebook shows them."""
        notebook = nbformat.read(self.course / "autograded" / student / STEM / f"{STEM}.ipynb", 4)
        checks = [cell for cell in notebook.cells if compose.checked_question(cell)]
        verdicts = {compose.checked_question(cell): cell.outputs[0].data for cell in checks}
        return {name: (float(data["text/plain"]), data["text/html"]) for name, data in verdicts.items()}

    def gradebook(self) -> Gradebook:
        return Gradebook(f"sqlite:///{self.course}/gradebook.db", "deep-learning-block-by-block")


def fast_folder() -> str | None:
    """A folder in memory, where a gradebook need not wait for the disk; None where there is none."""
    memory = Path("/dev/shm")
    return str(memory) if os.access(memory, os.W_OK) else None


@contextmanager
def open_classroom(folder: Path, released: Path, client: Client) -> Iterator[Classroom]:
    """Make a classroom in an empty folder of a released course, with one class-mate graded."""
    made = folder / "course"
    shutil.copytree(released, made)
    (made / "nbgrader_config.py").write_text(SETTINGS, encoding="utf-8")
    with ExitStack() as stack:
        places = (Path.home(), Path(tempfile.gettempdir()), folder)
        made_in = [tempfile.TemporaryDirectory(prefix=".canary-", dir=place) for place in places]
        canaries = tuple(Path(stack.enter_context(temporary)) for temporary in made_in)
        classroom = Classroom(made, canaries, {name: stack.enter_context(s) for name, s in _sockets().items()}, client)
        for canary in canaries:
            (canary / "canary").write_text(f"the canary of {classroom.token} sings\n", encoding="utf-8")
        classroom.hand_in("first", None, classroom.given("first"))
        assert not grade(made, ["first"], client)["first"].problem
        yield classroom


def _sockets() -> dict[str, socket.socket]:
    """Sockets that listen, without ever accepting: whoever reaches them is seen afterwards."""
    tcp = socket.create_server(("127.0.0.1", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    abstract = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    abstract.bind(f"\0attacked-{secrets.token_hex(6)}")
    abstract.listen()
    for listening in (tcp, udp, abstract):
        listening.setblocking(False)
    return {"tcp": tcp, "udp": udp, "abstract": abstract}


# --- before and after -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Snapshot:
    """What may not change while an attack is graded."""

    files: Mapping[str, str]
    canaries: Mapping[str, str]
    schema: frozenset[tuple[object, ...]]
    rows: frozenset[tuple[object, ...]]
    processes: frozenset[Process]
    sandbox: int
    audit: str


def snapshot(classroom: Classroom, students: Sequence[str]) -> Snapshot:
    files = digest(classroom.course)
    kept = {name: value for name, value in files.items() if not written_by_grading(Path(name), students)}
    canaries = {str(place / name): value for place in classroom.canaries for name, value in digest(place).items()}
    schema, rows = gradebook_rows(classroom.course / "gradebook.db")
    return Snapshot(
        kept, canaries, schema, rows, frozenset(descendants()), sandbox_process(), audit_of(classroom.course)
    )


def digest(folder: Path) -> dict[str, str]:
    """What lies in a folder: the rights, size and time of change of each file, and where links lead."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in folders + files:
            path = Path(place, name)
            if path.is_symlink():
                value = f"link to {os.readlink(path)}"
            elif path.is_file():
                about = path.stat()
                value = f"{about.st_ino} {about.st_size} {about.st_ctime_ns}"
            else:
                value = "folder or pipe"
            found[str(path.relative_to(folder))] = f"{path.lstat().st_mode:o} {value}"
    return found


def gradebook_rows(file: Path) -> tuple[frozenset[tuple[object, ...]], frozenset[tuple[object, ...]]]:
    """The schema of a gradebook with its triggers, and the rows of all its tables."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        schema = frozenset(connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master"))
        tables = sorted(str(row[1]) for row in schema if row[0] == "table")
        rows = frozenset((table, *row) for table in tables for row in connection.execute(f'SELECT * FROM "{table}"'))
    finally:
        connection.close()
    return schema, rows


def table_of_processes() -> dict[int, tuple[int, int, str]]:
    """Parent, start time and state of every process."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                state, parent, *rest = Path("/proc", name, "stat").read_text().rpartition(") ")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found[int(name)] = (int(parent), int(rest[17]), state)
    return found


def descendants(root: int | None = None) -> set[Process]:
    """The living processes that a process has started, by itself or by others; by default this process."""
    table = table_of_processes()
    top = root or os.getpid()
    found = set()
    for pid, (_, start, state) in table.items():
        above = pid
        while above in table and above != top:
            above = table[above][0]
        if above == top and pid != top and state != "Z":
            found.add((pid, start))
    return found


def named_processes(token: str) -> list[int]:
    """The processes of this machine that carry the token in their command line."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                if token.encode() in Path("/proc", name, "cmdline").read_bytes():
                    found.append(int(name))
            except OSError:
                continue
    return found


def changes(classroom: Classroom, attack: Attack, before: Snapshot, students: Sequence[str]) -> Iterator[str]:
    """Say what has changed outside of the scratch folder, and which processes are left."""
    yield from left_processes(classroom, before)
    after = snapshot(classroom, students)
    for what, old, new in (("course", before.files, after.files), ("canaries", before.canaries, after.canaries)):
        different = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        if different:
            yield f"changed in the {what}: {', '.join(different[:5])}"
    if after.schema != before.schema:
        yield f"the schema of the gradebook changed: {set(after.schema ^ before.schema)}"
    if lost := before.rows - after.rows:
        yield f"rows of the gradebook changed: {sorted(map(str, lost))[:3]}"
    if not after.audit.startswith(before.audit):
        yield "earlier lines of the audit record changed"
    yield from planted(classroom)
    yield from contacts(classroom)
    if after.sandbox != before.sandbox and not attack.ends_sandbox:
        yield "the sandbox had to be started again"


def left_processes(classroom: Classroom, before: Snapshot) -> Iterator[str]:
    """Say which processes are left after a while; a sandbox that was started again may have its own three."""
    deadline = time.monotonic() + PATIENCE
    while True:
        new = descendants() - before.processes
        inside = {process for process in new if process in descendants(sandbox_process())}
        restarted = sandbox_process() != before.sandbox
        left = new - inside - ({p for p in new if p[0] == sandbox_process()} if restarted else set())
        left |= inside if len(inside) > 2 * restarted else set()
        named = named_processes(classroom.token)
        if not left and not named:
            return
        if time.monotonic() > deadline:
            yield f"processes are left: {sorted(left)[:5]} {named[:5]}"
            return
        time.sleep(0.05)


def planted(classroom: Classroom) -> Iterator[str]:
    """Say where on this machine something lies under the name that attacks plant."""
    folders = [Path(p) for p in ("/", "/tmp", "/var/tmp", "/dev/shm", "/etc", "/usr", "/usr/lib")]
    folders += [Path.home(), Path.cwd(), ROOT, classroom.course, *classroom.canaries]
    for folder in folders:
        for path in folder.glob(f"*{classroom.token}*"):
            yield f"planted: {path}"


def contacts(classroom: Classroom) -> Iterator[str]:
    """Say which of the listening sockets have been reached."""
    for name, listening in classroom.sockets.items():
        try:
            if listening.type == socket.SOCK_STREAM:
                listening.accept()[0].close()
            else:
                listening.recv(100)
            yield f"the {name} socket of this machine was reached"
        except BlockingIOError:
            pass


# --- verdicts ---------------------------------------------------------------------------------------------------


def mark(points: float, out_of: float) -> Mark:
    """What a question's points mean."""
    if points == out_of:
        return "full"
    if points == 0:
        return "none"
    return "shapes" if points == round(out_of * SHARES["shape"] / sum(SHARES.values()), 2) else "some"


def wrong_marks(classroom: Classroom, attack: Attack, student: str, verdict: Verdict) -> Iterator[str]:
    """Say how the verdict on an attack differs from the one that it must get."""
    if attack.problem:
        if not verdict.problem:
            yield f"graded with {verdict.points:g} points, must stay ungraded ({attack.problem})"
        elif attack.problem not in verdict.problem or verdict.outcome != "unreadable":
            yield f"the problem is {verdict.problem!r}, must be {attack.problem!r}"
        return
    if verdict.problem:
        yield f"ungraded: {verdict.problem}"
        return
    marks, shown = classroom.marks(student), classroom.shown(student)
    expected = {exercise.name: exercise.points for exercise in compose.exercises(STEM)}
    if {name: out_of for name, (_, out_of) in marks.items()} != expected:
        yield f"the gradebook's questions are {marks}"
    if {name: points for name, (points, _) in marks.items()} != {name: points for name, (points, _) in shown.items()}:
        yield f"the gradebook says {marks}, the notebook {shown}"
    if abs(verdict.points - sum(points for points, _ in marks.values())) > 1e-6:
        yield f"the record says {verdict.points}, the gradebook {marks}"
    for name, (points, out_of) in marks.items():
        must, got = attack.marks.get(name, attack.others), mark(points, out_of)
        allowed = {"some": ("some", "shapes"), "wrong": ("shapes", "none")}.get(must, (must,))
        if got not in allowed:
            words = BeautifulSoup(shown[name][1], "html.parser").get_text(" ")
            yield f"{name}: {got} ({points:g} of {out_of:g}), must be {must}: {words[:300]}"
    if attack.says and not any(attack.says in words for _, words in shown.values()):
        yield f"no verdict says {attack.says!r}"


def unsafe_feedback(classroom: Classroom, student: str) -> Iterator[str]:
    """Say what a student's feedback page would run or load that it must not."""
    result = course.api(classroom.course).generate_feedback(STEM, student)
    if not result["success"]:
        yield f"no feedback: {course.reason(result)}"
        return
    page = (classroom.course / "feedback" / student / STEM / f"{STEM}.html").read_text(encoding="utf-8")
    tree = BeautifulSoup(page, "html.parser")
    for tag in tree.find_all(True):
        if tag.name == "script" and "alert" in tag.text:
            yield f"the feedback runs {tag.text[:60]!r}"
        if tag.name in ("iframe", "object", "embed", "form", "base") or tag.get("http-equiv") == "refresh":
            yield f"the feedback holds a {tag.name}"
        if tag.name == "style" and ".attacked" in tag.text:
            yield "the feedback holds a student's style"
        for name, value in tag.attrs.items():
            text = str(value)
            if name.startswith("on") or text.strip().lower().startswith(("javascript:", "data:text")):
                yield f"the feedback holds {name}={text[:60]!r}"
            if name == "style" and ("fixed" in text or "url(" in text):
                yield f"the feedback holds the style {text[:60]!r}"


def copied_secrets(classroom: Classroom, student: str) -> Iterator[str]:
    """Say where canaries, or the course's secret, were copied for a student."""
    secrets_of = [f"the canary of {classroom.token}".encode(), (classroom.course / ".secret").read_bytes()]
    for stage in ("autograded", "feedback"):
        for path in (classroom.course / stage / student).rglob("*"):
            if path.is_file() and any(secret in path.read_bytes() for secret in secrets_of):
                yield f"a secret was copied to {path.relative_to(classroom.course)}"


def examine(classroom: Classroom, attack: Attack) -> list[str]:
    """Hand an attack in, grade it and a class-mate after it, and say all that is not as it must be."""
    mate = f"mate-of-{attack.name}"
    with_mate = attack.row in WITH_CLASSMATE
    given = classroom.given(mate if with_mate else "first")
    students = [attack.name, mate] if with_mate else [attack.name]
    if with_mate:
        classroom.hand_in(mate, None, given)
    classroom.hand_in(attack.name, attack, given)
    before = snapshot(classroom, students)
    start = time.monotonic()
    verdicts = grade(classroom.course, students, classroom.client)
    seconds = time.monotonic() - start
    problems = [f"grading took {seconds:.0f} s"] if seconds > SLOW else []
    problems += list(wrong_marks(classroom, attack, attack.name, verdicts[attack.name]))
    problems += changes(classroom, attack, before, students)
    problems += copied_secrets(classroom, attack.name)
    if with_mate:
        problems += honest_problems(classroom, mate, verdicts[mate])
    if attack.feedback:
        problems += unsafe_feedback(classroom, attack.name)
    forget_large_files(classroom, attack.name)
    return problems


def honest_problems(classroom: Classroom, student: str, verdict: Verdict) -> list[str]:
    """Say what a class-mate has lost."""
    honest = Attack(student, "", "", lambda given: given.solved(), others="full")
    return [f"the class-mate: {problem}" for problem in wrong_marks(classroom, honest, student, verdict)]


def last_classmate(classroom: Classroom) -> list[str]:
    """Grade a class-mate after all attacks; say what is not as it must be."""
    classroom.hand_in("last", None, classroom.given("last"))
    return honest_problems(classroom, "last", grade(classroom.course, ["last"], classroom.client)["last"])


def forget_large_files(classroom: Classroom, student: str) -> None:
    """Delete a student's large files, which would be read again for each attack that follows."""
    for stage in ("submitted", "autograded", "feedback"):
        for path in (classroom.course / stage / student).rglob("*"):
            if path.is_file() and not path.is_symlink() and path.stat().st_size > LARGE:
                path.unlink()
