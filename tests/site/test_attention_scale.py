"""The weights of attention under a width and a temperature: they are those of the reference."""

import itertools
import re
from typing import Any

import numpy as np
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

from solutions.activations import softmax_backward
from solutions.attention import attention_forward
from solutions.losses import categorical_cross_entropy_forward
from tests.site import figure
from tests.site.browsing import without_scripts
from tests.tolerances import assert_close

pytestmark = pytest.mark.xdist_group("site")  # one browser, also where tests run in parallel

PAGE = "book/chapters/attention.html"
SCALE = "attention-scale-figure"
SETTINGS = [
    {"width": width, "divide": divide, "temperature": temperature}
    for width, divide, temperature in itertools.product(range(10), (False, True), range(-3, 4))
]


def drawn(driver: Chrome) -> tuple[np.ndarray, np.ndarray]:
    """The query and the keys, of the largest width."""
    numbers = driver.execute_script(f"return document.getElementById('{SCALE}').drawn")
    return np.array(numbers["q"], dtype=float), np.array(numbers["K"], dtype=float)


def scores_and_weights(q: np.ndarray, K: np.ndarray, setting: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """What the reference gives; it always divides by the root of the width, so that has to be undone where wanted."""
    d = 2 ** setting["width"]
    divisor = (d**0.5 if setting["divide"] else 1.0) * 2.0 ** setting["temperature"]
    q, K = q[:d] * d**0.5 / divisor, K[:, :d]
    P, _ = attention_forward(q[None, None, None], K[None, None], np.eye(len(K))[None, None])
    return K @ q / d**0.5, P[0, 0, 0]


def measures(s: np.ndarray, p: np.ndarray) -> dict[str, float]:
    """The numbers that the figure tells of scores and weights."""
    J = softmax_backward(np.eye(len(p)), (np.broadcast_to(p, (len(p), len(p))), -1))
    entropy, _ = categorical_cross_entropy_forward(p[None], p[None])
    return {
        "spread": float(np.sqrt(np.mean(s**2))),
        "largest": p.max(),
        "entropy": float(entropy),
        "trace": np.trace(J),
        "entry": np.abs(J).max(),
    }


def column(picture: str, group: str, pattern: str) -> np.ndarray:
    (content,) = re.findall(rf'<g class="{group}".*?</g>', picture)
    return np.array([found.replace("−", "-") for found in re.findall(pattern, content)], dtype=float)


@pytest.fixture
def scale(driver: Chrome, site: str) -> Chrome:
    figure.at_first(driver, f"{site}/{PAGE}", SCALE)
    return driver


def test_the_numbers_in_words_are_those_of_the_reference_at_every_setting(scale: Chrome) -> None:
    for _ in range(3):
        q, K = drawn(scale)
        for setting, row in zip(SETTINGS, figure.sweep(scale, SCALE, SETTINGS), strict=True):
            expected = measures(*scores_and_weights(q, K, setting))
            assert [name for name, _ in row] == list(expected)
            assert_close(np.array([value for _, value in row]), np.array(list(expected.values())))
        figure.find(scale, SCALE, "button").send_keys(Keys.ENTER)


def test_the_bars_are_the_weights_and_the_scores_stand_below_them(scale: Chrome) -> None:
    q, K = drawn(scale)
    for setting, picture in zip(SETTINGS, figure.pictures(scale, SCALE, SETTINGS), strict=True):
        s, p = scores_and_weights(q, K, setting)
        np.testing.assert_allclose(column(picture, "weights", r'height="([\d.]+)"') / 160, p, atol=0.051 / 160)
        weights, scores = column(picture, "weights", r">([−\d.]+)</text>").reshape(2, -1)
        np.testing.assert_allclose(weights, p, atol=0.00501)
        np.testing.assert_allclose(scores, s, atol=0.501 if np.abs(s).max() > 9 else 0.0501)


def test_each_gauge_is_full_at_the_most_that_its_number_can_be(scale: Chrome) -> None:
    q, K = drawn(scale)
    n = len(K)
    most = np.array([1.0, np.log(n), 1 - 1 / n, 1 / 4])
    for setting, picture in zip(SETTINGS, figure.pictures(scale, SCALE, SETTINGS), strict=True):
        _, *numbers = measures(*scores_and_weights(q, K, setting)).values()
        filled, track = column(picture, "gauges", r'width="([\d.]+)"').reshape(-1, 2).T
        np.testing.assert_allclose(filled / track, numbers / most, atol=0.051 / track[0])
        np.testing.assert_allclose(column(picture, "gauges", r">([\d.]+)</text>"), numbers, atol=0.000501)


def test_the_numbers_drawn_have_mean_0_and_variance_1_and_are_the_same_on_each_visit(scale: Chrome) -> None:
    scale.refresh()
    first = drawn(scale)
    entries = np.concatenate([first[0], first[1].ravel()])
    assert abs(entries.mean()) < 4 / entries.size**0.5
    assert abs(entries.var() - 1) < 4 / entries.size**0.5
    assert abs(np.corrcoef(np.vstack(first)) - np.eye(9)).max() < 4 / first[0].size ** 0.5
    figure.find(scale, SCALE, "button").send_keys(Keys.ENTER)
    assert (drawn(scale)[0] != first[0]).all()
    scale.refresh()
    for again, before in zip(drawn(scale), first, strict=True):
        np.testing.assert_array_equal(again, before)


def test_without_the_scale_wide_heads_saturate_and_with_it_the_width_hardly_matters(scale: Chrome) -> None:
    raw, scaled = [], []
    for _ in range(20):
        settings = [{"width": width, "divide": divide} for divide in (False, True) for width in (0, 9)]
        largest = [dict(row)["largest"] for row in figure.sweep(scale, SCALE, settings)]
        raw.append(largest[:2])
        scaled.append(largest[2:])
        figure.find(scale, SCALE, "button").send_keys(Keys.SPACE)
    (narrow_raw, wide_raw), (narrow, wide) = np.mean(raw, axis=0), np.mean(scaled, axis=0)
    assert narrow_raw == narrow
    assert wide_raw > 0.9
    assert wide < 0.6


def test_leaving_out_the_scale_is_a_temperature(scale: Chrome) -> None:
    settings = [{"width": 6, "divide": True, "temperature": -3}, {"width": 6, "divide": False, "temperature": 0}]
    left_out, cold = figure.sweep(scale, SCALE, settings)
    assert left_out == cold


def test_the_keyboard_works_all_controls_and_the_state_is_told(scale: Chrome) -> None:
    width, temperature = (figure.control(scale, SCALE, name) for name in ("width", "temperature"))
    width.send_keys(Keys.END)
    temperature.send_keys(Keys.ARROW_LEFT)
    figure.control(scale, SCALE, "divide").send_keys(Keys.SPACE)
    assert width.get_attribute("aria-valuetext") == str(2**9)
    assert temperature.get_attribute("aria-valuetext") == str(2**-1)
    s, p = scores_and_weights(*drawn(scale), {"width": 9, "divide": False, "temperature": -1})
    told = figure.told(scale, SCALE)
    assert told.startswith(f"The scores are q·k / {2**-1}; their root mean square is {np.sqrt(np.mean(s**2)):.3f}, ")
    assert f" {2 * 512**0.5:.3f} was to be expected. Key {p.argmax() + 1} has the largest weight" in told
    assert ", ".join(f"{weight:.2f}" for weight in p) in figure.find(scale, SCALE, "svg").accessible_name


def test_a_click_on_the_label_takes_the_tick_away(scale: Chrome) -> None:
    box = figure.control(scale, SCALE, "divide")
    label = box.find_element("xpath", "..")
    scale.execute_script("arguments[0].scrollIntoView({block: 'center'})", label)
    before = figure.told(scale, SCALE)
    label.click()
    assert not box.is_selected()
    assert figure.told(scale, SCALE) != before


def test_every_control_has_a_name(scale: Chrome) -> None:
    names = ["width dk = 64", "divide by √dk", "temperature T = 1", "Draw q and K again"]
    assert figure.names_of_controls(scale, SCALE) == names


def test_no_setting_makes_the_page_wider_than_a_phone(scale: Chrome) -> None:
    assert figure.overflow_on_a_phone(scale, SCALE, SETTINGS) <= 0


def test_without_a_script_the_first_picture_stands_there(scale: Chrome, site: str) -> None:
    scale.refresh()
    shown = figure.first_state(scale, SCALE)
    with without_scripts(scale):
        scale.get(f"{site}/{PAGE}")
        assert figure.first_state(scale, SCALE) == shown
        assert figure.names_of_controls(scale, SCALE) == []
