"""The images: real crops, right pixels whatever the format, one clear sentence for whatever goes wrong."""

import hashlib
import pickle
import socket
import struct
import subprocess
import sys
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, PngImagePlugin
from torchvision.datasets import CIFAR10

import data
from data import IMAGENET_MEAN, IMAGENET_STD, ImageError, Images, load_images, sources, to_display
from data.images import Source

PHOTOS = Path(data.__file__).parent / "photos"


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, channels), dtype=np.uint8)


def pixels_of(images: Images, indices) -> np.ndarray:
    """What `.batch` gives, as pixel values 0..255 [B, H, W, 3]."""
    return to_display(images.batch(indices)).numpy() * 255


def save(array: np.ndarray, path: Path, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array.squeeze()).save(path, **options)


def one_format(folder: Path, image: Image.Image, name: str, image_size: int, **options) -> np.ndarray:
    """Save `image` as the only training file of a folder and read it back as pixel values [H, W, 3]."""
    for part in ("train", "val"):
        (folder / part).mkdir(parents=True)
        image.save(folder / part / name, **options)
    return pixels_of(load_images(folder, image_size=image_size), [0])[0]


# photographs


def test_photographs_have_a_line_on_their_licence():
    files = sorted(file.name for file in PHOTOS.glob("*.jpg"))
    lines = (PHOTOS / "README.md").read_text("utf-8").splitlines()
    rows = [line.split("|")[1:-1] for line in lines if ".jpg |" in line]
    assert len(files) >= 8
    assert sorted(row[0].strip() for row in rows) == files
    assert all(cell.strip() for row in rows for cell in row) and {len(row) for row in rows} == {6}
    assert sum(file.stat().st_size for file in PHOTOS.iterdir()) < 4e6


