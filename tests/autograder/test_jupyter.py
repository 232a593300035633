"""Real Jupyter: the released notebook runs in a kernel and opens in JupyterLab."""

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from autograder import compose
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


def test_the_solved_notebook_gets_all_points_from_its_own_checks(lstm_course):
    found = verdicts(run(lstm_course / "source/lstm"))
    for exercise in compose.exercises("lstm"):
        points = f"{exercise.points:g}"
        assert found[exercise.name].startswith(f"{exercise.name}: {points} of {points} points")


@pytest.fixture
def jupyterlab(lstm_course, tmp_path, monkeypatch):
    """A JupyterLab on a copy of the release; yields its address."""
    browsing.require_chromium()
    shutil.copytree(lstm_course / "release", tmp_path / "release")
    for variable in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--IdentityProvider.token=test"]
    command += [f"--ServerApp.root_dir={tmp_path / 'release'}", "--ServerApp.port=0", "--LabApp.news_url="]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            yield wait_for_address(tmp_path / "jupyter_runtime_dir")
        finally:
            server.terminate()


def wait_for_address(runtime: Path, seconds: float = 60) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for file in runtime.glob("jpserver-*.json"):
            url = json.loads(file.read_text(encoding="utf-8"))["url"]
            with urllib.request.urlopen(f"{url}api/status?token=test") as answer:
                assert answer.status == 200
            return url
        time.sleep(0.1)
    raise TimeoutError("JupyterLab did not start")


def test_the_released_notebook_opens_in_jupyterlab(jupyterlab, tmp_path):
    with browsing.browser() as browser:
        browser.get(f"{jupyterlab}lab/tree/lstm/lstm.ipynb?token=test&reset")
        wait = WebDriverWait(browser, 90)
        wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, ".jp-Notebook .jp-MarkdownCell h1"))
        assert "LSTM" in browser.find_element(By.CSS_SELECTOR, ".jp-Notebook").text
        wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, ".jp-Notebook .jp-CodeCell"))
