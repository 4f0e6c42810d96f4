"""`python -m solutions.release --book`: what a lesson's page shows, and what is refused."""

import ast
import copy
from pathlib import Path

import nbformat
import pytest

from lessons import LESSONS, figures
from solutions import release
from solutions.classroom import book
from solutions.classroom.book import BookError, describe, front, page, problems
from solutions.tests.helpers.boxes_lesson import NAME, POINTS, SOURCE
from solutions.tests.helpers.course_lessons import ROOT, lesson_of_the_course

PICTURE = nbformat.v4.new_output("display_data", data={"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"})


@pytest.fixture(scope="module")
def lesson():
    return release.build(NAME, SOURCE, POINTS)


def code(source: str, *outputs):
    return nbformat.v4.new_code_cell(source, outputs=list(outputs), id="a-cell")


def with_text(notebook, text: str) -> int:
    (place,) = [place for place, cell in enumerate(notebook.cells) if text in cell.source]
    return place


# A lesson's page


def test_a_stub_stands_above_its_folded_solution(lesson):
    made = page(NAME, lesson.solved, lesson.released)
    place = with_text(made, "2 * x")
    stub, solution = made.cells[place - 1 : place + 1]
    assert stub.cell_type == "markdown" and stub.source.startswith("```python\ndef double(x):")
    assert stub.source.endswith("raise NotImplementedError()\n```")
    assert solution.metadata["tags"] == ["hide-input"]
    assert solution.metadata["mystnb"]["code_prompt_show"] == "Show a solution"
    nbformat.validate(made)
    others = [cell for cell in made.cells if "tags" in cell.metadata]
    assert [cell.id for cell in others] == [f"{NAME}-double", f"{NAME}-Box"]


def test_a_reader_gets_neither_set_up_nor_markers_nor_what_is_for_the_grader(lesson):
    text = "\n".join(cell.source for cell in page(NAME, lesson.solved, lesson.released).cells)
    assert "Why boxes?" in text and "# the secret" in text and "# a demo" in text
    for left_out in ("borrow(", "SOLUTION", "YOUR ANSWER HERE", "1 point"):
        assert left_out not in text


def test_questions_have_their_answers_folded_below():
    source = SOURCE + '\n# %%\nif __name__ == "__main__":\n    check("loss_of_zeros", ...)\n'
    lesson = release.build(NAME, source, POINTS)
    *_, question, marked, quiz = page(NAME, lesson.solved, lesson.released).cells
    assert question.source.startswith("Why boxes?")
    for cell, held in ((marked, "They tile."), (quiz, "Right: 1. ")):
        assert cell.cell_type == "markdown" and cell.source.startswith("<details>") and held in cell.source
    assert "- 0: " in quiz.source and "- 2: " in quiz.source


def test_a_progress_bar_is_left_out_and_what_was_printed_stays(lesson):
    bar = nbformat.v4.new_output(
        "display_data", data={"application/vnd.jupyter.widget-view+json": {}, "text/plain": "0%"}
    )
    said = nbformat.v4.new_output("stream", text="said")
    solved = copy.deepcopy(lesson.solved)
    solved.cells[with_text(solved, "# a demo")].outputs = [bar, said]
    solved.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {}}
    made = page(NAME, solved, lesson.released)
    assert made.cells[with_text(made, "# a demo")].outputs == [said]
    assert "widgets" not in made.metadata and made.metadata["kernelspec"] == solved.metadata["kernelspec"]


def test_the_notebooks_stay_as_they_were(lesson):
    before = copy.deepcopy((lesson.solved, lesson.released))
    page(NAME, lesson.solved, lesson.released)
    assert (lesson.solved, lesson.released) == before


def test_a_picture_is_described_by_the_section_and_the_function_that_draws_it():
    cell = code("x = 1\nfigures.sliders(lambda k: figures.patches(x, k), k=(2, [2]))", PICTURE)
    describe(NAME, cell, "Experiment: cut it")
    alt = cell.metadata["mystnb"]["image"]["alt"]
    assert alt == "Experiment: cut it. An image [H, W, 3], and the same cut into numbered patches."
    quiet = code("figures.patches(x, 2)")
    describe(NAME, quiet, "Experiment")
    assert "mystnb" not in quiet.metadata


@pytest.mark.parametrize("source", ["plt.plot([1])", "figures.sliders(draw, k=(2, [2]))"])
def test_a_picture_that_nothing_describes_is_refused(source):
    with pytest.raises(BookError, match=r"patch_embedding.py, a-cell: no function of lessons/figures.py describes"):
        describe(NAME, code(source, PICTURE), "Experiment")


