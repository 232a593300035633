"""Gradient descent in a bowl: the path that a reader sees is that of NumPy, and so are the numbers."""

import re

import numpy as np
import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from book.chromium import open_page, set_width
from tests.site.browsing import touch, without_scripts

pytestmark = pytest.mark.xdist_group("site")  # one browser, also where tests run in parallel

PAGE = "book/figures.html"
SET = """
const [name, value] = arguments, slider = document.querySelector(`#zigzag [name=${name}]`);
slider.value = value;
slider.dispatchEvent(new Event("input", { bubbles: true }));
"""
START = (-7.0, 3.0)


@pytest.fixture
def page(driver: Chrome, site: str) -> Chrome:
    set_width(driver, 1280)
    open_page(driver, f"{site}/{PAGE}")
    return driver


def put(driver: Chrome, **values: float) -> None:
    for name, value in values.items():
        driver.execute_script(SET, name, str(value))


def press(driver: Chrome, name: str) -> None:
    button = driver.find_element(By.CSS_SELECTOR, f"#zigzag [name={name}]")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", button)
    button.click()


def told(driver: Chrome, part: str) -> str:
    return driver.find_element(By.CSS_SELECTOR, f".zigzag-{part}").text.replace("−", "-")


def walk(
    kappa: float, eta: float, beta: float, steps: int, start: tuple[float, float] = START
) -> np.ndarray:  # (steps + 1, 2)
    """Gradient descent with momentum, as torch writes it."""
    curvature, theta, v = np.array([1 / kappa, 1.0]), np.array(start), np.zeros(2)
    path = [theta]
    for _ in range(steps):
        v = beta * v + curvature * theta
        theta = theta - eta * v
        path.append(theta)
    return np.array(path)


def first_within_a_thousandth(path: np.ndarray) -> int:
    distance = np.linalg.norm(path, axis=1)
    (within,) = np.nonzero(distance <= distance[0] / 1000)
    return int(within[0])


def rate(kappa: float, eta: float, beta: float) -> float:
    """The largest size of an eigenvalue of one step, which takes (theta, v) to the next."""
    sizes = [np.abs(np.linalg.eigvals([[1 - eta * c, -eta * beta], [c, beta]])).max() for c in (1 / kappa, 1.0)]
    return max(sizes)


def drawn(driver: Chrome) -> np.ndarray:
    """The path in the picture, in the units of theta."""
    points = driver.find_element(By.CSS_SELECTOR, "#zigzag polyline").get_attribute("points")
    return np.array([[float(number) for number in point.split(",")] for point in points.split()]) / (20, -20)


def chosen(driver: Chrome) -> tuple[float, float, float]:
    kappa, eta, beta = re.match(r"κ = (\d+), η = ([\d.]+), β = ([\d.]+):", told(driver, "choice")).groups()
    return float(kappa), float(eta), float(beta)


CASES = [
    (10, 1.9, 0.0),  # as the figure begins
    (1, 1.0, 0.0),  # round, one step
    (37, 0.85, 0.0),  # no zigzag
    (10, 2.31, 0.27),  # both roots complex
    (100, 1.5, 0.9),
    (5, 0.4, 0.05),  # real roots
]


@pytest.mark.parametrize(("kappa", "eta", "beta"), CASES)
def test_path_and_numbers_are_those_of_gradient_descent(kappa: int, eta: float, beta: float, page: Chrome) -> None:
    put(page, kappa=kappa, eta=eta, beta=beta, steps=23)
    path = walk(kappa, eta, beta, 10_000)
    np.testing.assert_allclose(drawn(page), path[:24], atol=0.0026)
    x, y = path[23]
    count = first_within_a_thousandth(path)
    word = "step" if count == 1 else "steps"
    expected = f"After 23 steps: θ = ({x:.3f}, {y:.3f}). A thousandth of the distance is reached after {count} {word}."
    assert told(page, "result") == expected.replace("-0.000", "0.000")
    factors = f"1 - ηλ₁ = {1 - eta / kappa:.3f}, 1 - ηλ₂ = {1 - eta:.3f}".replace("-0.000", "0.000")
    assert told(page, "choice").endswith(f": {factors}, rate {rate(kappa, eta, beta):.3f}")


@pytest.mark.parametrize("kappa", [2, 10, 100])
def test_the_buttons_choose_what_the_page_derives(kappa: int, page: Chrome) -> None:
    put(page, kappa=kappa)
    press(page, "plain")
    eta = 2 / (1 + 1 / kappa)
    assert chosen(page) == (kappa, pytest.approx(eta, abs=5e-4), 0)
    assert told(page, "choice").endswith(f"rate {(kappa - 1) / (kappa + 1):.3f}")
    count = first_within_a_thousandth(walk(kappa, eta, 0.0, 1000))
    assert f"reached after {count} steps" in told(page, "result")
    press(page, "heavy")
    root = np.sqrt(kappa)
    eta, beta = (2 / (1 + 1 / root)) ** 2, ((root - 1) / (root + 1)) ** 2
    assert chosen(page) == (kappa, pytest.approx(eta, abs=5e-4), pytest.approx(beta, abs=5e-4))
    assert told(page, "choice").endswith(f"rate {(root - 1) / (root + 1):.3f}")
    count = first_within_a_thousandth(walk(kappa, eta, beta, 1000))
    assert f"reached after {count} steps" in told(page, "result")


