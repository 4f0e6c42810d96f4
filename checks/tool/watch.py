"""`pytest checks --watch`: a verdict within a second of saving, from a process that has torch imported already."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import time
from pathlib import Path

import torch

from checks.tool.exercise import catalogue

PAUSE = 0.1  # seconds between two looks at the files


def watch(folder: Path) -> int | None:
    """Fork a child for each run: now, and whenever a lesson in folder changes, be it in the middle of a run.

    Returns None in a child, which then goes on as plain pytest, and the last run's exit status in the parent once
    Ctrl-C is pressed.
    """
    torch.set_num_threads(1)  # a parent that ran two threads could not be forked safely
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # the first optimizer takes a second to import: once, here
    catalogue()  # imports the check files
    gc.freeze()  # or each child's collector would copy the whole heap, page by page
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
    status, child = 0, 0
    try:
        while True:
            before = snapshot(folder)
            child = os.fork()
            if child == 0:
                signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's: a child would say where it was
                return None
            ended = run_until_saved(child, folder, before)
            if ended is None:
                print(f"\nA lesson in {folder} was saved: once more from the start.", flush=True)
                continue
            status, child = ended, 0
            print(f"\nwatching {folder} (Ctrl-C ends)", flush=True)
            while snapshot(folder) == before:
                time.sleep(PAUSE)
    except KeyboardInterrupt:
        if child:
            end(child)
        print()
        return status


def run_until_saved(child: int, folder: Path, before: dict[Path, int]) -> int | None:
    """Wait for a run's end -> its exit status; None if a lesson was saved meanwhile, and then the run is ended."""
    while snapshot(folder) == before:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(PAUSE)
    end(child)
    return None


def end(child: int) -> None:
    with contextlib.suppress(ProcessLookupError, ChildProcessError):  # it has ended by itself
        os.kill(child, signal.SIGKILL)  # it may be in a loop without end, and it has nothing to lose
        os.waitpid(child, 0)


def snapshot(folder: Path) -> dict[Path, int]:
    """When each notebook and script was saved last, in ns; 0 for one that an editor is replacing now."""
    times = {}
    for path in [*folder.rglob("*.ipynb"), *folder.rglob("*.py")]:
        try:
            times[path] = path.stat().st_mtime_ns
        except FileNotFoundError:
            times[path] = 0
    return times
