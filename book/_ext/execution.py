"""How the cells of the chapters are run.

A kernel finds the project's packages and computes on one thread; the cells run again when the code below them
has changed.
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from sphinx.application import ENV_PICKLE_FILENAME, Sphinx
from sphinx.config import Config

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the extensions that are loaded after this one import the autograder
# What a cell prints depends on these, and what a page shows on those.
CODE = ("solutions/*.py", "kernels/*.py", "requirements.txt")
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
    # Sphinx reads all pages again when one of these two values is another than in the last build.
    config.code_digest, config.look_digest = digest(CODE), digest(LOOK)
    results = Path(app.outdir).parent / ".jupyter_cache"
    stamp = results / "code.sha256"
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != config.code_digest:
        shutil.rmtree(results, ignore_errors=True)
        results.mkdir(parents=True)
        stamp.write_text(config.code_digest, encoding="utf-8")


def forget_bad_build(app: Sphinx, error: Exception | None) -> None:
    """Read every page again after a build with warnings, or the next one would skip what it warned about."""
    if app._warncount:
        Path(app.doctreedir, ENV_PICKLE_FILENAME).unlink(missing_ok=True)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_config_value("code_digest", "", "env", str)
    app.add_config_value("look_digest", "", "env", str)
    app.connect("config-inited", set_up_kernels)
    app.connect("config-inited", forget_stale_results)
    app.connect("build-finished", forget_bad_build)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
