"""What runs inside the sandbox: a process with torch imported and no secret, and its zygotes, which fork children."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import socket
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import lessons
from checks.grader.inside import wire
from checks.grader.inside.child import live
from checks.grader.inside.guard import Guard
from checks.grader.inside.isolation import NEW_PIDS, libc, system_call
from checks.tool import learner

HUGE_PAGE, COLLAPSE = 2**21, 25  # bytes; madvise's advice
SET_CHILD_SUBREAPER = 36


def main() -> None:
    options = json.loads(sys.argv[1])
    control = socket.socket(fileno=options["control"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the checker's to handle
    warm_up()
    course = [module for name, module in sys.modules.items() if name.split(".")[0] in ("checks", "lessons")]
    guard = Guard(course)  # after the imports of warm_up, which replace functions of torch themselves
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


def serve_zygote(control: socket.socket, options: dict[str, Any], guard: Guard) -> None:
    """Fork a child for each submission that a worker of the checker sends, one at a time."""
    if options["tier"] != "bubblewrap" and sys.platform == "linux":
        system_call("prctl", SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # or a daemon would escape to init
    control.sendall(b"r")
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 64, 1)
        if not message:
            return
        # one descriptor a message, and never a second one before "end"
        fork = Fork(control, descriptors[0], options, guard)
        ended = control.recv(64) == b"end"
        code = fork.end()
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
    torch.compile(nn.Identity(), backend="eager")(torch.rand(1))  # torch then replaces methods of nn.Module itself
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


class Fork:
    """A child, from the zygote's side."""

    def __init__(self, control: socket.socket, descriptor: int, options: dict[str, Any], guard: Guard):
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
