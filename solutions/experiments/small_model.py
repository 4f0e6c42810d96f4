"""The small model that comes with the course: `python -m solutions.experiments.small_model --data FOLDER`.

Trains `--recipe hour` for as many images as its row of RESULTS.md, with seed 0, measures it on the way, and writes
data/model/ (the teacher and the predictor in float16, and a card) and lessons/pictures/imagined.png. A run that was
stopped goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import sys
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from tqdm import tqdm

from data import MODEL, ImageError, load_images, load_model, to_display
from solutions.diagnostics import imagine
from solutions.experiments.page import HERE, PROBES
from solutions.experiments.probes import probes
from solutions.experiments.results import CPU, run
from solutions.experiments.rows import ROWS
from solutions.masking import sample_masks
from solutions.predictor import Predictor
from solutions.trainer.checkpoint import CHECKPOINT, TrainingError, load_checkpoint, write_atomic
from solutions.trainer.config import Config
from solutions.trainer.machine import draw_off_screen
from solutions.trainer.metrics import pooled, raw_pixels
from solutions.vision_transformer import VisionTransformer

ROW = next(row for row in ROWS if row.recipe == "hour")
SEED = 0
SHOWN = [5, 20, 0]  # held-out crops of a flower, a cat and a rocket
PICTURE = HERE.parents[1] / "lessons" / "pictures" / "imagined.png"


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


def networks() -> dict[str, tuple[VisionTransformer, Predictor]]:
    """The encoder and the predictor that come with the course, and the same untrained."""
    model, made = load_model(), {}
    for name in ("untrained", "this model"):
        torch.manual_seed(SEED)
        made[name] = VisionTransformer(*model["encoder_sizes"]), Predictor(*model["predictor_sizes"])
    for network, part in zip(made["this model"], ("encoder", "predictor"), strict=True):
        network.load_state_dict(model[part])
    return made


def measured(config: Config, data: str) -> dict[str, list[dict[str, float]]]:
    """The probes of the model that comes with the course, of an untrained one and of raw pixels, on both sources."""
    sources = [
        tuple(load_images(source, config.image_size, split, SEED) for split in ("train", "val"))
        for source in (data, "photos")
    ]
    encoders = {name: pooled(encoder, CPU) for name, (encoder, _) in networks().items()} | {"raw pixels": raw_pixels}
    return {
        name: [probes(encode, both) for both in sources]
        for name, encode in tqdm(encoders.items(), "probes", leave=False)
    }


def picture() -> bytes:
    """What the predictor expects in the holes of held-out crops, as a PNG: patches of training crops, drawn large."""
    draw_off_screen()
    from lessons import figures

    made = networks()
    grid_size, size = load_model()["predictor_sizes"][0], 224
    small, large, small_bank, large_bank = (
        load_images("photos", side, split, SEED).batch(which)
        for split, which in (("val", SHOWN), ("train", range(400)))
        for side in (load_model()["encoder_sizes"][0], size)
    )
    masks = sample_masks(max(SHOWN) + 1, grid_size, torch.Generator().manual_seed(SEED))
    context, targets = masks.context[SHOWN], masks.targets[SHOWN]
    versions = {"the truth": to_display(large)}
    for name, title in (("untrained", "untrained"), ("this model", "after an hour")):
        encoder, predictor = made[name]
        with torch.no_grad():
            tokens = encoder(small_bank)
            predictions = predictor(encoder(small, keep=context), context, targets)
        bank_tokens = F.layer_norm(tokens, tokens.shape[-1:])
        filled = imagine(predictions, targets, large, bank_tokens, large_bank, size // grid_size)
        versions[title] = to_display(filled)
    buffer = io.BytesIO()
    figures.imagined(to_display(large), targets, versions, grid_size).savefig(buffer, dpi=80)
    return buffer.getvalue()


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
        write_atomic(PICTURE, picture())
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
