"""What runs inside the sandbox: zygotes, which have torch imported and no secret, and their children, one a submission.

A child is the only place where a learner's code runs. All that it needs is sent to it: the notebook, the reference of
earlier lessons, and those functions of the check file that run beside the learner's code. Only plain data goes back.
"""

from __future__ import annotations

import builtins
import contextlib
import ctypes
import dataclasses
import errno
import gc
import importlib.util
import json
import marshal
import math
import operator
import os
import random
import resource
import signal
import socket
import struct
import sys
import tempfile
import traceback
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lessons
from checks import expect, learner, wire

CHECKS = "course_checks"  # the module that holds the functions of the check file
NEW_MOUNTS, NEW_IPC, NEW_PIDS, NEW_NET = 0x20000, 0x8000000, 0x20000000, 0x40000000
NO_SUID, NO_DEVICES, BIND, RECURSIVE = 2, 4, 0x1000, 0x4000
HUGE_PAGE, COLLAPSE = 2**21, 25  # bytes; madvise's advice
SET_CHILD_SUBREAPER, SET_NO_NEW_PRIVILEGES = 36, 38
CAPABILITIES_VERSION = 0x20080522

# What no namespace divides: keyrings, sockets of other families (of virtual machines, say), and io_uring, which opens
# sockets past a filter of system calls. By machine: the number that Linux knows it by, add_key, request_key and keyctl,
# and socket (linux/audit.h, asm/unistd.h)
SYSTEM_CALLS = {
    "x86_64": (0xC000003E, (248, 249, 250), 41),
    "aarch64": (0xC00000B7, (217, 218, 219), 198),
    "riscv64": (0xC00000F3, (217, 218, 219), 198),
}
IO_URING_SETUP, FOREIGN_CALLS = 425, 0x40000000  # x86_64's second set of calls begins here
FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, 16)  # 16: netlink
SET_SECCOMP, FILTER = 22, 2
LOAD, IF_EQUAL, IF_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # of the kernel's filter machine (linux/bpf_common.h)

libc = ctypes.CDLL(None, use_errno=True)


def system_call(name: str, *arguments: Any) -> None:
    """Call a function of the C library that returns 0 where it succeeds. Raises OSError."""
    if getattr(libc, name)(*arguments):
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


def main() -> None:
    options = json.loads(sys.argv[1])
    control = socket.socket(fileno=options["control"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the checker's to handle
    warm_up()
    guard = Guard()  # after the imports of warm_up, which replace functions of torch themselves
    freeze()
    use_huge_pages()
    control.sendall(b"r")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 64, 1)
        if not message:  # the checker has closed this and all zygotes, or is dead
            with contextlib.suppress(ChildProcessError):
                while True:
                    os.wait()
            return
        if os.fork() == 0:
            control.close()
            serve_zygote(socket.socket(fileno=descriptors[0]), options | {"uid": int(message)}, guard)
            os._exit(0)
        os.close(descriptors[0])


def serve_zygote(control: socket.socket, options: dict, guard: Guard) -> None:
    """Fork a child for each submission that a worker of the checker sends, one at a time."""
    if options["tier"] != "bubblewrap" and sys.platform == "linux":
        system_call("prctl", SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # or a daemon would escape to init
    control.sendall(b"r")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 64, 1)
        if not message:
            return
        # one descriptor a message, and never a second one before "end"
        child = Child(control, descriptors[0], options, guard)
        ended = control.recv(64) == b"end"
        code = child.end()
        if not ended:
            return
        control.sendall(bytes([code]))


def warm_up() -> None:
    """Import and run once what is slow the first time, on one thread: a process with more can't be forked safely."""
    torch.set_num_threads(1)
    layer = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.rand(1, 4, 8)).square().mean().backward()
    optimizer.step()
    F.conv2d(torch.rand(1, 3, 4, 4), torch.rand(2, 3, 2, 2))
    F.scaled_dot_product_attention(*torch.rand(3, 1, 2, 4, 4))
    wire.unpack(b'[{"tensor": ["float32", [1]]}]', bytes(4))
    lesson = lessons.load_lesson(lessons.LESSONS[0], Path("warm.py"), b"import numpy\ndef f(): return numpy.ones(1)")
    learner.run(lesson, lambda lesson: torch.from_numpy(lesson.f()), (), 0)
    lessons.forget(lessons.LESSONS[0])
    freeze()


def freeze() -> None:
    """Keep the collector of a forked process from copying the whole heap, page by page."""
    gc.collect()
    gc.freeze()


