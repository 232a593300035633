"""Mangled notebooks: cells and files that are not as they were handed out, by accident or on purpose."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

from autograder import compose
from tests.attacks.attack import AS_WRONG, ZEROS, Given, Lay, answer, check_of, in_front, in_row, lying

attack = in_row("mangled notebooks")
ONE = "load_torch_weights"


def graded_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if compose.checked_question(cell)]


def nbgrader_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if "nbgrader" in cell.metadata]


def text_of(notebook: NotebookNode) -> str:
    """The notebook as it lies on a disk, whatever nbformat would say to it."""
    return json.dumps(notebook)


# --- cells ------------------------------------------------------------------------------------------------------


@attack("check cells whose code was edited to pass, next to wrong answers", marks=AS_WRONG)
def edited_check_cells(given: Given) -> NotebookNode:
    notebook = lying(given, ZEROS)
    for cell in graded_cells(notebook):
        cell.source = "print('all tests passed')\n4.0"
    return notebook


@attack("given cells and the setup edited and deleted, next to right answers", others="full")
def edited_given_cells(given: Given) -> NotebookNode:
    notebook = given.solved()
    answer(notebook, "setup").source = "import numpy as np  # from check import check"
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return notebook


@attack("every cell deleted but one answer", marks={ONE: "full"})
def deleted_cells(given: Given) -> NotebookNode:
    notebook = given.solved()
    notebook.cells = [answer(notebook, ONE)]
    return notebook


@attack("no cells at all")
def no_cells(given: Given) -> str:
    notebook = given.released()
    notebook.cells = []
    return text_of(notebook)


@attack("each cell twice, the wrong answer first", marks={ONE: "full"}, others="full")
def duplicated_answers(given: Given) -> NotebookNode:
    notebook = given.solved()
    notebook.cells = [cell for pair in zip(given.released().cells, notebook.cells, strict=True) for cell in pair]
    return notebook


@attack("each check cell five times, to be counted five times", marks=AS_WRONG)
def duplicated_check_cells(given: Given) -> str:
    notebook = lying(given, ZEROS)
    notebook.cells += [cell for cell in graded_cells(notebook) for _ in range(4)]
    return text_of(notebook)


@attack("two cells under the name of one answer, the second one right", others="full")
def two_cells_of_one_name(given: Given) -> str:
    notebook = given.solved()
    place = notebook.cells.index(answer(notebook, ONE))
    notebook.cells.insert(place, answer(given.released(), ONE))
    return text_of(notebook)


@attack("check cells moved to the end, in reverse", others="full")
def check_cells_moved_to_the_end(given: Given) -> NotebookNode:
    notebook = given.solved()
    checks = graded_cells(notebook)
    notebook.cells = [cell for cell in notebook.cells if cell not in checks] + checks[::-1]
    return notebook


@attack("a check cell moved in front of its answer", marks={ONE: "none"}, others="full", says="there is no function")
def check_cell_moved_to_the_front(given: Given) -> NotebookNode:
    notebook = given.solved()
    cell = check_of(notebook, ONE)
    notebook.cells.remove(cell)
    notebook.cells.insert(0, cell)
    return notebook


@attack("points = 1000 on every check cell", marks=AS_WRONG)
def a_thousand_points(given: Given) -> NotebookNode:
    notebook = lying(given, ZEROS)
    for cell in graded_cells(notebook):
        cell.metadata.nbgrader.points = 1000
        cell.outputs = [new_output("execute_result", data={"text/plain": "1000.0"}, execution_count=1)]
    return notebook


@attack("points that are negative, NaN, infinite, text and missing", marks=AS_WRONG)
def points_that_are_no_points(given: Given) -> str:
    notebook = lying(given, ZEROS)
    values = [-5, float("nan"), float("inf"), "many", None, [4], True, 1e308]
    for cell, value in zip(graded_cells(notebook), values, strict=True):
        cell.metadata.nbgrader.points = value
    return text_of(notebook)


@attack("a bonus question of its own, worth 1000 points, with the output that earns them", marks=AS_WRONG)
def a_bonus_question(given: Given) -> NotebookNode:
    notebook = lying(given, ZEROS)
    for grade_id in ("bonus", "check-bonus", "check-"):
        cell = new_code_cell("1000.0", metadata={"nbgrader": {**check_of(notebook, ONE).metadata.nbgrader}})
        cell.metadata.nbgrader.update(grade_id=grade_id, points=1000.0)
        cell.outputs = [new_output("execute_result", data={"text/plain": "1000.0"}, execution_count=1)]
        notebook.cells.append(cell)
    return notebook


@attack("test cells marked as solutions, and answers marked as tests", marks=AS_WRONG)
def test_cells_marked_as_solutions(given: Given) -> NotebookNode:
    notebook = lying(given, ZEROS)
    for cell in nbgrader_cells(notebook):
        about = cell.metadata.nbgrader
        about.update(solution=not about.solution, grade=not about.grade, locked=False, points=4.0)
    return notebook


@attack("checks turned into tasks and manually graded answers", marks=AS_WRONG)
def checks_turned_into_tasks(given: Given) -> NotebookNode:
    notebook = lying(given, ZEROS)
    for cell in graded_cells(notebook):
        cell.metadata.nbgrader.update(task=True, solution=True, locked=False)
    return notebook


@attack("check cells turned into Markdown and raw cells", others="full")
def checks_turned_into_markdown(given: Given) -> str:
    notebook = given.solved()
    for cell, kind in zip(graded_cells(notebook), ["markdown", "raw"] * 4, strict=True):
        cell.cell_type = kind
        for key in ("outputs", "execution_count"):
            del cell[key]
    return text_of(notebook)


@attack("answers that trade their names", others="full")
def answers_that_trade_names(given: Given) -> NotebookNode:
    notebook = given.solved()
    one, other = answer(notebook, "gru_step_forward"), answer(notebook, ONE)
    one.metadata.nbgrader.grade_id, other.metadata.nbgrader.grade_id = ONE, "gru_step_forward"
    return notebook


# --- metadata ---------------------------------------------------------------------------------------------------


def with_metadata(given: Given, change: Callable[[dict[str, Any]], object]) -> str:
    """The solved notebook with a change of nbgrader's metadata in each cell."""
    notebook = given.solved()
    for cell in nbgrader_cells(notebook):
        change(cell.metadata)
    return text_of(notebook)


