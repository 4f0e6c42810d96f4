"""For every exercise, wrong answers that the checks must catch and right ones that they must accept: one file a lesson.

A file is a percent script that is read, never imported. An answer is a cell:

    # %% wrong patchify: column-major patches | run down the columns
    # - permute(0, 2, 4, 1, 3, 5)
    # + permute(0, 4, 2, 1, 3, 5)

    # %% right patchify: with F.unfold
    def patchify(images, patch_size):
        ...

What stands after `|` must be in the message of a failing check. What may follow after `!` must be in none, because it
is false of this answer. The body replaces the exercise's cell in the reference, or edits it: `# -` lines are text of
that cell, `# +` lines replace it.
"""

from __future__ import annotations

import linecache
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

SOLUTIONS = Path(__file__).parent.parent
CELL = re.compile(r"^# %%", re.MULTILINE)
EXERCISE = re.compile(r' exercise="(\w+)"\n')
STRETCH = re.compile(r' stretch="(\w+)"\n')
HEADER = re.compile(r" (wrong|right) (\w+): ([^|\n]+?)(?: \| (.+?)(?: ! (.+))?)?\n")
EDIT = re.compile(r"((?:^# - .*\n)+)((?:^# \+.*\n?)*)", re.MULTILINE)
SOLUTION = re.compile(r"### BEGIN SOLUTION.*?### END SOLUTION", re.DOTALL)


@dataclass(frozen=True)
class Answer:
    lesson: str
    exercise: str
    title: str
    phrase: str | None  # what a failing check must say; None for a right answer
    false: str  # what no check may say, "" if nothing is known
    body: str

    def load(self) -> ModuleType:
        """The lesson's module with this answer in the place of the reference's."""
        edits = EDIT.findall(self.body)
        if not edits:
            return load(self.lesson, self.exercise, self.body)
        cell = cell_of(self.lesson, self.exercise)
        for old, new in edits:
            old, new = (re.sub(r"^# [-+] ?", "", text, flags=re.MULTILINE).rstrip("\n") for text in (old, new))
            if cell.count(old) != 1:
                raise ValueError(f"{self.lesson}, {self.title}: {old!r} must stand once in {self.exercise}'s cell")
            cell = cell.replace(old, new)
        return load(self.lesson, self.exercise, cell)


def answers(lesson: str, stretch: bool = False) -> list[Answer]:
    """All answers to a lesson's exercises, or to its stretch exercises, in the order of its file; none if there is no
    file yet.
    """
    path = SOLUTIONS / "misconceptions" / f"{lesson}.py"
    cells = CELL.split(path.read_text(encoding="utf-8"))[1:] if path.exists() else []
    found = []
    for cell in cells:
        header = HEADER.match(cell)
        if header is None or (header[1] == "wrong") != bool(header[4]):
            raise ValueError(f"{lesson}: not the header of an answer: {cell.splitlines()[0]!r}")
        if header[2] not in exercises(lesson, not stretch):
            found.append(Answer(lesson, header[2], header[3], header[4], header[5] or "", cell[header.end() :]))
    return found


def exercises(lesson: str, stretch: bool = False) -> dict[str, str]:
    """The cells of a lesson's exercises, or of its stretch exercises, in the reference: {exercise: code}."""
    cells = CELL.split((SOLUTIONS / f"{lesson}.py").read_text(encoding="utf-8"))
    header = STRETCH if stretch else EXERCISE
    return {match[1]: cell[match.end() :] for cell in cells if (match := header.match(cell))}


def cell_of(lesson: str, exercise: str) -> str:
    """The cell of an exercise or of a stretch exercise in the reference."""
    return (exercises(lesson) | exercises(lesson, stretch=True))[exercise]


def stub(cell: str) -> str:
    """An exercise's cell as the learner finds it."""
    return SOLUTION.sub("raise NotImplementedError()", cell)


def load(lesson: str, exercise: str, code: str) -> ModuleType:
    """The reference of a lesson with other code in one exercise's cell."""
    source = (SOLUTIONS / f"{lesson}.py").read_text(encoding="utf-8").replace(cell_of(lesson, exercise), code + "\n")
    module = ModuleType(f"answer_{lesson}")
    filename = f"<{lesson}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    exec(compile(source, filename, "exec", dont_inherit=True), vars(module))
    return module
