"""The rooms of the course: what a grade depends on, what a child can reach, who imports whom, and how long things are.

checks/grader/judging/manifest.py decides by folder. Here a file is planted in each folder of a copy of the course.
"""

import ast
import graphlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from checks.grader.judging import manifest
from lessons import LESSONS
from solutions.tests.helpers.course_copy import copy_course
from solutions.tests.helpers.imports import MODULES, ROOT, files, imports, imports_of, is_within, module_name

ALL = set(LESSONS)
LATER = {name: set(LESSONS[number + 1 :]) for number, name in enumerate(LESSONS)}

# A new file, and the lessons whose grades depend on it
PLANTED = {
    "checks/more.py": set(),
    "checks/tool/more.py": ALL,
    "checks/calls/shared.py": ALL,
    "checks/calls/teacher_more.py": {"teacher"},
    "checks/calls/training_more.py": {"training"},
    "checks/expected/shared.py": ALL,
    "checks/expected/teacher_more.py": {"teacher"},
    "checks/expected/masking_more.py": {"masking"},
    "checks/grader/more.py": set(),
    "checks/grader/inside/more.py": ALL,
    "checks/grader/judging/more.py": ALL,
    "checks/grader/reports/more.py": set(),
    "checks/quizzes/more.py": set(),
    "checks/stretch/more.py": set(),
    "lessons/more.py": set(),
    "lessons/reading/more.py": ALL,
    "solutions/more.py": set(),
    "solutions/classroom/more.py": set(),
    "solutions/experiments/more.py": set(),
    "solutions/misconceptions/more.py": set(),
    "solutions/published/more.py": set(),
    "solutions/tests/more.py": set(),
    "solutions/tests/helpers/more.py": set(),
    "solutions/tests/redteam/more.py": set(),
    "solutions/trainer/more.py": set(),
}
# A file that is there, and the lessons whose grades depend on what is in it
CHANGED = {
    "checks/__init__.py": ALL,
    "checks/conftest.py": set(),
    "checks/grade.py": set(),
    "checks/test_04_teacher.py": {"teacher"},
    "checks/test_05_predictor.py": {"predictor"},
    "checks/tool/expect.py": ALL,
    "checks/tool/progress.py": ALL,
    "checks/calls/__init__.py": ALL,
    "checks/calls/teacher.py": {"teacher"},
    "checks/expected/teacher.py": {"teacher"},
    "checks/expected/training_schedules.py": {"training"},
    "checks/grader/__init__.py": ALL,
    "checks/grader/policy.py": set(),
    "checks/grader/inside/child.py": ALL,
    "checks/grader/judging/judge.py": ALL,
    "checks/grader/judging/results.py": ALL,
    "checks/grader/judging/limits.py": ALL,
    "checks/grader/limits.py": set(),
    "checks/grader/settled.py": set(),
    "checks/grader/reports/report.py": set(),
    "lessons/__init__.py": ALL,
    "lessons/figures.py": set(),
    "lessons/reading/cells.py": ALL,
    "solutions/__init__.py": set(),
    "solutions/masking.py": LATER["masking"],
    "solutions/teacher.py": LATER["teacher"],
    "solutions/training.py": LATER["training"],
    "solutions/diagnostics.py": LATER["diagnostics"],
    "solutions/pretrained.py": set(),
    "solutions/train.py": set(),
    "solutions/release.py": set(),
}


# What a grade depends on


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Path:
    return copy_course(tmp_path_factory.mktemp("rooms") / "course")


def keys() -> dict[str, str]:
    return {lesson: manifest.checks_key(lesson) for lesson in LESSONS}


@contextmanager
def planted(path: Path, text: str) -> Iterator[None]:
    """The file with more text at its end, or made, for as long as this lasts."""
    before = path.read_bytes() if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)
    yield
    if before is None:
        path.unlink()
    else:
        path.write_bytes(before)


