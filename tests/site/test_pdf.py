"""Printed pages: whole, on white paper, with an outline; what is for clicking is left out, and nothing is cut off."""

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader
from pypdf.generic import DictionaryObject
from selenium.webdriver import Chrome

from book import pdf
from book.chromium import SITE, open_page, set_theme, set_width

pytestmark = pytest.mark.xdist_group("site")  # one browser, also where tests run in parallel

CHAPTER, EXERCISES = "book/chapters/lstm", "book/exercises/lstm"
PAPER = 673  # pixels between the margins of A4
BEYOND_PAPER = """
dispatchEvent(new Event("beforeprint"));
const edge = document.querySelector("article").getBoundingClientRect().right + 1;
const wide = [...document.querySelectorAll("article *")].filter(e => e.getBoundingClientRect().right > edge);
const seen = wide.filter(e => e.checkVisibility() && !e.closest(".katex-mathml, svg, .headerlink"));
dispatchEvent(new Event("afterprint"));
return seen.slice(0, 3).map(e => e.outerHTML.slice(0, 200));
"""


@pytest.fixture(scope="module")
def printed(site: str, driver: Chrome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, PdfReader]]:
    """A chapter and a page of exercises, printed by a reader whose system is dark."""
    folder = tmp_path_factory.mktemp("pdf")
    set_theme(driver, "dark")
    set_width(driver, 1280)
    files = {page: pdf.print_page(driver, f"{site}/{page}.html", folder / page) for page in (CHAPTER, EXERCISES)}
    yield {page: PdfReader(file) for page, file in files.items()}
    set_theme(driver, "light")


both = pytest.mark.parametrize("page", [CHAPTER, EXERCISES])


def soup(page: str) -> BeautifulSoup:
    return BeautifulSoup((SITE / f"{page}.html").read_text(encoding="utf-8"), "html.parser")


def letters(text: str) -> str:
    """A text without what paper changes: breaks of lines, and letters that are drawn as one."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text))


def text_of(file: PdfReader) -> str:
    return letters("".join(page.extract_text() for page in file.pages))


def titles(file: PdfReader) -> list[str]:
    return [letters(entry["/Title"]) for entry in pdf.entries(file.root_object["/Outlines"])]


@both
def test_the_outline_and_the_text_have_every_section(page: str, printed: dict[str, PdfReader]) -> None:
    headings = [heading for heading in soup(page).select("article :is(h2, h3)") if not heading.find(class_="katex")]
    wanted = [letters(heading.text.removesuffix("#")) for heading in headings]
    assert len(wanted) > 5
    assert set(wanted) <= set(titles(printed[page]))
    parts = {letters(part) for heading in headings for part in heading.stripped_strings}
    text = text_of(printed[page])
    assert [part for part in parts if part not in text] == []


@both
def test_the_number_of_pages_fits_the_length_of_the_text(page: str, printed: dict[str, PdfReader]) -> None:
    pages = len(printed[page].pages)
    assert len(titles(printed[page])) / 6 < pages < 60
    assert len(text_of(printed[page])) / pages > 500, "pages are half empty"


def test_the_figures_of_a_chapter_are_there(printed: dict[str, PdfReader]) -> None:
    assert pictures(printed[CHAPTER]) == len(soup(CHAPTER).select("article img"))


def pictures(file: PdfReader) -> int:
    found = [page["/Resources"].get("/XObject", {}) for page in file.pages]
    return sum(item.get_object()["/Subtype"] == "/Image" for objects in found for item in objects.values())


def test_the_references_are_open_and_the_hints_are_left_out(printed: dict[str, PdfReader]) -> None:
    assert letters("np.split") in text_of(printed[CHAPTER])
    hint = soup(EXERCISES).select_one("section.question details p").text
    assert letters(hint) not in text_of(printed[EXERCISES])
    assert letters("raise NotImplementedError") in text_of(printed[EXERCISES])


@both
def test_links_lead_into_the_document_or_out_to_the_web(page: str, printed: dict[str, PdfReader]) -> None:
    links = [note for sheet in printed[page].pages for note in map(resolved, sheet.get("/Annots", []))]
    targets = [link["/Dest"] for link in links if "/Dest" in link]
    assert len(targets) > 5
    assert set(targets) <= set(printed[page].named_destinations)
    addresses = [str(link["/A"].get("/URI", "")) for link in links if "/A" in link]
    assert [address for address in addresses if "127.0.0.1" in address] == []


def resolved(item: DictionaryObject) -> DictionaryObject:
    return item.get_object()


def test_paper_stays_white_and_the_page_becomes_dark_again(site: str, driver: Chrome) -> None:
    set_theme(driver, "dark")
    open_page(driver, f"{site}/{CHAPTER}.html")
    themes = driver.execute_script("""
        const seen = [], note = () => seen.push(document.documentElement.dataset.theme);
        for (const event of ["beforeprint", "afterprint"]) dispatchEvent(new Event(event)), note();
        return seen;""")
    assert themes == ["light", "dark"]
    assert not driver.find_elements("css selector", "article details[open]")
    set_theme(driver, "light")


@both
def test_nothing_is_wider_than_the_paper(page: str, site: str, driver: Chrome) -> None:
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    set_width(driver, PAPER)
    try:
        open_page(driver, f"{site}/{page}.html")
        assert driver.execute_script(BEYOND_PAPER) == []
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        set_width(driver, 1280)


def test_each_page_has_a_file_of_its_own() -> None:
    assert pdf.file_of(CHAPTER) == Path(pdf.FOLDER, "lstm.pdf")
    assert pdf.file_of(EXERCISES) == Path(pdf.FOLDER, "lstm-exercises.pdf")