@attack("schema_version: 99", others="full")
def schema_version_99(given: Given) -> str:
    return with_metadata(given, lambda metadata: metadata["nbgrader"].update(schema_version=99))


@attack("schema_version: 1, which nbgrader would have upgraded", others="full")
def schema_version_1(given: Given) -> str:
    return with_metadata(given, lambda metadata: metadata["nbgrader"].update(schema_version=1))


@attack("nbgrader: null in the metadata", others="full")
def metadata_of_null(given: Given) -> str:
    return with_metadata(given, lambda metadata: metadata.update(nbgrader=None))


@attack("metadata of nbgrader that is a list, text, a number or empty", others="full")
def metadata_of_other_types(given: Given) -> str:
    values = iter([[], "solution", 3, {}, True, [1, 2], {"grade": 1}, {"grade_id": None}] * 10)
    return with_metadata(given, lambda metadata: metadata.update(nbgrader=next(values)))


@attack("grade ids that are lists, numbers, endless or paths", others="full")
def grade_ids_of_other_types(given: Given) -> str:
    values = iter([[], 3, None, "x" * 1_000_000, "../../etc", "check-", "'; DROP TABLE grade; --", "\0"] * 10)
    return with_metadata(given, lambda metadata: metadata["nbgrader"].update(grade_id=next(values)))


@attack("no metadata of nbgrader in any cell", others="full")
def no_metadata(given: Given) -> str:
    return with_metadata(given, lambda metadata: metadata.clear())


@attack("kernelspec bash", others="full")
def kernelspec_bash(given: Given) -> NotebookNode:
    notebook = given.solved()
    notebook.metadata.kernelspec = {"name": "bash", "display_name": "Bash", "language": "bash"}
    notebook.metadata.language_info = {"name": "bash", "file_extension": ".sh", "mimetype": "text/x-sh"}
    return notebook


