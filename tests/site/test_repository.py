"""A page can be edited, and a mistake on it reported, where the site comes from a repository."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from autograder.blocks import ROOT

CONF = f"""
import sys
sys.path.insert(0, {str(ROOT / "book" / "_ext")!r})
extensions = ["myst_parser", "sphinx_book_theme", "repository"]
html_theme = "sphinx_book_theme"
"""
ACTIONS = {"GITHUB_SERVER_URL": "https://example.org", "GITHUB_REPOSITORY": "ada/book", "GITHUB_REF_NAME": "draft"}


def links(folder: Path, settings: dict[str, str]) -> set[str]:
    """Build a site of two pages, and return where the inner one's links to other sites lead."""
    (folder / "conf.py").write_text(CONF, encoding="utf-8")
    (folder / "index.md").write_text("# Index\n\n```{toctree}\nchapters/one\n```\n", encoding="utf-8")
    (folder / "chapters").mkdir()
    (folder / "chapters" / "one.md").write_text("# One\n\nText.\n", encoding="utf-8")
    known = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "REPOSITORY_"))}
    command = [sys.executable, "-m", "sphinx", "-q", "-W", str(folder), str(folder / "out")]
    done = subprocess.run(command, env=known | settings, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    page = BeautifulSoup((folder / "out" / "chapters" / "one.html").read_text(encoding="utf-8"), "html.parser")
    return {link["href"] for link in page.find_all("a", href=True) if "/ada/book" in link["href"]}


@pytest.mark.parametrize(
    ("settings", "branch"),
    [(ACTIONS, "draft"), ({"REPOSITORY_URL": "https://github.com/ada/book", "GITHUB_REPOSITORY": "a/b"}, "main")],
)
def test_each_page_links_to_its_source_and_to_a_report_about_it(
    settings: dict[str, str], branch: str, tmp_path: Path
) -> None:
    found = links(tmp_path, settings)
    site = settings.get("REPOSITORY_URL", "https://example.org/ada/book")
    assert f"{site}/edit/{branch}/chapters/one.md" in found
    assert any("/issues/new?title=" in link and "chapters/one.html" in link for link in found)


def test_a_site_without_a_repository_has_no_dead_links_to_one(tmp_path: Path) -> None:
    assert links(tmp_path, {}) == set()