@pytest.mark.parametrize("name", [*PLANTED, *CHANGED])
def test_a_grade_depends_on_a_file_as_its_folder_says(name, course, monkeypatch):
    monkeypatch.setattr(manifest, "ROOT", course)
    before = keys()
    with planted(course / name, "# planted\n"):
        after = keys()
    assert {lesson for lesson in LESSONS if after[lesson] != before[lesson]} == (PLANTED | CHANGED)[name]
    assert keys() == before


def test_a_copy_of_the_course_has_the_keys_of_the_course(course, monkeypatch):
    here = keys()
    monkeypatch.setattr(manifest, "ROOT", course)
    assert keys() == here and len(set(here.values())) == len(LESSONS)


def test_a_file_is_planted_in_every_folder():
    """So that a new room has to say what it is."""
    folders = {path.parent.relative_to(ROOT).as_posix() for path in files()}
    assert folders == {str(Path(name).parent) for name in PLANTED}


# What a child can reach: it reads the files that every child can read, imports those and what is sent, and nothing else

READ, SENT, NEVER = (True, True), (False, True), (False, False)  # whether it can open a file, and import it
EVERY_CHILD = {
    "checks/more.py": NEVER,
    "checks/conftest.py": NEVER,
    "checks/grade.py": NEVER,
    "checks/test_01_patch_embedding.py": NEVER,
    "checks/test_04_teacher.py": NEVER,
    "checks/__init__.py": READ,
    "checks/tool/more.py": READ,
    "checks/tool/expect.py": READ,
    "checks/tool/progress.py": READ,
    "checks/calls/__init__.py": SENT,
    "checks/calls/shared.py": SENT,
    "checks/calls/masking.py": NEVER,
    "checks/calls/training_more.py": NEVER,
    "checks/expected/__init__.py": NEVER,
    "checks/expected/shared.py": NEVER,
    "checks/expected/teacher_more.py": NEVER,
    "checks/expected/patch_embedding.py": NEVER,
    "checks/expected/masking.py": NEVER,
    "checks/grader/__init__.py": READ,
    "checks/grader/more.py": NEVER,
    "checks/grader/settled.py": NEVER,
    "checks/grader/record.py": NEVER,
    "checks/grader/inside/more.py": READ,
    "checks/grader/inside/wire.py": READ,
    "checks/grader/judging/__init__.py": NEVER,
    "checks/grader/judging/more.py": NEVER,
    "checks/grader/judging/judge.py": NEVER,
    "checks/grader/judging/manifest.py": NEVER,
    "checks/grader/reports/more.py": NEVER,
    "checks/grader/reports/outputs.py": NEVER,
    "checks/quizzes/more.py": NEVER,
    "checks/stretch/more.py": NEVER,
    "lessons/__init__.py": READ,
    "lessons/more.py": NEVER,
    "lessons/figures.py": NEVER,
    "lessons/reading/more.py": READ,
    "lessons/reading/cells.py": READ,
    "solutions/more.py": NEVER,
    "solutions/teacher.py": NEVER,
    "solutions/predictor.py": NEVER,
    "solutions/train.py": NEVER,
    "solutions/release.py": NEVER,
    "solutions/trainer/recipe.py": NEVER,
    "solutions/misconceptions/__init__.py": NEVER,
    "solutions/tests/more.py": NEVER,
}
CHILDREN = {
    "patch_embedding": EVERY_CHILD
    | {
        "checks/calls/patch_embedding.py": SENT,
        "checks/calls/teacher.py": NEVER,
        "checks/calls/teacher_more.py": NEVER,
        "solutions/patch_embedding.py": NEVER,
        "solutions/masking.py": NEVER,
    },
    "teacher": EVERY_CHILD
    | {
        "checks/calls/patch_embedding.py": NEVER,
        "checks/calls/teacher.py": SENT,
        "checks/calls/teacher_more.py": SENT,
        "solutions/patch_embedding.py": SENT,
        "solutions/masking.py": SENT,
    },
}
FLAGGED = ("checks/calls/", "checks/expected/", "checks/test_", "checks/grade", "solutions/")

