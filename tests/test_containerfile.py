"""The container for machines without bubblewrap, as far as it can be checked without building it."""

import fnmatch
import re
import shlex
import tomllib

import pytest
from packaging.specifiers import SpecifierSet

from autograder.blocks import ROOT

OPTION = "--"


def instructions() -> list[tuple[str, list[str]]]:
    """The instructions of the Containerfile, with their words."""
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [(name, shlex.split(words)) for name, _, words in (line.partition(" ") for line in lines if line.strip())]


def words_of(wanted: str) -> list[list[str]]:
    return [words for name, words in instructions() if name == wanted]


def copied() -> list[str]:
    """Every path that goes into the image."""
    return [path for words in words_of("COPY") for path in words[:-1] if not path.startswith(OPTION)]


def patterns() -> list[str]:
    lines = (ROOT / ".containerignore").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_what_goes_into_the_image_is_there_and_is_not_ignored():
    assert copied()
    assert [path for path in copied() if not (ROOT / path).exists()] == []
    assert [path for path in copied() if any(fnmatch.fnmatch(path, pattern) for pattern in patterns())] == []


def test_every_package_of_the_project_that_grading_imports_goes_into_the_image():
    used = set()
    for file in (ROOT / "autograder").rglob("*.py"):
        used |= set(re.findall(r"^\s*(?:from|import) (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))
    ours = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert used & ours <= set(copied())


@pytest.mark.parametrize("private", ["course", ".git", ".venv", "_build"])
def test_no_class_and_no_history_goes_into_the_image(private):
    assert private in patterns()
    assert not any(path.split("/")[0] in (private, ".") for path in copied())


def test_its_python_is_one_that_the_project_supports():
    ((image,),) = words_of("FROM")
    version = re.search(r"/python:(\d+\.\d+)-slim-bookworm$", image)
    assert version, f"{image} is no Debian image of Python"
    about = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert version[1] in SpecifierSet(about["project"]["requires-python"])


def test_it_installs_what_the_system_packages_name_for_the_sandbox():
    needs = (ROOT / ".ci" / "system-packages").read_text(encoding="utf-8")
    package = re.search(r"^need bwrap (\S+)", needs, re.MULTILINE)
    assert package
    (installing,) = (words for words in words_of("RUN") if "apt-get" in words)
    after = installing[installing.index("install") + 1 : installing.index("&&", installing.index("install"))]
    assert [word for word in after if not word.startswith(OPTION)] == [package[1]]


def test_it_runs_as_nobody_in_particular_and_takes_the_commands_of_the_autograder():
    names = [name for name, _ in instructions()]
    assert words_of("USER")[-1] != ["root"]
    assert names.index("USER") < names.index("ENTRYPOINT")
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    assert 'ENTRYPOINT ["python", "-m", "autograder"]' in text
