"""Take pictures of every page: python -m tests.site.screenshots [PAGE ...].

They go to _build/screenshots/, as <page>-<theme>-<width>.png. A PAGE is an entry of _toc.yml: book/intro.
"""

import sys
from pathlib import Path

from selenium.webdriver import Chrome

from autograder.blocks import ROOT, pages
from book.chromium import THEMES, browser, open_page, served, set_theme, set_width

FOLDER = ROOT / "_build" / "screenshots"
WIDTHS = (1280, 390)
TALLEST = 16_000  # pixels: Chromium's limit for one picture


def take(driver: Chrome, page: str, theme: str, width: int) -> Path:
    """Take one picture of a whole page."""
    height = driver.execute_script("return document.documentElement.scrollHeight")
    set_width(driver, width, min(height, TALLEST))
    file = FOLDER / f"{page.replace('/', '-')}-{theme}-{width}.png"
    driver.save_screenshot(str(file))
    return file


def main(wanted: list[str]) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with served() as address, browser() as driver:
        for page in wanted or pages():
            for theme in THEMES:
                set_theme(driver, theme)
                for width in WIDTHS:
                    set_width(driver, width)
                    open_page(driver, f"{address}/{page}.html")
                    print(take(driver, page, theme, width))


if __name__ == "__main__":
    main(sys.argv[1:])
