"""One training step: of the lessons' pieces as they are, or of the reference, fast.

A batch is a list of groups. The images of a group share the sizes of their masks and, in a recipe that uses them, the
statistics of a batch. A core works on one group at a time and takes the next one when it is done, so that cores seldom
wait for each other, and a core that something else keeps busy does fewer. Gradients are summed in the order of the
groups, so that it makes no difference who has worked on which.
"""

from __future__ import annotations

import copy
import queue
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from solutions.masking import Masks
from solutions.patch_embedding import patchify
from solutions.trainer.config import Config
from solutions.trainer.forward import infer, student_tokens, teacher_tokens, teacher_tokens_at
from solutions.trainer.machine import Processes, autocast
from solutions.trainer.recipe import NORMALISE, recipe_step, variance_covariance
from solutions.vision_transformer import gather_tokens

Group = tuple[Tensor, Masks]  # images [b, 3, H, W] and their masks


class Step(Protocol):
    """Train on the groups that `group` gives by their numbers, then move the teacher -> the mean loss, detached."""

    def __call__(self, group: Callable[[int], Group], numbers: Sequence[int], momentum: float) -> Tensor: ...


class LessonStep:
    """The pieces' own train_step, in autocast. It gets the whole batch as one group."""

    def __init__(
        self,
        config: Config,
        pieces: SimpleNamespace,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
        processes: Processes,
    ):
        self.model, self.optimizer = model, optimizer
        self.train_step: Callable[..., Tensor] = pieces.train_step
        if not config.is_plain:
            self.train_step = lambda *inputs: recipe_step(pieces, config, *inputs)
        self.autocast = autocast(config.precision, device)
        if processes.count > 1:
            optimizer.register_step_pre_hook(lambda optimizer, *_: average_gradients(optimizer, processes))

    def __call__(self, group: Callable[[int], Group], numbers: Sequence[int], momentum: float) -> Tensor:
        images, masks = group(numbers[0])
        with self.autocast:
            return self.train_step(self.model, images, masks, self.optimizer, momentum)


def average_gradients(optimizer: torch.optim.Optimizer, processes: Processes) -> None:
    """Give each parameter the mean of its gradients in all processes."""
    for values in optimizer.param_groups:
        for parameter in values["params"]:
            if parameter.grad is not None:
                processes.sum(parameter.grad).div_(processes.count)


class FastStep:
    """The reference's train_step on all cores, or on one GPU: the same numbers within rounding.

    The weights that are trained stay in float32, as one long tensor each for student and predictor, and for the
    teacher. A copy of them in the precision of the products is made once a step, and not cast at each use. What is left
    out of the forward passes stands in forward.py.
    """

    def __init__(
        self,
        config: Config,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        device: torch.device,
        processes: Processes,
    ):
        self.config, self.optimizer, self.processes = config, optimizer, processes
        dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        trained = trained_parameters(model)
        self.trained, self.teacher = flat(trained), flat(model.teacher.parameters())
        self.student = self.trained[: len(self.teacher)]  # student and teacher have the same parameters, in one order
        self.gradient = torch.zeros_like(self.trained)
        for parameter, part in zip(trained, split(self.gradient, trained), strict=True):
            parameter.grad = part
        # in float32 the copies are the weights themselves
        self.trained_copy, self.teacher_copy = (values.to(dtype) for values in (self.trained, self.teacher))
        self.work_out = torch.compile(self.objective, dynamic=True) if config.compile else self.objective
        self.workers, threads = workers_and_threads(config, device, processes)
        replicas = [replica(model, dtype, self.trained_copy, self.teacher_copy) for _ in range(self.workers)]
        self.pool = Pool(replicas, threads)

    def __call__(self, group: Callable[[int], Group], numbers: Sequence[int], momentum: float) -> Tensor:
        self.trained_copy.copy_(self.trained)
        self.teacher_copy.copy_(self.teacher)
        results = self.pool.map(lambda model, number: self.of_group(model, *group(number)), numbers)
        total = sum(images for _, _, images in results)
        self.gradient.zero_()
        for _, gradient, images in results:
            self.gradient.add_(gradient, alpha=images / total)
        self.processes.sum(self.gradient).div_(self.processes.count)
        self.optimizer.step()
        self.teacher.lerp_(self.student, 1 - momentum)
        return torch.stack([loss * (images / total) for loss, _, images in results]).sum()

    def of_group(self, model: nn.Module, images: Tensor, masks: Masks) -> tuple[Tensor, Tensor, int]:
        """The loss of a group, its gradient as one long tensor, and its number of images."""
        parameters = trained_parameters(model)
        for parameter in parameters:
            parameter.grad = None
        objective, loss = self.work_out(model, images, masks)
        objective.backward()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        return loss.detach(), torch.cat([gradient.flatten() for gradient in gradients]), len(images)

    def objective(self, model: nn.Module, images: Tensor, masks: Masks) -> tuple[Tensor, Tensor]:
        """What a group's gradient is of, and the prediction loss alone."""
        config = self.config
        patches = patchify(images.to(self.trained_copy.dtype), config.patch_size)
        with torch.no_grad():
            targets = self.targets(model.teacher, patches, masks.targets)
        context_tokens = student_tokens(model.student, patches, masks.context)
        predictions = infer(model.predictor, context_tokens, masks.context, masks.targets)
        loss = F.mse_loss(predictions.float(), targets)
        if not (config.variance or config.covariance):
            return loss, loss
        variance, covariance = variance_covariance(context_tokens.flatten(0, 1).float())
        return loss + config.variance * variance + config.covariance * covariance, loss

    def targets(self, teacher: nn.Module, patches: Tensor, targets: Tensor) -> Tensor:
        """What is to be predicted, in float32: [b, M, Nt, D]."""
        indices = targets.flatten(1)
        if self.config.target_norm == "batch":  # takes the statistics of all tokens
            tokens = gather_tokens(NORMALISE["batch"](teacher_tokens(teacher, patches).float()), indices)
        else:
            tokens = NORMALISE[self.config.target_norm](teacher_tokens_at(teacher, patches, indices).float())
        return tokens.unflatten(1, targets.shape[1:])


