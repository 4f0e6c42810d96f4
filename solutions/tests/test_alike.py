"""Which students' code is alike: copies in disguise among many who chose the same ways, and what must not count."""

import ast

import pytest

from checks.grader.alike import given, main
from checks.grader.fingerprints import code_of
from checks.grader.likeness import alike_in, most_alike
from lessons import LESSONS
from solutions.release import notebook_path
from solutions.tests.helpers.alike_class import copies_found
from solutions.tests.helpers.notebooks import ROOT, cells_of, notebook, put
from solutions.tests.helpers.report_pages import Page, table_after

ANSWER = '''
def area_of(box, scale):
    """How large."""
    high, wide = torch.as_tensor(box).clamp(1, 7).unbind(-1)
    total = torch.log(high * scale) + wide.square()
    if total.isnan().any():
        raise ValueError(f"no size: {box}")
    total += 3 * high
    return total.cumsum(0)
'''
DISGUISED = """
class Text: pass
def last(x): return x.cumsum(0)
def f(a, b: float) -> Text:  # another comment
    h, w = (
        torch.as_tensor(a)
        .clamp(1, 7).unbind(-1))
    y = torch.log(h * b) + w.square()

    if y.isnan().any(): raise ValueError("not a box")
    y = y + 3 * h
    return last(y)
"""


def prints_of(text: str) -> set[int]:
    return set(code_of("03_masking.py", text.encode()).prints)


def test_names_lines_comments_and_helpers_change_no_fingerprint():
    changed = prints_of(ANSWER) ^ prints_of(DISGUISED)
    assert len(prints_of(ANSWER)) > 20
    assert len(changed & prints_of(ANSWER)) == 0 and len(changed) <= 3  # the call of the helper, and its own line


def test_a_variable_that_is_called_like_a_method_of_others_changes_no_fingerprint():
    text = "def f(x):\n    high = x.mean(dim=1)\n    return torch.stack([high, x.sum(dim=0) + high.size(0)]).std(1)\n"
    for word in ("mean", "size", "dim", "std", "stack"):
        assert prints_of(text) == prints_of(text.replace("high", word)) != set()


@pytest.mark.parametrize(
    ("old", "new"), [("square", "sqrt"), ("torch.log", "torch.exp"), ("1, 7", "1, 8"), ("* high", "/ high")]
)
def test_what_is_computed_changes_them(old, new):
    assert prints_of(ANSWER) - prints_of(ANSWER.replace(old, new))


def test_demos_imports_and_broken_cells_have_none():
    cells = [
        "import torch",
        "for i in range(9):\n    print(torch.arange(i).sum() * 3)",
        "def broken(:",
        "%matplotlib inline",
    ]
    assert code_of("a.ipynb", notebook(cells)).prints == {}
    assert code_of("a.ipynb", notebook([*cells, "%time x = 3\n" + ANSWER])).prints.keys() == prints_of(ANSWER)


def test_lines_are_those_of_the_code_that_is_shown():
    code = code_of(
        "a.ipynb",
        notebook(["import torch\n\n@torch.no_grad()\n" + ANSWER.strip(), "def g(x):\n    return x.sort(-1).values"]),
    )
    assert code.lines[0] == "@torch.no_grad()" and code.lines[-3:] == ("", "def g(x):", "    return x.sort(-1).values")
    at = {line for value in prints_of("def g(x):\n    return x.sort(-1).values") for line in code.prints[value]}
    assert at == {len(code.lines) - 1}
    assert {code.lines[line].split()[0] for places in code.prints.values() for line in places} >= {
        "if",
        "raise",
        "total",
    }


@pytest.mark.parametrize("text", ["-" * 90_000 + "1", "a" + ".b" * 90_000, "x" + "[0]" * 60_000, "(" * 90_000])
def test_code_that_no_parser_takes_stops_nothing(text):
    assert code_of("a.ipynb", notebook([f"x = {text}", ANSWER])).prints.keys() == prints_of(ANSWER)


