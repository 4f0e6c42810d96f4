"""The learner's lessons as modules: `import lessons.masking` gives the definitions in 03_masking/03_masking.ipynb.

Only definitions are run, in notebook order: functions and classes, and those imports and assignments that they use.
Other imports and assignments are run when someone asks the module for their names; demos, bare calls and magics
never are. How that works is in `lessons/reading`.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from lessons.reading.cells import NOTEBOOK_LIMIT, LessonError, read_cells
from lessons.reading.definitions import DUNDER, read_into
from lessons.reading.statements import Report, own_cells
from lessons.reading.todo import say_todo_in_notebook, unwritten

__all__ = [
    "LESSONS",
    "NOTEBOOK_LIMIT",
    "LessonError",
    "Report",
    "borrow",
    "folder_name",
    "forget",
    "lessons_folder",
    "load_lesson",
    "other_course",
    "read_cells",
    "reason",
    "unwritten",
    "use",
]

LESSONS = (
    "patch_embedding",
    "vision_transformer",
    "masking",
    "teacher",
    "predictor",
    "training",
    "diagnostics",
    "pretrained",
)

_folder: Path | None = None
_reference = False


def use(folder: Path | str | None = None, reference: bool = False) -> None:
    """Say where lessons are read from now on, and forget those that were read.

    folder: holds 01_patch_embedding/ and so on; None means the environment variable IJEPA_LESSONS, or else this folder.
    reference: in a lesson, `from lessons.X import ...` gives the reference of an earlier lesson X, if solutions/ has it
        (so that a mistake costs once), and not the learner's own.
    """
    global _folder, _reference
    _folder, _reference = None if folder is None else Path(folder), reference
    for name in LESSONS:
        forget(name)


def lessons_folder() -> Path:
    """The folder that lessons are read from. Raises LessonError if it isn't one."""
    variable = os.environ.get("IJEPA_LESSONS")
    folder = _folder or (Path(variable) if variable else Path(__file__).parent)
    if not folder.is_dir():
        raise LessonError(
            f"{folder} is not a folder: the lessons are looked for there{' (IJEPA_LESSONS)' * (not _folder)}."
        )
    return folder.resolve()


def other_course() -> str:
    """A sentence if this runs in a folder of one copy of the course with the code of another, else "".

    So it is if the kernel's environment holds an editable install of another clone.
    """
    ours, here = Path(__file__).resolve().parents[1], Path.cwd()
    course = next((folder for folder in (here, *here.parents) if (folder / "lessons" / "__init__.py").is_file()), ours)
    if course.resolve() == ours:
        return ""
    return (
        f"note: this is the folder of the course in {course}, but lessons and checks of {ours} are used. "
        f"`pip install -e {course}` in this environment, and a new kernel, change that."
    )


def folder_name(name: str) -> str:
    """The name of a lesson's folder and of its notebook: "masking" -> "03_masking".

    Raises LessonError if there is no such lesson.
    """
    if name not in LESSONS:
        raise LessonError(f"there is no lesson {name!r}: the lessons are {', '.join(LESSONS)}.")
    return f"{LESSONS.index(name) + 1:02d}_{name}"


def load_lesson(
    name: str,
    path: Path | None = None,
    content: bytes | None = None,
    reference: bool | None = None,
    only: Iterable[str] | None = None,
) -> ModuleType:
    """Read a lesson anew; the module replaces `lessons.<name>` and has its `Report` as `__report__`.

    path: the notebook or script; None means the one in `lessons_folder()`.
    content: its bytes, if they were read before.
    reference: as for `use`; None means what was said there.
    only: run the definitions of these names, what may change them and what they use; others when someone asks for
        them. None: all.

    Raises LessonError.
    """
    return _load(name, path, content, _reference if reference is None else reference, only=only)


def forget(name: str) -> None:
    """Let the next `import lessons.<name>` read the lesson anew."""
    sys.modules.pop(f"{__name__}.{name}", None)
    globals().pop(name, None)


def reason(module: ModuleType, name: str) -> str:
    """Why a lesson's module lacks a name, as a sentence, or "" if there is nothing to say.

    Its definition raised, or stands in a cell with a syntax error, or is no definition. `reason(module, error.name)`
    explains a NameError from the learner's code.
    """
    definitions = getattr(module, "__definitions__", None)
    return definitions.reason(name) if definitions else ""


def borrow(name: str, mine: bool = True) -> None:
    """Make what lesson `name` builds on complete: the first call in each notebook.

    Exercises of earlier lessons that are still stubs come from the reference, and one printed line names them; what the
    learner has written is used. An earlier lesson that can't be read comes from the reference as a whole. With
    mine=False all of them do.
    """
    folder_name(name)
    if sentence := other_course():
        print(sentence)
    say_todo_in_notebook()
    earlier = LESSONS[: LESSONS.index(name)]
    for lesson in earlier:
        forget(lesson)
    said = []
    for lesson in earlier:
        at_hand, problem = _has_reference(lesson), ""
        if mine or not at_hand:
            try:
                borrowed = _load(lesson, fill_stubs=at_hand).__definitions__.borrowed
                said += [f"{', '.join(borrowed)} ({lesson})"] if borrowed else []
                continue
            except LessonError as error:
                if not at_hand:
                    raise
                problem = f" ({str(error).rstrip('.')})"
        sys.modules[f"{__name__}.{lesson}"] = globals()[lesson] = importlib.import_module(f"solutions.{lesson}")
        said.append(f"all of {lesson}{problem}")
    if said:
        print(f"Borrowed from the reference: {'; '.join(said)}.")


def _load(
    name: str,
    path: Path | None = None,
    content: bytes | None = None,
    reference: bool = False,
    fill_stubs: bool = False,
    only: Iterable[str] | None = None,
) -> ModuleType:
    folder_name(name)
    module = module_from_spec(ModuleSpec(f"{__name__}.{name}", _finder))
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        _read_into(module, path, content, reference, fill_stubs, only)
    except BaseException:
        forget(name)
        if before is not None:
            sys.modules[module.__name__] = globals()[name] = before
        raise
    globals()[name] = module
    return module


def _read_into(
    module: ModuleType,
    path: Path | None = None,
    content: bytes | None = None,
    reference: bool = False,
    fill_stubs: bool = False,
    only: Iterable[str] | None = None,
) -> None:
    name = module.__name__.rpartition(".")[2]
    if path is None:
        path, cells = own_cells(lessons_folder() / folder_name(name))
    else:
        path = Path(path)
        cells = read_cells(path, content)
    earlier = [lesson for lesson in LESSONS[: LESSONS.index(name)] if reference and _has_reference(lesson)]
    read_into(module, path, cells, earlier, fill_stubs, only)


def _has_reference(name: str) -> bool:
    try:
        return find_spec(f"solutions.{name}") is not None
    except ModuleNotFoundError:  # no solutions/ at all
        return False


class _Finder:
    """Makes `import lessons.masking` read a notebook; `lessons.figures` is an ordinary module."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        return ModuleSpec(fullname, _finder) if package == __name__ and name in LESSONS else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        for name in [name for name in vars(module) if not DUNDER.fullmatch(name)]:  # importlib.reload
            del vars(module)[name]
        _read_into(module, reference=_reference)


_finder: Any = _Finder()
sys.meta_path.insert(0, _finder)
