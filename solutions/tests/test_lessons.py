"""`import lessons.<name>`: definitions only, own cell and line in every error, whatever wrote the notebook."""

import importlib
import inspect
import json
import os
import pickle
import subprocess
import sys
import traceback
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import jupytext
import nbformat
import pytest

import lessons
import solutions
from lessons import LessonError, Report, borrow, load_lesson, reason

FIRST, SECOND, THIRD = "patch_embedding", "vision_transformer", "masking"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of lessons, in use."""
    monkeypatch.delenv("IJEPA_LESSONS", raising=False)
    lessons.use(tmp_path)
    yield tmp_path
    lessons.use()


def notebook(*cells: str) -> bytes:
    """A notebook as JupyterLab writes it; a cell that starts with "# prose" is markdown."""
    made = [
        nbformat.v4.new_markdown_cell(c) if c.startswith("# prose") else nbformat.v4.new_code_cell(c) for c in cells
    ]
    return nbformat.writes(nbformat.v4.new_notebook(cells=made)).encode()


def path_of(folder: Path, name: str, suffix: str = ".ipynb") -> Path:
    stem = f"{(FIRST, SECOND, THIRD).index(name) + 1:02d}_{name}"
    return folder / stem / (stem + suffix)


def save(folder: Path, name: str, content: bytes, suffix: str = ".ipynb") -> Path:
    path = path_of(folder, name, suffix)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def lesson(folder: Path, *cells: str, name: str = FIRST) -> ModuleType:
    save(folder, name, notebook(*cells))
    return load_lesson(name)


def reference(monkeypatch, name: str, **pieces: object) -> ModuleType:
    """A stand-in for solutions.<name>."""
    module = ModuleType(f"solutions.{name}")
    module.__spec__ = ModuleSpec(module.__name__, None)
    vars(module).update(pieces)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(solutions, name, module, raising=False)
    return module


STUB = "def {}():\n    # YOUR CODE HERE\n    raise NotImplementedError()"


# Definitions, and nothing else


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
    assert not hasattr(module, "f")
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


# Whatever wrote it, and however it was damaged

CODE = "def f():\n    return 'é'"


def as_json(value: object, **options: object) -> bytes:
    return json.dumps(value, **options).encode()


def cell(source: object, **more: object) -> dict:
    return {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": source} | more


def version_4(*cells: object, **more: object) -> dict:
    return {"cells": list(cells), "metadata": {}, "nbformat": 4, "nbformat_minor": 0} | more


OLD = {
    "worksheets": [{"cells": [{"cell_type": "code", "language": "python", "input": CODE.split("\n"), "outputs": []}]}]
}
OLD["worksheets"][0]["cells"][0]["input"] = [line + "\n" for line in CODE.split("\n")]
COLAB = version_4(cell(CODE, metadata={"id": "x1"}), metadata={"colab": {"provenance": []}}, nbformat_minor=0)
WHOLE = as_json(version_4(cell(CODE)), indent=1)

LOADS = {
    "JupyterLab": notebook(CODE),
    "no cell ids": as_json(version_4(cell(CODE))),
    "Colab": as_json(COLAB, ensure_ascii=False),
    "VS Code: lines as a list": as_json(version_4(cell([line + "\n" for line in CODE.split("\n")]), nbformat_minor=2)),
    "nbformat 3": as_json(OLD | {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": ""}}),
    "nbformat 2, no version": as_json(OLD),
    "BOM": b"\xef\xbb\xbf" + WHOLE,
    "UTF-16, as PowerShell writes it": WHOLE.decode().encode("utf-16"),
    "Windows line ends": as_json(version_4(cell(CODE.replace("\n", "\r\n")))).replace(b"\n", b"\r\n"),
    "lines as a list, Windows line ends": as_json(version_4(cell([line + "\r\n" for line in CODE.split("\n")]))),
    "old Mac line ends": as_json(version_4(cell(CODE.replace("\n", "\r")))),
    "half a surrogate pair": WHOLE.replace(b"return", b"return '\\ud83d' and"),
    "a cell that holds NUL": as_json(version_4(cell("x = '\0'"), cell(CODE))),
    "a cell nested too deep": as_json(version_4(cell("(" * 5000 + ")" * 5000), cell(CODE))),
    "an unknown kind of cell": as_json(version_4({"cell_type": "sketch"}, cell(CODE))),
    "NaN in an output": as_json(version_4(cell(CODE, outputs=[{"data": float("nan")}]))),
    "text after blank lines": b"\n\n  " + WHOLE,
}

REFUSED = {
    "empty": (b"", "01_patch_embedding.ipynb is empty"),
    "blank": (b" \r\n\t", "is empty"),
    "cut off while it was saved": (WHOLE[: len(WHOLE) // 2], "damaged or cut off at line"),
    "cut off within a letter": (
        as_json(version_4(cell(CODE)), ensure_ascii=False).split(b"\xa9")[0],
        "is not UTF-8 text",
    ),
    "saved twice": (WHOLE + WHOLE, "damaged or cut off at line"),
    "a merge conflict": (WHOLE.replace(b' "metadata"', b'<<<<<<< HEAD\n "metadata"', 1), "damaged or cut off at line"),
    "Latin-1": (as_json(version_4(cell(CODE)), ensure_ascii=False).decode().encode("latin-1"), "is not UTF-8 text"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "is not UTF-8 text"),
    "zeros, as after a crash": (bytes(4096), "damaged or cut off at line"),
    "a web page": (b"<!DOCTYPE html><html></html>", "damaged or cut off at line 1"),
    "a list": (b"[1, 2]", "is not a notebook"),
    "a number": (b"3", "is not a notebook"),
    "null": (b"null", "is not a notebook"),
    "JSON of something else": (b'{"name": "x"}', "is not a notebook"),
    "cells that are a number": (as_json({"cells": 3}), "is not a notebook"),
    "a cell that is a string": (as_json({"cells": ["code"]}), "is not a notebook"),
    "a cell without a kind": (as_json({"cells": [{"source": ""}]}), "is not a notebook"),
    "a source that is null": (as_json(version_4(cell(None))), "is not a notebook"),
    "a source of numbers": (as_json(version_4(cell([1, 2]))), "is not a notebook"),
    "nested without end": (b"[" * 200_000, "damaged"),
    "a number of 10,000 digits": (b'{"cells": ' + b"9" * 10_000 + b"}", "damaged"),
}


@pytest.mark.parametrize("content", [pytest.param(content, id=name) for name, content in LOADS.items()])
def test_every_front_ends_notebook_loads(folder, content):
    save(folder, FIRST, content)
    assert load_lesson(FIRST).f() == "é"


@pytest.mark.parametrize(("content", "said"), [pytest.param(*pair, id=name) for name, pair in REFUSED.items()])
def test_a_damaged_notebook_gives_one_sentence(folder, content, said):
    save(folder, FIRST, content)
    with pytest.raises(LessonError) as raised:
        importlib.import_module("lessons.patch_embedding")
    message = str(raised.value)
    assert said in message
    assert message.startswith("01_patch_embedding.ipynb") and message.endswith(".") and "\n" not in message
    error = raised.value
    assert error.__context__ is None or error.__suppress_context__
    assert "lessons.patch_embedding" not in sys.modules


def test_a_folder_a_pipe_and_a_huge_file_are_refused(folder, monkeypatch):
    path = path_of(folder, FIRST)
    path.mkdir(parents=True)
    with pytest.raises(LessonError, match="is not a file"):
        load_lesson(FIRST)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(LessonError, match="is not a file"):
        load_lesson(FIRST)
    path.unlink()
    path.symlink_to(folder / "nowhere")
    with pytest.raises(LessonError, match="can't be read: no such file"):
        load_lesson(FIRST)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(101 * 2**20)
    with pytest.raises(LessonError, match="more than 100 MB: clear its outputs"):
        load_lesson(FIRST)


def test_the_content_may_be_given(folder):
    module = load_lesson(FIRST, Path("anna.ipynb"), notebook("def f():\n    return 1 / 0"))
    with pytest.raises(ZeroDivisionError) as raised:
        module.f()
    assert raised.traceback[-1].frame.code.raw.co_filename == "anna.ipynb, cell 1"


# Where it is read from


def test_a_lesson_that_is_not_there(folder):
    save(folder, FIRST, notebook("def f(): pass")).rename(
        path_of(folder, FIRST).with_name("01_patch_embedding.backup-1.ipynb")
    )
    with pytest.raises(
        LessonError, match=r"no notebook of lesson patch_embedding: .*01_patch_embedding.ipynb is not there"
    ):
        load_lesson(FIRST)
    with pytest.raises(LessonError, match=r"no lesson 'maskng': the lessons are patch_embedding, vision_transformer"):
        load_lesson("maskng")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("lessons.maskng")


def test_the_environment_variable_names_the_folder(folder, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    save(other, FIRST, notebook("def f():\n    return 'other'"))
    save(folder, FIRST, notebook("def f():\n    return 'own'"))
    monkeypatch.setenv("IJEPA_LESSONS", str(other))
    assert load_lesson(FIRST).f() == "own"  # what the program says comes first
    lessons.use()
    assert load_lesson(FIRST).f() == "other"
    monkeypatch.setenv("IJEPA_LESSONS", str(tmp_path / "missing"))
    with pytest.raises(LessonError, match=r"missing is not a folder: .*IJEPA_LESSONS"):
        load_lesson(FIRST)


def test_other_modules_of_the_package_are_ordinary():
    assert find_spec("lessons.figures").origin == str(Path(lessons.__file__).with_name("figures.py"))


def test_the_package_needs_neither_torch_nor_jupyter(folder):
    save(folder, FIRST, notebook("import torch", "def f():\n    return 1"))
    code = "import sys, lessons.patch_embedding as m; print(m.f(), {'torch', 'nbformat', 'IPython'} & set(sys.modules))"
    environment = os.environ | {"IJEPA_LESSONS": str(folder), "PYTHONPATH": str(Path(lessons.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "1 set()\n"


SCRIPT = """# %% [markdown]
# # Title

