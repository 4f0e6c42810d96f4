"""pytest as an exercise tool: options, the `learner` fixture, todo, pages without tracebacks, the progress map."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import lessons
from checks.tool.clock import SECONDS, Clock
from checks.tool.exercise import find_lesson, lesson_of, nearest
from checks.tool.expect import WIDTH
from checks.tool.learner import Learner, Verdict, fresh_seed, graded_lesson, run_check
from checks.tool.progress import HintError, hints_of, next_exercise, progress_map
from lessons import LessonError

VERDICTS = pytest.StashKey[dict[str, Verdict]]()  # by node id
MODULES = pytest.StashKey[dict[str, ModuleType | LessonError]]()  # what is graded, by lesson, or why it can't be
CLOCKS = pytest.StashKey[dict[str, Clock]]()  # by exercise
STATUS = pytest.StashKey[int]()
RESULTS = pytest.StashKey[list[dict[str, Any]]]()  # of this process, or of each process of `-n 2`


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("course")
    group.addoption("--solutions", action="store_true", help="grade the reference in place of your lessons")
    group.addoption("--lessons", metavar="DIR", type=Path, help="where the lessons are")
    group.addoption("--mine", action="store_true", help="build on your own earlier lessons, not on the reference")
    group.addoption("--stretch", action="store_true", help="grade the stretch exercises in place of the others")
    group.addoption("--watch", action="store_true", help="run again whenever a lesson is saved; Ctrl-C ends")
    group.addoption("--hint", metavar="NAME", help="print the next hint for an exercise")
    group.addoption("--seconds", type=float, default=SECONDS, help="time of an exercise, all its checks (default: 20)")
    group.addoption("--seed", type=int, help="repeat a run: its seed stands in each failure")


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    if not config.option.seconds > 0:
        raise pytest.UsageError(f"--seconds {config.option.seconds:g} gives no time: it must be more than 0")
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
    config.stash[VERDICTS], config.stash[MODULES], config.stash[CLOCKS] = {}, {}, {}
    config.stash[RESULTS] = []
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


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Of the pages of checks, collect those of the stretch exercises or the others."""
    of_stretch = {Path(__file__).parent: False, Path(__file__).parent / "stretch": True}.get(collection_path.parent)
    return True if collection_path.is_file() and of_stretch not in (None, config.option.stretch) else None


@pytest.fixture
def learner(request: pytest.FixtureRequest) -> Learner:
    """The door to the learner's code: `learner(function, *inputs)` runs `function(lesson, *inputs)` there."""
    options, stash = request.config.option, request.config.stash
    name, modules = lesson_of(request.function), stash[MODULES]
    if name not in modules:
        try:
            modules[name] = (
                importlib.import_module(f"solutions.{name}")
                if options.solutions
                else graded_lesson(name, None, options.seconds, options.stretch)
            )
        except LessonError as error:
            modules[name] = error
    lesson = modules[name]
    if isinstance(lesson, LessonError):
        raise lesson
    clock = stash[CLOCKS].setdefault(request.function.exercise, Clock(options.seconds))
    return Learner(lesson, options.seed, clock)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not hasattr(pyfuncitem.function, "exercise"):
        return None
    try:
        verdict = run_check(pyfuncitem.function, pyfuncitem.funcargs["learner"])
    except KeyboardInterrupt:  # pytest would show the line of ours that it came to
        raise pytest.exit.Exception("stopped by Ctrl-C", pytest.ExitCode.INTERRUPTED) from None
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
    results = results_of(session)
    session.config.stash[RESULTS].append(results)
    if hasattr(session.config, "workeroutput"):  # pytest-xdist's, in a process of `-n 2`
        session.config.workeroutput["course"] = results


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """pytest-xdist: a process is done, and the one that prints hears of it."""
    node.config.stash[RESULTS].append(node.workeroutput.get("course", {}))


def results_of(session: pytest.Session) -> dict[str, Any]:
    """Plain data for the progress map. asked: [lesson, exercise, check] of each check; passed: the checks that did;
    notes: by lesson."""
    verdicts = session.config.stash[VERDICTS]
    asked = [
        [lesson_of(item.function), item.function.exercise, item.nodeid]
        for item in session.items
        if hasattr(getattr(item, "function", None), "exercise")
    ]
    modules = {lesson: sys.modules.get(f"lessons.{lesson}") for lesson, _, _ in asked}
    notes = {name: module.__report__.lines() for name, module in modules.items() if hasattr(module, "__report__")}
    return {"asked": asked, "passed": [name for name in verdicts if verdicts[name].status == "passed"], "notes": notes}


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if config.option.watch:  # a child of the worker: to tear down its copy of torch would take longer than the checks
        sys.stdout.flush()
        os._exit(config.stash[STATUS])


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    return ("todo", "t", "TODO") if getattr(report, "todo", False) else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The progress map: a line a lesson, and what comes next."""
    results = config.stash[RESULTS]
    good = {name for result in results for name in result.get("passed", ())}
    passed: dict[str, dict[str, bool]] = {}  # of the exercises that were asked for
    for lesson, exercise, name in [check for result in results for check in result.get("asked", ())]:
        exercises = passed.setdefault(lesson, {})
        exercises[exercise] = exercises.get(exercise, True) and name in good
    word = config.option.keyword
    if not passed and word.isidentifier() and (near := nearest(word)):
        terminalreporter.line(printable(f"no check matches -k {word}: do you mean {near}?"))
    if not passed or config.option.collectonly:
        return
    terminalreporter.section("progress")
    for line in progress_map(passed):
        terminalreporter.line(line)
    notes = [line for lesson in passed for result in results for line in result.get("notes", {}).get(lesson, ())]
    for line in dict.fromkeys(notes):
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
    if not hasattr(config, "cache"):  # -p no:cacheprovider: nothing can be remembered
        for number, hint in enumerate(hints, start=1):
            print(f"Hint {number} of {len(hints)} for {exercise}\n\n{printable(hint)}\n")
        config._ensure_unconfigure()
        return 0
    key = f"course/hints/{exercise}"
    shown = config.cache.get(key, 0)
    config.cache.set(key, min(shown + 1, len(hints) - 1))
    print(f"Hint {shown + 1} of {len(hints)} for {exercise}\n\n{printable(hints[shown])}")
    config._ensure_unconfigure()
    return 0
