"""Folders of lessons that hold what a test writes, and stand-ins for the reference."""

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import nbformat

import solutions
from lessons import load_lesson

FIRST, SECOND, THIRD = "patch_embedding", "vision_transformer", "masking"


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
