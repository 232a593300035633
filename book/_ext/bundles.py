"""The exercises to download: a link on each exercise page, to a zip that is made with the site."""

from pathlib import Path
from typing import Any

from docutils import nodes
from execution import PACKAGES, digest, is_new
from execution import write as stamp
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.osutil import relative_uri

from autograder import blocks, bundle

EXERCISES = "book/exercises/"
SOURCES = (*PACKAGES["autograder"], "book/exercises/*.md")


def place(stem: str) -> str:
    """Where the bundle of a block lies in the site."""
    return f"_downloads/{stem}-exercises.zip"


class OfferBundle(SphinxPostTransform):
    """Put the link under the heading of an exercise page, where there is a site for it to lead to."""

    default_priority = 900
    builders = ("html",)

    def run(self, **kwargs: Any) -> None:
        page = self.env.docname
        heading = next(iter(self.document.findall(nodes.title)), None)
        if page.startswith(EXERCISES) and heading is not None:
            address = relative_uri(self.app.builder.get_target_uri(page), place(page.removeprefix(EXERCISES)))
            text = "Download the exercises (zip)"
            link = nodes.reference(text, text, refuri=address, internal=True)
            line = nodes.paragraph("", "", link, nodes.Text(" The notebook, checks, and how to start."))
            line["classes"].append("bundle")
            heading.parent.insert(heading.parent.index(heading) + 1, line)


def write_bundles(app: Sphinx, error: Exception | None) -> None:
    """Make the zips, unless nothing that they are made of has changed."""
    if error or app.builder.name != "html":
        return
    made, value = Path(app.doctreedir, "bundles.sha256"), digest(SOURCES)
    files = {stem: Path(app.outdir, place(stem)) for stem in blocks.stems()}
    if is_new(made, value) or not all(file.is_file() for file in files.values()):
        for stem, file in files.items():
            bundle.write(stem, file)
        stamp(made, value)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_post_transform(OfferBundle)
    app.connect("build-finished", write_bundles)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
