"""The recipe: its terms against numpy, its values on the command line, and a run that survives."""

import re

import numpy as np
import pytest
import torch

from solutions import train
from solutions.tests.helpers.training import TINY, assert_same_run, checkpoint, error_of, without_pictures
from solutions.trainer.config import RECIPES, Config, parse
from solutions.trainer.recipe import NORMALISE, variance_covariance

RECIPE = [*TINY, "--recipe", "ten-minutes"]


def test_the_terms_are_those_of_vicreg():
    features = np.random.default_rng(0).normal(0, [0.2, 0.5, 3.0, 1.0], (50, 4)) + 2
    covariance = np.cov(features, rowvar=False)
    variance_term = np.maximum(0, 1 - np.sqrt(np.diag(covariance) + 1e-4)).mean()
    covariance_term = sum(covariance[i, j] ** 2 for i in range(4) for j in range(4) if i != j) / 4
    found = variance_covariance(torch.from_numpy(features))
    np.testing.assert_allclose([term.item() for term in found], [variance_term, covariance_term], rtol=1e-6)


def test_collapsed_features_get_a_gradient_that_spreads_them():
    features = (1e-3 * torch.randn(64, 8, generator=torch.Generator().manual_seed(0))).requires_grad_()
    variance_covariance(features)[0].backward()
    moved = features - features.grad
    assert moved.std(dim=0).mean() > features.std(dim=0).mean()


def test_standardised_tokens_have_no_mean_and_unit_variance_per_feature():
    tokens = torch.randn(6, 10, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.5, 2, 30]) + 7
    found = NORMALISE["batch"](tokens).numpy().reshape(60, 3)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(found.std(axis=0), 1, atol=1e-3)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_gives_defaults_and_options_win(name):
    config, _, _ = parse(["--recipe", name, "--data", "folder", "--lr", "0.5", "--out", "x"])
    for option, value in RECIPES[name].items():
        assert getattr(config, option) == (0.5 if option == "lr" else value)
    assert parse(["--recipe", name, "--steps", "7", "--out", "x"])[0].minutes == 0
    assert parse(["--recipe", name, "--minutes", "1", "--out", "x"])[0].minutes == 1


def test_without_a_recipe_it_is_that_of_three_minutes(capsys):
    given, named = (parse([*recipe, "--out", "x"])[0] for recipe in ([], ["--recipe", "three-minutes"]))
    assert given == named and given.variance == 1
    with pytest.raises(SystemExit):
        parse(["--help"])
    help = " ".join(capsys.readouterr().out.split())
    assert "(default: three-minutes)" in help and "(default: 300)" in help


def test_the_plain_one_has_none_of_it():
    config = parse(["--recipe", "plain", "--out", "x"])[0]
    assert config == Config() and (config.variance, config.covariance) == (0, 0)
    assert (config.image_size, config.patch_size, config.target_norm, config.minutes) == (224, 16, "layer", 0)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_takes_a_few_steps(name, tmp_path, monkeypatch):
    monkeypatch.setattr("solutions.trainer.metrics.BANK", 100)
    monkeypatch.setattr("solutions.trainer.metrics.QUERIES", 50)
    few = "--steps 2 --batch-size 4 --group-size 2 --device cpu"
    assert train.main(["--recipe", name, *few.split(), "--out", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "report.md").exists()


def saved_by(monkeypatch) -> list[bytes]:
    """The checkpoints that runs write from now on, without drawing."""
    without_pictures(monkeypatch)
    saved, write = [], train.write_atomic

    def keep(path, content):
        write(path, content)
        if path.name == "checkpoint.pt":
            saved.append(content)

    monkeypatch.setattr(train, "write_atomic", keep)
    return saved


def test_a_recipe_goes_on_as_if_never_stopped(monkeypatch, tmp_path):
    saved = saved_by(monkeypatch)
    settings = ["--steps", "6", "--log-every", "3", "--save-every", "3"]
    assert train.main([*RECIPE, *settings, "--out", str(tmp_path / "whole")]) == 0
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "checkpoint.pt").write_bytes(saved[1])
    assert checkpoint(tmp_path / "again")["step"] == 3
    assert train.main(["--resume", str(tmp_path / "again")]) == 0
    assert_same_run(checkpoint(tmp_path / "again"), checkpoint(tmp_path / "whole"))