@attack("a kernelspec of other types, with a path and a command in it", others="full")
def kernelspec_of_other_types(given: Given) -> str:
    notebook = given.solved()
    notebook.metadata.kernelspec = {"name": "../../../bin/sh", "display_name": 3, "argv": ["touch", given.plant]}
    notebook.metadata.language_info = {"name": "no such language", "pygments_lexer": "../x", "codemirror_mode": 7}
    return text_of(notebook)


@attack("no metadata of the notebook, or metadata that is null", others="full")
def no_metadata_of_the_notebook(given: Given) -> str:
    notebook = given.solved()
    notebook.metadata = {}
    return text_of(notebook)


@attack("metadata nested hundreds of levels deep", others="full")
def metadata_nested_deep(given: Given) -> str:
    notebook = given.solved()
    nest: dict[str, Any] = {}
    for _ in range(300):
        nest = {"x": nest}
    notebook.cells[1].metadata["nest"] = notebook.metadata["nest"] = nest
    return text_of(notebook)


# --- the file ---------------------------------------------------------------------------------------------------


@attack("invalid JSON: a file cut off in the middle", problem="no readable notebook")
def invalid_json(given: Given) -> str:
    return text_of(given.solved())[:10_000]


@attack("an empty file", problem="no readable notebook")
def empty_file(given: Given) -> bytes:
    return b""


@attack("bytes that are no text, as of a picture renamed", problem="no readable notebook")
def bytes_that_are_no_text(given: Given) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 100


@attack("JSON that no parser can nest", problem="no readable notebook")
def json_nested_deep(given: Given) -> str:
    return '{"cells": ' + "[" * 500_000


@attack("JSON that is no notebook", problem="no notebook")
def json_that_is_no_notebook(given: Given) -> str:
    return json.dumps([text_of(given.solved())])


@attack("cells that are null, numbers, text and of unknown types", problem="can't be read")
def cells_that_are_no_cells(given: Given) -> str:
    notebook = given.solved()
    return json.dumps({**notebook, "cells": [None, 3, "cell", [], {}, {"cell_type": "video"}, *notebook.cells]})


@attack("a cell whose source is a number", problem="can't be read")
def source_that_is_a_number(given: Given) -> str:
    notebook = given.solved()
    notebook.cells[4]["source"] = 7
    return text_of(notebook)


@attack("80 MB of Markdown", problem="more than the 50 MB")
def eighty_megabytes_of_markdown(given: Given) -> str:
    notebook = given.solved()
    notebook.cells.insert(3, new_markdown_cell("all work and no play makes jack a dull boy\n" * (80 << 20 >> 5)))
    return text_of(notebook)


@attack("five thousand cells", others="full")
def five_thousand_cells(given: Given) -> NotebookNode:
    notebook = given.solved()
    notebook.cells[3:3] = [new_markdown_cell(f"note {number}", id=f"note-{number}") for number in range(5000)]
    return notebook


@attack("a notebook of nbformat 3", others="full")
def notebook_of_format_3(given: Given) -> str:
    cells = [
        {"cell_type": "code", "input": cell.source, "outputs": [], "language": "python", "metadata": cell.metadata}
        for cell in given.solved().cells
    ]
    return json.dumps({"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": cells}]})


@attack("a notebook of nbformat 5, of the future", problem="can't be read")
def notebook_of_format_5(given: Given) -> str:
    return json.dumps({**given.solved(), "nbformat": 5, "nbformat_minor": 9})


@attack("no cell ids, as older programs write", others="full")
def no_cell_ids(given: Given) -> str:
    notebook = given.solved()
    for cell in notebook.cells:
        del cell["id"]
    notebook.nbformat_minor = 4
    return text_of(notebook)


@attack("no cell ids where the format asks for them", others="full")
def missing_cell_ids(given: Given) -> str:
    notebook = given.solved()
    for cell in notebook.cells:
        del cell["id"]
    return text_of(notebook)


@attack("the same id on every cell, as copies have it", others="full")
def one_id_for_all_cells(given: Given) -> str:
    notebook = given.solved()
    for cell in notebook.cells:
        cell["id"] = "same"
    return text_of(notebook)


