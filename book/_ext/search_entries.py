"""Keep what the search knows of pages that a build does not write anew.

Sphinx keeps their words and titles, and forgets their index entries, by which the search finds a formula by its name.
"""

from typing import Any

from sphinx.application import Sphinx
from sphinx.util.index_entries import split_index_msg


def restore(app: Sphinx) -> list[Any]:
    """Give the search the entries of the pages that were left as they are, before its index is written.

    An event that asks for further pages calls this; there are none.
    """
    known = app.builder.indexer._index_entries
    for page, entries in app.env.get_domain("index").entries.items():
        if page not in known:
            found = [(split_index_msg(kind, value), target, main) for kind, value, target, main, _ in entries]
            known[page] = sorted({(word, target, main) for words, target, main in found for word in words})
    return []


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-collect-pages", restore)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
