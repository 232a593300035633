"""The directives `question`, `given` and `solution`: what an exercise asks for, and what answers it.

A question shows its badges, its text, the stub cut from the reference, and its hints in closed dropdowns:

````{question} lstm_step_forward
:points: 4
:stars: 1
:minutes: 15
:needs: activations

Text with formulas ...

```{dropdown} Hint 1: the idea
...
```
````

{ref}`question-lstm_step_forward` links to it. `{given} sigmoid` shows a helper of an earlier block that the
page hands out. `{solution} lstm_step_forward`, in a chapter, quotes the reference in a closed dropdown; the
class edition (EDITION=class) leaves it out, so that an instructor can publish the site.
"""

import os
import re
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from sphinx_design.shared import is_component

from autograder import question, stubs
from autograder.blocks import ROOT, questions
from autograder.errors import UserError

EDITIONS = ("full", "class")
OPENING = re.compile(r"^[`~]{3,}\{question\}\s+(\w+)", re.MULTILINE)


def stars(argument: str) -> int:
    """Read the number of stars, 1 to 3."""
    number = directives.positive_int(argument)
    if number > 3:
        raise ValueError("a question has 1, 2 or 3 stars")
    return number


def points(argument: str) -> float:
    """Read the marks of a question."""
    number = float(argument)
    if number <= 0:
        raise ValueError("a question is worth more than 0 points")
    return number


def names(argument: str) -> list[str]:
    """Read a list of blocks or questions, separated by commas."""
    return [name.strip() for name in argument.split(",")]


def asked(page: str) -> list[str]:
    """The functions that an exercise page asks for, in its order."""
    return OPENING.findall(page)


def place_of(name: str) -> tuple[str, int] | None:
    """The exercise page that asks for a function, and the number of the question there."""
    for file in sorted((ROOT / "book" / "exercises").glob("*.md")):
        names_there = asked(file.read_text(encoding="utf-8"))
        if name in names_there:
            return f"book/exercises/{file.stem}", names_there.index(name) + 1
    return None


def forbidden(name: str) -> tuple[str, ...]:
    """What the answer to a question must do without; nothing where the question has no judge yet."""
    place = place_of(name)
    stem = place[0].rpartition("/")[2] if place else ""
    if not questions(stem).exists():
        return ()
    found = question.of_block(stem).get(name)
    return found.forbid if found else ()


def fact(text: str, spoken: str | None = None) -> nodes.Node:
    """One badge; `spoken` is what a screen reader says where the text is a picture."""
    if spoken is None:
        return nodes.inline(text, text, classes=["question-fact"])
    return nodes.raw("", f'<span class="question-fact" role="img" aria-label="{spoken}">{text}</span>', format="html")


def parsed(directive: SphinxDirective, lines: list[str], kind: str) -> nodes.container:
    """Markup made by a directive, read as if it stood on the page."""
    box = nodes.container(classes=[kind])
    text = StringList(lines, source=directive.get_source_info()[0])
    directive.state.nested_parse(text, directive.lineno - 1, box)
    return box


