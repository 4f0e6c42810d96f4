"""What a run keeps on disk: files that are written whole or not at all, and checkpoints that can't run code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

CHECKPOINT = "checkpoint.pt"
PARTS = (
    "config",
    "step",
    "student",
    "teacher",
    "predictor",
    "optimizer",
    "images",
    "init",
    "rows",
    "recent",
    "seconds",
)


class TrainingError(Exception):
    """Something that the person at the keyboard can mend; the message is one sentence that says
    how.
    """


def new_run_folder(base: Path) -> Path:
    """The first of base, base-2, base-3, ... that does not exist yet."""
    number, out = 1, base
    while out.exists():
        number += 1
        out = base.with_name(f"{base.name}-{number}")
    return out


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a kill or a full disk leaves the file that was there
    before.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        if part.is_file():
            part.unlink()
        raise TrainingError(f"cannot write {path} ({error.strerror}): make room or choose another --out") from None


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint; it is read as plain tensors and containers, never as code."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        missing = set(PARTS) - set(checkpoint)
    except FileNotFoundError:
        raise TrainingError(
            f"there is no {path}: give the folder of a run to --resume, or leave --resume out"
        ) from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError, TypeError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TrainingError(
            f"{path} is no complete checkpoint ({reason[:100]}): delete it and start the run again"
        ) from None
    if missing:
        raise TrainingError(
            f"{path} is no checkpoint of this version of the trainer (it lacks {', '.join(sorted(missing))}): start a "
            "new run, or choose another"
        )
    return checkpoint
