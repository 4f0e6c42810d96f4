"""Lessons in JupyterLab, in a real browser, as a learner sees them."""

import json
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page

from solutions import release
from solutions.tests.helpers.browsing import chromium, jupyter

LESSON = "03_masking"
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    # every cell is in the page, not only those that are on the screen
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}


@pytest.fixture(scope="module")
def lessons(tmp_path_factory) -> Path:
    """A folder with released lessons and, below solved/, solved ones."""
    folder = tmp_path_factory.mktemp("lessons")
    shutil.copytree(Path(release.__file__).parents[1] / "lessons" / LESSON, folder / LESSON)
    assert release.main(["--solved", str(folder / "solved")]) == 0
    return folder


@pytest.fixture(scope="module")
def server(lessons, tmp_path_factory):
    """JupyterLab on a free port of this machine, with settings of its own; gives its address."""
    home = tmp_path_factory.mktemp("jupyter")
    (home / "lab" / "settings").mkdir(parents=True)
    (home / "lab" / "settings" / "overrides.json").write_text(json.dumps(SETTINGS))
    options = [f"--ServerApp.root_dir={lessons}", "--LabApp.expose_app_in_browser=True"]
    with jupyter(home, *options, f"--LabApp.app_settings_dir={home / 'lab' / 'settings'}") as address:
        yield address


@pytest.fixture
def page(server):
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(120_000)
        yield page


def open_and_run(page: Page, address: str, path: str) -> list[dict]:
    """Open a notebook, run its cells one after the other as a reader would -> its cells, with outputs."""
    page.goto(f"{address}/lab/tree/{path}?token=secret&reset")
    page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'")
    page.evaluate(
        """async () => {
            const panel = window.jupyterapp.shell.currentWidget;
            for (let i = 0; i < panel.content.widgets.length; i++) {
                panel.content.activeCellIndex = i;
                await window.jupyterapp.commands.execute('notebook:run-cell');
            }
        }"""
    )
    return page.evaluate("() => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells")


def outputs(cells: list[dict]) -> list[dict]:
    return [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]


def text_after(cells: list[dict], call: str) -> str:
    """What the cell that makes this call printed."""
    (cell,) = [c for c in cells if c["cell_type"] == "code" and call in "".join(c["source"])]
    return "".join("".join(o.get("text", "")) for o in cell["outputs"])


def test_a_released_lesson_shows_its_picture_and_says_what_is_to_do(page, server):
    cells = open_and_run(page, server, f"{LESSON}/{LESSON}.ipynb")
    assert not [o for o in outputs(cells) if o["output_type"] == "error"]
    assert "todo" in text_after(cells, 'check("sample_block")')
    assert page.get_by_text("this cell needs sample_masks").count() >= 2  # one of them in place of the sliders
    assert page.get_by_text("Traceback").count() == 0
    assert page.locator(".jp-OutputArea-output img").count() >= 1


def test_a_solved_lesson_runs_and_its_slider_moves_a_mask(page, server):
    cells = open_and_run(page, server, f"solved/{LESSON}/{LESSON}.ipynb")
    assert not [o for o in outputs(cells) if o["output_type"] == "error" or o.get("name") == "stderr"]
    for name in ("sample_block_size", "sample_block", "sample_masks"):
        assert "pass" in text_after(cells, f'check("{name}")')
    assert page.locator(".jp-OutputArea-output img").count() >= 3

    slider = page.locator(".jupyter-widgets .noUi-handle").first
    slider.scroll_into_view_if_needed()
    before = page.locator("img.widget-image").first.get_attribute("src")
    slider.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("before => document.querySelector('img.widget-image').src !== before", arg=before)
