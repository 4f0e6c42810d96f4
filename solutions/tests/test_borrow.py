"""What a lesson builds on: the learner's own earlier pieces, or the reference."""

import importlib
import sys

import pytest

import lessons
from lessons import LessonError, borrow, load_lesson
from solutions.tests.helpers.lesson_folders import (
    FIRST,
    SECOND,
    STUB,
    THIRD,
    notebook,
    reference,
    save,
)

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