def test_minutes_decide_how_many_steps(tmp_path, capsys):
    assert train.main([*TINY, "--minutes", "0.03", "--out", str(tmp_path / "run")]) == 0
    stored = checkpoint(tmp_path / "run")
    assert stored["step"] == stored["config"]["steps"] >= 1
    assert re.search(r"^\d+ steps of 4 images for 0.03 minutes$", capsys.readouterr().err, re.MULTILINE)


class Clock:
    """A clock that moves when a step is made, by so many seconds as the machine needs for it then."""

    def __init__(self, monkeypatch, seconds_of):
        self.now, self.steps = 0.0, 0
        advance = train.Run.advance

        def slow(run, *inputs):
            self.now += seconds_of(self.steps)
            self.steps += 1
            return advance(run, *inputs)

        monkeypatch.setattr(train.Run, "advance", slow)
        monkeypatch.setattr(train.time, "perf_counter", lambda: self.now)
        without_pictures(monkeypatch)


def test_a_run_follows_the_clock_of_a_machine_that_was_busy_at_first(monkeypatch, tmp_path, capsys):
    """Ten seconds a step for the first twenty, then one: of 600 seconds, 400 are left for steps of one second."""
    clock = Clock(monkeypatch, lambda step: 10.0 if step < 20 else 1.0)
    settings = ["--minutes", "10", "--log-every", "1000", "--save-every", "1000"]
    assert train.main([*TINY, *settings, "--out", str(tmp_path / "run")]) == 0
    planned = int(re.search(r"^(\d+) steps of 4 images", capsys.readouterr().err, re.MULTILINE)[1])
    stored = checkpoint(tmp_path / "run")
    assert planned < 60 and stored["step"] == stored["config"]["steps"] > 340
    assert clock.now < 600


def test_a_run_follows_the_clock_of_a_machine_that_becomes_busy(monkeypatch, tmp_path):
    clock = Clock(monkeypatch, lambda step: 1.0 if step < 100 else 5.0)
    settings = ["--minutes", "10", "--log-every", "1000", "--save-every", "1000"]
    assert train.main([*TINY, *settings, "--out", str(tmp_path / "run")]) == 0
    assert 150 < checkpoint(tmp_path / "run")["step"] < 220 and 500 < clock.now < 640


def test_a_run_by_the_clock_goes_on_as_if_never_stopped(monkeypatch, tmp_path):
    """From each of its checkpoints, with the plan that stands in it, on a machine that is as fast as before."""
    saved = saved_by(monkeypatch)
    Clock(monkeypatch, lambda step: 4.0 if step < 12 else 1.0)
    settings = ["--minutes", "2", "--log-every", "10", "--save-every", "1000"]
    assert train.main([*TINY, *settings, "--out", str(tmp_path / "whole")]) == 0
    assert len(saved) > 5
    (tmp_path / "again").mkdir()
    for content in (saved[-3], saved[len(saved) // 2]):
        (tmp_path / "again" / "checkpoint.pt").write_bytes(content)
        assert train.main(["--resume", str(tmp_path / "again")]) == 0
        assert_same_run(checkpoint(tmp_path / "again"), checkpoint(tmp_path / "whole"))


def test_groups_that_processes_would_have_to_share_are_refused(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for settings in (["--recipe", "ten-minutes", "--steps", "3"], ["--variance", "1"]):
        message = error_of(capsys, *TINY, *settings, "--out", tmp_path / "run")
        assert "can't be shared among 2 processes: choose --group-size 2" in message
