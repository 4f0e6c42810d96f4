"""The peak of a process's memory."""

import re
import resource
from pathlib import Path


def peak() -> int:
    """The most bytes that this process has had in memory since its program started.

    Where the system says it, without what the process that started it had: getrusage counts that as well.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text()).group(1))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes under macOS
