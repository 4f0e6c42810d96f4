"""`pytest checks --watch`: a verdict within a second of saving, from a process that has torch imported already."""

from __future__ import annotations

import gc
import os
import signal
import time
from pathlib import Path

import torch

from checks.tool.exercise import catalogue

PAUSE = 0.1  # seconds between two looks at the files


def watch(folder: Path) -> int | None:
    """Fork a child for each run: now, and whenever a lesson in folder changes.

    Returns None in a child, which then goes on as plain pytest, and the last run's exit status in the parent once
    Ctrl-C is pressed.
    """
    torch.set_num_threads(1)  # a parent that ran two threads could not be forked safely
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # the first optimizer takes a second to import: once, here
    catalogue()  # imports the check files
    gc.freeze()  # or each child's collector would copy the whole heap, page by page
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
    status = 0
    try:
        while True:
            before = snapshot(folder)
            child = os.fork()
            if child == 0:
                return None
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            print(f"\nwatching {folder} (Ctrl-C ends)", flush=True)
            while snapshot(folder) == before:
                time.sleep(PAUSE)
    except KeyboardInterrupt:
        print()
        return status


def snapshot(folder: Path) -> dict[Path, int]:
    """When each notebook and script was saved last, in ns; 0 for one that an editor is replacing now."""
    times = {}
    for path in [*folder.rglob("*.ipynb"), *folder.rglob("*.py")]:
        try:
            times[path] = path.stat().st_mtime_ns
        except FileNotFoundError:
            times[path] = 0
    return times