def use_huge_pages() -> None:
    """Lay what is in memory now on pages of 2 MB, where the kernel can (Linux 6.1): a fork copies the table of all
    pages, and the end of a child takes it down again.
    """
    maps = Path("/proc/self/maps")
    for line in maps.read_text().splitlines() if maps.exists() else ():
        addresses, access, _, _, _, *name = line.split(maxsplit=5)
        start, end = (int(address, 16) for address in addresses.split("-"))
        start = -(-start // HUGE_PAGE) * HUGE_PAGE
        if access.startswith("rw") and name in ([], ["[heap]"]) and end - start >= HUGE_PAGE:
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), COLLAPSE)


class Child:
    """A forked process, from the zygote's side."""

    def __init__(self, control: socket.socket, descriptor: int, options: dict, guard: Guard):
        self.tier, self.uid = options["tier"], options["uid"]
        # without a mount namespace a child's private folder is an ordinary one
        self.folder = "/tmp" if self.tier == "bubblewrap" else tempfile.mkdtemp(prefix="submission-")
        if self.tier == "rlimits" and os.geteuid() == 0:
            os.chown(self.folder, self.uid, self.uid)
        with contextlib.ExitStack() as stack:
            if self.tier == "bubblewrap":  # the child is the first process of a namespace: all others die with it
                ours = os.open("/proc/self/ns/pid", os.O_RDONLY)
                stack.callback(os.close, ours)
                system_call("unshare", NEW_PIDS)
            self.pid = os.fork()
            if self.pid == 0:
                try:
                    control.close()
                    live(descriptor, self.folder, options, guard)
                    os._exit(0)
                except (EOFError, ConnectionError):  # the checker has left
                    os._exit(1)
                except BaseException:
                    traceback.print_exc()  # where the zygote's errors go, if the sandbox isn't closed yet
                    os._exit(1)
            if self.tier == "bubblewrap":
                system_call("setns", ours, NEW_PIDS)
        os.close(descriptor)

    def end(self) -> int:
        """Kill every process of the submission -> the exit status of its first one, 128 + number for a signal."""
        kill(self.pid)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if self.tier != "bubblewrap":
            kill_descendants(self.uid if self.tier == "rlimits" and os.geteuid() == 0 else None)
            os.spawnlp(os.P_WAIT, "rm", "rm", "-rf", self.folder)  # shutil.rmtree gives up on deep folders
        return code if code >= 0 else 128 - code


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_descendants(uid: int | None) -> None:
    """Kill what a submission has left running: orphans come to the zygote, and a uid of one's own has no one else's."""
    if uid is not None:
        pid = os.fork()
        if pid == 0:
            os.setresuid(uid, uid, uid)
            kill(-1)
            os._exit(0)
        os.waitpid(pid, 0)
    while True:
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            if parent == os.getpid():
                kill(int(stat.parent.name))
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


# In the child


def live(descriptor: int, folder: str, options: dict, guard: Guard) -> None:
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


def enter_namespaces(kept: list[str]) -> None:
    """Go on in new namespaces, with a /proc and a /tmp of one's own.

    kept: folders below /tmp that Python lies in.
    """
    system_call("unshare", NEW_MOUNTS | NEW_IPC | NEW_NET)
    # in a chroot the kernel refuses new user namespaces, whose owner could mount and reach much more of the kernel
    system_call("mount", b"/", b"/tmp", None, BIND | RECURSIVE, None)
    os.chroot("/tmp")
    system_call("mount", b"proc", b"/proc", b"proc", NO_SUID | NO_DEVICES, None)
    for path in (b"/proc/keys", b"/proc/key-users"):  # they list the keys of whoever grades
        if os.path.exists(path):
            system_call("mount", b"/dev/null", path, None, BIND, None)
    places = {path: os.open(path, os.O_PATH) for path in kept}
    for folder in (b"/tmp", b"/dev/shm"):
        system_call("mount", b"tmpfs", folder, b"tmpfs", NO_SUID | NO_DEVICES, b"size=16m,mode=1777")
    for path, place in places.items():
        for folder in [*reversed(Path(path).parents[:-2]), Path(path)]:
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        system_call("mount", f"/proc/self/fd/{place}".encode(), path.encode(), None, BIND | RECURSIVE, None)


