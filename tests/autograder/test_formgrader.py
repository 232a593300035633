"""Formgrader in JupyterLab, in a real browser: it grades as `grade` does, and nothing that students wrote runs there.

Each attack leaves a key of its own in the browser's storage, which all pages of the server share.
"""

import shutil
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output, new_raw_cell
from nbgrader.api import Gradebook
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from autograder import course
from autograder.blocks import ROOT
from autograder.sandbox import Sandbox
from book import chromium
from tests import jupyterlab
from tests.site import browsing

pytestmark = pytest.mark.xdist_group("formgrader")  # one browser and one server

COURSE_ID = "deep-learning-block-by-block"
DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PUBLIC = f"**Bold words** and $a<b$ and `c < d` and ![a dot](data:image/png;base64,{DOT})"
NAMES = [
    '"><img src=x onerror=localStorage.attack_name_tag=1>',
    '";localStorage.attack_name_string=1;"',
    "&lt;img src=x onerror=localStorage.attack_name_entity=1&gt;",
]
URL_NAME = "x#<img src=x onerror=localStorage.attack_name_url=1>"  # Formgrader asks for x, and says what failed
PICTURES_DONE = """
const wait = () => setTimeout([...document.images].every(i => i.complete) ? arguments[0] : wait, 20);
wait();
"""
LINKS_THAT_RUN = """
return [...document.querySelectorAll("a[href], area[href], iframe, object, embed, base, form[action]")]
  .filter(e => !["http:", "https:"].includes(e.protocol)).map(e => e.outerHTML);
"""


def attack(channel: str) -> str:
    """HTML that runs a script in three ways."""
    script = f"localStorage.attack_{channel}=1"
    return f"<img src=x onerror={script}><script>{script}</script><svg onload={script}></svg>"


