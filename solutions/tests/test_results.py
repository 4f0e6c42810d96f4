"""The results page: its probes against independent ones, its swapped pieces, and that it goes on where it stopped."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from solutions.experiments import page, probes, results, rows
from solutions.experiments.page import cell, judged
from solutions.experiments.probes import logistic_probe, ridge_probe
from solutions.experiments.results import main
from solutions.experiments.rows import ROWS, Row
from solutions.train import load_pieces

NAMES = [row.name for row in ROWS]
GRID, IMAGES = 8, 30


def masks_of(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    pieces = load_pieces("solutions")
    next(row for row in ROWS if row.name == name).swap(pieces)
    return pieces.sample_masks(IMAGES, GRID, torch.Generator().manual_seed(0))


def is_block(patches: set[int]) -> bool:
    rows, columns = {p // GRID for p in patches}, {p % GRID for p in patches}
    whole = (max(rows) - min(rows) + 1) * (max(columns) - min(columns) + 1)
    return len(patches) == whole == len(rows) * len(columns)


def test_random_masks_are_no_blocks_and_stay_out_of_the_context():
    context, targets = masks_of("random-masks")
    sets = [set(target) for image in targets.tolist() for target in image]
    assert len(sets) == 4 * IMAGES and len({len(s) for s in sets}) == 1 and not any(map(is_block, sets))
    for seen, hidden in zip(context.tolist(), targets.tolist(), strict=True):
        assert len(set(seen)) == len(seen) >= 5 and not set(seen) & {p for target in hidden for p in target}


def test_overlap_shows_targets_in_a_whole_context_block():
    context, targets = masks_of("overlap")
    assert all(is_block(set(seen)) for seen in context.tolist())
    assert all(is_block(set(target)) for image in targets.tolist() for target in image)
    shown = torch.isin(targets[0], context[0]).float().mean()
    assert shown > 0.5


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_targets(count):
    assert masks_of(f"targets-{count}")[1].shape[:2] == (IMAGES, count)


def test_without_positions_the_predictor_answers_the_same_everywhere():
    pieces = load_pieces("solutions")
    next(row for row in ROWS if row.name == "no-positions").swap(pieces)
    predictor = pieces.Predictor(4, 16, 8, 1, 2)
    answer = predictor(torch.randn(1, 3, 16), torch.tensor([[0, 1, 2]]), torch.tensor([[[5, 9, 14]]]))
    torch.testing.assert_close(answer[0, 0, 0], answer[0, 0, 2])


def test_without_ema_the_teacher_is_the_student_from_the_first_step_to_the_last():
    pieces = load_pieces("solutions")
    next(row for row in ROWS if row.name == "no-ema").swap(pieces)
    assert [pieces.momentum_at(step, 10, 0.98) for step in (0, 5, 10)] == [0, 0, 0]


def test_every_row_differs_from_its_recipe_in_one_thing():
    for row in ROWS:
        if row.recipe == "minutes" and row.name != "recipe":
            assert bool(row.swap) != bool(row.changes)
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("probe", [ridge_probe, logistic_probe])
def test_a_linear_probe_separates_what_a_line_separates(probe):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 3
    features = torch.randn(300, 5, generator=generator) * 0.3
    features[:, :3] += torch.eye(3)[labels] * 4
    assert probe(features[:200], labels[:200], features[200:], labels[200:]) == 1
    shuffled = labels[torch.randperm(200, generator=generator)]
    assert probe(features[:200], shuffled, features[200:], labels[200:]) < 0.6


def test_the_logistic_probe_is_logistic_regression():
    """Against numpy's gradient descent, taken so far that the loss is flat."""
    rng = np.random.default_rng(0)
    bank, queries = rng.normal(2, 3, (60, 4)), rng.normal(2, 3, (400, 4))
    scores = np.stack([bank[:, 0], bank[:, 1], np.full(60, 2)], axis=1) + rng.normal(0, 1, (60, 3))
    bank_labels, query_labels = scores.argmax(axis=1), rng.integers(0, 3, 400)
    mean, std = bank.mean(axis=0), bank.std(axis=0, ddof=1)
    x, y = np.hstack([(bank - mean) / std, np.ones((60, 1))]), np.eye(3)[bank_labels]
    weights, decay = np.zeros((5, 3)), np.array([[1e-4]] * 4 + [[0]])
    for _ in range(20_000):
        shares = np.exp(x @ weights)
        gradient = x.T @ (shares / shares.sum(axis=1, keepdims=True) - y) / 60 + 2 * decay * weights
        weights -= 0.5 * gradient
    assert np.abs(gradient).max() < 1e-4
    expected = (
        (np.hstack([(queries - mean) / std, np.ones((400, 1))]) @ weights).argmax(axis=1) == query_labels
    ).mean()
    tensors = map(torch.from_numpy, (bank, bank_labels, queries, query_labels))
    assert logistic_probe(*tensors) == pytest.approx(expected, abs=0.004)


