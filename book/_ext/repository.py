"""Links to the place that a site is published from: edit this page, report what is wrong on it.

A build on GitHub Actions knows its repository; elsewhere REPOSITORY_URL names it. A site that was built without either
has no such links, as there is nowhere for them to lead.
"""

import os
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config

BUTTONS = ("use_repository_button", "use_edit_page_button", "use_issues_button")


def address() -> str:
    """The web address of the repository, or nothing."""
    server, name = os.environ.get("GITHUB_SERVER_URL", ""), os.environ.get("GITHUB_REPOSITORY", "")
    return os.environ.get("REPOSITORY_URL", "") or (f"{server}/{name}" if server and name else "")


def add_links(app: Sphinx, config: Config) -> None:
    """Let the theme show its buttons for the repository, if there is one."""
    if address():
        branch = os.environ.get("GITHUB_REF_NAME", "") or "main"
        where = {"repository_url": address().removesuffix("/"), "repository_branch": branch}
        if not os.environ.get("REPOSITORY_URL"):
            where["repository_provider"] = "github"  # also where its server has a name of its own
        config.html_theme_options |= where | dict.fromkeys(BUTTONS, True)


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("config-inited", add_links, priority=100)  # before the theme reads its options
    return {"parallel_read_safe": True, "parallel_write_safe": True}
