"""The lessons as a site to read, and as one PDF: `python -m solutions.release --book FOLDER`.

The solved lessons are run, and Sphinx with MyST-NB makes pages of them. Of what was tried, these alone come with pip,
need no network to build and fold a single cell. Jupyter Book 2 (mystmd) fetches its theme when it builds, Quarto and
nbsphinx need a program that pip does not bring, mkdocs-jupyter hides cells but folds none, nbconvert has no search.
"""

from __future__ import annotations

import copy
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
from nbformat import NotebookNode

from lessons import figures, folder_name
from solutions.classroom.answers import folded, model_answer, quiz_answer

ROOT = Path(__file__).parents[2]
TITLE = "Build I-JEPA"
NEEDED = ("myst_nb", "sphinx_book_theme", "playwright")
SECONDS = 1800  # that a cell may take: two cells of the last lessons train
WIDGET = "application/vnd.jupyter.widget-view+json"  # such as a progress bar: it would fetch its code from the network
SETTINGS = f"""
project, author, html_title = {TITLE!r}, "The Build I-JEPA authors", {TITLE!r}
extensions = ["myst_nb"]
nb_execution_mode = "off"
myst_enable_extensions = ["html_image"]
myst_heading_anchors = 3
suppress_warnings = ["myst.header", "misc.highlighting_failure"]  # a heading may skip a level; a cell may hold a magic
html_theme = "sphinx_book_theme"
html_theme_options = {{"use_download_button": False, "use_fullscreen_button": False, "show_toc_level": 2}}
html_copy_source, html_show_sourcelink = False, False
pygments_style = "a11y-high-contrast-light"
"""


class BookError(Exception):
    """The book can't be made. The message is one sentence."""


# From a solved lesson to a page


def page(name: str, solved: NotebookNode, released: NotebookNode) -> NotebookNode:
    """A lesson that was run, as a page: stubs and questions with their answers folded below, no set-up, a text for
    every picture.

    solved: with its outputs; released: the same cells with stubs. Raises BookError for a cell that raised an error, or
    a picture that nothing describes.
    """
    cells, heading = [], name
    for cell, stub in list(zip(copy.deepcopy(solved.cells), released.cells, strict=True))[1:]:
        heading = next(iter(re.findall(r"^#+ (.+)$", cell.source, re.M)), heading) if is_prose(cell) else heading
        if answer := quiz_answer(cell):  # no page can ask
            cells.append(folded("The answer", answer, cell.id))
            continue
        answer = model_answer(cell)
        if is_prose(cell):
            cell.source = stub.source.replace("YOUR ANSWER HERE", "")
        else:
            refuse_errors(name, cell)
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
            describe(name, cell, heading)
        if cell.source != stub.source and not is_prose(cell):
            cells.append(nbformat.v4.new_markdown_cell(f"```python\n{stub.source}\n```", id=f"{cell.id}-stub"))
            cell.source = re.sub(r"\n *### (BEGIN|END) SOLUTION", "", cell.source)
            cell.metadata |= {"tags": ["hide-input"], "mystnb": {"code_prompt_show": "Show a solution"}}
        cells.append(cell)
        if answer:
            cells.append(folded("A model answer", answer, cell.id))
    metadata = {key: value for key, value in copy.deepcopy(solved.metadata).items() if key != "widgets"}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def is_prose(cell: NotebookNode) -> bool:
    return cell.cell_type == "markdown"


def refuse_errors(name: str, cell: NotebookNode) -> None:
    for output in cell.outputs:
        if output.output_type == "error":
            raise BookError(f"solutions/{name}.py, {cell.id}: this cell raised {output.ename}: {output.evalue}")


def describe(name: str, cell: NotebookNode, heading: str) -> None:
    """Give the cell's picture the first sentence of the function that draws it, for those who do not see it."""
    if any("image/png" in output.get("data", {}) for output in cell.outputs):
        drawn = [figure for figure in re.findall(r"\bfigures\.(\w+)\(", cell.source) if figure != "sliders"]
        sentences = [re.match(r"[^.]+", getattr(figures, figure).__doc__ or "") for figure in drawn]
        if not sentences or not all(sentences):
            raise BookError(f"solutions/{name}.py, {cell.id}: no function of lessons/figures.py describes the picture")
        text = f"{heading}. " + ". ".join(match[0] for match in sentences if match) + "."
        cell.metadata["mystnb"] = {"image": {"alt": " ".join(text.split()).replace("`", "")}}


def front(readme: str, names: Iterable[str]) -> str:
    """The first page: how the README begins, and the lessons. Its pictures lie where the README has them.

    Of its links to other files of the course only the text is left: a book does not have them.
    """
    beginning = re.sub(r"(?<!!)\[([^\]]+)\]\((?!https?://)[^)]*\)", r"\1", readme.partition("\n## ")[0])
    entries = "\n".join(names)
    return f"{beginning}\n\n```{{toctree}}\n:maxdepth: 1\n:caption: Lessons\n\n{entries}\n```\n"


