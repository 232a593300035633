"""Install KaTeX's styles and fonts into _build/katex: `python book/_ext/install_katex.py`.

The script itself comes in the wheel sphinxcontrib-katex; both are of the same version.
"""

import re
import shutil
import tarfile
import tempfile
from pathlib import Path

import npm_package

VERSION = "0.16.22"
INTEGRITY = "XCHRdUw4lf3SKBaJe4EvgqIuWwkPSo9XoeO8GjQW94Bp7TWv9hNhzZjZ+OH9yf1UmLygb7DIT5GSFQiyt16zYg=="
FOLDER = Path(__file__).resolve().parents[2] / "_build" / "katex"
FALLBACK_FONT = re.compile(r',url\([^)]*\.(?:woff|ttf)\) format\("(?:woff|truetype)"\)')


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
        unpack(npm_package.download("katex", VERSION, INTEGRITY, Path(folder)), FOLDER)
    stamp.write_text(VERSION, encoding="utf-8")
    print(f"KaTeX {VERSION}: styles and fonts are in {FOLDER}")


if __name__ == "__main__":
    main()
