"""The workflows of GitHub Actions: they call make and nothing else, so that what runs there runs anywhere."""

import re

import pytest
import yaml

from autograder.blocks import ROOT

FOLDER = ROOT / ".github" / "workflows"
NAMES = ("pages", "test")
EDITIONS = re.search(
    r"^EDITIONS = \((.*)\)$", (ROOT / "book/_ext/question.py").read_text(encoding="utf-8"), re.MULTILINE
)

every_workflow = pytest.mark.parametrize("name", NAMES)


def workflow(name: str) -> dict:
    return yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8"))


def triggers(name: str) -> dict:
    return workflow(name)[True]  # YAML 1.1 reads the key `on` as true


def steps(name: str) -> list[dict]:
    return [step for job in workflow(name)["jobs"].values() for step in job["steps"]]


def targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split())


def test_there_is_a_workflow_for_the_checks_and_one_for_the_pages():
    assert tuple(sorted(file.stem for file in FOLDER.iterdir())) == NAMES


@every_workflow
def test_a_workflow_runs_make_and_nothing_else(name):
    commands = [step["run"] for step in steps(name) if "run" in step]
    assert commands
    assert [command for command in commands if not re.fullmatch(r"make [\w-]+", command)] == []
    assert {command.removeprefix("make ") for command in commands} <= targets()


@every_workflow
def test_its_actions_are_those_of_github_pinned_by_major_version(name):
    actions = [step["uses"] for step in steps(name) if "uses" in step]
    assert actions
    assert [action for action in actions if not re.fullmatch(r"actions/[a-z-]+@v\d+", action)] == []


@every_workflow
def test_a_workflow_may_read_and_only_the_publishing_job_may_write(name):
    assert workflow(name)["permissions"] == {"contents": "read"}
    writing = [
        job for job, content in workflow(name)["jobs"].items() if "write" in content.get("permissions", {}).values()
    ]
    assert writing == (["publish"] if name == "pages" else [])


def test_either_edition_can_be_published_and_what_is_published_is_the_built_site():
    offered = triggers("pages")["workflow_dispatch"]["inputs"]["edition"]["options"]
    assert offered == re.findall(r'"(\w+)"', EDITIONS[1])
    assert "inputs.edition || vars.EDITION" in workflow("pages")["jobs"]["build"]["env"]["EDITION"]
    (path,) = [step["with"]["path"] for step in steps("pages") if "upload-pages-artifact" in step.get("uses", "")]
    assert ROOT / path == ROOT / "_build" / "html"


def test_the_checks_run_on_every_push_and_every_pull_request():
    assert triggers("test").keys() == {"push", "pull_request"}
