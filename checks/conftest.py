"""pytest as an exercise tool: options, the `learner` fixture, todo, pages without tracebacks, the progress map."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import lessons
from checks.tool.exercise import find_lesson, lesson_of, nearest
from checks.tool.expect import WIDTH
from checks.tool.learner import Learner, Verdict, fresh_seed, run_check
from checks.tool.progress import HintError, hints_of, next_exercise, progress_map
from lessons import LessonError

VERDICTS = pytest.StashKey[dict[str, Verdict]]()  # by node id
STATUS = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("course")
    group.addoption("--solutions", action="store_true", help="grade the reference in place of your lessons")
    group.addoption("--lessons", metavar="DIR", type=Path, help="where the lessons are")
    group.addoption("--mine", action="store_true", help="build on your own earlier lessons, not on the reference")
    group.addoption("--watch", action="store_true", help="run again whenever a lesson is saved; Ctrl-C ends")
    group.addoption("--hint", metavar="NAME", help="print the next hint for an exercise")
    group.addoption("--seed", type=int, help="repeat a run: its seed stands in each failure")


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    lessons.use(config.option.lessons, reference=not config.option.mine)
    try:
        folder = lessons.lessons_folder()
    except LessonError as error:
        raise pytest.UsageError(str(error)) from None
    if config.option.hint:
        return print_hint(config, config.option.hint)
    if config.option.watch:
        if not hasattr(os, "fork"):
            raise pytest.UsageError("--watch needs Linux or macOS (it forks): run `pytest checks` after saving")
        from checks.tool.watch import watch

        return watch(folder)
    return None


def pytest_configure(config: pytest.Config) -> None:
    config.stash[VERDICTS] = {}
    if config.option.seed is None:
        config.option.seed = fresh_seed()
    if config.option.reportchars == "fE":  # pytest's default: the progress map says what is open
        config.option.reportchars = ""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def exercise_of(item: pytest.Item) -> str:
        return getattr(getattr(item, "function", None), "exercise", "")

    for item in items:  # so that `-k PatchEmbedding` finds the checks of this exercise
        item.extra_keyword_matches.add(exercise_of(item))
    name = config.option.keyword
    if any(exercise_of(item) == name for item in items if name):  # `-k patchify` alone is not unpatchify
        config.hook.pytest_deselected(items=[item for item in items if exercise_of(item) != name])
        items[:] = [item for item in items if exercise_of(item) == name]


@pytest.fixture
def learner(request: pytest.FixtureRequest) -> Learner:
    """The door to the learner's code: `learner(function, *inputs)` runs `function(lesson, *inputs)` there."""
    package = "solutions" if request.config.option.solutions else "lessons"
    lesson = importlib.import_module(f"{package}.{lesson_of(request.function)}")
    return Learner(lesson, request.config.option.seed)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not hasattr(pyfuncitem.function, "exercise"):
        return None
    verdict = run_check(pyfuncitem.function, pyfuncitem.funcargs["learner"])
    pyfuncitem.config.stash[VERDICTS][pyfuncitem.nodeid] = verdict
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    report = yield
    verdict = item.config.stash[VERDICTS].get(item.nodeid)
    if call.when == "call" and verdict and verdict.status != "passed":
        report.outcome = "failed"
        earlier = itertools.takewhile(lambda other: other is not verdict, item.config.stash[VERDICTS].values())
        report.longrepr = printable(f"{textwrap.fill(verdict.docstring, WIDTH)}\n\n{verdict.page_after(earlier)}")
        report.todo = verdict.status == "todo"
    elif call.excinfo and isinstance(call.excinfo.value, LessonError):
        report.longrepr = printable(textwrap.fill(str(call.excinfo.value), WIDTH))
    return report


def printable(text: str) -> str:
    """The text with escapes for what this console can't print."""
    encoding = sys.__stdout__.encoding or "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if config.option.watch:  # a child of the worker: to tear down its copy of torch would take longer than the checks
        sys.stdout.flush()
        os._exit(config.stash[STATUS])


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    return ("todo", "t", "TODO") if getattr(report, "todo", False) else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The progress map: a line a lesson, and what comes next."""
    passed: dict[str, dict[str, bool]] = {}  # of the exercises that were asked for
    for item in terminalreporter._session.items:
        if hasattr(getattr(item, "function", None), "exercise"):
            exercises = passed.setdefault(lesson_of(item.function), {})
            verdict = config.stash[VERDICTS].get(item.nodeid)
            name = item.function.exercise
            exercises[name] = exercises.get(name, True) and verdict is not None and verdict.status == "passed"
    word = config.option.keyword
    if not passed and word.isidentifier() and (near := nearest(word)):
        terminalreporter.line(printable(f"no check matches -k {word}: do you mean {near}?"))
    if not passed or config.option.collectonly:
        return
    terminalreporter.section("progress")
    for line in progress_map(passed):
        terminalreporter.line(line)
    for lesson in passed:
        if report := getattr(sys.modules.get(f"lessons.{lesson}"), "__report__", None):
            for line in report.lines():
                terminalreporter.line(printable(textwrap.fill(f"note: {line}", WIDTH)))
    if line := next_exercise(passed, config.option.solutions):
        terminalreporter.line(printable(line))


def print_hint(config: pytest.Config, exercise: str) -> int:
    """Print the next of an exercise's hints."""
    lesson = find_lesson(exercise)
    if lesson is None:
        near = nearest(exercise)
        raise pytest.UsageError(f"there is no exercise {exercise!r}" + (f": do you mean {near!r}?" if near else ""))
    try:
        hints = hints_of(exercise, lesson, config.option.solutions)
    except HintError as error:
        raise pytest.UsageError(str(error)) from None
    config._do_configure()  # as pytest's own --cache-show does: without it there is no cache
    key = f"course/hints/{exercise}"
    shown = config.cache.get(key, 0)
    config.cache.set(key, min(shown + 1, len(hints) - 1))
    print(f"Hint {shown + 1} of {len(hints)} for {exercise}\n\n{printable(hints[shown])}")
    config._ensure_unconfigure()
    return 0
