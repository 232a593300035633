"""The search finds a page by its index entries also after a build that had no need to write the page."""

import subprocess
import sys
from pathlib import Path

from autograder.blocks import ROOT

CONF = f"""
import sys
sys.path.insert(0, {str(ROOT / "book" / "_ext")!r})
extensions = ["myst_parser", "search_entries"]
"""


def entries(folder: Path) -> str:
    """Build the site of a folder; return the part of the search's index that holds the entries."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", str(folder), str(folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return (folder / "out" / "searchindex.js").read_text(encoding="utf-8").partition('"indexentries"')[2]


def test_entries_of_a_page_outlive_a_build_that_leaves_it_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "conf.py").write_text(CONF, encoding="utf-8")
    (tmp_path / "index.md").write_text("# Pages\n\n```{toctree}\none\ntwo\n```\n", encoding="utf-8")
    (tmp_path / "one.md").write_text("# One\n\n```{index} peephole\n```\n", encoding="utf-8")
    (tmp_path / "two.md").write_text("# Two\n\n```{index} gate\n```\n", encoding="utf-8")
    first = entries(tmp_path)
    assert "peephole" in first
    assert "gate" in first
    (tmp_path / "two.md").write_text("# Two\n\n```{index} valve\n```\n", encoding="utf-8")
    second = entries(tmp_path)
    assert "peephole" in second
    assert "valve" in second
    assert "gate" not in second
