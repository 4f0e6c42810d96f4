"""The code that a run is assembled from: the reference's, or the learner's own. Each piece is tried alone before they
train together, so that a mistake is told by its piece and its line.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import inspect
import math
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

import lessons
from checks.tool.exercise import catalogue, find_lesson
from checks.tool.expect import describe
from checks.tool.learner import place, shorten
from solutions import masking
from solutions.trainer.checkpoint import TrainingError
from solutions.trainer.config import Config

LAST = "diagnostics"  # the lesson that builds on all that is assembled here
LESSONS = lessons.LESSONS[: lessons.LESSONS.index(LAST)]
MESSAGE_LIMIT = 200  # characters of an error's own text that a sentence quotes
NO_MEMORY = ("out of memory", "can't allocate memory")  # as CUDA, MPS and the CPU's allocator say it


def load_pieces(package: str, borrow: bool = False) -> SimpleNamespace:
    """The names of lessons 1 to 6 together, from `solutions` or from the learner's own `lessons`.

    borrow: what is not written in `lessons` comes from the reference. Raises LessonError for one that can't be read.
    """
    if borrow:
        lessons.borrow(LAST)
    names: dict[str, Any] = {}
    for module in LESSONS:
        names.update(vars(importlib.import_module(f"{package}.{module}")))
    return SimpleNamespace(**names)


def borrowed(pieces: SimpleNamespace) -> list[str]:
    """The exercises that are the reference's."""
    names = [name for lesson in LESSONS for name in catalogue()[lesson]]
    return [name for name in names if getattr(vars(pieces).get(name), "__module__", "").startswith("solutions.")]


def try_out(pieces: SimpleNamespace, config: Config, images: Tensor) -> None:
    """Call each piece on a few images [B, 3, S, S], and train one step of a copy.

    Raises TrainingError for the first piece that raises or does not give what its contract says: one sentence with the
    piece, its line, what was expected and what came.
    """
    try:
        masking.sample_masks(len(images), config.grid_size, torch.Generator().manual_seed(config.seed))
    except ValueError as error:
        raise TrainingError(f"these sizes do not work: {error}") from None
    trial = Trial(pieces, config, images)
    model, masks = trial.networks()
    trial.schedules()
    trial.step(model, masks)