def run(solved: Mapping[str, NotebookNode], folder: Path) -> dict[str, NotebookNode]:
    """Run solved lessons, each on the solved ones before it -> with outputs. folder: to put them into meanwhile."""
    from nbclient import NotebookClient

    for name, notebook in solved.items():
        place = folder / folder_name(name)
        place.mkdir(parents=True)
        nbformat.write(notebook, place / f"{folder_name(name)}.ipynb")
    # the lessons of this course, and not those that the environment may hold
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"IJEPA_LESSONS": str(folder.resolve()), "PYTHONPATH": os.pathsep.join(paths)}
    done = {}
    for name, notebook in solved.items():
        print(f"running {folder_name(name)}", flush=True)
        done[name] = copy.deepcopy(notebook)
        client = NotebookClient(
            done[name], timeout=SECONDS, allow_errors=True, resources={"metadata": {"path": str(ROOT)}}
        )
        client.execute(env=environment)
    return done


# From pages to a site


def write_book(solved: Mapping[str, NotebookNode], released: Mapping[str, NotebookNode], folder: Path) -> None:
    """Run the solved lessons and write the book: index.html, a page a lesson, book.pdf.

    Raises BookError if folder holds anything, a package is missing, a cell fails, or the book has a dead link.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BookError(f"{folder} is not an empty folder: name a new one")
    if missing := [name for name in NEEDED if not find_spec(name)]:
        raise BookError(f"a book needs {', '.join(missing)}: pip install -e '.[book]'")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        place = Path(temporary)
        done = run(solved, place / "lessons")
        build({name: page(name, done[name], released[name]) for name in done}, place)
        if folder.exists():
            folder.rmdir()
        shutil.move(place / "html", folder)


def build(pages: Mapping[str, NotebookNode], place: Path) -> None:
    """Make place/html from pages, with the PDF in it. Raises BookError."""
    sources = place / "sources"
    shutil.copytree(ROOT / "lessons" / "pictures", sources / "lessons" / "pictures")
    for name, notebook in pages.items():
        nbformat.write(notebook, sources / f"{folder_name(name)}.ipynb")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (sources / "index.md").write_text(front(readme, map(folder_name, pages)), encoding="utf-8")
    (sources / "conf.py").write_text(SETTINGS, encoding="utf-8")
    for kind in ("html", "singlehtml"):
        command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", kind, str(sources)]
        built = subprocess.run([*command, str(place / kind)], capture_output=True, text=True)
        if built.returncode:
            raise BookError(f"Sphinx refuses the pages: {built.stderr.strip()}")
    shutil.rmtree(place / "html" / ".doctrees", ignore_errors=True)
    print_pdf(place / "singlehtml" / "index.html", place / "html" / "book.pdf")
    if wrong := problems(place / "html"):
        raise BookError(f"the book is not whole: {'; '.join(wrong)}")


def print_pdf(source: Path, target: Path) -> None:
    """Print a page with all that is folded open. Raises BookError if there is no Chromium."""
    from playwright.sync_api import Error, sync_playwright

    own = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=own, args=["--no-sandbox"])
        except Error:
            raise BookError("the PDF needs Chromium: install it, or run `playwright install chromium`") from None
        tab = browser.new_page()
        tab.goto(source.resolve().as_uri())
        tab.evaluate("() => document.querySelectorAll('details').forEach(folded => { folded.open = true })")
        tab.add_style_tag(content=".cell_input, .cell_output img { break-inside: avoid }")
        margin = dict.fromkeys(("top", "bottom", "left", "right"), "15mm")
        tab.pdf(path=target, format="A4", print_background=True, margin=margin, outline=True, tagged=True)
        browser.close()


# Whether it is whole


class Page(HTMLParser):
    """The names, links and pictures of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str] = []
        self.undescribed: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.names |= {given[name] for name in ("id", "name") if name in given}
        self.links += [given[name] for name in ("href", "src") if name in given]
        if tag == "img" and not given.get("alt", "").strip():
            self.undescribed.append(given.get("src", ""))


def problems(site: Path) -> list[str]:
    """What is wrong with a site: links within it that lead nowhere, pictures without a text."""
    pages = {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in sorted(site.glob("*.html"))}
    wrong = []
    for path, content in pages.items():
        here = path.relative_to(site.resolve()).as_posix()
        wrong += [f"{here}: the picture {name} has no text" for name in content.undescribed]
        for link in content.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not target.is_file():
                wrong.append(f"{here}: {link} leads nowhere")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].names:
                wrong.append(f"{here}: {link} leads to no place on its page")
    return wrong
