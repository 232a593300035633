"""Small mends of the theme and of myst-nb, mostly for those who read with a keyboard or a screen reader.

The rest of them are templates in book/_templates and rules in book/_static/site.css.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

UNUSED_SCRIPT = re.compile(
    r"\s*<script[^>]*(?:fontawesome\.js|searchtools\.js|language_data\.js|searchindex\.js)[^>]*></script>"
)
SUMMARY_LABEL = re.compile(r'(<summary)\s+aria-label="[^"]*"')
UNSEEN_TEXT = re.compile(r"<(title|desc|style|script)(?=[ >])(?![^>]*class=)")
CITATION_ROLE = re.compile(r'(<div)(?: role="list")?( class="citation(?:-list)?"[^>]*?)(?: role="doc-biblioentry")?>')


def add_filter(app: Sphinx) -> None:
    """Let layout.html drop scripts that do nothing: the icons are a font, and only the page of results searches."""
    if app.builder.format == "html":
        app.builder.templates.environment.filters["without_unused_scripts"] = lambda html: UNUSED_SCRIPT.sub("", html)


def mend_page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Mend the text of a page, its navigation and its download button.

    Summaries of hidden cells speak for themselves, citations have no outdated roles, the arrows of the
    navigation have a name, and there is no download of a page's source.
    """
    if "body" in context:
        body = CITATION_ROLE.sub(r"\1\2>", SUMMARY_LABEL.sub(r"\1", context["body"]))
        # Sphinx marks the words of a search, and fails where it meets one in these.
        context["body"] = UNSEEN_TEXT.sub(r'<\1 class="nohighlight"', body)
    if "generate_toctree_html" in context:
        context["generate_toctree_html"] = named_arrows(context["generate_toctree_html"])
    for group in context.get("header_buttons", []):
        if "buttons" in group:
            group["buttons"] = [b for b in group["buttons"] if b.get("label") != "download-source-button"]


def named_arrows(navigation: Callable[..., Any]) -> Callable[..., Any]:
    """The theme's function for the navigation, with a label on what opens a chapter's list of pages."""

    def labeled(kind: str, **options: Any) -> Any:
        tree = navigation(kind=kind, **options)
        return str(tree).replace("<summary>", '<summary aria-label="Pages of this chapter">') if tree else tree

    return labeled


def remove_unused(app: Sphinx, error: Exception | None) -> None:
    """Leave out what no page asks for, so that an offline copy of the site stays small."""
    if error or app.builder.format != "html":
        return
    for pattern in ("scripts/fontawesome.js*", "**/*.map"):
        for file in Path(app.outdir, "_static").glob(pattern):
            file.unlink()


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", add_filter)
    app.connect("html-page-context", mend_page, priority=900)  # after the theme has made its buttons
    app.connect("build-finished", remove_unused)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
