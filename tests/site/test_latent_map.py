"""The map of the digits that a reader walks through: its decoder is the model's, in the browser."""

import base64
import json

import numpy as np
import pytest
import torch
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from sklearn.datasets import load_digits

from autograder.blocks import ROOT
from book.chromium import open_page, set_width
from solutions.vae_torch import VAE
from tests.site import figure
from tests.site.browsing import touch, without_scripts

pytestmark = pytest.mark.xdist_group("site")  # one browser, also where tests run in parallel

PAGE = "book/chapters/vae.html"
LARGEST = 60_000  # bytes of the decoder and the picture in the page
# A picture further down may wait until it comes into view, so it is asked for.
SHADES = """
const done = arguments[1], source = document.querySelector(arguments[0]), canvas = document.createElement("canvas");
source.loading = "eager";
Promise.resolve(source.decode?.()).then(() => {
  [canvas.width, canvas.height] = [source.naturalWidth ?? source.width, source.naturalHeight ?? source.height];
  const brush = canvas.getContext("2d");
  brush.drawImage(source, 0, 0);
  const { data } = brush.getImageData(0, 0, canvas.width, canvas.height);
  done([canvas.height, canvas.width, [...data.filter((_, k) => k % 4 === 0)]]);
});
"""


@pytest.fixture
def page(driver: Chrome, site: str) -> Chrome:
    set_width(driver, 1280)
    open_page(driver, f"{site}/{PAGE}")
    return driver


def arrays(driver: Chrome) -> list[np.ndarray]:
    """The decoder's parameters as they stand in the page, and the ten mean digits."""
    script = "return document.querySelector('.latent-decoder').textContent"
    data = json.loads(driver.execute_script(script))
    shapes = [tuple(p.shape) for p in VAE(64, 256, 2).decoder.parameters()] + [(10, 64)]
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    whole = np.frombuffer(base64.b64decode(data["bytes"]), np.int8)
    assert len(whole) == ends[-1]
    parts = np.split(whole, ends[:-1])
    return [
        unit * part.astype(float).reshape(shape) for unit, part, shape in zip(data["units"], parts, shapes, strict=True)
    ]


def decoded(driver: Chrome, z: np.ndarray) -> np.ndarray:
    """What the module of the chapter makes of latents with the page's parameters: (rows, 64)."""
    model = VAE(64, 256, 2).double()
    with torch.no_grad():
        for parameter, array in zip(model.decoder.parameters(), arrays(driver)[:4], strict=True):
            parameter.copy_(torch.tensor(array))
        return model.decode(torch.tensor(z)).sigmoid().numpy()


def shades(driver: Chrome, selector: str) -> np.ndarray:
    """The pixels of a picture or canvas, 0 for white and 1 for black."""
    height, width, values = driver.execute_async_script(SHADES, selector)
    return 1 - np.reshape(values, (height, width)) / 255


def put(driver: Chrome, z1: float, z2: float) -> None:
    figure.choose(driver, "latent-map", z1=z1, z2=z2)


def place(driver: Chrome) -> np.ndarray:
    names = ("z1", "z2")
    sliders = [driver.find_element(By.CSS_SELECTOR, f"#latent-map [name={name}]") for name in names]
    return np.array([float(slider.get_attribute("value")) for slider in sliders])


def words(driver: Chrome) -> str:
    return driver.find_element(By.CSS_SELECTOR, ".latent-words").text.replace("−", "-")


def expect_the_image_of_the_module(driver: Chrome) -> None:
    z = place(driver)
    image = decoded(driver, z[None])[0]
    np.testing.assert_allclose(shades(driver, ".latent-digit").ravel(), image, atol=1.01 / 255)
    nearest = ((arrays(driver)[4] - image) ** 2).sum(axis=1).argmin()
    farther = 100 * np.exp(-(z**2).sum() / 2)
    said = f"z = ({z[0]:.2f}, {z[1]:.2f}). Of the ten mean digits, the decoded image is nearest to {nearest}."
    assert words(driver) == f"{said} Farther out than z lies {farther:.1f} % of the prior."
    label = driver.find_element(By.CSS_SELECTOR, ".latent-digit").get_attribute("aria-label")
    assert label == f"the decoded image, most like a {nearest}"


@pytest.mark.parametrize(("z1", "z2"), [(0, 0), (-2.35, 1.1), (2.6, 2.2), (-0.55, -2.8), (3, -3)])
def test_the_decoder_in_the_browser_is_the_module_of_the_chapter(z1: float, z2: float, page: Chrome) -> None:
    put(page, z1, z2)
    expect_the_image_of_the_module(page)


