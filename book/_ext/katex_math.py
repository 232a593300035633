"""Typeset formulas with KaTeX while the site is built: no script in the pages, and bad LaTeX fails the build.

V8 comes with mini-racer, KaTeX's script with sphinxcontrib-katex, its styles and fonts with install_katex.py.
"""

import importlib.util
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from install_katex import FOLDER, VERSION
from py_mini_racer import JSEvalException, MiniRacer
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.errors import ExtensionError
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

LOGGER = logging.getLogger(__name__)

# The names that formulas may use; site.css gives each one a tone for the light and one for the dark theme.
COLORS = ("blue", "brown", "gray", "green", "magenta", "orange", "purple", "red", "teal")
UNTRUSTED = "#bad000"  # KaTeX draws what it refuses to run (\href, \includegraphics) in this color
OPTIONS = {"throwOnError": True, "strict": "error", "trust": False, "errorColor": UNTRUSTED}
STYLE_COLOR = re.compile(r'(?<=[";])((?:border-|background-)?color):([^;"]+);')
# The environments that LaTeX numbers by itself: the number comes from Sphinx, so KaTeX gets the starred form.
NUMBERED_ENVIRONMENT = re.compile(r"\\(begin|end)\{(align|alignat|equation|gather)\}")
CLOSE_BEFORE = re.compile(r"[(\[“‘]+$")
WORD_JOINER = "\u2060"
CLOSE_BEHIND = re.compile(r"[.,;:!?)\]”’…-]+")


class FormulaError(Exception):
    """A formula that KaTeX cannot typeset; the text says why."""


@cache
def _engine(process: int) -> MiniRacer:
    """A V8 that has read KaTeX; one for each process, because V8 does not survive a fork."""
    package = importlib.util.find_spec("sphinxcontrib.katex")
    if package is None or package.origin is None:
        raise ExtensionError("sphinxcontrib-katex is missing: install the packages of requirements.txt")
    script = Path(package.origin).with_name("katex.min.js").read_text(encoding="utf-8")
    if f'version:"{VERSION}"' not in script:
        raise ExtensionError(f"sphinxcontrib-katex brings another KaTeX than {VERSION}, whose styles are installed")
    engine = MiniRacer()
    engine.eval(script)
    return engine


def _themed(match: re.Match[str]) -> str:
    """Turn a fixed color of a style attribute into a variable of the theme."""
    prop, color = match.groups()
    if color == UNTRUSTED:
        raise FormulaError("a command that runs code or loads a file is not allowed")
    if color not in (*COLORS, "transparent"):
        raise FormulaError(f"unknown color {color!r}: the themes know {', '.join(COLORS)}")
    return match[0] if color == "transparent" else f"{prop}:var(--math-{color});"


@cache
def typeset(latex: str, display: bool) -> str:
    """Return a formula as HTML for the eyes and MathML for screen readers, or raise FormulaError."""
    try:
        html = _engine(os.getpid()).call("katex.renderToString", latex, OPTIONS | {"displayMode": display})
    except JSEvalException as error:
        reason = str(error).partition("KaTeX parse error: ")[2] or str(error)
        raise FormulaError(reason.splitlines()[0]) from None
    visible = html.index('<span class="katex-html"')
    return html[:visible] + STYLE_COLOR.sub(_themed, html[visible:])


def _append_formula(translator: HTML5Translator, node: nodes.Element, latex: str, display: bool) -> None:
    try:
        translator.body.append(typeset(latex, display))
    except FormulaError as error:
        LOGGER.warning("formula: %s", error, location=node)
        translator.body.append(f"<code>{translator.encode(latex)}</code>")


def visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(translator.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    _append_formula(translator, node, node.astext(), display=False)
    translator.body.append("</span>")
    raise nodes.SkipNode


def visit_display(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(translator.starttag(node, "div", CLASS="math notranslate nohighlight"))
    _append_formula(translator, node, NUMBERED_ENVIRONMENT.sub(r"\\\1{\2*}", node.astext()), display=True)
    if node["number"]:
        translator.body.append(f'<span class="eqno">({get_node_equation_number(translator, node)})')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    translator.body.append("</div>\n")
    raise nodes.SkipNode


class KeepPunctuation(SphinxPostTransform):
    """Keep an inline formula on one line with the bracket before it and the comma or full stop behind it."""

    default_priority = 900
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for formula in list(self.document.findall(nodes.math)):
            parent = formula.parent
            here = next(k for k, child in enumerate(parent) if child is formula)  # by identity: commas are equal
            before = parent[here - 1] if here else None
            after = parent[here + 1] if here + 1 < len(parent) else None
            opening = CLOSE_BEFORE.search(before) if isinstance(before, nodes.Text) else None
            closing = CLOSE_BEHIND.match(after) if isinstance(after, nodes.Text) else None
            if opening or closing:
                kept = nodes.inline("", "", formula, classes=["nobreak"])
                parent[here] = kept
                if opening:
                    kept.insert(0, nodes.Text(opening[0]))
                    parent[here - 1] = nodes.Text(before[: opening.start()])
                if closing:
                    kept += nodes.Text(WORD_JOINER + closing[0])  # the box of a formula ends with a place to break
                    parent[here + 1] = nodes.Text(after[closing.end() :])


def add_styles(app: Sphinx, config: Config) -> None:
    """Hand the installed styles and fonts to the site."""
    if not (FOLDER / "katex.min.css").is_file():
        raise ExtensionError("KaTeX's styles are not installed: run `python book/_ext/install_katex.py` first")
    config.html_static_path.append(str(FOLDER))
    app.add_css_file("katex.min.css", priority=400)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer("katex", (visit_inline, None), (visit_display, None))
    app.add_post_transform(KeepPunctuation)
    app.connect("config-inited", add_styles)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
