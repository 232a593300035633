"""The course's own nbgrader metadata put back on the cells that it gave out, whatever a submission says of them."""

from typing import Any

from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.preprocessors import NbGraderPreprocessor

SCHEMA = 3


class RestoreMetadata(NbGraderPreprocessor):  # type: ignore[misc]
    """Runs before nbgrader's own preprocessors, which stop at metadata that they can't read.

    A cell keeps nothing but its grade_id; what that cell is and is worth stands in the gradebook. Ids that the
    gradebook doesn't know, or that came before, are taken away. Raises ValueError where a cell holds no text.
    """

    def preprocess(self, nb: NotebookNode, resources: dict[str, Any]) -> tuple[NotebookNode, dict[str, Any]]:
        about = resources["nbgrader"]
        with Gradebook(about["db_url"]) as gradebook:
            notebook = gradebook.find_notebook(about["notebook"], about["assignment"])
            known = {cell.name: self._metadata(notebook, cell) for cell in notebook.source_cells}
        if not all(isinstance(cell.get("source"), str) for cell in nb.cells):
            raise ValueError("a cell has a source that is no text")
        for cell in reversed(nb.cells):  # of two with one id the last one counts, as nbgrader has it
            claimed = cell.setdefault("metadata", NotebookNode()).pop("nbgrader", None)
            grade_id = claimed.get("grade_id") if isinstance(claimed, dict) else None
            if isinstance(grade_id, str) and grade_id in known:
                cell.metadata["nbgrader"] = NotebookNode(known.pop(grade_id))
        return nb, resources

    def _metadata(self, notebook: Any, source_cell: Any) -> dict[str, Any]:
        name = source_cell.name
        worth = {cell.name: cell.max_score for cell in [*notebook.grade_cells, *notebook.task_cells]}
        metadata = {
            "grade_id": name,
            "schema_version": SCHEMA,
            "cell_type": source_cell.cell_type,
            "locked": source_cell.locked,
            "grade": any(cell.name == name for cell in notebook.grade_cells),
            "solution": any(cell.name == name for cell in notebook.solution_cells),
            "task": any(cell.name == name for cell in notebook.task_cells),
        }
        return {**metadata, "points": worth[name]} if name in worth else metadata
