"""Print the built site to PDF with Chromium: python -m book.pdf [PAGE ...]

Each chapter and each page of exercises becomes _build/pdf/<name>.pdf, the whole book _build/pdf/book.pdf: tagged, with
an outline and page numbers. A PAGE is an entry of _toc.yml, such as book/chapters/lstm, or the word book.
"""

import base64
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from pypdf import PdfWriter
from pypdf.generic import DictionaryObject, NameObject, TextStringObject
from selenium.webdriver import Chrome

from autograder.blocks import ROOT, pages
from book.chromium import SITE, browser, open_page, served, set_theme

FOLDER = ROOT / "_build" / "pdf"
ONE_PAGE = ROOT / "_build" / "singlehtml"
PRINTED = ("book/chapters/", "book/exercises/")
MINUTES_FOR_THE_BOOK = 10
INCH = 25.4  # mm
TWICE = re.compile(r"^(.{4,})\1")  # Chromium repeats a heading in the outline where it moved it to the next page
PAGE_NUMBER = '<div style="width: 100%; font-size: 8px; text-align: center"><span class="pageNumber"></span></div>'
OPTIONS = {
    "paperWidth": 210 / INCH,
    "paperHeight": 297 / INCH,
    "marginTop": 15 / INCH,
    "marginBottom": 18 / INCH,
    "marginLeft": 16 / INCH,
    "marginRight": 16 / INCH,
    "displayHeaderFooter": True,
    "headerTemplate": "<span></span>",
    "footerTemplate": PAGE_NUMBER,
    "printBackground": True,
    "generateTaggedPDF": True,
    "generateDocumentOutline": True,
}
# Pictures are loaded, navigation is left out, and no link leads to the server that this page comes from.
PREPARE = """
const done = arguments[arguments.length - 1], root = arguments[0];
for (const part of document.querySelectorAll(".bd-sidebar-primary, .bd-sidebar-secondary, dialog")) part.remove();
for (const link of document.querySelectorAll("a[href]")) {
  const to = new URL(link.href), id = decodeURIComponent(to.hash.slice(1));
  const here = to.pathname === location.pathname || to.pathname.endsWith(root);
  if (to.origin !== location.origin) continue;
  if (here && id && document.getElementById(id)) link.setAttribute("href", "#" + id);
  else link.removeAttribute("href");
}
const pictures = [...document.images];
for (const picture of pictures) picture.loading = "eager";
Promise.allSettled(pictures.map(picture => picture.decode())).then(() => done());
"""


def file_of(page: str) -> Path:
    """Where the PDF of a page goes: lstm.pdf, lstm-exercises.pdf."""
    stem = page.rpartition("/")[2]
    return FOLDER / f"{stem}{'-exercises' if '/exercises/' in page else ''}.pdf"


def print_page(driver: Chrome, address: str, file: Path, one_page: str = "#") -> Path:
    """Print one page of the site, with all of its pictures; `one_page` is how it calls itself, if it is the book."""
    open_page(driver, address)
    driver.execute_async_script(PREPARE, one_page)
    printed = driver.execute_cdp_cmd("Page.printToPDF", OPTIONS)
    writer = PdfWriter(BytesIO(base64.b64decode(printed["data"])))
    for entry in entries(writer.root_object.get("/Outlines")):
        entry[NameObject("/Title")] = TextStringObject(TWICE.sub(r"\1", entry["/Title"]))
    file.parent.mkdir(parents=True, exist_ok=True)
    writer.write(file)
    return file


def entries(outline: Any) -> Iterator[DictionaryObject]:
    """Every entry of an outline, from the first to the last."""
    entry = outline.get("/First") if outline else None
    while entry:
        entry = entry.get_object()
        yield entry
        yield from entries(entry)
        entry = entry.get("/Next")


def build_one_page() -> None:
    """Build the whole book as one page, from what the build of the site has read and run.

    Sphinx writes its addresses as those of a page at the root, so there it goes.
    """
    command = ["jupyter-book", "build", "-n", "-W", "--keep-going", "--builder", "singlehtml", str(ROOT)]
    subprocess.run([Path(sys.executable).with_name(command[0]), *command[1:]], check=True, cwd=ROOT)
    shutil.copyfile(ONE_PAGE / f"{pages()[0]}.html", ONE_PAGE / "book.html")


def main(wanted: list[str]) -> None:
    wanted = wanted or [*(page for page in pages() if page.startswith(PRINTED)), "book"]
    if not (SITE / "index.html").is_file():
        sys.exit("the site is not built: run `make site`")
    if "book" in wanted:
        build_one_page()
    with browser() as driver, served() as site, served(ONE_PAGE) as one_page:
        set_theme(driver, "light")
        driver.set_script_timeout(60 * MINUTES_FOR_THE_BOOK)
        driver.command_executor.client_config.timeout = 60 * MINUTES_FOR_THE_BOOK
        for page in wanted:
            if page == "book":
                print(print_page(driver, f"{one_page}/book.html", FOLDER / "book.pdf", f"{pages()[0]}.html"))
            else:
                print(print_page(driver, f"{site}/{page}.html", file_of(page)))


if __name__ == "__main__":
    main(sys.argv[1:])