def test_whole_photographs_are_their_central_squares():
    images = load_images("whole photos", image_size=64)
    assert images.class_names == load_images("photos", image_size=64).class_names
    assert images.labels.tolist() == list(range(len(images))) == list(range(len(list(PHOTOS.glob("*.jpg")))))
    for found, name in zip(pixels_of(images, range(len(images))), images.class_names, strict=True):
        with Image.open(PHOTOS / f"{name}.jpg") as photograph:
            side = min(photograph.size)
            left, top = ((length - side) // 2 for length in photograph.size)
            square = photograph.convert("RGB").crop((left, top, left + side, top + side))
        expected = np.asarray(square.resize((64, 64), Image.Resampling.BILINEAR), dtype=np.float32)
        assert np.abs(found - expected).max() <= 1.01, name  # a step of 255, by rounding


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_photo_crop_is_a_square_of_its_photograph(split):
    """Every crop is found again, pixel for pixel, in the photograph that its label names; its side is at least 64."""
    source = sources.photographs(split, seed=3)
    whole = [np.asarray(Image.open(PHOTOS / f"{name}.jpg").convert("RGB")) for name in source.class_names]
    sides = set()
    for crop, label in zip(source.read(list(range(60))), source.labels.tolist(), strict=False):
        side = len(crop)
        assert crop.shape == (side, side, 3) and side >= 64
        sides.add(side)
        height, width = np.array(whole[label].shape[:2]) - side + 1
        fits = np.ones((height, width), dtype=bool)  # places where the crop's corners and centre agree
        for y, x in ((0, 0), (0, side - 1), (side - 1, 0), (side - 1, side - 1), (side // 2, side // 2)):
            fits &= (whole[label][y : y + height, x : x + width] == crop[y, x]).all(axis=2)
        candidates = np.argwhere(fits)
        assert any(np.array_equal(whole[label][y : y + side, x : x + side], crop) for y, x in candidates)
    assert len(sides) > 25 and max(sides) > 1.5 * min(sides)


def test_training_and_held_out_crops_share_no_pixel(monkeypatch):
    """Each pixel of the photographs is replaced by its own coordinates, so that a crop says where it is from."""

    def coordinates(path: Path) -> np.ndarray:
        with Image.open(path) as image:
            y, x = np.mgrid[: image.height, : image.width]
        return np.stack([y, x, np.full_like(x, 0)], axis=2)

    monkeypatch.setattr(sources, "_decode", coordinates)
    names = tuple(sources.PHOTOGRAPHS)
    seen = {}
    for split in ("train", "val"):
        source = sources.photographs(split, seed=0)
        seen[split] = {label: np.zeros((1500, 1500), dtype=bool) for label in range(len(names))}
        for crop, label in zip(source.read(list(range(400))), source.labels.tolist(), strict=False):
            seen[split][label][crop[..., 0], crop[..., 1]] = True
    for label in range(len(names)):
        train, val = seen["train"][label], seen["val"][label]
        assert not (train & val).any()
        with Image.open(PHOTOS / f"{names[label]}.jpg") as image:
            area = image.width * image.height
        assert train.sum() > 0.5 * area and val.sum() > 0.2 * area


def test_photo_crops_are_reproducible_and_follow_the_seed(monkeypatch):
    full = load_images(image_size=32, seed=5)
    assert (len(full), len(load_images(split="val"))) == (20_000, 1_000)
    batch = full.batch([7, 0, 11])
    assert torch.equal(batch, load_images(image_size=32, seed=5).batch([7, 0, 11]))
    assert not torch.equal(batch, load_images(image_size=32, seed=6).batch([7, 0, 11]))
    monkeypatch.setitem(sources.CROPS, "train", 12)  # crop i does not depend on how many there are
    assert torch.equal(batch, load_images(image_size=32, seed=5).batch([7, 0, 11]))


def test_photo_crops_show_something():
    images = load_images(image_size=64)
    contrast = images.batch(range(500)).mean(dim=1).flatten(1).std(dim=1)
    assert (contrast > 0.1).all()
    assert images.batch(range(500)).std() > 0.5


# resizing


@pytest.mark.parametrize("side", [7, 32, 100, 224, 301, 640])
@pytest.mark.parametrize("image_size", [64, 224])
def test_resize_equals_torch_and_pillow(side, image_size):
    """Enlarged and reduced: within a level of torch's antialiased float resize, and of Pillow's."""
    smooth = noise(6, 6)  # an image with real structure, not white noise alone
    array = np.array(Image.fromarray(smooth).resize((side, side), Image.Resampling.BICUBIC))
    array = np.clip(array.astype(int) + noise(side, side) // 8, 0, 255).astype(np.uint8)
    images = Images(Source(1, lambda indices: [array for _ in indices], None, ()), image_size, seed=0)
    got = pixels_of(images, [0])[0]
    as_float = torch.from_numpy(array).permute(2, 0, 1)[None].float()
    by_torch = F.interpolate(as_float, size=(image_size, image_size), mode="bilinear", antialias=True)
    by_torch = by_torch[0].permute(1, 2, 0).numpy()
    by_pillow = np.array(Image.fromarray(array).resize((image_size, image_size), Image.Resampling.BILINEAR))
    assert np.abs(got - by_torch).max() < 1.01 and np.abs(got - by_torch).mean() < 0.35
    assert np.abs(got - by_pillow).max() < 1.01


def test_batch_normalises_and_keeps_the_order_of_the_indices():
    arrays = [np.full((side, side, 3), value, dtype=np.uint8) for side, value in ((20, 0), (50, 255), (20, 100))]
    images = Images(Source(3, lambda indices: [arrays[index] for index in indices], None, ()), 16, seed=0)
    batch = images.batch(torch.tensor([2, 1, 0, 1]))
    assert batch.shape == (4, 3, 16, 16) and batch.dtype == torch.float32 and batch.is_contiguous()
    for image, value in zip(batch, (100, 255, 0, 255), strict=True):
        for channel in range(3):
            expected = (value / 255 - IMAGENET_MEAN[channel]) / IMAGENET_STD[channel]
            torch.testing.assert_close(image[channel], torch.full((16, 16), expected), atol=1e-5, rtol=0)
    shown = to_display(batch)
    assert shown.shape == (4, 16, 16, 3)
    assert torch.allclose(shown[:, 3, 5, 1], torch.tensor([100, 255, 0, 255]) / 255, atol=1e-6)


def test_to_display_stays_between_0_and_1():
    shown = to_display(torch.randn(2, 3, 4, 4, requires_grad=True) * 10)
    assert shown.min() == 0 and shown.max() == 1 and not shown.requires_grad


# order


def ten_images(count: int = 10, seed: int = 0) -> Images:
    return Images(Source(count, lambda indices: [noise(8, 8) for _ in indices], None, ()), 8, seed)


@pytest.mark.parametrize("batch_size", [1, 3, 10, 16, 25])
def test_every_image_comes_once_per_epoch(batch_size):
    images = ten_images()
    order = torch.cat([images.indices_at(step, batch_size) for step in range(60)])
    assert order.dtype == torch.int64
    epochs = order[: len(order) // 10 * 10].view(-1, 10)
    assert torch.equal(epochs.sort(dim=1).values, torch.arange(10).expand(len(epochs), 10))
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == len(epochs)


def test_order_is_a_function_of_seed_and_step():
    forwards = [ten_images(1000).indices_at(step, 32) for step in range(50)]
    images = ten_images(1000)
    backwards = [images.indices_at(step, 32) for step in reversed(range(50))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert not torch.equal(forwards[0], ten_images(1000, seed=1).indices_at(0, 32))
    forwards[0].zero_()  # what a caller does to its indices changes nothing
    assert torch.equal(images.indices_at(0, 32), backwards[0])


@pytest.mark.parametrize(("step", "batch_size"), [(-1, 4), (0, 0)])
def test_order_refuses_nonsense(step, batch_size):
    with pytest.raises(ValueError, match="at least 0 and 1"):
        ten_images().indices_at(step, batch_size)


@pytest.mark.parametrize(
    ("indices", "sentence"),
    [
        ([0, 10], "index 10 is out of range: there are 10 images"),
        ([-1], "index -1 is out of range"),
        ([], "at least one whole number"),
        ([0.5], "whole number"),
        (torch.tensor([[0, 1]]), r"shape \[1, 2\]"),
        ([True, False], "whole number"),
        (3, "1-D"),
    ],
)
def test_batch_refuses_wrong_indices(indices, sentence):
    with pytest.raises(IndexError, match=sentence):
        ten_images().batch(indices)


# folders and formats


@pytest.mark.parametrize(
    ("mode", "name", "options"),
    [
        ("RGB", "a.png", {}),
        ("RGB", "a.bmp", {}),
        ("RGB", "a.TIFF", {}),
        ("RGB", "a.webp", {"lossless": True}),
        ("L", "a.png", {}),
        ("1", "a.png", {}),
        ("P", "a.gif", {}),
        ("P", "a.png", {}),
        ("CMYK", "a.tif", {}),
    ],
)
def test_formats_without_loss(tmp_path, mode, name, options):
    """Pillow's own conversion, made before saving, is the oracle."""
    image = Image.fromarray(noise(24, 24)).convert(mode)
    got = one_format(tmp_path, image, name, image_size=24, **options)
    np.testing.assert_allclose(got, np.asarray(image.convert("RGB")), atol=0.01)


@pytest.mark.parametrize(("mode", "tolerance"), [("RGB", 6), ("L", 6), ("CMYK", 6)])
def test_jpeg(tmp_path, mode, tolerance):
    flat = np.repeat(np.repeat(noise(3, 3), 8, axis=0), 8, axis=1)
    image = Image.fromarray(flat).convert(mode)
    got = one_format(tmp_path, image, "a.jpeg", image_size=24, quality=98, subsampling=0)
    np.testing.assert_allclose(got, np.asarray(image.convert("RGB")), atol=tolerance)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_are_laid_over_white(tmp_path, mode):
    array = noise(16, 16, 4)
    array[:4, :, 3], array[4:8, :, 3] = 0, 255
    image = Image.fromarray(array, "RGBA").convert(mode)
    colour = np.asarray(image.convert("RGBA")).astype(float)
    alpha = colour[..., 3:] / 255
    got = one_format(tmp_path, image, "a.png", image_size=16)
    np.testing.assert_allclose(got, alpha * colour[..., :3] + (1 - alpha) * 255, atol=1.01)


def test_transparent_palette_entry_is_laid_over_white(tmp_path):
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 10, 30])
    image.paste(0, (0, 0, 8, 4))
    got = one_format(tmp_path, image, "a.png", image_size=8, transparency=0)
    np.testing.assert_allclose(got[:4], 255, atol=0.01)
    np.testing.assert_allclose(got[4:], np.broadcast_to([200, 10, 30], (4, 8, 3)), atol=0.01)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_grey(tmp_path, name):
    values = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    got = one_format(tmp_path, Image.fromarray(values), name, image_size=16)
    np.testing.assert_allclose(got, np.repeat(values[..., None] / 65535 * 255, 3, axis=2), atol=0.51)


@pytest.mark.parametrize("highest", [1, 255])
def test_float_grey(tmp_path, highest):
    values = np.linspace(0, highest, 256, dtype=np.float32).reshape(16, 16)
    values[0, 0] = np.nan
    got = one_format(tmp_path, Image.fromarray(values), "a.tif", image_size=16)
    expected = np.nan_to_num(values[..., None]) / highest * 255
    np.testing.assert_allclose(got, np.repeat(expected, 3, axis=2), atol=0.51)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    """The eight orientations of the EXIF standard."""
    stored = noise(12, 12)
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: stored[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(stored),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    got = one_format(tmp_path, Image.fromarray(stored), "a.png", image_size=12, exif=exif)
    np.testing.assert_allclose(got, upright, atol=0.01)


def exif_block(*entries: tuple[int, int, int, bytes]) -> bytes:
    """An EXIF block as a camera writes it, of (tag, type, count, value of at most 4 bytes)."""
    fields = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in entries)
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + fields + b"\0\0\0\0"


ON_ITS_SIDE = (0x0112, 3, 1, b"\6\0")  # orientation 6: to be turned by a quarter


@pytest.mark.parametrize(
    ("block", "turns"),
    [
        (exif_block(ON_ITS_SIDE, (0x0100, 2, 4, b"abc\0")), 1),  # a width that is text
        (exif_block(ON_ITS_SIDE, (0x0100, 9, 1, struct.pack("<i", -5))), 1),  # a width below 0
        (exif_block(ON_ITS_SIDE, (0x0100, 11, 1, struct.pack("<f", 1.5))), 1),
        (exif_block(ON_ITS_SIDE, (0x0102, 4, 1, struct.pack("<I", 700_000))), 1),
        (exif_block(ON_ITS_SIDE, (0x011A, 2, 4, b"72\0\0")), 1),  # a resolution that is text
        (exif_block((0x0112, 2, 2, b"6\0")), 0),  # an orientation that is text
        (exif_block((0x0112, 3, 1, b"\x2a\0")), 0),  # an orientation that does not exist
        (b"Exif\0\0garbage", 0),
        (b"Exif\0\0II*\0\xff\xff\xff\xff", 0),
        (b"Exif\0\0", 0),
    ],
)
@pytest.mark.filterwarnings("ignore:.*EXIF", "ignore:.*tag 274")
def test_a_bad_exif_block_costs_no_photograph(tmp_path, block, turns):
    for part in ("train", "val"):
        save(noise(16, 16), tmp_path / part / "a.jpg", quality=95)
    plain = (tmp_path / "train" / "a.jpg").read_bytes()
    stored = np.asarray(Image.open(tmp_path / "train" / "a.jpg"), dtype=float)
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    (tmp_path / "train" / "a.jpg").write_bytes(plain[:2] + segment + plain[2:])
    got = pixels_of(load_images(tmp_path, image_size=16), [0])[0]
    np.testing.assert_allclose(got, np.rot90(stored, -turns), atol=0.01)


@pytest.mark.parametrize("compressed", [True, False])
def test_long_text_in_a_png_costs_no_picture(tmp_path, compressed):
    text = PngImagePlugin.PngInfo()
    text.add_text("workflow", "x" * 3_000_000, zip=compressed)
    got = one_format(tmp_path, Image.fromarray(noise(8, 8)), "a.png", image_size=8, pnginfo=text)
    np.testing.assert_allclose(got, noise(8, 8), atol=0.01)


@pytest.mark.parametrize("shape", [(10, 30), (30, 10)])
def test_the_central_square_is_used(tmp_path, shape):
    array = noise(*shape)
    got = one_format(tmp_path, Image.fromarray(array), "a.png", image_size=10)
    np.testing.assert_allclose(got, array[:, 10:20] if shape[1] == 30 else array[10:20], atol=0.01)


def test_any_nesting_with_labels_from_the_parent_folder(tmp_path):
    for index in range(30):
        parent = tmp_path / ("cat/long/haired" if index % 3 else "dog")
        save(np.full((8, 8, 3), index, np.uint8), parent / f"{index}.png")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_text("no image")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "b.png").write_text("no image")
    splits = {name: load_images(tmp_path, image_size=8, split=name, seed=1) for name in ("train", "val")}
    found = {}
    for name, images in splits.items():
        assert images.class_names == ("dog", "haired")
        values = pixels_of(images, range(len(images)))[:, 0, 0, 0].round().astype(int)
        assert images.labels.tolist() == [1 if value % 3 else 0 for value in values]
        found[name] = set(values.tolist())
    assert len(found["val"]) == 3 and found["train"] | found["val"] == set(range(30))
    assert not found["train"] & found["val"]
    again = load_images(tmp_path, image_size=8, split="val", seed=1)
    assert torch.equal(again.batch(range(3)), splits["val"].batch(range(3)))


@pytest.mark.parametrize(
    ("train", "held_out"),
    [
        ("train", "val"),
        ("train", "test"),
        ("train", "valid"),
        ("train", "validation"),
        ("train", "dev"),
        ("Train", "Val"),
        ("TRAIN", "VALIDATION"),
        ("training", "testing"),
    ],
)
def test_train_and_val_folders_are_the_splits(tmp_path, train, held_out):
    save(np.full((8, 8, 3), 10, np.uint8), tmp_path / train / "a" / "x.png")
    save(np.full((8, 8, 3), 20, np.uint8), tmp_path / train / "c" / "x.png")
    save(np.full((8, 8, 3), 30, np.uint8), tmp_path / held_out / "c" / "x.png")
    images, val = load_images(tmp_path, image_size=8), load_images(tmp_path, image_size=8, split="val")
    assert pixels_of(images, [0, 1])[:, 0, 0, 0].round().tolist() == [10, 20] and images.labels.tolist() == [0, 1]
    assert pixels_of(val, [0])[:, 0, 0, 0].round().tolist() == [30] and val.labels.tolist() == [1]
    assert images.class_names == val.class_names == ("a", "c")


def test_val_comes_before_test(tmp_path):
    for number, part in enumerate(("train", "test", "val")):
        save(np.full((8, 8, 3), number, np.uint8), tmp_path / part / "x.png")
    assert pixels_of(load_images(tmp_path, image_size=8, split="val"), [0]).max() == pytest.approx(2, abs=0.01)


ACUTE = {form: unicodedata.normalize(form, "caf\u00e9") for form in ("NFC", "NFD")}  # two spellings of one name


@pytest.mark.parametrize(
    ("files", "names", "train", "val"),
    [
        # Tiny ImageNet: each class has a folder "images", and the held-out images lie in one folder
        (["train/n01/images/a", "train/n02/images/b", "val/images/c"], ("n01", "n02"), [0, 1], None),
        (["train/n01/images/a", "train/n02/images/b", "val/n02/images/c"], ("n01", "n02"), [0, 1], [1]),
        (["train/n01/images/a", "train/n02/images/b", "val/n02/c"], ("n01", "n02"), [0, 1], [1]),
        (["train/n01/a", "train/n02/b", "val/c"], ("n01", "n02"), [0, 1], None),  # flat val/, as in ImageNet's archive
        (["train/n01/a", "train/n02/b", "train/c", "val/n02/d", "val/e"], ("n01", "n02"), [-1, 0, 1], [-1, 1]),
        (["train/n01/a", "train/n02/b", "val/n03/c"], ("n01", "n02"), [0, 1], None),  # no class that training has
        (["train/a", "train/b", "val/n01/c", "val/n02/d"], (), None, None),
        (["train/n01/a", "train/b", "val/n01/c"], (), None, None),  # one class tells nothing apart
        (
            [f"train/{ACUTE['NFC']}/a", "train/tea/b", f"train/{ACUTE['NFD']}/c", f"val/{ACUTE['NFD']}/d"],
            (ACUTE["NFC"], "tea"),
            [0, 0, 1],
            [0],
        ),
    ],
)
def test_labels_are_the_folders_that_differ(tmp_path, files, names, train, val):
    for file in files:
        save(noise(8, 8), tmp_path / f"{file}.png")
    for split, expected in (("train", train), ("val", val)):
        images = load_images(tmp_path, image_size=8, split=split)
        assert (images.labels if expected is None else sorted(images.labels.tolist())) == expected
        assert images.class_names == (names if expected else ())


def test_linked_folders_count_and_a_link_that_leads_back_ends(tmp_path):
    for number in range(4):
        save(np.full((8, 8, 3), number, np.uint8), tmp_path / "disk" / f"{number % 2}" / f"{number}.png")
    images = tmp_path / "images"
    images.mkdir()
    (images / "cats").symlink_to(tmp_path / "disk" / "0")
    (images / "dogs").symlink_to(tmp_path / "disk" / "1")
    (tmp_path / "disk" / "0" / "back").symlink_to(images)
    (tmp_path / "disk" / "1" / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to(images)
    for root in (images, tmp_path / "link"):
        splits = [load_images(root, image_size=8, split=split) for split in ("train", "val")]
        values = [pixels_of(part, range(len(part)))[:, 0, 0, 0].round().astype(int).tolist() for part in splits]
        assert sorted(values[0] + values[1]) == [0, 1, 2, 3]
        assert all(part.class_names == ("cats", "dogs") for part in splits)
        assert [part.labels.tolist() for part in splits] == [[value % 2 for value in part] for part in values]


def test_pictures_that_the_trainer_drew_are_no_images(tmp_path):
    for name in ("runs/a/masks", "runs/a/loss", "runs/a/pca", "runs/a/cat", "mine/masks", "mine/dog"):
        save(noise(8, 8), tmp_path / f"{name}.png")
    (tmp_path / "runs" / "a" / "metrics.csv").touch()
    assert {file.relative_to(tmp_path).as_posix() for file in sources._image_files(tmp_path)} == {
        "runs/a/cat.png",  # the learner's own
        "mine/masks.png",
        "mine/dog.png",
    }


def test_the_digest_is_that_of_the_images_wherever_they_lie(tmp_path):
    def digests(root: Path) -> list[str]:
        return [load_images(root, image_size=8, split=split).digest for split in ("train", "val")]

    for number in range(6):
        save(noise(8 + number, 8), tmp_path / "here" / f"caf\u00e9 {number % 2}" / f"{number}.png")
    before = digests(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    assert digests(tmp_path / "there") == before and before[0] != before[1]
    save(noise(8, 30), tmp_path / "there" / "caf\u00e9 0" / "0.png")
    assert digests(tmp_path / "there") != before
    assert len({load_images("photos").digest, load_images("whole photos").digest, "", *before}) == 5


def test_one_flat_folder_has_no_labels(tmp_path):
    for index in range(4):
        save(noise(8, 8), tmp_path / f"{index}.png")
    images = load_images(tmp_path, image_size=8)
    assert images.labels is None and images.class_names == () and len(images) == 3


def test_a_folder_too_large_for_the_cache_is_streamed(tmp_path, monkeypatch):
    for index in range(12):
        save(noise(20 + index, 40), tmp_path / f"{index}.png")
    large = np.array(Image.fromarray(noise(4, 4)).resize((400, 300), Image.Resampling.BICUBIC))
    save(large, tmp_path / "large.jpg", quality=95)
    cached = load_images(tmp_path, image_size=24)
    assert all(type(array) is np.ndarray for array in cached._read(list(range(len(cached)))))
    monkeypatch.setattr(sources, "CACHE_BYTES", 5000)
    streamed = load_images(tmp_path, image_size=24)
    difference = (cached.batch(range(len(cached))) - streamed.batch(range(len(streamed)))).abs()
    assert difference.max() < 0.1  # a large JPEG is decoded at a reduced size
    for file in tmp_path.iterdir():
        file.unlink()
    cached.batch([0])
    with pytest.raises(ImageError, match=r"\.(png|jpg) can no longer be read"):
        streamed.batch([0])


def broken_files(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "text.jpg").write_text("this is not an image")
    (folder / "empty.png").touch()
    for name in ("truncated.jpg", "truncated.png"):
        save(noise(64, 64), folder / name)
        (folder / name).write_bytes((folder / name).read_bytes()[:1500])


def test_broken_files_are_named_counted_and_skipped(tmp_path):
    save(noise(8, 8), tmp_path / "val" / "cat" / "good.png")
    save(noise(8, 8), tmp_path / "train" / "cat" / "good.png")
    save(noise(9, 9), tmp_path / "train" / "dog" / "good.png")
    broken_files(tmp_path / "train" / "cat")
    with pytest.warns(UserWarning, match="skipped 4 of 6 image files") as caught:
        images = load_images(tmp_path, image_size=8)
    assert all(name in str(caught[0].message) for name in ("text.jpg", "empty.png", "truncated.jpg", "truncated.png"))
    assert len(images) == 2 and images.labels.tolist() == [0, 1]
    assert pixels_of(images, [0])[0] == pytest.approx(noise(8, 8), abs=0.01)


def test_only_broken_files(tmp_path):
    (tmp_path / "train").mkdir()
    broken_files(tmp_path / "val")
    with pytest.raises(ImageError, match=r"none of the 4 image files can be read: .*text\.jpg \(not an image\)"):
        load_images(tmp_path, split="val")


def test_decompression_bomb_is_skipped(tmp_path, monkeypatch):
    for part in ("train", "val"):
        save(noise(8, 8), tmp_path / part / "good.png")
    save(noise(200, 200), tmp_path / "train" / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.warns(UserWarning, match=r"skipped 1 of 2 image files: .*bomb\.png \(.*exceeds limit"):
        assert len(load_images(tmp_path, image_size=8)) == 1


def test_small_images_are_named(tmp_path):
    for index in range(3):
        save(noise(30, 30), tmp_path / "train" / f"{index}.png")
    save(noise(30, 30), tmp_path / "val" / "a.png")
    save(noise(50, 7), tmp_path / "train" / "thin.png")
    assert len(load_images(tmp_path, min_side=7)) == 4
    with pytest.raises(ImageError, match=r"1 of 4 .*smaller than 8 pixels.*thin\.png \(shorter side 7\).*patch size"):
        load_images(tmp_path, min_side=8)


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(ImageError, match=r"there is no folder .*nowhere: check the path"):
        load_images(tmp_path / "nowhere")
    with pytest.raises(ImageError, match=r"there is no folder ~nobody-of-this-name/pictures: check the path"):
        load_images("~nobody-of-this-name/pictures")
    with pytest.raises(ImageError, match="no images"):
        load_images(tmp_path)
    (tmp_path / "train").mkdir()
    (tmp_path / "val").mkdir()
    save(noise(8, 8), tmp_path / "train" / "a.png")
    with pytest.raises(ImageError, match="val holds no images"):
        load_images(tmp_path, split="val")
    with pytest.raises(ImageError, match="one image only"):
        load_images(tmp_path / "train")
    with pytest.raises(ImageError, match="is not a folder"):
        load_images(str(tmp_path / "train" / "a.png"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({"split": "test"}, '"train" or "val"'), ({"image_size": 0}, "image_size is 0"), ({"seed": -1}, "seed -1")],
)
def test_wrong_options(options, sentence):
    with pytest.raises(ImageError, match=sentence):
        load_images(**options)


# CIFAR-10


@pytest.fixture
def small_cifar10(tmp_path, monkeypatch) -> dict[str, np.ndarray]:
    """A folder in CIFAR-10's format with 4 images a file; torchvision checks it against these files' own checksums."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()

    def write(name: str, content: dict) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    rows = {name: noise(4, 3072, 1)[..., 0] for name, _ in CIFAR10.train_list + CIFAR10.test_list}
    for offset, name in enumerate(rows):
        rows[name] = np.roll(rows[name], offset)
    labels = [3, 0, 9, 3]
    sums = {name: write(name, {"data": row, "labels": labels}) for name, row in rows.items()}
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    meta_sum = write("batches.meta", {"label_names": names})
    monkeypatch.setattr(CIFAR10, "train_list", [[name, sums[name]] for name, _ in CIFAR10.train_list])
    monkeypatch.setattr(CIFAR10, "test_list", [[name, sums[name]] for name, _ in CIFAR10.test_list])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": meta_sum})
    monkeypatch.setattr(sources, "CIFAR10_FOLDER", tmp_path)
    return rows


def test_cifar10(small_cifar10):
    train, val = load_images("cifar10", image_size=32), load_images("cifar10", image_size=64, split="val")
    assert (len(train), len(val)) == (20, 4)
    assert train.labels.tolist() == [3, 0, 9, 3] * 5 and train.labels.dtype == torch.int64
    assert train.class_names[3] == "cat"
    planes = small_cifar10["data_batch_2"][1].reshape(3, 32, 32)  # red, then green, then blue, each row by row
    np.testing.assert_allclose(pixels_of(train, [5])[0], planes.transpose(1, 2, 0), atol=0.01)
    assert val.batch([0, 3]).shape == (2, 3, 64, 64)


def no_network(*args, **kwargs):
    raise socket.gaierror("no network in this test")


def test_cifar10_without_network(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(sources, "CIFAR10_FOLDER", tmp_path)
    with pytest.raises(ImageError, match=r"could not be downloaded.*no network in this test.*photos.*unpack https://"):
        load_images("cifar10")


# the package


def test_import_is_light():
    """`import data` loads neither matplotlib nor torchvision."""
    code = "import sys, data; print({'matplotlib', 'torchvision'} & set(sys.modules))"
    root = Path(data.__file__).parents[1]
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert (ran.stdout, ran.stderr) == ("set()\n", "")


def test_whole_folders_raise_no_warning(tmp_path):
    for index in range(3):
        save(noise(8, 8), tmp_path / f"{index}.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_images(tmp_path)


def test_another_seed_draws_another_order_of_the_same_images():
    images = load_images("photos", image_size=32)
    other = images.in_order_of(7)
    assert other.indices_at(0, 64).tolist() == np.random.default_rng([7, 0]).permutation(len(images))[:64].tolist()
    assert images.indices_at(0, 64).tolist() == np.random.default_rng([0, 0]).permutation(len(images))[:64].tolist()
    assert torch.equal(other.batch([3, 5]), images.batch([3, 5]))