# Opens a file in every place where it could lie, and imports it by its name
SUBMISSION = """
import importlib
from pathlib import Path


def opened(path):
    try:
        return len(Path(path).read_bytes()) >= 0
    except OSError:
        return False


def imported(name):
    try:
        return importlib.import_module(name) is not None
    except ImportError:
        return False


def look(name):
    module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return [opened(f"{place}/{name}") for place in PLACES], imported(module)


def patchify(name, nothing):
    return look(name)


def momentum_at(name, nothing):
    return look(name)
"""
# Run in a copy of the course: each file is looked for in a child of its own
PROGRAM = """
import importlib, json, sys
from checks.grader.judging import sandbox
from checks.grader.judging.links import TimeLeft
from checks.grader.judging.limits import Limits

names, submission, paths = json.load(sys.stdin)
paths = sandbox.python_paths() | set(paths)
sandbox.python_paths = lambda: paths
box = sandbox.Sandbox("bubblewrap", Limits())
zygote = box.zygote()
found = []
for lesson, name in names:
    inputs = {"patch_embedding": (name, 0), "teacher": ([[name, 0]], {})}[lesson]
    calls = importlib.import_module(f"checks.calls.{lesson}")
    function = calls.patchify if lesson == "patch_embedding" else calls.momenta
    with zygote.child(lesson, "a.py", submission.encode(), TimeLeft(60)) as child:
        outcome = child.call(function, inputs, 1)
        child.leave()
    assert not outcome.error, outcome
    found.append([outcome.value if lesson == "patch_embedding" else outcome.value[0], child.flags])
zygote.close()
box.close()
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module", params=["apart from Python", "in a folder of Python's"])
def seen(request, tmp_path_factory) -> dict[tuple[str, str], tuple[list[bool], bool, list[str]]]:
    """What children of a course with planted files can open and import, and what they are flagged for."""
    course = copy_course(tmp_path_factory.mktemp("planted") / "course")
    for name in (*PLANTED, "beside.txt"):
        (course / name).parent.mkdir(parents=True, exist_ok=True)
        (course / name).write_text("PLANTED = True\n")
    paths = [str(course)] if request.param.startswith("in") else []
    places = ["/course", str(course), str(ROOT)]
    asked = [(lesson, name) for lesson, names in CHILDREN.items() for name in (*names, "beside.txt")]
    given = json.dumps([asked, f"PLACES = {places}\n{SUBMISSION}", paths])
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=course, input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {key: (*look, flags) for key, (look, flags) in zip(asked, json.loads(done.stdout), strict=True)}
    # or a file of the course could not be seen in any case
    assert any(found["teacher", "beside.txt"][0]) == bool(paths)
    return found


@pytest.mark.parametrize("lesson", CHILDREN)
def test_a_child_reaches_a_file_as_its_folder_says(lesson, seen):
    got = {name: (any(seen[lesson, name][0]), seen[lesson, name][1]) for name in CHILDREN[lesson]}
    assert got == CHILDREN[lesson]


@pytest.mark.parametrize("lesson", CHILDREN)
def test_who_asks_for_another_room_is_flagged(lesson, seen):
    for name, reach in CHILDREN[lesson].items():
        flags = seen[lesson, name][2]
        # of inside/ all is loaded before a submission comes: who imports more of it asks for something strange
        asked = name.startswith(FLAGGED) and (reach == NEVER or name == "checks/grader/inside/more.py")
        assert len(flags) == asked, (name, flags)
        assert all(flag.startswith("it imports ") and flag.endswith("which a lesson may not use") for flag in flags)


# Who imports whom


def test_imports_are_seen_wherever_they_stand():
    source = """
import os, checks.tool.expect as e
from checks.calls import masking as calls
from checks.grader.judging.links import TimeLeft

def later():
    from solutions import train
