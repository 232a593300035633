"""One submission as it lies in submitted/<student>/<assignment>/: read whole, or refused with a reason."""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatch
from pathlib import Path

from nbgrader.utils import parse_utc

MEGABYTE = 1 << 20
MAX_NOTEBOOK = 50 * MEGABYTE
MAX_FILES = 64 * MEGABYTE  # all others of a submission together
RECEIPT = ("timestamp.txt", "submission_secret.txt")  # what nbgrader's exchange notes beside a submission


class UnreadableError(Exception):
    """A submission that can't be graded; the text says in one line why not."""


@dataclass(frozen=True)
class Submission:
    """The notebooks as JSON by name, the files beside them by relative path, what nbgrader wrote, a digest of all."""

    student: str
    assignment: str
    notebooks: Mapping[str, str]
    files: Mapping[str, bytes]
    receipt: Mapping[str, str]
    digest: str

    @property
    def timestamp(self) -> datetime | None:
        """When it was handed in, if nbgrader has noted it."""
        date: datetime | None = parse_utc(self.receipt["timestamp.txt"]) if self.receipt.get("timestamp.txt") else None
        return date


def read(course: Path, student: str, assignment: str, names: Sequence[str], ignored: Sequence[str]) -> Submission:
    """Read a submission: the notebooks of these names that are there, and the files whose names match no `ignored`.

    Raises UnreadableError where a notebook is none, where none is there, or where a link leads elsewhere.
    """
    folder = course / "submitted" / student / assignment
    if not is_text(student):
        raise UnreadableError("the name of its folder is no text in UTF-8: rename the folder")
    if set("*?[]#%") & set(student):
        raise UnreadableError("nbgrader can't handle * ? [ ] # % in a name: rename the folder")
    if folder.is_symlink() or folder.parent.is_symlink():
        raise UnreadableError("it is a symbolic link, which may lead to the work of another student")
    notebooks = {name: _notebook(folder / f"{name}.ipynb") for name in names if _there(folder / f"{name}.ipynb")}
    if not notebooks:
        there = sorted(path.name for path in folder.glob("*.ipynb"))
        wanted = " or ".join(f"{name}.ipynb" for name in names)
        raise UnreadableError(f"no {wanted} was handed in" + (f", only {', '.join(there)}" if there else ""))
    files = dict(files_of(folder, ignored))
    receipt = {name: _line(folder / name) for name in RECEIPT if _there(folder / name)}
    _require_date(receipt.get("timestamp.txt", ""))
    return Submission(student, assignment, notebooks, files, receipt, _digest(notebooks, files, receipt))


def is_text(name: str) -> bool:
    """False for a name of a folder that is not written in UTF-8."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _there(file: Path) -> bool:
    if file.is_symlink():
        raise UnreadableError(f"{file.name} is a symbolic link, which may lead to the work of another student")
    return file.is_file()


def _notebook(file: Path) -> str:
    """The text of a notebook that has cells."""
    try:
        size = file.stat().st_size
        if size > MAX_NOTEBOOK:
            raise UnreadableError(
                f"{file.name} has {size / MEGABYTE:.0f} MB, more than the {MAX_NOTEBOOK // MEGABYTE} MB that are read: "
                "ask for it without its outputs"
            )
        text = file.read_text(encoding="utf-8-sig")  # some editors put a byte order mark in front
        content = json.loads(text)
        json.dumps(content, ensure_ascii=False).encode("utf-8")
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableError(f"{file.name} is no readable notebook: {error}") from error
    # notebooks of format 3 and older have worksheets
    if not isinstance(content, dict) or not any(isinstance(content.get(key), list) for key in ("cells", "worksheets")):
        raise UnreadableError(f"{file.name} is no notebook: it has no cells")
    return text


def _line(file: Path) -> str:
    with file.open(encoding="utf-8", errors="replace") as content:
        return content.read(200).strip()


def _require_date(text: str) -> None:
    try:
        if text:
            parse_utc(text)
    except (ValueError, OverflowError) as error:
        raise UnreadableError(f"timestamp.txt holds no date: {error}") from error


def files_of(folder: Path, ignored: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """The regular files below a folder, notebooks left out, up to a limit. Raises UnreadableError for others."""
    left = MAX_FILES
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _matches(name, ignored))
        for name in sorted(names):
            file = Path(place, name)
            relative = file.relative_to(folder).as_posix()
            if name.endswith(".ipynb") or name in RECEIPT or _matches(name, ignored):
                continue
            about = file.lstat()
            if not stat.S_ISREG(about.st_mode):
                raise UnreadableError(f"{relative} is no ordinary file but a link or a device")
            left -= about.st_size
            if left < 0:
                raise UnreadableError(f"its files have more than {MAX_FILES // MEGABYTE} MB together")
            yield relative, file.read_bytes()


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _digest(notebooks: Mapping[str, str], files: Mapping[str, bytes], receipt: Mapping[str, str]) -> str:
    total = hashlib.sha256()
    texts = {**notebooks, **receipt}
    for name, content in [*((name, text.encode()) for name, text in texts.items()), *files.items()]:
        total.update(f"{name!r} {len(content)} ".encode() + content)
    return total.hexdigest()[:32]
