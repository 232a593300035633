"""The steps from a submission to its marks, as lists of preprocessors: sanitize, judge, save.

Formgrader runs all of them in one process, through nbgrader's own Autograde. `grade` runs the first two on its workers
and the last one where the gradebook is.
"""

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.warnings import DuplicateCellId, MissingIDFieldWarning
from traitlets.config import Config
from traitlets.utils.importstring import import_item

from autograder import compose, definition
from autograder.submission import Submission, UnreadableError

SANITIZE = (
    "autograder.metadata.RestoreMetadata",
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.DeduplicateIds",
    "nbgrader.preprocessors.OverwriteKernelspec",
    "nbgrader.preprocessors.OverwriteCells",
)  # and no CheckCellMetadata, since all metadata that is left is ours
JUDGE = (
    "autograder.execute.JudgedExecute",
    "nbgrader.preprocessors.IgnorePattern",
    "nbconvert.preprocessors.ClearMetadataPreprocessor",
    "nbgrader.preprocessors.LimitOutput",
)
SAVE = (
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
)


@dataclass(frozen=True)
class Judged:
    """A judged submission: its notebooks as JSON, and what the audit record says of them."""

    notebooks: Mapping[str, str]
    about: Mapping[str, Any]


def apply(steps: Sequence[str], nb: NotebookNode, resources: dict[str, Any], config: Config) -> NotebookNode:
    """Run preprocessors, named by their import path, one after the other."""
    for step in steps:
        nb, resources = import_item(step)(config=config)(nb, resources)
    return nb


def judged(
    submission: Submission,
    defined: str,
    seeds: Mapping[str, str],
    config: Config,
    earlier: Mapping[str, str],
    only: str = "",
) -> Judged:
    """Sanitize and judge a submission; what a worker does.

    `defined` is the assignment's definition. With `only`, that question is judged, and the outputs of the others are
    those of the `earlier` autograded notebooks. Raises UnreadableError where the fault is the submission's; whatever
    else it raises is the machine's fault or ours.
    """
    with warnings.catch_warnings():  # ids that are missing or stand twice are mended, and nobody's concern
        warnings.simplefilter("ignore", MissingIDFieldWarning)
        warnings.simplefilter("ignore", DuplicateCellId)
        return _judged(submission, defined, seeds, config, earlier, only)


def _judged(
    submission: Submission,
    defined: str,
    seeds: Mapping[str, str],
    config: Config,
    earlier: Mapping[str, str],
    only: str,
) -> Judged:
    start = time.monotonic()
    notebooks: dict[str, str] = {}
    about: dict[str, Any] = {"questions": []}
    for name, text in submission.notebooks.items():
        resources = resources_of(submission, name, definition.gradebook(defined))
        resources["nbgrader"] |= {"seeds": seeds, "files": submission.files}
        if only:
            resources["nbgrader"]["kept"] = _outputs_but(only, earlier[name])
        nb = apply(JUDGE, _sanitized(name, text, resources, config), resources, config)
        notebooks[name] = nbformat.writes(nb)
        about = {**resources["judged"], "questions": about["questions"] + resources["judged"]["questions"]}
    return Judged(notebooks, {**about, "seconds": round(time.monotonic() - start, 4)})


def resources_of(submission: Submission, notebook: str, db_url: str) -> dict[str, Any]:
    """What nbgrader's preprocessors want to know."""
    who = {"student": submission.student, "assignment": submission.assignment, "notebook": notebook, "db_url": db_url}
    return {"unique_key": notebook, "nbgrader": who}


def _sanitized(name: str, text: str, resources: dict[str, Any], config: Config) -> NotebookNode:
    try:
        return apply(SANITIZE, nbformat.reads(text, 4), resources, config)
    except Exception as error:
        reason = str(error).strip().splitlines() or [""]
        raise UnreadableError(f"{name}.ipynb can't be read: {type(error).__name__}: {reason[0]}") from error


def _outputs_but(only: str, text: str) -> dict[str, list[NotebookNode]]:
    """The outputs of all check cells of a judged notebook but one's."""
    cells = nbformat.reads(text, 4).cells
    names = {compose.checked_question(cell): cell for cell in cells}
    return {name: cell.outputs for name, cell in names.items() if name not in (None, only)}
