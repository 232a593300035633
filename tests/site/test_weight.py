"""What a page weighs on the wire, compressed as a server of the web would send it."""

from collections.abc import Callable, Iterator

import pytest
from selenium.webdriver import Chrome

from autograder.blocks import pages
from benchmarks import site as weighing
from book.chromium import SITE, served, set_width

pytestmark = pytest.mark.xdist_group("site")  # one browser, also where tests run in parallel

HEAVIEST = 1_000_000
ANIMATED = "book/chapters/gan"
Weigh = Callable[[str], weighing.Visit]


@pytest.fixture(scope="module")
def weigh(site: str, driver: Chrome) -> Iterator[Weigh]:
    """Visit a page with an empty cache, at the width of a phone."""
    set_width(driver, *weighing.PHONE)
    driver.execute_cdp_cmd("Network.enable", {})
    watch = driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": weighing.WATCH})
    with served(SITE, weighing.CompressingHandler) as address:
        yield lambda page: weighing.visit(driver, f"{address}/{page}.html")
    driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", watch)
    set_width(driver, 1280)


@pytest.mark.parametrize("page", pages())
def test_a_page_is_lighter_than_a_megabyte_without_its_animations(page: str, weigh: Weigh) -> None:
    seen = weigh(page)
    assert seen.whole["text"] > 0
    assert seen.whole["styles"] > 0
    assert seen.still < HEAVIEST, dict(seen.whole)


def test_the_frames_of_an_animation_are_no_part_of_a_first_visit(weigh: Weigh) -> None:
    seen = weigh(ANIMATED)
    assert seen.first["animations"] < seen.whole["animations"] / 4
    assert seen.whole.total() > seen.still


def test_bytes_are_counted_as_they_come_over_the_wire(weigh: Weigh) -> None:
    file = SITE / f"{ANIMATED}.html"
    wanted = len(weighing.compressed(file))
    assert wanted < file.stat().st_size / 3
    assert wanted < weigh(ANIMATED).first["text"] < wanted + 2000  # and what HTTP adds