def test_a_cell_that_raised_is_refused(lesson):
    solved = copy.deepcopy(lesson.solved)
    failed = with_text(solved, "import math")
    solved.cells[failed].outputs = [nbformat.v4.new_output("error", ename="ImportError", evalue="no saw")]
    with pytest.raises(BookError, match=r"patch_embedding.py, patch_embedding-2: this cell raised ImportError: no saw"):
        page(NAME, solved, lesson.released)


@pytest.mark.parametrize("name", LESSONS)
def test_every_picture_of_the_course_can_be_described(name):
    """Each cell of a lesson whose last expression is a call of figures."""
    found = 0
    for cell in lesson_of_the_course(name).solved.cells:
        body = ast.parse(cell.source).body if cell.cell_type == "code" else []
        if body and ast.unparse(body[-1]).startswith("figures."):
            cell.outputs = [PICTURE]
            describe(name, cell, "A section")
            assert cell.metadata["mystnb"]["image"]["alt"].endswith(".")
            found += 1
    assert found


def test_the_first_page_is_the_beginning_of_the_readme_and_names_the_lessons():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    made = front(readme, ["01_a", "02_b"])
    assert made.startswith("# Build I-JEPA") and "\n01_a\n02_b\n" in made and "## " not in made
    assert all((ROOT / place).is_file() for place in book.Page(made).links if "://" not in place)


def test_lessons_are_run_on_the_solved_ones_of_this_course(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cell = code("import lessons, os\nprint(lessons.__file__, lessons.lessons_folder())\n1 / 0")
    given = {name: nbformat.v4.new_notebook(cells=[copy.deepcopy(cell)]) for name in LESSONS[:1]}
    done = book.run(given, Path("solved"))  # a relative folder, as on the command line
    (printed, error) = done[LESSONS[0]].cells[0].outputs
    assert printed.text.split() == [str(ROOT / "lessons" / "__init__.py"), str(tmp_path / "solved")]
    assert error.ename == "ZeroDivisionError"  # kept: `page` names the cell
    assert given[LESSONS[0]].cells[0].outputs == []


def test_the_first_page_keeps_pictures_and_addresses_and_of_links_to_files_the_text():
    readme = "# C\n\n![a cat](pictures/cat.png) [its card](data/README.md#cat), [paper](https://x.org/1)\n\n## More\n"
    assert front(readme, []).startswith("# C\n\n![a cat](pictures/cat.png) its card, [paper](https://x.org/1)\n")


# Whether a site is whole


def test_dead_links_and_pictures_without_a_text_are_named(tmp_path):
    (tmp_path / "a b.html").write_text('<h1 id="there">x</h1>')
    (tmp_path / "index.html").write_text(
        '<a href="a%20b.html#there">1</a> <a href="a%20b.html#gone">2</a> <a href="#here">3</a> <p id="here">'
        '<a href="gone.html">4</a> <a href="https://example.org/gone">5</a> <a href="#gone">6</a> <a href="#">7</a>'
        '<img src="gone.png" alt="A dog."> <img src="index.html" alt=" "> <img src="index.html">'
    )
    assert sorted(problems(tmp_path)) == sorted(
        [
            "index.html: a%20b.html#gone leads to no place on its page",
            "index.html: gone.html leads nowhere",
            "index.html: #gone leads to no place on its page",
            "index.html: gone.png leads nowhere",
            "index.html: the picture index.html has no text",
            "index.html: the picture index.html has no text",
        ]
    )


# What is refused, before a cell is run


def test_a_folder_that_holds_something_is_refused(tmp_path, lesson):
    (tmp_path / "work.txt").write_text("mine")
    with pytest.raises(BookError, match="is not an empty folder: name a new one"):
        book.write_book({NAME: lesson.solved}, {NAME: lesson.released}, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["work.txt"]


def test_missing_packages_are_named_with_what_to_do(tmp_path, lesson, monkeypatch):
    monkeypatch.setattr(book, "find_spec", lambda name: None if name == "myst_nb" else True)
    with pytest.raises(BookError, match=r"^a book needs myst_nb: pip install -e '\.\[book\]'$"):
        book.write_book({NAME: lesson.solved}, {NAME: lesson.released}, tmp_path / "book")
    assert list(tmp_path.iterdir()) == []


def test_figures_have_a_first_sentence():
    drawing = [value for name, value in vars(figures).items() if name[0] != "_" and hasattr(value, "__wrapped__")]
    assert len(drawing) > 10 and all(". " in f"{value.__doc__} ".replace("\n", " ") for value in drawing)
