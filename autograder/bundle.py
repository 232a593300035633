"""The exercises of a block as one zip to download: its release, what to install, and how to start."""

import ast
import re
import tempfile
import zipfile
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.converters import GenerateAssignment
from nbgrader.preprocessors import SaveCells
from traitlets.config import Config

from autograder import blocks, compose, question, stubs

REQUIREMENTS = blocks.ROOT / "requirements.txt"
ALWAYS = {"jupyterlab", "numpy"}
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first day that a zip knows: the same content gives the same bytes
README = """\
# {title}

| file | what it is |
|---|---|
| `{stem}.ipynb` | the exercises: texts, hints, and a stub for each function |
| `check.py`, `cases.npz` | `check("...")`, which judges your functions on this machine; it needs no network |
| `checker.py` | watches kernels while they are checked |
| `requirements.txt` | the packages that the notebook needs |

## Start

With Python 3.11 or later, in this folder:

    python3 -m venv .venv
    .venv/bin/python -m pip install -r requirements.txt
    .venv/bin/jupyter lab {stem}.ipynb

On Windows, write `py` in place of `python3` and `.venv\\Scripts\\` in place of `.venv/bin/`.

Write a function, run its cell, and run the cell below it, as often as you like. Leave the files in one folder: the
notebook looks for the others beside it. Hand in `{stem}.ipynb` alone.
"""
KERNELS = """
Torch and Triton are large, and only the questions about kernels need them: {names}.
To do without, delete their lines in `requirements.txt`.
"""


def released(stem: str) -> NotebookNode:
    """The notebook as students get it: what nbgrader makes of it for a release, without a course or a gradebook."""
    notebook = compose.source_notebook(stem)
    config = Config({"ClearSolutions": {"code_stub": {"python": stubs.BODY}}})
    resources = {"nbgrader": {"notebook": stem, "assignment": stem, "student": "."}}
    for step in GenerateAssignment.preprocessors.default():
        if step is not SaveCells:
            notebook, resources = step(config=config).preprocess(notebook, resources)
    return notebook


def imported(notebook: NotebookNode) -> set[str]:
    """The packages and modules that the cells of a notebook import."""
    trees = [ast.parse(cell.source) for cell in notebook.cells if cell.cell_type == "code"]
    names: set[str] = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def requirements(notebook: NotebookNode) -> list[str]:
    """The lines of requirements.txt that a notebook needs: JupyterLab, NumPy, and what its cells import."""
    needed = ALWAYS | imported(notebook)
    lines = REQUIREMENTS.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if re.split(r"[=\[;]", line)[0].strip() in needed]


def readme(stem: str, notebook: NotebookNode) -> str:
    """Say what lies in the folder and how to start."""
    title = next(cell.source for cell in notebook.cells if cell.cell_type == "markdown").splitlines()[0].lstrip("# ")
    text = README.format(title=title, stem=stem)
    names = [f"`{name}`" for name, asked in question.of_block(stem).items() if asked.tensors]
    return text + (KERNELS.format(names=", ".join(names)) if names else "")


def files(stem: str) -> dict[str, bytes]:
    """What a bundle holds, by name."""
    notebook = released(stem)
    with tempfile.TemporaryDirectory() as folder:
        compose.hand_out(stem, Path(folder))
        handout = {name: Path(folder, name).read_bytes() for name in compose.PUBLIC_FILES}
    texts = {
        "README.md": readme(stem, notebook),
        f"{stem}.ipynb": nbformat.writes(notebook) + "\n",
        "requirements.txt": "\n".join([*requirements(notebook), ""]),
    }
    return handout | {name: text.encode() for name, text in texts.items()}


def write(stem: str, file: Path) -> None:
    """Write the bundle of a block: a zip with one folder, named after the block."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in sorted(files(blocks.require(stem)).items()):
            entry = zipfile.ZipInfo(f"{stem}/{name}", EPOCH)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, content)