class Trial:
    """Each piece's first call. Its methods raise TrainingError for the piece that is wrong."""

    def __init__(self, pieces: SimpleNamespace, config: Config, images: Tensor):
        self.pieces, self.config, self.images = pieces, config, images

    def networks(self) -> tuple[nn.Module, Any]:
        """Student, masks, teacher, predictor, loss -> an IJEPA and the masks."""
        pieces, config, images = self.pieces, self.config, self.images
        count, tokens, dim = len(images), config.grid_size**2, config.dim
        with self.calling("VisionTransformer"):
            student = pieces.VisionTransformer(config.image_size, config.patch_size, dim, config.depth, config.heads)
            self.expect("VisionTransformer", student.to(images.device)(images), count, tokens, dim)
        masks = self.masks()
        context, targets = masks
        _, blocks, length = targets.shape
        with self.calling("VisionTransformer"):
            kept = student(images, keep=context)
            self.expect("VisionTransformer", kept, count, context.shape[1], dim)
        with self.calling("make_teacher"):
            teacher = pieces.make_teacher(student)
            self.expect("make_teacher", teacher(images), count, tokens, dim)
        with self.calling("teacher_targets"):
            wanted = pieces.teacher_targets(teacher, images, targets)
            self.expect("teacher_targets", wanted, count, blocks, length, dim)
        with self.calling("Predictor"):
            sizes = config.predictor_dim, config.predictor_depth, config.predictor_heads
            predictor = pieces.Predictor(config.grid_size, dim, *sizes).to(images.device)
            predictions = predictor(kept, context, targets)
            self.expect("Predictor", predictions, count, blocks, length, dim)
        with self.calling("jepa_loss"):
            self.expect("jepa_loss", pieces.jepa_loss(predictions, wanted))
        with self.calling("update_teacher"):
            pieces.update_teacher(copy.deepcopy(teacher), student, config.momentum)
        with self.calling("IJEPA"):
            return pieces.IJEPA(student, predictor), masks

    def masks(self) -> Any:
        """Masks of the images, on their device."""
        count, tokens = len(self.images), self.config.grid_size**2
        generator = torch.Generator().manual_seed(self.config.seed)
        with self.calling("sample_masks"):
            drawn = self.pieces.sample_masks(count, self.config.grid_size, generator)
            masks = self.pieces.Masks(*(indices.to(self.images.device) for indices in drawn))
            for indices, axes in zip(masks, (2, 3), strict=True):
                right = indices.dtype == torch.int64 and indices.dim() == axes and len(indices) == count
                if not right or not 0 <= indices.min() <= indices.max() < tokens:
                    expected = f"{count} rows of indices from 0 to {tokens - 1}, {axes} axes"
                    raise self.wrong("sample_masks", expected, describe(indices))
        return masks

    def schedules(self) -> None:
        steps = self.config.steps
        for name, inputs in (
            ("momentum_at", (0, steps, self.config.momentum)),
            ("learning_rate_at", (0, steps, round(self.config.warmup * steps))),
            ("weight_decay_at", (0, steps)),
        ):
            with self.calling(name):
                value = getattr(self.pieces, name)(*inputs)
                if not isinstance(value, int | float) or not math.isfinite(value):
                    raise self.wrong(name, "a number", describe(value))

    def step(self, model: nn.Module, masks: Any) -> None:
        pieces, config = self.pieces, self.config
        with self.calling("parameter_groups"):
            optimizer = torch.optim.AdamW(pieces.parameter_groups(model, config.weight_decay), lr=0.0)
        with self.calling("train_step"):
            self.expect("train_step", pieces.train_step(model, self.images, masks, optimizer, config.momentum))
            for name, parameter in model.named_parameters():
                for what, values in ((name, parameter), (f"the gradient of {name}", parameter.grad)):
                    if values is not None and not values.isfinite().all():
                        raise self.wrong("train_step", f"finite numbers in {what} after one step", "nan or inf")

    def expect(self, name: str, value: Any, *shape: int) -> None:
        """The value must be a tensor of this shape and of finite numbers."""
        if not isinstance(value, Tensor) or value.shape != shape:
            raise self.wrong(name, f"a tensor {list(shape)}", describe(value))
        if not value.isfinite().all():
            got = f"{value[~value.isfinite()][0].item()} among them"
            raise self.wrong(name, f"finite numbers {list(shape)}", got)

    def wrong(self, name: str, expected: str, got: str) -> TrainingError:
        return told(name, definition(getattr(self.pieces, name)), expected, got)

    @contextlib.contextmanager
    def calling(self, name: str) -> Iterator[None]:
        """Raise TrainingError for whatever goes wrong inside: it is this piece's."""
        if not hasattr(self.pieces, name):
            module = sys.modules[f"lessons.{find_lesson(name) or LESSONS[-1]}"]
            why = lessons.reason(module, name) or f"no cell of {Path(str(module.__file__)).name} defines it."
            raise TrainingError(f"{name} is missing: {why.rstrip('.')}; {how_to_check(name)}")
        try:
            yield
        except (TrainingError, lessons.LessonError, KeyboardInterrupt):
            raise
        except BaseException as error:  # SystemExit too: whatever the learner's code does
            if sentence := blame(error, name, definition(getattr(self.pieces, name))):
                raise sentence from error
            raise


def blame(error: BaseException, name: str = "", at: str = "") -> TrainingError | None:
    """What to say of an exception that the learner's code raised; None if there is none of it on the way.

    name: the piece that was called, and at: where it is defined, if that is known; else the innermost exercise on the
    way is named.
    """
    text = " ".join(str(error).split())
    if any(words in text for words in NO_MEMORY):
        return TrainingError("there is not enough memory: choose a smaller --batch-size")
    if type(error) is NotImplementedError and is_stub(error):
        return TrainingError(
            f"{lessons.unwritten(error)} is not written yet: write it, or add --borrow to take it from the reference"
        )
    own = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if is_own(frame.f_globals)]
    if not own and not name:
        return None
    on_the_way = [getattr(f.f_code, "co_qualname", f.f_code.co_name).split(".")[0] for f, _ in reversed(own)]
    name = name or next((found for found in on_the_way if find_lesson(found)), "")
    got = shorten(f"{type(error).__name__}: {text}" if text else type(error).__name__, MESSAGE_LIMIT)
    return told(name, place(*own[-1]) if own else at, "no error", got)


def told(name: str, at: str, expected: str, got: str) -> TrainingError:
    """The sentence on a piece that is wrong."""
    return TrainingError(f"your {name or 'code'} ({at}): expected {expected}, got {got}; {how_to_check(name)}")


def how_to_check(name: str) -> str:
    return f"run `pytest checks -k {name}`" if name and find_lesson(name) else "run `pytest checks`"


def definition(piece: Any) -> str:
    """Where a function is defined, or what a module does forward: notebook, cell and line."""
    function = inspect.unwrap(vars(piece).get("forward", piece) if isinstance(piece, type) else piece)
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return f"a {type(piece).__name__}"
    return f"{Path(code.co_filename).name}, line {code.co_firstlineno}"


def is_own(names: dict[str, Any]) -> bool:
    """Whether these are the globals of a lesson of the learner's."""
    package, _, lesson = str(names.get("__name__")).partition(".")
    return package == "lessons" and lesson in lessons.LESSONS


def is_stub(error: BaseException) -> bool:
    """Whether an exercise that isn't written yet raised it; torch raises NotImplementedError too."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return is_own(frame.f_globals)
