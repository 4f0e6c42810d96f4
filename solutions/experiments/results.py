"""What learns, and what each part is worth: `python -m solutions.experiments.results --data FOLDER`.

Trains every row of rows.py with several seeds. On the way, at the milestones, it measures the frozen teacher with
labels, which training never sees. Each finished run leaves a small file in runs/ beside this one, and a run that has
one is not done again; one that was stopped goes on. From these files come RESULTS.md and its pictures (`--page-only`
makes them anew). `--row NAME` runs one row and prints it.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import os
import platform
import sys
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from tqdm import tqdm

from data import ImageError, Images
from solutions.experiments.page import HERE, Results, table, write_page
from solutions.experiments.probes import probes
from solutions.experiments.rows import MILESTONES, ROWS, Row
from solutions.train import Run, build_model, distance, load_pieces, open_images, train
from solutions.trainer.checkpoint import CHECKPOINT, TrainingError, load_checkpoint, write_atomic
from solutions.trainer.config import Config
from solutions.trainer.metrics import pooled
from solutions.trainer.verdict import Outcome, verdict

CPU = torch.device("cpu")
KEPT = HERE / "runs"  # the results of finished runs
Sources = tuple[Images, Images]  # of the training and of the held-out part


def run(row: Row, seed: int, data: str, work: Path, kept: Path) -> dict[str, Any]:
    """Train and measure one row with one seed, or read what was measured before.

    Raises ImageError for images without classes, KeyboardInterrupt if it is stopped.
    """
    done = kept / f"{row.name}-{seed}.json"
    if done.exists():
        return json.loads(done.read_text())
    config, pieces = row.config(data, seed), load_pieces("solutions")
    sources = open_images(config)
    if any(images.labels is None for images in sources):
        raise ImageError(f"{config.data} has no classes: give a folder with one subfolder a class")
    result: dict[str, Any] = {"row": row.name, "seed": seed}
    if row.trained:
        if row.swap:
            row.swap(pieces)
        result |= trained(config, pieces, sources, work / f"{row.name}-{seed}")
    else:
        encode = functools.partial(torch.flatten, start_dim=1)
        if not row.name.endswith("pixels"):
            encode = pooled(build_model(pieces, config).teacher, CPU)
        result["points"] = [{"images": 0} | probes(encode, sources)]
    kept.mkdir(parents=True, exist_ok=True)
    write_atomic(done, (json.dumps(result, indent=1) + "\n").encode())
    return result


def trained(config: Config, pieces: SimpleNamespace, sources: Sources, folder: Path) -> dict[str, Any]:
    """Train a run to its end, from where it was stopped -> what is kept of it."""
    points = Points(folder / "points.json", sources)
    path = folder / CHECKPOINT
    checkpoint = load_checkpoint(path) if path.exists() else None
    if checkpoint:  # a run by the clock has planned its steps
        config = Config(**checkpoint["config"])
    with contextlib.redirect_stdout(io.StringIO()):
        if train(config, folder, checkpoint, pieces, sources, points.look):
            raise KeyboardInterrupt
    checkpoint = load_checkpoint(path)
    model, untrained = (build_model(pieces, config) for _ in range(2))
    for name in ("student", "teacher"):
        getattr(model, name).load_state_dict(checkpoint[name])
    moved = {name: distance(getattr(model, name), getattr(untrained, name)) for name in ("student", "teacher")}
    return {
        "points": points.measured,
        "verdict": verdict(Outcome(checkpoint["rows"], moved)).split(":")[0],
        "minutes": checkpoint["seconds"] / 60,
        "images_per_second": checkpoint["step"] * config.batch_size / checkpoint["seconds"],
        "precision": checkpoint["config"]["precision"],
        "machine": processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "date": date.today().isoformat(),
    }


class Points:
    """What is measured at the milestones of a run and at its end, on disk as soon as it is measured."""

    def __init__(self, path: Path, sources: Sources):
        self.path, self.sources = path, sources
        self.measured: list[dict[str, float]] = json.loads(path.read_text()) if path.exists() else []

    def look(self, run: Run) -> None:
        images = run.step * run.config.batch_size
        at_end = run.step == run.config.steps
        if (images in MILESTONES or at_end) and all(point["images"] != images for point in self.measured):
            found = probes(pooled(run.networks["teacher"], run.device), self.sources)
            self.measured.append({"images": images} | {k: v for k, v in run.rows[-1].items() if k != "step"} | found)
            write_atomic(self.path, json.dumps(self.measured).encode())


def processor() -> str:
    """The name of this machine's processor, and its number of cores."""
    names = Path("/proc/cpuinfo")
    lines = names.read_text().splitlines() if names.exists() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"


def read_results(kept: Path) -> Results:
    """The results of all finished runs, by row."""
    results: Results = {}
    for path in sorted(kept.glob("*.json")):
        result = json.loads(path.read_text())
        results.setdefault(result["row"], []).append(result)
    return results


def main(arguments: list[str] | None = None) -> int:
    """Run the command line -> the exit code."""
    parser = argparse.ArgumentParser(prog="python -m solutions.experiments.results", description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="cifar10", help="cifar10, or a folder with train/<class>/ and val/<class>/")
    parser.add_argument("--row", choices=[row.name for row in ROWS], help="run this row alone, and print it")
    parser.add_argument("--seeds", type=int, help="runs of each row (default: 3)")
    parser.add_argument("--work", type=Path, default=Path("runs/results"), help="where runs are, until they are done")
    parser.add_argument("--kept", type=Path, default=KEPT, help="where the result of a finished run is kept")
    parser.add_argument("--page", type=Path, default=HERE, help="the folder of RESULTS.md and its pictures")
    parser.add_argument("--page-only", action="store_true", help="run nothing: the page from what is kept")
    given = parser.parse_args(arguments)
    rows = [row for row in ROWS if given.row in (None, row.name)]
    todo = [(row, seed) for row in rows for seed in range(given.seeds or row.seeds) if not given.page_only]
    todo.sort(key=lambda item: item[1])  # one seed of each row first
    try:
        for row, seed in tqdm(todo, "results", unit=" runs"):
            run(row, seed, given.data, given.work, given.kept)
            if not given.row:
                write_page(read_results(given.kept), given.page)
    except (TrainingError, ImageError) as error:
        print(f"results: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("results: stopped; the same command goes on", file=sys.stderr)
        return 130
    if given.row:
        print(table(read_results(given.kept), rows))
    elif given.page_only:
        write_page(read_results(given.kept), given.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