def hostile(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A submission that tries every place from which a script could reach a page."""
    markdown = [
        attack("markdown"),
        "[link](javascript:localStorage.attack_link=1)",
        "[link](files/javascript:localStorage.attack_prefix=1)",
        "[file](evil.html)",
        "![](/formgrader/?path=course/submitted/mallory/lstm)",
        f"```mermaid\n{attack('mermaid')}\n```",
        f'<iframe srcdoc="{attack("iframe")}"></iframe>',
    ]
    attached = new_markdown_cell("![](attachment:a)")
    attached["attachments"] = {"a": {f'image/png"> {attack("attachment")}': DOT}}
    show = "from IPython.display import HTML, SVG, Javascript, display\n"
    show += f"display(HTML({attack('html')!r}), SVG('<svg>' + {attack('svg')!r} + '</svg>'))\n"
    show += "display(Javascript('localStorage.attack_javascript=1'))"
    stored = new_code_cell("stored = 1")
    stored.outputs = [
        new_output("display_data", data={"text/html": f"<b>stored words</b>{attack('stored')}"}),
        new_output("display_data", data={"application/javascript": "localStorage.attack_stored_javascript=1"}),
        new_output("stream", text=attack("stored_stream")),
    ]
    claimed = new_code_cell("claimed = 1")
    claimed.metadata.nbgrader = {"grade_id": f'"> {attack("grade_id")}', "solution": True, "comment": attack("comment")}
    claimed.metadata.tags = [f'"> {attack("tag")}']
    notebook.cells[1:1] = [
        new_markdown_cell(PUBLIC),
        *[new_markdown_cell(source) for source in markdown],
        attached,
        new_raw_cell(attack("raw")),
        new_code_cell(f"print('\\x1b[31mred words\\x1b[0m', {attack('stream')!r})  # {attack('source')}"),
        new_code_cell(show),
        new_code_cell(f"raise ValueError({attack('error')!r})"),
        stored,
        claimed,
    ]
    notebook.metadata.update(
        title=f"</title>{attack('title')}",
        language_info={"name": f'"> {attack("language")}'},
        widgets={"application/vnd.jupyter.widget-state+json": {"state": f"</script>{attack('widget')}"}},
    )
    return notebook


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: its address, and the folder in which it was started."""

    address: str
    root: Path

    @property
    def course(self) -> Path:
        return self.root / "course"


@pytest.fixture(scope="module")
def lab(lstm_course: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab as an instructor starts it, in a folder with our nbgrader_config.py and a course beside it."""
    browsing.require_chromium()
    root = tmp_path_factory.mktemp("instructor")
    shutil.copy(ROOT / "nbgrader_config.py", root)
    shutil.copytree(lstm_course, root / "course")
    hand_in(root / "course", "ada", one_mistake(root / "course"))
    with jupyterlab.served(root, tmp_path_factory.mktemp("nobody")) as address:
        yield Lab(address, root)


@pytest.fixture(scope="module")
def driver(lab: Lab) -> Iterator[Chrome]:
    """A browser that is logged in."""
    with chromium.browser() as driver:
        chromium.set_width(driver, 1600, 1000)
        driver.get(f"{lab.address}lab?reset&token={jupyterlab.TOKEN}")
        yield driver


def hand_in(folder: Path, student: str, notebook: nbformat.NotebookNode) -> None:
    path = folder / "submitted" / student / "lstm"
    path.mkdir(parents=True)
    nbformat.write(notebook, path / "lstm.ipynb")


def solved(folder: Path) -> nbformat.NotebookNode:
    return nbformat.read(folder / "source/lstm/lstm.ipynb", 4)


def one_mistake(folder: Path) -> nbformat.NotebookNode:
    notebook = solved(folder)
    cell = next(cell for cell in notebook.cells if cell.get("id") == "lstm_step_forward")
    cell.source = cell.source.replace("h_t = o * tanh_c", "h_t = o * c_t")
    return notebook


def appear(driver: Chrome, selector: str, text: str = "") -> WebElement:
    """Wait for an element that is seen and holds a text."""

    def found(driver: Chrome) -> WebElement | bool:
        elements = driver.find_elements(By.CSS_SELECTOR, selector)
        return next((e for e in elements if e.is_displayed() and text in e.text), False)

    wait = WebDriverWait(driver, 60, ignored_exceptions=[StaleElementReferenceException])
    return wait.until(found, f"no {selector!r} with {text!r} on {driver.current_url}")


def row(driver: Chrome, student: str) -> WebElement:
    """The line of a student in one of Formgrader's tables."""
    appear(driver, "#main-table tr", student)
    rows = driver.find_elements(By.CSS_SELECTOR, "#main-table tr")
    return next(row for row in rows if student in row.text)


def test_formgrader_in_jupyterlab_grades_as_the_command_does(lab, driver, tmp_path, graded):
    shutil.copytree(lab.course, tmp_path / "course")
    appear(driver, ".lm-MenuBar-item", "Nbgrader").click()
    appear(driver, ".lm-Menu-item", "Formgrader").click()
    driver.switch_to.frame(appear(driver, "iframe[src$='/formgrader']"))
    appear(driver, "#main-table .num-submissions a", "1").click()
    row(driver, "ada").find_element(By.CSS_SELECTOR, ".autograde a").click()
    appear(driver, "#success-modal", "Successfully autograded 'lstm' for student 'ada'")
    shown = appear(driver, "#main-table .score", "/").text
    driver.switch_to.default_content()

    (record,) = graded(tmp_path / "course", ["ada"])
    assert 0 < record.points < record.out_of
    assert shown == f"{record.points:g} / {record.out_of:g}"
    assert in_gradebook(lab.course, "ada").score == record.points


def in_gradebook(folder: Path, student: str) -> SimpleNamespace:
    with Gradebook(f"sqlite:///{folder}/gradebook.db", COURSE_ID) as gradebook:
        submission = gradebook.find_submission("lstm", student)
        return SimpleNamespace(score=submission.score, notebook=submission.notebooks[0].id)


@pytest.fixture(scope="module")
def attacked(lab: Lab, driver: Chrome, sandbox: Sandbox) -> Lab:
    """The same course after hostile students have handed in, were graded, and got a comment and feedback."""
    hand_in(lab.course, "mallory", hostile(solved(lab.course)))
    beside = lab.course / "submitted/mallory/lstm"
    (beside / "evil.html").write_text("<title>a page</title><script>document.title = 'attack'</script>")
    (beside / f"{NAMES[0]}.ipynb").write_text((beside / "lstm.ipynb").read_text())
    (beside / "nbgrader_config.py").write_text(f"open({str(lab.root / 'owned')!r}, 'w')")
    for name in [*NAMES, URL_NAME]:
        hand_in(lab.course, name, nbformat.read(lab.course / "release/lstm/lstm.ipynb", 4))
    api = course.api(lab.course)
    for student in ["mallory", *NAMES]:
        result = api.autograde("lstm", student, force=True, create=True)
        assert result["success"], result["log"]
    with Gradebook(f"sqlite:///{lab.course}/gradebook.db", COURSE_ID) as gradebook:
        comment = gradebook.find_submission("lstm", "mallory").notebooks[0].comments[0]
        comment.manual_comment = f"**Fine words** {attack('comment')}"
        gradebook.db.commit()
    result = api.generate_feedback("lstm")
    assert result["success"], result["log"]
    return lab


def visit(driver: Chrome, address: str, selector: str, *texts: str) -> None:
    """Open a page, wait until it shows what it should, and check that no attack has run there."""
    driver.get(address)
    for text in texts:
        appear(driver, selector, text)
    check(driver)


def check(driver: Chrome) -> None:
    driver.execute_async_script(PICTURES_DONE)
    assert attacks_that_ran(driver) == [], driver.current_url


def attacks_that_ran(driver: Chrome) -> list[str]:
    return driver.execute_script("return Object.keys(localStorage).filter(key => key.startsWith('attack_'))")


def test_the_pages_of_formgrader_show_hostile_names_and_run_nothing(attacked, driver):
    formgrader = f"{attacked.address}formgrader"
    table = "#main-table"
    for page in ("manage_assignments", "gradebook", "gradebook/lstm"):
        visit(driver, f"{formgrader}/{page}", table, "lstm")
    visit(driver, f"{formgrader}/manage_submissions/lstm", table, "mallory", *NAMES)
    appear(driver, "input[type=search]").send_keys("lt;img")
    visit(driver, f"{formgrader}/manage_students", table, "mallory", *NAMES)
    visit(driver, f"{formgrader}/gradebook/lstm/lstm", table, "Submission #1")
    driver.find_element(By.ID, "toggle_names").click()
    for name in NAMES:
        appear(driver, table, name)
    for name in [urllib.parse.quote(name, safe="") for name in NAMES]:
        visit(driver, f"{formgrader}/manage_students/{name}", table, "lstm")
        visit(driver, f"{formgrader}/manage_students/{name}/lstm", table, "lstm")
    check(driver)


def test_addresses_that_carry_a_script_run_nothing(attacked, driver):
    script = urllib.parse.quote(attack("address"), safe="")
    visit(driver, f"{attacked.address}formgrader/manage_students/{script}", ".breadcrumb", attack("address"))
    visit(driver, f"{attacked.address}formgrader/api/students", "body", "mallory")  # JSON, shown as a page


def test_a_failure_that_names_a_student_runs_nothing(attacked, driver):
    visit(driver, f"{attacked.address}formgrader/manage_submissions/lstm", "#main-table", URL_NAME)
    row(driver, URL_NAME).find_element(By.CSS_SELECTOR, ".autograde a").click()
    appear(driver, "#error-modal", "There was an error autograding")
    check(driver)


def test_manual_grading_shows_a_hostile_notebook_and_runs_nothing(attacked, driver):
    address = f"{attacked.address}formgrader/submissions/{in_gradebook(attacked.course, 'mallory').notebook}/"
    visit(
        driver, address, "#notebook", "Bold words", "$a<b$", "c < d", "red words", attack("markdown"), attack("error")
    )
    appear(driver, "#notebook td", "h is right")
    picture = driver.find_element(By.CSS_SELECTOR, f"#notebook img[src='data:image/png;base64,{DOT}']")
    assert picture.get_property("naturalWidth") == 1
    assert driver.execute_script(LINKS_THAT_RUN) == []
    comments = driver.find_elements(By.CSS_SELECTOR, "textarea.comment")
    WebDriverWait(driver, 60).until(lambda _: any("Fine words" in e.get_property("value") for e in comments))
    check(driver)


def test_manual_grading_shows_hostile_names_and_runs_nothing(attacked, driver):
    for name in NAMES:
        notebook = in_gradebook(attacked.course, name).notebook
        visit(driver, f"{attacked.address}formgrader/submissions/{notebook}/", "#notebook h1", "LSTM")
        driver.find_element(By.CSS_SELECTOR, "span.name-hidden").click()
        appear(driver, ".live-notebook a.name-shown", name)
        check(driver)


def test_a_page_beside_a_notebook_is_shown_and_runs_nothing(attacked, driver):
    notebook = in_gradebook(attacked.course, "mallory").notebook
    driver.get(f"{attacked.address}formgrader/submissions/{notebook}/evil.html")
    assert driver.title == "a page"


def test_formgrader_does_not_run_the_configuration_of_a_submission(attacked, driver):
    driver.get(f"{attacked.address}formgrader/?path=course/submitted/mallory/lstm")
    appear(driver, "body", "not authorized")
    assert not (attacked.root / "owned").exists()


def test_feedback_shows_a_hostile_notebook_and_runs_nothing(attacked, driver):
    with chromium.served(attacked.course / "feedback") as address:
        visit(driver, f"{address}/mallory/lstm/lstm.html", "#notebook", "Bold words", "Fine words", attack("stream"))
        assert driver.execute_script(LINKS_THAT_RUN) == []


def test_jupyterlab_shows_a_hostile_submission_and_runs_nothing(attacked, driver):
    page = f"{attacked.address}lab/tree/course/submitted/mallory/lstm/lstm.ipynb?reset"
    visit(driver, page, ".jp-Notebook", "Bold words", "stored words")


def test_the_attacks_run_on_a_page_that_is_not_guarded(driver, tmp_path):
    (tmp_path / "page.html").write_text(attack("anywhere"))
    with chromium.served(tmp_path) as address:
        driver.get(f"{address}/page.html")
        WebDriverWait(driver, 60).until(lambda driver: attacks_that_ran(driver) == ["attack_anywhere"])
