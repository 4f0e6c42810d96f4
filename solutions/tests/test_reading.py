"""A lesson is read whatever wrote it, however it was damaged, and wherever it lies."""

import importlib
import inspect
import json
import os
import subprocess
import sys
import traceback
from importlib.util import find_spec
from pathlib import Path

import jupytext
import nbformat
import pytest
from nbconvert import PythonExporter

import lessons
from lessons import LessonError, load_lesson
from solutions.tests.helpers.lesson_folders import (
    FIRST,
    notebook,
    path_of,
    save,
)

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


LIKE_JUPYTER = [
    "%%timeit\nx = 1\nf()",
    "%%time\ndef h():\n    return 4",
    "%%prun -q\nclass K:\n    y = 1",
    "%%writefile a.py\ndef lost():\n    return (",
    "%%bash\necho '('",
    "cd ..",
    "pip install -q 'torch>=2'",
    "ls",
    "if True:\n    !pip install x",
    "if True:\n    !pip install x\n    import os\nelse:\n    %matplotlib inline",
    "%matplotlib inline\nimport math",
    "files = !ls\nfiles",
    "took = %timeit -o f()",
    "f?",
    "SIZE = 3\n%timeit f()\nfiles = %ls",
    "text = '''\n# %%\n# In[3]:\n'''",
    "def f():\n    return 1\n\n\ndef g():\n    return h() + SIZE + len(text)",
]
FORMS = ["py:percent", "py:hydrogen", "nbconvert"]


def in_a_notebook() -> nbformat.NotebookNode:
    cells = [nbformat.v4.new_code_cell(source) for source in LIKE_JUPYTER]
    tagged = nbformat.v4.new_code_cell("def tagged():\n    return 8", metadata={"tags": ["active-ipynb"]})
    prose = nbformat.v4.new_markdown_cell("# Title\n\n`def f` in *prose*")
    kernel = {"name": "python3", "language": "python", "display_name": "p"}
    return nbformat.v4.new_notebook(cells=[prose, *cells, tagged], metadata={"kernelspec": kernel})


def script_of(form: str) -> str:
    if form == "nbconvert":
        return PythonExporter().from_notebook_node(in_a_notebook())[0]
    return jupytext.writes(in_a_notebook(), fmt=form)


@pytest.mark.parametrize("form", FORMS)
def test_a_script_that_was_made_of_a_notebook_is_that_notebook(folder, form):
    script = save(folder, FIRST, script_of(form).encode(), ".py")
    alone = load_lesson(FIRST)
    assert (alone.g(), alone.h(), alone.K.y, alone.tagged()) == (4 + 3 + len(alone.text), 4, 1, 8)
    assert alone.text == "\n# %%\n# In[3]:\n"
    assert alone.__report__.syntax_errors == []
    assert "below %%writefile" in alone.__report__.left_out["lost"]
    save(folder, FIRST, nbformat.writes(in_a_notebook()).encode())
    assert load_lesson(FIRST).g() == alone.g()
    script.write_text(script_of(form).replace("SIZE = 3", "SIZE = 4"), encoding="utf-8")
    with pytest.raises(LessonError, match="hold different code"):
        load_lesson(FIRST)


@pytest.mark.parametrize("form", FORMS)
def test_lines_of_a_script_with_magics_are_those_of_its_file(folder, form):
    text = script_of(form).replace("return h() + SIZE + len(text)", "return 1 / 0")
    path = save(folder, FIRST, text.encode(), ".py")
    with pytest.raises(ZeroDivisionError) as raised:
        load_lesson(FIRST).g()
    frame = traceback.extract_tb(raised.value.__traceback__)[-1]
    line = text.split("\n").index("    return 1 / 0") + 1
    assert (frame.filename, frame.lineno, frame.line) == (str(path), line, "return 1 / 0")


def test_a_notebook_and_a_script_that_differ(folder):
    save(folder, FIRST, notebook("def f():\n    return 1"))
    save(folder, FIRST, b"def f():\n    return 2\n", ".py")
    with pytest.raises(LessonError, match=r"01_patch_embedding.ipynb and 01_patch_embedding.py hold different code"):
        load_lesson(FIRST)
