"""The directive `sheet-note`: a box that names an error or an ambiguity of the formula sheets.

```{sheet-note} 8
The sheets swap the letters W and U.
```

gives a box "Sheet note 8" that {ref}`sheet-note-8` links to.
"""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class SheetNote(SphinxDirective):
    """A numbered box; the number is that of the list of errata."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        number = self.arguments[0]
        if not number.isdigit():
            raise self.error(f"a sheet note has a number, not {number!r}")
        label, title = f"sheet-note-{number}", f"Sheet note {number}"
        standard = self.env.domains["std"]
        if label in standard.labels:
            page = standard.labels[label][0]
            raise self.error(f"{title} already stands in {page}: link to it with {{ref}}`{label}`")
        self.assert_has_content()
        box = nodes.admonition(ids=[label], names=[label], classes=["sheet-note"])
        self.set_source_info(box)
        box += nodes.title(title, title)
        standard.note_hyperlink_target(label, self.env.docname, label, title)
        self.state.nested_parse(self.content, self.content_offset, box)
        return [box]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("sheet-note", SheetNote)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
