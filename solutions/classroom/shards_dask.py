"""A class in parts, each a task of Dask: `python -m solutions.classroom.shards_dask SUBMISSIONS parts 7`.

Needs `pip install distributed`, and on every worker's machine the course, its environment and a disk that all share. A
part that was stopped goes on when the command is given again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import Executor
from pathlib import Path

COURSE = Path(__file__).parents[2]


def grade_part(submissions: str, out: str, seed: int, shard: str, rest: list[str]) -> tuple[int, str]:
    """Grade one part, where this runs -> the exit status of checks.grade and what it said."""
    command = [sys.executable, "-m", "checks.grade", submissions, "--out", out, "--seed", str(seed), "--shard", shard]
    done = subprocess.run(
        [*command, "--quiet", *rest], cwd=COURSE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return done.returncode, done.stdout


def grade_parts(executor: Executor, submissions: Path, out: Path, seed: int, parts: int, rest: list[str]) -> int:
    """Grade all parts -> 0, or 1 if one has failed. executor: Dask's, or any other of this interface."""
    worst = 0
    place = str(submissions.resolve())
    tasks = [
        executor.submit(grade_part, place, f"{out.resolve()}/part{number}", seed, f"{number}/{parts}", rest)
        for number in range(1, parts + 1)
    ]
    for number, task in enumerate(tasks, start=1):
        status, said = task.result()
        print(f"part {number} of {parts}: {'done' if status == 0 else said}")
        worst = max(worst, min(status, 1))
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m solutions.classroom.shards_dask", description="Grade a class with Dask."
    )
    parser.add_argument("submissions", type=Path)
    parser.add_argument("out", type=Path, help="a folder for the parts: join them with checks.grade --merge")
    parser.add_argument("seed", type=int, help="one for the whole class")
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--scheduler", help="Dask's address (default: this machine alone)")
    options, rest = parser.parse_known_args()
    try:
        from distributed import Client
    except ModuleNotFoundError:
        print("Dask is not installed: pip install distributed", file=sys.stderr)
        return 1
    # a part uses all cores of its machine, so that a worker takes one at a time
    with Client(options.scheduler) if options.scheduler else Client(n_workers=1, threads_per_worker=1) as client:
        return grade_parts(client.get_executor(), options.submissions, options.out, options.seed, options.parts, rest)


if __name__ == "__main__":
    sys.exit(main())
