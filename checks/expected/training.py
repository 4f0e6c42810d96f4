"""What parameter groups and a training step must give, by torch's own functions, and what their known mistakes give."""

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from checks.calls.training import encode, infer, take
from checks.tool.expect import Mistakes

# What small_parts (in checks/calls) trains, with the number of axes
TRAINED = {
    "student.gamma": 1,
    "student.temperature": 0,
    "student.relative_bias": 2,
    "student.patch_embed.weight": 4,
    "student.patch_embed.bias": 1,
    "student.norm.weight": 1,
    "student.norm.bias": 1,
    "student.mlp.weight": 2,
    "student.mlp.bias": 1,
    "predictor.mask_token": 3,
    "predictor.predictor_embed.weight": 2,
    "predictor.predictor_embed.bias": 1,
    "predictor.predictor_norm.weight": 1,
    "predictor.predictor_norm.bias": 1,
}
FROZEN = ("student.pos_embed", "student.frozen", "predictor.predictor_pos_embed")
TEACHER = tuple(f"teacher.{layer}.{name}" for layer in ("patch_embed", "norm") for name in ("weight", "bias"))


def membership(pairs: list[list[Any]]) -> dict[str, str]:
    """What `grouped` gave, as {name: how often it stands in a group}."""
    times = Counter(name for name, _ in pairs)
    return {name: "in one group" if number == 1 else f"{number} times" for name, number in times.items()}


def once_each(names: tuple[str, ...] = tuple(TRAINED)) -> dict[str, str]:
    return dict.fromkeys(names, "in one group")


def membership_mistakes() -> Mistakes:
    def only(condition: Callable[[str], bool]) -> dict[str, str]:
        return once_each(tuple(filter(condition, TRAINED)))

    expected, frozen, teacher = once_each(), once_each(FROZEN), once_each(TEACHER)
    return {
        "The teacher is included: it only follows the student, no gradient trains it.": expected | teacher,
        "Teacher and frozen parameters are included: take what requires a gradient in student and predictor.": expected
        | teacher
        | frozen,
        "Frozen parameters are included: take those whose requires_grad holds.": expected | frozen,
        "A frozen parameter is included: go by requires_grad, not by the name of the position tables.": expected
        | once_each(("student.frozen",)),
        "The predictor is left out: it would never learn.": only(lambda name: name.startswith("student")),
        "The student is left out: it would never learn.": only(lambda name: name.startswith("predictor")),
        "The mask token is left out: it is a parameter of the predictor itself, not of one of its layers.": only(
            lambda name: name != "predictor.mask_token"
        ),
        "What belongs to the student or predictor itself, not to a layer, is left out: the mask token is one.": only(
            lambda name: name.count(".") > 1
        ),
        "The patch embedding is left out: it would never learn.": only(lambda name: "patch_embed" not in name),
        "Biases and norms are left out: they are still trained, in a group with weight_decay 0.": only(
            lambda name: TRAINED[name] > 1
        ),
        "Biases are left out: they belong in a group with weight_decay 0.": only(
            lambda name: not name.endswith("bias")
        ),
        "Parameters of one axis only are left out: they belong in a group with weight_decay 0.": only(
            lambda name: TRAINED[name] != 1
        ),
        "A parameter without axes is left out: it belongs with those of one axis.": only(
            lambda name: TRAINED[name] > 0
        ),
        "Parameters of three and four axes are left out: mask token and patch embedding are among those with "
        "weight decay.": only(lambda name: TRAINED[name] < 3),
        "Go by the axes of a parameter: those that are called neither weight nor bias are left out.": only(
            lambda name: name.endswith(("weight", "bias"))
        ),
    }


def decays(wide: float, narrow: float = 0.0) -> dict[str, float]:
    """The weight decay of each trained parameter: `wide` if it has two axes and more, `narrow` if it has fewer."""
    return {name: wide if axes > 1 else narrow for name, axes in TRAINED.items()}


