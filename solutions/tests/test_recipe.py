"""The recipe: its terms against numpy, its values on the command line, and a run that survives."""

import numpy as np
import pytest
import torch

from solutions import train
from solutions.tests.helpers.training import TINY, assert_identical, checkpoint, error_of
from solutions.trainer.config import RECIPES, Config, parse
from solutions.trainer.recipe import NORMALISE, variance_covariance

RECIPE = [*TINY, "--recipe", "minutes"]


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


def test_a_recipe_gives_defaults_and_options_win():
    config, _, _ = parse(["--recipe", "minutes", "--data", "folder", "--lr", "0.5", "--out", "x"])
    for name, value in RECIPES["minutes"].items():
        assert getattr(config, name) == (0.5 if name == "lr" else value)
    assert parse(["--recipe", "minutes", "--out", "x"])[0].minutes == 3
    assert parse(["--recipe", "minutes", "--steps", "7", "--out", "x"])[0].minutes == 0
    assert parse(["--recipe", "minutes", "--minutes", "1", "--out", "x"])[0].minutes == 1


def test_the_plain_one_has_none_of_it():
    config = Config()
    assert (config.recipe, config.variance, config.covariance) == ("plain", 0, 0)
    assert (config.target_norm, config.minutes) == ("layer", 0)


def test_a_recipe_goes_on_as_if_never_stopped(monkeypatch, tmp_path):
    saved, write = [], train.write_atomic

    def keep(path, content):
        write(path, content)
        if path.name == "checkpoint.pt":
            saved.append(content)

    monkeypatch.setattr(train, "write_atomic", keep)
    settings = ["--steps", "6", "--log-every", "3", "--save-every", "3"]
    assert train.main([*RECIPE, *settings, "--out", str(tmp_path / "whole")]) == 0
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "checkpoint.pt").write_bytes(saved[1])
    assert checkpoint(tmp_path / "again")["step"] == 3
    assert train.main(["--resume", str(tmp_path / "again")]) == 0
    assert_identical(checkpoint(tmp_path / "again"), checkpoint(tmp_path / "whole"))


def test_minutes_decide_how_many_steps(tmp_path, capsys):
    assert train.main([*TINY, "--minutes", "0.02", "--out", str(tmp_path / "run")]) == 0
    stored = checkpoint(tmp_path / "run")
    assert stored["step"] == stored["config"]["steps"] > 1
    assert f"{stored['step']} steps of 4 images fit into 0.02 minutes" in capsys.readouterr().err


def test_a_fast_machine_makes_no_more_steps_than_are_enough(tmp_path, capsys):
    assert train.main([*TINY, "--minutes", "0.05", "--most-steps", "3", "--out", str(tmp_path / "run")]) == 0
    stored = checkpoint(tmp_path / "run")
    assert stored["step"] == stored["config"]["steps"] == 3
    assert "fit into 0.05 minutes, 3 are enough" in capsys.readouterr().err


@pytest.mark.parametrize("settings", [["--recipe", "minutes"], ["--minutes", "1"], ["--variance", "1"]])
def test_several_processes_are_refused(capsys, monkeypatch, tmp_path, settings):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "without torchrun" in error_of(capsys, *TINY, *settings, "--out", tmp_path / "run")
