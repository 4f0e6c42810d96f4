"""A submission as a whole, where the kernel can bound it."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from checks.grader.judging.limits import Limits


class CgroupError(Exception):
    """No control group can be made. The message is one sentence."""


class Cgroup:
    """A control group of one zygote's children: version 2, or 1 with its memory and pids controllers.

    Raises CgroupError.
    """

    def __init__(self, limits: Limits, uid: int, base: Path = Path("/sys/fs/cgroup")):
        name = f"build-i-jepa-{os.getpid()}-{uid}"
        second = (base / "cgroup.controllers").exists()
        parents = [base] if second else [base / "memory", base / "pids"]
        for left in (folder for parent in parents for folder in parent.glob("build-i-jepa-*")):
            if not Path("/proc", left.name.split("-")[3]).exists():  # of a grader that was killed
                with contextlib.suppress(OSError):
                    left.rmdir()
        self.folders = [parent / name for parent in parents]
        files = (
            {"memory.max": limits.memory, "pids.max": limits.processes}
            if second
            else {"memory.limit_in_bytes": limits.memory, "pids.max": limits.processes}
        )
        try:
            if second:
                (base / "cgroup.subtree_control").write_text("+memory +pids")
            for folder in self.folders:
                folder.mkdir()
            for (file, value), folder in zip(files.items(), [self.folders[0], self.folders[-1]], strict=True):
                (folder / file).write_text(str(value))
        except OSError as error:
            self.close()
            raise CgroupError(f"no control group can be made ({error.strerror})") from None
        self.events = self.folders[0] / ("memory.events" if second else "memory.oom_control")

    def add(self, pid: int) -> None:
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(pid))

    def killed(self) -> int:
        """How many processes ran out of memory."""
        counts = dict(line.split() for line in self.events.read_text().splitlines())
        return int(counts.get("oom_kill", 0))

    def close(self) -> None:
        for folder in self.folders:
            for _ in range(50):  # the kernel may still be at work on the last process
                with contextlib.suppress(OSError):
                    folder.rmdir()
                if not folder.exists():
                    break
                time.sleep(0.02)
