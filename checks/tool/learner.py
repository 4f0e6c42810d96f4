"""The door to the learner's code: `learner(function, *inputs)` runs `function(lesson, *inputs)` where that code lives.

Only plain data passes, in both directions, so that the code may live in this process or in a sandboxed one.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import linecache
import random
import re
import secrets
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn

import lessons
from checks.tool.clock import SECONDS, Clock, TimeIsUp
from checks.tool.exercise import Check, checks_by_exercise
from checks.tool.expect import Failure, describe, field
from lessons import LessonError

OUTPUT_LIMIT = 2000  # characters of the learner's own output that a report shows
MESSAGE_LIMIT = 500
# What an exception tells: the first pattern that is found in its message. Each sentence must be true wherever torch or
# Python says this.
HINTS = {
    r"combination of arguments - got \(.*Generator\).* but expected|but got torch\._C\.Generator": (
        "Here the generator stands where a size may stand: pass it by name: generator=generator."
    ),
    r"combination of arguments": (
        "These are not the arguments that this function takes: compare their order and kinds with torch's "
        "documentation."
    ),
    r"NVIDIA|CUDA|on the same device": (
        "No device is promised here: stay on the device of the inputs, as in device=images.device, without .cuda()."
    ),
    r"class ndarray came": "A tensor is asked for, not a numpy array: torch.from_numpy makes one of it.",
    r"class ellipsis came": "`...` stands where the result belongs: is there a placeholder left?",
    r"truth value of an array|Boolean value of Tensor": (
        "`if`, `and`, `or` and `not` ask for one truth, and a tensor has many: test `is not None` if it may "
        "be left out, or use .any() or .all()."
    ),
    r"define __round__": "Python's `round` takes a number, not a tensor: take the number out with .item() first.",
    r"(operand|instances of).*'tuple'|'tuple' object cannot|but got tuple|multiply sequence|concatenate tuple": (
        "A tuple or list stands where one number is needed: unpack it first, as in `rows, columns = grid_size`."
    ),
    r"'float' object cannot be interpreted|slice indices must be|but got float|of type float at": (
        "A float stands where a whole number is needed: divide with `//`, or round it to an int."
    ),
    r"division by zero": "Something is divided by 0 here: treat this case apart, before the division.",
    r"is defined in no cell": (
        "An exercise keeps its name: restore its cell, if need be from a fresh copy of the notebook."
    ),
    r"number of sizes provided|Index tensor must have the same number of dimensions": (
        "A tensor with another number of axes came than this line expects: print its shape. gather_tokens takes "
        "indices [B, K]: flatten targets [B, M, Nt] to [B, M*Nt] first."
    ),
    r"view size is not compatible": "A permuted tensor isn't contiguous: use `reshape` where you wrote `view`.",
    r"shape '.*' is invalid for input of size": "The new shape holds another number of values than the tensor.",
    r"shapes cannot be multiplied": "The inner sizes of a matrix product must agree: print both shapes before it.",
    r"size mismatch for": "A weight has another shape than the sizes ask for: the check of the parameters says which.",
    r"(size of tensor|Sizes of tensors) .* must match": "Two tensors that meet here differ along an axis.",
    r"in-?place operation": "Something is changed in place that the gradient still needs: make a new tensor.",
    r"does not require grad": (
        "The graph was cut on the way (detach, no_grad, .item() or .data), or nothing that is trained goes in."
    ),
    r"cannot assign .* before Module": "`super().__init__()` must come first in `__init__`.",
    r"__init__\(\) missing \d+ required": "A class is called here without all that its `__init__` needs.",
    r"missing \d+ required positional": "Compare the parameters with the ones in the docstring, name by name.",
    r"unexpected keyword argument": "Compare the parameters with the ones in the docstring, name by name.",
    r"positional arguments? but": "Compare the parameters with the ones in the docstring, name by name.",
    r"NoneType": "Something is None here: is a `return` missing?",
    r"No module named": "Only the lesson itself is read: copy what you use of a file of your own into it.",
    r"'(Tensor|Parameter)' object has no attribute|module 'torch": (
        "torch has nothing of this name: is it spelled as in torch's documentation?"
    ),
    r"'(int|float|bool|str|tuple|list|dict)' object has no attribute": (
        "This is no tensor or module, of which the name would be: print its type."
    ),
    r"in its state dict": (
        "This weight is not there, is not registered, or has another shape: the check of the parameters says which."
    ),
    r"has no attribute": "Nothing was set under this name: assign it in `__init__`, spelled exactly like this.",
    r"is not defined$": "This name must be defined or imported in a cell of the notebook.",
    r"cannot unpack non-iterable (int|float)": "A single number came where several are unpacked.",
    r"maximum recursion depth": "A function calls itself without end.",
    r"can't be cast": (
        "An integer tensor can't hold fractions. An average of integer buffers makes some: copy the buffers "
        "that are not of floats."
    ),
    r"more than one parameter group": "A parameter stands in two groups: the two conditions must exclude each other.",
    r"same dtype|found dtype|mixed dtype|dtypes match|expected scalar type": (
        "Two tensors that meet here have different dtypes."
    ),
    r"Dimension out of range": "There is no such axis: print the shape before this line.",
    r"out of bounds|out of range": "An index lies outside of its axis: indices run from 0 to size - 1.",
}


ENDLESS = (
    "If this is a loop, look at what has to change for it to end. If your machine is slow, "
    "`pytest checks --seconds 60` gives an exercise more time."
)


class Todo(Exception):
    """The exercise, or one that it builds on, still has its `raise NotImplementedError()`."""


class NotPlain(TypeError):
    """Something came that is not a tensor, a number, a string, a bool, None, or a list, tuple or dict of these."""


class Disguised(NotPlain):
    """Worse: an object of the learner's own class, which answers for itself when it is compared or converted."""


