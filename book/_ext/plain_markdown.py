"""Turn the text of a chapter into what Jupyter can show: boxes become quotations, roles become their text."""

import re
from collections.abc import Callable, Iterator

from markdown_it import MarkdownIt
from mdit_py_plugins.colon_fence import colon_fence_plugin

from autograder import stubs
from autograder.blocks import ROOT

DIRECTIVE = re.compile(r"\{([\w-]+)\}\s*(.*)")
OPTION = re.compile(r":([\w-]+):\s*(.*)")
TARGET = re.compile(r"^\([\w-]+\)=\n", re.MULTILINE)
EQUATION_LABEL = re.compile(r"^\$\$[ ]*\(([\w-]+)\)[ ]*$", re.MULTILINE)
CITATION = re.compile(r"\{cite(?::\w+)?\}`([^`]*)`")
EQUATION = re.compile(r"\{eq\}`([\w-]+)`")
ROLE = re.compile(r"\{[\w:.-]+\}`([^`<]*?)\s*(?:<[^`>]*>)?`")
LOCAL_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:)[^)]*\)")

Writer = Callable[[str, dict[str, str], str], Iterator[str]]


def plain(text: str) -> str:
    """Return Markdown without the directives, roles and labels of MyST."""
    text = _inline(TARGET.sub("", text))
    lines = text.splitlines()
    for token in reversed(MarkdownIt("commonmark").use(colon_fence_plugin).parse(text)):
        directive = DIRECTIVE.fullmatch(token.info.strip()) if token.type in {"fence", "colon_fence"} else None
        if directive and token.map and token.level == 0:
            name, argument = directive.groups()
            options, content = _options(token.content)
            lines[slice(*token.map)] = WRITERS.get(name, _content)(argument, options, content)
    return "\n".join(lines).strip()


def _inline(text: str) -> str:
    """Roles and links to other pages, which a single notebook cannot follow, as their text."""
    text = EQUATION_LABEL.sub(r"\\tag{\1}\n$$", text)
    text = CITATION.sub(r"[\1]", EQUATION.sub(r"(\1)", text))
    return LOCAL_LINK.sub(r"\1", ROLE.sub(r"\1", text))


def _options(content: str) -> tuple[dict[str, str], str]:
    """Split what a directive holds into its options and its text."""
    lines = content.splitlines()
    options: dict[str, str] = {}
    while lines and (match := OPTION.fullmatch(lines[0].strip())):
        options[match[1]] = match[2]
        lines.pop(0)
    return options, "\n".join(lines)


def _content(argument: str, options: dict[str, str], content: str) -> Iterator[str]:
    yield from plain(content).splitlines()


def _nothing(argument: str, options: dict[str, str], content: str) -> Iterator[str]:
    yield from ()


def _box(title: str) -> Writer:
    """A quotation that starts with a bold title, if it has one."""

    def write(argument: str, options: dict[str, str], content: str) -> Iterator[str]:
        heading = f"{title} {argument}".strip()
        for line in [*([f"**{heading}**", ""] if heading else []), *plain(content).splitlines()]:
            yield f"> {line}".rstrip()

    return write


def _details(argument: str, options: dict[str, str], content: str) -> Iterator[str]:
    summary = re.sub(r"`([^`]*)`", r"<code>\1</code>", argument)
    yield from (f"<details><summary>{summary}</summary>", "", *plain(content).splitlines(), "", "</details>")


def _equation(argument: str, options: dict[str, str], content: str) -> Iterator[str]:
    tag = [rf"\tag{{{options['label']}}}"] if "label" in options else []
    yield from ("$$", *content.strip().splitlines(), *tag, "$$")


def _solution(argument: str, options: dict[str, str], content: str) -> Iterator[str]:
    """The notebook imports the reference: a pointer is enough, and gives nothing away."""
    file = options.get("file") or stubs.find(argument.strip()).file.relative_to(ROOT).as_posix()
    yield f"*(The reference of `{argument.strip()}` is in `{file}`: try the exercise first.)*"


def _quotation(argument: str, options: dict[str, str], content: str) -> Iterator[str]:
    wanted = options.get("pyobject")
    file = "/".join(argument.strip().split("/")[-2:])
    yield f"*(`{wanted}` is in `{file}`.)*" if wanted else f"*(See `{file}`.)*"


WRITERS: dict[str, Writer] = {
    "admonition": _box(""),
    "bibliography": _nothing,
    "card": _box(""),
    "caution": _box("Caution"),
    "dropdown": _details,
    "figure": _content,
    "important": _box("Important"),
    "image": _nothing,
    "literalinclude": _quotation,
    "math": _equation,
    "note": _box("Note"),
    "sheet-note": _box("Sheet note"),
    "sheet-part": _nothing,
    "solution": _solution,
    "tip": _box("Tip"),
    "warning": _box("Warning"),
}