def test_beyond_the_limit_it_diverges_and_at_the_limit_it_never_arrives(page: Chrome) -> None:
    put(page, eta=2)
    assert "not reached within 10000 steps" in told(page, "result")
    put(page, eta=2.05)
    assert told(page, "result").endswith("It diverges.")
    put(page, eta=4, steps=100)
    assert "θ is millions away" in told(page, "result")
    assert np.isfinite(drawn(page)).all()


def test_the_contours_are_as_long_as_the_condition_number_says(page: Chrome) -> None:
    put(page, kappa=9)
    for ellipse in page.find_elements(By.CSS_SELECTOR, "#zigzag ellipse"):
        rx, ry = (float(ellipse.get_attribute(name)) for name in ("rx", "ry"))
        assert rx == pytest.approx(ry * np.sqrt(9), abs=0.1)


def test_arrow_keys_and_the_pointer_move_the_start(page: Chrome) -> None:
    start = page.find_element(By.CSS_SELECTOR, "#zigzag .start")
    start.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_DOWN)
    np.testing.assert_allclose(drawn(page), walk(10, 1.9, 0.0, 20, (-6.0, 2.5)), atol=0.0026)
    assert start.get_attribute("aria-label").replace("−", "-") == "start at -6.0, 2.5"
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", start)
    scale = page.execute_script("return arguments[0].ownerSVGElement.getScreenCTM().a", start)
    dx, dy = round(20 * scale * 4), round(20 * scale * 1.5)
    ActionChains(page, duration=20).move_to_element(start).click_and_hold().move_by_offset(dx, dy).release().perform()
    at = drawn(page)[0]
    np.testing.assert_allclose(at, [-2, 1], atol=0.11)
    np.testing.assert_allclose(drawn(page), walk(10, 1.9, 0.0, 20, tuple(at)), atol=0.0026)


def test_a_finger_moves_the_start_and_the_page_stays_where_it_is(page: Chrome) -> None:
    start = page.find_element(By.CSS_SELECTOR, "#zigzag .start")
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", start)
    scrolled = page.execute_script("return scrollY")
    script = """
    const { x, y, width, height } = arguments[0].getBoundingClientRect();
    return [x + width / 2, y + height / 2, 20 * arguments[0].ownerSVGElement.getScreenCTM().a];
    """
    x, y, unit = page.execute_script(script, start)
    touch(page, [(x, y + unit * down) for down in (0, 1, 2)])
    np.testing.assert_allclose(drawn(page)[0], [-7, 1], atol=0.11)
    assert page.execute_script("return scrollY") == scrolled


def test_what_the_page_asks_to_try_turns_out_as_it_says(page: Chrome) -> None:
    def count() -> int:
        return int(re.search(r"after (\d+) steps?\.$", told(page, "result"))[1])

    near_the_limit = count()
    put(page, eta=1)
    assert "1 - ηλ₂ = 0.000" in told(page, "choice")
    assert count() > near_the_limit
    press(page, "plain")
    fastest = count()
    assert fastest < near_the_limit
    page.find_element(By.CSS_SELECTOR, "#zigzag .start").send_keys(Keys.ARROW_RIGHT * 8, Keys.ARROW_DOWN * 3)
    assert count() == fastest
    press(page, "heavy")
    assert count() < fastest
    put(page, kappa=1)
    press(page, "plain")
    assert count() == 1


def test_without_a_script_the_first_path_stands_there(page: Chrome, site: str) -> None:
    path, choice, result = drawn(page), told(page, "choice"), told(page, "result")
    with without_scripts(page):
        page.get(f"{site}/{PAGE}")
        np.testing.assert_array_equal(drawn(page), path)
        assert (told(page, "choice"), told(page, "result")) == (choice, result)
        svg = page.find_element(By.CSS_SELECTOR, "#zigzag svg")
        assert svg.get_attribute("role") == "img"
        assert svg.get_attribute("aria-label")
        for part in ("controls", "hint"):
            assert not page.find_element(By.CSS_SELECTOR, f".zigzag-{part}").is_displayed()


def test_every_control_is_named_and_the_figure_fits_on_a_phone(page: Chrome) -> None:
    controls = page.find_elements(By.CSS_SELECTOR, "#zigzag :is(input, button, [tabindex])")
    assert len(controls) == 7
    assert all(control.accessible_name for control in controls)
    for slider in page.find_elements(By.CSS_SELECTOR, "#zigzag input"):
        assert float(slider.get_attribute("aria-valuetext")) == float(slider.get_attribute("value"))
    set_width(page, 390)
    script = "return [...document.querySelectorAll('#zigzag > *, #zigzag .zigzag-controls *')]"
    assert max(page.execute_script(f"{script}.map(e => e.getBoundingClientRect().right)")) <= 390
