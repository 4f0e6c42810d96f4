"""The folder that a class gets for a lesson: `python -m solutions.release --kit masking FOLDER`."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from lessons import LESSONS, folder_name

ROOT = Path(__file__).parents[2]
README = "solutions/classroom/KIT.md"
TOP = ("LICENSE", "requirements.txt", "pyproject.toml", ".gitignore")
# no grader: it grades a class, and a class's grader has a course of its own
BY_LESSON = ("checks/calls", "checks/expected", "checks/quizzes", "checks/stretch")
PARTS = ("lessons/reading", "checks/tool", *BY_LESSON, "data")
LEFT_OUT = re.compile(r"(^|/)(\.|__pycache__/|cifar10/)")  # caches, what is hidden, the data set that is downloaded


class KitError(Exception):
    """A kit can't be made. The message is one sentence."""


def write_kit(notebooks: Mapping[str, bytes], last: str, folder: Path, root: Path = ROOT) -> None:
    """Write what a class needs for lesson `last`: stubs up to it, checks, data, the reference of earlier lessons only.

    notebooks: the released lessons. Raises LessonError for a lesson that there isn't, and KitError if folder holds
    anything, or if the kit would need the reference of `last` or of a later lesson.
    """
    folder_name(last)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise KitError(f"{folder} is not an empty folder: name a new one")
    given = LESSONS[: LESSONS.index(last) + 1]
    own = {f"lessons/{folder_name(name)}/{folder_name(name)}.ipynb": notebooks[name] for name in given}
    files = files_for(given, root)
    code = [(root / name).read_text(encoding="utf-8") for name in files if re.fullmatch(r"lessons/\w+\.py", name)]
    code += [source for notebook in own.values() for source in code_cells(notebook)]
    earlier, withheld = given[:-1], LESSONS[len(given) - 1 :]
    files += [f"solutions/{name}.py" for name in ("__init__", *reference_for(code, earlier, withheld, root))]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        kit = Path(temporary) / "kit"
        for name in files:
            put(kit / name, (root / name).read_bytes())
        for name, content in own.items():
            put(kit / name, content)
        put(kit / "README.md", (root / README).read_bytes())
        if folder.exists():
            folder.rmdir()
        shutil.move(kit, folder)


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def files_for(given: Iterable[str], root: Path) -> list[str]:
    """The files of a kit but for notebooks and reference, from the course's folder on: nothing of a later lesson."""
    hidden = tuple(name for name in LESSONS if name not in given)
    pages = {f"test_{folder_name(name)}.py" for name in hidden}
    found = [name for name in TOP if (root / name).exists()]
    found += [path.relative_to(root).as_posix() for path in sorted((root / "lessons").glob("*.py"))]
    for path in sorted((root / "checks").glob("*.py")):
        if path.name not in pages and path.name != "grade.py":
            found.append(path.relative_to(root).as_posix())
    for part in PARTS:
        names = [path.relative_to(root).as_posix() for path in sorted((root / part).rglob("*")) if path.is_file()]
        later = [name for name in names if part in BY_LESSON and Path(name).name.startswith((*hidden, *pages))]
        found += [name for name in names if not LEFT_OUT.search(name) and name not in later]
    return found


def code_cells(notebook: bytes) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(notebook)["cells"] if cell["cell_type"] == "code"]


def reference_for(code: list[str], earlier: Iterable[str], withheld: Iterable[str], root: Path) -> list[str]:
    """The modules of solutions/ for a kit: earlier lessons, and helpers, such as diagnostics or published/files, that
    its code imports.

    Raises KitError for one that is withheld.
    """
    modules = list(earlier)

    def source(module: str) -> str:
        return (root / "solutions" / f"{module}.py").read_text(encoding="utf-8")

    queue = code + [source(name) for name in modules]
    while queue:
        for name in re.findall(r"^\s*(?:from|import) solutions\.([\w.]+)", queue.pop(), re.MULTILINE):
            if name in withheld:
                raise KitError(f"the kit would need solutions/{name}.py, which is still to be solved")
            package, _, inner = name.rpartition(".")
            for module in (f"{package}/__init__", f"{package}/{inner}") if package else (name,):
                if module not in modules:
                    modules.append(module)
                    queue.append(source(module))
    return modules