def test_the_reference_and_the_stub_are_nobodys_own():
    handed_out = given()
    for lesson in LESSONS:
        released = notebook_path(ROOT / "lessons", lesson).read_bytes()
        assert code_of("a.ipynb", released).prints.keys() <= handed_out
        solved = notebook(cells_of(lesson))
        assert len(code_of("a.ipynb", solved).prints) > 30 and code_of("a.ipynb", solved).prints.keys() <= handed_out
    demo = 'images = load_images("photos", image_size=123)\nwidths = [image.shape[-1] for image in images.batch([7])]'
    assert code_of("a.ipynb", notebook([demo])).prints == {}


@pytest.mark.parametrize("lesson", ["vision_transformer", "predictor"])
def test_copies_in_disguise_come_first_in_a_class_of_300(lesson):
    assert copies_found(lesson, 5, given()) >= 9


def test_what_is_rare_counts_most_and_what_all_have_counts_nothing():
    everyone = {f"s{number}": {1, 2, 3} for number in range(40)}
    assert alike_in(everyone) == {}
    some = everyone | {f"s{number}": {1, 2, 3, *range(10, 20)} for number in range(8)}
    two = {name: {*prints, *range(20, 30)} if name in ("s0", "s9") else prints for name, prints in some.items()}
    found = alike_in(two)
    assert found["s0", "s9"] > 0 and found["s1", "s2"] > 0.5
    rare = {"a": {*range(10)}, "b": {*range(10)}, **{f"c{n}": {*range(20, 30)} for n in range(8)}}
    alike = alike_in(rare | {f"d{n}": {100 + n} for n in range(30)})
    assert alike["a", "b"] > alike["c0", "c1"]


def test_one_lesson_that_is_alike_comes_before_many_that_are_so_by_half():
    alone = {f"o{number}": {1000 + number} for number in range(20)}
    copied = {"a": set(range(50)), "b": set(range(50))}
    half = {"c": set(range(200, 250)), "d": set(range(225, 275))}
    lessons = {"masking": alone | copied | half} | {lesson: alone | half for lesson in ("teacher", "training")}
    first, second = most_alike(lessons, 2)
    assert first.students == ("a", "b") and set(first.lessons) == {"masking"}
    assert second.students == ("c", "d") and len(second.lessons) == 3


def test_the_page_shows_both_and_accuses_nobody(tmp_path, capsys):
    place, out = tmp_path / "class", tmp_path / "grades"
    other = ast.unparse(
        ast.parse(ANSWER.replace("square", "sqrt").replace("cumsum", "cumprod").replace("clamp", "clip"))
    )
    hostile = DISGUISED.replace("another comment", "</pre><script>alert(1)</script> \u202e")
    for student, text in (("ann", ANSWER), ("<b>bob", hostile), ("cleo", other), ("dan", "x = 3"), ("eve", "x = 4")):
        put(place, student, "masking", notebook([*cells_of("masking"), text]))
    put(place, "fay", "masking", b"[")
    assert main([str(place), "--out", str(out), "--lesson", "masking", "--pairs", "2"]) == 0
    assert "2 pairs of 6 students" in capsys.readouterr().out
    text = (out / "alike.html").read_text()
    page = Page(text)
    assert table_after(text.replace("<table>", '<table id="pairs">'), "pairs")[0][1:3] == ["<b>bob", "ann"]
    assert (
        "y = torch.log(h * b) + w.square()" in page.text
        and "total = torch.log(high * scale) + wide.square()" in page.text
    )
    assert "<mark>    total = torch.log(high * scale) + wide.square()</mark>" in text
    assert "sample_block" in page.text and "<mark>def sample_block" not in text
    assert (
        "script" not in page.tags and "\u202e" not in text and "fay, masking: 03_masking.ipynb is damaged" in page.text
    )
    assert not any(word in page.text.lower() for word in ("copied", "copies", "plagia", "cheat"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["absent"], "there is no absent"), (["class", "--out", "file/grades"], "can't be written")],
)
def test_what_goes_wrong_is_a_sentence(tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "class", "ann", "masking", notebook([ANSWER]))
    (tmp_path / "file").touch()
    assert main(arguments) == 1
    assert said in capsys.readouterr().err.splitlines()[-1]
