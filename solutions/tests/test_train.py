"""The trainer as its user meets it: it learns, it survives, it says clearly what is wrong."""

import csv
import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import lessons
from solutions import release, train
from solutions.masking import Masks
from solutions.tests.helpers.training import (
    TINY,
    TRAIN,
    TWO_PROCESSES,
    assert_identical,
    assert_same_run,
    checkpoint,
    error_of,
    pictures,
    start,
    wait_for,
)
from solutions.train import main
from solutions.trainer.config import Config, parse
from solutions.trainer.machine import Processes
from solutions.trainer.report import fill_holes


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """An uninterrupted run of 30 steps."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert main([*TINY, "--steps", "30", "--out", str(out)]) == 0
    return out


def test_a_run_leaves_pictures_metrics_and_a_report(finished):
    for name in ("masks.png", "loss.png", "imagined.png", "pca.png"):
        assert (finished / name).read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((finished / "metrics.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == [0, 6, 12, 18, 24, 30]
    names = {"loss", "held_out_loss", "constant", "per_position", "wrong_image", "feature_std", "effective_rank"}
    assert names < set(rows[0]) and all(float(row[name]) > 0 for row in rows for name in names)
    report = (finished / "report.md").read_text()
    assert "best constant vector" in report and "does not show" in report.lower()
    assert not list(finished.glob("*.part"))


def test_what_is_predicted_rightly_is_painted_as_it_is():
    images = torch.rand(3, 3, 8, 8)
    blocks = torch.tensor([[[0, 1]], [[2, 3]], [[1, 3]]])

    def tokens(images: torch.Tensor) -> torch.Tensor:  # the pixels of the four quarters
        return torch.stack([images[..., y : y + 4, x : x + 4].flatten(1) for y in (0, 4) for x in (0, 4)], dim=1)

    truth = torch.nn.functional.layer_norm(tokens(images), (48,))
    networks = {
        "teacher": tokens,
        "student": lambda images, keep: images,
        "predictor": lambda *_: torch.stack([truth[n, block] for n, block in enumerate(blocks)]),
    }
    masks = Masks(torch.zeros(3, 1, dtype=torch.long), blocks)
    config = Config(image_size=8, patch_size=4)
    filled = fill_holes(networks, images, masks, images.flip(0), config)
    torch.testing.assert_close(filled, images)
    other = fill_holes(networks, images, masks, images[:1], config)
    assert torch.equal(other[0], images[0]) and torch.equal(other[1, :, :4], images[1, :, :4])
    assert not torch.isclose(other[1, :, 4:], images[1, :, 4:]).all()


def test_training_changes_student_and_predictor_and_the_teacher_follows(finished, tmp_path):
    assert main([*TINY, "--steps", "1", "--out", str(tmp_path / "run")]) == 0
    early, late = checkpoint(tmp_path / "run"), checkpoint(finished)
    for part in ("student", "teacher", "predictor"):
        for name, tensor in early[part].items():
            fixed = name.endswith("pos_embed")
            assert torch.equal(tensor, late[part][name]) == fixed, f"{part}.{name}"


def test_killed_and_resumed_equals_uninterrupted(finished, tmp_path):
    out, moments = tmp_path / "killed", random.Random(0)
    process = start("--steps", 30, "--out", out)
    for _ in range(3):
        wait_for(lambda: (out / "checkpoint.pt").exists(), process)
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
        process.communicate(timeout=300)
        process = subprocess.Popen(
            [*TRAIN, "--resume", out], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert_same_run(checkpoint(out), checkpoint(finished))
    assert (out / "metrics.csv").read_bytes() == (finished / "metrics.csv").read_bytes()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_resume(finished, tmp_path, signum):
    out = tmp_path / "stopped"
    process = start("--steps", 30, "--save-every", 3, "--out", out)
    wait_for(lambda: (out / "checkpoint.pt").exists() and checkpoint(out)["step"] > 0, process)
    process.send_signal(signum)
    output, _ = process.communicate(timeout=300)
    step = checkpoint(out)["step"]
    if process.returncode == 0:  # the run was over before the signal came
        assert step == 30
    else:
        assert process.returncode == 128 + signum
        assert f"stopped after step {step} of 30" in output and f"--resume {out}" in output
        assert "Traceback" not in output
    assert main(["--resume", str(out)]) == 0
    assert_identical(checkpoint(out)["student"], checkpoint(finished)["student"])


def test_a_signal_after_the_last_step_leaves_the_report(tmp_path, monkeypatch, capsys):
    draw = train.draw_pictures

    def interrupted(*arguments):
        signal.raise_signal(signal.SIGINT)
        return draw(*arguments)

    monkeypatch.setattr(train, "draw_pictures", interrupted)
    assert main([*TINY, "--steps", "3", "--out", str(tmp_path / "run")]) == 0
    assert "## Verdict" in (tmp_path / "run" / "report.md").read_text()
    assert "stopped" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data", "no/such/folder"], "no/such/folder"),
        (["--patch-size", "5"], "do not tile"),
        (["--heads", "3"], "multiple of 4 and of its 3 heads"),
        (["--steps", "0"], "--steps must be at least 1"),
        (["--warmup", "2"], "--warmup must lie between 0 and 1"),
        (["--device", "cuda:7"], "no device 'cuda:7'"),
        (["--device", "toaster"], "no device 'toaster'"),
        (["--patch-size", "32"], "leave no context"),
        (["--resume"], "which run"),
        (["--resume", "no/such/run"], "there is no"),
    ],
)
def test_bad_settings_are_one_clear_sentence(capsys, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    resuming = "--resume" in arguments
    message = error_of(capsys, *([] if resuming else [*TINY, "--out", tmp_path / "run"]), *arguments)
    assert sentence in message
    assert not (tmp_path / "run").exists()


def test_a_run_is_never_overwritten(capsys, finished):
    before = (finished / "checkpoint.pt").read_bytes()
    assert "already holds a run" in error_of(capsys, *TINY, "--out", finished)
    assert (finished / "checkpoint.pt").read_bytes() == before


def test_a_checkpoint_of_another_configuration_is_refused(capsys, finished):
    assert "made with dim = 16, not 32" in error_of(capsys, "--resume", finished, "--dim", 32)


def stopped_run(out: Path, *arguments) -> Path:
    """A run of 8 steps that was stopped after 4: what a signal leaves."""
    step, train_step = 0, train.FastStep.__call__

    def interrupted(self, *inputs):
        nonlocal step
        step += 1
        if step == 4:
            signal.raise_signal(signal.SIGINT)
        return train_step(self, *inputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.FastStep, "__call__", interrupted)
        assert main([*TINY, "--steps", "8", *map(str, arguments), "--out", str(out)]) == 128 + signal.SIGINT
    assert checkpoint(out)["step"] == 4
    return out


def test_what_does_not_decide_the_result_may_change_when_a_run_goes_on(tmp_path):
    """Where the images lie, the device, and how often something is written."""
    data = pictures(tmp_path / "data", 12)
    assert main([*TINY, "--steps", "8", "--data", str(data), "--out", str(tmp_path / "whole")]) == 0
    out = stopped_run(tmp_path / "run", "--data", data)
    state = checkpoint(out)
    state["config"]["device"] = "cuda"  # as from a machine that has one
    for group in state["optimizer"]["param_groups"]:
        group["fused"] = False  # or from one where AdamW has no fused step
    torch.save(state, out / "checkpoint.pt")
    moved = data.rename(tmp_path / "moved")
    change = f"--data {moved} --device auto --precision auto --log-every 2 --save-every 1".split()
    assert main(["--resume", str(out), *change]) == 0
    whole, resumed = checkpoint(tmp_path / "whole"), checkpoint(out)
    for part in ("student", "teacher", "predictor"):
        assert_identical(resumed[part], whole[part])
    assert [row["step"] for row in resumed["rows"]] == [0, 6, 8] and resumed["rows"][-1] == whole["rows"][-1] | {
        "loss": resumed["rows"][-1]["loss"]
    }
    assert {resumed["config"][name] for name in ("data", "log_every", "save_every")} == {str(moved), 2, 1}


def test_each_sentence_of_a_run_that_goes_on_elsewhere_can_be_followed(capsys, tmp_path):
    data = pictures(tmp_path / "data", 24)
    out = stopped_run(tmp_path / "run", "--data", data)
    data.rename(tmp_path / "moved")
    capsys.readouterr()
    assert f"there is no folder {data}" in error_of(capsys, "--resume", out)
    other = pictures(tmp_path / "other", 25)
    message = error_of(capsys, "--resume", out, "--data", other)
    assert f"{other} does not hold the images that the run in {out} is trained on" in message
    assert "made with data = " in error_of(capsys, "--resume", out, "--data", "photos")
    state = checkpoint(out)
    state["config"]["device"] = "cuda:7"
    torch.save(state, out / "checkpoint.pt")
    message = error_of(capsys, "--resume", out, "--data", tmp_path / "moved")
    assert "no device 'cuda:7' here: use --device auto" in message
    assert main(["--resume", str(out), "--data", str(tmp_path / "moved"), "--device", "auto"]) == 0


@pytest.mark.parametrize("option", ["--steps 60", "--minutes 5"])
def test_more_steps_are_another_run_and_the_sentence_says_why(capsys, finished, option):
    message = error_of(capsys, "--resume", finished, *option.split())
    assert "schedules are laid out over the whole run" in message and "new run in another --out" in message


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "foreign"])
def test_a_damaged_checkpoint_is_refused(capsys, finished, tmp_path, damage):
    whole = (finished / "checkpoint.pt").read_bytes()
    path = tmp_path / "checkpoint.pt"
    if damage == "foreign":
        torch.save({"weights": torch.zeros(3)}, path)
    else:
        path.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"not a checkpoint"}[damage])
    assert "checkpoint" in error_of(capsys, "--resume", tmp_path)


def test_a_checkpoint_cannot_run_code(capsys, tmp_path):
    class Attack:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "ran"),))

    torch.save({"config": Attack()}, tmp_path / "checkpoint.pt")
    assert "no complete checkpoint" in error_of(capsys, "--resume", tmp_path)
    assert not (tmp_path / "ran").exists()


def test_an_unwritable_folder_is_one_clear_sentence(capsys, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert "cannot write" in error_of(capsys, *TINY, "--out", tmp_path / "file" / "run")


def test_a_full_disk_keeps_the_last_checkpoint(finished, tmp_path):
    out = tmp_path / "full"
    assert main([*TINY, "--steps", "30", "--save-every", "30", "--log-every", "30", "--out", str(out)]) == 0
    before = (out / "checkpoint.pt").read_bytes()
    code = f"""
