"""The modules of the course, and which of them each one imports, read from its syntax tree."""

import ast
from functools import cache
from pathlib import Path

from lessons import LESSONS

ROOT = Path(__file__).parents[3]
PACKAGES = ("checks", "lessons", "solutions")


def is_read_only(path: Path) -> bool:
    """Whether a file is text that is read and never imported: attacks, and answers to the exercises."""
    return path.parent.name == "redteam" or (path.parent.name == "misconceptions" and path.stem in LESSONS)


def files() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in files() if not is_read_only(path)}


def imports_of(source: str) -> set[str]:
    """What a source names in import statements, in functions too: modules, as far as the course has them."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "the course imports by whole names"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else str(node.module) for name in names}
    return found


@cache
def imports() -> dict[str, set[str]]:
    """The imports of each module of the course."""
    return {name: imports_of(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def is_within(name: str, *packages: str) -> bool:
    """Whether a module is one of these, or lies in one of them."""
    return any(name == package or name.startswith(f"{package}.") for package in packages)
