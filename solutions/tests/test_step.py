"""The fast step against the lessons' own: forward passes, gradients, the moved weights, whatever works on them."""

import copy
import dataclasses
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from solutions.masking import Masks, sample_masks
from solutions.patch_embedding import patchify
from solutions.predictor import Predictor
from solutions.teacher import update_teacher
from solutions.trainer.ahead import Ahead
from solutions.trainer.config import Config
from solutions.trainer.forward import infer, student_tokens, teacher_tokens, teacher_tokens_at
from solutions.trainer.machine import Processes
from solutions.trainer.step import FastStep, Pool
from solutions.training import IJEPA, parameter_groups, train_step
from solutions.vision_transformer import VisionTransformer

CPU, ALONE = torch.device("cpu"), Processes()
SIZES = {"image_size": 32, "patch_size": 4, "dim": 24, "depth": 2, "heads": 3, "predictor_dim": 12}
CONFIG = Config(**SIZES, predictor_heads=2, batch_size=12, group_size=4, precision="fp32", lr=1e-3)


@torch.no_grad()
def new_model(depth: int = 2) -> nn.Module:
    """A model whose weights are all drawn, so that no zero or one hides a mistake."""
    torch.manual_seed(0)
    model = IJEPA(VisionTransformer(32, 4, 24, depth, 3), Predictor(8, 24, 12, depth, 2))
    for parameter in (*model.student.parameters(), *model.predictor.parameters()):
        parameter.add_(0.1 * torch.randn_like(parameter))
    for mine, other in zip(model.teacher.parameters(), model.student.parameters(), strict=True):
        mine.copy_(other + 0.05)
    return model.train()


def group(number: int) -> tuple[torch.Tensor, Masks]:
    generator = torch.Generator().manual_seed(number)
    return torch.randn(4, 3, 32, 32, generator=generator), sample_masks(4, 8, generator)


@pytest.mark.parametrize("depth", [1, 2])
def test_what_is_left_out_changes_no_number(depth):
    model = new_model(depth).double()
    images, (context, targets) = group(0)
    patches, indices = patchify(images.double(), 4), targets.flatten(1)
    seen = model.student(images.double(), keep=context)
    torch.testing.assert_close(student_tokens(model.student, patches, context), seen)
    whole = model.teacher(images.double())
    torch.testing.assert_close(teacher_tokens(model.teacher, patches), whole)
    chosen = torch.stack([tokens[row] for tokens, row in zip(whole, indices, strict=True)])
    torch.testing.assert_close(teacher_tokens_at(model.teacher, patches, indices), chosen)
    torch.testing.assert_close(infer(model.predictor, seen, context, targets), model.predictor(seen, context, targets))


def fast(config: Config, model: nn.Module) -> tuple[FastStep, torch.optim.Optimizer]:
    optimizer = torch.optim.AdamW(parameter_groups(model), lr=config.lr, fused=True)
    return FastStep(config, model, optimizer, CPU, ALONE), optimizer


def test_a_step_is_the_lessons_step_on_the_mean_of_the_groups():
    """Three groups of four, against lesson 6's own pieces one group after the other."""
    model = new_model()
    other = copy.deepcopy(model)
    step = FastStep(CONFIG, model, torch.optim.SGD(parameter_groups(model), lr=0.1), CPU, ALONE)
    optimizer = torch.optim.SGD(parameter_groups(other), lr=0.1)
    for first in (0, 3):
        loss = step(group, range(first, first + 3), 0.9)
        optimizer.zero_grad()
        losses = []
        for number in range(first, first + 3):
            images, (context, targets) = group(number)
            with torch.no_grad():
                tokens = F.layer_norm(other.teacher(images), (24,))
            truth = torch.stack([row[place] for row, place in zip(tokens, targets, strict=True)])
            losses.append(
                (other.predictor(other.student(images, keep=context), context, targets) - truth).square().mean()
            )
        (sum(losses) / 3).backward()
        optimizer.step()
        update_teacher(other.teacher, other.student, 0.9)
        torch.testing.assert_close(loss, (sum(losses) / 3).detach(), atol=1e-6, rtol=1e-5)
    for name, value in other.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, atol=1e-6, rtol=1e-5)


def test_one_group_is_train_step():
    model = new_model()
    other = copy.deepcopy(model)
    step, _ = fast(dataclasses.replace(CONFIG, batch_size=4), model)
    loss = step(group, range(1), 0.996)
    expected = train_step(other, *group(0), torch.optim.AdamW(parameter_groups(other), lr=CONFIG.lr), 0.996)
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=1e-5)


