"""The zip that an exercise page offers: enough to work with anywhere, and nothing that gives an answer away."""

import json
import os
import re
import subprocess
import sys
import zipfile

import nbformat
import pytest

from autograder import blocks, bundle, compose, question, stubs

every_block = pytest.mark.parametrize("stem", blocks.stems())
PACKAGE = re.compile(r"^([\w.-]+)==")


@pytest.fixture(scope="module")
def contents():
    """What the bundle of a block holds, made once."""
    made: dict[str, dict[str, bytes]] = {}
    return lambda stem: made.setdefault(stem, bundle.files(stem))


def notebook_of(stem, files):
    return nbformat.reads(files[f"{stem}.ipynb"].decode(), 4)


@every_block
def test_a_bundle_holds_the_release_and_how_to_start(stem, contents):
    names = {f"{stem}.ipynb", "README.md", "requirements.txt", *compose.PUBLIC_FILES}
    assert contents(stem).keys() == names
    readme = contents(stem)["README.md"].decode()
    assert names - {"README.md"} <= set(re.findall(r"`([\w.]+)`", readme))
    kernels = {name for name, asked in question.of_block(stem).items() if asked.tensors}
    assert kernels <= set(re.findall(r"`(\w+)`", readme))


@every_block
def test_every_answer_of_a_bundle_is_still_to_be_written(stem, contents):
    cells = {cell.metadata.nbgrader.grade_id: cell for cell in notebook_of(stem, contents(stem)).cells if answers(cell)}
    assert list(cells) == [exercise.name for exercise in compose.exercises(stem)]
    assert all(cell.source == stubs.stub(name) for name, cell in cells.items())
    assert all("SOLUTION" not in cell.source for cell in notebook_of(stem, contents(stem)).cells)


def answers(cell):
    return cell.metadata.get("nbgrader", {}).get("solution", False)


def test_a_bundle_has_the_notebook_that_nbgrader_releases(released, contents):
    assert contents("lstm")["lstm.ipynb"].decode() == nbformat.writes(released) + "\n"


@every_block
def test_a_bundle_asks_for_the_packages_of_its_cells_as_they_are_pinned_here(stem, contents):
    asked = contents(stem)["requirements.txt"].decode().splitlines()
    assert set(asked) <= set(bundle.REQUIREMENTS.read_text(encoding="utf-8").splitlines())
    foreign = bundle.imported(notebook_of(stem, contents(stem))) - {"check", *sys.stdlib_module_names}
    assert {PACKAGE.match(line)[1] for line in asked} == {"jupyterlab", "numpy", *foreign}


def test_two_bundles_are_the_same_to_the_byte(tmp_path):
    for name in "ab":
        bundle.write("gan", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_right_answers_pass_every_check_in_a_folder_with_nothing_but_the_bundle(tmp_path):
    bundle.write("lstm", tmp_path / "lstm.zip")
    zipfile.ZipFile(tmp_path / "lstm.zip").extractall(tmp_path)
    file = tmp_path / "lstm" / "lstm.ipynb"
    notebook = nbformat.read(file, 4)
    for cell in notebook.cells:
        if answers(cell):
            cell.source = stubs.solved(cell.metadata.nbgrader.grade_id)
    nbformat.write(notebook, file)
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace", file.name]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=file.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    verdicts = {
        name: text
        for cell in nbformat.read(file, 4).cells
        if (name := compose.checked_question(cell))
        for output in cell.outputs
        if (text := output.get("data", {}).get("text/plain"))
    }
    full = {e.name: f"{e.name}: {e.points:g} of {e.points:g} points" for e in compose.exercises("lstm")}
    assert {name: text.splitlines()[0] for name, text in verdicts.items()} == full
    assert json.dumps(verdicts).count("\u2717") == 0
