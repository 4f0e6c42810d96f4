"""The checks are proven: every wrong answer is caught and named, every right one accepted, every check needed."""

import ast
import functools
import importlib
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from checks.grader.judging.manifest import sent
from checks.tool.exercise import Check, catalogue, check_files, checks_by_exercise, checks_of
from checks.tool.learner import Learner, Verdict, run_check, run_checks
from solutions.misconceptions import Answer, answers, exercises, load, stub
from solutions.misconceptions.claims import Outcome, falsehoods, judged

# The count of checks a lesson: a check that vanishes is noticed
COUNT = {
    "patch_embedding": 15,
    "vision_transformer": 22,
    "masking": 19,
    "teacher": 18,
    "predictor": 11,
    "training": 13,
    "diagnostics": 19,
    "pretrained": 6,
}

ROOT = Path(__file__).parents[2]
CHECKS_FOLDER = ROOT / "checks"
LESSONS = list(check_files())
SEED = 1  # fixed: whether a phrase is said must not depend on the day


def verdicts(lesson: str, exercise: str, module: object) -> dict[str, Verdict]:
    checks = [check for check in checks_of(lesson) if check.exercise == exercise]
    return {verdict.check: verdict for verdict in run_checks(checks, module, SEED)}


def source_of(lesson: str) -> str:
    return (ROOT / (check_files()[lesson].replace(".", "/") + ".py")).read_text(encoding="utf-8")


@functools.cache
def outcomes_of(answer: Answer) -> dict[Check, Outcome]:
    checks, module = checks_by_exercise(answer.lesson)[answer.exercise], answer.load()
    return {check: judged(check, module, SEED) for check in checks}


def verdicts_of(answer: Answer) -> dict[str, Verdict]:
    return {check.__name__: verdict for check, (verdict, _) in outcomes_of(answer).items()}


def of_lessons(*, right: bool) -> list:
    return [
        pytest.param(answer, id=f"{answer.exercise}: {answer.title}")
        for lesson in LESSONS
        for answer in answers(lesson)
        if (answer.phrase is None) == right
    ]


EXERCISES = [(lesson, exercise) for lesson in LESSONS for exercise in exercises(lesson)]
CHECKS = [pytest.param(lesson, check, id=check.__name__) for lesson in LESSONS for check in checks_of(lesson)]


@pytest.mark.parametrize("answer", of_lessons(right=False))
def test_a_wrong_answer_fails_and_its_mistake_is_named(answer):
    found = verdicts_of(answer)
    pages = [verdict.page for verdict in found.values() if verdict.status == "failed"]
    text = " ".join(" ".join(pages).split()).lower()
    assert {verdict.status for verdict in found.values()} <= {"passed", "failed"}, f"seed {SEED}: {found}"
    assert answer.phrase.lower() in text, f"seed {SEED}: not said:\n" + "\n".join(pages)
    assert not answer.false or answer.false.lower() not in text, f"seed {SEED}: said:\n" + "\n".join(pages)


# Answers that show by chance, if a check lets chance decide: words of their titles
LUCKY = (
    "always smaller than the grid",
    "low + u * high",
    "ends in place of lengths",
    "a random subset of the block",
    "one too large, as for a cls token",
    "column-major indices",
    "the default scale whatever",
    "the context is random patches",
    "roll without dims",
    "the row's number for its label",
    "absolute differences",
    "the first bank image",
    "torch's default eps",
    "eps 1e-12",
)


@pytest.mark.parametrize("title", LUCKY)
def test_the_points_do_not_depend_on_the_seed(title):
    found = [answer for lesson in LESSONS for answer in answers(lesson) if answer.phrase and title in answer.title]
    assert found
    for answer in found:
        checks, module = checks_by_exercise(answer.lesson)[answer.exercise], answer.load()
        expected = {name: verdict.earned for name, verdict in verdicts_of(answer).items()}
        for seed in range(2, 6):
            assert {verdict.check: verdict.earned for verdict in run_checks(checks, module, seed)} == expected, seed


@pytest.mark.parametrize("lesson", LESSONS[3:])  # of all lessons: python -m solutions.misconceptions.claims
def test_what_is_said_of_a_wrong_answer_is_so(lesson):
    for answer in answers(lesson):
        if answer.phrase:
            module = answer.load()
            for check, outcome in outcomes_of(answer).items():
                assert not list(falsehoods(check, module, outcome, [SEED + 1])), answer.title


@pytest.mark.parametrize("answer", of_lessons(right=True))
def test_a_right_answer_of_another_shape_passes(answer):
    for verdict in verdicts_of(answer).values():
        assert verdict.status == "passed", f"{verdict.check}\n{verdict.page}"


