"""From the solutions to the lessons: `python -m solutions.release` writes lessons/NN_name/NN_name.ipynb with stubs.

A lesson's source is solutions/<name>.py, a percent script. The notebook is what nbgrader's generate_assignment makes
of it, by the same preprocessors, so that a collected notebook can be graded by nbgrader. Everything is built and
verified in memory before the first file is written.
"""

from __future__ import annotations

import argparse
import ast
import copy
import io
import itertools
import os
import re
import shutil
import sys
import tokenize
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode
from nbgrader.nbgraderformat import ValidationError
from nbgrader.preprocessors import CheckCellMetadata, ClearOutput, ClearSolutions, ComputeChecksums, LockCells

from lessons import LESSONS, LessonError, folder_name, forget, load_lesson
from lessons.reading.cells import digest, is_as_released
from solutions.classroom.address import AddressError, checked, of_origin, recorded, set_up, written_down
from solutions.classroom.answers import with_model_answers
from solutions.classroom.book import BookError, write_book
from solutions.classroom.kit import KitError, write_kit

ROOT = Path(__file__).parent.parent
GUARD = 'if __name__ == "__main__":'
MARKER = re.compile(r"(BEGIN|END) SOLUTION")
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


class ReleaseError(Exception):
    """The course can't be released. The message is one sentence that names file and cell."""


@dataclass(frozen=True)
class Lesson:
    """A lesson as two notebooks: solved (nbgrader's source) and released (with stubs)."""

    name: str
    solved: NotebookNode
    released: NotebookNode


# From a percent script to two notebooks


@dataclass(frozen=True)
class Part:
    """A cell of a source. kind: "exercise", "stretch", "check", "question" or "", with the name that belongs to it."""

    place: str  # "solutions/masking.py, cell 7"
    cell_type: str
    text: str  # as it stands in the notebook
    kind: str = ""
    name: str = ""
    points: int = 0


def build(name: str, source: str, points: dict[str, int], address: str = "") -> Lesson:
    """Make both notebooks of a lesson from its percent script.

    points: what each exercise is worth; it has to name the script's exercises and no other.
    address: where a notebook that is alone fetches the rest of the course, "" for nowhere.
    Raises ReleaseError.
    """
    parts = read_parts(name, source, points)
    refuse_unmatched(name, parts, points)
    cells = [nbformat.v4.new_code_cell(set_up(name, address), id=f"{name}-set-up")]
    anchor, since = name, 0  # ids count from the last cell that has a name, so that few change when a cell is added
    for part in parts:
        grade_id = f"check_{part.name}" if part.kind == "check" else part.name
        anchor, since = (f"{name}-{grade_id}", 0) if part.kind else (anchor, since + 1)
        make = nbformat.v4.new_code_cell if part.cell_type == "code" else nbformat.v4.new_markdown_cell
        cell = make(part.text, id=f"{anchor}-{since}" if since else anchor)
        if part.kind:
            cell.metadata["nbgrader"] = graded(part, grade_id)
        cells.append(cell)
    solved = nbformat.v4.new_notebook(cells=cells, metadata=copy.deepcopy(METADATA))
    solved.nbformat_minor = 5
    return Lesson(name, signed(solved), cleared(solved, f"solutions/{name}.py"))


def read_parts(name: str, source: str, points: dict[str, int]) -> list[Part]:
    parts = []
    for number, cell in enumerate(jupytext.reads(source, fmt="py:percent").cells, start=1):
        if cell.metadata.get("only") == "script":  # such as the file's command
            continue
        place, text = f"solutions/{name}.py, cell {number}", cell.source
        check = None
        if cell.cell_type == "code":
            text = lift(on_lessons(text), place)
            check = checked_exercise(text)
        kind = next((kind for kind in ("exercise", "stretch") if kind in cell.metadata), "")
        exercise, question = cell.metadata.get(kind), cell.metadata.get("question")
        if exercise:
            if not defines(text, exercise, place):
                raise ReleaseError(f"{place}: exercise {exercise} is not defined here")
            parts.append(Part(place, cell.cell_type, text, kind, exercise))
        elif question:
            worth = cell.metadata.get("points")
            if cell.cell_type != "markdown" or not isinstance(worth, int) or worth < 1:
                raise ReleaseError(f"{place}: question {question} must be a markdown cell with points=N")
            parts.append(Part(place, cell.cell_type, text, "question", question, worth))
        elif check and not any(part.kind == "stretch" and part.name == check for part in parts):
            parts.append(Part(place, cell.cell_type, text, "check", check, points.get(check, 0)))
        else:
            parts.append(Part(place, cell.cell_type, text))
    return parts


