"""`python -m solutions.train --init`: the encoder starts from published weights, or from a run's."""

import shutil
from pathlib import Path

import pytest
import torch

from solutions.tests.helpers.published_files import huggingface_state, official_state, save_huggingface, save_official
from solutions.tests.helpers.training import TINY, assert_same_run, checkpoint, error_of
from solutions.train import main, train
from solutions.trainer.config import parse
from solutions.trainer.start import read_start

STATE = official_state(dim=16, depth=1, patch=8, grid=4)  # the sizes of a tiny run


@pytest.fixture
def weights(tmp_path) -> dict[str, Path]:
    """The same weights in all forms."""
    torch.save({"teacher": STATE, "config": {"heads": 2}}, tmp_path / "checkpoint.pt")
    return {
        "archive": save_official(tmp_path / "a.pth", STATE),
        "folder": save_huggingface(tmp_path / "model", huggingface_state(STATE), heads=2),
        "run": tmp_path / "checkpoint.pt",
    }


@pytest.mark.parametrize("form", ["archive", "folder", "run"])
def test_every_form_gives_the_same_start(form, weights):
    start = read_start(parse([*TINY, "--init", str(weights[form])])[0])
    assert start.weights.tensors.keys() == STATE.keys()
    assert all(torch.equal(start.weights.tensors[name], tensor) for name, tensor in STATE.items())
    assert start.digest == read_start(parse([*TINY, "--init", str(weights["run"])])[0]).digest


def test_student_and_teacher_start_from_the_weights_and_the_report_says_so(weights, tmp_path):
    """With a learning rate of 0 they end there, too; the predictor is new."""
    out = tmp_path / "out"
    assert main([*TINY, "--steps", "1", "--lr", "0", "--init", str(weights["run"]), "--out", str(out)]) == 0
    found = checkpoint(out)
    for network in ("student", "teacher"):
        for name, tensor in STATE.items():
            torch.testing.assert_close(found[network][name], tensor, msg=f"{network}: {name}")
    assert found["config"]["init"] == str(weights["run"]) and found["init"]
    report = (out / "report.md").read_text()
    assert f"The encoder started from {weights['run']}." in report
    assert "Nothing was trained" in report  # measured from there, and not from random weights


def stop(run) -> None:
    """Somebody who stops a run at its sixth step; its last checkpoint is that of the third."""
    if run.step == 6:
        raise KeyboardInterrupt


def test_a_run_of_ones_own_pieces_resumes_where_the_weights_have_moved(weights, tmp_path, capsys):
    options = [*TINY, "--steps", "9", "--pieces", "lessons", "--borrow", "--init", str(weights["folder"])]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main([*options, "--out", str(whole)]) == 0
    config, _, _ = parse(options)
    with pytest.raises(KeyboardInterrupt):
        train(config, broken, look=stop)
    capsys.readouterr()
    moved = tmp_path / "elsewhere"
    shutil.move(weights["folder"], moved)
    assert f"there is no {weights['folder']}" in error_of(capsys, "--resume", broken)
    other = save_huggingface(tmp_path / "other", huggingface_state(official_state(16, 1, 8, 4, seed=5)), heads=2)
    assert "does not hold the weights" in error_of(capsys, "--resume", broken, "--init", other)
    assert main(["--resume", str(broken), "--init", str(moved)]) == 0
    left, right = checkpoint(whole), checkpoint(broken)
    assert right["config"]["init"] == str(moved)
    left["config"]["init"] = str(moved)
    assert_same_run(left, right)
    assert not torch.equal(left["student"]["norm.weight"], STATE["norm.weight"])


def test_weights_of_other_sizes_are_refused_with_the_options_that_fit(tmp_path, capsys, weights):
    small = save_official(tmp_path / "b.pth", official_state(dim=16, depth=2, patch=4, grid=4))
    message = error_of(capsys, *TINY, "--init", small, "--out", tmp_path / "out")
    assert "add --image-size 16 --patch-size 4 --dim 16 --depth 2 --heads 2" in message
    giant = save_official(tmp_path / "g.pth", official_state(dim=16, depth=1, patch=8, grid=4, hidden=80))
    assert "MLPs" in error_of(capsys, *TINY, "--init", giant, "--out", tmp_path / "out")
    heads = save_huggingface(tmp_path / "heads", huggingface_state(STATE), heads=4)
    assert "--heads 4" in error_of(capsys, *TINY, "--init", heads, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_no_weights_is_said_in_a_sentence(tmp_path, capsys):
    assert "there is no" in error_of(capsys, *TINY, "--init", tmp_path / "nothing", "--out", tmp_path / "out")


def test_a_run_that_began_at_random_takes_no_weights_later(tmp_path, capsys, weights):
    assert main([*TINY, "--steps", "1", "--out", str(tmp_path / "out")]) == 0
    assert "init = " in error_of(capsys, "--resume", tmp_path / "out", "--init", weights["run"])