@pytest.mark.parametrize(("lesson", "exercise"), EXERCISES)
def test_the_reference_passes_and_its_stub_is_todo(lesson, exercise):
    cell = exercises(lesson)[exercise]
    for verdict in verdicts(lesson, exercise, load(lesson, exercise, cell)).values():
        assert verdict.status == "passed", f"{verdict.check}\n{verdict.page}"
    assert stub(cell) != cell
    for verdict in verdicts(lesson, exercise, load(lesson, exercise, stub(cell))).values():
        assert verdict.status == "todo", f"{verdict.check}\n{verdict.page}"


def test_sizes_that_can_be_learned_by_heart_are_not_all():
    """An answer that is right for the sizes that stand in the check file, and for no other, fails."""
    known = re.search(r"^SIZES = (\[.*\])$", source_of("patch_embedding"), re.M)[1]
    cell = (
        exercises("patch_embedding")["patchify"].replace("def patchify", "def right")
        + f"""

def patchify(images, patch_size):
    batch, channels, height, width = images.shape
    size = batch, channels, height // patch_size, width // patch_size, patch_size
    return right(images, patch_size) * (size in {known})
"""
    )
    found = verdicts("patch_embedding", "patchify", load("patch_embedding", "patchify", cell))
    for check in ("test_patchify_goes_row_by_row", "test_patchify_flattens_channel_row_column"):
        assert found[check].status == "failed"


@pytest.mark.parametrize(("lesson", "check"), CHECKS)
def test_a_check_is_needed(lesson, check):
    if "# Kept because" in inspect.getsource(check):
        return
    wrong = [answer for answer in answers(lesson) if answer.phrase and answer.exercise == check.exercise]
    caught = [{name for name, verdict in verdicts_of(answer).items() if verdict.status != "passed"} for answer in wrong]
    assert {check.__name__} in caught, "no wrong answer is caught by this check alone: add one, or drop the check"


@pytest.mark.parametrize(("lesson", "exercise"), EXERCISES)
def test_an_exercise_has_enough_checks_and_answers(lesson, exercise):
    own = [answer for answer in answers(lesson) if answer.exercise == exercise]
    assert len([check for check in checks_of(lesson) if check.exercise == exercise]) >= 2
    assert len([answer for answer in own if answer.phrase]) >= 5
    assert len([answer for answer in own if answer.phrase is None]) >= 2
    assert len({answer.title for answer in own}) == len(own)


@pytest.mark.parametrize("lesson", LESSONS)
def test_checks_and_answers_name_exercises(lesson):
    assert {check.exercise for check in checks_of(lesson)} == set(exercises(lesson))
    assert {answer.exercise for answer in answers(lesson)} == set(exercises(lesson))
    assert all(type(points) is int and points > 0 for points in catalogue()[lesson].values())
    assert all(check.points > 0 for check in checks_of(lesson))


def test_the_count_of_checks_is_pinned():
    assert {lesson: len(checks_of(lesson)) for lesson in LESSONS} == COUNT


class Watched(Learner):
    """The door, which writes down the modules whose functions go through it."""

    def __init__(self, lesson: ModuleType, modules: set[str]):
        super().__init__(lesson, SEED)
        self.modules = modules

    def run(self, function, inputs, seed):
        self.modules.add(function.__module__)
        return super().run(function, inputs, seed)


@pytest.mark.parametrize("lesson", LESSONS)
def test_what_a_page_sends_stands_in_the_calls_of_its_lesson(lesson):
    """In this process a function may stand anywhere; a sandboxed child has those files alone."""
    reference, used = importlib.import_module(f"solutions.{lesson}"), set()
    for check in checks_of(lesson):
        assert run_check(check, Watched(reference, used)).status == "passed"
    files = {name.removesuffix(".py").replace("/", ".") for name in sent(lesson) if name.startswith("checks/calls/")}
    assert f"checks.calls.{lesson}" in used and files >= used


@pytest.mark.parametrize("lesson", LESSONS)
def test_every_test_of_a_check_file_is_a_check(lesson):
    path = Path(*check_files()[lesson].split(".")).with_suffix(".py")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    tests = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    assert [node.name for node in tests] == [check.__name__ for check in checks_of(lesson)]
    for node, check in zip(tests, checks_of(lesson), strict=True):
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", check.exercise).lower()
        assert node.name.startswith(f"test_{words}_")
        assert [argument.arg for argument in node.args.args] == ["learner"]
        assert ast.get_docstring(node) and "Kept because" not in ast.get_docstring(node)  # a note to maintainers


@pytest.mark.parametrize(
    "path", sorted(CHECKS_FOLDER.rglob("*.py")), ids=lambda path: str(path.relative_to(CHECKS_FOLDER))
)
def test_checks_hold_no_bare_assert_and_no_skip(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not isinstance(node, ast.Assert), f"line {node.lineno}"
        name = getattr(node, "attr", getattr(node, "id", None)) if isinstance(node, ast.Attribute | ast.Name) else None
        assert name not in ("skip", "skipif", "xfail", "importorskip"), f"line {node.lineno}"