def decay_mistakes(decay: float, names: list[str]) -> Mistakes:
    """Mistakes in the weight decay of the parameters that are called `names`."""

    def rule(decayed: Callable[[str, int], bool]) -> dict[str, float]:
        return {name: decay if decayed(name, axes) else 0.0 for name, axes in TRAINED.items()}

    mistakes = {
        "weight_decay is ignored: this is its default.": decays(0.04),
        "Everything has weight decay: biases and LayerNorm weights must not.": rule(lambda name, axes: True),
        "Nothing has weight decay.": rule(lambda name, axes: False),
        "The two groups are swapped: what has two axes and more has weight decay.": decays(0.0, decay),
        "Go by the number of axes, not by the name: LayerNorm weights have one axis and are decayed here.": rule(
            lambda name, axes: "bias" not in name
        ),
        "Go by the number of axes, not by the name: what is called neither bias nor norm can have one axis.": rule(
            lambda name, axes: "bias" not in name and "norm" not in name
        ),
        "Biases are decayed: they have one axis.": rule(lambda name, axes: axes > 1 or name.endswith("bias")),
        "LayerNorm weights are decayed: they have one axis.": rule(
            lambda name, axes: axes > 1 or name.endswith("norm.weight")
        ),
        "The mask token has no weight decay: it has three axes, so it has one.": rule(
            lambda name, axes: axes > 1 and "mask" not in name
        ),
        "Tensors of three axes and more have no weight decay: only those of at most one have none.": rule(
            lambda name, axes: axes == 2
        ),
        "A parameter without axes is decayed: at most one axis means no weight decay.": rule(
            lambda name, axes: axes != 1
        ),
        "Tensors of one axis are decayed.": rule(lambda name, axes: axes > 0),
        "The predictor has no weight decay.": rule(lambda name, axes: axes > 1 and name.startswith("student")),
        "Go by the number of axes, not by the name: a bias of two axes is decayed.": rule(
            lambda name, axes: axes > 1 and "bias" not in name
        ),
        "A group has no weight_decay of its own, so that it gets the optimizer's (0.5 here): write 0.0.": decays(
            decay, 0.5
        ),
        "The groups have no weight_decay of their own, so that they get the optimizer's (0.5 here).": decays(0.5, 0.5),
        "A group has no weight_decay of its own, so that it gets the optimizer's (0.5 here).": decays(0.5),
    }
    return {sentence: {name: wrong[name] for name in names} for sentence, wrong in mistakes.items()}


class Setting(NamedTuple):
    """What a step starts from, in the order of one_step (in checks/calls)."""

    student: Tensor
    teacher: Tensor
    predictor: Tensor
    images: Tensor
    context: Tensor
    targets: Tensor
    rate: float
    momentum: float
    left: float  # in every .grad, from before


def draw_setting(batch: int, blocks: int) -> Setting:
    patches = torch.rand(batch, 16).argsort(dim=1)
    targets = patches[:, 6:].repeat(1, blocks)[:, : 3 * blocks].view(batch, blocks, 3)
    student, teacher, predictor = torch.randn(12, 5) * 0.4, torch.randn(12, 5) * 0.4, torch.randn(5, 5)
    rate, momentum = 0.1 + 0.1 * torch.rand(()).item(), 0.3 + 0.4 * torch.rand(()).item()
    images, context = torch.randn(batch, 3, 8, 8), patches[:, :5]
    return Setting(student, teacher, predictor, images, context, targets, rate, momentum, left=3.0)


def view(student: Tensor, predictor: Tensor, at: Setting) -> Tensor:
    """The student's predictions, from the context alone."""
    return infer(predictor, encode(student, at.images, at.context), at.context, at.targets)


def unmasked_view(student: Tensor, predictor: Tensor, at: Setting) -> Tensor:
    """The predictions of a student that sees the full image."""
    return infer(predictor, take(encode(student, at.images), at.context), at.context, at.targets)


def normal(tokens: Tensor) -> Tensor:
    return F.layer_norm(tokens, tokens.shape[-1:])


def truth(tokens: Tensor, at: Setting) -> Tensor:
    """The targets, from tokens of all patches."""
    return take(normal(tokens), at.targets)


def loss(student: Tensor, predictor: Tensor, at: Setting) -> Tensor:
    """Predictions from the student's view of the context against the teacher's view of the full image."""
    return F.mse_loss(view(student, predictor, at), truth(encode(at.teacher, at.images), at))


def gradients(at: Setting, of: Callable[[Tensor, Tensor, Setting], Tensor] = loss) -> tuple[Tensor, ...]:
    """The gradients of a loss with respect to student and predictor."""
    student, predictor = at.student.clone().requires_grad_(), at.predictor.clone().requires_grad_()
    return torch.autograd.grad(of(student, predictor, at), (student, predictor))


def after_step(at: Setting, student: Tensor, predictor: Tensor) -> dict[str, Tensor]:
    """Student and predictor after a step of SGD along these gradients."""
    return {"student": at.student - at.rate * student, "predictor": at.predictor - at.rate * predictor}


def average(at: Setting, student: Tensor) -> Tensor:
    """The teacher after it has followed this student."""
    return at.momentum * at.teacher + (1 - at.momentum) * student