class Question(SphinxDirective):
    """One question of an exercise page, as a section of it."""

    required_arguments = 1
    has_content = True
    option_spec: ClassVar = {
        "points": points,
        "stars": stars,
        "minutes": directives.positive_int,
        "needs": names,
    }

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        missing = [option for option in ("points", "stars", "minutes") if option not in self.options]
        if missing:
            raise self.error(f"the question {name} lacks :{':, :'.join(missing)}:")
        self.assert_has_content()
        section = self.section(name)
        section += self.facts(name)
        self.state.nested_parse(self.content, self.content_offset, section)
        if any(not block.astext().strip() for block in section.findall(nodes.literal_block)):
            raise self.error(f"the question {name} has an empty block of code: an outer fence needs more backticks")
        hints = [i for i, node in enumerate(section.children) if is_component(node, "dropdown")]
        section.insert(hints[0] if hints else len(section), self.stub(name))
        return [section]

    def section(self, name: str) -> nodes.section:
        """An empty section with its heading and its target."""
        number = self.env.temp_data["questions"] = self.env.temp_data.get("questions", 0) + 1
        label = f"question-{name}"
        heading = nodes.title("", "", nodes.Text(f"Exercise {number}: "), nodes.literal(name, name))
        section = nodes.section("", heading, ids=[label], names=[label], classes=["question"])
        self.set_source_info(section)
        self.set_source_info(heading)
        self.state.document.note_explicit_target(section)
        return section

    def facts(self, name: str) -> nodes.paragraph:
        """Difficulty, time, points, what should come before, and what the answer must do without."""
        count, marks = self.options["stars"], self.options["points"]
        line = nodes.paragraph(classes=["question-facts"])
        line += fact("★" * count + "☆" * (3 - count), spoken=f"difficulty {count} of 3")
        line += fact(f"{self.options['minutes']} min")
        line += fact(f"{marks:g} point{'' if marks == 1 else 's'}")
        if needs := self.options.get("needs"):
            badge = fact("needs ")
            for position, need in enumerate(needs):
                badge += [nodes.Text(", ")] if position else []
                badge += self.link(need)
            line += badge
        if forbid := forbidden(name):
            badge = fact("without ")
            for position, dotted in enumerate(forbid):
                badge += [nodes.Text(", ")] if position else []
                badge += nodes.literal(dotted, dotted)
            line += badge
        return line

    def link(self, need: str) -> nodes.Node:
        """Link to a question or to a chapter of the book; a block that is not written yet stays text."""
        if place_of(need):
            domain, kind, target = "std", "ref", f"question-{need}"
        elif f"book/chapters/{need}" in self.env.found_docs:
            domain, kind, target = "std", "doc", f"/book/chapters/{need}"
        else:
            return nodes.Text(need.replace("_", " "))
        reference = addnodes.pending_xref(
            "",
            refdomain=domain,
            reftype=kind,
            reftarget=target,
            refexplicit=True,
            refwarn=True,
            refdoc=self.env.docname,
        )
        self.set_source_info(reference)
        reference += nodes.inline(need, need.replace("_", " ") if kind == "doc" else need)
        return reference

    def stub(self, name: str) -> nodes.literal_block:
        """What a student starts from, cut from the reference."""
        try:
            text = stubs.stub(name)
        except UserError as error:
            raise self.error(str(error)) from None
        block = nodes.literal_block(text, text, language="python", classes=["question-stub"])
        self.set_source_info(block)
        return block


class Given(SphinxDirective):
    """A function of an earlier block that the exercises hand out, closed."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        try:
            code = stubs.whole(name).splitlines()
        except UserError as error:
            raise self.error(str(error)) from None
        return [parsed(self, [f"~~~~{{dropdown}} Given: `{name}`", "```python", *code, "```", "~~~~"], "given")]


class Solution(SphinxDirective):
    """The reference of a function that an exercise asks for, closed, and left out of the class edition.

    Its private helpers come with it.

    `:file: solutions/lstm_torch.py` quotes the function of that name in another file than the one it answers.
    """

    required_arguments = 1
    option_spec: ClassVar = {"file": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        place = place_of(name)
        if place is None:
            raise self.error(f"no exercise asks for {name!r}: quote it with literalinclude and :pyobject:")
        page, number = place
        self.env.note_dependency(str(ROOT / f"{page}.md"))
        if self.config.edition == "class":
            lines = [f"*The full edition shows the reference of {{ref}}`{name} <question-{name}>` here.*"]
        else:
            lines = self.quotation(name, number)
        return [parsed(self, lines, "solution")]

    def quotation(self, name: str, number: int) -> list[str]:
        """The markup of the dropdown."""
        try:
            file = self.options.get("file") or stubs.find(name).file.relative_to(ROOT).as_posix()
        except UserError as error:
            raise self.error(str(error)) from None
        place = f" in `{file}`" if "file" in self.options else ""
        lines = [f"~~~~{{dropdown}} Reference: `{name}`{place} (try exercise {number} first)"]
        for function in [name] if place else [*stubs.helpers_of(name), name]:
            lines += [f"```{{literalinclude}} /{file}", f":pyobject: {function}", "```"]
        return [*lines, "~~~~"]


def check_edition(app: Sphinx, config: Any) -> None:
    if config.edition not in EDITIONS:
        raise ExtensionError(f"EDITION is {config.edition!r}; the editions are: {', '.join(EDITIONS)}")


def setup(app: Sphinx) -> dict[str, Any]:
    # 'env': every page is read again when the edition changes.
    app.add_config_value("edition", os.environ.get("EDITION") or "full", "env", str)
    app.connect("config-inited", check_edition)
    app.add_directive("question", Question)
    app.add_directive("given", Given)
    app.add_directive("solution", Solution)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
