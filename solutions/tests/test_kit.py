"""`python -m solutions.release --kit`: what a class gets for a lesson, and never gets, and that it grades by itself."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lessons
from checks.tool.exercise import catalogue
from lessons import LESSONS, folder_name
from solutions import release
from solutions.classroom.kit import KitError, write_kit
from solutions.release import build, to_bytes
from solutions.tests.helpers.boxes_lesson import NAME, POINTS, SOURCE, edit, solve
from solutions.tests.helpers.course_lessons import lesson_of_the_course

CALLS = '''"""Lesson 1."""


def double(lesson, x):
    return lesson.double(x)


def area(lesson, side):
    return lesson.Box(side).area()
'''
CHECKS = '''"""Lesson 1."""
from checks.calls import patch_embedding as calls
from checks.expected import patch_embedding as oracle
from checks.tool.exercise import exercise
from checks.tool.expect import expect_equal


@exercise("double", points=3)
def test_double(learner):
    """Twice."""
    expect_equal(learner(calls.double, 4), oracle.DOUBLE, called=learner.called)


@exercise("Box", points=2)
def test_box_area(learner):
    """Side squared."""
    expect_equal(learner(calls.area, 3), oracle.AREA, called=learner.called)
'''
ALONE = (
    "import runpy, sys",
    "sys.meta_path[:] = [f for f in sys.meta_path if not getattr(f, '__module__', '').startswith('__editable__')]",
)
NO_GRADER = "assert not importlib.util.find_spec('checks.grader')"
PYTEST = ("sys.argv = 'pytest checks -p no:cacheprovider'.split()", "runpy.run_module('pytest', run_name='__main__')")
# the course's own, as they are: what a kit grades with
REAL = ("lessons/__init__.py", "lessons/reading", "checks/__init__.py", "checks/conftest.py", "checks/tool")
MADE = {
    "solutions/classroom/KIT.md": "read me",
    "requirements.txt": "-e .",
    "lessons/figures.py": "",
    "lessons/01_patch_embedding/01_patch_embedding.ipynb": "someone's work",
    "checks/test_01_patch_embedding.py": CHECKS,
    "checks/test_02_vision_transformer.py": CHECKS,
    "checks/test_03_masking.py": CHECKS,
    "checks/calls/__init__.py": "",
    "checks/calls/shared.py": "",
    "checks/calls/patch_embedding.py": CALLS,
    "checks/calls/vision_transformer.py": "",
    "checks/calls/masking.py": "",
    "checks/expected/__init__.py": "",
    "checks/expected/patch_embedding.py": "DOUBLE, AREA = 8, 9",
    "checks/expected/vision_transformer.py": "",
    "checks/expected/vision_transformer_block.py": "",
    "checks/expected/masking.py": "",
    "checks/expected/masking_blocks.py": "",
    "checks/grade.py": "",
    "checks/grader/__init__.py": "",
    "checks/grader/README.md": "",
    "checks/grader/judging/judge.py": "",
    "checks/grader/reports/templates/report.html.jinja": "",
    "checks/__pycache__/old.pyc": "",
    "checks/calls/__pycache__/old.pyc": "",
    "data/__init__.py": "",
    "data/photos/cat.jpg": "",
    "data/cifar10/big.bin": "",
    "solutions/__init__.py": "",
    "solutions/patch_embedding.py": "from solutions.helper import x",
    "solutions/helper.py": "import os",
    "solutions/tools.py": "saw = 1",
    "solutions/vision_transformer.py": "",
    "solutions/masking.py": "",
    "solutions/misconceptions/patch_embedding.py": "",
    "solutions/tests/test_x.py": "",
}


@pytest.fixture
def root(tmp_path):
    """A course of three made-up lessons, whose reading and checking tool are the real ones."""
    real, root = Path(lessons.__file__).parents[1], tmp_path / "course"
    for name, text in MADE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for name in REAL:
        if (real / name).is_dir():
            shutil.copytree(real / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(real / name, root / name)
    shutil.copy(real / "pyproject.toml", root)
    return root


def kit_notebooks():
    plain = SOURCE.replace("from solutions.masking import Masks\n", "")
    return {name: to_bytes(build(name, plain, POINTS).released) for name in LESSONS[:3]}


def held(kit: Path) -> set[str]:
    return {path.relative_to(kit).as_posix() for path in kit.rglob("*") if path.is_file()}


def python(kit: Path, *lines: str) -> subprocess.CompletedProcess:
    """Run Python in a kit that has its own modules and no other: an editable install would fill its gaps."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST", "IJEPA"))}
    environment |= {"PYTHONPATH": str(kit), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", "\n".join([*ALONE, *lines])], cwd=kit, env=environment, capture_output=True, text=True
    )


def test_a_kit_holds_no_more_than_its_lesson_needs(root, tmp_path):
    kit = tmp_path / "kit"
    write_kit(kit_notebooks(), "vision_transformer", kit, root)
    found = held(kit)
    assert {name for name in found if not name.startswith(("checks/", "lessons/reading/"))} == {
        "README.md",
        "requirements.txt",
        "pyproject.toml",
        "lessons/__init__.py",
        "lessons/figures.py",
        "lessons/01_patch_embedding/01_patch_embedding.ipynb",
        "lessons/02_vision_transformer/02_vision_transformer.ipynb",
        "data/__init__.py",
        "data/photos/cat.jpg",
        "solutions/__init__.py",
        "solutions/patch_embedding.py",
        "solutions/helper.py",
        "solutions/tools.py",
    }
    assert {name for name in found if name.startswith("checks/") and not name.startswith("checks/tool/")} == {
        "checks/__init__.py",
        "checks/conftest.py",
        "checks/test_01_patch_embedding.py",
        "checks/test_02_vision_transformer.py",
        "checks/calls/__init__.py",
        "checks/calls/shared.py",
        "checks/calls/patch_embedding.py",
        "checks/calls/vision_transformer.py",
        "checks/expected/__init__.py",
        "checks/expected/patch_embedding.py",
        "checks/expected/vision_transformer.py",
        "checks/expected/vision_transformer_block.py",
    }
    for folder in ("lessons/reading", "checks/tool"):
        real = {path.relative_to(root).as_posix() for path in (root / folder).glob("*.py")}
        assert len(real) > 3 and {name for name in found if name.startswith(f"{folder}/")} == real
    assert "NotImplementedError" in (kit / "lessons/01_patch_embedding/01_patch_embedding.ipynb").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["course", "kit"]