def loss_mistakes(at: Setting) -> Mistakes:
    full, seen = encode(at.teacher, at.images), view(at.student, at.predictor, at)
    targets, own_targets = truth(full, at), truth(encode(at.student, at.images), at)
    by_teacher = view(at.teacher, at.predictor, at)
    blocks = torch.stack([encode(at.teacher, at.images, block) for block in at.targets.unbind(1)], dim=1)
    union = encode(at.teacher, at.images, at.targets.flatten(1)).view_as(blocks)
    moved_teacher = average(at, at.student)
    after = after_step(at, *gradients(at))
    pairs = {  # what is compared: predictions and targets
        "The student sees the full image: pass it keep=masks.context, so that the targets stay hidden.": (
            unmasked_view(at.student, at.predictor, at),
            targets,
        ),
        "The teacher sees only the target patches: it encodes the full image, then targets are taken.": (
            seen,
            normal(union),
        ),
        "The teacher sees one target block at a time: it encodes the full image, then the targets are taken.": (
            seen,
            normal(blocks),
        ),
        "The targets come from the student: they come from model.teacher.": (seen, own_targets),
        "The predictions come from the teacher's view of the context: the student encodes it.": (by_teacher, targets),
        "Student and teacher are swapped: the student encodes the context, the teacher the full image.": (
            by_teacher,
            own_targets,
        ),
        "The teacher is in training mode: it stays in eval mode.": (seen, truth(full.flip(2), at)),
        "The targets are not normalised: F.layer_norm over D, as in teacher_targets.": (seen, take(full, at.targets)),
        "The teacher moves before its targets are taken: it moves at the end of the step.": (
            seen,
            truth(encode(moved_teacher, at.images), at),
        ),
        "This is the loss after the step: give back the one that was minimised.": (view(**after, at=at), targets),
        "The predictions are normalised: only the targets are.": (normal(seen), targets),
    }
    return {
        **{sentence: F.mse_loss(*pair) for sentence, pair in pairs.items()},
        "The squares are summed: the loss is their mean.": F.mse_loss(seen, targets, reduction="sum"),
        "The squares are summed over D: the loss is the mean over all axes.": 5 * F.mse_loss(seen, targets),
        "This is smooth L1: jepa_loss squares the difference.": F.smooth_l1_loss(seen, targets),
        "This is L1: jepa_loss squares the difference.": F.l1_loss(seen, targets),
    }


def self_taught_loss(student: Tensor, predictor: Tensor, at: Setting) -> Tensor:
    """The loss against the student's own view, with the gradient through both."""
    return F.mse_loss(view(student, predictor, at), truth(encode(student, at.images), at))


def unmasked_loss(student: Tensor, predictor: Tensor, at: Setting) -> Tensor:
    """The loss of a student that sees the full image."""
    return F.mse_loss(unmasked_view(student, predictor, at), truth(encode(at.teacher, at.images), at))


def step_mistakes(at: Setting) -> Mistakes:
    by_student, by_predictor = gradients(at)
    norm = torch.cat([by_student.flatten(), by_predictor.flatten()]).norm()
    count = at.targets.numel() * at.student.shape[1]  # elements of the loss
    stuck, left = torch.zeros_like(by_student), torch.full_like(by_student, at.left)
    stuck_predictor, left_predictor = torch.zeros_like(by_predictor), torch.full_like(by_predictor, at.left)
    along = {  # the gradients that are followed
        "Nothing moved: optimizer.step() is missing, comes before loss.backward(), or is another optimizer's; or "
        "zero_grad() comes between backward() and step().": (stuck, stuck_predictor),
        "Gradients left from before are added: call optimizer.zero_grad() before loss.backward().": (
            by_student + at.left,
            by_predictor + at.left,
        ),
        "Only gradients left from before count: optimizer.step() comes after loss.backward().": (left, left_predictor),
        "The optimizer steps twice.": (2 * by_student, 2 * by_predictor),
        "The student did not move: its tokens are detached, or computed under no_grad.": (stuck, by_predictor),
        "The student's tokens are detached, or computed under no_grad, so that only gradients left from before "
        "move it.": (left, by_predictor),
        "The predictor did not move.": (by_student, stuck_predictor),
        "The targets come from the student, and the gradient runs through them: they are the teacher's.": gradients(
            at, self_taught_loss
        ),
        "The student sees the full image: pass it keep=masks.context.": gradients(at, unmasked_loss),
        "The gradient is clipped: the step takes it as it is.": (by_student / norm, by_predictor / norm),
        "The step goes up the gradient.": (-by_student, -by_predictor),
        "The gradient is of the summed loss, not of the mean.": (by_student * count, by_predictor * count),
    }
    right = after_step(at, by_student, by_predictor)
    swapped = at.momentum * right["student"] + (1 - at.momentum) * at.teacher
    return {
        **{sentence: after_step(at, *pair) for sentence, pair in along.items()},
        "update_teacher has its arguments swapped: the student is moved to the teacher.": right | {"student": swapped},
    }


def teacher_mistakes(at: Setting, student: Tensor) -> Mistakes:
    """Mistakes in the teacher after the step that made this student."""
    early = average(at, at.student)
    return {
        "The teacher moves before the student's step: update_teacher comes after optimizer.step().": early,
        "The teacher did not move: update_teacher is missing, or its arguments are swapped.": at.teacher,
        "The momentum is on the wrong side: it weighs the teacher.": average(
            at._replace(momentum=1 - at.momentum), student
        ),
        "momentum is ignored: this is .996.": average(at._replace(momentum=0.996), student),
        "The teacher is a copy of the student: it moves by 1 - momentum of the way.": student,
        "The teacher moves twice.": average(at._replace(teacher=average(at, student)), student),
        "The teacher moves before and after the student's step: once, at the end.": average(
            at._replace(teacher=early), student
        ),
    }
