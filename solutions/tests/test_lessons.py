"""`import lessons.<name>`: definitions only, own cell and line in every error."""

import importlib
import inspect
import json
import pickle
import traceback
from pathlib import Path

import pytest

import lessons
from lessons import Report, load_lesson, reason
from solutions.tests.helpers.lesson_folders import (
    FIRST,
    lesson,
    notebook,
    save,
)


def test_the_import_statement_reads_the_notebook(folder):
    path = save(folder, FIRST, notebook("import math", "def area(r):\n    return math.pi * r**2"))
    module = importlib.import_module("lessons.patch_embedding")
    assert module.area(2) == pytest.approx(12.566370614)
    assert (module.__name__, module.__file__) == ("lessons.patch_embedding", str(path))
    assert lessons.patch_embedding is module


def test_demos_calls_and_loops_are_not_run(folder, tmp_path):
    marker = tmp_path / "ran"
    module = lesson(
        folder,
        "from pathlib import Path",
        f"Path({str(marker)!r}).touch()",
        f"for _ in range(3):\n    Path({str(marker)!r}).touch()",
        f"with open({str(marker)!r}, 'w') as file:\n    pass",
        "raise SystemExit",
        "assert False",
        "def double(x):\n    return 2 * x",
    )
    assert module.double(4) == 8
    assert not marker.exists()


def test_an_assignment_is_run_when_it_is_asked_for_and_once(folder, tmp_path):
    marker = tmp_path / "runs"
    module = lesson(
        folder,
        f"def train(steps):\n    with open({str(marker)!r}, 'a') as file:\n        file.write('x')\n"
        "    return steps * [0.5]",
        "steps = 3\nhistory = train(steps)",
        "def plot(history):\n    steps = len(history)\n    return steps",
    )
    assert not marker.exists()
    assert module.plot([1]) == 1
    assert module.history == [0.5] * 3
    assert module.history == [0.5] * 3
    assert marker.read_text() == "x"


def test_what_a_definition_uses_is_run_in_notebook_order(folder):
    cells = [
        "WIDTH = 2",
        "def width(extra=WIDTH):\n    return WIDTH + extra + SCALE['a'] + helper()",
        "WIDTH = WIDTH * 10",
        "SCALE = {}\nSCALE['a'] = 100",
        "if WIDTH > 5:\n    OFFSET = 1000\nelse:\n    OFFSET = 2000",
        "def helper():\n    return OFFSET",
        "class Box:\n    side = WIDTH\nBox.twice = lambda self: 2 * self.side",
    ]
    plain: dict = {}
    exec("\n".join(cells), plain)
    module = lesson(folder, *cells)
    assert module.width() == plain["width"]() == 1122
    assert module.Box().twice() == plain["Box"]().twice() == 40


def test_an_import_that_nothing_uses_costs_nothing(folder):
    module = lesson(
        folder, "import surely_not_installed\nfrom math import tau, surely_not_there", "def f():\n    return tau"
    )
    assert module.f() == pytest.approx(6.2831853)
    assert module.__report__.failed == {}
    with pytest.raises(NameError, match=r"01_patch_embedding.ipynb, cell 1, line 1 raised ModuleNotFoundError"):
        _ = module.surely_not_installed


def test_everyday_python_works(folder):
    module = lesson(
        folder,
        "from __future__ import annotations",
        "import dataclasses\nfrom functools import lru_cache\nfrom typing import TYPE_CHECKING, NamedTuple",
        "if TYPE_CHECKING:\n    from surely_not_installed import Tensor",
        "try:\n    import surely_not_installed as fast\nexcept ImportError:\n    fast = None",
        "@dataclasses.dataclass\nclass Point:\n    x: int\n    y: Tensor = 4",
        "class Masks(NamedTuple):\n    context: Tensor\n    targets: Tensor = 1",
        "@lru_cache\ndef count(n: Tensor) -> Tensor:\n    return n if fast is None else -n",
        "async def later(): ...",
    )
    assert module.Point(3) == module.Point(3, 4)
    assert module.Masks(2) == (2, 1)
    assert module.count(7) == 7
    assert pickle.loads(pickle.dumps(module.Point(5))) == module.Point(5)
    assert pickle.loads(pickle.dumps(module.count)) is module.count


