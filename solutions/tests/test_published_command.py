"""`python -m solutions.pretrained`: where weights are to be had, pictures and neighbours of one's own images."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from lessons import forget
from solutions.misconceptions import exercises, stub
from solutions.published import command
from solutions.tests.helpers.lesson_folders import notebook, save
from solutions.tests.helpers.published_files import huggingface_state, official_state, save_huggingface, save_official

ROOT = Path(__file__).parents[2]


def weights(folder: Path) -> Path:
    """A small encoder of 16 x 16 pixels in Hugging Face's layout."""
    return save_huggingface(folder, huggingface_state(official_state(grid=4)), heads=2)


def colours(folder: Path) -> Path:
    """Images of two classes, red and blue, in both splits."""
    for split, count in (("train", 6), ("val", 3)):
        for name, color in (("red", (220, 30, 30)), ("blue", (30, 30, 220))):
            place = folder / split / name
            place.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (20, 20), tuple(min(255, side + 5 * number) for side in color)).save(
                    place / f"{number}.png"
                )
    return folder


@pytest.fixture(autouse=True)
def without_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setattr(command, "shipped_model", lambda: None)


def test_without_a_file_it_says_where_how_large_and_under_which_licence():
    done = subprocess.run(
        [sys.executable, "-m", "solutions.pretrained"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for words in ("https://huggingface.co/facebook/ijepa_vith14_1k", "CC BY-NC 4.0", "2.5 GB", "10.4 GB"):
        assert words in done.stdout
    assert "https://dl.fbaipublicfiles.com/ijepa/IN1K-vit.h.14-300e.pth.tar" in done.stdout
    assert done.stderr == ""


def test_without_a_file_it_offers_what_is_here(capsys, tmp_path, monkeypatch):
    asked = []

    def snapshot_download(name, allow_patterns, local_files_only):
        asked.append(local_files_only)
        if name != "facebook/ijepa_vith16_1k":
            raise FileNotFoundError(name)
        return str(tmp_path)

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=snapshot_download))
    monkeypatch.setattr(command, "shipped_model", lambda: tmp_path / "small")
    assert command.main([]) == 0
    text = capsys.readouterr().out
    assert "huggingface_hub has this one here: python -m solutions.pretrained facebook/ijepa_vith16_1k" in text
    assert f"The course comes with a small one: python -m solutions.pretrained {tmp_path / 'small'}" in text
    assert text.count("huggingface_hub has") == 1 and all(asked)


def test_pictures_and_neighbours_of_the_users_images(tmp_path, capsys):
    arguments = [str(weights(tmp_path / "model")), "--images", str(colours(tmp_path / "images"))]
    assert command.main([*arguments, "--precision", "bf16", "--out", str(tmp_path / "out")]) == 0
    for name in ("pca", "similarity", "neighbours"):
        with Image.open(tmp_path / "out" / f"{name}.png") as picture:
            assert min(picture.size) > 300
    report = (tmp_path / "out" / "report.md").read_text()
    assert "24 x 2, 16 px in patches of 4" in report and "in bf16" in report
    assert [line.split("|")[1].strip() for line in report.splitlines() if line.startswith("|")] == [
        "features",
        "---",
        "model",
        "untrained",
        "raw pixels",
    ]
    assert "| raw pixels | 100% of 6 |" in report
    assert report in capsys.readouterr().out


def test_the_courses_own_model_stands_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(command, "shipped_model", lambda: weights(tmp_path / "small"))
    official = save_official(tmp_path / "a.pth", official_state(seed=3))
    images = str(tmp_path / "two")  # one to hold out
    (tmp_path / "two").mkdir()
    for number in range(2):
        Image.new("RGB", (20, 20), (9, 99 * number, 200)).save(tmp_path / "two" / f"{number}.png")
    arguments = [str(official), "--heads", "2", "--network", "target_encoder", "--images", images]
    assert command.main([*arguments, "--out", str(tmp_path / "out")]) == 0
    assert "no classes" in (tmp_path / "out" / "report.md").read_text()


def test_the_weights_go_into_ones_own_encoder(folder, tmp_path, capsys):
    """Lesson 2 alone is one's own: the others need not be written."""
    cell = exercises("vision_transformer")["VisionTransformer"]
    given = (
        "from torch import Tensor, nn",
        "from solutions.patch_embedding import PatchEmbedding, sincos_position_embedding",
        "from solutions.vision_transformer import Block, gather_tokens",
    )
    own = cell.replace("return self.norm(tokens)", "raise ValueError('mine')")
    arguments = [str(weights(tmp_path / "model")), "--pieces", "lessons", "--out", str(tmp_path / "out")]
    for text, words in (
        (own, "mine"),
        (stub(cell), "it is not written yet"),
        ("x = 1", "VisionTransformer is missing"),
    ):
        save(folder, "vision_transformer", notebook(*given, text))
        forget("vision_transformer")
        assert command.main(arguments) == 1
        assert words in capsys.readouterr().err.splitlines()[-1]


def test_a_model_sees_images_in_its_own_size():
    encoder = command.VisionTransformer(8, 4, 8, 1, 2)
    model = command.model_of("small", encoder, Path("here"))
    images = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        same = encoder(torch.nn.functional.interpolate(images, size=(8, 8), mode="bilinear", antialias=True))
    torch.testing.assert_close(model.tokens(images), same)


REFUSED = [
    (["nowhere.pth"], "there is no nowhere.pth"),
    (["facebook/ijepa_vith14_1k"], "pip install huggingface_hub"),
    (["MODEL", "--images", "nowhere"], "nowhere"),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSED)
def test_what_cannot_be_shown_is_said_in_a_sentence(arguments, words, tmp_path, capsys, monkeypatch):
    model = weights(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    assert command.main([str(model) if word == "MODEL" else word for word in arguments]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("pretrained: ") and words in said
    assert not (tmp_path / "runs").exists()


def test_a_download_that_fails_is_said_in_a_sentence(monkeypatch, capsys):
    def snapshot_download(name, allow_patterns, local_files_only):
        raise OSError("no route to host\nat all")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(snapshot_download=snapshot_download))
    assert command.main(["facebook/ijepa_vith14_1k"]) == 1
    assert "can't be downloaded (no route to host)" in capsys.readouterr().err
