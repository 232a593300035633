"""The built site, as a reader's browser sees it."""

import functools
import html.parser
import re
import zipfile
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import nbformat
import pytest
from bs4 import BeautifulSoup
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from autograder import stubs
from autograder.blocks import ROOT, pages
from book.chromium import SITE, THEMES, open_page, set_theme, set_width
from tests.site import axe
from tests.site.conftest import Look

pytestmark = pytest.mark.xdist_group("site")  # one browser, also where tests run in parallel

PHONE = 390
EXERCISES = [page for page in pages() if page.startswith("book/exercises/")]
CHAPTERS = [page for page in pages() if page.startswith("book/chapters/")]
QUESTION = re.compile(r"^[`~]{3,}\{question\}\s+(\w+)", re.MULTILINE)
FENCE = re.compile(r"^(?P<mark>[`~]{3,})(?!\{).*?^(?P=mark)[`~]*$", re.MULTILINE | re.DOTALL)
FORMULA = re.compile(r"\$\$|\$[^$\s`][^$`\n]*\$|\\begin\{|\{math\}")
RAW_LATEX = re.compile(r"\$|\\\(|\\\[|\\begin\{|\\[a-z]+\{")

every_page = pytest.mark.parametrize("page", pages())
every_theme = pytest.mark.parametrize("theme", THEMES)
every_exercise_page = pytest.mark.parametrize("page", EXERCISES)
every_chapter = pytest.mark.parametrize("page", CHAPTERS)