def test_a_global_setting_of_a_library_is_not_changed(folder):
    infinity = json.encoder.INFINITY
    module = lesson(folder, "import json", "json.encoder.INFINITY = 3", "def f():\n    return json.dumps(1)")
    assert module.f() == "1"
    assert infinity == json.encoder.INFINITY


def test_what_a_loop_would_have_changed_is_reported(folder):
    module = lesson(folder, "TABLE = {}\nfor i in range(3):\n    TABLE[i] = i", "def f():\n    return TABLE")
    assert module.f() == {}
    assert module.__report__.not_run == {"TABLE": "01_patch_embedding.ipynb, cell 1, line 2"}


def only(*cells: str):
    """The lesson of these cells as it is graded, if its one exercise is f."""
    return load_lesson(FIRST, Path("x.ipynb"), notebook(*cells), only=["f"])


@pytest.mark.parametrize(
    ("cells", "value"),
    [
        (
            [
                "TABLE = {}\ndef keep(g):\n    TABLE[1] = g",
                "def f():\n    return TABLE[1]()",
                "@keep\ndef g():\n    return 5",
            ],
            5,
        ),
        (["def f():\n    return f.extra", "def extend(g):\n    f.extra = g()", "@extend\ndef g():\n    return 5"], 5),
        (
            [
                "def add(to):\n    return lambda g: setattr(to, 'g', g())",
                "def f():\n    return f.g",
                "@add(f)\ndef g():\n    return 5",
            ],
            5,
        ),
        (
            [
                "def add(g):\n    setattr(globals()['f'], 'g', 5)",
                "def f():\n    return f.g",
                "@add\ndef g(self: 'f'): ...",
            ],
            5,
        ),
        (
            [
                "import functools",
                "@functools.singledispatch\ndef f(x=0):\n    return 0",
                "@f.register\ndef _(x: int):\n    return 5",
                "f = f.dispatch(int)\nf.__defaults__ = (0,)",
            ],
            5,
        ),
        (
            [
                "KINDS = []\nclass Base:\n    def __init_subclass__(cls):\n        KINDS.append(cls)",
                "def f():\n    return len(KINDS)",
                "class One(Base): ...",
                "class Two(One): ...",
            ],
            2,
        ),
        (["def f():\n    return f.g", "if True:\n    setattr(f, 'g', 5)"], 5),
    ],
)
def test_what_changes_an_exercise_is_run(cells, value):
    assert only(*cells).f() == value


def test_what_changes_no_exercise_is_not_run():
    module = only(
        "import functools\n\ndef f():\n    return 1",
        "def demo():\n    return photo",
        "photo = 1 / 0",
        "@functools.lru_cache\ndef other():\n    return photo",
        "class Other(dict):\n    size = photo",
    )
    assert module.f() == 1
    assert not {"demo", "other", "Other"} & set(vars(module))
    assert module.__report__.lines() == []


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("add(f)(g)", True),
        ("f.register(g)", True),
        ("for name in 'ab':\n    setattr(f, name, g)", True),
        ("with open('x'):\n    f.g = g", True),
        ("f()", False),
        ("print(f)", False),
        ("h.register(g)", False),
    ],
)
def test_a_statement_that_may_change_an_exercise_and_is_not_run_is_named(statement, named):
    report = only("def f(): ...\ndef g(): ...\ndef h(): ...", statement).__report__
    said = "f may also be changed in x.ipynb, cell 2, line 1, which is not run: only definitions and assignments are."
    assert report.lines() == [said] * named


# What goes wrong, by cell and line


def test_the_last_definition_counts_and_is_reported(folder):
    module = lesson(
        folder, "def f():\n    return 1", "# prose", "def g():\n    return f()", "\n\ndef f():\n    return 2"
    )
    assert module.g() == 2
    places = ["01_patch_embedding.ipynb, cell 1, line 1", "01_patch_embedding.ipynb, cell 3, line 3"]
    assert module.__report__.duplicates == {"f": places}
    assert module.__report__.lines() == [f"f is defined 2 times, and the last one counts: {places[1]}."]