import resource
from pathlib import Path
from solutions.trainer.checkpoint import write_atomic
resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) // 2}, {len(before) // 2}))
write_atomic(Path({str(out / "checkpoint.pt")!r}), bytes({len(before)}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode != 0 and "cannot write" in done.stderr and "make room" in done.stderr
    assert (out / "checkpoint.pt").read_bytes() == before and not list(out.glob("*.part"))


def test_products_of_many_shapes_do_not_fill_the_memory(tmp_path):
    code = f"""
import torch
from solutions.tests.helpers.memory import peak
from solutions.train import main
main({[*TINY, "--steps", "1", "--out", str(tmp_path / "run")]!r})
layer, peaks = torch.nn.Linear(64, 64), []
with torch.autocast("cpu", torch.bfloat16):
    for rows in range(1, 901):
        layer(torch.ones(rows, 64)).sum().backward()
        if rows % 300 == 0:
            peaks.append(peak() / 1e6)
assert peaks[-1] - peaks[0] < 100, peaks  # MB; 540 with torch's own caches
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("backend", ["module://ipympl.backend_nbagg", "no_such_backend"])
def test_an_inherited_matplotlib_backend_does_not_cost_the_report(tmp_path, monkeypatch, backend):
    monkeypatch.setenv("MPLBACKEND", backend)
    process = start("--steps", 2, "--out", tmp_path / "run")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "## Verdict" in (tmp_path / "run" / "report.md").read_text()


def test_a_folder_name_that_is_no_utf8_does_not_cost_the_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(train.__file__).parents[1]))
    name = os.fsdecode(b"caf\xe9")
    pictures(Path(name), 12)
    process = start("--steps", 2, "--data", name)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "# I-JEPA on caf\ufffd" in (tmp_path / "runs" / name / "report.md").read_text("utf-8")


@pytest.mark.parametrize("place", [".", "..", "pictures/.."])
def test_a_run_never_trains_on_its_own_pictures(tmp_path, monkeypatch, place):
    pictures(tmp_path / "pictures", 12)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work" if place == ".." else tmp_path)
    for _ in range(2):
        assert main([*TINY, "--steps", "1", "--data", place]) == 0
    runs = [checkpoint(file.parent) for file in Path("runs").glob("*/checkpoint.pt")]
    assert len(runs) == 2 and runs[0]["images"] == runs[1]["images"]


def test_a_few_images_with_classes_are_enough_for_a_report(tmp_path):
    """Fewer than the neighbours that vote."""
    for number, name in enumerate(("cats", "dogs")):
        pictures(tmp_path / "data" / "train" / name, 3, seed=number)
        pictures(tmp_path / "data" / "val" / name, 1, seed=2 + number)
    assert main([*TINY, "--steps", "1", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run")]) == 0
    report = (tmp_path / "run" / "report.md").read_text()
    assert "A vote of the 6 nearest of 6 training images names the class of 2 held-out images (2 classes" in report


def test_a_report_says_so_if_nothing_could_be_held_out(tmp_path):
    for number, name in enumerate(("cats", "dogs")):
        pictures(tmp_path / "data" / name, 6, seed=number)
    assert main([*TINY, "--steps", "1", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run")]) == 0
    report = (tmp_path / "run" / "report.md").read_text()
    assert "## What was seen on the training images" in report and "A vote of" not in report


@pytest.mark.parametrize(("steps", "shown"), [(6, [0, 6]), (7, [0, 7]), (12, [0, 6, 12]), (13, [0, 6, 13])])
def test_the_report_shows_each_row_once(tmp_path, steps, shown):
    """Also if the steps are no multiple of --log-every, which is 6."""
    assert main([*TINY, "--steps", str(steps), "--out", str(tmp_path / "run")]) == 0
    lines = (tmp_path / "run" / "report.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith("| ") and line.split("|")[1].strip().isdigit()]
    assert [int(row.split("|")[1]) for row in rows] == shown


def test_a_loss_that_is_not_finite_stops_with_the_step(capsys, tmp_path):
    message = error_of(capsys, *TINY, "--steps", 30, "--lr", 1e30, "--out", tmp_path / "nan")
    assert "at step" in message and "lower --lr" in message
    assert all(torch.isfinite(t).all() for t in checkpoint(tmp_path / "nan")["student"].values())


def assert_same_gradients(one: dict, two: dict) -> None:
    """After one step AdamW's first moment is a tenth of the gradient."""
    moments = [[s["exp_avg"] for s in c["optimizer"]["state"].values()] for c in (one, two)]
    assert len(moments[0]) == len(moments[1]) > 20
    for a, b in zip(*moments, strict=True):
        torch.testing.assert_close(a, b, atol=1e-8, rtol=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        "",  # one group, shared by both
        "--batch-size 12 --group-size 3",  # four groups, two for each
        "--batch-size 8 --group-size 4 --variance 1 --covariance 0.04 --target-norm batch",
    ],
)
def test_two_processes_average_to_the_gradient_of_one(tmp_path, settings):
    process = start(*settings.split(), "--steps", 1, "--out", tmp_path / "two", launcher=TWO_PROCESSES)
    assert main([*TINY, *settings.split(), "--steps", "1", "--out", str(tmp_path / "one")]) == 0
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    one, two = checkpoint(tmp_path / "one"), checkpoint(tmp_path / "two")
    assert_same_gradients(one, two)
    assert one["recent"] == two["recent"] == [] and one["rows"][-1]["loss"] == pytest.approx(
        two["rows"][-1]["loss"], rel=1e-5
    )


def test_two_processes_follow_one_clock(tmp_path):
    process = start("--minutes", 0.05, "--out", tmp_path / "two", launcher=TWO_PROCESSES)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    stored = checkpoint(tmp_path / "two")
    assert stored["step"] == stored["config"]["steps"] >= 1  # a busy machine may make one


def test_a_dead_process_ends_the_run_with_an_error(tmp_path):
    out = tmp_path / "dead"
    process = start("--steps", 100000, "--out", out, launcher=TWO_PROCESSES)
    wait_for(lambda: (out / "checkpoint.pt").exists() and checkpoint(out)["step"] > 0, process)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    assert len(children) == 2
    os.kill(int(children[-1]), signal.SIGKILL)
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert checkpoint(out)["step"] > 0


@pytest.fixture
def solved(tmp_path):
    """The lessons, solved, as a learner has them at the end, in use."""
    assert release.main(["--solved", str(tmp_path / "solved")]) == 0
    lessons.use(tmp_path / "solved")
    yield
    lessons.use()


@pytest.mark.parametrize("settings", ["", "--variance 1 --covariance 0.04 --target-norm batch"])
def test_a_learners_own_pieces_train_as_the_reference_does(solved, tmp_path, settings):
    """The reference in one group, since the lessons' own train_step takes a batch as one."""
    arguments = [*TINY, *settings.split(), "--group-size", "4", "--steps", "1"]
    for pieces in ("lessons", "solutions"):
        assert main([*arguments, "--pieces", pieces, "--out", str(tmp_path / pieces)]) == 0
    mine, reference = checkpoint(tmp_path / "lessons"), checkpoint(tmp_path / "solutions")
    assert_same_gradients(mine, reference)
    assert mine["rows"][-1]["loss"] == pytest.approx(reference["rows"][-1]["loss"], rel=1e-5)


def test_mirrored_images_are_half_of_them_and_the_same_in_every_run(tmp_path):
    config, _, _ = parse([*TINY, "--batch-size", "64", "--group-size", "64", "--flip", "--out", str(tmp_path / "x")])
    plain = dataclasses.replace(config, flip=False)
    flipped, again, straight = (
        train.Run(c, tmp_path, train.load_pieces("solutions"), train.open_images(c), torch.device("cpu"), Processes())
        for c in (config, config, plain)
    )
    (images, masks), (images2, _), (before, masks_before) = (run.group(3, 0) for run in (flipped, again, straight))
    assert torch.equal(images, images2) and torch.equal(masks.targets, masks_before.targets)
    same = (images == before).flatten(1).all(dim=1)
    assert 16 < same.sum() < 48
    assert torch.equal(images[~same], before[~same].flip(-1))