def test_the_ridge_probe_is_ridge_regression():
    """Against numpy's least squares on the rows that add the penalty."""
    rng = np.random.default_rng(0)
    bank, queries = rng.normal(2, 3, (60, 4)), rng.normal(2, 3, (40, 4))
    bank_labels, query_labels = rng.integers(0, 3, 60), rng.integers(0, 3, 40)
    mean, std = bank.mean(axis=0), bank.std(axis=0, ddof=1)
    x, y = (bank - mean) / std, np.eye(3)[bank_labels]
    weights = np.linalg.lstsq(
        np.vstack([x, np.sqrt(0.01 * 60) * np.eye(4)]), np.vstack([y - y.mean(axis=0), np.zeros((4, 3))]), rcond=None
    )[0]
    expected = (((queries - mean) / std @ weights + y.mean(axis=0)).argmax(axis=1) == query_labels).mean()
    tensors = map(torch.from_numpy, (bank, bank_labels, queries, query_labels))
    assert ridge_probe(*tensors) == pytest.approx(expected)


def test_a_cell_is_mean_and_spread():
    assert cell([0.2, 0.3, 0.4]) == "0.300 ± 0.100"
    assert cell([12.4]) == "12"


@pytest.mark.parametrize(
    ("better", "worse", "answer"),
    [
        ([0.50, 0.51, 0.52], [0.30, 0.31, 0.32], "it is so"),
        ([0.30, 0.31, 0.32], [0.50, 0.51, 0.52], "the other way round"),
        ([0.30, 0.40, 0.50], [0.31, 0.39, 0.49], "no difference"),
        ([], [0.3], "not measured"),
    ],
)
def test_a_claim_is_judged_by_the_spread_of_the_seeds(better, worse, answer):
    runs = {name: [{"knn": value} for value in values] for name, values in (("a", better), ("b", worse))}
    assert answer in judged((("a", "b", "a beats b"),), runs)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Two classes, dark and bright, of 32 px noise."""
    root, rng = tmp_path_factory.mktemp("classes"), np.random.default_rng(0)
    for split, count in (("train", 40), ("val", 20)):
        for name, low in (("dark", 0), ("bright", 128)):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(low, low + 128, (32, 32, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")
    return root


@pytest.fixture
def short(monkeypatch) -> None:
    kept = ("pixels", "random", "recipe", "no-norm", "photos-pixels")
    few = tuple(row for row in ROWS if row.name in kept)
    for name, value in (("STEPS", 2), ("BANK", 300), ("QUERIES", 100), ("ROWS", few)):
        for module in (page, probes, results, rows):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)


def test_the_page_and_going_on(short, images, tmp_path, monkeypatch):
    command = ["--data", str(images), "--seeds", "1", "--work", str(tmp_path / "work"), "--page", str(tmp_path)]
    assert main(command) == 0
    text = (tmp_path / "RESULTS.md").read_text()
    for words in ("`pixels`", "`recipe`", "`no-norm`", "results.png", "80 training images (bright, dark)"):
        assert words in text
    first, second = text.split("nine photographs")
    assert "| `photos-pixels` |" in second and "| `photos-pixels` |" not in first and "| `pixels` |" not in second
    assert "300\ntraining crops, and 100 from" in second
    assert str(images) not in text and (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")
    measured = json.loads((tmp_path / "work" / "random-0" / "result.json").read_text())
    assert measured["knn"] == 1  # dark and bright are told apart by any encoder
    monkeypatch.setattr(results, "train", None)  # nothing is left to train
    assert main(command) == 0 and (tmp_path / "RESULTS.md").read_text() == text


def test_one_row_alone_is_printed_and_leaves_the_page(short, images, tmp_path, capsys):
    command = ["--data", str(images), "--seeds", "1", "--work", str(tmp_path / "work"), "--page", str(tmp_path)]
    assert main([*command, "--row", "random"]) == 0
    printed = capsys.readouterr().out
    assert "`random`" in printed and "`recipe`" not in printed
    assert not (tmp_path / "RESULTS.md").exists()


def test_images_without_classes_are_one_clear_sentence(capsys, tmp_path):
    for number in range(20):
        Image.fromarray(np.full((32, 32, 3), number, dtype=np.uint8)).save(tmp_path / f"{number}.png")
    assert main(["--data", str(tmp_path), "--row", "random", "--work", str(tmp_path / "work")]) == 1
    assert "has no classes" in capsys.readouterr().err


def test_a_row_says_what_it_runs():
    config = Row("x", "", changes={"lr": 0.5}).config("folder", 3)
    assert (config.lr, config.seed, config.data, config.minutes, config.recipe) == (0.5, 3, "folder", 0, "plain")
