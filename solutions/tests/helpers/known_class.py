"""A class whose points are known: right, partial, wrong, broken and hostile submissions, one of each kind."""

from checks.tool.exercise import catalogue, checks_of
from checks.tool.learner import run_checks
from lessons import folder_name
from solutions.misconceptions import EDIT, answers, exercises, load, stub
from solutions.tests.helpers.notebooks import before_solution, cells_of, notebook

CATALOGUE = catalogue()
ALONE = {"patch_embedding": "unpatchify", "masking": "sample_masks", "teacher": "momentum_at"}  # no other one uses it
WHOLE = {lesson: [answer for answer in answers(lesson) if not EDIT.search(answer.body)] for lesson in ALONE}


def full(lesson: str, **other: int) -> dict[str, int]:
    """All points, but for the exercises named."""
    return CATALOGUE[lesson] | other


def counted(lesson: str, exercise: str, cell: str) -> dict[str, int] | None:
    """The points of the reference with another cell, counted in this process, without a grader.

    None if they depend on the random numbers, or if the cell costs other exercises points too.
    """
    counts = []
    for seed in (7, 8, 9):
        points = dict.fromkeys(CATALOGUE[lesson], 0)
        for verdict in run_checks(checks_of(lesson), load(lesson, exercise, cell), seed):
            points[verdict.exercise] += verdict.earned
        counts.append(points)
    alone = full(lesson, **{exercise: counts[0][exercise]})
    return alone if counts[0] == counts[1] == counts[2] == alone else None


def submissions_of(lesson: str) -> dict[str, tuple[str, dict[str, int], list[tuple[str, bytes]]]]:
    """{student: (status, points, files)}: one of each kind, and wrong answers up to 22 in all."""
    made = of_each_kind(lesson)
    for answer in WHOLE[lesson]:
        if answer.phrase and len(made) < 22 and (points := counted(lesson, answer.exercise, answer.body)):
            assert points[answer.exercise] < CATALOGUE[lesson][answer.exercise]
            content = notebook(cells_of(lesson, **{answer.exercise: answer.body}))
            made[f"wrong {len(made)}"] = ("graded", points, [(f"{folder_name(lesson)}.ipynb", content)])
    return made


def of_each_kind(lesson: str) -> dict[str, tuple[str, dict[str, int], list[tuple[str, bytes]]]]:
    name, alone = folder_name(lesson), ALONE[lesson]
    cells, nothing = cells_of(lesson), dict.fromkeys(CATALOGUE[lesson], 0)
    right, without = notebook(cells), full(lesson, **{alone: 0})
    cell = exercises(lesson)[alone]
    stubs = {name: stub(text) for name, text in exercises(lesson).items()}
    others: dict[str, str] = {}
    for answer in WHOLE[lesson]:
        if answer.phrase is None:
            others.setdefault(answer.exercise, answer.body)

    def first(statement: str) -> list[tuple[str, bytes]]:
        """A statement before the solution of the exercise that stands alone."""
        return only(notebook(cells_of(lesson, **{alone: before_solution(cell, statement)})))

    def only(content: bytes, file: str = f"{name}.ipynb") -> list[tuple[str, bytes]]:
        return [(file, content)]

    edited = notebook(["check = print", *cells_of(lesson, **{alone: stub(cell)}), "100.0"])
    made = {
        "right": ("graded", full(lesson), only(right)),
        "right, but other": ("graded", full(lesson), only(notebook(cells_of(lesson, **others)))),
        "script": ("graded", full(lesson), only("\n\n".join(cells).encode(), f"{name}.py")),
        "o'neil, ann": ("graded", full(lesson), only(right, 'my "best" try.ipynb')),
        "twice": ("graded", full(lesson), only(notebook([stub(cell), *cells]))),
        "loud": ("graded", full(lesson), first("import os; print('x' * 10**6); os.write(2, b'warning')")),
        "checks edited": ("graded", without, only(edited)),
        "all todo": ("todo", nothing, only(notebook(cells_of(lesson, **stubs)))),
        "syntax": ("graded", without, only(notebook(cells_of(lesson, **{alone: f"{cell}\n    )"})))),
        "leaves": ("graded", without, first("raise SystemExit(0)")),
        "interrupts": ("graded", without, first("raise KeyboardInterrupt")),
        "dies": ("crashed", without, first("import os; os._exit(0)")),
        "cheats": ("flagged", without, first("torch.allclose = lambda *a, **k: True")),
        "cut off": ("unreadable", nothing, only(right[: len(right) // 2])),
        "latin": ("unreadable", nothing, only("é".encode("latin-1") + right)),
        "blank": ("unreadable", nothing, only(b"")),
        "several": ("missing", nothing, [("a.ipynb", right), ("b.ipynb", right)]),
        "empty": ("missing", nothing, []),
    }
    if lesson == "patch_embedding":  # one is enough: it takes its time
        made["hangs"] = ("timeout", without, first("import time; time.sleep(999)"))
    return made
