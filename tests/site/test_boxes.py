"""The boxes that a reader drags: overlap and suppression are those of the reference."""

import re

import numpy as np
import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from book.chromium import open_page, set_width
from solutions.yolo_iou import giou_forward, iou, nms, pairwise_iou
from tests.site.browsing import touch, without_scripts

pytestmark = pytest.mark.xdist_group("site")  # one browser, also where tests run in parallel

PAGE = "book/chapters/yolo_iou.html"
FIGURES = ("box-overlap", "box-suppression")
PUT = """
const [figure, name, [x1, y1, x2, y2]] = arguments, box = document.querySelector(`#${figure} [data-box=${name}]`);
const place = { x: x1, y: y1, width: x2 - x1, height: y2 - y1 };
for (const [side, number] of Object.entries(place)) box.firstElementChild.setAttribute(side, number);
box.dispatchEvent(new Event("input", { bubbles: true }));
"""


@pytest.fixture
def page(driver: Chrome, site: str) -> Chrome:
    set_width(driver, 1280)
    open_page(driver, f"{site}/{PAGE}")
    return driver


def box(driver: Chrome, figure: str, name: str) -> WebElement:
    return driver.find_element(By.CSS_SELECTOR, f"#{figure} [data-box={name}]")


def corners(driver: Chrome, figure: str, name: str) -> np.ndarray:
    """Where a box is, as the reference writes it: (1, 4)."""
    rect = box(driver, figure, name).find_element(By.TAG_NAME, "rect")
    x, y, w, h = (float(rect.get_attribute(side)) for side in ("x", "y", "width", "height"))
    return np.array([[x, y, x + w, y + h]])


def put(driver: Chrome, figure: str, **places: tuple[int, int, int, int]) -> None:
    for name, place in places.items():
        driver.execute_script(PUT, figure, name, place)


def text(driver: Chrome, selector: str) -> str:
    return driver.find_element(By.CSS_SELECTOR, selector).text.replace("−", "-")


def ratios(driver: Chrome) -> str:
    """What the figure should say of the boxes where they are."""
    a, b = (corners(driver, "box-overlap", name) for name in "ab")
    return f"IoU = {iou(a, b)[0]:.3f}, GIoU = {giou_forward(a, b)[0][0]:.3f}"


def drag(driver: Chrome, figure: str, start: tuple[int, int], by: tuple[int, int]) -> None:
    """Drag with a mouse, in the units of the picture."""
    svg = driver.find_element(By.CSS_SELECTOR, f"#{figure} svg")
    driver.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", svg)
    scale = driver.execute_script("return arguments[0].getScreenCTM().a", svg)
    x, y = (round(scale * (at - half)) for at, half in zip(start, (160, 110), strict=True))
    dx, dy = (round(scale * d) for d in by)
    mouse = ActionChains(driver, duration=20).move_to_element_with_offset(svg, x, y).click_and_hold()
    mouse.move_by_offset(dx, dy).release().perform()


@pytest.mark.parametrize(
    "places",
    [
        {"a": (50, 40, 160, 120), "b": (110, 75, 210, 145)},  # they meet
        {"a": (50, 40, 160, 120), "b": (60, 45, 130, 95)},  # one inside of the other
        {"a": (50, 40, 160, 120), "b": (50, 40, 160, 120)},  # one on the other
        {"a": (50, 40, 100, 120), "b": (160, 75, 210, 145)},  # apart along one axis
        {"a": (50, 40, 100, 90), "b": (160, 105, 210, 145)},  # apart along both
    ],
)
def test_the_overlap_is_that_of_the_reference_however_the_boxes_lie(
    places: dict[str, tuple[int, int, int, int]], page: Chrome
) -> None:
    put(page, "box-overlap", **places)
    (x1, y1, x2, y2), (u1, v1, u2, v2) = places["a"], places["b"]
    assert text(page, ".box-ratios") == ratios(page)
    sums = text(page, ".box-sums")
    inter = [min(x2, u2) - max(x1, u1), min(y2, v2) - max(y1, v1)]
    shown = re.findall(r"= (-?\d+)(, clamped to 0)?(?:,|\n)", sums.replace("\nI =", "\n"))[:2]
    assert [(int(side), bool(clamped)) for side, clamped in shown] == [(side, side < 0) for side in inter]
    area = max(inter[0], 0) * max(inter[1], 0)
    assert f"U = {(x2 - x1) * (y2 - y1)} + {(u2 - u1) * (v2 - v1)} - {area} = " in sums
    assert f" = {(max(x2, u2) - min(x1, u1)) * (max(y2, v2) - min(y1, v1))}" == sums[sums.rindex(" = ") :]


