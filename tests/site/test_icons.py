"""The site brings the icons that it shows, and no others."""

import re
from pathlib import Path

import pydata_sphinx_theme
import pytest
from fontTools.ttLib import TTFont

from book.chromium import SITE

pytestmark = pytest.mark.usefixtures("site")

FONTS = SITE / "_static" / "vendor" / "fontawesome" / "webfonts"
STYLES = SITE / "_static" / "styles" / "pydata-sphinx-theme.css"


@pytest.fixture(scope="module")
def drawn() -> set[int]:
    """The codes for which the font of the icons has a drawing."""
    file = FONTS / "icons.woff"
    assert file.stat().st_size < 10_000
    return characters(file)


def characters(file: Path) -> set[int]:
    with TTFont(file) as font:
        return set(font.getBestCmap())


def test_every_icon_of_the_pages_has_a_style_and_a_drawing(drawn: set[int]) -> None:
    pages = [file.read_text(encoding="utf-8") for file in SITE.rglob("*.html")]
    names = {name for page in pages for name in re.findall(r'<i class="fa-solid (fa-[a-z-]+)', page)}
    assert len(names) > 5
    styles = STYLES.read_text(encoding="utf-8")
    codes = {name: re.search(rf'\.{name}:before[^{{}}]*\{{content:"\\([0-9a-f]+)"', styles) for name in names}
    assert [name for name, code in codes.items() if code is None or int(code[1], 16) not in drawn] == []


def test_every_icon_that_a_style_sheet_names_has_a_drawing(drawn: set[int]) -> None:
    sheets = [file.read_text(encoding="utf-8") for file in SITE.glob("_static/**/*.css")]
    signs = {ord(sign) for sheet in sheets for sign in re.findall(r"[\ue000-\uf8ff]", sheet)}
    signs |= {int(code, 16) for sheet in sheets for code in re.findall(r'content: ?"\\(f[0-9a-f]{3})"', sheet)}
    (whole,) = Path(pydata_sphinx_theme.__file__).parent.rglob("fa-solid-900.ttf")
    assert signs
    assert signs & characters(whole) <= drawn
