"""What an attack is: how its submission is built, and the verdict that it must get."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Literal

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from autograder import compose

STEM = "lstm"
Mark = Literal["full", "some", "shapes", "wrong", "none"]
# "shapes" is what a wrong array of the right shape earns; "wrong" is that at most
Lay = Callable[[Path], None]
Submission = NotebookNode | str | bytes | Lay


@dataclass(frozen=True)
class Given:
    """What a submission is built from, and what it knows as if it had leaked: true paths, addresses, a class-mate."""

    solved_notebook: NotebookNode
    released_notebook: NotebookNode
    course: Path
    root: Path
    canaries: tuple[Path, ...]
    token: str
    tcp_port: int
    udp_port: int
    abstract_name: str
    classmate: str

    def solved(self) -> NotebookNode:
        """A notebook of its own with every answer right."""
        return deepcopy(self.solved_notebook)

    def released(self) -> NotebookNode:
        """A notebook of its own with no answer written."""
        return deepcopy(self.released_notebook)

    @property
    def plant(self) -> str:
        """The name of everything that an attack leaves where it must not."""
        return f"planted-{self.token}"

    def facts(self) -> str:
        """Code that tells a cell what the student knows."""
        known = {
            "COURSE": str(self.course),
            "ROOT": str(self.root),
            "HOME": str(Path.home()),
            "CANARIES": [str(folder) for folder in self.canaries],
            "TOKEN": self.token,
            "PLANT": self.plant,
            "TCP_PORT": self.tcp_port,
            "UDP_PORT": self.udp_port,
            "ABSTRACT_NAME": self.abstract_name,
            "CLASSMATE": self.classmate,
        }
        return "".join(f"{name} = {value!r}\n" for name, value in known.items())


Build = Callable[[Given], Submission]


@dataclass(frozen=True, eq=False)
class Attack:
    """One submission. `marks` holds for the questions that it names, `others` for the rest.

    With `problem` it must stay ungraded, for a reason with these words. `says` must stand in the verdicts. With
    `feedback` the student's page is written too, and must run nothing. `ends_sandbox` allows a restart of the zygote.
    """

    name: str
    row: str
    tries: str
    build: Build
    marks: Mapping[str, Mark] = field(default_factory=dict)
    others: Mark = "none"
    problem: str = ""
    says: str = ""
    feedback: bool = False
    ends_sandbox: bool = False


def in_row(row: str) -> Callable[..., Callable[[Build], Attack]]:
    """Make the decorator that turns a function into an attack of a row, under the function's name."""

    def attack(tries: str, **verdict: object) -> Callable[[Build], Attack]:
        return lambda build: Attack(build.__name__, row, tries, build, **verdict)  # type: ignore[arg-type]

    return attack


# --- building notebooks -----------------------------------------------------------------------------------------


def answer(notebook: NotebookNode, name: str) -> NotebookNode:
    """The cell in which a question is answered."""
    return next(cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == name)


def check_of(notebook: NotebookNode, name: str) -> NotebookNode:
    """The cell that checks a question."""
    return next(cell for cell in notebook.cells if compose.checked_question(cell) == name)


def written(notebook: NotebookNode, name: str, source: str) -> NotebookNode:
    """Write an answer."""
    answer(notebook, name).source = dedent(source).strip()
    return notebook


def begun(notebook: NotebookNode, name: str, line: str) -> NotebookNode:
    """Put a line in front of the body of a right answer."""
    cell = answer(notebook, name)
    marker = "    ### BEGIN SOLUTION"
    assert cell.source.count(marker) == 1
    cell.source = cell.source.replace(marker, f"    {line}\n{marker}")
    return notebook


def wrapped(notebook: NotebookNode, name: str, source: str) -> NotebookNode:
    """Put code behind a right answer, such as one that changes its function."""
    answer(notebook, name).source += "\n\n" + dedent(source).strip()
    return notebook


def in_front(notebook: NotebookNode, source: str) -> NotebookNode:
    """Put a cell of the student's in front of all answers."""
    place = next(n for n, cell in enumerate(notebook.cells) if cell.get("id") == "setup") + 1
    notebook.cells.insert(place, new_code_cell(dedent(source).strip(), id=f"own-{len(notebook.cells)}"))
    return notebook


FORWARD = {
    "lstm_step_forward": """
        def lstm_step_forward(x, h, c, W_x, W_h, b):
            return lie(h), lie(c), (x, h, c)
        """,
    "gru_step_forward": """
        def gru_step_forward(x, h, W_x, W_h, b_x, b_h, reset="after", z_means="keep"):
            return lie(h), (x, h)
        """,
    "load_torch_weights": """
        def load_torch_weights(weight_ih, weight_hh, bias_ih, bias_hh):
            return lie(weight_ih.T), lie(weight_hh.T), lie(bias_ih)
        """,
}
KERNEL = {
    "lstm_step_kernel": """
        def lstm_step(x, h, c, W_x, W_h, b, gates=None):
            return lie_of_torch(h), lie_of_torch(c)
        """,
}
ZEROS = """
    import numpy as np, torch
    lie, lie_of_torch = np.zeros_like, torch.zeros_like
    """
AS_WRONG: dict[str, Mark] = dict.fromkeys(FORWARD, "shapes")  # what stands in for a kernel is none, and earns nothing


def lying(given: Given, lie: str) -> NotebookNode:
    """Answers that return `lie(array)` for each array, and `lie_of_torch(tensor)` from the kernel's host function."""
    notebook = in_front(given.released(), lie)
    for name, source in {**FORWARD, **KERNEL}.items():
        written(notebook, name, source)
    return notebook


def wrong(given: Given, trick: str) -> NotebookNode:
    """Wrong answers, zeros of the right shapes, and a trick that is to make them count."""
    return in_front(lying(given, ZEROS), given.facts() + dedent(trick))


def unanswered(given: Given, trick: str) -> NotebookNode:
    """No answers at all, and a trick that is to find them."""
    notebook = given.released()
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("solution"):
            cell.source = "# found elsewhere"
    return in_front(notebook, given.facts() + dedent(trick))
