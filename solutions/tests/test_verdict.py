"""The report's verdict: what it says of runs of each kind, and that it says no more than was seen."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data import load_images
from solutions import train
from solutions.tests.helpers.training import TINY, without_pictures
from solutions.train import load_pieces, main
from solutions.trainer.config import parse
from solutions.trainer.metrics import Neighbours, neighbours, raw_pixels
from solutions.trainer.verdict import Outcome, verdict

ROW = {"constant": 0.6, "per_position": 0.5, "wrong_image": 1.0, "feature_std": 0.7, "effective_rank": 40.0}
MOVED = {"student": 0.2, "teacher": 0.1}
USES, COLLAPSED, PARTLY = (
    "The predictions use the context:",
    "The features collapsed:",
    "The features partly collapsed:",
)
IGNORES, EARLY = "The predictions ignore the context:", "Too early to say:"


@pytest.mark.parametrize(
    ("words", "losses", "changed"),
    [
        (USES, [1.3, 0.4, 0.3], {}),
        (USES, [1.3, 0.4, 0.3], {"feature_std": 0.8, "effective_rank": 25.0}),
        (PARTLY, [1.3, 0.4, 0.3], {"effective_rank": 15.0}),
        (PARTLY, [1.3, 0.2, 0.1], {"feature_std": 0.3, "constant": 0.3, "per_position": 0.25}),
        (COLLAPSED, [1.3, 0.01, 0.005], {"feature_std": 0.05, "constant": 0.02, "per_position": 0.01}),
        (COLLAPSED, [1.3, 0.4, 0.3], {"effective_rank": 2.0}),
        (IGNORES, [1.3, 0.52, 0.51], {"wrong_image": 0.51}),  # white noise: right about positions, blind to images
        (EARLY, [1.3, 0.9, 0.7], {"wrong_image": 0.71}),  # the same, but still on its way down
        (EARLY, [1.3, 0.7, 0.6], {"wrong_image": 0.8}),
        ("Nothing to say:", [1.3], {}),
    ],
)
def test_the_verdict_of_hand_made_rows(words, losses, changed):
    rows = [ROW | {"step": 50 * number, "held_out_loss": loss} for number, loss in enumerate(losses)]
    rows[-1] |= changed
    said = verdict(Outcome(rows, MOVED))
    assert said.startswith(words) and said.endswith("only labels could say.")


@pytest.mark.parametrize(
    ("words", "moved"),
    [
        ("Nothing was trained:", {"student": 0.0, "teacher": 0.0}),
        ("The teacher did not move:", MOVED | {"teacher": 0.0}),
    ],
)
def test_weights_that_are_as_they_were_are_no_collapse(words, moved):
    rows = [ROW | {"step": 50 * number, "held_out_loss": loss} for number, loss in enumerate([1.3, 0.4, 0.3])]
    assert verdict(Outcome(rows, moved)).startswith(words)


@pytest.mark.parametrize(
    ("trained", "words"),
    [
        (0.70, "better than the untrained encoder (50.0%) and better than raw pixels (30.0%)"),
        (0.53, "no better than the untrained encoder (50.0%) and better than raw pixels (30.0%)"),
        (0.31, "worse than the untrained encoder (50.0%) and no better than raw pixels (30.0%)"),
    ],
)
def test_labels_decide_what_is_better(trained, words):
    right = {"the trained teacher": trained, "the untrained encoder": 0.5, "raw pixels": 0.3}
    rows = [ROW | {"step": 50 * number, "held_out_loss": loss} for number, loss in enumerate([1.3, 0.4, 0.3])]
    said = verdict(Outcome(rows, MOVED, Neighbours(right, bank=2_000, queries=1_000, classes=9)))
    assert words in said and "only labels could say" not in said


def images_in(folder: Path, pixels: np.ndarray) -> Path:
    for number, image in enumerate(pixels.astype(np.uint8)):
        Image.fromarray(image).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def noise(tmp_path_factory) -> Path:
    """A folder of white noise: nothing in one part of an image tells anything of another part."""
    return images_in(tmp_path_factory.mktemp("noise"), np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3)))


@pytest.fixture(scope="module")
def constant(tmp_path_factory) -> Path:
    """A folder with one image, thirty times."""
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3))
    return images_in(tmp_path_factory.mktemp("constant"), image.repeat(30, axis=0))


def last_line(out: Path) -> str:
    return (out / "report.md").read_text().strip().splitlines()[-1]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("words", "data", "settings"),
    [
        (USES, "photos", "--dim 32 --steps 300"),
        (PARTLY, "photos", "--dim 64 --depth 2 --steps 60 --momentum 0"),
        ("The teacher did not move:", "photos", "--dim 32 --steps 60 --momentum 1"),
        ("Nothing was trained:", "photos", "--steps 30 --lr 0"),
        (IGNORES, "noise", "--dim 32 --steps 120"),
        ((COLLAPSED, PARTLY, IGNORES), "noise", "--dim 32 --steps 120 --momentum 0"),  # which shows first is the seed's
        (EARLY, "photos", "--dim 32 --steps 4"),
        ("Nothing to tell apart:", "constant", "--dim 32 --steps 30"),
    ],
)
def test_the_report_of_a_run_of_each_kind(tmp_path, request, monkeypatch, words, data, settings, seed):
    if seed:  # the first one draws its pictures, which take as long as the rest of a run
        without_pictures(monkeypatch)
    out, folder = tmp_path / "run", data if data == "photos" else str(request.getfixturevalue(data))
    common = f"--lr 3e-3 --batch-size 16 --predictor-dim 16 --log-every 20 --save-every 200 --seed {seed}"
    assert main([*TINY, *common.split(), *settings.split(), "--data", folder, "--out", str(out)]) == 0
    said = last_line(out)
    assert said.startswith(words), said
    assert ("The trained features tell the classes apart" in said) == (data == "photos")


def test_the_loss_falls_in_the_runs_that_go_wrong(tmp_path, noise, monkeypatch):
    """Or the tests above would show nothing: the loss alone gives none of them away."""
    without_pictures(monkeypatch)
    for number, settings in enumerate(["--momentum 0", "--momentum 1", "--momentum 0.996"]):
        out = tmp_path / str(number)
        common = "--dim 32 --steps 120 --lr 3e-3 --batch-size 16 --predictor-dim 16 --log-every 20 --save-every 200"
        assert main([*TINY, *common.split(), *settings.split(), "--data", str(noise), "--out", str(out)]) == 0
        losses = [float(row["loss"]) for row in csv.DictReader((out / "metrics.csv").read_text().splitlines())]
        assert losses[-1] < losses[0]


def test_an_optimizer_that_never_steps_is_named(tmp_path):
    """`optimizer.step` without parentheses, which was called collapsed once, with all of its spread."""

    def forgets(model, images, masks, optimizer, momentum):
        optimizer.step = lambda: None
        try:
            return pieces.real_step(model, images, masks, optimizer, momentum)
        finally:
            del optimizer.step

    config, out, _ = parse([*TINY, "--steps", "30", "--pieces", "lessons", "--out", str(tmp_path / "run")])
    pieces = load_pieces("solutions")
    pieces.real_step, pieces.train_step = pieces.train_step, forgets
    assert train.train(config, out, pieces=pieces) == 0
    assert last_line(out).startswith("Nothing was trained:")


def test_the_neighbours_are_those_of_a_vote_by_hand():
    """Against numpy, query by query."""
    sources = tuple(load_images("photos", image_size=16, split=split) for split in ("train", "val"))
    found = neighbours(sources, {"pixels": raw_pixels})
    features, labels = [], []
    for images, count in zip(sources, (2_000, 1_000), strict=True):
        chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:count]
        flat = images.batch(chosen).numpy().reshape(count, -1).astype(np.float64)
        features.append(flat / np.linalg.norm(flat, axis=1, keepdims=True))
        labels.append(images.labels[chosen].numpy())
    nearest = np.argsort(-(features[1] @ features[0].T), axis=1)[:, :20]
    votes = np.array([np.bincount(labels[0][row], minlength=9) for row in nearest])
    clear = votes.max(axis=1) > np.sort(votes, axis=1)[:, -2]  # where two classes have as many, either may win
    right = (votes.argmax(axis=1) == labels[1])[clear].sum()
    assert right <= round(found.right["pixels"] * 1_000) <= right + (~clear).sum()
    assert (found.bank, found.queries, found.classes) == (2_000, 1_000, 9)


def test_a_large_image_has_few_raw_pixels():
    images = torch.rand(2, 3, 224, 224)
    expected = images.numpy().reshape(2, 3, 32, 7, 32, 7).mean(axis=(3, 5)).reshape(2, -1)
    np.testing.assert_allclose(raw_pixels(images).numpy(), expected, rtol=1e-5)
    assert torch.equal(raw_pixels(images[..., :32, :32]), images[..., :32, :32].flatten(1))
