"""Real Jupyter: the released notebook runs in a kernel and opens in JupyterLab."""

import shutil
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from autograder import compose
from book import chromium
from tests import jupyterlab
from tests.site import browsing


def run(folder: Path) -> nbformat.NotebookNode:
    notebook = nbformat.read(folder / "lstm.ipynb", 4)
    return NotebookClient(notebook, resources={"metadata": {"path": str(folder)}}, timeout=60).execute()


def verdicts(notebook) -> dict[str, str]:
    checks = {compose.checked_question(cell): cell for cell in notebook.cells if compose.checked_question(cell)}
    return {name: cell.outputs[0].data["text/plain"] for name, cell in checks.items()}


def test_the_released_notebook_runs_to_its_end_and_every_check_says_what_to_do(lstm_course):
    for name, verdict in verdicts(run(lstm_course / "release/lstm")).items():
        assert verdict.startswith(f"{name}: 0 of ")
        assert "is not implemented yet" in verdict


def test_the_solved_notebook_gets_all_points_from_its_own_checks(lstm_course, tmp_path):
    folder = shutil.copytree(compose.handout("lstm", lstm_course), tmp_path / "lstm")
    shutil.copy(lstm_course / "source/lstm/lstm.ipynb", folder)
    found = verdicts(run(folder))
    for exercise in compose.exercises("lstm"):
        points = f"{exercise.points:g}"
        assert found[exercise.name].startswith(f"{exercise.name}: {points} of {points} points")


def test_the_released_notebook_opens_in_jupyterlab(lstm_course, tmp_path):
    browsing.require_chromium()
    shutil.copytree(lstm_course / "release", tmp_path / "release")
    with jupyterlab.served(tmp_path / "release", tmp_path) as address, chromium.browser() as browser:
        browser.get(f"{address}lab/tree/lstm/lstm.ipynb?token={jupyterlab.TOKEN}&reset")
        wait = WebDriverWait(browser, 90)
        wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, ".jp-Notebook .jp-MarkdownCell h1"))
        assert "LSTM" in browser.find_element(By.CSS_SELECTOR, ".jp-Notebook").text
        wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, ".jp-Notebook .jp-CodeCell"))
