"""The formula sheet in a browser: its links, its filter, the search that leads to it, and how it prints."""

import base64
import gzip
import re
from collections.abc import Iterator
from functools import cache
from urllib.parse import urldefrag

import pytest
from bs4 import BeautifulSoup, Tag
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from autograder import blocks
from book.chromium import SITE, open_page, set_width
from tests.kernel_twins import twins
from tests.site.browsing import without_scripts
from tests.test_formula_sheet import entries as written_entries

pytestmark = pytest.mark.xdist_group("site")  # one browser, also where tests run in parallel

PAGE = "book/formula_sheet.html"
PIXELS_PER_INCH, MILLIMETERS_PER_INCH, POINTS_PER_INCH = 96, 25.4, 72
PRINTED_WIDTH = 297 - 2 * 7  # mm: a sheet on its side, without its margins
SMALLEST_TYPE = 6.5  # points
CUT_OFF = """
const out = [];
for (const formula of document.querySelectorAll("section.formula .katex-display")) {
  const parts = [...formula.querySelectorAll(".katex-html *")].filter(e => !e.closest("svg, .hide-tail"));
  const edge = Math.max(...parts.map(e => e.getBoundingClientRect().right));
  if (edge > formula.getBoundingClientRect().right + 1) out.push(formula.closest("section").id);
}
for (const table of document.querySelectorAll("section.formula table:not(.sheets-own)"))
  if (table.scrollWidth > table.parentElement.clientWidth + 1) out.push(table.closest("section").id);
return out;
"""
SPLIT = """
return [...document.querySelectorAll("section.formula")]
  .filter(e => getComputedStyle(e).breakInside !== "avoid" || e.getClientRects().length > 1)
  .map(e => e.id);
"""
TYPE = """
const sizes = [...document.querySelectorAll("section.formula :is(p, .katex, td, th, h4, h5, code)")]
  .filter(e => e.getClientRects().length && !e.closest(".katex-html"))
  .map(e => parseFloat(getComputedStyle(e).fontSize));
return Math.min(...sizes);
"""
SHOWN = """
const labels = e => [e.id, ...[...e.querySelectorAll(":scope > span[id]")].map(s => s.id)];
return [...document.querySelectorAll("section.formula")]
  .filter(e => e.checkVisibility())
  .map(e => labels(e).find(label => label.startsWith("formula-")));
"""


@cache
def entries() -> dict[str, Tag]:
    """Every entry of the built page by its label."""
    page = BeautifulSoup((SITE / PAGE).read_text(encoding="utf-8"), "html.parser")
    found = {}
    for section in page.select("section.formula"):
        labels = [str(part["id"]) for part in (section, *section.find_all("span", id=True, recursive=False))]
        found[next(label for label in labels if label.startswith("formula-"))] = section
    return found


def names(entry: Tag) -> list[str]:
    """The functions and kernels that an entry names."""
    return [code.text for code in entry.select("dd.field-links code") if re.fullmatch(r"(?!test_)\w+", code.text)]


def anchors(entry: Tag) -> set[str]:
    """Where the links of an entry lead; in a page, an underscore of a label may have become a hyphen."""
    targets = {urldefrag(str(link["href"])).fragment for link in entry.select("dd.field-links a[href]")}
    return {target.replace("_", "-") for target in targets}


@cache
def questions() -> set[str]:
    pages = [blocks.exercises(stem).read_text(encoding="utf-8") for stem in blocks.stems()]
    return {name for page in pages for name in re.findall(r"^[`~]{3,}\{question\}\s+(\w+)", page, re.MULTILINE)}


def kernel_section(stem: str) -> set[str]:
    """The section of a chapter about its kernel; the one about kernels has none."""
    chapter = blocks.chapter(stem).read_text(encoding="utf-8")
    return set(re.findall(r"^\(([\w-]+)\)=\n## As a GPU kernel$", chapter, re.MULTILINE))


@pytest.mark.usefixtures("site")
def test_the_page_has_every_entry_of_its_source() -> None:
    written = {label for label, text in written_entries().items() if re.search(r"^\w+\n: ", text, re.MULTILINE)}
    assert set(entries()) == written


@pytest.mark.usefixtures("site")
def test_each_function_that_is_an_exercise_is_linked_to_it() -> None:
    missing = {
        (label, name)
        for label, entry in entries().items()
        for name in names(entry)
        if name in questions() and f"question-{name}".replace("_", "-") not in anchors(entry)
    }
    assert missing == set()


