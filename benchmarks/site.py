"""What each page of the site weighs, and how soon it is read: python -m benchmarks.site [PAGE ...]

Each page is visited with an empty cache, through a server that compresses as GitHub Pages does, on a processor that is
made four times slower and a line of a phone's speed. Three pages are timed once more with MathJax in the browser in
place of formulas from the build, which needs the npm registry. A PAGE is an entry of _toc.yml.
"""

import contextlib
import functools
import gzip
import shutil
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bs4 import BeautifulSoup
from rich.console import Console
from rich.table import Table
from selenium.webdriver import Chrome

from autograder.blocks import pages
from book._ext import npm_package
from book.chromium import SITE, QuietHandler, browser, network, served, set_theme, set_width

SLOWER = 4
LINE = {"offline": False, "latency": 150, "downloadThroughput": 1.6e6 / 8, "uploadThroughput": 0.75e6 / 8}
PHONE = (390, 844)
TEXTS = {".css", ".html", ".js", ".json", ".svg", ".ttf"}
KINDS = {
    ".html": "text",
    ".css": "styles",
    ".js": "scripts",
    ".woff": "fonts",
    ".woff2": "fonts",
    ".ttf": "fonts",
    ".png": "pictures",
    ".webp": "pictures",
    ".svg": "pictures",
    ".jpg": "pictures",
}
COLUMNS = ("text", "styles", "scripts", "fonts", "pictures", "animations")
FORMULAS_TWICE = ("book/chapters/lstm", "book/chapters/activations", "book/formula_sheet")
MATHJAX = "3.2.2"
INTEGRITY = "Bt+SSVU8eBG27zChVewOicYs7Xsdt40qm4+UpHyX7k0/O9NliPc+x77k1/FEsPsjKPZGJvtRZM1vO+geW0OhGw=="
WATCH = """
window.shift = 0;
new PerformanceObserver(list => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
}).observe({type: "layout-shift", buffered: true});
"""
# Formulas are drawn when they have been painted, typeset if need be, and the last of their fonts has come.
DRAWN = """
const done = arguments[0];
const formulas = window.MathJax ? MathJax.startup.promise : Promise.resolve();
const painted = new Promise((found) => new PerformanceObserver((list) => {
  for (const entry of list.getEntriesByName("first-contentful-paint")) found(entry.startTime);
}).observe({type: "paint", buffered: true}));
Promise.all([painted, formulas.then(() => document.fonts.ready)]).then(([paint]) => setTimeout(() => {
  const fonts = performance.getEntriesByType("resource").filter(it => /(KaTeX|MathJax)_.*woff/.test(it.name));
  done([paint, Math.max(paint, window.typeset || 0, ...fonts.map(font => font.responseEnd)), window.shift]);
}));
"""
NOTE_TYPESET = """
window.MathJax = {startup: {pageReady: () => MathJax.startup.defaultPageReady().then(() => {
  window.typeset = performance.now();
})}};
"""
ALL_PICTURES = """
const done = arguments[0], pictures = [...document.images];
for (const picture of pictures) picture.loading = "eager";
const frames = window.Animation && document.querySelectorAll(".animation");
for (const player of frames || []) player.dispatchEvent(new Event("pointerenter"));
Promise.allSettled(pictures.map(picture => picture.decode())).then(() => setTimeout(done, 300));
"""


@functools.cache
def compressed(file: Path) -> bytes:
    return gzip.compress(file.read_bytes(), 6)