def test_a_syntax_error_costs_its_own_cell(folder):
    module = lesson(
        folder,
        "def f():\n    return 1",
        "",
        "# prose",
        "x = 1\ndef g(:\n    pass\n\ndef h(): pass",
        "def k():\n    return 3",
    )
    assert (module.f(), module.k()) == (1, 3)
    (sentence,) = module.__report__.syntax_errors
    assert sentence.startswith("01_patch_embedding.ipynb, cell 2, line 2 has a syntax error")
    for name in ("g", "h"):
        with pytest.raises(NameError) as raised:
            getattr(module, name)
        assert sentence in str(raised.value)
    with pytest.raises(NameError, match="cell 2, line 2 has a syntax error"):
        exec("from lessons.patch_embedding import g", {})


def test_a_name_that_nobody_defines_is_an_ordinary_import_error(folder):
    lesson(folder, "def f(): pass")
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        exec("from lessons.patch_embedding import nothing", {})
    assert not hasattr(lessons.patch_embedding, "nothing")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("limit = 1 / 0", "cell 2, line 1 raised ZeroDivisionError: division by zero."),
        (
            "limit = int(input('how many? '))",
            "cell 2, line 1 raised EOFError: it asks for input, which an import can't give.",
        ),
        ("import sys\nlimit = sys.stdin.readline()", "cell 2, line 2 raised EOFError: it asks for input"),
        ("import sys\n\nclass limit:\n    sys.exit(3)", "cell 2, line 4 raised SystemExit: 3."),
        (
            "@missing_decorator\ndef limit(): pass",
            "cell 2, line 1 raised NameError: name 'missing_decorator' is not defined.",
        ),
        ("import pytest\nclass limit:\n    pytest.skip('no')", "cell 2, line 3 raised Skipped: no."),
        (
            "for limit in range(3):\n    pass",
            "it is set in 01_patch_embedding.ipynb, cell 2, line 1, in a statement that an",
        ),
    ],
)
def test_a_definition_that_raises_costs_its_own_names(folder, code, said):
    module = lesson(folder, "def fine():\n    return 1", code, "def uses():\n    return limit")
    assert module.fine() == 1
    with pytest.raises(NameError) as raised:
        module.uses()
    assert said in reason(module, raised.value.name)
    with pytest.raises(NameError) as raised:
        exec("from lessons.patch_embedding import limit", {})
    assert said in str(raised.value)
    assert reason(module, "fine") == ""


def test_a_definition_that_fails_later_does_not_leave_the_earlier_one(folder):
    module = lesson(folder, "def f():\n    return 1", "@undefined\ndef f():\n    return 2")
    with pytest.raises(NameError, match="cell 2, line 1 raised NameError"):
        module.f()


def test_a_file_beside_the_notebook_is_not_read(folder):
    module = lesson(folder, "from my_pieces import f", "def g():\n    return f()")
    with pytest.raises(NameError, match=r"No module named 'my_pieces' \(only the lesson itself is read: copy what"):
        module.f()


@pytest.mark.parametrize("magic", ["%%timeit", "%%bash", "%%writefile f.py"])
def test_a_definition_in_a_cell_that_keeps_none_is_explained(folder, magic):
    module = lesson(folder, f"{magic}\ndef f():\n    return 1", "def g():\n    return 1")
    with pytest.raises(NameError, match=rf"cell 1, line 1, below {magic.split()[0]}, which keeps no definitions"):
        module.f()
    assert module.__report__.lines() == []


@pytest.mark.parametrize("kind", ["markdown", "raw"])
def test_a_definition_in_a_cell_that_became_prose_is_explained(folder, kind):
    cells = [{"cell_type": kind, "source": source} for source in ("# Title\n\nA `def f`.", "def f():\n    return 1")]
    cells.append({"cell_type": "code", "source": "def g():\n    return 1"})
    save(folder, FIRST, json.dumps({"cells": cells}).encode())
    module = load_lesson(FIRST)
    assert module.g() == 1
    with pytest.raises(NameError, match=rf"ipynb, a {kind} cell, which is not run: make it a code cell"):
        module.f()
    assert module.__report__.lines() == []