@pytest.mark.usefixtures("site")
def test_each_function_with_a_kernel_is_linked_to_it_and_to_the_exercise_on_it() -> None:
    missing = set()
    for host, twin in twins().items():
        stem = next(stem for stem in blocks.stems() if twin.module.__name__.split(".")[-1].startswith(stem))
        kernel = f"{host.removeprefix('launch_').removesuffix('_forward')}_kernel"
        labels = kernel_section(stem) | ({f"question-{kernel}"} if kernel in questions() else set())
        wanted = {label.replace("_", "-") for label in labels}
        name = twin.forward.__name__
        missing |= {
            (label, name) for label, entry in entries().items() if name in names(entry) and wanted - anchors(entry)
        }
    assert missing == set()


@pytest.mark.usefixtures("site")
def test_the_page_travels_in_a_fraction_of_a_megabyte() -> None:
    assert len(gzip.compress((SITE / PAGE).read_bytes(), mtime=0)) < 250_000


@pytest.fixture
def sheet(driver: Chrome, site: str) -> Chrome:
    set_width(driver, 1280)
    open_page(driver, f"{site}/{PAGE}")
    return driver


def shown(driver: Chrome) -> set[str]:
    """The labels of the entries that can be seen."""
    return set(driver.execute_script(SHOWN))


def said(driver: Chrome) -> str:
    return driver.find_element(By.CSS_SELECTOR, ".formula-filter [role=status]").text


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("peephole", "formula-lstm-peephole"),
        ("GELU", "formula-activations-gelu"),
        ("softmax_backward", "formula-activations-softmax"),
        ("kl", "formula-vae-kl"),
        ("sigma tanh", "formula-sigmoid"),
        ("κ", "formula-descent-condition"),
        ("Kaiming", "formula-init-he"),
        ("swish", "formula-activations-smooth"),
    ],
)
def test_typing_narrows_the_page_to_what_has_the_words(typed: str, found: str, sheet: Chrome) -> None:
    sheet.find_element(By.ID, "formula-filter").send_keys(typed)
    left = shown(sheet)
    assert found in left
    assert len(left) < len(entries()) / 2
    assert said(sheet) == f"{len(left)} of {len(entries())} formulas and tables"


def test_headings_without_a_formula_left_go_too(sheet: Chrome) -> None:
    sheet.find_element(By.ID, "formula-filter").send_keys("peephole")
    visible = [heading.text for heading in sheet.find_elements(By.CSS_SELECTOR, "article h2") if heading.is_displayed()]
    assert [text.rstrip("#").strip() for text in visible] == ["Sequences and language"]


def test_words_that_no_formula_has_leave_none_and_say_so(sheet: Chrome) -> None:
    sheet.find_element(By.ID, "formula-filter").send_keys("xylophone")
    assert shown(sheet) == set()
    assert said(sheet) == f"none of {len(entries())} formulas and tables"


def test_escape_clears_the_filter_and_the_keyboard_stays_in_it(sheet: Chrome) -> None:
    field = sheet.find_element(By.ID, "formula-filter")
    field.send_keys("peephole")
    assert shown(sheet) != set(entries())
    field.send_keys(Keys.ESCAPE)
    assert shown(sheet) == set(entries())
    assert (field.get_attribute("value"), said(sheet)) == ("", "")
    assert sheet.switch_to.active_element == field


def test_enter_in_the_filter_stays_on_the_page(sheet: Chrome, site: str) -> None:
    sheet.find_element(By.ID, "formula-filter").send_keys("peephole", Keys.ENTER)
    assert sheet.current_url == f"{site}/{PAGE}"
    assert "formula-lstm-peephole" in shown(sheet)


def test_a_link_to_a_formula_that_is_filtered_out_shows_it(sheet: Chrome) -> None:
    sheet.find_element(By.ID, "formula-filter").send_keys("peephole")
    assert "formula-gan-game" not in shown(sheet)
    sheet.execute_script("location.hash = 'formula-gan-game'")
    WebDriverWait(sheet, 10).until(lambda driver: "formula-gan-game" in shown(driver))
    place = sheet.execute_script("return document.getElementById('formula-gan-game').getBoundingClientRect().top")
    assert 0 <= place < 900


def test_a_click_in_the_outline_shows_what_is_filtered_out(sheet: Chrome) -> None:
    sheet.find_element(By.ID, "formula-filter").send_keys("peephole")
    sheet.find_element(By.CSS_SELECTOR, ".page-toc a[href='#attention']").click()
    assert shown(sheet) == set(entries())


