"""What only tests do in a browser: skip where there is none, touch, do without scripts."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from selenium.webdriver import Chrome


def require_chromium() -> None:
    """Skip a test where there is no browser; on CI there must be one."""
    missing = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"{' and '.join(missing)} not installed: `make setup` says how")


def touch(driver: Chrome, places: list[tuple[float, float]]) -> None:
    """Put a finger down on the first place of the viewport, drag it over the others, and lift it."""
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        for k, (x, y) in enumerate(places):
            event = {"type": "touchMove" if k else "touchStart", "touchPoints": [{"x": x, "y": y}]}
            driver.execute_cdp_cmd("Input.dispatchTouchEvent", event)
        driver.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    finally:
        driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


@contextmanager
def without_scripts(driver: Chrome) -> Iterator[None]:
    """Pages that are loaded meanwhile run no script; the last of them is left."""
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        yield
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
        driver.get("about:blank")