@dataclass(frozen=True)
class Outcome:
    """What came back from where the learner's code lives: nothing but plain data."""

    value: Any = None
    error: tuple[str, ...] = ()  # class names of the exception, from its own class up
    message: str = ""
    frames: tuple[str, ...] = ()  # the learner's own frames
    output: str = ""
    todo: bool = False

    @property
    def hint(self) -> str:
        """What the exception's message tells, in a sentence, or ""."""
        return next((hint for text, hint in HINTS.items() if re.search(text, self.message)), "")


class Learner:
    """The door, in this process. A grader's subclass overrides `run` alone."""

    def __init__(self, lesson: Any, seed: int, clock: Clock | None = None):
        """clock: of the exercise, shared by its checks; None: it may take as long as it likes."""
        self.lesson, self.seed, self.clock = lesson, seed, clock
        self.calls = 0
        self.called = ""  # the last call, as text
        self.output = ""  # what it printed
        self.frames: tuple[str, ...] = ()

    def __call__(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """Run function(lesson, *inputs) and hand back what it returns. Raises Failure if the learner's code raises."""
        outcome = self.outcome(function, *inputs)
        if not outcome.error:
            return outcome.value
        got = f"{outcome.error[0]}: {outcome.message}" if outcome.message else outcome.error[0]
        raise Failure(self.called, "no error", got, outcome.hint)

    def outcome(self, function: Callable[..., Any], *inputs: Any) -> Outcome:
        """As a call, but an exception of the learner's comes back as data. Raises Todo if a stub isn't filled in."""
        if getattr(sys.modules.get(function.__module__), function.__qualname__, None) is not function:
            raise TypeError(
                f"{function.__qualname__} is sent by its name: it must stand at the top of a file in calls/"
            )
        self.called = call_text(function, inputs)
        self.calls += 1
        outcome = self.run(function, inputs, self.seed + self.calls)
        self.output, self.frames = outcome.output, outcome.frames
        if self.clock and TimeIsUp.__name__ in outcome.error[:1]:
            likely = ENDLESS if outcome.frames else ""
            raise Failure(self.called, f"an answer within {self.clock.seconds:g} s", outcome.message, likely)
        if outcome.todo:
            raise Todo(outcome.message)
        return outcome

    def run(self, function: Callable[..., Any], inputs: tuple[Any, ...], seed: int) -> Outcome:
        return run(self.lesson, function, inputs, seed, self.clock)


def run(
    lesson: Any, function: Callable[..., Any], inputs: tuple[Any, ...], seed: int, clock: Clock | None = None
) -> Outcome:
    """Call function(lesson, *inputs) on copies of the inputs, and give an account of what the learner's code did."""
    if clock and clock.left <= 0:
        return Outcome(error=(TimeIsUp.__name__,), message="it was not run: the check above had used up all the time")
    running = clock.running(lambda frame: is_own(frame, lesson)) if clock else contextlib.nullcontext()
    copies, output = plain(inputs), Bounded()
    redirected = contextlib.redirect_stdout(output), contextlib.redirect_stderr(output)
    with isolated(seed), redirected[0], redirected[1], interrupts() as pressed:
        try:
            with running:
                return Outcome(plain(function(lesson, *copies)), output=output.text)
        except BaseException as error:  # SystemExit and pytest's Skipped too
            if pressed and isinstance(error, KeyboardInterrupt):
                raise
            return account(error, lesson, output)


def account(error: BaseException, lesson: Any, output: Bounded) -> Outcome:
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [(frame, line) for frame, line in frames if is_own(frame, lesson)]
    try:
        message = str(error)
    except BaseException:
        message = "(its message can't be printed)"
    message = "it was still running" if type(error) is TimeIsUp else message
    if isinstance(error, NameError) and error.name and (why := lessons.reason(lesson, error.name)) not in message:
        message = f"{message}: {why}"
    if isinstance(error, AttributeError) and error.obj is lesson:
        message = f"{error.name} is defined in no cell of the notebook"
    # torch raises NotImplementedError as well, for float | float say: a stub is a `raise` in the learner's own code
    frame, line = frames[-1]
    is_raise = linecache.getline(frame.f_code.co_filename, line).strip().startswith("raise")
    todo = type(error) is NotImplementedError and is_own(frame, lesson) and is_raise
    if todo:
        code = frames[-1][0].f_code
        message = f"{getattr(code, 'co_qualname', code.co_name)} isn't written yet"
    return Outcome(
        error=tuple(kind.__name__ for kind in type(error).__mro__),
        message=shorten(message, MESSAGE_LIMIT),
        frames=tuple(place(frame, line) for frame, line in own[-5:]),
        output=output.text,
        todo=todo,
    )


def is_own(frame: FrameType, lesson: Any) -> bool:
    return frame.f_globals is vars(lesson) or is_a_lessons(frame)


def is_a_lessons(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__"))
    return name.removeprefix("lessons.") in lessons.LESSONS


def place(frame: FrameType, line: int) -> str:
    """Where the frame stands: notebook, cell and line, and the line itself."""
    filename = frame.f_code.co_filename
    name = Path(filename).name
    if filename.startswith("<"):
        name = filename.strip("<>")
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell and hasattr(shell.compile, "format_code_name") and (cell := shell.compile.format_code_name(filename)):
        name = " ".join(cell)
    return f"{name}, line {line}: {linecache.getline(filename, line).strip()}"


def plain(value: Any) -> Any:
    """A copy of plain data, tensors detached. Raises NotPlain for anything else: a subclass could answer for itself."""
    kind = type(value)
    if kind in (Tensor, nn.Parameter):
        if value.layout is not torch.strided:
            raise NotPlain(f"a tensor with the layout {value.layout} came, where an ordinary (strided) one is needed")
        return Tensor.clone(Tensor.detach(value))
    if value is None or kind in (bool, int, float, str):
        return value
    if kind in (list, tuple, torch.Size):
        return [plain(entry) for entry in value] if kind is list else tuple(plain(entry) for entry in value)
    if kind is dict:
        return {plain(key): plain(entry) for key, entry in value.items()}
    error = Disguised if is_disguise(kind) else NotPlain
    raise error(f"an object of the class {kind.__name__} came, where a plain tensor or number is needed")


def is_disguise(kind: type) -> bool:
    """Whether a class from a lesson changes what comparing or computing with its objects means.

    A NamedTuple, a dataclass, a module, or a class that converts to a number does not: they come from honest work.
    """
    own = [base for base in kind.__mro__ if base.__module__.startswith("lessons.")]
    names = {name for base in own if not hasattr(base, "__dataclass_fields__") for name in vars(base)}
    speaking = "eq ne lt gt le ge torch_function class".split()
    return bool(names & {f"__{name}__" for name in speaking}) or (bool(own) and issubclass(kind, Tensor))


def call_text(function: Callable[..., Any], inputs: tuple[Any, ...]) -> str:
    """The call in words: the function's docstring, filled with the inputs, or its name and parameters."""
    names = list(inspect.signature(function).parameters)[1:]
    template = function.__doc__ or f"{function.__name__}({', '.join(f'{name} {{{name}}}' for name in names)})"
    given = list(zip(names, inputs, strict=True))
    for name, value in given:  # **{options}: as keywords are written
        if isinstance(value, dict):
            words = "".join(f", {key}={describe(entry)}" for key, entry in value.items())
            template = template.replace(f", **{{{name}}}", words)
    return template.format(**{name: describe(value) for name, value in given if f"{{{name}}}" in template})


@contextlib.contextmanager
def isolated(seed: int) -> Iterator[None]:
    """Seed the global random numbers, and put back all global state that the code inside may change."""
    dtype, threads, numbers = torch.get_default_dtype(), torch.get_num_threads(), random.getstate()
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), uncompiled(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.default_generator.manual_seed(seed)  # torch.manual_seed seeds GPUs too, which takes longer than a check
        random.seed(seed)
        torch.set_num_threads(1)  # the tensors of a check are tiny: a second thread costs more than it gains
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            random.setstate(numbers)
            torch.set_num_threads(threads)


def uncompiled() -> contextlib.AbstractContextManager[object]:
    """Let what went through torch.compile run as it is written: what it computes is graded, and a compiler, which not
    every machine has, takes seconds for each shape."""
    known = "torch._dynamo" in sys.modules and hasattr(torch.compiler, "set_stance")  # torch 2.6
    return torch.compiler.set_stance("force_eager") if known else contextlib.nullcontext()


@contextlib.contextmanager
def interrupts() -> Iterator[list[int]]:
    """Collect the signals of Ctrl-C, to tell a pressed one from a `raise KeyboardInterrupt` in the learner's code."""
    pressed: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # ignored: of a process of `--watch`
        yield pressed
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


class Bounded(io.TextIOBase):
    """Keeps the first OUTPUT_LIMIT characters that are written to it."""

    text = ""

    def write(self, text: str) -> int:
        self.text = (self.text + text)[:OUTPUT_LIMIT]
        return len(text)


def shorten(text: str, limit: int) -> str:
    cut = text[:limit] + " ..." * (len(text) > limit)
    return "".join(char if char.isprintable() else " " for char in cut)


@dataclass(frozen=True)
class Verdict:
    """What a check says."""

    check: str
    exercise: str
    docstring: str  # the property that it holds
    status: Literal["passed", "failed", "todo", "broken"]  # broken: the check itself raised
    points: int
    page: str = ""  # the message
    likely: str = ""  # the misconception that the message names

    @property
    def earned(self) -> int:
        return self.points if self.status == "passed" else 0

    @property
    def cause(self) -> str:
        """The misconception and the learner's lines, as the page has them; "" where it names none."""
        return self.page.partition("\nlikely ")[2].partition("\nseed ")[0]

    def page_after(self, earlier: Iterable[Verdict]) -> str:
        """The page, or one line if an earlier verdict of the same exercise has told the same cause."""
        told = {verdict.cause for verdict in earlier if verdict.exercise == self.exercise}
        return field("likely", f"As above: {self.likely}") if self.cause and self.cause in told else self.page


def run_check(check: Check, learner: Learner) -> Verdict:
    """Run one check through a door and give its verdict."""
    says = inspect.getdoc(check) or ""

    def verdict(status: Literal["passed", "failed", "todo", "broken"], page: str = "", likely: str = "") -> Verdict:
        return Verdict(check.__name__, check.exercise, says, status, check.points, page, likely)

    try:
        with isolated(learner.seed):
            check(learner)
        return verdict("passed")
    except Todo as todo:
        return verdict("todo", str(todo))
    except Failure as failure:
        return verdict("failed", failure_page(failure, learner), failure.likely)
    except Exception:
        return verdict("broken", f"The check itself broke: please tell your instructor.\n{traceback.format_exc()}")


def failure_page(failure: Failure, learner: Learner) -> str:
    """The message, then the learner's own lines, then what they printed."""
    lines = [str(failure)]
    for name, entries in (("at", learner.frames), ("printed", learner.output.splitlines()[:20])):
        lines += [field("" if index else name, shorten(entry, 200)) for index, entry in enumerate(entries)]
    lines.append(field("seed", f"{learner.seed} (`pytest checks --seed {learner.seed}` repeats these numbers)"))
    return "\n".join(lines)


def run_checks(checks: Iterable[Check], lesson: Any, seed: int) -> list[Verdict]:
    """Run checks on a lesson in this process."""
    clocks: dict[str, Clock] = {}
    return [
        run_check(check, Learner(lesson, seed, clocks.setdefault(check.exercise, Clock(SECONDS)))) for check in checks
    ]


def graded_lesson(lesson: str, path: Path | None = None, seconds: float = SECONDS, stretch: bool = False) -> ModuleType:
    """A learner's lesson as the checks and the class grader see it: its exercises, what may change them and what they
    use, on the reference of earlier lessons unless `lessons.use` said otherwise.

    path: the notebook or script, graded on the reference in any case; None means the one in `lessons_folder()`.
    stretch: its stretch exercises, and what they use, in place of the others.

    Raises LessonError, for definitions that take more than so many seconds too.
    """
    only = list(checks_by_exercise(lesson, stretch))
    try:
        with Clock(seconds).running(is_a_lessons):
            return lessons.load_lesson(lesson, path, reference=True if path else None, only=only)
    except TimeIsUp as error:
        own = [frame for frame in traceback.walk_tb(error.__traceback__) if is_a_lessons(frame[0])]
        where = place(*own[-1]) if own else f"the lesson {lesson}"
        raise LessonError(f"After {seconds:g} s this was still running, before any check: {where}") from None


def fresh_seed() -> int:
    return secrets.randbelow(2**31)
