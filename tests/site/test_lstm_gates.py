"""The gates that a reader turns: the picture and the numbers are those of the reference's step."""

import itertools
import re

import numpy as np
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from solutions.lstm import lstm_step_backward, lstm_step_forward
from tests.site import figure
from tests.site.browsing import without_scripts
from tests.tolerances import assert_close

pytestmark = pytest.mark.xdist_group("site")  # one browser, also where tests run in parallel

PAGE = "book/chapters/lstm.html"
GATES = "lstm-gates"
STATES = (-2.0, 0.0, 1.3)
PRE_ACTIVATIONS = (-6.0, -1.4, 0.0, 2.1)
SETTINGS = [dict(zip("cifgo", setting, strict=True)) for setting in itertools.product(STATES, *[PRE_ACTIVATIONS] * 4)]


def reference(settings: list[dict[str, float]]) -> dict[str, np.ndarray]:
    """All numbers of a step whose pre-activations are its inputs, and the derivative along the cell."""
    a = np.array([[setting[gate] for gate in "ifgo"] for setting in settings])
    c, h = np.array([[setting["c"]] for setting in settings]), np.zeros((len(a), 1))
    h_t, c_t, cache = lstm_step_forward(a, h, c, np.eye(4), np.zeros((1, 4)), np.zeros(4))
    i, f, g, o = cache[5:9]
    _, _, along, *_ = lstm_step_backward(h, np.ones_like(c), cache)
    numbers = {"c_old": c, "i": i, "f": f, "g": g, "o": o, "c": c_t, "h": h_t, "along": along}
    return {name: values[:, 0] for name, values in numbers.items()}


def bars(picture: str) -> np.ndarray:
    """From where to where the bars go, in the order in which they are drawn, in units of the axis."""
    edges = re.findall(r'<rect [^>]*x="([-\d.]+)"[^>]*width="([\d.]+)"', picture)
    left, width = np.array(edges, dtype=float).T
    return np.array([(left - 240) / 76, (left + width - 240) / 76])


@pytest.fixture
def gates(driver: Chrome, site: str) -> Chrome:
    figure.at_first(driver, f"{site}/{PAGE}", GATES)
    return driver


def test_the_numbers_are_those_of_the_reference_at_every_setting(gates: Chrome) -> None:
    rows = [dict(row) for row in figure.sweep(gates, GATES, SETTINGS)]
    expected = reference(SETTINGS)
    for name in "ifgoch":
        assert_close(np.array([row[name] for row in rows]), expected[name])
    assert_close(expected["along"], expected["f"])


def test_the_bars_show_how_much_is_kept_written_and_shown(gates: Chrome) -> None:
    settings = SETTINGS[::5]
    came = np.array([bars(picture) for picture in figure.pictures(gates, GATES, settings)])
    step = reference(settings)
    c, g, c_t, zero = step["c_old"], step["g"], step["c"], np.zeros(len(settings))
    kept, written = step["f"] * c, step["i"] * g
    ends = [(zero, c), (zero, kept), (zero, g), (zero, written), (zero, kept), (kept, c_t)]
    ends += [(zero, np.tanh(c_t)), (zero, step["h"])]
    expected = np.sort(np.array(ends), axis=1).transpose(2, 1, 0)
    np.testing.assert_allclose(came, expected, rtol=0, atol=0.1 / 76)


@pytest.mark.parametrize("setting", [{"c": 1.5, "g": -1.0}, {"c": -0.8, "g": 2.0}])
def test_each_button_does_what_its_name_says(gates: Chrome, setting: dict[str, float]) -> None:
    candidate = np.tanh(setting["g"])
    for preset, state in {"Keep": setting["c"], "Forget": 0, "Write": candidate, "Hide": setting["c"]}.items():
        figure.choose(gates, GATES, **setting, i=0, f=0, o=0)
        gates.find_element(By.XPATH, f"//button[.='{preset}']").send_keys(Keys.ENTER)
        step = figure.numbers(gates, GATES)
        assert step["g"] == pytest.approx(candidate)
        assert step["c"] == pytest.approx(state, abs=0.01)
        assert step["h"] == pytest.approx(0 if preset == "Hide" else np.tanh(state), abs=0.01)


def test_a_click_on_a_button_is_as_good_as_a_key(gates: Chrome) -> None:
    button = figure.find(gates, GATES, "button")
    gates.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
    button.click()
    told = figure.told(gates, GATES)
    assert figure.control(gates, GATES, "i").get_attribute("value") == "-6"
    assert figure.control(gates, GATES, "f").get_attribute("value") == "6"
    gates.refresh()
    button = figure.find(gates, GATES, "button")
    button.send_keys(Keys.SPACE)
    assert figure.told(gates, GATES) == told


def test_the_keyboard_moves_a_gate_and_its_value_is_told(gates: Chrome) -> None:
    slider = figure.control(gates, GATES, "f")
    slider.send_keys(Keys.HOME, Keys.ARROW_RIGHT)
    f = reference([{"c": 0.0, "i": 0.0, "f": -5.9, "g": 0.0, "o": 0.0}])["f"].item()
    assert slider.get_attribute("aria-valuetext") == f"−5.9, f = {f:.3f}"
    assert f"= {f:.3f} · " in figure.told(gates, GATES).splitlines()[0]
    assert f"over 50 such steps {f**50:.1e}".replace("e-0", "e-") in figure.told(gates, GATES)
    called = figure.find(gates, GATES, "svg").accessible_name
    assert re.match(r"Four bars\. Of the old state [−\d.]+, [−\d.]+ is kept; of the candidate ", called)


def test_every_slider_and_button_has_a_name(gates: Chrome) -> None:
    sliders = ["old state ct−1", "input gate ai", "forget gate af", "candidate ag", "output gate ao"]
    assert figure.names_of_controls(gates, GATES) == ["Keep", "Forget", "Write", "Hide", *sliders]


def test_no_setting_makes_the_page_wider_than_a_phone(gates: Chrome) -> None:
    assert figure.overflow_on_a_phone(gates, GATES, SETTINGS[:: len(SETTINGS) // 50]) <= 0


def test_without_a_script_the_first_step_stands_there(gates: Chrome, site: str) -> None:
    shown = figure.first_state(gates, GATES)
    with without_scripts(gates):
        gates.get(f"{site}/{PAGE}")
        assert figure.first_state(gates, GATES) == shown
        assert figure.names_of_controls(gates, GATES) == []
