"""The process that is forked for each submission."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Whether the kernel has huge pages is asked of it directly, on other memory.
PROGRAM = """
import mmap, os
from checks.grader.inside.zygote import COLLAPSE, HUGE_PAGE, use_huge_pages

def huge():
    if not os.path.exists("/proc/self/smaps_rollup"):  # no Linux
        return 0
    return int(open("/proc/self/smaps_rollup").read().partition("AnonHugePages:")[2].split()[0]) << 10

try:
    asked = mmap.mmap(-1, 2 * HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    asked.write(bytes([1]) * (2 * HUGE_PAGE))
    asked.madvise(COLLAPSE)
    expected = 7 * HUGE_PAGE
except (OSError, AttributeError):
    expected = 0
numbers = [os.urandom(4096) for _ in range(16 * HUGE_PAGE // 4096)]
copies = list(map(bytearray, numbers))
before = huge()
use_huge_pages()
assert huge() - before >= expected, (before, huge(), expected)
assert copies == numbers
if os.fork() == 0:
    os._exit(copies != numbers)
assert os.wait()[1] == 0
"""


def test_memory_on_huge_pages_holds_what_it_held():
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
