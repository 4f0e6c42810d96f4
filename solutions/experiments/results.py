"""What learns, what collapses, and what each part of the recipe is worth: `python -m solutions.experiments.results`.

Trains every row of rows.py with several seeds, measures the frozen teacher with labels (which training never sees),
and writes RESULTS.md and results.png beside this file. A run that is done is not done again: stop it and start it
again as you like. `--row NAME` runs one row alone and prints it.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from tqdm import tqdm

from data import ImageError, Images
from solutions.experiments.page import HERE, Results, table, write_page
from solutions.experiments.probes import probes
from solutions.experiments.rows import ROWS, Row
from solutions.train import build_model, distance, load_pieces, open_images, train
from solutions.trainer.checkpoint import CHECKPOINT, TrainingError, load_checkpoint
from solutions.trainer.config import Config
from solutions.trainer.metrics import pooled
from solutions.trainer.verdict import Outcome, verdict

CPU = torch.device("cpu")
Sources = tuple[Images, Images]  # of the training and of the held-out part


def run(row: Row, seed: int, data: str, sources: Sources, folder: Path) -> dict[str, Any]:
    """Train and measure one row with one seed, or read what was measured before."""
    done = folder / "result.json"
    if done.exists():
        return json.loads(done.read_text())
    train_images, held_out = (images.in_order_of(seed) for images in sources)
    config, pieces = row.config(data, seed), load_pieces("solutions")
    result: dict[str, Any] = {"row": row.name, "seed": seed}
    encode = functools.partial(torch.flatten, start_dim=1)
    if row.swap:
        row.swap(pieces)
    if row.name.endswith("random"):
        encode = pooled(build_model(pieces, config).teacher, CPU)
    elif row.recipe:
        checkpoint, times = trained(config, pieces, (train_images, held_out), folder)
        model, untrained = (build_model(pieces, config) for _ in range(2))
        for name in ("student", "teacher"):
            getattr(model, name).load_state_dict(checkpoint[name])
        moved = {name: distance(getattr(model, name), getattr(untrained, name)) for name in ("student", "teacher")}
        encode = pooled(model.teacher, CPU)
        result |= facts_of(checkpoint, moved) | times
    result |= probes(encode, sources)
    folder.mkdir(parents=True, exist_ok=True)
    done.write_text(json.dumps(result))
    return result


def trained(
    config: Config, pieces: SimpleNamespace, sources: Sources, folder: Path
) -> tuple[dict[str, Any], dict[str, float]]:
    """Train a run to its end, from where it was stopped -> its last checkpoint, and the time of this part.

    Raises KeyboardInterrupt if it is stopped again.
    """
    path = folder / CHECKPOINT
    checkpoint = load_checkpoint(path) if path.exists() else None
    start, clock = time.process_time(), time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        code = train(config, folder, checkpoint, pieces, sources)
    if code:
        raise KeyboardInterrupt
    cores, minutes = time.process_time() - start, (time.perf_counter() - clock) / 60
    images = config.batch_size * (config.steps - (checkpoint["step"] if checkpoint else 0))
    times = {"core_minutes": cores / 60, "minutes": minutes, "images_per_core_second": images / cores}
    return load_checkpoint(path), times


def facts_of(checkpoint: dict[str, Any], moved: dict[str, float]) -> dict[str, Any]:
    """What a finished run measured without labels."""
    first, last = checkpoint["rows"][0], checkpoint["rows"][-1]
    names = ("held_out_loss", "constant", "per_position", "wrong_image", "effective_rank")
    spread = last["feature_std"] / first["feature_std"]
    said = verdict(Outcome(checkpoint["rows"], moved)).split(":")[0]
    precision = checkpoint["config"]["precision"]
    return {name: last[name] for name in names} | {"spread": spread, "verdict": said, "precision": precision}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line -> the exit code."""
    parser = argparse.ArgumentParser(prog="python -m solutions.experiments.results", description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="cifar10", help="cifar10, or a folder with train/<class>/ and val/<class>/")
    parser.add_argument("--row", choices=[row.name for row in ROWS], help="run this row alone, and print it")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each row (default: 3)")
    parser.add_argument("--work", type=Path, default=Path("runs/results"), help="where runs are kept, to go on later")
    parser.add_argument("--page", type=Path, default=HERE, help="the folder of RESULTS.md and results.png")
    given = parser.parse_args(arguments)
    try:
        sources = open_images(ROWS[0].config(given.data, 0))
        photos = open_images(ROWS[0].config("photos", 0))
        if any(images.labels is None for images in sources):
            raise ImageError(f"{given.data} has no classes: give a folder with one subfolder a class")
        rows = [row for row in ROWS if given.row in (None, row.name)]
        results: Results = {}
        todo = [(row, seed) for seed in range(given.seeds) for row in rows if seed < row.most_seeds]
        todo.sort(key=lambda item: item[0].config(given.data, 0).steps)  # the long ones last
        for row, seed in tqdm(todo, "results", unit=" runs"):
            folder = given.work / f"{row.name}-{seed}"
            images = photos if row.photos else sources
            results.setdefault(row.name, []).append(run(row, seed, given.data, images, folder))
            if not given.row:
                write_page(results, given.data, sources, photos, given.page)
    except (TrainingError, ImageError) as error:
        print(f"results: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("results: stopped; the same command goes on", file=sys.stderr)
        return 130
    if given.row:
        print(table(results, photos=rows[0].photos))
    return 0


if __name__ == "__main__":
    sys.exit(main())