def refuse_unmatched(name: str, parts: list[Part], points: dict[str, int]) -> None:
    """Raises ReleaseError unless exercises, check cells and checks belong together.

    Solution regions may stand in exercises and questions only.
    """
    exercises: dict[str, Part] = {}
    checked: set[str] = set()
    for part in parts:
        if part.kind in ("exercise", "stretch", "question"):
            check_regions(part)
            if part.name in exercises:
                raise ReleaseError(
                    f"{part.place}: {part.name} is a duplicate, it stands in {exercises[part.name].place} too"
                )
            exercises[part.name] = part
        elif MARKER.search(part.text):
            raise ReleaseError(f"{part.place}: a solution region stands outside of an exercise")
        if part.kind == "check":
            if part.name not in exercises or part.name in checked:
                what = "a second check" if part.name in checked else "a check without an exercise above it"
                raise ReleaseError(f'{part.place}: check("{part.name}") is {what}')
            checked.add(part.name)
    for part in exercises.values():
        if part.kind == "exercise" and part.name not in points:
            raise ReleaseError(f"{part.place}: exercise {part.name} has no check in checks/test_{folder_name(name)}.py")
        if part.kind == "exercise" and part.name not in checked:
            raise ReleaseError(
                f'{part.place}: exercise {part.name} has no check cell, `check("{part.name}")`, after it'
            )
    for exercise in points:
        if exercise not in exercises:
            raise ReleaseError(
                f"checks/test_{folder_name(name)}.py: there are checks of {exercise}, but "
                f"no such exercise in solutions/{name}.py"
            )


def graded(part: Part, grade_id: str) -> dict:
    """What nbgrader has to know of a cell (its metadata schema 3)."""
    metadata = {"grade_id": grade_id, "schema_version": 3, "task": False, "locked": part.kind == "check"}
    metadata |= {"solution": part.kind != "check", "grade": part.kind in ("check", "question")}
    return metadata | ({"points": part.points} if metadata["grade"] else {})


def on_lessons(text: str) -> str:
    """`from solutions.masking import ...` as it stands in a lesson: `from lessons.masking import ...`."""
    return re.sub(rf"^(\s*(?:from|import) )solutions(?=\.(?:{'|'.join(LESSONS)})\b)", r"\1lessons", text, flags=re.M)


def lift(text: str, place: str) -> str:
    """A cell without its `if __name__ == "__main__":`, the body dedented; comments, blank lines and strings are kept.

    Raises ReleaseError if the cell holds more than the guard and its body.
    """
    if not re.search(r"^if\b.*\b__name__\b", text, re.MULTILINE):
        return text
    try:
        tree, strings = ast.parse(text), lines_in_strings(text)
    except (SyntaxError, tokenize.TokenError) as error:
        raise ReleaseError(f"{place}: this is no valid Python ({error})") from None
    lines = text.split("\n")
    guard = tree.body[0]
    if len(tree.body) > 1 or lines[guard.lineno - 1].rstrip() != GUARD or guard.orelse:
        raise ReleaseError(f"{place}: `{GUARD}` must stand on a line of its own, and hold all of its cell")
    lines[guard.lineno :] = [
        line if number in strings else line.removeprefix("    ")
        for number, line in enumerate(lines[guard.lineno :], start=guard.lineno + 1)
    ]
    lifted = "\n".join(lines[: guard.lineno - 1] + lines[guard.lineno :])
    try:
        same = ast.dump(ast.Module(guard.body, [])) == ast.dump(ast.parse(lifted))
    except SyntaxError:
        same = False
    if not same:
        raise ReleaseError(f"{place}: the demo can't be lifted out of its guard unchanged; indent it by four blanks")
    return lifted


def lines_in_strings(text: str) -> set[int]:
    """The lines, from 1, that begin within a string: their blanks are part of it."""
    inside, begun = set(), []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        if kind.endswith("STRING_START"):  # of f-strings, from Python 3.12 on
            begun.append(token.start[0])
        elif kind == "STRING" or kind.endswith("STRING_END"):
            first = begun.pop() if kind != "STRING" else token.start[0]
            inside |= set(range(first + 1, token.end[0] + 1))
    return inside