def test_groups_of_unequal_size_count_by_their_images():
    config = dataclasses.replace(CONFIG, batch_size=11)
    assert [(config.group(n).start, config.group(n).stop) for n in range(config.groups)] == [(0, 3), (3, 7), (7, 11)]
    sizes = {0: 2, 1: 4}

    def part(number: int) -> tuple[torch.Tensor, Masks]:
        images, masks = group(number)
        return images[: sizes[number]], Masks(*(indices[: sizes[number]] for indices in masks))

    both, (alone0, alone1) = (
        (fast(CONFIG, new_model())[0](part, numbers, 1.0) for numbers in ([0, 1],)),
        (fast(CONFIG, new_model())[0](part, [number], 1.0) for number in (0, 1)),
    )
    torch.testing.assert_close(next(both), (2 * alone0 + 4 * alone1) / 6)


def weights_after(threads: int, **changes: object) -> dict[str, torch.Tensor]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        model = new_model()
        step, _ = fast(dataclasses.replace(CONFIG, **changes), model)
        for first in (0, 3, 6):
            step(group, range(first, first + 3), 0.9)
        return model.state_dict()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("changes", [{}, {"precision": "bf16"}, {"variance": 1.0, "covariance": 0.04}])
def test_it_makes_no_difference_how_many_work(changes):
    alone, three = weights_after(1, **changes), weights_after(3, **changes)
    assert all(torch.equal(alone[name], three[name]) for name in alone)


def test_bf16_differs_from_fp32_by_its_rounding():
    losses = {}
    for precision in ("fp32", "bf16"):
        step, _ = fast(dataclasses.replace(CONFIG, precision=precision), new_model())
        losses[precision] = torch.stack([step(group, range(first, first + 3), 0.99) for first in range(0, 30, 3)])
    assert losses["bf16"].dtype == torch.float32
    torch.testing.assert_close(losses["bf16"], losses["fp32"], rtol=0.01, atol=0)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_targets_are_normalised_as_the_config_says(norm):
    model = new_model()
    step, _ = fast(dataclasses.replace(CONFIG, target_norm=norm), model)
    images, (_, targets) = group(0)
    tokens = model.teacher(images).detach()
    if norm == "batch":
        tokens = (tokens - tokens.mean((0, 1))) / (tokens.var((0, 1), correction=0) + 1e-4).sqrt()
    expected = torch.stack([row[place] for row, place in zip(tokens, targets, strict=True)])
    torch.testing.assert_close(
        step.targets(model.teacher, patchify(images, 4), targets), expected, atol=1e-5, rtol=1e-4
    )


def test_a_restored_model_is_trained_on_from_its_weights():
    """load_state_dict writes into the long tensors that are trained."""
    model, other = new_model(), new_model()
    step, optimizer = fast(CONFIG, model)
    step(group, range(3), 0.9)
    again, again_optimizer = fast(CONFIG, other)
    other.load_state_dict(model.state_dict())
    again_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for one in (step, again):
        one(group, range(3, 6), 0.9)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in model.state_dict().items())


def test_an_error_in_a_worker_reaches_the_caller():
    pool = Pool([1, 2], 1)

    def work(own: int, number: int) -> int:
        if number == 3:
            raise ValueError("three")
        return number

    with pytest.raises(ValueError, match="three"):
        pool.map(work, range(6))
    assert pool.map(lambda own, number: own in (1, 2), range(6)) == [True] * 6


def test_each_worker_has_its_own():
    pool, used, lock = Pool(["a", "b"], 1), set(), threading.Lock()
    together = threading.Barrier(2, timeout=60)

    def work(own: str, number: int) -> str:
        with lock:
            assert own not in used
            used.add(own)
        together.wait()
        with lock:
            used.discard(own)
        together.wait()
        return own

    assert {*pool.map(work, range(4))} == {"a", "b"}


def test_groups_made_ahead_are_those_that_are_asked_for():
    made = []

    def make(step: int, number: int) -> tuple[int, int]:
        made.append((step, number))
        return step, number

    ahead = Ahead(make)
    found = [ahead(step, number) for step in range(4) for number in range(2)]
    assert found == [(step, number) for step in range(4) for number in range(2)]
    assert ahead(9, 0) == (9, 0)  # a run that goes on from another step
    assert len(made) == len(set(made))


class Kinds(TorchDispatchMode):
    """The types of all tensors that are made inside."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        self.seen |= {leaf.dtype for leaf in tree_leaves(made) if isinstance(leaf, torch.Tensor)}
        return made


@pytest.mark.parametrize("changes", [{}, {"variance": 1.0, "target_norm": "batch"}, {"precision": "bf16"}])
def test_no_tensor_is_of_a_type_that_apples_gpus_lack(changes):
    """float64 and complex128; a mode sees what its own thread makes, so one worker does all."""
    config = dataclasses.replace(CONFIG, compile=False, batch_size=4, **changes)
    model = new_model()  # made on the CPU, and then moved
    with Kinds() as kinds:
        step, optimizer = fast(config, model)
        step(group, range(1), 0.9)
        optimizer.state_dict()
    assert torch.float32 in kinds.seen and torch.int64 in kinds.seen
    assert not kinds.seen & {torch.float64, torch.complex128}
