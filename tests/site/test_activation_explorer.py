"""The picture of activations and their slopes: it shows what the reference computes."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from solutions import activations
from tests.site import figure
from tests.site.browsing import without_scripts
from tests.tolerances import assert_close

pytestmark = pytest.mark.xdist_group("site")  # one browser, also where tests run in parallel

PAGE = "book/chapters/activations.html"
EXPLORER = "activation-explorer"
NAMES = [name.removesuffix("_forward") for name in vars(activations) if name.endswith("_forward")]
SHAPED = {"prelu", "bias_gelu", "bias_silu", "softmax"}  # not functions of one number
FUNCTIONS = [*(name for name in NAMES if name not in SHAPED), "gelu_tanh"]
XS = np.arange(-80, 81) / 20

Drag = Callable[[Chrome, float, float, float], None]


def reference(name: str, x: np.ndarray, *parameters: float) -> tuple[np.ndarray, np.ndarray]:
    """Value and slope."""
    if name == "gelu_tanh":
        out, cache = activations.gelu_forward(x, "tanh")
        return out, activations.gelu_backward(np.ones_like(x), cache)
    out, cache = getattr(activations, f"{name}_forward")(x, *parameters)
    return out, getattr(activations, f"{name}_backward")(np.ones_like(x), cache)


def curves(picture: str, kind: str) -> list[np.ndarray]:
    """The points of the lines of a kind, the second function's last."""
    paths = re.findall(rf'<path class="{kind}(?: other)?" d="([^"]*)"', picture)
    return [np.array(re.findall(r"-?[\d.]+(?:e-\d+)?", path), dtype=float).reshape(-1, 2) for path in paths]


@pytest.fixture
def explorer(driver: Chrome, site: str) -> Chrome:
    figure.at_first(driver, f"{site}/{PAGE}", EXPLORER)
    return driver


@pytest.mark.parametrize("name", FUNCTIONS)
def test_value_and_slope_are_those_of_the_reference_at_every_place_of_the_slider(explorer: Chrome, name: str) -> None:
    rows = figure.sweep(explorer, EXPLORER, [{"function": name, "x": float(x), "slope": 0.01} for x in XS])
    came = np.array([[value for _, value in row] for row in rows])
    assert_close(came.T, np.array(reference(name, XS)))


@pytest.mark.parametrize(
    ("name", "parameter", "places"),
    [("leaky_relu", "slope", np.arange(51) / 100), ("elu", "alpha", np.arange(1, 21) / 10)],
)
def test_the_parameter_of_a_function_moves_what_it_should(
    explorer: Chrome, name: str, parameter: str, places: np.ndarray
) -> None:
    x = np.array([-2.35])
    rows = figure.sweep(explorer, EXPLORER, [{"function": name, "x": -2.35, parameter: float(at)} for at in places])
    expected = [reference(name, x, float(at)) for at in places]
    assert_close(np.array([[value for _, value in row] for row in rows]), np.array(expected)[..., 0])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_lines_go_through_the_values_and_slopes_of_the_reference(explorer: Chrome, name: str) -> None:
    (picture,) = figure.pictures(explorer, EXPLORER, [{"function": name, "other": "tanh", "slope": 0.01, "alpha": 1}])
    for kind, which in (("value", 0), ("slope", 1)):
        for came, of in zip(curves(picture, kind), (name, "tanh"), strict=True):
            x, y = came.T
            assert x[0] == -4
            assert x[-1] == 4
            x[41] = 1e-9  # the right piece starts beside 0, where a slope may jump
            np.testing.assert_allclose(y, reference(of, x)[which], rtol=0, atol=0.00051)


def test_the_tangent_touches_the_function_and_has_its_slope(explorer: Chrome) -> None:
    for x in (-3.0, -0.75, 0.4, 2.7):
        (picture,) = figure.pictures(explorer, EXPLORER, [{"function": "mish", "x": x}])
        ((start, end),) = curves(picture, "tangent")
        value, slope = reference("mish", np.array([x]))
        np.testing.assert_allclose((start + end) / 2, [x, value.item()], atol=0.001)
        np.testing.assert_allclose((end - start)[1] / (end - start)[0], slope.item(), atol=0.002)