class CompressingHandler(QuietHandler):
    """Serve texts as gzip, as the servers of the web do; a visitor may leave before the end."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:  # noqa: N802
        file = Path(self.translate_path(self.path))
        if file.suffix not in TEXTS or not file.is_file():
            super().do_GET()
            return
        content = compressed(file)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(file)))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@dataclass(frozen=True)
class Visit:
    """A first visit: bytes on the wire by kind until the page stands, then with all that it can show; seconds."""

    first: Counter[str]
    whole: Counter[str]
    painted: float
    drawn: float
    shift: float

    @property
    def still(self) -> int:
        """The bytes of the whole page without its animations."""
        return self.whole.total() - self.whole["animations"]


def kind(address: str) -> str:
    path = urlsplit(address).path
    return "animations" if "/frame-" in path else KINDS.get(Path(path).suffix, "text")


def received(driver: Chrome) -> Counter[str]:
    """The bytes that came over the wire since the last call, by kind."""
    address: dict[str, str] = {}
    size: Counter[str] = Counter()
    for event in network(driver):
        params: dict[str, Any] = event["params"]
        if event["method"] == "Network.requestWillBeSent":
            address[params["requestId"]] = params["request"]["url"]
        elif event["method"] == "Network.loadingFinished" and params["requestId"] in address:
            size[kind(address[params["requestId"]])] += int(params["encodedDataLength"])
    return size


def visit(driver: Chrome, address: str) -> Visit:
    """Open a page as if for the first time."""
    driver.get("about:blank")
    driver.execute_cdp_cmd("Network.clearBrowserCache", {})
    received(driver)
    driver.get(address)
    painted, drawn, shift = driver.execute_async_script(DRAWN)
    first = received(driver)
    driver.execute_async_script(ALL_PICTURES)
    whole = first + received(driver)
    return Visit(first, whole, painted / 1000, drawn / 1000, shift)


def like_a_phone(driver: Chrome) -> None:
    """Slow the browser down, and let it note what jumps."""
    set_theme(driver, "light")
    set_width(driver, *PHONE)
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", LINE)
    driver.execute_cdp_cmd("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})


def with_mathjax(page: str, site: Path) -> None:
    """Put LaTeX and MathJax in place of a page's formulas."""
    file = site / f"{page}.html"
    soup = BeautifulSoup(file.read_text(encoding="utf-8"), "html.parser")
    for formula in soup.select(".katex-display, .katex"):
        if formula.decomposed or not formula.find("annotation"):
            continue
        display = "katex-display" in formula["class"]
        latex = formula.find("annotation").text
        formula.replace_with(rf"\[{latex}\]" if display else rf"\({latex}\)")
    for part in soup.select(".tex2jax_ignore, .mathjax_ignore"):
        part["class"] = [name for name in part["class"] if not name.endswith("jax_ignore")]
    for style in soup.select('link[href*="katex"]'):
        style.decompose()
    root = "../" * page.count("/")
    note = soup.new_tag("script")
    note.string = NOTE_TYPESET
    soup.head.append(note)
    soup.head.append(soup.new_tag("script", src=f"{root}mathjax/es5/tex-chtml.js", defer=""))
    file.write_text(str(soup), encoding="utf-8")


def install_mathjax(site: Path) -> None:
    """Fetch MathJax from the npm registry into a copy of the site."""
    with tempfile.TemporaryDirectory() as folder:
        archive = npm_package.download("mathjax", MATHJAX, INTEGRITY, Path(folder))
        with tarfile.open(archive) as package:
            package.extractall(folder, filter="data")
        shutil.move(Path(folder, "package"), site / "mathjax")


def weights(visits: dict[str, Visit]) -> Table:
    """One row for each page, the heaviest first."""
    table = Table(
        "page", "first visit", *COLUMNS, "all but animations", "first paint, s", "formulas, s", "shift", title="kB"
    )
    for page, seen in sorted(visits.items(), key=lambda item: -item[1].still):
        parts = [f"{seen.whole[column] / 1000:.0f}" for column in COLUMNS]
        times = (f"{seen.painted:.2f}", f"{seen.drawn:.2f}", f"{seen.shift:.3f}")
        first, still = f"{seen.first.total() / 1000:.0f}", f"{seen.still / 1000:.0f}"
        table.add_row(page.removeprefix("book/"), first, *parts, still, *times)
    return table


def formulas(driver: Chrome, built: dict[str, Visit]) -> Table:
    """Formulas from the build beside MathJax in the browser, on the same pages."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "site")
        shutil.copytree(SITE, copy)
        install_mathjax(copy)
        table = Table("page", "formulas", "first visit, kB", "formulas drawn, s", "shift")
        with served(copy, CompressingHandler) as address:
            for page in built:
                with_mathjax(page, copy)
                seen = visit(driver, f"{address}/{page}.html")
                assert driver.find_elements("tag name", "mjx-container"), "MathJax has typeset nothing"
                for name, it in (("built in", built[page]), (f"MathJax {MATHJAX}", seen)):
                    row = (f"{it.first.total() / 1000:.0f}", f"{it.drawn:.2f}", f"{it.shift:.3f}")
                    table.add_row(page.removeprefix("book/"), name, *row)
        return table


def main(wanted: Sequence[str]) -> None:
    if not (SITE / "index.html").is_file():
        sys.exit("the site is not built: run `make site`")
    console = Console(width=160)
    with browser() as driver, served(SITE, CompressingHandler) as address:
        like_a_phone(driver)
        visits = {page: visit(driver, f"{address}/{page}.html") for page in wanted or pages()}
        console.print(weights(visits))
        console.print(formulas(driver, {page: visits[page] for page in FORMULAS_TWICE if page in visits}))


if __name__ == "__main__":
    main(sys.argv[1:])
