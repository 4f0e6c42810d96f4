"""The small model that comes with the course: `python -m solutions.experiments.small_model --data FOLDER`.

Trains `--recipe hour` for as many images as its row of RESULTS.md, with seed 0, measures it on the way, and writes
data/model/: the teacher and the predictor in float16, and a card. A run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import sys
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from data import MODEL, ImageError, Images, load_images, load_model
from solutions.experiments.page import HERE, PROBES
from solutions.experiments.probes import probes
from solutions.experiments.results import CPU, run
from solutions.experiments.rows import ROWS
from solutions.predictor import Predictor
from solutions.trainer.checkpoint import CHECKPOINT, TrainingError, load_checkpoint, write_atomic
from solutions.trainer.config import Config
from solutions.trainer.metrics import pooled, raw_pixels
from solutions.vision_transformer import VisionTransformer

ROW = next(row for row in ROWS if row.recipe == "hour")
SEED = 0


def export(checkpoint: dict[str, Any], points: list[dict[str, float]]) -> bytes:
    """The content of ijepa.pt, for `load_model`, from a checkpoint and what was measured on the way to it."""
    config = Config(**checkpoint["config"])
    model = {
        "encoder": {name: tensor.half() for name, tensor in checkpoint["teacher"].items()},
        "predictor": {name: tensor.half() for name, tensor in checkpoint["predictor"].items()},
        "encoder_sizes": [config.image_size, config.patch_size, config.dim, config.depth, config.heads],
        "predictor_sizes": [
            config.grid_size,
            config.dim,
            config.predictor_dim,
            config.predictor_depth,
            config.predictor_heads,
        ],
        "points": points,
    }
    buffer = io.BytesIO()
    torch.save(model, buffer)
    return buffer.getvalue()


def card(config: Config, result: dict[str, Any], found: dict[str, list[dict[str, float]]]) -> str:
    """model/README.md. found: for the model, an untrained one and raw pixels, its probes on both sources."""
    rows = [
        f"| {name} | " + " | ".join(f"{source[key]:.3f}" for source in both for key in PROBES) + " |"
        for name, both in found.items()
    ]
    about = dataclasses.asdict(config) | result | {"images": result["points"][-1]["images"], "rows": "\n".join(rows)}
    return (HERE / "MODEL.template.md").read_text(encoding="utf-8").format(**about)


def measured(config: Config, data: str) -> dict[str, list[dict[str, float]]]:
    """The probes of the model that comes with the course, of an untrained one and of raw pixels, on both sources."""
    sources = [open_both(source, config) for source in (data, "photos")]
    model = load_model()
    encoders = {}
    for name in ("this model", "untrained"):
        torch.manual_seed(SEED)
        encoder = VisionTransformer(*model["encoder_sizes"])
        if name == "this model":
            encoder.load_state_dict(model["encoder"])
            Predictor(*model["predictor_sizes"]).load_state_dict(model["predictor"])
        encoders[name] = pooled(encoder, CPU)
    encoders["raw pixels"] = raw_pixels
    return {
        name: [probes(encode, both) for both in sources]
        for name, encode in tqdm(encoders.items(), "probes", leave=False)
    }


def open_both(source: str, config: Config) -> tuple[Images, Images]:
    train, val = (load_images(source, config.image_size, split, SEED) for split in ("train", "val"))
    return train, val


def main(arguments: list[str] | None = None) -> int:
    """Run the command line -> the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m solutions.experiments.small_model", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--data", default="cifar10", help="cifar10, or a folder with train/<class>/ and val/<class>/")
    parser.add_argument("--work", type=Path, default=Path("runs/small_model"), help="where the run is")
    given = parser.parse_args(arguments)
    try:
        result = run(ROW, SEED, given.data, given.work, given.work)
        checkpoint = load_checkpoint(given.work / f"{ROW.name}-{SEED}" / CHECKPOINT)
        config = Config(**checkpoint["config"])
        write_atomic(MODEL, export(checkpoint, result["points"]))
        write_atomic(MODEL.parent / "README.md", card(config, result, measured(config, given.data)).encode())
    except (TrainingError, ImageError) as error:
        print(f"small_model: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("small_model: stopped; the same command goes on", file=sys.stderr)
        return 130
    print(f"{MODEL}: {MODEL.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
