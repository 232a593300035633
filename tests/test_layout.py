"""One block, one name: every block has all of its parts, and no part is without a block."""

import re
import subprocess
from pathlib import Path

import pytest

from autograder import blocks

ROOT = blocks.ROOT

# A block without a kernel, and why it has none.
NO_KERNEL: dict[str, str] = {}

# A solution that exists before its own chapter does, and what an earlier chapter needs of it.
AHEAD_OF_ITS_CHAPTER: dict[str, str] = {}

# Files among the kernels that belong to no block, and what they are for.
KERNEL_TOOLS: dict[str, str] = {
    "checker": "watches kernels in the interpreter, for tests and for students",
    "arguments": "says what does not fit in the arguments of a host function",
}

# Where a file is named after its block.
NAMED_AFTER_BLOCKS = [
    "book/chapters/*.md",
    "book/exercises/*.md",
    "solutions/*.py",
    "kernels/*.py",
    "autograder/questions/*.py",
]


def parts(stem: str) -> list[Path]:
    """Every file that a block must have."""
    always = [blocks.chapter, blocks.exercises, blocks.solution, blocks.questions, blocks.tests]
    return [path(stem) for path in always] + ([] if stem in NO_KERNEL else [blocks.kernel(stem)])


def tracked() -> list[Path]:
    """Every file that git tracks and that is there."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def relative(paths) -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in paths)


def python_files() -> list[Path]:
    folders = ["solutions", "kernels", "autograder", "book/_ext", "tests", "benchmarks"]
    return [path for folder in folders for path in (ROOT / folder).rglob("*.py")]


def test_the_table_of_contents_names_blocks_and_none_twice():
    stems = blocks.stems()
    assert stems
    assert len(set(stems)) == len(stems)


def test_every_block_has_all_of_its_parts():
    missing = [path for stem in blocks.stems() for path in parts(stem) if not path.is_file()]
    assert relative(missing) == []


def belongs_to(path: Path, stems: set[str]) -> bool:
    """A file has the name of its block. Kernels of one block may fill several files: <stem>.py and <stem>_<part>.py."""
    if path.parent == ROOT / "kernels" and any(path.stem.startswith(f"{stem}_") for stem in stems):
        return True
    return path.stem.removesuffix("_torch") in stems


def test_every_part_belongs_to_a_block():
    known = {*blocks.stems(), *AHEAD_OF_ITS_CHAPTER, "__init__"}
    files = [path for pattern in NAMED_AFTER_BLOCKS for path in ROOT.glob(pattern)]
    strays = [path for path in files if not belongs_to(path, known)]
    tools = [ROOT / "kernels" / f"{tool}.py" for tool in KERNEL_TOOLS]
    assert relative(set(strays) - set(tools)) == []


@pytest.mark.parametrize(
    ("name", "belongs"),
    [("lstm", True), ("lstm_torch", True), ("lstm_gru", False), ("lstms", False), ("gru_lstm", False)],
)
def test_a_name_says_to_which_block_a_file_belongs(name, belongs):
    assert belongs_to(ROOT / "solutions" / f"{name}.py", {"lstm", "rnn"}) == belongs
    assert belongs_to(ROOT / "kernels" / f"{name}.py", {"lstm", "rnn"}) == (belongs or name == "lstm_gru")


def test_the_table_of_contents_lists_the_exercises_of_every_chapter():
    chapters = {path.stem for path in (ROOT / "book" / "chapters").glob("*.md")}
    assert chapters == set(blocks.stems())


def test_no_exception_has_outlived_its_reason():
    stems = set(blocks.stems())
    assert {stem for stem in NO_KERNEL if stem not in stems or blocks.kernel(stem).exists()} == set()
    assert stems & AHEAD_OF_ITS_CHAPTER.keys() == set()
    assert {stem for stem in AHEAD_OF_ITS_CHAPTER if not blocks.solution(stem).exists()} == set()
    assert {tool for tool in KERNEL_TOOLS if not blocks.kernel(tool).exists()} == set()


def test_every_equation_that_a_solution_names_stands_in_the_book():
    book = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "book").rglob("*.md"))
    named = {
        (path.name, label)
        for path in (ROOT / "solutions").glob("*.py")
        for label in re.findall(r"\b[Ee]q\. ([a-z0-9-]+)", path.read_text(encoding="utf-8"))
    }
    assert named
    numbered = set(re.findall(r"^\$\$ *\(([a-z0-9-]+)\)$", book, re.MULTILINE))
    assert sorted((file, label) for file, label in named if label not in numbered) == []


def test_solutions_keep_their_annotations_as_objects():
    """With them as strings, the shapes could no longer be read from the signature."""
    line = "from __future__ import annotations"
    paths = (ROOT / "solutions").glob("*.py")
    assert relative(path for path in paths if line in path.read_text(encoding="utf-8")) == []


def test_no_file_is_named_for_nothing_in_particular():
    vague = {"utils", "util", "helpers", "misc"}
    assert relative(path for path in python_files() if path.stem in vague) == []


def test_no_notebook_is_tracked():
    assert relative(path for path in tracked() if path.suffix == ".ipynb") == []


def test_no_tracked_file_is_larger_than_a_megabyte():
    assert relative(path for path in tracked() if path.stat().st_size > 1_000_000) == []