def test_a_failure_names_the_one_that_caused_it(folder):
    module = lesson(folder, "Base = 1 / 0", "class Child(Base):\n    pass")
    with pytest.raises(NameError, match=r"cell 2, line 1 raised NameError.*cell 1, line 1 raised ZeroDivisionError"):
        module.Child()


def test_a_traceback_shows_the_cell_and_its_line(folder):
    module = lesson(
        folder, "%matplotlib inline\nimport math\n\ndef f():\n    return g()", "# prose", "def g():\n\n    return 1 / 0"
    )
    with pytest.raises(ZeroDivisionError) as raised:
        module.f()
    frames = traceback.extract_tb(raised.value.__traceback__)[1:]
    assert [(frame.filename, frame.lineno, frame.line) for frame in frames] == [
        ("01_patch_embedding.ipynb, cell 1", 5, "return g()"),
        ("01_patch_embedding.ipynb, cell 2", 3, "return 1 / 0"),
    ]


def test_inspect_finds_functions_and_classes(folder):
    function, kind = "def f():\n    return 1\n", "class Box:\n    def open(self):\n        return 2\n"
    module = lesson(folder, "import math", function, "x = 1\n" + kind)
    assert inspect.getsource(module.f) == function
    assert inspect.getsource(module.Box) == kind
    assert inspect.getsource(module.Box.open) == "    def open(self):\n        return 2\n"


@pytest.mark.parametrize(
    "cell",
    [
        "%matplotlib inline\n!echo it's (\n{}",
        "%load_ext autoreload\n%autoreload 2\n{}\nf?\nf??\n?f",
        "if True:\n    !pip install x\n{}",
        "{}\nfiles = !ls\ntook = %timeit -o f()",
        "!pip install \\\n  torch\n{}",
        "%%time\n{}",
        "\n%%capture out\n{}",
        "%%prun -q\n{}",
        "pip install -q 'x>=1'\ncd ..\n{}",
    ],
)
def test_magics_are_left_out(folder, cell):
    function = 'def f():\n    """\n    %not a magic\n    !nor this\n    """\n    return 7 % 4'
    module = lesson(folder, cell.format(function))
    assert module.f() == 3
    assert "%not a magic\n    !nor this" in module.f.__doc__
    assert module.__report__.syntax_errors == []
    assert module.__report__.ignored


@pytest.mark.parametrize("magic", ["%%bash", "%%html", "%%writefile f.py", "%%timeit"])
def test_a_cell_of_another_language_is_skipped(folder, magic):
    module = lesson(folder, f"{magic}\ndef f(): pass", "def g():\n    return 1")
    assert module.g() == 1
    assert "f" not in vars(module)
    assert module.__report__.syntax_errors == []


@pytest.mark.parametrize(
    ("code", "stub"),
    [
        ("def f():\n    raise NotImplementedError()", True),
        ("def f():\n    '''doc'''\n    x = 1\n    raise NotImplementedError", True),
        ("class f:\n    def a(self):\n        return 1\n    def b(self):\n        raise NotImplementedError()", True),
        ("def f():\n    return 1", False),
        ("def f(x=1):\n    if x == 2:\n        raise NotImplementedError()\n    return 1", False),
        ("def f():\n    raise ValueError()", False),
        ("def f():\n    raise NotImplementedError()\n\ndef f():\n    return 1", False),
    ],
)
def test_stubs_are_told_by_their_last_statement(folder, code, stub):
    assert lesson(folder, code).__report__.stubs == ["f"] * stub


def test_an_edited_notebook_is_read_anew(folder):
    module = lesson(folder, "def f():\n    return 1", "def old(): pass")
    save(folder, FIRST, notebook("def f():\n    return 2"))
    assert module.f() == 1
    importlib.reload(module)
    assert module.f() == 2
    assert not hasattr(module, "old")
    save(folder, FIRST, notebook("def f():\n    return 3"))
    lessons.forget(FIRST)
    assert importlib.import_module("lessons.patch_embedding").f() == 3


def test_a_report_without_news_is_empty():
    assert Report().lines() == []