def test_the_keyboard_chooses_a_function_and_moves_along_it(explorer: Chrome) -> None:
    figure.control(explorer, EXPLORER, "function").send_keys("sig")
    slider = figure.control(explorer, EXPLORER, "x")
    slider.send_keys(Keys.HOME, Keys.ARROW_RIGHT)
    value, slope = reference("sigmoid", np.array([-3.95]))
    told = figure.told(explorer, EXPLORER)
    assert told.startswith(f"At x = −3.95: sigmoid has the value {value.item():.4f} and the slope {slope.item():.4f}.")
    assert slider.get_attribute("aria-valuetext") == "x = −3.95"
    picture = figure.find(explorer, EXPLORER, "svg")
    assert picture.accessible_name.startswith("sigmoid, solid, and the slope, dashed")


def middle(driver: Chrome, element: WebElement) -> tuple[float, float]:
    script = "const b = arguments[0].getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]"
    x, y = driver.execute_script(script, element)
    return x, y


def drag_mouse(driver: Chrome, x: float, y: float, away: float) -> None:
    actions = ActionBuilder(driver)
    actions.pointer_action.move_to_location(round(x), round(y)).pointer_down()
    actions.pointer_action.move_to_location(round(x + away), round(y + 5)).pointer_up()
    actions.perform()


def drag_finger(driver: Chrome, x: float, y: float, away: float) -> None:
    points = {"touchStart": [(x, y)], "touchMove": [(x + away / 2, y), (x + away, y + 5)]}
    for kind, places in points.items():
        for at_x, at_y in places:
            event = {"type": kind, "touchPoints": [{"x": at_x, "y": at_y}]}
            driver.execute_cdp_cmd("Input.dispatchTouchEvent", event)
    driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


@pytest.mark.parametrize("drag", [drag_mouse, drag_finger])
def test_a_pointer_on_the_picture_moves_the_marker_to_where_it_is(explorer: Chrome, drag: Drag) -> None:
    picture = figure.find(explorer, EXPLORER, "svg")
    explorer.execute_script("arguments[0].scrollIntoView({block: 'center'})", picture)
    for away in (-120, 90):
        x, y = middle(explorer, picture)
        drag(explorer, x, y, away)
        marker, _ = middle(explorer, figure.find(explorer, EXPLORER, "path.value.at"))
        assert marker - x == pytest.approx(away, abs=3)
        at = float(figure.control(explorer, EXPLORER, "x").get_attribute("value") or "nan")
        assert figure.told(explorer, EXPLORER).startswith(f"At x = {at:.2f}: ".replace("-", "−"))


def test_a_parameter_is_there_only_with_a_function_that_has_it(explorer: Chrome) -> None:
    def offered() -> list[bool]:
        return [figure.control(explorer, EXPLORER, name).is_displayed() for name in ("slope", "alpha")]

    assert offered() == [False, False]
    figure.choose(explorer, EXPLORER, function="leaky_relu")
    assert offered() == [True, False]
    figure.choose(explorer, EXPLORER, other="elu")
    assert offered() == [True, True]
    names = ["function", "compared with", "x", "slope s = 0.10", "α = 1.0"]
    assert figure.names_of_controls(explorer, EXPLORER) == names


def test_two_functions_are_told_apart_in_words_and_by_their_lines(explorer: Chrome) -> None:
    figure.choose(explorer, EXPLORER, function="gelu", other="gelu_tanh", x=2.7)
    (_, exact), _, (_, approximate), _ = figure.sweep(explorer, EXPLORER, [{}])[0]
    assert 0 < abs(exact - approximate) < 1e-3
    assert re.search(r"GELU has .*; GELU, tanh form has ", figure.told(explorer, EXPLORER))
    widths = [
        figure.find(explorer, EXPLORER, f"path.value{kind}").value_of_css_property("stroke-width")
        for kind in (":not(.other)", ".other")
    ]
    assert float(widths[0].removesuffix("px")) > float(widths[1].removesuffix("px"))
    assert figure.find(explorer, EXPLORER, ".thin").is_displayed()


def test_no_choice_makes_the_page_wider_than_a_phone(explorer: Chrome) -> None:
    settings = [{"function": name, "other": "gelu_tanh", "x": -3.95} for name in FUNCTIONS]
    assert figure.overflow_on_a_phone(explorer, EXPLORER, settings) <= 0


def test_without_a_script_the_first_picture_stands_there(explorer: Chrome, site: str) -> None:
    shown = figure.first_state(explorer, EXPLORER)
    with without_scripts(explorer):
        explorer.get(f"{site}/{PAGE}")
        assert figure.first_state(explorer, EXPLORER) == shown
        assert figure.names_of_controls(explorer, EXPLORER) == []