class PageParser(html.parser.HTMLParser):
    """Collect the anchors, the links and the pictures of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.feed(page.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.anchors |= {value for name, value in attrs if name == "id" and value}
        self.links += [value for name, value in attrs if name in {"href", "src"} and value]
        if tag == "img":
            self.pictures.append(named)


@functools.cache
def parsed(file: Path) -> PageParser:
    return PageParser(file)


def source(page: str) -> str:
    return (ROOT / f"{page}.md").read_text(encoding="utf-8")


def questions(page: str) -> list[str]:
    return QUESTION.findall(source(page))


@every_page
def test_a_page_asks_no_other_server_for_anything(page: str, look: Look, site: str) -> None:
    assert [url for url in look(page).requests if not url.startswith(f"{site}/")] == []


@every_page
def test_a_page_leaves_no_complaint_in_the_console(page: str, look: Look) -> None:
    assert look(page).complaints == []


@every_page
def test_formulas_are_typeset_without_a_script(page: str, look: Look) -> None:
    if FORMULA.search(FENCE.sub("", source(page))):
        assert look(page).formulas > 0
    assert RAW_LATEX.findall(look(page).text) == []


@every_theme
@every_page
def test_a_page_is_no_wider_than_a_phone(page: str, theme: str, look: Look) -> None:
    visit = look(page, theme, PHONE)
    assert visit.overflow <= 0, visit.widest


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", PHONE)])
@every_page
def test_axe_finds_nothing_that_shuts_a_reader_out(
    page: str, theme: str, width: int, site: str, driver: Chrome
) -> None:
    set_theme(driver, theme)
    set_width(driver, width)
    open_page(driver, f"{site}/{page}.html")
    assert axe.violations(driver) == []


@every_page
def test_the_keyboard_reaches_every_formula_that_scrolls(page: str, look: Look) -> None:
    assert look(page, "light", PHONE).unreachable == []


@pytest.mark.usefixtures("site")
@every_page
def test_internal_links_lead_to_pages_and_anchors_that_exist(page: str) -> None:
    file = SITE / f"{page}.html"
    broken = [link for link in parsed(file).links if not urlsplit(link).scheme and not leads_somewhere(file, link)]
    assert broken == []


def leads_somewhere(file: Path, link: str) -> bool:
    path, anchor = urldefrag(link)
    target = (file.parent / unquote(urlsplit(path).path)).resolve() if path else file
    if not target.is_file():
        return False
    return not anchor or target.suffix != ".html" or unquote(anchor) in parsed(target).anchors


@pytest.mark.usefixtures("site")
@every_page
def test_every_picture_has_a_text_for_those_who_cannot_see_it(page: str) -> None:
    texts = [picture.get("alt") or "" for picture in parsed(SITE / f"{page}.html").pictures]
    assert [text for text in texts if not text.strip() or re.search(r"\.(png|svg|jpe?g)$", text)] == []


@pytest.mark.usefixtures("site")
@every_page
def test_a_page_leads_to_its_neighbors_and_to_what_is_wanted_at_hand(page: str) -> None:
    order = list(pages())
    here = order.index(page)
    tree = BeautifulSoup((SITE / f"{page}.html").read_text(encoding="utf-8"), "html.parser")

    def leads_to(selector: str) -> list[str]:
        links = [(SITE / page).parent / link["href"].partition("#")[0] for link in tree.select(selector)]
        return [str(link.resolve().relative_to(SITE).with_suffix("")) for link in links]

    assert leads_to("a.left-prev") == order[:here][-1:]
    assert leads_to("a.right-next") == order[here + 1 :][:1]
    at_hand = ["book/formula_sheet", "book/notation", "book/glossary"]
    assert leads_to(".bd-sidebar-secondary .at-hand a") == [other for other in at_hand if other != page]


@pytest.mark.usefixtures("site")
@every_chapter
def test_the_outline_of_a_chapter_has_its_sections(page: str) -> None:
    tree = BeautifulSoup((SITE / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
    outline = [link["href"] for link in tree.select(".bd-sidebar-secondary .page-toc a")]
    sections = [f"#{section['id']}" for section in tree.select("article > section > section")]
    assert len(sections) > 8
    assert [link for link in outline if link in sections] == sections


def test_code_is_copied_with_a_key(site: str, driver: Chrome) -> None:
    set_width(driver, 1280)
    open_page(driver, f"{site}/book/chapters/lstm.html")
    buttons = driver.find_elements(By.CSS_SELECTOR, ".cell_input button.copybtn")
    assert len(buttons) == len(driver.find_elements(By.CSS_SELECTOR, ".cell_input pre")) > 0
    driver.execute_script("arguments[0].focus(); arguments[0].scrollIntoView({block: 'center'})", buttons[0])
    ActionChains(driver).send_keys(Keys.ENTER).perform()
    WebDriverWait(driver, 10).until(lambda _: "success" in (buttons[0].get_attribute("class") or ""))


@every_exercise_page
def test_every_question_shows_its_facts_its_stub_and_closed_hints(
    page: str, site: str, driver: Chrome, look: Look
) -> None:
    open_page(driver, f"{site}/{page}.html")
    for name in questions(page):
        section = driver.find_element(By.ID, f"question-{name}")
        assert f"def {name}(" in section.find_element(By.CSS_SELECTOR, ".question-stub").text
        assert re.search(r"\d min\n\d+ points?", section.find_element(By.CSS_SELECTOR, ".question-facts").text)
        assert not [hint for hint in section.find_elements(By.TAG_NAME, "details") if hint.get_attribute("open")]


@every_exercise_page
def test_a_hint_opens_with_a_click_and_no_hint_is_empty(page: str, site: str, driver: Chrome) -> None:
    set_width(driver, 1280)
    open_page(driver, f"{site}/{page}.html")
    hints = driver.find_elements(By.CSS_SELECTOR, "section.question details")
    summary = hints[0].find_element(By.TAG_NAME, "summary")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", summary)
    summary.click()
    assert hints[0].get_attribute("open")
    driver.execute_script("for (const hint of arguments[0]) hint.open = true", hints)
    texts = driver.execute_script("return arguments[0].map((h) => [h.innerText, h.firstElementChild.innerText])", hints)
    assert [title for whole, title in texts if whole.strip() == title.strip()] == []


@every_chapter
def test_a_chapter_quotes_what_an_exercise_asks_for_only_where_it_can_be_left_out(page: str) -> None:
    asked = {name for exercise_page in EXERCISES for name in questions(exercise_page)}
    asked |= {helper for name in asked for helper in stubs.helpers_of(name)}
    quoted = re.findall(r"^:pyobject:\s*(\w+)", source(page), re.MULTILINE)
    assert asked & set(quoted) == set(), "quote these with {solution}, not with {literalinclude}"


@pytest.mark.usefixtures("site")
@every_chapter
def test_the_executed_notebook_of_a_chapter_can_be_downloaded(page: str) -> None:
    download = SITE / "_sources" / f"{page}.ipynb"
    assert any(link.endswith(f"{page}.ipynb") for link in parsed(SITE / f"{page}.html").links)
    notebook = nbformat.read(download, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert any(cell.outputs for cell in code)
    assert (ROOT / "_build" / "notebooks" / download.name).read_bytes() == download.read_bytes()


@pytest.mark.usefixtures("site")
@every_exercise_page
def test_the_exercises_of_a_page_can_be_downloaded(page: str) -> None:
    (link,) = [link for link in parsed(SITE / f"{page}.html").links if link.endswith(".zip")]
    stem = page.rpartition("/")[2]
    with zipfile.ZipFile((SITE / f"{page}.html").parent / link) as archive:
        assert archive.testzip() is None
        assert f"{stem}/{stem}.ipynb" in archive.namelist()