def test_arrow_keys_move_a_box_and_with_shift_its_corner(page: Chrome) -> None:
    b = box(page, "box-overlap", "b")
    before = corners(page, "box-overlap", "b")
    b.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_UP)
    moved = corners(page, "box-overlap", "b")
    np.testing.assert_array_equal(moved - before, [[10, -5, 10, -5]])
    ActionChains(page).key_down(Keys.SHIFT).send_keys(Keys.ARROW_LEFT, Keys.ARROW_DOWN).key_up(Keys.SHIFT).perform()
    np.testing.assert_array_equal(corners(page, "box-overlap", "b") - moved, [[0, 0, -5, 5]])
    assert text(page, ".box-ratios") == ratios(page)
    x1, y1, x2, y2 = corners(page, "box-overlap", "b")[0].astype(int)
    assert b.get_attribute("aria-label") == f"box b, from {x1}, {y1} to {x2}, {y2}"


def test_a_box_neither_leaves_the_picture_nor_vanishes(page: Chrome) -> None:
    b = box(page, "box-overlap", "b")
    b.send_keys(Keys.ARROW_RIGHT * 60)
    assert corners(page, "box-overlap", "b")[0, 2] == 320
    ActionChains(page).key_down(Keys.SHIFT).send_keys(Keys.ARROW_LEFT * 60).key_up(Keys.SHIFT).perform()
    x1, _, x2, _ = corners(page, "box-overlap", "b")[0]
    assert 0 < x2 - x1 <= 20
    assert text(page, ".box-ratios") == ratios(page)


def test_the_pointer_drags_a_box_by_its_body_and_resizes_it_by_a_corner(page: Chrome) -> None:
    before = corners(page, "box-overlap", "a")
    drag(page, "box-overlap", (75, 100), (20, -10))
    moved = corners(page, "box-overlap", "a")
    np.testing.assert_allclose(moved - before, [[20, -10, 20, -10]], atol=1)
    assert page.switch_to.active_element == box(page, "box-overlap", "a")
    x1, y1 = moved[0, :2].astype(int)
    drag(page, "box-overlap", (x1, y1), (-30, 20))
    np.testing.assert_allclose(corners(page, "box-overlap", "a") - moved, [[-30, 20, 0, 0]], atol=1)
    assert text(page, ".box-ratios") == ratios(page)


def test_of_two_boxes_under_the_pointer_the_smaller_one_moves(page: Chrome) -> None:
    put(page, "box-overlap", a=(100, 60, 200, 160), b=(40, 20, 300, 200))
    drag(page, "box-overlap", (150, 110), (15, 0))
    np.testing.assert_allclose(corners(page, "box-overlap", "a"), [[115, 60, 215, 160]], atol=1)
    np.testing.assert_array_equal(corners(page, "box-overlap", "b"), [[40, 20, 300, 200]])


def test_a_finger_drags_a_box_and_the_page_stays_where_it_is(page: Chrome) -> None:
    rect = box(page, "box-overlap", "a").find_element(By.TAG_NAME, "rect")
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", rect)
    before, scrolled = corners(page, "box-overlap", "a"), page.execute_script("return scrollY")
    script = (
        "const { x, y } = arguments[0].getBoundingClientRect(); return [x + 30, y + 60, arguments[0].getScreenCTM().a]"
    )
    x, y, scale = page.execute_script(script, rect)
    touch(page, [(x, y + scale * moved) for moved in (0, 25, 50)])
    np.testing.assert_allclose(corners(page, "box-overlap", "a") - before, [[0, 50, 0, 50]], atol=1)
    assert page.execute_script("return scrollY") == scrolled
    assert text(page, ".box-ratios") == ratios(page)


def verdicts(boxes: np.ndarray, names: str, scores: np.ndarray, threshold: float) -> list[str]:
    """What the list should say of each box, by the reference."""
    keep, overlap = nms(boxes, scores, threshold), pairwise_iou(boxes, boxes)
    lines = []
    for k, name in enumerate(names):
        better = [j for j in range(k) if keep[j]]
        covering = [j for j in better if overlap[j, k] > threshold]
        rival = covering[0] if covering else max(better, key=lambda j: overlap[j, k], default=k)
        why = f": IoU {overlap[rival, k]:.3f} with {names[rival]}" if rival != k and overlap[rival, k] > 0 else ""
        lines.append(f"{name} ({scores[k]:.2f}) {'stays' if keep[k] else 'goes'}{why}")
    return lines