@attack("a byte order mark in front, as an editor on Windows writes", others="full")
def byte_order_mark(given: Given) -> bytes:
    return b"\xef\xbb\xbf" + text_of(given.solved()).replace("\n", "\r\n").encode()


# --- the folder -------------------------------------------------------------------------------------------------


def folder(given: Given, lay: Callable[[Path], object]) -> Lay:
    """A solved notebook and what else lies in the folder."""

    def laid(path: Path) -> None:
        nbformat.write(given.solved(), path / "lstm.ipynb")
        lay(path)

    return laid


@attack("a link to the notebook of a class-mate", problem="symbolic link")
def link_to_the_notebook_of_another(given: Given) -> Lay:
    theirs = given.course / "submitted" / given.classmate / "lstm/lstm.ipynb"
    return lambda path: (path / "lstm.ipynb").symlink_to(theirs)


@attack("a link to the instructor's notebook", problem="symbolic link")
def link_to_the_source(given: Given) -> Lay:
    return lambda path: (path / "lstm.ipynb").symlink_to("../../../source/lstm/lstm.ipynb")


@attack("the folder itself a link to that of a class-mate", problem="symbolic link")
def link_to_the_folder_of_another(given: Given) -> Lay:
    def lay(path: Path) -> None:
        path.rmdir()
        path.symlink_to(given.course / "submitted" / given.classmate / "lstm")

    return lay


@attack("links beside the notebook to files of others, to be copied where the student sees them", others="full")
def links_beside_the_notebook(given: Given) -> Lay:
    def lay(path: Path) -> None:
        for number, canary in enumerate(given.canaries):
            (path / f"data-{number}.csv").symlink_to(canary / "canary")
        (path / "secret").symlink_to(given.course / ".secret")

    return folder(given, lay)


@attack("links beside the notebook to whole folders, and to themselves", others="full")
def links_to_folders_beside_the_notebook(given: Given) -> Lay:
    def lay(path: Path) -> None:
        for number, canary in enumerate(given.canaries):
            (path / f"folder-{number}").symlink_to(canary)
        (path / "source").symlink_to(given.course / "source")
        (path / "deep").mkdir()
        (path / "deep/again").symlink_to(path)

    return folder(given, lay)


@attack("a folder under the notebook's name", problem="no lstm.ipynb")
def folder_in_place_of_the_notebook(given: Given) -> Lay:
    return lambda path: (path / "lstm.ipynb").mkdir()


@attack("a pipe under the notebook's name, which blocks whoever reads it", problem="no lstm.ipynb")
def pipe_in_place_of_the_notebook(given: Given) -> Lay:
    return lambda path: os.mkfifo(path / "lstm.ipynb")


@attack("a pipe beside the notebook, which blocks whoever copies it", others="full")
def pipe_beside_the_notebook(given: Given) -> Lay:
    return folder(given, lambda path: os.mkfifo(path / "data.csv"))


@attack("the notebook under another name", problem="only lstm (1).ipynb")
def notebook_of_another_name(given: Given) -> Lay:
    return lambda path: nbformat.write(given.solved(), path / "lstm (1).ipynb")


@attack("other notebooks beside the right one, one of them unreadable", others="full")
def other_notebooks_beside_it(given: Given) -> Lay:
    def lay(path: Path) -> None:
        nbformat.write(given.released(), path / "lstm-Copy1.ipynb")
        (path / "notes.ipynb").write_text("{ no notebook")
        (path / "lstm.ipynb~").write_text("{ no notebook")

    return folder(given, lay)


@attack("a forged timestamp, long before the deadline", others="full")
def forged_timestamp(given: Given) -> Lay:
    return folder(given, lambda path: (path / "timestamp.txt").write_text("1970-01-01 00:00:00 UTC"))


@attack("a timestamp that is none", problem="timestamp.txt holds no date")
def timestamp_that_is_none(given: Given) -> Lay:
    return folder(given, lambda path: (path / "timestamp.txt").write_text("yesterday, I swear\n" * 1000))


@attack("a timestamp that is no text", problem="timestamp.txt holds no date")
def timestamp_that_is_no_text(given: Given) -> Lay:
    return folder(given, lambda path: (path / "timestamp.txt").write_bytes(b"\xff\xfe\x00\x01"))