def workers_and_threads(config: Config, device: torch.device, processes: Processes) -> tuple[int, int]:
    """How many groups this process works on at a time, and with how many threads each."""
    threads = torch.get_num_threads()
    if device.type != "cpu" or config.compile:
        return 1, threads
    workers = min(threads, max(1, config.groups // processes.count))
    return workers, threads // workers


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Those of student and predictor, in this order."""
    return [p for module in (model.student, model.predictor) for p in module.parameters() if p.requires_grad]


def flat(parameters: Iterable[nn.Parameter]) -> Tensor:
    """All parameters one behind the other, as one tensor, whose parts they are from now on."""
    parameters = list(parameters)
    values = torch.cat([parameter.detach().flatten() for parameter in parameters])
    point(parameters, values)
    return values


def split(values: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """The parts of a long tensor, in the shapes of the parameters."""
    parts = values.split([parameter.numel() for parameter in parameters])
    return [part.view_as(parameter) for part, parameter in zip(parts, parameters, strict=True)]


def point(parameters: Sequence[nn.Parameter], values: Tensor) -> None:
    """Let parameters be parts of a long tensor."""
    for parameter, part in zip(parameters, split(values, parameters), strict=True):
        parameter.data = part


def replica(model: nn.Module, dtype: torch.dtype, trained: Tensor, teacher: Tensor) -> nn.Module:
    """A model that reads its weights from these long tensors, and has gradients of its own."""
    made = copy.deepcopy(model).to(dtype)
    for parameter in made.parameters():
        parameter.grad = None
    point(trained_parameters(made), trained)
    point(list(made.teacher.parameters()), teacher)
    return made


class Pool:
    """Worker threads, each with something of its own that is handed to what it does."""

    def __init__(self, owned: Sequence[Any], threads: int):
        """threads: of torch, in each worker."""
        self.owned: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for one in owned:
            self.owned.put(one)
        self.executor = None
        if len(owned) > 1:
            self.executor = ThreadPoolExecutor(len(owned), initializer=torch.set_num_threads, initargs=(threads,))

    def map(self, function: Callable[[Any, int], Any], numbers: Sequence[int]) -> list[Any]:
        """function(what a worker owns, number) for each number, in their order."""

        def work(number: int) -> Any:
            own = self.owned.get()
            try:
                return function(own, number)
            finally:
                self.owned.put(own)

        return list(self.executor.map(work, numbers)) if self.executor else [work(number) for number in numbers]
