"""Pixels that live on a device, which is the CPU here, against the way that was there first, and against Pillow."""

import numpy as np
import pytest
import torch
from PIL import Image

from data import Images, load_images, on_device, to_display
from data.images import Source
from data.resident import Resident, triangle
from data.sources import whole


def differences(images: Images, indices: list[int]) -> np.ndarray:
    """Between the two ways to a batch, in steps of 255."""
    resident = Resident(images.canvases, images.image_size, torch.device("cpu"))
    both = (to_display(way.batch(indices)) for way in (resident, images))
    return ((next(both) - next(both)) * 255).abs().numpy()


@pytest.mark.parametrize("size", [32, 96, 224])
def test_photographs_on_a_device_are_those_of_the_cpu(size):
    found = differences(load_images("photos", image_size=size), list(range(40)))
    assert found.max() < 1.6 and found.mean() < 0.3  # torch rounds after each of its two passes


def test_small_images_on_a_device_are_those_of_the_cpu():
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (side, side, 3)).astype(np.uint8) for side in (32, 32, 48, 32, 20)]
    images = Images(Source(5, whole(pixels).read, None, (), whole(pixels)), 32, seed=0)
    found = differences(images, [4, 0, 3, 2, 2, 1])
    assert found[[1, 2, 5]].max() < 1e-3 and found.max() < 1.6
    single = Resident(images.canvases, 32, torch.device("cpu")).batch([3])
    assert torch.equal(to_display(single)[0].mul(255).round().byte(), torch.from_numpy(pixels[3]))


@pytest.mark.parametrize(("side", "size"), [(100, 32), (64, 64), (20, 50)])
def test_the_matrix_that_resizes_is_pillows_filter(side, size):
    """Against Pillow on a ramp and on noise; rows and columns outside of the square count nothing."""
    values = np.random.default_rng(1).integers(0, 256, 130).astype(np.uint8)
    line = np.repeat(values[None, 7 : 7 + side], 3, axis=0)
    expected = np.asarray(Image.fromarray(line).resize((size, 3), Image.Resampling.BILINEAR))[0]
    weights = triangle(torch.tensor([7.0]), torch.tensor([float(side)]), 130, size)[0]
    found = (weights @ torch.from_numpy(values).float()).numpy()
    assert np.abs(found - expected).max() < 1.01
    np.testing.assert_allclose(weights.sum(dim=1).numpy(), 1, atol=1e-5)
    assert weights[:, :7].sum() == weights[:, 7 + side :].sum() == 0


def test_a_folder_that_is_read_from_the_disk_has_no_canvases(tmp_path, monkeypatch):
    for number in range(3):
        Image.fromarray(np.full((40, 40, 3), number, dtype=np.uint8)).save(tmp_path / f"{number}.png")
    assert load_images(tmp_path, image_size=32).canvases is not None
    monkeypatch.setattr("data.sources.CACHE_BYTES", 1000)
    images = load_images(tmp_path, image_size=32)
    assert images.canvases is None and on_device(images, torch.device("cuda")) is images
