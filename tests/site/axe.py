"""axe-core, the checker of accessibility, from the npm registry into _build/axe."""

import tarfile
import tempfile
from pathlib import Path
from typing import Any

import npm_package
from selenium.webdriver import Chrome

from autograder.blocks import ROOT

VERSION = "4.14.1"
INTEGRITY = "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
FILE = ROOT / "_build" / "axe" / f"axe-{VERSION}.min.js"
# The boxes that KaTeX draws are hidden from screen readers, and their colors have a test of their own.
RUN = """
const done = arguments[0];
axe.run({exclude: [[".katex-html"]]}, {resultTypes: ["violations"]}).then((found) => done(found.violations));
"""
BAD = ("serious", "critical")
PATIENCE = 180  # seconds: the formula sheet has some 60,000 elements


def script() -> str:
    """The checker's source; downloaded where it is not there yet."""
    if not FILE.is_file():
        FILE.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            archive = npm_package.download("axe-core", VERSION, INTEGRITY, Path(folder))
            with tarfile.open(archive) as package:
                member = package.extractfile("package/axe.min.js")
                assert member is not None
                FILE.write_bytes(member.read())
    return FILE.read_text(encoding="utf-8")


def violations(driver: Chrome) -> list[str]:
    """What makes the open page hard to use for some, a line for each element; only what is serious or critical."""
    driver.set_script_timeout(PATIENCE)
    driver.execute_script(script())
    found: list[dict[str, Any]] = driver.execute_async_script(RUN)
    return [
        f"{rule['id']}: {' '.join(node['target'])}: {node['html'][:200]}"
        for rule in found
        if rule["impact"] in BAD
        for node in rule["nodes"]
    ]
