"""A copy of the site on a disk: pages open, lead to each other and can be searched, without a server."""

import urllib.parse
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from book.chromium import SITE, open_page, requests, set_width

pytestmark = pytest.mark.xdist_group("site")  # one browser, also where tests run in parallel

CHAPTER = "book/chapters/lstm"
WORDS = {"peephole": "book/chapters/lstm", "GELU": "book/chapters/activations"}


@pytest.fixture
def disk(site: str, driver: Chrome) -> Iterator[Chrome]:
    """A browser of a desktop's width; on leaving, nothing of the disk is open."""
    set_width(driver, 1280)
    requests(driver), driver.get_log("browser")  # what came before does not count
    yield driver
    driver.get(f"{site}/index.html")


def on_disk(page: str) -> str:
    return (SITE / f"{page}.html").as_uri()


def test_a_page_from_a_disk_has_its_styles_fonts_pictures_and_formulas(disk: Chrome) -> None:
    open_page(disk, on_disk(CHAPTER))
    assert [url for url in requests(disk) if not url.startswith("file:")] == []
    assert [entry["message"] for entry in disk.get_log("browser") if entry["level"] != "INFO"] == []
    fonts = disk.execute_script("return [...document.fonts].filter(f => f.status === 'loaded').map(f => f.family)")
    assert {"KaTeX_Main", "KaTeX_Math"} <= {font.strip('"') for font in fonts}
    assert disk.execute_script("return document.querySelectorAll('article .katex-display').length") > 0
    picture = disk.find_element(By.CSS_SELECTOR, "article img")
    disk.execute_script("arguments[0].scrollIntoView()", picture)
    WebDriverWait(disk, 10).until(lambda _: picture.get_property("naturalWidth"))


def test_links_lead_from_page_to_page_on_a_disk(disk: Chrome) -> None:
    open_page(disk, on_disk("index"))
    seen = []
    for _ in range(3):
        disk.find_element(By.CSS_SELECTOR, "a.right-next").click()
        seen.append(heading(disk))
    assert len(set(seen)) == 3
    disk.find_element(By.CSS_SELECTOR, "a.left-prev").click()
    assert heading(disk) == seen[1]


def heading(driver: Chrome) -> str:
    return driver.find_element(By.CSS_SELECTOR, "article h1").text


def test_a_word_that_was_searched_for_is_marked_on_the_page_that_was_found(disk: Chrome) -> None:
    open_page(disk, f"{on_disk(CHAPTER)}?highlight=gate")
    assert disk.find_elements(By.CSS_SELECTOR, "article p .highlighted")
    assert [entry["message"] for entry in disk.get_log("browser") if entry["level"] != "INFO"] == []


@pytest.mark.parametrize("served", [True, False], ids=["served", "on a disk"])
@pytest.mark.parametrize("word", WORDS)
def test_the_search_finds_the_chapter_of_a_word(word: str, served: bool, site: str, disk: Chrome) -> None:
    open_page(disk, f"{site}/{CHAPTER}.html" if served else on_disk(CHAPTER))
    disk.find_element(By.CSS_SELECTOR, ".search-button__button").click()
    field = disk.find_element(By.CSS_SELECTOR, "#pst-search-dialog input[name=q]")
    field.send_keys(word, Keys.ENTER)
    WebDriverWait(disk, 20).until(lambda _: disk.find_elements(By.CSS_SELECTOR, "#search-results li a"))
    WebDriverWait(disk, 20).until(lambda _: "found" in disk.find_element(By.ID, "search-results").text)
    found = [link.get_attribute("href") for link in disk.find_elements(By.CSS_SELECTOR, "#search-results li a")]
    assert any(urllib.parse.urlsplit(link).path.endswith(f"{WORDS[word]}.html") for link in found)
    assert {urllib.parse.urlsplit(link).scheme for link in found} == {"http" if served else "file"}
    assert [entry["message"] for entry in disk.get_log("browser") if entry["level"] != "INFO"] == []


def test_pages_other_than_that_of_the_results_do_not_load_the_index_of_the_search(site: str, disk: Chrome) -> None:
    open_page(disk, f"{site}/{CHAPTER}.html")
    assert [url for url in requests(disk) if "searchindex" in url] == []
