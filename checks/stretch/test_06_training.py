"""Lesson 6, for who wants more: the gradients of a large batch, taken in parts."""

import math

import torch
from torch import Tensor

from checks.calls.training import Encoder, Inference, Masks, StandIn, Teacher
from checks.expected.training import Setting, draw_setting, gradients, loss
from checks.tool.exercise import drawn, exercise
from checks.tool.expect import Later, Mistakes, expect_close, expect_that

LIKELY = (
    "Each part's loss, times its share of the images, goes backward; .grad adds up. Zero it once, before the first."
)


class Watched(Encoder):
    """A student that notes how many images come at a time, and how many of its graphs wait for a backward at once."""

    def __init__(self, weight):
        super().__init__(weight)
        self.images, self.waiting, self.most = [], 0, 0

    def forward(self, images, keep=None):
        tokens = super().forward(images, keep)
        self.images.append(len(images))
        if tokens.requires_grad:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
            tokens.register_hook(self.close)
        return tokens

    def close(self, gradient):
        self.waiting -= 1


def in_parts(lesson, parts, student, teacher, predictor, images, context, targets, rate, momentum, left):
    """gradients_in_parts(model, images {images}, Masks({context}, {targets}), {parts}), .grad = {left}"""
    model = StandIn(Watched(student), Teacher(teacher).requires_grad_(False), Inference(predictor)).train()
    trained = {"student": model.student.weight, "predictor": model.predictor.weight}
    for weight in trained.values():
        weight.grad = torch.full_like(weight, left)
    whole = lesson.gradients_in_parts(model, images, Masks(context, targets), parts)
    seen = {"images": model.student.images, "most": model.student.most}
    return {"loss": whole, **{name: weight.grad for name, weight in trained.items()}, **seen}


def some(at: Setting, images: slice, masks: slice) -> Setting:
    """The same setting with a part of its images, and with the masks of a part."""
    return at._replace(images=at.images[images], context=at.context[masks], targets=at.targets[masks])


def parts_of(batch: int, parts: int) -> list[slice]:
    size = math.ceil(batch / parts)
    return [slice(first, min(first + size, batch)) for first in range(0, batch, size)]


def gradients_of(at: Setting) -> dict[str, Tensor]:
    return dict(zip(("student", "predictor"), gradients(at), strict=True))


def weighted(each: list[dict[str, Tensor]], weights: list[float]) -> dict[str, Tensor]:
    return {
        name: sum(weight * one[name] for weight, one in zip(weights, each, strict=True))
        for name in ("student", "predictor")
    }


def mistakes_of(at: Setting, parts: int) -> Mistakes:
    """What the known mistakes leave in .grad."""
    batch = len(at.images)
    slices = parts_of(batch, parts)
    sizes = [part.stop - part.start for part in slices]
    shares, alike = [size / batch for size in sizes], [1 / len(slices)] * len(slices)
    own = [gradients_of(some(at, part, part)) for part in slices]
    first = [gradients_of(some(at, part, slice(size))) for part, size in zip(slices, sizes, strict=True)]
    right, full = gradients_of(at), slice(batch // parts * parts)
    whole_parts = gradients_of(some(at, full, full))
    only_last = "Only the last part is left: zero the gradients once, before the first part."
    return {
        "Gradients left from before are added: zero them before the first part.": {
            name: gradient + at.left for name, gradient in right.items()
        },
        "All parts count alike, but the last one holds fewer images: each counts by its share of them.": (
            weighted(own, alike)
        ),
        "The parts are added as they are: each one's loss is a mean, and counts by its share of the images.": (
            weighted(own, [1.0] * len(own))
        ),
        only_last: weighted(own[-1:], shares[-1:]),
        only_last + " And each part counts by its share of the images.": own[-1],
        only_last + " And each part counts by its share of the images, not alike.": weighted(own[-1:], alike[-1:]),
        "Every part gets the masks of the first images: masks belong to their images.": weighted(first, shares),
        "The images that don't fill a part are left out: parts need not divide B.": whole_parts,
        "The images that don't fill a part are left out, and missing from the sum.": (
            weighted([whole_parts], [full.stop / batch])
        ),
    }


def loss_mistakes(at: Setting, parts: int) -> Mistakes:
    slices = parts_of(len(at.images), parts)
    each = [loss(part.student, part.predictor, part) for part in (some(at, part, part) for part in slices)]
    return {
        "The losses of the parts are averaged alike: each counts by its share of the images.": sum(each) / len(each),
        "The losses of the parts are added as they are: each counts by its share of the images.": sum(each),
        "This is the loss of the last part: asked for is that of all images.": each[-1],
        "This is the loss of the last part, by its share: asked for is that of all images.": (
            each[-1] * (len(at.images) - slices[-1].start) / len(at.images)
        ),
    }


def draw_sizes() -> list[tuple[int, int]]:
    """B and parts: the whole, an image a part, and some where the last part holds an image less than the others."""
    parts, size = drawn((2, 4), (2, 4))
    return [(5, 2), (5, 3), (4, 4), (3, 1), (parts * size - 1, parts)]


@exercise("gradients_in_parts")
def test_gradients_in_parts_add_up_to_those_of_the_whole_batch(learner):
    """.grad of student and predictor, and the loss, are those of jepa_loss over all images."""
    for batch, parts in draw_sizes():
        at = draw_setting(batch, 2)
        got = learner(in_parts, parts, *at)
        found, expected = {name: got[name] for name in ("student", "predictor")}, gradients_of(at)
        mistakes = Later(mistakes_of, at, parts)
        expect_close(found, expected, called=learner.called, mistakes=mistakes, likely=LIKELY)
        likely = "Give back the loss of the whole batch, detached: the sum of the parts' losses, each by its share."
        mistakes = Later(loss_mistakes, at, parts)
        expected = loss(at.student, at.predictor, at)
        expect_close(got["loss"], expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("gradients_in_parts")
def test_gradients_in_parts_keep_one_graph_at_a_time(learner):
    """The student sees at most ceil(B / parts) images at a time, and a part's graph is gone before the next part."""
    for batch, parts in draw_sizes():
        got = learner(in_parts, parts, *draw_setting(batch, 2))
        most = math.ceil(batch / parts)
        expect_that(
            bool(got["images"]) and max(got["images"]) <= most,
            called=learner.called,
            expected=f"a student that sees at most {most} images at a time",
            got=f"one that sees {got['images']}",
            likely="Cut images and masks into parts first: what the student sees at once is what memory must hold.",
        )
        expect_that(
            got["most"] <= 1 and sum(got["images"]) == batch,
            called=learner.called,
            expected="backward of a part before the student sees the next one",
            got=f"{got['most']} graphs that waited for backward at once, over {sum(got['images'])} images",
            likely="One backward for the sum keeps the graphs of all parts until then, and saves no memory: call it "
            "for each part. `.grad` adds up.",
        )
