"""Answers that get no value right, for every exercise: what comes back has the right form at most."""

import copy
import inspect
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import torch
from torch import Generator, Tensor, nn

from solutions.misconceptions import exercises, load

Fill = Callable[[Tensor], Tensor]
# (the exercise's own function, what it is given, by position and by name) -> what comes back in its place
Answer = Callable[[Callable, tuple, dict], Any]


def zeros(inputs: tuple) -> Fill:
    return torch.zeros_like


def ones(inputs: tuple) -> Fill:
    return torch.ones_like


def infinities(inputs: tuple) -> Fill:
    return lambda tensor: torch.full_like(tensor, torch.inf if tensor.is_floating_point() else True)


def noise(inputs: tuple) -> Fill:
    """Fresh random numbers, from the generator if one is given; whole ones in the range that the tensor's have."""
    generator = next((value for value in inputs if isinstance(value, Generator)), None)

    def fill(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point():
            return torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor.dtype)
        above = max(int(tensor.max()), 1) + 1 if tensor.numel() else 2
        return torch.randint(above, tensor.shape, generator=generator).to(tensor.dtype)

    return fill


def an_inputs_numbers(inputs: tuple) -> Fill:
    """The numbers of the first tensor that is given, one after the other, as many as are asked for."""
    first = next((value for value in inputs if isinstance(value, Tensor)), torch.arange(1.0, 8.0))
    numbers = first.detach().flatten()

    def fill(tensor: Tensor) -> Tensor:
        times = -(-tensor.numel() // max(numbers.numel(), 1))
        return numbers.repeat(times)[: tensor.numel()].view(tensor.shape).to(tensor.dtype)

    return fill


def filled(value: Any, fill: Fill) -> Any:
    """A value of the same form, with other numbers in it."""
    if isinstance(value, nn.Parameter):
        return nn.Parameter(fill(value.detach()), requires_grad=value.requires_grad)
    if isinstance(value, Tensor):
        return fill(value.detach())
    if isinstance(value, nn.Module):
        other = copy.deepcopy(value)
        fill_in_place(other, fill)
        return other
    if isinstance(value, dict):
        return {name: filled(entry, fill) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        entries = [filled(entry, fill) for entry in value]
        return type(value)(*entries) if hasattr(value, "_fields") else type(value)(entries)
    return fill(torch.tensor(value)).item() if isinstance(value, int | float) else value


def fill_in_place(module: nn.Module, fill: Fill) -> None:
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.copy_(fill(tensor))


def right_value(own: Callable, inputs: tuple, options: dict) -> Any:
    """What the exercise gives for copies of its inputs; a generator is the same one, so that it advances.

    Raises what the exercise raises: all these answers refuse what it refuses.
    """
    memo = {id(value): value for value in (*inputs, *options.values()) if isinstance(value, Generator)}
    detached = tuple(value.detach() if type(value) is Tensor else value for value in inputs)
    return own(*copy.deepcopy(detached, memo), **copy.deepcopy(options, memo))


def same_form(fill_for: Callable, own: Callable, inputs: tuple, options: dict) -> Any:
    return filled(right_value(own, inputs, options), fill_for(inputs))


def in_the_models(fill_for: Callable, own: Callable, inputs: tuple, options: dict) -> Any:
    value = right_value(own, inputs, options)
    for module in inputs:
        if isinstance(module, nn.Module):
            fill_in_place(module, fill_for(inputs))
    return filled(value, fill_for(inputs))


def in_the_first_model(fill_for: Callable, own: Callable, inputs: tuple, options: dict) -> Any:
    value = right_value(own, inputs, options)
    fill_in_place(inputs[0], fill_for(inputs))
    return filled(value, fill_for(inputs))


def one_number(fill_for: Callable, own: Callable, inputs: tuple, options: dict) -> Any:
    value = right_value(own, inputs, options)
    return fill_for(inputs)(torch.zeros((), dtype=getattr(value, "dtype", torch.float32)))


def an_axis_more(fill_for: Callable, own: Callable, inputs: tuple, options: dict) -> Any:
    value = right_value(own, inputs, options)
    return fill_for(inputs)(value[None].repeat(2, *[1] * value.ndim)) if isinstance(value, Tensor) else [value]


def input_itself(place: int, own: Callable, inputs: tuple, options: dict) -> Any:
    right_value(own, inputs, options)
    return inputs[place] if place < len(inputs) else None


def nothing(own: Callable, inputs: tuple, options: dict) -> None:
    right_value(own, inputs, options)


def refusal(own: Callable, inputs: tuple, options: dict) -> None:
    raise ValueError("refused")


IN_PLACE = ("update_teacher", "train_step")  # what they change is what they are for
FILLS = (zeros, ones, noise, infinities, an_inputs_numbers)


def answers(exercise: str, own: Callable) -> Iterator[tuple[str, Answer]]:
    """The answers of an exercise, with their names."""
    forms = {same_form: FILLS, one_number: (ones, an_inputs_numbers), an_axis_more: (zeros, noise)}
    if exercise in IN_PLACE:
        forms |= {in_the_models: FILLS, in_the_first_model: FILLS}
    for form, fills in forms.items():
        for fill_for in fills:
            yield f"{fill_for.__name__}, {form.__name__}", partial(form, fill_for)
    names = [name for name in inspect.signature(own).parameters if name != "self"]
    for place, name in enumerate(names):
        yield f"{name} itself", partial(input_itself, place)
    yield "nothing", nothing
    yield "a refusal", refusal


def lessons_with_answers(lesson: str, exercise: str) -> Iterator[tuple[str, ModuleType, list[int]]]:
    """(name of the answer, the reference with it in the exercise's place, a list that grows when the answer is asked).

    Of a class, its forward is replaced: the layers that it makes are the reference's.
    """
    cell = exercises(lesson)[exercise]
    own = getattr(load(lesson, exercise, cell), exercise)
    for name, answer in answers(exercise, own.forward if inspect.isclass(own) else own):
        module, asked = load(lesson, exercise, cell), []
        replace(module, exercise, answer, asked)
        yield name, module, asked


def replace(module: ModuleType, exercise: str, answer: Answer, asked: list[int]) -> None:
    own = getattr(module, exercise)

    def function(*inputs: Any, **options: Any) -> Any:
        asked.append(1)
        return answer(own, inputs, options)

    if not inspect.isclass(own):
        setattr(module, exercise, function)
        return
    forward = own.forward

    def method(self: nn.Module, *inputs: Any, **options: Any) -> Any:
        asked.append(1)
        return answer(partial(forward, self), inputs, options)

    own.forward = method
