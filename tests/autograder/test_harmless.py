"""What students wrote, as a page shows it: Markdown, math, code and pictures stay; what could act goes."""

import pytest
from jinja2 import Environment
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

from autograder import harmless
from autograder.formgrader import ENVIRONMENT, own_events


def shown(markdown: str, **cell) -> str:
    environment = Environment()
    environment.filters["markdown2html"] = harmless.markdown2html
    return environment.from_string("{{ source | markdown2html }}").render(source=markdown, cell=cell)


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("$a<b$ and `c < d`", "$a&lt;b$ and <code>c &lt; d</code>"),
        ("```python\nif a < b: 1\n```", '<span class="k">if</span>'),
        ("![dot](data:image/png;base64,iVBO=)", '<img src="data:image/png;base64,iVBO=" alt="dot">'),
        ("![plot](plot.png)", '<img src="plot.png" alt="plot">'),
        ("|a|\n|-:|\n|1|", '<td style="text-align:right;">1</td>'),
        ("<details><summary>Hint</summary>\n\n**b**\n\n</details>", "<p><strong>b</strong></p>"),
        ("[a](https://example.org)", '<a href="https://example.org" target="_blank" rel="noopener noreferrer">'),
        ("![](attachment:lost.png)", "<pre>![](attachment:lost.png)</pre>"),
    ],
)
def test_what_is_meant_for_people_stays(markdown, html):
    assert html in shown(markdown)


@pytest.mark.parametrize(
    ("markdown", "gone"),
    [
        ("[a](javascript:alert(1))", "href"),
        ("[a](files/javascript:alert(1))", "href"),  # nbconvert takes files/ away afterwards
        ("[a](javascript&colon;alert(1))", "href"),
        ("[a](/formgrader/?path=x)", "href"),
        ("![a](/formgrader/?path=x)", "src"),
        ("![a](https://example.org/who-looks.png)", "src"),
        ("![a](data:image/svg+xml;base64,AA)", "src"),
        ("```mermaid\n<img src=x onerror=alert(1)>\n```", "onerror"),
        ('<b id="statusmessage" class="full-credit" style="position: fixed">a</b>', "="),
        ('<div style="position: fixed">a</div>', "position"),
    ],
)
def test_what_could_act_goes(markdown, gone):
    assert gone not in shown(markdown)


def test_an_attachment_of_another_kind_is_not_shown():
    attached = {"a": {'image/png"><script>': "AA"}}
    assert shown("![](attachment:a)", attachments=attached) == '<p><img alt=""></p>\n'


def test_a_notebook_keeps_no_metadata_of_its_student():
    output = new_output("display_data", {"text/html": "<script>1</script>", "image/svg+xml": "<svg/>"})
    metadata = {"nbgrader": {"grade_id": '">', "comment": "x"}, "tags": ["x"]}
    notebook = new_notebook(cells=[new_code_cell("1", outputs=[output], metadata=metadata)], metadata={"title": "x"})
    notebook.cells.append(NotebookNode(cell_type="<b>", metadata={}))
    resources = {"student": "<b>", "unique_key": "<b>"}
    harmless.Harmless()(notebook, resources)
    assert notebook.metadata == {}
    assert [cell.metadata for cell in notebook.cells] == [{"nbgrader": {"grade_id": ""}}]
    assert output.data == {"text/html": "&lt;script&gt;1&lt;/script&gt;"}
    assert resources == {"student": "&lt;b&gt;", "unique_key": "<b>"}


def test_values_in_scripts_of_formgrader_are_json_and_its_own_events_are_known():
    source, *_ = ENVIRONMENT.loader.get_source(ENVIRONMENT, "manage_students_assignments.tpl")
    assert "var student_id = {{ student_id | tojson }};" in source
    assert own_events().count("sha256-") >= 5
