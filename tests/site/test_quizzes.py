"""The five questions at the end of each chapter: answered in the page, with a reason for every option."""

import pytest
from bs4 import BeautifulSoup, Tag
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from autograder.blocks import pages
from book.chromium import SITE, open_page, set_width

pytestmark = pytest.mark.xdist_group("site")  # one browser, also where tests run in parallel

CHAPTERS = [page for page in pages() if page.startswith("book/chapters/")]
SECTION = "#check-yourself"


def options(page: str) -> list[list[Tag]]:
    """The options of each question of a chapter, closed boxes that each hold their explanation."""
    tree = BeautifulSoup((SITE / f"{page}.html").read_text(encoding="utf-8"), "html.parser")
    found: list[list[Tag]] = []
    section = tree.select_one(SECTION)
    assert section is not None, "no quiz"
    for part in section.find_all(recursive=False):
        if part.name == "p" and part.text[:1].isdigit():
            found.append([])
        elif part.name == "details":
            found[-1].append(part)
    return found


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("page", CHAPTERS)
def test_each_of_five_questions_has_one_right_option_and_a_reason_for_all(page: str) -> None:
    questions = options(page)
    assert len(questions) == 5
    for question in questions:
        explained = [option.select_one(".sd-summary-content").text.strip() for option in question]
        assert sum(text.startswith("Right") for text in explained) == 1
        assert all(len(text.split()) >= 4 for text in explained)
        letters = [option.select_one(".sd-summary-text").text.strip()[:2] for option in question]
        assert letters == ["A.", "B.", "C.", "D."]
        assert not any(option.has_attr("open") for option in question)


@pytest.mark.parametrize("page", CHAPTERS)
def test_an_option_answers_to_a_click_and_to_the_keyboard(page: str, site: str, driver: Chrome) -> None:
    set_width(driver, 1280)
    open_page(driver, f"{site}/{page}.html")
    first, second = driver.find_elements(By.CSS_SELECTOR, f"{SECTION} details")[:2]
    summary = first.find_element(By.TAG_NAME, "summary")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", summary)
    summary.click()
    assert first.find_element(By.CSS_SELECTOR, ".sd-summary-content").is_displayed()
    driver.execute_script("arguments[0].focus()", second.find_element(By.TAG_NAME, "summary"))
    ActionChains(driver).send_keys(Keys.ENTER).perform()
    assert second.find_element(By.CSS_SELECTOR, ".sd-summary-content").is_displayed()
