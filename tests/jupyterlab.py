"""A JupyterLab server for tests in a browser."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError

from autograder.blocks import ROOT

TOKEN = "test"


@contextmanager
def served(folder: Path, scratch: Path) -> Iterator[str]:
    """Start JupyterLab in a folder, with the settings and the home of nobody; yield its address."""
    variables = ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    own = {variable: str(scratch / variable.lower()) for variable in variables}
    for path in own.values():
        Path(path).mkdir()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--IdentityProvider.token={TOKEN}"]
    command += ["--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", "--LabApp.news_url="]
    with (
        (scratch / "server.log").open("w") as log,
        subprocess.Popen(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), **own}, stdout=log, stderr=log
        ) as server,
    ):
        try:
            yield _address(Path(own["JUPYTER_RUNTIME_DIR"]))
        finally:
            server.terminate()


def _address(runtime: Path, seconds: float = 60) -> str:
    """Wait until the server has written where it listens, and answers there."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for file in runtime.glob("jpserver-*.json"):
            with suppress(json.JSONDecodeError, URLError):  # not yet written whole, or not yet listening
                url: str = json.loads(file.read_text(encoding="utf-8"))["url"]
                with urllib.request.urlopen(f"{url}api/status?token={TOKEN}"):
                    return url
        time.sleep(0.1)
    raise TimeoutError(f"JupyterLab did not start: see {runtime.parent / 'server.log'}")
