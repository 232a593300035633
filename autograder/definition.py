"""What an assignment asks and what it is out of, as it was released: the part of a gradebook that has no students.

It travels to the workers as JSON. They sanitize submissions with it, and so need no connection to the gradebook.
"""

import atexit
import hashlib
import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from nbgrader.api import Base, Gradebook, MissingEntry, Notebook
from sqlalchemy import create_engine

from autograder.errors import UserError

KINDS = {
    "grade": ("name", "max_score", "cell_type"),
    "solution": ("name",),
    "task": ("name", "max_score", "cell_type"),
    "source": ("name", "cell_type", "locked", "source", "checksum"),
}


def of_assignment(gradebook: Gradebook, assignment: str) -> str:
    """Read the definition of one assignment out of a gradebook, as JSON.

    Raises UserError if the gradebook has no such assignment.
    """
    try:
        notebooks = gradebook.find_assignment(assignment).notebooks
    except MissingEntry as error:
        raise UserError(
            f"assignment {assignment} was never released: run `python -m autograder release {assignment}`, "
            f"or `nbgrader generate_assignment {assignment}` for one of your own"
        ) from error
    ordered = sorted(notebooks, key=lambda notebook: str(notebook.name))
    found = {notebook.name: {"kernelspec": notebook.kernelspec, **_cells(notebook)} for notebook in ordered}
    return json.dumps({"assignment": assignment, "notebooks": found}, sort_keys=True)


def _cells(notebook: Notebook) -> dict[str, list[dict[str, Any]]]:
    return {
        kind: [{key: getattr(cell, key) for key in keys} for cell in getattr(notebook, f"{kind}_cells")]
        for kind, keys in KINDS.items()
    }


def notebooks(definition: str) -> list[str]:
    """The names of the notebooks of an assignment."""
    return list(json.loads(definition)["notebooks"])


def questions(definition: str) -> list[str]:
    """The questions that the check cells of a block's notebook ask, in the order of the gradebook."""
    found = json.loads(definition)["notebooks"].values()
    return [cell["name"].removeprefix("check-") for notebook in found for cell in notebook["grade"]]


def worth(definition: str) -> float:
    """What an assignment is out of."""
    found = json.loads(definition)["notebooks"].values()
    worths = [cell["max_score"] for notebook in found for kind in ("grade", "task") for cell in notebook[kind]]
    return float(sum(worths))


def digest(definition: str) -> str:
    return hashlib.sha256(definition.encode()).hexdigest()[:16]


@cache
def gradebook(definition: str) -> str:
    """Write a definition into a gradebook of its own, which lasts as long as this process; return its URL."""
    folder = tempfile.TemporaryDirectory(prefix="definition-")
    atexit.register(folder.cleanup)
    url = f"sqlite:///{Path(folder.name) / 'definition.db'}"
    content = json.loads(definition)
    assignment = content["assignment"]
    engine = create_engine(url)
    Base.metadata.create_all(engine)  # for which Gradebook would start alembic
    engine.dispose()
    with Gradebook(url) as made:
        made.add_assignment(assignment)
        for name, notebook in content["notebooks"].items():
            made.add_notebook(name, assignment, kernelspec=notebook["kernelspec"])
            for kind in KINDS:
                for cell in notebook[kind]:
                    getattr(made, f"add_{kind}_cell")(cell.pop("name"), name, assignment, **cell)
    return url
