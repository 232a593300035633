"""The executed notebook of each chapter: in _build/notebooks/ for the tests, and behind the download button.

Jupyter shows plain Markdown only, so the text of the notebooks is the chapters' without the markup of Sphinx.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from jupyter_cache import get_cache
from myst_nb.core.read import create_nb_reader
from plain_markdown import plain
from sphinx.application import Sphinx

CHAPTERS = "book/chapters/"


def chapters(app: Sphinx) -> Iterator[str]:
    """The pages that are notebooks."""
    for page in sorted(app.env.found_docs):
        if page.startswith(CHAPTERS) and "kernelspec" in app.env.metadata[page]:
            yield page


def executed(app: Sphinx, page: str) -> nbformat.NotebookNode | None:
    """The notebook of a page with its outputs, or None if it could not be run.

    It comes from the execution cache: what myst-nb writes lacks the outputs when it took them from there.
    """
    source = Path(app.env.doc2path(page))
    text = source.read_text(encoding="utf-8")
    reader = create_nb_reader(str(source), app.env.myst_config, app.env.mystnb_config, text)
    results = get_cache(str(Path(app.outdir).parent / ".jupyter_cache"))
    try:
        _, notebook = results.merge_match_into_notebook(reader.read(text))
    except KeyError:
        return None
    return notebook


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Number the cells, and let Jupyter show what Sphinx would have made of the text."""
    notebook.metadata.pop("source_map", None)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
        if cell.cell_type == "markdown":
            cell.source = plain(cell.source)


def offer_notebook(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Give the theme's download button the executed notebook of a chapter."""
    if page in chapters(app):
        context["ipynb_source"] = f"{page}.ipynb"


def publish_notebooks(app: Sphinx, error: Exception | None) -> None:
    """Write the executed notebooks to where the tests and the download button look for them."""
    if error or app.builder.name != "html":
        return
    for_tests = Path(app.outdir).parent / "notebooks"
    shutil.rmtree(for_tests, ignore_errors=True)
    for_tests.mkdir()
    for page in chapters(app):
        notebook = executed(app, page)
        if notebook is not None:
            tidy(notebook)
            download = Path(app.outdir) / "_sources" / f"{page}.ipynb"
            download.parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(notebook, download, version=nbformat.NO_CONVERT)
            shutil.copy(download, for_tests)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", offer_notebook, priority=100)  # before the theme makes its buttons
    app.connect("build-finished", publish_notebooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
