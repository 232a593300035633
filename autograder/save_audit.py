"""The last of nbgrader's preprocessors: what Formgrader has graded stands in the audit record too."""

from pathlib import Path
from typing import Any

from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor

from autograder import audit, blocks, definition, submission


class SaveAudit(NbGraderPreprocessor):  # type: ignore[misc]
    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        about = resources["nbgrader"]
        student, assignment = about["student"], about["assignment"]
        coursedir = self.parent.parent.coursedir  # preprocessor, exporter, converter
        with Gradebook(coursedir.db_url) as gradebook:
            defined = definition.of_assignment(gradebook, assignment)
        ignored = ["*"] if assignment in blocks.stems() else coursedir.ignore
        read = submission.read(Path(coursedir.root), student, assignment, definition.notebooks(defined), ignored)
        written = {"digest": read.digest, "definition": definition.digest(defined), **resources["judged"]}
        audit.append(Path(coursedir.root), audit.entry(student, assignment, "graded", problem="", **written))
        return nb, resources