# %%
import math

# %% exercise="f"
def f():
    return math.floor(1.5) + g()

# %%
def g():
    return 1 / 0
"""


def test_a_script_is_read_where_there_is_no_notebook(folder):
    path = save(folder, FIRST, SCRIPT.encode(), ".py")
    module = load_lesson(FIRST)
    with pytest.raises(ZeroDivisionError) as raised:
        module.f()
    frame = traceback.extract_tb(raised.value.__traceback__)[-1]
    assert (frame.filename, frame.lineno, frame.line) == (str(path), 13, "return 1 / 0")
    assert inspect.getsource(module.g) == "def g():\n    return 1 / 0\n"


def test_a_syntax_error_in_a_script_costs_its_own_cell(folder):
    save(folder, FIRST, (SCRIPT + "\n# %%\ndef h(:\n    pass\n\n# %%\ndef g():\n    return 4\n").encode(), ".py")
    module = load_lesson(FIRST)
    assert module.f() == 5
    (sentence,) = module.__report__.syntax_errors
    assert sentence.startswith("01_patch_embedding.py, line 16 has a syntax error")


def test_a_notebook_and_a_script_that_agree(folder):
    written = nbformat.reads(notebook("# prose", "%matplotlib inline\nimport math", "def f():\n    return 1", "f()"), 4)
    save(folder, FIRST, nbformat.writes(written).encode())
    save(folder, FIRST, jupytext.writes(written, fmt="py:percent").encode(), ".py")
    assert load_lesson(FIRST).f() == 1


def test_a_notebook_and_a_script_that_differ(folder):
    save(folder, FIRST, notebook("def f():\n    return 1"))
    save(folder, FIRST, b"def f():\n    return 2\n", ".py")
    with pytest.raises(LessonError, match=r"01_patch_embedding.ipynb and 01_patch_embedding.py hold different code"):
        load_lesson(FIRST)


# What a lesson builds on

FORMS = [
    "from lessons.patch_embedding import piece\n\ndef f():\n    return piece()",
    "import lessons.patch_embedding as first\n\ndef f():\n    return first.piece()",
    "import lessons.patch_embedding\n\ndef f():\n    return lessons.patch_embedding.piece()",
    "from lessons import patch_embedding, LESSONS\n\ndef f():\n    return LESSONS and patch_embedding.piece()",
    "def f():\n    from lessons.patch_embedding import piece\n    return piece()",
]


@pytest.mark.parametrize("code", FORMS)
def test_a_lesson_builds_on_own_pieces_or_on_the_reference(folder, monkeypatch, code):
    reference(monkeypatch, FIRST, piece=lambda: "reference")
    save(folder, FIRST, notebook("def piece():\n    return 'own'"))
    save(folder, SECOND, notebook(code))
    assert load_lesson(SECOND).f() == "own"
    lessons.use(folder, reference=True)
    assert importlib.import_module("lessons.vision_transformer").f() == "reference"
    assert importlib.import_module("lessons.patch_embedding").piece() == "own"  # a lesson itself is the learner's
    assert load_lesson(SECOND, reference=False).f() == "own"


def test_without_solutions_the_reference_is_not_missed(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "solutions.patch_embedding", None)  # as if it weren't there
    save(folder, FIRST, notebook("def piece():\n    return 'own'"))
    save(folder, SECOND, notebook(FORMS[0]))
    assert load_lesson(SECOND, reference=True).f() == "own"
    borrow(SECOND)
    assert importlib.import_module("lessons.vision_transformer").f() == "own"


def test_borrow_fills_stubs_and_keeps_what_is_written(folder, monkeypatch, capsys):
    reference(monkeypatch, FIRST, piece=lambda: "reference", other=lambda: "reference")
    reference(monkeypatch, SECOND, whole=lambda: "reference")
    reference(monkeypatch, THIRD, last=lambda: "reference")
    table = "TABLE = piece()\n\ndef first():\n    return TABLE"
    save(folder, FIRST, notebook(STUB.format("piece"), "def other():\n    return 'own'", table))
    save(
        folder,
        SECOND,
        notebook("from lessons.patch_embedding import piece, other", "def whole():\n    return piece(), other()"),
    )
    save(folder, THIRD, notebook(STUB.format("last")))
    borrow(THIRD)
    assert capsys.readouterr().out == "Borrowed from the reference: piece (patch_embedding).\n"
    from lessons.patch_embedding import first, other, piece
    from lessons.vision_transformer import whole

    assert (piece(), other(), first(), whole()) == ("reference", "own", "reference", ("reference", "own"))
    with pytest.raises(NotImplementedError):  # the lesson itself is never borrowed
        importlib.import_module("lessons.masking").last()


def test_borrow_sees_what_was_written_since(folder, monkeypatch, capsys):
    reference(monkeypatch, FIRST, piece=lambda: "reference")
    save(folder, FIRST, notebook(STUB.format("piece")))
    borrow(SECOND)
    save(folder, FIRST, notebook("def piece():\n    return 'own'"))
    capsys.readouterr()
    borrow(SECOND)
    assert importlib.import_module("lessons.patch_embedding").piece() == "own"
    assert capsys.readouterr().out == ""


def test_borrow_replaces_what_cannot_be_read(folder, monkeypatch, capsys):
    reference(monkeypatch, FIRST, piece=lambda: "reference")
    reference(monkeypatch, SECOND, whole=lambda: "reference")
    save(folder, FIRST, b"{")
    borrow(THIRD)
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "all of patch_embedding (01_patch_embedding.ipynb is damaged" in said
    assert "all of vision_transformer (there is no notebook" in said
    assert importlib.import_module("lessons.patch_embedding").piece() == "reference"
    assert importlib.import_module("lessons.vision_transformer").whole() == "reference"


def test_borrow_everything(folder, monkeypatch, capsys):
    reference(monkeypatch, FIRST, piece=lambda: "reference")
    save(folder, FIRST, notebook("def piece():\n    return 'own'"))
    borrow(SECOND, mine=False)
    assert capsys.readouterr().out == "Borrowed from the reference: all of patch_embedding.\n"
    assert importlib.import_module("lessons.patch_embedding").piece() == "reference"
    borrow(SECOND)
    assert importlib.import_module("lessons.patch_embedding").piece() == "own"


def test_borrow_for_the_first_lesson_and_for_none(folder, capsys):
    borrow(FIRST)
    assert capsys.readouterr().out == ""
    with pytest.raises(LessonError, match="no lesson 'first'"):
        borrow("first")


def test_a_report_without_news_is_empty():
    assert Report().lines() == []
