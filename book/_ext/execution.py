"""How the cells of the chapters are run.

A kernel finds the project's packages and computes on one thread; the cells run again when the code below them
has changed, one page on each core.
"""

import hashlib
import os
import re
import shutil
import sys
import time
from pathlib import Path, PurePath
from typing import Any

from jupyter_cache import get_cache
from jupyter_cache.executors import load_executor
from myst_nb.core.read import is_myst_markdown_notebook
from sphinx.application import ENV_PICKLE_FILENAME, Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the extensions that are loaded after this one import the autograder
# What a cell prints depends on these, and what a page shows on those.
CODE = ("solutions/*.py", "kernels/*.py", "requirements.txt")
# Packages that few pages import: only those follow a change in them.
PACKAGES = {
    "autograder": ("autograder/*.py", "autograder/questions/*.py", *CODE),
    "benchmarks": ("benchmarks/*.py", "benchmarks/results/*.json", "kernels/*.json", *CODE),
}
LOOK = ("autograder/stubs.py", "book/_ext/*.py", "book/_static/*", "book/_templates/*")


def set_up_kernels(app: Sphinx, config: Config) -> None:
    """Put the root on the path of the kernels, which start in their page's folder; give each one thread."""
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"


def digest(patterns: tuple[str, ...]) -> str:
    """One hash of the names and the contents of the files that match."""
    total = hashlib.sha256()
    for file in sorted(file for pattern in patterns for file in ROOT.glob(pattern) if file.is_file()):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        total.update(f"{file.relative_to(ROOT)}\0{content}\n".encode())
    return total.hexdigest()


def forget_stale_results(app: Sphinx, config: Config) -> None:
    """Empty the execution cache when the code under the cells has changed: its own key is the cells alone."""
    # Sphinx reads all pages again when one of these values is another than in the last build.
    config.code_digest, config.look_digest = digest(CODE), digest(LOOK)
    config.package_digests = {package: digest(patterns) for package, patterns in PACKAGES.items()}
    results = cache_folder(app)
    if is_new(results / "code.sha256", config.code_digest):
        shutil.rmtree(results, ignore_errors=True)
        write(results / "code.sha256", config.code_digest)
    for package, value in config.package_digests.items():
        if is_new(results / f"{package}.sha256", value):
            forget_pages_that_import(package, results)
            write(results / f"{package}.sha256", value)


def cache_folder(app: Sphinx) -> Path:
    """Where myst-nb keeps the results of pages."""
    return Path(app.outdir).parent / ".jupyter_cache"


def execute_in_parallel(app: Sphinx, env: BuildEnvironment, pages: list[str]) -> None:
    """Run the pages whose results are not in the cache, one on each core; myst-nb then finds all of them there.

    Where a page fails, nothing is kept of it: myst-nb runs it once more, and says what happened and where.
    """
    paths = [path for path in map(env.doc2path, pages) if is_executed(path, app.config.nb_execution_excludepatterns)]
    if not paths:
        return
    cache = get_cache(str(cache_folder(app)))
    for path in paths:
        cache.add_nb_to_project(path, read_data={"type": "plugin", "name": "myst_nb_md"})
    start = time.monotonic()
    executor = load_executor("local-parallel", cache)
    done = executor.run_and_cache(filter_uris=paths, timeout=app.config.nb_execution_timeout).all()
    LOGGER.info(
        "executed %d of %d pages with code in %.0f s on %d cores",
        *(len(done), len(paths), time.monotonic() - start, os.cpu_count()),
    )


def is_executed(path: str, excluded: list[str]) -> bool:
    """Whether a page has cells that are to be run."""
    if any(PurePath(path).match(pattern) for pattern in excluded):
        return False
    return is_myst_markdown_notebook(Path(path).read_text(encoding="utf-8"))


def is_new(stamp: Path, value: str) -> bool:
    return not stamp.is_file() or stamp.read_text(encoding="utf-8") != value


def write(stamp: Path, value: str) -> None:
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(value, encoding="utf-8")


def forget_pages_that_import(package: str, results: Path) -> None:
    """Take those pages out of the cache whose cells import the package, so that the others need not run again."""
    cache, imported = get_cache(str(results)), re.compile(rf"^\s*(from|import) {package}\b", re.MULTILINE)
    for record in cache.list_cache_records():
        cells = cache.get_cache_bundle(record.pk).nb.cells
        if any(cell.cell_type == "code" and imported.search(cell.source) for cell in cells):
            cache.remove_cache(record.pk)


def note_start(app: Sphinx, config: Config) -> None:
    app.started = time.monotonic()


def say_how_long(app: Sphinx, error: Exception | None) -> None:
    LOGGER.info("this build took %.0f s", time.monotonic() - app.started)


def forget_bad_build(app: Sphinx, error: Exception | None) -> None:
    """Read every page again after a build with warnings, or the next one would skip what it warned about."""
    if app._warncount:
        Path(app.doctreedir, ENV_PICKLE_FILENAME).unlink(missing_ok=True)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_config_value("code_digest", "", "env", str)
    app.add_config_value("look_digest", "", "env", str)
    app.add_config_value("package_digests", {}, "env", dict)
    app.connect("config-inited", note_start)
    app.connect("config-inited", set_up_kernels)
    app.connect("config-inited", forget_stale_results)
    app.connect("env-before-read-docs", execute_in_parallel)
    app.connect("build-finished", forget_bad_build)
    app.connect("build-finished", say_how_long)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
