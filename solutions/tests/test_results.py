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
from solutions.experiments.rows import ENOUGH, MILESTONES, RECIPE_IMAGES, ROWS, Row
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


def test_every_row_differs_from_plain_in_one_thing():
    for row in ROWS:
        if row.trained and not row.recipe and row.name != "plain":
            assert bool(row.swap) != bool(row.changes)
    assert len(set(NAMES)) == len(NAMES)


def test_a_row_sees_as_many_images_as_a_claim_needs_and_is_looked_at_on_the_way():
    for row in ROWS:
        if row.trained and not row.recipe:
            config = row.config("folder", 0)
            assert config.steps * config.batch_size == MILESTONES[-1] >= ENOUGH == 500_000
            assert all(images % (config.log_every * config.batch_size) == 0 for images in MILESTONES)


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


def ended(values: list[float], images: int = 512_000) -> list[dict]:
    return [{"points": [{"images": images, "knn": value, "logistic": value}]} for value in values]


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
    runs = {name: ended(values) for name, values in (("plain", better), ("no-ema", worse))}
    assert answer in judged((("plain", "no-ema", "a beats b"),), runs)


@pytest.mark.parametrize(
    ("runs", "answer"),
    [
        ({"plain": ended([0.5, 0.5]), "no-ema": ended([0.3, 0.3, 0.3])}, "too little to say (2 of 3 seeds)"),
        ({"plain": ended([0.5] * 3, 499_000), "no-ema": ended([0.3] * 3)}, "too little to say"),
        ({"plain": ended([0.5, 0.51, 0.52]), "no-ema": ended([0.3, 0.31, 0.32])}, "it is so by kNN"),
    ],
)
def test_nothing_is_claimed_from_few_seeds_or_few_images(runs, answer):
    assert answer in judged((("plain", "no-ema", "a beats b"),), runs)


def test_what_is_not_trained_needs_no_seeds_and_no_images():
    runs = {"plain": ended([0.5, 0.51, 0.52]), "pixels": ended([0.3], images=0)}
    assert "it is so by kNN" in judged((("plain", "pixels", "a beats b"),), runs)


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


FEW = (
    Row("pixels", "raw pixels", trained=False, seeds=1),
    Row("plain", "plain", {"steps": 4, "log_every": 2, "batch_size": 4, "group_size": 4, "dim": 12, "depth": 1}),
    Row("photos-pixels", "raw pixels", trained=False, photos=True, seeds=1),
)


@pytest.fixture
def command(monkeypatch, images, tmp_path) -> list[str]:
    """A few short rows, looked at after 8 images."""
    for name, value in (("MILESTONES", (0, 8)), ("BANK", 300), ("QUERIES", 100), ("ROWS", FEW)):
        for module in (page, probes, results, rows):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)
    places = {"--work": tmp_path / "work", "--kept": tmp_path / "kept", "--page": tmp_path}
    return ["--data", str(images), "--seeds", "1", *(str(word) for pair in places.items() for word in pair)]


