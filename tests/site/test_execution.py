"""How the cells of the pages are executed: on all cores, and only where something has changed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autograder.blocks import ROOT

CONF = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "book" / "_ext")!r}]
extensions = ["myst_nb", "execution"]
nb_execution_mode = "cache"
exclude_patterns = ["_build"]
"""
HEADER = """---
jupytext:
  text_representation:
    format_name: myst
kernelspec:
  name: python3
---
"""
INDEX = "# Pages\n\n```{toctree}\none\ntwo\n```\n"
# A page that ends only when the other one has begun.
PAGE = """{header}
# Page {name}

```{{code-cell}}
import time
from pathlib import Path

with Path("runs.txt").open("a") as runs:
    print("{name}", file=runs)
for _ in range(400):
    if "{other}" in Path("runs.txt").read_text():
        break
    time.sleep(0.05)
else:
    raise TimeoutError("the other page did not begin")
print("answer", {answer})
```
"""


def write_page(folder: Path, name: str, other: str, answer: str) -> None:
    text = PAGE.format(header=HEADER, name=name, other=other, answer=answer)
    (folder / f"{name}.md").write_text(text, encoding="utf-8")


def build(folder: Path) -> tuple[int, str]:
    """Build the site of a folder as `make` does; return the exit status and what was printed."""
    command = [sys.executable, "-m", "sphinx", "-W", str(folder), str(folder / "_build" / "html")]
    done = subprocess.run(command, env=os.environ | {"NO_COLOR": "1"}, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def runs(folder: Path) -> list[str]:
    return sorted((folder / "runs.txt").read_text(encoding="utf-8").split())


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "conf.py").write_text(CONF, encoding="utf-8")
    (tmp_path / "index.md").write_text(INDEX, encoding="utf-8")
    write_page(tmp_path, "one", "two", "2 + 1")
    write_page(tmp_path, "two", "one", "5 + 8")
    return tmp_path


@pytest.mark.skipif(os.cpu_count() == 1, reason="one core: pages run one after the other")
def test_pages_run_at_the_same_time_and_only_a_changed_one_runs_again(site: Path) -> None:
    status, output = build(site)
    assert status == 0, output
    assert "executed 2 of 2 pages with code" in output
    assert runs(site) == ["one", "two"]
    write_page(site, "two", "one", "30 + 4")
    status, output = build(site)
    assert status == 0, output
    assert runs(site) == ["one", "two", "two"]
    assert "answer 34" in (site / "_build" / "html" / "two.html").read_text(encoding="utf-8")
    assert "answer 3\n" in (site / "_build" / "html" / "one.html").read_text(encoding="utf-8")


def test_a_page_that_fails_stops_the_build_and_is_named(site: Path) -> None:
    write_page(site, "two", "one", "1 / 0")
    status, output = build(site)
    assert status != 0
    assert "ZeroDivisionError" in output
    assert "two.md" in output
