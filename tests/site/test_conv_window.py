"""The window that a reader moves over an image: it shows what the reference computes."""

import itertools

import numpy as np
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from book.chromium import open_page
from solutions.cnn import conv2d_forward
from tests.site.browsing import without_scripts

pytestmark = pytest.mark.xdist_group("site")  # one browser, also where tests run in parallel

PAGE = "book/chapters/cnn.html"
SOBEL = np.array([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])
CHOICES = list(itertools.product((1, 2), (0, 1), (1, 2)))  # stride, padding, dilation


def numbers(driver: Chrome, table: str) -> np.ndarray:
    """What stands in a table, without the small weights."""
    rows = driver.find_elements(By.CSS_SELECTOR, f".{table} tr")
    texts = [[cell.text.split("×")[0] for cell in row.find_elements(By.TAG_NAME, "td")] for row in rows]
    return np.array([[float(text.replace("−", "-")) for text in row] for row in texts])


def choose(driver: Chrome, **choices: int) -> None:
    """Choose in the lists, and have it take effect at once: after a click that can take a while."""
    for name, value in choices.items():
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
        driver.execute_script(script, driver.find_element(By.CSS_SELECTOR, f"#conv-window [name={name}]"), str(value))


def said(driver: Chrome) -> str:
    return driver.find_element(By.CSS_SELECTOR, ".conv-sum").text


@pytest.fixture
def window(driver: Chrome, site: str) -> Chrome:
    open_page(driver, f"{site}/{PAGE}")
    return driver


def test_the_output_is_that_of_the_reference_however_the_window_moves(window: Chrome) -> None:
    choose(window, padding=0)
    image = numbers(window, "conv-image")
    for stride, padding, dilation in CHOICES:
        choose(window, stride=stride, padding=padding, dilation=dilation)
        out, _ = conv2d_forward(image[None, None], SOBEL[None, None], np.zeros(1), stride, padding, dilation)
        np.testing.assert_array_equal(numbers(window, "conv-out"), out[0, 0])


def test_the_keyboard_moves_the_window_and_the_sum_is_told(window: Chrome) -> None:
    slider = window.find_element(By.CSS_SELECTOR, "#conv-window [name=place]")
    slider.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert slider.get_attribute("aria-valuetext") == "row 1, column 1"
    here = window.find_element(By.CSS_SELECTOR, ".conv-out .here").text
    assert said(window).startswith("place (1, 1): ")
    assert said(window).endswith(f" = {here}")


def test_the_place_stays_within_an_output_that_shrinks(window: Chrome) -> None:
    choose(window, stride=1)
    window.find_element(By.CSS_SELECTOR, "#conv-window [name=place]").send_keys(Keys.END)
    assert said(window).startswith("place (4, 4): ")
    choose(window, padding=0, dilation=2)
    assert said(window).startswith("place (0, 0): ")


def test_a_click_chooses_a_place_and_play_goes_on_from_it(window: Chrome) -> None:
    window.find_elements(By.CSS_SELECTOR, ".conv-out td")[5].click()
    assert said(window).startswith("place (1, 2): ")
    play = window.find_element(By.CSS_SELECTOR, ".conv-play")
    play.click()
    assert said(window).startswith("place (2, 0): ")
    assert play.text == "Stop"
    WebDriverWait(window, 10).until(lambda _: play.text == "Play")
    assert said(window).startswith("place (2, 2): ")


def test_without_a_script_the_first_place_stands_there(window: Chrome, site: str) -> None:
    tables = [numbers(window, table) for table in ("conv-image", "conv-out")]
    told = said(window)
    with without_scripts(window):
        window.get(f"{site}/{PAGE}")
        for table, shown in zip(("conv-image", "conv-out"), tables, strict=True):
            np.testing.assert_array_equal(numbers(window, table), shown)
        assert said(window) == told
        assert not window.find_element(By.CSS_SELECTOR, ".conv-controls").is_displayed()
