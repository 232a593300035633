"""One web server and one browser for all tests of the site; each page is loaded once for each look at it."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from selenium.webdriver import Chrome

from book import chromium
from tests.site import browsing

WIDEST_ELEMENT = """
const edge = document.documentElement.clientWidth;
const scrolls = "pre, .katex-display, .output, .pst-scrollable-table-container";
const wide = [...document.querySelectorAll("article *")]
  .filter(e => e.getBoundingClientRect().right > edge + 1 && !e.parentElement.closest(scrolls));
return wide.length ? wide.at(-1).outerHTML.slice(0, 200) : "";
"""
TEXT_OUTSIDE_CODE = """
const article = document.querySelector("article").cloneNode(true);
article.querySelectorAll("pre, code, script, style, .katex").forEach(e => e.remove());
return article.textContent;
"""
UNREACHABLE_FORMULAS = """
return [...document.querySelectorAll(".katex-display")]
  .filter(e => e.scrollWidth > e.clientWidth + 1 && e.tabIndex !== 0)
  .map(e => e.textContent.slice(0, 80));
"""


@dataclass(frozen=True)
class Visit:
    """What a page did in the browser, seen in one theme at one width."""

    requests: list[str]
    complaints: list[str]
    overflow: int
    widest: str
    text: str
    formulas: int
    unreachable: list[str]


Look = Callable[[str, str, int], Visit]


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """The address of the built site."""
    if not (chromium.SITE / "index.html").is_file():
        pytest.fail("the site is not built: run `make site`", pytrace=False)
    with chromium.served() as address:
        yield address


@pytest.fixture(scope="session")
def driver(site: str) -> Iterator[Chrome]:
    browsing.require_chromium()
    with chromium.browser() as driver:
        yield driver


@pytest.fixture(scope="session")
def look(site: str, driver: Chrome) -> Look:
    """Visit a page in a theme at a width; a second look at the same costs nothing."""
    seen: dict[tuple[str, str, int], Visit] = {}

    def look(page: str, theme: str = "light", width: int = 1280) -> Visit:
        key = (page, theme, width)
        if key not in seen:
            seen[key] = visit(driver, f"{site}/{page}.html", theme, width)
        return seen[key]

    return look


def visit(driver: Chrome, address: str, theme: str, width: int) -> Visit:
    """Load a page and ask the browser for all that the tests want to know."""
    chromium.set_theme(driver, theme)
    chromium.set_width(driver, width)
    chromium.requests(driver), driver.get_log("browser")  # what came before does not count
    chromium.open_page(driver, address)
    assert driver.execute_script("return document.documentElement.dataset.theme") == theme
    return Visit(
        requests=chromium.requests(driver),
        complaints=[entry["message"] for entry in driver.get_log("browser") if entry["level"] != "INFO"],
        overflow=driver.execute_script("return document.documentElement.scrollWidth") - width,
        widest=driver.execute_script(WIDEST_ELEMENT),
        text=re.sub(r"\s+", " ", driver.execute_script(TEXT_OUTSIDE_CODE)),
        formulas=driver.execute_script("return document.querySelectorAll('article .katex').length"),
        unreachable=driver.execute_script(UNREACHABLE_FORMULAS),
    )
