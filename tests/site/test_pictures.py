"""Pictures load when they come into view, leave their room free until then, and are light."""

import re
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from autograder.blocks import ROOT, pages
from book.chromium import SITE, open_page, requests, set_width
from tests.site.browsing import without_scripts

pytestmark = pytest.mark.xdist_group("site")  # one browser, also where tests run in parallel

EXTENSIONS = ROOT / "book" / "_ext"
ANIMATED = "book/chapters/gan"
every_page = pytest.mark.parametrize("page", pages())


@pytest.mark.usefixtures("site")
@every_page
def test_every_picture_waits_and_says_how_much_room_it_takes(page: str) -> None:
    file = SITE / f"{page}.html"
    for picture in BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser").select("article img"):
        assert picture["loading"] == "lazy"
        if picture["src"].startswith("data:"):  # of a figure that is one file
            continue
        source = file.parent / picture["src"]
        assert source.is_file()
        if source.suffix != ".svg" and not picture.get("style"):
            with Image.open(source) as opened:
                assert (int(picture["width"]), int(picture["height"])) == opened.size


@pytest.mark.usefixtures("site")
@every_page
def test_no_frame_of_an_animation_is_part_of_a_page(page: str) -> None:
    assert '"data:image' not in "".join(re.findall(r"frames\[.*", (SITE / f"{page}.html").read_text(encoding="utf-8")))


def test_the_frames_of_an_animation_are_asked_for_when_its_controls_are_reached(site: str, driver: Chrome) -> None:
    set_width(driver, 1280)
    requests(driver)
    open_page(driver, f"{site}/{ANIMATED}.html")
    slider = driver.find_element(By.CSS_SELECTOR, ".anim-slider")
    picture = driver.find_element(By.CSS_SELECTOR, ".animation img")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", picture)
    WebDriverWait(driver, 10).until(lambda _: picture.get_property("naturalWidth"))
    assert len([url for url in requests(driver) if "/frame-" in url]) == 1
    driver.execute_script("arguments[0].focus()", slider)
    frames = int(slider.get_attribute("max")) + 1
    seen: set[str] = set()
    WebDriverWait(driver, 10).until(lambda _: len(seen.update(requests(driver)) or seen) >= frames - 1)
    driver.find_element(By.CSS_SELECTOR, "[aria-label='Last frame']").click()
    width = int(picture.get_attribute("width"))
    WebDriverWait(driver, 10).until(lambda _: picture.get_property("naturalWidth") == width)


def test_an_animation_shows_its_first_frame_without_a_script(site: str, driver: Chrome) -> None:
    with without_scripts(driver):
        driver.get(f"{site}/{ANIMATED}.html")
        picture = driver.find_element(By.CSS_SELECTOR, ".animation img")
        assert (SITE / "_images" / picture.get_attribute("src").rpartition("/")[2]).is_file()


@pytest.fixture
def shrunk(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(EXTENSIONS)
    from pictures import shrunk

    return shrunk


def saved(pixels: np.ndarray, file: Path) -> Path:
    Image.fromarray(pixels.astype(np.uint8)).save(file)
    return file


def colors(file: Path) -> np.ndarray:
    with Image.open(file) as picture:
        return np.asarray(picture.convert("RGB"), dtype=float)


def test_a_plot_of_few_colors_keeps_each_of_its_pixels(shrunk, tmp_path: Path, rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (200, 3))[rng.integers(0, 200, (37, 53)).cumsum(axis=1) // 40 % 200]
    light = shrunk(saved(pixels, tmp_path / "plot.png"), tmp_path / "light")
    assert light.suffix == ".png"
    np.testing.assert_array_equal(colors(light), pixels)


def test_a_picture_of_many_colors_becomes_smaller_and_looks_the_same(shrunk, tmp_path: Path) -> None:
    y, x = np.mgrid[0:1:211j, 0:1:307j]
    pixels = 255 * np.stack([x, y, (1 + np.sin(9 * x * y)) / 2], axis=-1)
    file = saved(pixels, tmp_path / "photograph.png")
    light = shrunk(file, tmp_path / "light")
    assert light.suffix == ".webp"
    assert light.stat().st_size < file.stat().st_size / 2
    assert np.abs(colors(light) - colors(file)).mean() < 3


def test_a_picture_that_shows_what_lies_behind_it_stays_as_it_is(shrunk, tmp_path: Path) -> None:
    file = saved(np.zeros((5, 7, 4)), tmp_path / "glass.png")
    assert shrunk(file, tmp_path / "light") == file