def test_a_run_is_measured_on_the_way_and_kept(command, images, tmp_path, monkeypatch):
    assert main(command) == 0
    plain = json.loads((tmp_path / "kept" / "plain-0.json").read_text())
    assert [point["images"] for point in plain["points"]] == [0, 8, 16]
    for point in plain["points"]:
        assert {"knn", "ridge", "logistic", "held_out_loss", "per_position"} < set(point)
        assert point["knn"] > 0.9  # dark and bright are told apart by any encoder
    assert plain["verdict"] and plain["images_per_second"] > 0 and plain["machine"]
    pixels = json.loads((tmp_path / "kept" / "pixels-0.json").read_text())
    assert pixels["points"] == [{"images": 0, "knn": 1.0, "ridge": 1.0, "logistic": 1.0}]
    text = (tmp_path / "RESULTS.md").read_text()
    first, second = text.split("nine photographs")
    assert "| `photos-pixels` |" in second and "| `photos-pixels` |" not in first
    assert "| `plain` | plain | 1 | 0 |" in first and "`plain` (1 of 3)" in first
    assert str(images) not in text
    for name in ("curves.png", "losses.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(results, "train", None)  # nothing is left to train
    assert main(command) == 0 and (tmp_path / "RESULTS.md").read_text() == text
    (tmp_path / "RESULTS.md").unlink()
    assert main([*command, "--page-only"]) == 0 and (tmp_path / "RESULTS.md").read_text() == text


def test_a_run_that_was_stopped_goes_on_and_is_the_same(command, tmp_path, monkeypatch):
    look, seen = results.Points.look, []

    def stop(points, run):
        look(points, run)
        seen.append(run.step)
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(results.Points, "look", stop)
    assert main([*command, "--row", "plain"]) == 130
    assert not (tmp_path / "kept" / "plain-0.json").exists()
    monkeypatch.setattr(results.Points, "look", look)
    assert main([*command, "--row", "plain"]) == 0
    stopped = json.loads((tmp_path / "kept" / "plain-0.json").read_text())
    assert main([*command, "--row", "plain", "--work", str(tmp_path / "b"), "--kept", str(tmp_path / "c")]) == 0
    assert json.loads((tmp_path / "c" / "plain-0.json").read_text())["points"] == stopped["points"]


def test_one_row_alone_is_printed_and_leaves_the_page(command, tmp_path, capsys):
    assert main([*command, "--row", "pixels"]) == 0
    printed = capsys.readouterr().out
    assert "`pixels`" in printed and "`plain`" not in printed
    assert not (tmp_path / "RESULTS.md").exists()


def test_images_without_classes_are_one_clear_sentence(command, capsys, tmp_path):
    for number in range(20):
        Image.fromarray(np.full((32, 32, 3), number, dtype=np.uint8)).save(tmp_path / f"{number}.png")
    assert main([*command, "--data", str(tmp_path), "--row", "pixels"]) == 1
    assert "has no classes" in capsys.readouterr().err


def test_a_row_says_what_it_runs():
    config = Row("x", "", changes={"lr": 0.5}).config("folder", 3)
    assert (config.lr, config.seed, config.data, config.minutes, config.recipe) == (0.5, 3, "folder", 0, "plain")
    recipe = Row("y", "", recipe="hour").config("folder", 3)
    assert (recipe.minutes, recipe.seed, recipe.dim) == (0, 3, 192)
    assert recipe.steps * recipe.batch_size == RECIPE_IMAGES["hour"]
    assert Row("z", "", recipe="three-minutes", photos=True).config("folder", 3).data == "photos"


def test_the_pages_curves_are_those_of_the_runs():
    runs = [{"points": [{"images": 0, "knn": 0.1}, {"images": 8, "knn": 0.2 + seed / 10}]} for seed in range(2)]
    runs[0]["points"].append({"images": 16, "knn": 0.9})  # the other one has not come so far
    assert page.curve(runs, "knn") == ([0, 8], [[0.1, 0.1], pytest.approx([0.2, 0.3])])


def test_a_recipe_is_set_beside_its_goals(monkeypatch):
    def measured(knn: float, logistic: float) -> dict:
        end = {"images": 300_000, "knn": knn, "ridge": 0.5, "logistic": logistic}
        return {"points": [end], "minutes": 10.0, "images_per_second": 500.0}

    rows = page.recipes({"recipe-ten-minutes": [measured(0.52, 0.50), measured(0.50, 0.52)]})
    assert "| `ten-minutes` | 2 | 10" in rows and "0.510 ± 0.014" in rows
    assert "kNN 0.50, logistic 0.54: not reached by logistic" in rows
    assert "kNN 0.60, logistic 0.65: not measured" in rows
    assert "kNN 0.50, logistic 0.54: reached" in page.recipes({"recipe-ten-minutes": [measured(0.52, 0.55)]})
