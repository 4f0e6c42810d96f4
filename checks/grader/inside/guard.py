"""Notices what a submission has replaced."""

from __future__ import annotations

import builtins
import json
import math
import operator
import random
import socket
import struct
import sys
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANGING = ("__warningregistry__", "Storage")  # by a warning, and by torch.set_default_dtype


class Guard:
    """Notices what a submission has replaced: functions of torch and of Python, and what reports its results.

    It lives beside the learner's code, so it is no wall. Points rest on what comes back, which is compared elsewhere.
    """

    def __init__(self, course: Iterable[ModuleType]):
        """course: the modules of the course that are here."""
        self.lesson = ""  # the name of the file that is graded, once it is known
        self.watched: list[tuple[Any, list[str], list[Any]]] = []
        self.code: dict[FunctionType, CodeType] = {}
        self.found: dict[str, None] = {}
        owners = (builtins, math, random, json, struct, socket.socket, torch, Tensor, nn, F, nn.Module, nn.Linear)
        for owner in (*owners, torch.optim, torch.optim.AdamW):
            self._keep(owner)
        for module in course:
            self.watch(module)

    def watch(self, module: ModuleType) -> None:
        """Watch a module of the course: the code of its functions too."""
        self._keep(module)
        functions = [value for value in vars(module).values() if isinstance(value, FunctionType)]
        self.code |= {function: function.__code__ for function in functions}

    def _keep(self, owner: Any) -> None:
        names = [name for name in vars(owner) if not name.startswith("_") or name.endswith("__")]
        names = [name for name in names if name not in CHANGING]
        self.watched.append((owner, names, [vars(owner)[name] for name in names]))

    def replaced(
        self, all: Callable[..., bool] = all, map: Callable[..., Any] = map, same: Callable[..., bool] = operator.is_
    ) -> list[str]:
        """One sentence for each thing that is not what it was. (The defaults are not looked up when it is called.)"""
        for owner, names, values in self.watched:
            now = vars(owner)
            if not all(map(same, map(now.get, names), values)):
                changed = [name for name, value in zip(names, values, strict=True) if now.get(name) is not value]
                for name in changed:
                    self.found[f"it replaces {owner.__name__}.{name}{self.place_of(now.get(name))}"] = None
        for function, code in self.code.items():
            if function.__code__ is not code:
                place = self.place_of(function)
                self.found[f"it replaces the code of {function.__module__}.{function.__name__}{place}"] = None
        if sys.gettrace() or sys.getprofile():
            self.found["it traces the functions that run it"] = None
        return list(self.found)

    def place_of(self, value: object) -> str:
        """Where in the lesson a function was written, as " (03_masking.ipynb, cell 4, line 2)", or "": it wasn't."""
        if type(value) is not FunctionType:
            return ""
        file = value.__code__.co_filename.rpartition("/")[2]
        is_own = self.lesson and file.startswith(self.lesson)
        return f" ({file}, line {value.__code__.co_firstlineno})" if is_own else ""
