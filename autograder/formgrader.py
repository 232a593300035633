"""nbgrader's Formgrader on the instructor's own Jupyter server: what students hand in gets no script to run there."""

import base64
import hashlib
import re
import secrets
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from jupyter_server.base.handlers import JupyterHandler
from nbgrader.server_extensions.formgrader import handlers
from nbgrader.server_extensions.formgrader.base import BaseHandler
from tornado import web

TEMPLATES = Path(handlers.template_path)
open_formgrader = handlers.FormgraderHandler.get


class Quoted(FileSystemLoader):
    """nbgrader's templates, with values in scripts written as JSON, and with the page's nonce on each script."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        source, name, fresh = super().get_source(environment, template)
        source = re.sub(r'"\{\{ *(\w+) *\}\}";', r"{{ \1 | tojson }};", source)
        return source.replace("<script", '<script nonce="{{ nonce }}"'), name, fresh


ENVIRONMENT = Environment(loader=Quoted(TEMPLATES), autoescape=True)


def guard() -> None:
    """Change nbgrader's handlers so that names, notebooks and files of students run nothing.

    The configuration that calls this is read before the first request. Calling it again changes nothing.
    """
    BaseHandler.render = render
    BaseHandler.content_security_policy = property(table_policy)
    handlers.SubmissionHandler.content_security_policy = property(notebook_policy)
    handlers.SubmissionFilesHandler.content_security_policy = property(file_policy)
    handlers.FormgraderHandler.get = open_this_course


def render(handler: BaseHandler, template: str, **values: Any) -> str:
    """Fill in a template, with every value escaped; nbgrader escapes none."""
    return ENVIRONMENT.get_template(template).render(nonce=nonce(handler), **values)


def nonce(handler: BaseHandler) -> str:
    """What proves to the browser that a script is the page's own; another one for each answer."""
    value: str = handler.__dict__.setdefault("_nonce", secrets.token_urlsafe(16))
    return value


def table_policy(handler: BaseHandler) -> str:
    """For pages of nbgrader's own and for its answers: its own scripts only."""
    return _policy(handler, f"script-src 'nonce-{nonce(handler)}'", own_events())


def notebook_policy(handler: BaseHandler) -> str:
    """For the page that shows a notebook, which is clean: inline scripts, since MathJax needs them, but no events."""
    return _policy(handler, own_events(), "img-src 'self' data:", "frame-src 'none'")


def file_policy(handler: BaseHandler) -> str:
    """For files beside a notebook: as if they came from another server, without scripts."""
    return _policy(handler, "sandbox")


def _policy(handler: BaseHandler, *directives: str) -> str:
    jupyter: str = JupyterHandler.content_security_policy.fget(handler)  # type: ignore[attr-defined]
    return "; ".join([jupyter, *directives, "object-src 'none'", "base-uri 'none'"])


@cache
def own_events() -> str:
    """Allow the onclick="…" of nbgrader's templates, and no other."""
    texts = [file.read_text(encoding="utf-8") for file in TEMPLATES.rglob("*") if file.suffix in (".tpl", ".j2")]
    events = {event for text in texts for event in re.findall(r'\son\w+="([^"]*)"', text, re.IGNORECASE)}
    hashes = sorted(base64.b64encode(hashlib.sha256(event.encode()).digest()).decode() for event in events)
    return "script-src-attr 'unsafe-hashes' " + " ".join(f"'sha256-{value}'" for value in hashes)


def open_this_course(handler: BaseHandler) -> None:
    """Open Formgrader, but not on another folder: `?path=` runs the nbgrader_config.py that lies there.

    A picture or a link in a notebook could ask for the folder of its own submission.
    """
    if handler.get_argument("path", ""):
        raise web.HTTPError(403, "this Formgrader is for one course only")
    open_formgrader(handler)