"""
    names = {"os", "checks.tool.expect", "checks.calls.masking", "checks.grader.judging.links", "solutions.train"}
    assert imports_of(source) == names
    assert {"checks.grade", "checks.test_01_patch_embedding", "lessons.reading.cells"} <= set(MODULES)


def test_no_modules_import_each_other_in_a_circle():
    graph = {name: {other for other in found if other in MODULES} for name, found in imports().items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle
    assert sum(map(len, graph.values())) > len(MODULES)


JUDGES = tuple(f"checks.grader.judging.{name}" for name in ("cgroup", "judge", "links", "manifest", "sandbox"))
PAGES = tuple(name for name in MODULES if name.startswith("checks.test_"))


@pytest.mark.parametrize(
    ("rooms", "never"),
    [
        (("checks",), ("solutions",)),
        (("lessons",), ("checks", "solutions")),
        (("checks.tool", "checks.calls", "checks.expected", *PAGES), ("checks.grader", "checks.grade")),
        (("checks.tool",), ("checks.calls", "checks.expected", *PAGES)),
        (("checks.expected", "checks.calls"), PAGES),
        (("checks.grader.reports",), (*JUDGES, "checks.grader.inside")),
        (("checks.grader",), ("checks.grade", "checks.conftest")),
        (("solutions.tests",), tuple(name for name in MODULES if name.startswith("solutions.tests.test_"))),
    ],
)
def test_a_room_never_imports_another(rooms, never):
    found = {name: others for name, others in imports().items() if is_within(name, *rooms)}
    assert all(any(is_within(name, room) for name in found) for room in rooms)
    assert {(name, other) for name, others in found.items() for other in others if is_within(other, *never)} == set()


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("checks.tool", ("checks.tool",)),
        ("checks.calls", ("checks.tool",)),
        ("checks.expected", ("checks.tool", "checks.calls", "checks.expected")),
        ("checks.grader.inside", ("checks.tool", "checks.grader.inside")),
        (
            "checks.grader.judging",
            ("checks.tool", *(f"checks.grader.{room}" for room in ("inside", "judging", "limits", "results"))),
        ),
    ],
)
def test_of_checks_a_room_imports_these_alone(room, allowed):
    found = {name: {o for o in others if is_within(o, "checks")} for name, others in imports().items()}
    found = {name: others for name, others in found.items() if is_within(name, room)}
    assert set.union(*found.values())
    assert {
        name: bad for name, others in found.items() if (bad := {o for o in others if not is_within(o, *allowed)})
    } == {}


@pytest.mark.parametrize("lesson", LESSONS)
def test_what_a_child_holds_imports_nothing_else_of_the_course(lesson):
    held = {module_name(ROOT / name) for name in (*manifest.readable(), *manifest.sent(lesson))}
    # a lesson's reference draws its figures and calls `check` in demos, which a child never runs
    held |= {"lessons.figures"} | ({"solutions"} if lesson != LESSONS[0] else set())
    graph = imports()
    assert {(name, other) for name in held for other in graph[name] & set(MODULES) - held} == set()


# How long things are

LONGEST, LONGEST_PAGE = 60, 400  # lines
REASON = "Long because"  # what the docstring of a longer function says


def long_functions(source: str) -> list[str]:
    """The functions of more than LONGEST lines whose docstring gives no reason, each with its line."""
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [node for node in found if (node.end_lineno or 0) - node.lineno + 1 > LONGEST]
    return [f"{node.name}, line {node.lineno}" for node in long if REASON not in (ast.get_docstring(node) or "")]


def test_a_long_function_is_found_and_a_reason_is_taken():
    body = "        pass\n" * (LONGEST - 1)
    assert long_functions(f"def short():\n{body}") == []
    assert long_functions(f"class A:\n    def long(self):\n{body}        pass\n") == ["long, line 2"]
    assert long_functions(f'async def long():\n        """Says more."""\n{body}') == ["long, line 1"]
    assert long_functions(f'def long():\n        """Says more. Long because it is a list."""\n{body}') == []


def test_no_function_is_long_without_a_reason():
    found = {str(path.relative_to(ROOT)): long_functions(path.read_text(encoding="utf-8")) for path in files()}
    assert {name: functions for name, functions in found.items() if functions} == {}


def test_no_check_page_is_long():
    lengths = {name: len(MODULES[name].read_text(encoding="utf-8").splitlines()) for name in PAGES}
    assert len(lengths) == len(LESSONS)
    assert {name: length for name, length in lengths.items() if length > LONGEST_PAGE} == {}
