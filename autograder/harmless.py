"""Pages for people out of what students wrote: nothing in them runs, and nothing loads from elsewhere."""

import html
import re
from collections.abc import Iterator
from typing import Any

from bleach import css_sanitizer, html5lib_shim, sanitizer  # type: ignore[import-untyped]
from jinja2 import pass_context
from jinja2.runtime import Context
from mistune.plugins import import_plugin
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode
from traitlets import Bool

FILTERS = {
    "markdown2html": "autograder.harmless.markdown2html",
    "highlight_code": "nbconvert.filters.Highlight2HTML",  # as IPython, whatever language the notebook claims
}
# fmt: off
TAGS = {
    "a", "b", "blockquote", "br", "code", "dd", "del", "details", "div", "dl", "dt", "em", "h1", "h2", "h3", "h4", "h5",
    "h6", "hr", "i", "img", "li", "ol", "p", "pre", "span", "strong", "sub", "summary", "sup", "table", "tbody", "td",
    "th", "thead", "tr", "ul",
}
# fmt: on
ATTRIBUTES = {
    ("a", "href"): r"(https?://|mailto:|#).*",
    ("img", "src"): r"data:image/(png|jpeg|gif);base64,[A-Za-z0-9+/=\s]*|[\w-]+\.(png|jpe?g|gif)",
    ("div", "class"): r"highlight",
    ("span", "class"): r"err|[a-z][a-z0-9]?",  # of highlighted code
    **{(tag, "style"): r".*" for tag in ("div", "td", "th")},
    **{(tag, "title"): r".*" for tag in ("a", "img")},
    ("img", "alt"): r".*",
}
STYLES = ("padding", "text-align", "vertical-align")
PLUGINS = ("strikethrough", "table", "url", "def_list")
PICTURES = ("image/png", "image/jpeg", "image/gif")
SHOWN = ("student", "first_name", "last_name", "notebook_path", "notebook_id", "assignment_id")
NBGRADER = ("cell_type", "checksum", "grade", "grade_id", "locked", "points", "schema_version", "solution", "task")


class NewWindow(html5lib_shim.Filter):  # type: ignore[misc]
    """Open links elsewhere: a page in Formgrader's frame may give JupyterLab commands."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for token in super().__iter__():
            if token["type"] == "StartTag" and token["name"] == "a":
                token["data"] |= {(None, "target"): "_blank", (None, "rel"): "noopener noreferrer"}
            yield token


def _allowed(tag: str, name: str, value: str) -> bool:
    return re.fullmatch(ATTRIBUTES.get((tag, name), r"(?!)"), value, re.DOTALL | re.IGNORECASE) is not None


def clean(text: str) -> str:
    """HTML with everything escaped that is not known to be harmless."""
    cleaner = sanitizer.Cleaner(
        tags=TAGS,
        attributes=_allowed,
        protocols={"http", "https", "mailto", "data"},
        css_sanitizer=css_sanitizer.CSSSanitizer(allowed_css_properties=STYLES),
        filters=[NewWindow],
    )
    cleaned: str = cleaner.clean(text)
    return cleaned


@pass_context
def markdown2html(context: Context, source: str) -> str:
    """nbconvert's filter, with the HTML that comes out cleaned; Markdown that can't be rendered is shown as it is."""
    attachments = context.get("cell", {}).get("attachments", {})
    renderer = IPythonRenderer(escape=False, attachments=attachments, exclude_anchor_links=True)
    try:
        return clean(MarkdownWithMath(renderer, plugins=map(import_plugin, PLUGINS)).render(source))
    except Exception:  # a missing attachment, quotes nested a thousand deep
        return f"<pre>{html.escape(source)}</pre>"


class Harmless(Preprocessor):
    """Take from a notebook and from its student's name what nbgrader's templates write into a page unescaped."""

    enabled = Bool(True).tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        nb.metadata = NotebookNode()
        nb.cells = [_harmless(cell) for cell in nb.cells if cell.cell_type in ("code", "markdown", "raw")]
        resources.update({key: html.escape(str(resources[key])) for key in SHOWN if resources.get(key) is not None})
        return nb, resources


def _harmless(cell: NotebookNode) -> NotebookNode:
    about = cell.metadata.get("nbgrader") or {}
    cell.metadata = NotebookNode()
    if about:
        cell.metadata.nbgrader = NotebookNode({key: about[key] for key in NBGRADER if key in about})
        cell.metadata.nbgrader.grade_id = re.sub(r"[^\w-]", "", str(about.get("grade_id", "")))
    if cell.cell_type == "raw":
        cell.source = html.escape(cell.source)
    if cell.cell_type == "code":
        cell.execution_count = None
        for output in cell.outputs:
            _harmless_output(output)
    return cell


def _harmless_output(output: NotebookNode) -> None:
    """Leave text, pictures and cleaned HTML."""
    if "data" in output:
        data = {mime: str(text) for mime, text in output.data.items() if mime in ("text/plain", "text/html", *PICTURES)}
        output.data = NotebookNode({mime: clean(text) if mime == "text/html" else text for mime, text in data.items()})
        output.metadata = NotebookNode()