def limit(limits: dict) -> None:
    """Bound this process and its children, each of them."""
    linux = sys.platform == "linux"
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if linux else 0
    for name, value in (
        ("RLIMIT_AS", used + limits["memory"]),  # torch alone has gigabytes of address space
        ("RLIMIT_CPU", math.ceil(limits["seconds"]) + 1),
        ("RLIMIT_NPROC", limits["processes"]),
        ("RLIMIT_FSIZE", limits["file_size"]),
        ("RLIMIT_NOFILE", 256),
        ("RLIMIT_CORE", 0),
    ):
        hard = resource.getrlimit(getattr(resource, name))[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(getattr(resource, name), (value, value))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file that is too large is an OSError, not a death


def drop_privileges(uid: int) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    if sys.platform == "linux":
        system_call("prctl", SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
        system_call("capset", struct.pack("II", CAPABILITIES_VERSION, 0), bytes(24))


def refuse_what_is_shared() -> None:
    """Let the kernel refuse this process, and those it makes, the system calls that reach what all processes share."""
    if sys.platform != "linux" or os.uname().machine not in SYSTEM_CALLS:
        return
    machine, calls, open_socket = SYSTEM_CALLS[os.uname().machine]
    tests = [(LOAD, 4, None, None), (IF_EQUAL, machine, "next", "refuse")]
    tests += [(LOAD, 0, None, None), (IF_AT_LEAST, FOREIGN_CALLS, "refuse", "next")]
    tests += [(IF_EQUAL, call, "refuse", "next") for call in (*calls, IO_URING_SETUP)]
    tests += [(IF_EQUAL, open_socket, "next", "allow"), (LOAD, 16, None, None)]  # its first argument
    tests += [(IF_EQUAL, family, "allow", "next") for family in FAMILIES]
    places = {"refuse": len(tests), "allow": len(tests) + 1}
    program = b""
    for place, (code, number, *ways) in enumerate(tests):
        skipped = [places.get(way, place + 1) - place - 1 for way in ways]
        program += struct.pack("HBBI", code, *skipped, number)
    program += struct.pack("HBBI", RETURN, 0, 0, 0x50000 | errno.EPERM) + struct.pack("HBBI", RETURN, 0, 0, 0x7FFF0000)
    kept = ctypes.create_string_buffer(program)
    system_call("prctl", SET_SECCOMP, FILTER, struct.pack("HP", len(program) // 8, ctypes.addressof(kept)), 0, 0)


def serve(channel: socket.socket, guard: Guard) -> None:
    """Read the lesson, then run one function of the checks after the other on it."""
    setup = wire.receive(channel, bounded=False)
    finder = Sent(setup["modules"])
    sys.meta_path.insert(0, finder)
    checks = importlib.import_module(CHECKS)
    guard.watch(checks)
    said = {"nonce": setup["nonce"], "call": 0}
    wire.send(channel, said)
    handed_in = wire.receive(channel, bounded=False)
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
        outcome = learner.run(lesson, getattr(checks, request["function"]), request["inputs"], request["seed"])
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
    """Imports the modules that the checker sent. Of the course's other instructor's modules there are none here."""

    def __init__(self, modules: dict[str, Tensor]):
        self.modules = modules
        self.refused: list[str] = []

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name in self.modules:
            return ModuleSpec(name, self, is_package=name == "solutions")
        if name.startswith(("solutions.", "checks.test_", "checks.grade")):
            self.refused.append(f"it imports {name}, which a lesson may not use")
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(marshal.loads(self.modules[module.__name__].numpy().tobytes()), vars(module))


CHANGING = ("__warningregistry__", "Storage")  # by a warning, and by torch.set_default_dtype


class Guard:
    """Notices what a submission has replaced: functions of torch and of Python, and what reports its results.

    It lives beside the learner's code, so it is no wall. Points rest on what comes back, which is compared elsewhere.
    """

    def __init__(self) -> None:
        self.watched: list[tuple[Any, list[str], list[Any]]] = []
        self.code: dict[FunctionType, CodeType] = {}
        self.found: dict[str, None] = {}
        owners = (builtins, math, random, json, struct, socket.socket, torch, Tensor, nn, F, nn.Module, nn.Linear)
        for owner in (*owners, torch.optim, torch.optim.AdamW):
            self._keep(owner)
        for module in (expect, learner, wire, lessons, sys.modules[__name__]):
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

    def replaced(self, all=all, map=map, same=operator.is_) -> list[str]:
        """One sentence for each thing that is not what it was. (The defaults are not looked up when it is called.)"""
        for owner, names, values in self.watched:
            now = vars(owner)
            if not all(map(same, map(now.get, names), values)):
                changed = [name for name, value in zip(names, values, strict=True) if now.get(name) is not value]
                self.found |= dict.fromkeys(f"it replaces {owner.__name__}.{name}" for name in changed)
        for function, code in self.code.items():
            if function.__code__ is not code:
                self.found[f"it replaces the code of {function.__module__}.{function.__name__}"] = None
        if sys.gettrace() or sys.getprofile():
            self.found["it traces the functions that run it"] = None
        return list(self.found)


if __name__ == "__main__":
    main()
