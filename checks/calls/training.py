"""What runs beside a learner's training: functions of (lesson, ...) that a check calls through `learner`.

Stand-ins take the place of the model that is trained, so that only the lesson's own code is checked.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from checks.tool.expect import shape


def learning_rates(lesson, steps, total_steps, warmup_steps, options):
    """learning_rate_at(step, {total_steps}, {warmup_steps}, **{options}) for step in {steps}"""
    return [number(lesson.learning_rate_at(step, total_steps, warmup_steps, **options)) for step in steps]


def weight_decays(lesson, steps, total_steps, options):
    """weight_decay_at(step, {total_steps}, **{options}) for step in {steps}"""
    return [number(lesson.weight_decay_at(step, total_steps, **options)) for step in steps]


def number(value):
    return float(value) if isinstance(value, float) else value  # numpy's float64 is a float


def grouped(lesson, options, tied):
    """AdamW(parameter_groups(model, **{options}), weight_decay=0.5)"""
    model = StandIn(*small_parts(tied))
    optimizer = torch.optim.AdamW(lesson.parameter_groups(model, **options), lr=1e-3, weight_decay=0.5)
    names = {id(value): name for name, value in model.named_parameters()}
    return [
        [names.get(id(value), "a tensor that is not the model's"), float(group["weight_decay"])]
        for group in optimizer.param_groups
        for value in group["params"]
    ]


def one_step(lesson, student, teacher, predictor, images, context, targets, rate, momentum, left):
    """train_step(model, images {images}, Masks({context}, {targets}), SGD of lr {rate}, {momentum}), .grad = {left}"""
    model = StandIn(Encoder(student), Teacher(teacher).requires_grad_(False), Inference(predictor)).train()
    trained = [model.student.weight, model.predictor.weight]
    for weight in trained:
        weight.grad = torch.full_like(weight, left)
    optimizer = torch.optim.SGD(trained, lr=rate)
    loss = lesson.train_step(model, images, Masks(context, targets), optimizer, momentum)
    weights = {name: getattr(model, name).weight for name in ("student", "predictor", "teacher")}
    return {"loss": loss, "graph": getattr(loss, "requires_grad", False), **weights}


def small_parts(tied):
    """Student, teacher and predictor, whose names do not tell how many axes a parameter has."""
    student = nn.ModuleDict({"patch_embed": nn.Conv2d(3, 4, 2), "norm": nn.LayerNorm(4), "mlp": nn.Linear(4, 4)})
    student.pos_embed = nn.Parameter(torch.zeros(1, 9, 4), requires_grad=False)
    student.frozen = nn.Parameter(torch.zeros(4, 4), requires_grad=False)
    student.gamma = nn.Parameter(torch.ones(4))
    student.temperature = nn.Parameter(torch.ones(()))
    student.relative_bias = nn.Parameter(torch.zeros(2, 3))
    if tied:
        student["head"] = nn.Linear(4, 4)
        student["head"].weight = student["mlp"].weight
    teacher = nn.ModuleDict({"patch_embed": nn.Conv2d(3, 4, 2), "norm": nn.LayerNorm(4)}).requires_grad_(False)
    predictor = nn.ModuleDict({"predictor_embed": nn.Linear(4, 8), "predictor_norm": nn.LayerNorm(8)})
    predictor.mask_token = nn.Parameter(torch.zeros(1, 1, 8))
    predictor.predictor_pos_embed = nn.Parameter(torch.zeros(1, 9, 8), requires_grad=False)
    return student, teacher, predictor


class StandIn(nn.Module):
    """In the place of IJEPA."""

    def __init__(self, student, teacher, predictor):
        super().__init__()
        self.student, self.teacher, self.predictor = student, teacher, predictor

    def train(self, mode=True):
        super().train(mode)
        self.teacher.eval()
        return self


class Encoder(nn.Module):
    """In the place of the student: one matrix, and the mean over all tokens, so that each token sees all.

    It works on a copy of its weight, here and below, so that a step before backward shows in the weights.
    """

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, images, keep=None):
        if keep is not None and keep.ndim != 2:
            raise ValueError(f"keep {shape(keep)} must be [B, K]: the student keeps masks.context")
        return encode(self.weight.clone(), images, keep)


class Teacher(Encoder):
    """A teacher whose training mode shows, as that of dropout would, but each time alike."""

    def forward(self, images, keep=None):
        tokens = super().forward(images, keep)
        return tokens.flip(2) if self.training else tokens


class Inference(nn.Module):
    """In the place of the predictor."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, context_tokens, context, targets):
        if context.ndim != 2 or targets.ndim != 3:
            raise ValueError(f"context {shape(context)} must be [B, Nc], targets {shape(targets)} must be [B, M, Nt]")
        if context_tokens.shape[:2] != context.shape:
            raise ValueError(
                f"context_tokens {shape(context_tokens)} must be the tokens of context {shape(context)} alone"
            )
        return infer(self.weight.clone(), context_tokens, context, targets)


class Masks(NamedTuple):
    context: Tensor
    targets: Tensor


def encode(weight: Tensor, images: Tensor, keep: Tensor | None = None) -> Tensor:
    """What Encoder computes: [B, 3, H, W] -> [B, K, D]."""
    patches = F.unfold(images, 2, stride=2).transpose(1, 2)
    tokens = torch.tanh((patches if keep is None else take(patches, keep)) @ weight)
    return tokens + tokens.mean(dim=1, keepdim=True)


def infer(weight: Tensor, context_tokens: Tensor, context: Tensor, targets: Tensor) -> Tensor:
    """What Inference computes: [B, Nc, D] -> [B, M, Nt, D]."""
    seen = (context_tokens * place(context)).mean(dim=1) @ weight
    return seen[:, None, None] * place(targets)


def place(indices: Tensor) -> Tensor:
    """A number for each position, in the place of a position embedding."""
    return 1.5 + torch.cos(2.0 * indices)[..., None]


def take(tokens: Tensor, indices: Tensor) -> Tensor:
    """tokens [B, N, D] at indices [B, ...] -> [B, ..., D]."""
    return torch.stack([row[chosen] for row, chosen in zip(tokens, indices, strict=True)])
