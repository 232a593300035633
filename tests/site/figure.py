"""What tests of the interactive figures share: setting controls and reading numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from book.chromium import open_page, set_width

PHONE = 390
SWEEP = """
const [figure, settings, look] = [document.getElementById(arguments[0]), arguments[1], arguments[2]];
const numbers = () => [...figure.querySelectorAll("data")].map((e) => [e.className, e.value, e.textContent]);
const shown = {
  numbers,
  overflow: () => document.documentElement.scrollWidth - innerWidth,
  picture: () => figure.querySelector("svg").innerHTML,
};
return settings.map((setting) => {
  for (const [name, value] of Object.entries(setting)) {
    const control = figure.querySelector(`[name=${name}]`);
    if (typeof value === "boolean") control.checked = value;
    else control.value = value;
  }
  figure.querySelector("[name]").dispatchEvent(new Event("input", { bubbles: true }));
  return shown[look]();
});
"""
RESET = """
for (const control of document.querySelectorAll(`#${arguments[0]} [name]`)) {
  if (control.options) control.selectedIndex = Math.max(0, [...control.options].findIndex((o) => o.defaultSelected));
  else if (control.type === "checkbox") control.checked = control.defaultChecked;
  else control.value = control.defaultValue;
  control.dispatchEvent(new Event("input", { bubbles: true }));
}
"""

Setting = Mapping[str, Any]


def at_first(driver: Chrome, address: str, figure: str) -> None:
    """Bring the figure's page, or put the controls back where they were at first; that takes less time."""
    if driver.current_url != address:
        open_page(driver, address)
    driver.execute_script(RESET, figure)


def find(driver: Chrome, figure: str, selector: str) -> WebElement:
    return driver.find_element(By.CSS_SELECTOR, f"#{figure} {selector}")


def control(driver: Chrome, figure: str, name: str) -> WebElement:
    return find(driver, figure, f"[name={name}]")


def told(driver: Chrome, figure: str) -> str:
    return find(driver, figure, ".told").text


def sweep(driver: Chrome, figure: str, settings: Sequence[Setting]) -> list[list[tuple[str, float]]]:
    """The numbers in words, by class and in full, for each setting."""
    return [[number(*found) for found in row] for row in driver.execute_script(SWEEP, figure, settings, "numbers")]


def number(name: str, value: str, text: str) -> tuple[str, float]:
    """A number as it was computed; what is read of it must be its rounding."""
    digits = len(text.partition(".")[2])
    assert abs(float(text.replace("−", "-")) - float(value)) <= 0.500001 * 10**-digits
    return name, float(value)


def numbers(driver: Chrome, figure: str) -> dict[str, float]:
    """The numbers in words as they stand."""
    found = driver.find_elements(By.CSS_SELECTOR, f"#{figure} .told data")
    return dict(number(e.get_dom_attribute("class"), e.get_dom_attribute("value"), e.text) for e in found)


def pictures(driver: Chrome, figure: str, settings: Sequence[Setting]) -> list[str]:
    return driver.execute_script(SWEEP, figure, settings, "picture")


def choose(driver: Chrome, figure: str, **setting: Any) -> None:
    """Set controls, and have it take effect at once."""
    sweep(driver, figure, [setting])


def overflow_on_a_phone(driver: Chrome, figure: str, settings: Sequence[Setting]) -> int:
    """By how much the page is at worst wider than a phone."""
    set_width(driver, PHONE)
    try:
        return max(driver.execute_script(SWEEP, figure, settings, "overflow"))
    finally:
        set_width(driver, 1280)


def names_of_controls(driver: Chrome, figure: str) -> list[str]:
    """What a screen reader calls the controls that can be seen."""
    controls = driver.find_elements(By.CSS_SELECTOR, f"#{figure} :is(input, select, button)")
    return [control.accessible_name for control in controls if control.is_displayed()]


def first_state(driver: Chrome, figure: str) -> tuple[str, ...]:
    """The picture, what it is called, and the words."""
    svg = find(driver, figure, "svg")
    picture = " ".join((svg.get_attribute("innerHTML") or "").split()).replace("> <", "><")
    return picture, svg.accessible_name, told(driver, figure)