@pytest.fixture(scope="module")
def real_notebooks():
    return {name: to_bytes(lesson_of_the_course(name).released) for name in LESSONS}


@pytest.mark.parametrize("number", range(len(LESSONS)), ids=LESSONS)
def test_the_kit_of_a_lesson_holds_nothing_of_later_ones_and_no_grader(real_notebooks, number, tmp_path):
    kit = tmp_path / "kit"
    write_kit(real_notebooks, LESSONS[number], kit)
    helpers = {f"published/{name}" for name in ("__init__", "assemble", "files", "foreign", "shipped")}
    reference = {
        path.relative_to(kit / "solutions").with_suffix("").as_posix() for path in kit.glob("solutions/**/*.py")
    }
    assert reference == {"__init__", *LESSONS[:number]} | (helpers if LESSONS[number] == "pretrained" else set())
    given, later = LESSONS[: number + 1], LESSONS[number + 1 :]
    found = held(kit)
    assert not [name for name in found if Path(name).name.startswith(later)]
    assert not [name for name in found if name == "checks/grade.py" or name.startswith("checks/grader")]
    assert {name for name in found if "/test_" in name} == {
        f"checks/{room}test_{folder_name(name)}.py" for name in given for room in ("", "stretch/")
    }
    assert {name for name in found if name.endswith(".ipynb")} == {
        f"lessons/{folder_name(name)}/{folder_name(name)}.ipynb" for name in given
    }
    for folder in ("checks/calls", "checks/expected", "checks/quizzes"):
        ours = {path.name for path in (release.ROOT / folder).glob("*.py")}
        assert {path.name for path in (kit / folder).iterdir()} == {name for name in ours if not name.startswith(later)}
        assert {f"{name}.py" for name in given} <= ours
    readme = (kit / "README.md").read_text()
    links = [link for link in re.findall(r"\]\(([^)]+)\)", readme) if "://" not in link]
    assert links and all((kit / link).exists() for link in links)


@pytest.mark.parametrize("number", range(len(LESSONS)), ids=LESSONS)
def test_pytest_checks_runs_in_a_kit_that_stands_alone(real_notebooks, number, tmp_path):
    kit = tmp_path / "a class" / "kit"
    write_kit(real_notebooks, LESSONS[number], kit)
    done = python(kit, "import importlib.util, checks.tool.learner", NO_GRADER, *PYTEST)
    assert done.returncode == 1, done.stdout + done.stderr
    maps = [f"{folder_name(name):<24} [{'.' * 24}] 0/{len(catalogue()[name])}" for name in LESSONS[: number + 1]]
    assert re.findall(r"^\d\d_\w+ +\[.*", done.stdout, re.MULTILINE) == maps
    checks = sum(text.count("\n@exercise(") for text in pages(kit))
    assert f"= {checks} todo in " in done.stdout, done.stdout  # every check ran to the stub, and none was broken
    first = next(iter(catalogue()[LESSONS[0]]))
    assert re.search(rf"^next: {first}, in lessons/01_\w+/01_\w+\.ipynb, cell \d+$", done.stdout, re.MULTILINE)


def pages(kit: Path) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in (kit / "checks").glob("test_*.py")]


def test_a_kit_that_needs_what_it_withholds_is_refused(root, tmp_path):
    (root / "solutions/tools.py").write_text("from solutions.masking import sample_masks\nsaw = 1")
    with pytest.raises(KitError, match=r"would need solutions/masking.py, which is still to be solved"):
        write_kit(kit_notebooks(), "masking", tmp_path / "kit", root)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["course"]


def test_a_kit_goes_into_a_new_folder_only(root, tmp_path):
    kit = tmp_path / "kit"
    kit.mkdir()
    write_kit(kit_notebooks(), NAME, kit, root)
    with pytest.raises(KitError, match="is not an empty folder"):
        write_kit(kit_notebooks(), NAME, kit, root)
    with pytest.raises(lessons.LessonError, match="no lesson 'maskng'"):
        write_kit(kit_notebooks(), "maskng", tmp_path / "other", root)


def test_a_kit_grades_by_itself(root, tmp_path):
    kit = tmp_path / "kit"
    write_kit(kit_notebooks(), NAME, kit, root)
    edit(kit / "lessons/01_patch_embedding/01_patch_embedding.ipynb", solve)
    done = python(kit, *PYTEST)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1/2" in done.stdout and "next: Box" in done.stdout


def test_the_command_says_a_kit_s_faults_in_a_sentence(tmp_path, capsys):
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "work").write_text("someone's")
    assert release.main(["--kit", "patch_embedding", str(tmp_path / "kit")]) == 1
    assert capsys.readouterr().err == f"{tmp_path / 'kit'} is not an empty folder: name a new one\n"
    assert release.main(["--kit", "patch_embedding", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new" / "lessons" / "01_patch_embedding" / "01_patch_embedding.ipynb").exists()
    assert not (tmp_path / "new" / "checks" / "grade.py").exists()
