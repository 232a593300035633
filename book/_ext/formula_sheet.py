"""The formula sheet: links from each formula to its exercises and kernels, words for the search, styles, filter.

An entry of book/formula_sheet.md is a section with a label formula-<name> and a list of definitions: Shapes, Sheets,
Links and the like. Links names functions; which of them are asked for in an exercise, and which have a twin among the
kernels, is looked up here, so that nobody needs to write it.

`{sheet-part} formula-sheet-lstm`, at the top of a chapter, is the line that leads to its part of the page.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from docutils import nodes
from question import place_of
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from autograder.blocks import ROOT

PAGE = "book/formula_sheet"
SECTION = re.compile(r"^\((?P<label>[\w-]+)\)=\n## As a GPU kernel$", re.MULTILINE)
WORD = re.compile(r"[^\W\d_][\w×-]+")
COMMON = {"all", "also", "and", "called", "does", "each", "for", "from", "goes", "how", "its", "not", "number", "off"}
COMMON |= {"one", "other", "over", "see", "several", "the", "what", "which", "why", "with"}


def functions(code: str) -> list[str]:
    """The public functions of a file."""
    tree = ast.parse(code)
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"]


@cache
def kernels() -> dict[str, tuple[str, str]]:
    """The block and the kernel's name of every kernel, and of every function that one computes, by name."""
    found = {}
    numpy = {name for file in (ROOT / "solutions").glob("*.py") for name in functions(file.read_text("utf-8"))}
    for chapter in sorted((ROOT / "book" / "chapters").glob("*.md")):
        for file in sorted((ROOT / "kernels").glob(f"{chapter.stem}*.py")):
            for name in functions(file.read_text("utf-8")):
                host = name.removeprefix("launch_")
                layer = host.removesuffix("_forward")
                if name.endswith("_kernel"):
                    found[name] = (chapter.stem, name)
                elif host in numpy:
                    found[host] = (chapter.stem, f"{layer}_kernel")
                    found[f"{layer}_backward"] = (chapter.stem, f"{layer}_backward_kernel")
    return found


def kernel_section(stem: str) -> str | None:
    """The label of the section of a chapter that shows its kernel."""
    found = SECTION.search((ROOT / "book" / "chapters" / f"{stem}.md").read_text("utf-8"))
    return found["label"] if found else None


def exercises(names: list[str]) -> list[str]:
    """The questions that ask for one of these functions, or for the kernel of one of them."""
    twins = [kernels()[name][1] for name in names if name in kernels()]
    return [name for name in dict.fromkeys([*names, *twins]) if place_of(name)]


def kernel_sections(names: list[str]) -> list[str]:
    """The labels of the sections with the kernels of these functions."""
    found = [kernel_section(kernels()[name][0]) for name in names if name in kernels()]
    return [label for label in dict.fromkeys(found) if label]


def entries(document: nodes.document) -> Iterator[nodes.section]:
    """The sections that hold a formula or a table."""
    for section in document.findall(nodes.section):
        fields = [child for child in section.children if isinstance(child, nodes.definition_list)]
        if fields and any(name.startswith("formula-") for name in section["ids"]):
            yield section


def dress(app: Sphinx, document: nodes.document) -> None:
    """Give the entries of the formula sheet their links, their words and their classes."""
    if app.env.docname != PAGE:
        return
    for section in entries(document):
        section["classes"].append("formula")
        add_words(app, section)
        for item in section.findall(nodes.definition_list_item):
            term, *definitions = item.children
            kind = f"field-{term.astext().lower()}"
            for child in item.children:
                child["classes"].append(kind)
            if kind == "field-links":
                add_links(app, definitions[-1])
    for table in document.findall(nodes.table):
        if next(table.findall(nodes.entry)).astext().startswith("sheet"):
            table["classes"].append("sheets-own")


def add_words(app: Sphinx, section: nodes.section) -> None:
    """Let the site's search lead from each word of a heading, such as peepholes, to the entry itself."""
    label = next(name for name in section["ids"] if name.startswith("formula-"))
    heading = section.next_node(nodes.title).astext()
    words = dict.fromkeys(word for word in WORD.findall(heading) if word.lower() not in COMMON)
    found = [("single", word, label, "", None) for word in words]
    section.insert(1, addnodes.index(entries=found))
    app.env.get_domain("index").entries[PAGE] += found  # the domain has read the page already


def add_links(app: Sphinx, definition: nodes.definition) -> None:
    """Name exercises and kernels before the test, or at the end where none is named."""
    names = [literal.astext() for literal in definition.findall(nodes.literal)]
    names = [name for name in names if name.isidentifier() and not name.startswith("test_")]
    there = {node["reftarget"] for node in definition.findall(addnodes.pending_xref)}
    new: list[nodes.Node] = []
    asked = exercises(names)
    for position, name in enumerate(asked):
        page, number = place_of(name)  # type: ignore[misc]
        app.env.note_dependency(str(ROOT / f"{page}.md"))
        before = ", " if position else f" · exercise{'s' if len(asked) > 1 else ''} "
        new += [nodes.Text(before), link(app.env.docname, f"question-{name}", f"{number}: {name}")]
    for label in kernel_sections(names):
        if label not in there:
            new += [nodes.Text(" · "), link(app.env.docname, label, "kernel")]
    insert_before_test(definition.next_node(nodes.paragraph), new)


def insert_before_test(paragraph: nodes.paragraph, new: list[nodes.Node]) -> None:
    """Put nodes in front of the words that name the test."""
    for position, child in enumerate(paragraph.children):
        if isinstance(child, nodes.Text) and " · test" in child:
            before, mark, behind = child.rpartition(" · test")
            paragraph[position : position + 1] = [nodes.Text(before), *new, nodes.Text(mark + behind)]
            return
    paragraph += new


def link(page: str, label: str, text: str) -> addnodes.pending_xref:
    """A link from a page to a label of another one."""
    return addnodes.pending_xref(
        "",
        nodes.inline(text, text),
        refdomain="std",
        reftype="ref",
        reftarget=label,
        refexplicit=True,
        refwarn=True,
        refdoc=page,
    )


class SheetPart(SphinxDirective):
    """The line that leads from a chapter to its formulas."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        line = nodes.paragraph(classes=["sheet-part"])
        line += link(self.env.docname, self.arguments[0], "All formulas of this chapter on the formula sheet")
        return [line]


def add_files(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Load the styles of the formula sheet, those for printing among them, and its filter on its page only."""
    if page == PAGE:
        app.add_css_file("formula-sheet.css")
        app.add_js_file("formula-filter.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("sheet-part", SheetPart)
    app.connect("doctree-read", dress)
    app.connect("html-page-context", add_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