def check_regions(part: Part) -> None:
    """Refuse a cell whose regions don't open and close in turn: nbgrader would leave a solution in the stub."""
    markers = [match[1] for match in MARKER.finditer(part.text)]
    if not markers or markers != ["BEGIN", "END"] * (len(markers) // 2):
        raise ReleaseError(
            f"{part.place}: {part.name} needs `### BEGIN SOLUTION` and `### END SOLUTION` around its solution, in turn"
        )


def defines(text: str, name: str, place: str) -> bool:
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise ReleaseError(f"{place}: this is no valid Python ({error})") from None
    return any(isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name for node in tree.body)


def checked_exercise(text: str) -> str | None:
    """The name in a cell that is `check("name")` and no more."""
    match = re.fullmatch(r"""check\((["'])(\w+)\1\)""", text.strip())
    return match[2] if match else None


def cleared(solved: NotebookNode, where: str) -> NotebookNode:
    """The notebook with stubs, by the steps of nbgrader's generate_assignment that don't need its database."""
    notebook, resources = copy.deepcopy(solved), {}
    try:
        for step in (LockCells, ClearSolutions, ClearOutput, CheckCellMetadata, ComputeChecksums, CheckCellMetadata):
            notebook, resources = step().preprocess(notebook, resources)
    except (RuntimeError, ValidationError) as error:
        raise ReleaseError(f"{where}: nbgrader refuses it ({error})") from None
    for cell in notebook.cells:
        if re.search(MARKER.pattern, cell.source, re.IGNORECASE):
            raise ReleaseError(f"{where}, {cell.id}: a solution region is left in the stub")
    return signed(notebook)


def with_answers(lesson: Lesson) -> NotebookNode:
    """The released notebook for who learns alone."""
    return signed(with_model_answers(lesson.released, lesson.solved))


def signed(notebook: NotebookNode) -> NotebookNode:
    """Write into a notebook what tells later whether someone has edited it."""
    notebook.metadata["course"] = {"digest": digest(notebook)}
    return notebook


def to_bytes(notebook: NotebookNode) -> bytes:
    nbformat.validate(notebook)
    return (nbformat.writes(notebook, version=nbformat.NO_CONVERT) + "\n").encode()


# The whole course


def build_course(sources: dict[str, str], catalogue: dict[str, dict[str, int]], address: str = "") -> list[Lesson]:
    """Make all lessons. sources: {lesson: percent script}; catalogue: {lesson: {exercise: points}}.

    address: as for build. Raises ReleaseError.
    """
    lessons, owner = [], {}
    for name, source in sources.items():
        lessons.append(build(name, source, catalogue.get(name, {}), address))
        for exercise in catalogue.get(name, {}):
            if owner.setdefault(exercise, name) != name:
                raise ReleaseError(
                    f"solutions/{name}.py: exercise {exercise} stands in solutions/{owner[exercise]}.py already"
                )
    return lessons


def refuse_passing_stubs(lessons: Iterable[Lesson]) -> None:
    """Run each lesson's checks on its stubs. Raises ReleaseError if one passes: points would be given for nothing."""
    from checks.tool.exercise import checks_of
    from checks.tool.learner import run_checks

    for lesson in lessons:
        module = load_lesson(
            lesson.name, notebook_path(Path("lessons"), lesson.name), to_bytes(lesson.released), reference=True
        )
        try:
            checks = checks_of(lesson.name) + checks_of(lesson.name, stretch=True)
            passed = [verdict for verdict in run_checks(checks, module, seed=0) if verdict.status == "passed"]
        finally:
            forget(lesson.name)
        for verdict in passed:
            raise ReleaseError(f"solutions/{lesson.name}.py: the stub of {verdict.exercise} passes {verdict.check}")


def notebook_path(folder: Path, name: str) -> Path:
    return folder / folder_name(name) / f"{folder_name(name)}.ipynb"


# Writing, whole or not at all


def is_edited(path: Path) -> bool:
    """Whether the notebook at path holds someone's work: more than a release wrote, or what can't be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # old formats without cell ids
            notebook = nbformat.read(path, as_version=4)
        return not is_as_released(notebook)
    except Exception:  # whatever damage nbformat trips over
        return True


def write(files: dict[Path, bytes], force: bool = False) -> None:
    """Put files in their places, all or none.

    A notebook that someone has edited, or a script beside it, is refused; with force it is kept, as
    `<name>.backup-1.ipynb`.
    Raises ReleaseError, OSError.
    """
    changed = {path: content for path, content in files.items() if not path.is_file() or path.read_bytes() != content}
    edited = [path for path in changed if path.suffix == ".ipynb" and path.exists() and is_edited(path)]
    scripts = [script for path in changed if (script := path.with_suffix(".py")).exists()]
    if (edited or scripts) and not force:
        names = ", ".join(str(path) for path in edited + scripts)
        raise ReleaseError(
            f"someone has worked in {names}: with --force a copy is kept beside each and it is written anew"
        )
    before = {path: path.read_bytes() if path.exists() else None for path in changed}
    new = {path: path.with_name(f".{path.name}.new") for path in changed}
    made = [folder for path in changed for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    replaced = []
    try:
        for path, content in changed.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            new[path].write_bytes(content)
        for path in edited + scripts:
            shutil.copy2(path, free_backup(path))
        for path in changed:
            replaced.append(path)
            os.replace(new[path], path)
        for script in scripts:
            script.unlink()
    except BaseException:
        for path in replaced:
            if before[path] is not None:
                new[path].write_bytes(before[path])
                os.replace(new[path], path)
            else:
                path.unlink(missing_ok=True)
        for path in new.values():
            path.unlink(missing_ok=True)
        for folder in sorted(set(made), reverse=True):
            if folder.exists():
                folder.rmdir()
        raise


def free_backup(path: Path) -> Path:
    names = (path.with_name(f"{path.stem}.backup-{number}{path.suffix}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


# The command line


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m solutions.release", description="Make the lessons from the solutions."
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="write nothing; exit 1 and name each lesson that differs")
    mode.add_argument("--solved", metavar="DIR", type=Path, help="write the solved notebooks to DIR/NN_name/")
    mode.add_argument(
        "--nbgrader", metavar="DIR", type=Path, help="write nbgrader's source notebooks to DIR/source/NN_name/"
    )
    mode.add_argument("--kit", metavar=("LESSON", "DIR"), nargs=2, help="write the folder that a class gets for LESSON")
    mode.add_argument("--book", metavar="DIR", type=Path, help="write the lessons as a site to read, and as a PDF")
    parser.add_argument(
        "--repository",
        metavar="ADDRESS",
        help="where a notebook that is alone, as on Colab, fetches the course (default: the address that "
        "pyproject.toml names, or else that of the git remote origin)",
    )
    parser.add_argument(
        "--no-answers", action="store_true", help="with --kit: without the folded model answers to the questions"
    )
    parser.add_argument("--force", action="store_true", help="replace edited notebooks too, and keep a copy of each")
    options = parser.parse_args(arguments)
    if options.no_answers and not options.kit:
        parser.error("--no-answers goes with --kit (nbgrader's notebooks never hold them)")
    try:
        return release(options)
    except (ReleaseError, AddressError, BookError, KitError, LessonError) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"{error.filename or 'a file'} can't be read or written: {error.strerror or error}", file=sys.stderr)
    return 1


def release(options: argparse.Namespace) -> int:
    from checks.tool.exercise import catalogue

    address = options.repository and checked(options.repository)
    # a check must come out the same in every clone, whatever its origin
    address = address or recorded(ROOT) or ("" if options.check else of_origin(ROOT))
    sources = {name: (ROOT / "solutions" / f"{name}.py").read_text(encoding="utf-8") for name in LESSONS}
    lessons = build_course(sources, catalogue(), address)
    refuse_passing_stubs(lessons)
    if options.kit:
        name, folder = options.kit
        files = {
            lesson.name: to_bytes(lesson.released if options.no_answers else with_answers(lesson)) for lesson in lessons
        }
        write_kit(files, name, Path(folder))
        print(f"{folder}: the kit of lesson {name}")
        return 0
    if options.book:
        solved, released = ({each.name: getattr(each, kind) for each in lessons} for kind in ("solved", "released"))
        write_book(solved, released, options.book)
        print(f"{options.book}: open {options.book / 'index.html'}, or {options.book / 'book.pdf'}")
        return 0
    if options.solved or options.nbgrader:
        folder = options.solved or options.nbgrader / "source"
        files = {notebook_path(folder, lesson.name): to_bytes(lesson.solved) for lesson in lessons}
    else:
        folder = ROOT / "lessons"
        files = {notebook_path(folder, lesson.name): to_bytes(with_answers(lesson)) for lesson in lessons}
        files |= written_down(ROOT, address)
    if options.check:
        differ = [path for path, content in files.items() if not path.is_file() or path.read_bytes() != content]
        for path in differ:
            print(
                f"{path.relative_to(ROOT)} is not what solutions/ gives: run python -m solutions.release",
                file=sys.stderr,
            )
        return 1 if differ else 0
    write(files, options.force)
    print(f"{len(lessons)} notebooks are up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
