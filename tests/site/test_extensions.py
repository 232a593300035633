"""The book's own Sphinx extensions, on pages of a few lines."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from autograder.blocks import ROOT

EXTENSIONS = ROOT / "book" / "_ext"
STYLES = ROOT / "book" / "_static" / "site.css"
BACKGROUNDS = {"light": ("#ffffff", "#f3f4f5"), "dark": ("#121212", "#14181e", "#29313d")}
CONF = """
import sys
sys.path[:0] = [{root!r}, {extensions!r}]
extensions = ["myst_parser", "sphinx_design", "katex_math", "question", "sheet_note"]
myst_enable_extensions = ["amsmath", "dollarmath"]
html_math_renderer = "katex"
"""


def build(folder: Path, text: str, edition: str = "full") -> tuple[int, str, str]:
    """Build a site of one page; return the exit status, what Sphinx printed, and the page."""
    (folder / "conf.py").write_text(CONF.format(root=str(ROOT), extensions=str(EXTENSIONS)), encoding="utf-8")
    (folder / "index.md").write_text(text, encoding="utf-8")
    (folder / "solutions").symlink_to(ROOT / "solutions")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", str(folder), str(folder / "out")]
    environment = os.environ | {"EDITION": edition, "NO_COLOR": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    page = folder / "out" / "index.html"
    return done.returncode, done.stderr, page.read_text(encoding="utf-8") if page.is_file() else ""


def test_formulas_become_markup_for_eyes_and_for_screen_readers(tmp_path: Path) -> None:
    formula = r"\begin{aligned} a &= b \\ c &= \textcolor{red}{d} \end{aligned}"
    text = f"# T\n\n$x$, {{eq}}`a`\n\n$$\n{formula}\n$$ (a)\n"
    status, output, page = build(tmp_path, text)
    assert (status, output) == (0, "")
    assert page.count('class="katex-html"') == page.count("<math ") == 2
    assert 'style="color:var(--math-red);"' in page
    assert '<a class="reference internal" href="#equation-a">(1)</a>' in page


def test_each_comma_stays_behind_its_own_formula(tmp_path: Path) -> None:
    _, _, page = build(tmp_path, "# T\n\nOf $a$, $b$, `c`, $d$ and ($e$), $f$.\n")
    paragraph = BeautifulSoup(page, "html.parser").select_one("section p")
    for number, formula in enumerate(paragraph.select(".katex")):
        formula.replace_with(str(number))
    assert paragraph.text.replace("\u2060", "") == "Of 0, 1, c, 2 and (3), 4."


@pytest.mark.parametrize(
    ("formula", "complaint"),
    [
        (r"\frac{1}{", "Unexpected end of input"),
        (r"\unknown{x}", r"Undefined control sequence: \unknown"),
        (r"\textcolor{lime}{x}", "unknown color 'lime'"),
        (r"\href{https://example.org}{x}", "not allowed"),
    ],
)
def test_a_bad_formula_fails_the_build_with_file_and_line(formula: str, complaint: str, tmp_path: Path) -> None:
    status, output, _ = build(tmp_path, f"# T\n\nFine: $x$\n\nBad: ${formula}$\n")
    assert status != 0
    assert re.search(r"index\.md:5: WARNING: formula: .*" + re.escape(complaint), output)


@pytest.mark.parametrize("theme", BACKGROUNDS)
def test_the_colors_of_formulas_can_be_read_in_both_themes(theme: str) -> None:
    light, dark = STYLES.read_text(encoding="utf-8").split('html[data-theme="dark"]', 1)
    colors = re.findall(r"--math-\w+: (#\w{6})", light if theme == "light" else dark)
    assert len(colors) == 9
    assert min(contrast(color, ground) for color in colors for ground in BACKGROUNDS[theme]) >= 5


def contrast(one: str, other: str) -> float:
    """The contrast of two colors as WCAG 2 defines it."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


QUESTION = """# T

{{ref}}`question-{name}`

````{{question}} {name}
:points: 4
:stars: 2
:minutes: 15

Do it.

```{{dropdown}} Hint 1
An idea.
```
````
"""


def test_a_question_shows_the_stub_before_its_hints(tmp_path: Path) -> None:
    status, output, page = build(tmp_path, QUESTION.format(name="lstm_step_forward"))
    assert (status, output) == (0, "")
    order = [page.index(part) for part in ("★★☆", "4 points", "without ", "Do it.", "NotImplementedError", "An idea.")]
    assert order == sorted(order)
    assert 'href="#question-lstm_step_forward"' in page


def test_a_question_that_no_solution_answers_fails_the_build_with_file_and_line(tmp_path: Path) -> None:
    status, output, _ = build(tmp_path, QUESTION.format(name="no_such_function"))
    assert status != 0
    assert re.search(r"index\.md:5: .*no function 'no_such_function'", output)


def test_a_fence_that_closes_too_early_fails_the_build(tmp_path: Path) -> None:
    hint = "```{dropdown} Hint 1\n```python\na = 1\n```\n```\n"
    text = QUESTION.format(name="lstm_step_forward").replace("```{dropdown} Hint 1\nAn idea.\n```\n", hint)
    status, output, _ = build(tmp_path, text)
    assert status != 0
    assert "an outer fence needs more backticks" in output


@pytest.mark.parametrize(("edition", "shown"), [("full", True), ("class", False)])
def test_the_class_edition_leaves_the_reference_out(edition: str, shown: bool, tmp_path: Path) -> None:
    label = "(question-lstm_step_forward)=\n# T\n\n"  # the page of the exercises, which is not part of this site
    status, output, page = build(tmp_path, label + "```{solution} lstm_step_forward\n```\n", edition)
    assert (status, output) == (0, "")
    assert ("np.split" in re.sub(r"<[^>]+>", "", page)) is shown
    assert ("The full edition shows the reference" in page) is not shown


def test_an_edition_that_does_not_exist_fails_the_build(tmp_path: Path) -> None:
    status, output, _ = build(tmp_path, "# T\n", "teacher")
    assert status != 0
    assert "the editions are: full, class" in output


def test_a_sheet_note_can_be_linked_to(tmp_path: Path) -> None:
    text = "# T\n\n{ref}`sheet-note-8`\n\n```{sheet-note} 8\nLetters swap.\n```\n"
    status, output, page = build(tmp_path, text)
    assert (status, output) == (0, "")
    assert '<a class="reference internal" href="#sheet-note-8">' in page
    assert 'id="sheet-note-8"' in page


CHAPTER = r"""(target)=
```{sheet-part} formula-sheet-steps
```

## Steps

By {eq}`step` of {cite:t}`key`, see [below](#end), {ref}`this <end>` and [torch](https://pytorch.org).

$$
a = b
$$ (step)

:::{sheet-note} 8
Letters **swap**.
:::

~~~{dropdown} A. `nan`
No.
~~~

```{bibliography}
```
"""
NOTEBOOK_TEXT = r"""## Steps

By (step) of [key], see below, this and [torch](https://pytorch.org).

$$
a = b
\tag{step}
$$

> **Sheet note 8**
>
> Letters **swap**.

<details><summary>A. <code>nan</code></summary>

No.

</details>"""


def test_the_text_of_a_notebook_is_markdown_that_jupyter_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXTENSIONS)
    from plain_markdown import plain

    assert plain(CHAPTER) == NOTEBOOK_TEXT
