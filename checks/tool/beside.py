"""An exercise may use a file of the learner's own that lies beside the notebook, and that nobody who grades reads."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import CodeType, ModuleType

COURSE = ("lessons", "checks", "data", "solutions")


def file_beside(notebook: ModuleType, name: str) -> str | None:
    """The file of the learner's own, in the notebook's folder, that an exercise is made of: no grader reads it."""
    folder = Path(getattr(notebook, "__file__", None) or "here").resolve().parent
    left, seen = {name}, set()
    while left:
        seen |= left
        values = [vars(notebook)[known] for known in left if known in vars(notebook)]
        for value in values:
            module = (
                value if isinstance(value, ModuleType) else sys.modules.get(getattr(value, "__module__", None) or "")
            )
            package = sys.modules.get(module.__name__.partition(".")[0]) if module else None
            if package and package is not notebook and package.__name__ not in COURSE:
                file = Path(getattr(package, "__file__", None) or "").resolve()
                if folder in (file.parent, file.parent.parent):
                    return file.name if file.parent == folder else f"{file.parent.name}/"
        left = {used for value in values for used in names_used(value)} - seen
    return None


def names_used(value: object) -> set[str]:
    """The names in the code of a function, or of a class's methods."""
    left = [*vars(value).values()] if isinstance(value, type) else [value]
    names: set[str] = set()
    while left:
        last = left.pop()
        last = inspect.unwrap(last) if callable(last) else last
        code = getattr(last, "__code__", last)
        if isinstance(code, CodeType):
            names |= set(code.co_names)
            left += code.co_consts
    return names
