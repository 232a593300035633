"""Keep what the search knows of pages that a build does not write anew.

Sphinx keeps their words and titles, and forgets their index entries, by which the search finds a formula by its name.
"""

from typing import Any

from sphinx.application import Sphinx
from sphinx.util.index_entries import split_index_msg


def restore(app: Sphinx) -> list[Any]:
    """Give the search the index entries of all pages, before its index is written; adds no page of its own."""
    for page, entries in app.env.get_domain("index").entries.items():
        words = {
            (word, target, main) for kind, value, target, main, _ in entries for word in split_index_msg(kind, value)
        }
        app.builder.indexer._index_entries[page] = sorted(words)
    return []


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-collect-pages", restore)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
