"""The model that comes with the course: what it is good for, and the command that makes it."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

from data import MODEL, load_images, load_model
from solutions.experiments import probes, small_model
from solutions.experiments.rows import Row
from solutions.predictor import Predictor, jepa_loss
from solutions.vision_transformer import VisionTransformer


def share_right(bank: np.ndarray, labels: np.ndarray, queries: np.ndarray, wanted: np.ndarray) -> float:
    """Of the queries [Q, D], how many are nearest to an image [K, D] of their own class, by the angle."""
    bank, queries = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (bank, queries))
    return float((labels[(queries @ bank.T).argmax(axis=1)] == wanted).mean())


def test_its_features_beat_raw_pixels_and_an_untrained_encoder_on_photographs_that_it_never_saw():
    model = load_model()
    torch.manual_seed(0)
    trained, untrained = (VisionTransformer(*model["encoder_sizes"]).eval() for _ in range(2))
    trained.load_state_dict(model["encoder"])
    right = []
    for encode in (lambda x: trained(x).mean(1), lambda x: untrained(x).mean(1), lambda x: x.flatten(1)):
        parts = []
        for split, count in (("train", 1500), ("val", 600)):
            images = load_images("photos", 32, split)
            with torch.no_grad():
                parts += [encode(images.batch(range(count))).numpy(), images.labels[:count].numpy()]
        right.append(share_right(*parts))
    assert right[0] > right[1] + 0.02 and right[0] > right[2] + 0.2, right


def test_its_predictor_predicts_its_teacher_better_than_another_images_answer():
    model = load_model()
    encoder, predictor = VisionTransformer(*model["encoder_sizes"]), Predictor(*model["predictor_sizes"])
    encoder.load_state_dict(model["encoder"])
    predictor.load_state_dict(model["predictor"])
    patches = torch.arange(64).reshape(8, 8)
    hidden = patches[2:5, 2:6].flatten()
    context = patches.flatten()[~torch.isin(patches.flatten(), hidden)].expand(32, -1)
    targets = hidden.expand(32, 1, -1)
    images = load_images("photos", 32, "val").batch(range(0, 640, 20))
    with torch.no_grad():
        truth = torch.nn.functional.layer_norm(encoder(images), encoder(images).shape[-1:])[:, None, hidden]
        predictions = predictor(encoder(images, keep=context), context, targets)
    own, other = jepa_loss(predictions, truth), jepa_loss(predictions.roll(1, 0), truth)
    assert own < 0.5 * other


def test_it_is_small_and_says_how_it_came_to_be():
    assert MODEL.stat().st_size < 6_000_000
    card = (MODEL.parent / "README.md").read_text(encoding="utf-8")
    for fact in ("images seen", "seed", "licence", "date", "| this model |", "| untrained |", "| raw pixels |"):
        assert fact in card
    points = load_model()["points"]
    assert points[0]["images"] == 0 and points[-1]["images"] >= 500_000 and f"{points[-1]['images']:,}" in card
    assert points[-1]["knn"] > points[0]["knn"] and f"{points[-1]['knn']:.3f}" in card


@pytest.fixture
def folder(tmp_path):
    """Bright and dark images, two classes."""
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        for name, low in (("dark", 0), ("bright", 128)):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(12):
                pixels = random.integers(low, low + 128, (16, 16, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{number}.png")
    return tmp_path


def test_one_command_makes_it(folder, tmp_path, monkeypatch):
    small = {"dim": 12, "depth": 1, "predictor_dim": 12, "predictor_depth": 1, "batch_size": 4, "steps": 2}
    monkeypatch.setattr(small_model, "ROW", Row("tiny", "", small | {"group_size": 4, "log_every": 1}))
    monkeypatch.setattr(small_model, "MODEL", tmp_path / "model" / "ijepa.pt")
    monkeypatch.setattr(small_model, "PICTURE", tmp_path / "imagined.png")
    monkeypatch.setattr("data.model.MODEL", tmp_path / "model" / "ijepa.pt")
    monkeypatch.setattr(probes, "BANK", 20)
    monkeypatch.setattr(probes, "QUERIES", 10)
    assert small_model.main(["--data", str(folder), "--work", str(tmp_path / "work")]) == 0
    checkpoint = torch.load(tmp_path / "work" / "tiny-0" / "checkpoint.pt", weights_only=True)
    made = load_model()
    assert made["encoder_sizes"] == [32, 4, 12, 1, 3] and made["points"][-1]["images"] == 8
    encoder = VisionTransformer(*made["encoder_sizes"])
    encoder.load_state_dict(made["encoder"])
    weights = checkpoint["teacher"]["blocks.0.mlp.fc1.weight"]
    torch.testing.assert_close(encoder.blocks[0].mlp.fc1.weight.detach(), weights, atol=1e-3, rtol=1e-3)
    assert (tmp_path / "imagined.png").read_bytes().startswith(b"\x89PNG")
    card = (tmp_path / "model" / "README.md").read_text()
    assert re.search(r"\| raw pixels \| [\d.]+ \| 1\.000 \| 1\.000 \|", card) and str(tmp_path) not in card