def expect_the_verdicts_of_the_reference(driver: Chrome) -> None:
    groups = driver.find_elements(By.CSS_SELECTOR, "#box-suppression [data-box]")
    names = "".join(group.get_attribute("data-box") for group in groups)
    scores = np.array([float(group.get_attribute("data-score")) for group in groups])
    boxes = np.vstack([corners(driver, "box-suppression", name) for name in names])
    threshold = float(driver.find_element(By.CSS_SELECTOR, "[name=threshold]").get_attribute("value"))
    lines = [item.text for item in driver.find_elements(By.CSS_SELECTOR, "#box-suppression li")]
    assert lines == verdicts(boxes, names, scores, threshold)
    out = [group.get_attribute("data-box") for group in groups if group.get_attribute("class") == "out"]
    keep = nms(boxes, scores, threshold)
    assert out == [name for name, stays in zip(names, keep, strict=True) if not stays]
    told = re.findall(r"\b[a-e]\b", text(driver, ".box-kept"))
    assert told == [name for name, stays in zip(names, keep, strict=True) if stays]


def test_suppression_is_that_of_the_reference_at_every_threshold(page: Chrome) -> None:
    slider = page.find_element(By.CSS_SELECTOR, "[name=threshold]")
    slider.send_keys(Keys.HOME)
    for _ in range(21):
        expect_the_verdicts_of_the_reference(page)
        slider.send_keys(Keys.ARROW_RIGHT)
    assert slider.get_attribute("aria-valuetext") == text(page, ".box-kept").split()[1].rstrip(":") == "1.00"


def test_suppression_follows_a_box_that_is_moved(page: Chrome) -> None:
    lines = [text(page, "#box-suppression ol")]
    for _ in range(4):
        box(page, "box-suppression", "c").send_keys(Keys.ARROW_LEFT * 2, Keys.ARROW_UP * 2)
        expect_the_verdicts_of_the_reference(page)
        lines.append(text(page, "#box-suppression ol"))
    assert len(set(lines)) == 5
    drag(page, "box-suppression", (255, 100), (-160, 20))
    expect_the_verdicts_of_the_reference(page)


def test_what_the_chapter_says_of_the_figures_can_be_seen_in_them(page: Chrome) -> None:
    stay = {}
    for threshold in (0.2, 0.5, 0.95):
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
        page.execute_script(script, page.find_element(By.CSS_SELECTOR, "[name=threshold]"), str(threshold))
        stay[threshold] = re.findall(r"\b[a-e]\b", text(page, ".box-kept"))
    assert stay == {0.2: list("ad"), 0.5: list("acd"), 0.95: list("abcde")}
    script = "arguments[0].value = 0.5; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
    page.execute_script(script, page.find_element(By.CSS_SELECTOR, "[name=threshold]"))
    put(page, "box-suppression", d=(50, 60, 130, 140))
    assert "d (0.70) goes" in text(page, "#box-suppression ol")
    assert "e (0.60) stays" in text(page, "#box-suppression ol")


@pytest.mark.parametrize("figure", FIGURES)
def test_without_a_script_the_first_state_stands_there(figure: str, page: Chrome, site: str) -> None:
    told = text(page, f"#{figure}").splitlines()
    controls = [".box-hint", "label"]
    hidden = {
        line
        for selector in controls
        for e in page.find_elements(By.CSS_SELECTOR, f"#{figure} {selector}")
        for line in e.text.splitlines()
    }
    with without_scripts(page):
        page.get(f"{site}/{PAGE}")
        assert text(page, f"#{figure}").splitlines() == [line for line in told if line not in hidden]
        assert page.find_element(By.CSS_SELECTOR, f"#{figure} svg").get_attribute("role") == "img"
        assert page.find_element(By.CSS_SELECTOR, f"#{figure} svg").get_attribute("aria-label")
        for selector in controls:
            assert not any(e.is_displayed() for e in page.find_elements(By.CSS_SELECTOR, f"#{figure} {selector}"))


@pytest.mark.parametrize("figure", FIGURES)
def test_every_box_has_a_name_for_a_screen_reader_and_a_place_in_the_order_of_tab(figure: str, page: Chrome) -> None:
    boxes = page.find_elements(By.CSS_SELECTOR, f"#{figure} [data-box]")
    assert len(boxes) >= 2
    for one in boxes:
        name = one.get_attribute("data-box")
        assert one.get_attribute("aria-label").startswith(f"box {name}, from ")
        assert one.get_attribute("tabindex") == "0"
        assert page.find_element(By.ID, one.get_attribute("aria-describedby")).is_displayed()
    assert page.find_element(By.CSS_SELECTOR, f"#{figure} svg").get_attribute("role") == "group"


@pytest.mark.parametrize("figure", FIGURES)
def test_a_figure_fits_on_a_phone(figure: str, page: Chrome) -> None:
    set_width(page, 390)
    right = page.execute_script(
        f"return [...document.querySelectorAll('#{figure} *')].map(e => e.getBoundingClientRect().right)"
    )
    assert max(right) <= 390