@attack("names of files that programs stumble over", others="full")
def names_to_stumble_over(given: Given) -> Lay:
    def lay(path: Path) -> None:
        for name in ("-rf", "a\nb", "*", "'; DROP TABLE grade; --", "<script>alert(1)", "x" * 255, "…🎲"):
            (path / name).write_text("data")
        (path / os.fsdecode(b"\xff\xfe")).write_text("data")

    return folder(given, lay)


# --- what the feedback must not run -----------------------------------------------------------------------------

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(2)><a href='javascript:alert(3)'>x</a>"
    "<iframe src='data:text/html,<script>alert(4)</script>'></iframe><svg onload=alert(5)></svg>"
    "<details open ontoggle=alert(6)>x</details><object data=x></object><form action='//x'><button>x</button></form>"
    "<style>.attacked{}</style><base href='//x'><meta http-equiv=refresh content='0;url=//x'>"
    "<div style='position:fixed;background:url(//x)'>x</div></textarea></pre></script><script>alert(7)</script>"
)


@attack("scripts in Markdown", others="full", feedback=True)
def scripts_in_markdown(given: Given) -> NotebookNode:
    notebook = given.solved()
    notebook.cells.insert(3, new_markdown_cell(HOSTILE))
    notebook.cells.insert(4, new_markdown_cell('[x](javascript:alert(8)) ![x](x "\' onerror=alert(9)") `<script>`'))
    notebook.cells.insert(5, nbformat.v4.new_raw_cell(HOSTILE, metadata={"raw_mimetype": "text/html"}))
    return notebook


@attack("scripts in what cells print, show and raise", others="full", feedback=True)
def scripts_in_new_outputs(given: Given) -> NotebookNode:
    source = f"""
        from IPython.display import HTML, Javascript, Latex, SVG, display
        text = {HOSTILE!r}
        print(text)
        for kind in (HTML, Javascript, SVG, Latex):
            try: display(kind(text))
            except Exception: pass
        for mime in ("text/html", "image/svg+xml", "text/javascript", "image/png", "image/jpeg", "text/markdown"):
            display({{mime: text, "text/plain": text, 'x" onload="alert(10)': text}}, raw=True)
        raise type(text, (Exception,), {{}})(text)
        """
    return in_front(given.solved(), source)


@attack("scripts in the outputs that were handed in", others="full", feedback=True)
def scripts_in_stored_outputs(given: Given) -> NotebookNode:
    notebook = given.solved()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            data = {"text/html": HOSTILE, "image/svg+xml": HOSTILE, "image/png": 'x" onerror="alert(1)'}
            cell.outputs = [new_output("display_data", data=data), new_output("stream", text=HOSTILE)]
    return notebook


@attack("scripts in answers' errors, names of types and messages of verdicts", others="none", feedback=True)
def scripts_in_verdicts(given: Given) -> NotebookNode:
    lie = f"""
        text = {HOSTILE!r}
        Forged = type(text, (), {{}})
        def lie(array): raise ValueError(text)
        lie_of_torch = lambda tensor: Forged()
        """
    return lying(given, lie)


@attack("scripts in titles, tags, ids, attachments and widgets of the metadata", others="full", feedback=True)
def scripts_in_metadata(given: Given) -> str:
    notebook = given.solved()
    notebook.metadata.update(title=HOSTILE, authors=[{"name": HOSTILE}])
    notebook.metadata.kernelspec.update(display_name=HOSTILE, language=HOSTILE)
    notebook.metadata.language_info = {"name": HOSTILE, "codemirror_mode": HOSTILE, "pygments_lexer": "python"}
    state = {"state": {"x": {"model_name": HOSTILE}}, "version_major": 2, "version_minor": 0}
    notebook.metadata.widgets = {"application/vnd.jupyter.widget-state+json": state}
    notebook.cells[0]["attachments"] = {"x.png": {"image/png": 'x" onerror="alert(1)'}}
    notebook.cells[0].source += "\n\n![x](attachment:x.png)"
    for cell in notebook.cells:
        cell.metadata["tags"] = [HOSTILE.replace(",", ""), '"><script>alert(1)</script>']
        cell.metadata["name"] = HOSTILE
    return text_of(notebook)
