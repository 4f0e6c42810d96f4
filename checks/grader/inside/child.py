"""A child: the only process in which a learner's code runs, for one submission of one lesson.

All that it needs is sent to it: the notebook, the reference of earlier lessons, and what runs beside the learner's code
(checks/calls). Only plain data goes back.
"""

from __future__ import annotations

import dataclasses
import importlib
import marshal
import os
import socket
import sys
import tempfile
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor

import lessons
from checks.grader.inside import wire
from checks.grader.inside.guard import Guard
from checks.grader.inside.isolation import drop_privileges, enter_namespaces, limit, refuse_what_is_shared
from checks.tool import learner

CALLS = "checks.calls"
# prefixes of modules; those of the course that a child may have are there already when a lesson is read
NOT_A_LESSONS = ("solutions.", "checks.test_", "checks.grade", "checks.expected", f"{CALLS}.")


def live(descriptor: int, folder: str, options: dict[str, Any], guard: Guard) -> None:
    """Shut this process in, then do what the checker asks."""
    channel = socket.socket(fileno=descriptor)
    channel.sendall(b"r")  # the kernel tells the checker who sent it, so that it can put this process into a cgroup
    os.umask(0o077)
    os.setsid()  # a signal to one's process group reaches no one outside, in no tier
    if options["tier"] == "bubblewrap":
        enter_namespaces(options["kept"])
    if options["tier"] != "trusted":
        limit(options["limits"])
        drop_privileges(options["uid"])
        refuse_what_is_shared()
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.dup2(channel.detach(), 3)
    os.closerange(4, 1024)
    os.environ.clear()
    os.environ.update(HOME=folder, TMPDIR=folder, PATH="/usr/bin:/bin", LANG="C.UTF-8", OMP_NUM_THREADS="1")
    tempfile.tempdir = None
    os.chdir(folder)
    serve(socket.socket(fileno=3), guard)


def serve(channel: socket.socket, guard: Guard) -> None:
    """Read the lesson, then run one function of the checks after the other on it."""
    setup = wire.receive(channel, bounded=False)
    finder = Sent(setup["modules"])
    sys.meta_path.insert(0, finder)
    calls = {name: importlib.import_module(name) for name in setup["modules"] if name.startswith(f"{CALLS}.")}
    for module in calls.values():
        guard.watch(module)
    said: dict[str, Any] = {"nonce": setup["nonce"], "call": 0}
    wire.send(channel, said)
    handed_in = wire.receive(channel, bounded=False)
    guard.lesson = handed_in["label"]
    try:
        content = handed_in["content"].numpy().tobytes()
        lesson = lessons.load_lesson(
            handed_in["lesson"], Path(handed_in["label"]), content, reference=True, only=handed_in["exercises"]
        )
        said["problem"], said["notes"] = "", lesson.__report__.lines()
    except lessons.LessonError as error:
        said["problem"], said["notes"] = str(error), []
    while True:
        said["flags"] = [*finder.refused, *guard.replaced()]
        try:
            wire.send(channel, said)
        except wire.WireError as error:
            said["outcome"] = {"error": ("NotPlain", "TypeError"), "message": f"{error}: a plain value is needed"}
            wire.send(channel, said)
        request = wire.receive(channel, bounded=False)
        said = {"nonce": setup["nonce"], "call": request["call"]}
        if request["function"] is None:
            said["flags"] = []
            wire.send(channel, said)
            return
        function = getattr(calls[request["module"]], request["function"])
        outcome = learner.run(lesson, function, request["inputs"], request["seed"])
        said["outcome"] = {field.name: getattr(outcome, field.name) for field in dataclasses.fields(outcome)}
        if size_of(outcome.value) > wire.BODY_LIMIT // 2:
            said["outcome"] |= {"value": None, "error": ("NotPlain", "TypeError"), "message": "the result is huge"}


def size_of(value: Any) -> int:
    """About the bytes of a plain value in a message."""
    if isinstance(value, (list, tuple)):
        return sum(map(size_of, value))
    if isinstance(value, dict):
        return sum(size_of(key) + size_of(entry) for key, entry in value.items())
    return value.nbytes + 64 if isinstance(value, Tensor) else len(value) * 12 if isinstance(value, str) else 24


class Sent(MetaPathFinder, Loader):
    """Imports the modules that the checker sent, and notes who asks for others that no lesson uses."""

    def __init__(self, modules: dict[str, Tensor]):
        self.modules = modules
        self.refused: list[str] = []

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name in self.modules:
            return ModuleSpec(name, self, is_package=name in ("solutions", CALLS))
        if name.startswith(NOT_A_LESSONS):
            self.refused.append(f"it imports {name}, which a lesson may not use")
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(marshal.loads(self.modules[module.__name__].numpy().tobytes()), vars(module))