def test_without_a_script_everything_is_shown_and_no_filter(driver: Chrome, site: str) -> None:
    with without_scripts(driver):
        driver.get(f"{site}/{PAGE}")
        assert shown(driver) == set(entries())
        assert not driver.find_element(By.CSS_SELECTOR, ".formula-filter").is_displayed()


@pytest.mark.parametrize(
    ("query", "label"), [("peephole", "formula-lstm-peephole"), ("GELU", "formula-activations-gelu")]
)
def test_the_search_of_the_site_leads_to_a_formula_by_its_name(
    query: str, label: str, driver: Chrome, site: str
) -> None:
    open_page(driver, f"{site}/search.html?q={query}")
    place = f"#search-results a[href*='formula_sheet.html#{label}']"
    WebDriverWait(driver, 30).until(lambda driver: driver.find_elements(By.CSS_SELECTOR, place))


@pytest.fixture
def paper(sheet: Chrome) -> Iterator[Chrome]:
    """The page as it is laid out for a printer."""
    sheet.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    set_width(sheet, round(PRINTED_WIDTH / MILLIMETERS_PER_INCH * PIXELS_PER_INCH))
    yield sheet
    sheet.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_the_page_prints_on_both_sides_of_two_sheets_from_the_first_formula_to_the_last(sheet: Chrome) -> None:
    wishes = {"preferCSSPageSize": True, "generateTaggedPDF": True, "generateDocumentOutline": True}
    document = base64.b64decode(sheet.execute_cdp_cmd("Page.printToPDF", wishes)["data"])
    assert len(re.findall(rb"/Type\s*/Page\b", document)) <= 4
    titles = [entry.select_one("h4, h5").contents[0] for entry in entries().values()]
    printed = [title for title in (titles[0], titles[-1]) if f"/Title ({title})".encode() in document]
    assert printed == [titles[0], titles[-1]]


def test_on_paper_every_formula_is_there_and_nothing_but_formulas_and_tables(paper: Chrome) -> None:
    assert shown(paper) == set(entries())
    gone = ".field-sheets, .field-links, .formula-filter, .headerlink, .admonition, .bd-sidebar-primary, .bd-header"
    assert [e.tag_name for e in paper.find_elements(By.CSS_SELECTOR, gone) if e.is_displayed()] == []


def test_on_paper_nothing_is_cut_off_and_no_formula_is_split(paper: Chrome) -> None:
    assert paper.execute_script(CUT_OFF) == []
    assert paper.execute_script(SPLIT) == []


def test_the_type_on_paper_can_be_read(paper: Chrome) -> None:
    assert paper.execute_script(TYPE) / PIXELS_PER_INCH * POINTS_PER_INCH >= SMALLEST_TYPE


@pytest.mark.usefixtures("site")
def test_the_first_page_has_a_card_for_every_block_with_its_formula_and_all_links() -> None:
    intro = BeautifulSoup((SITE / "book" / "intro.html").read_text(encoding="utf-8"), "html.parser")
    cards = {}
    for card in intro.select(".formula-cards .sd-card"):
        hrefs = [str(link["href"]) for link in card.select("a[href]")]
        assert card.select_one(".katex"), "a card shows a formula"
        (chapter, *_) = [re.search(r"chapters/(\w+)\.html", href) for href in hrefs if "chapters/" in href]
        cards[chapter[1]] = hrefs
    assert list(cards) == list(blocks.stems())
    for stem, hrefs in cards.items():
        assert f"exercises/{stem}.html" in hrefs
        assert any(href.startswith("formula_sheet.html#formula-sheet-") for href in hrefs)
        assert any("kernel" in urldefrag(href).fragment for href in hrefs)


@pytest.mark.usefixtures("site")
def test_the_first_page_offers_the_formula_sheet_before_all_other_pages() -> None:
    intro = BeautifulSoup((SITE / "book" / "intro.html").read_text(encoding="utf-8"), "html.parser")
    links = [str(link["href"]) for link in intro.select("article a[href]:not(.headerlink)")]
    assert links[0] == "formula_sheet.html"


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("stem", blocks.stems())
def test_a_chapter_shows_the_way_to_its_formulas_above_its_first_section(stem: str) -> None:
    chapter = BeautifulSoup((SITE / "book" / "chapters" / f"{stem}.html").read_text(encoding="utf-8"), "html.parser")
    above = chapter.select_one("article h2").find_all_previous("p", class_="sheet-part")
    (href,) = [str(link["href"]) for line in above for link in line.select("a[href]")]
    page = BeautifulSoup((SITE / PAGE).read_text(encoding="utf-8"), "html.parser")
    assert page.find(id=urldefrag(href).fragment).find_next("section", class_="formula") is not None
