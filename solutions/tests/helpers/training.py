"""Small runs of the trainer, and what they leave."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from solutions import train
from solutions.train import main

TINY = """--recipe plain --image-size 32 --patch-size 8 --dim 16 --depth 1 --heads 2 --predictor-dim 8
    --predictor-depth 1 --predictor-heads 1 --batch-size 4 --precision fp32 --device cpu --log-every 6
    --save-every 3""".split()
TRAIN = [sys.executable, "-m", "solutions.train"]
TWO_PROCESSES = [sys.executable, *"-m torch.distributed.run --standalone --nproc-per-node 2 -m solutions.train".split()]


def start(*arguments, launcher=TRAIN) -> subprocess.Popen:
    return subprocess.Popen(
        [*launcher, *TINY, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process draw nothing from now on: their pictures take longer than a few steps."""
    monkeypatch.setattr(train, "draw_pictures", lambda *_: {})


def pictures(folder: Path, count: int, seed: int = 0) -> Path:
    """A folder with so many PNG images of noise."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
    for number, image in enumerate(noise):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    return folder


def checkpoint(out: Path) -> dict:
    return torch.load(out / "checkpoint.pt", weights_only=True)


def assert_same_run(left: dict, right: dict) -> None:
    """Two checkpoints are the same bit for bit, but for the seconds that it took."""
    assert_identical(left | {"seconds": 0.0}, right | {"seconds": 0.0})


def assert_identical(left, right) -> None:
    """Bit for bit, through every container."""
    assert type(left) is type(right)
    if isinstance(left, torch.Tensor):
        assert left.dtype == right.dtype and torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_identical(left[key], right[key])
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            assert_identical(a, b)
    else:
        assert left == right


def wait_for(condition, process: subprocess.Popen, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def error_of(capsys, *arguments) -> str:
    """The one sentence of a run that must fail."""
    assert main([*map(str, arguments)]) == 1
    *progress, message = capsys.readouterr().err.strip().splitlines()
    assert message.startswith("train: ") and all("images/s" in line for line in progress)
    return message