def test_the_mean_digits_are_those_of_the_training_data(page: Chrome) -> None:
    images, digits = load_digits(return_X_y=True)
    known = np.arange(len(images)) % 5 != 0
    means = np.array([images[known & (digits == digit)].mean(axis=0) / 16 for digit in range(10)])
    np.testing.assert_allclose(arrays(page)[4], means, atol=0.5 / 127 + 1e-9)


def test_each_tile_of_the_map_is_what_the_decoder_makes_of_its_place(page: Chrome) -> None:
    at = np.linspace(-3, 3, 17)
    plane = np.stack(np.meshgrid(at, at[::-1]), axis=-1).reshape(-1, 2)
    expected = decoded(page, plane).reshape(17, 17, 8, 8).transpose(0, 2, 1, 3).reshape(136, 136)
    off = np.abs(shades(page, ".latent-tiles") - expected)
    assert off.max() < 0.06 + 1 / 30  # the cell's limit for the parameters, and half a shade of 16
    assert off.mean() < 1 / 60


def test_arrow_keys_move_through_the_map(page: Chrome) -> None:
    put(page, -1, 1)
    for name, keys in (("z1", Keys.ARROW_RIGHT * 3), ("z2", Keys.ARROW_DOWN * 2)):
        page.find_element(By.CSS_SELECTOR, f"#latent-map [name={name}]").send_keys(keys)
    np.testing.assert_allclose(place(page), [-0.85, 0.9])
    expect_the_image_of_the_module(page)
    slider = page.find_element(By.CSS_SELECTOR, "#latent-map [name=z1]")
    assert slider.get_attribute("aria-valuetext").replace("−", "-") == "-0.85"


def test_the_pointer_draws_the_mark_over_the_map(page: Chrome) -> None:
    pad = page.find_element(By.CSS_SELECTOR, ".latent-pad")
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", pad)
    tiles = page.find_element(By.CSS_SELECTOR, ".latent-pad .latent-tiles")
    mouse = ActionChains(page, duration=20).move_to_element_with_offset(tiles, 0, 0).click_and_hold()
    mouse.move_by_offset(64, -32).release().perform()  # tiles are 16 pixels wide and 6 / 16 apart
    np.testing.assert_allclose(place(page), [4 * 6 / 16, 2 * 6 / 16], atol=0.1)
    expect_the_image_of_the_module(page)
    mark, box = page.find_element(By.CSS_SELECTOR, ".latent-mark").rect, tiles.rect
    center = np.array([mark["x"] + mark["width"] / 2 - box["x"], mark["y"] + mark["height"] / 2 - box["y"]])
    np.testing.assert_allclose(center, 136 + 16 / (6 / 16) * place(page) * [1, -1], atol=1)


def test_a_finger_draws_the_mark_and_the_page_stays_where_it_is(page: Chrome) -> None:
    tiles = page.find_element(By.CSS_SELECTOR, ".latent-pad .latent-tiles")
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", tiles)
    scrolled = page.execute_script("return scrollY")
    left, top = page.execute_script("const { x, y } = arguments[0].getBoundingClientRect(); return [x, y]", tiles)
    touch(page, [(left + 136, top + down) for down in (40, 90, 136 + 64)])
    np.testing.assert_allclose(place(page), [0, -4 * 6 / 16], atol=0.1)
    assert page.execute_script("return scrollY") == scrolled


def test_the_figure_is_named_and_fits_on_a_phone(page: Chrome) -> None:
    for name in ("z1", "z2"):
        slider = page.find_element(By.CSS_SELECTOR, f"#latent-map [name={name}]")
        assert slider.accessible_name.replace(" ", "").replace("\n", "") == name
    assert page.find_element(By.CSS_SELECTOR, ".latent-tiles").get_attribute("alt").strip()
    set_width(page, 390)
    script = "return [...document.querySelectorAll('#latent-map *')].map(e => e.getBoundingClientRect().right)"
    assert max(page.execute_script(script)) <= 390


def test_without_a_script_the_grid_of_digits_stands_there(page: Chrome, site: str) -> None:
    with without_scripts(page):
        page.get(f"{site}/{PAGE}")
        picture = page.find_element(By.CSS_SELECTOR, ".cell_output .latent-tiles")
        assert picture.is_displayed()
        assert picture.size["width"] >= 272
        assert not page.find_element(By.CSS_SELECTOR, ".latent-parts").is_displayed()


@pytest.mark.usefixtures("site")
def test_decoder_and_picture_are_small() -> None:
    text = (ROOT / "_build" / "html" / PAGE).read_text(encoding="utf-8")
    begin = text.index('<img class="latent-tiles"')
    assert text.index("</script>", begin) - begin < LARGEST
