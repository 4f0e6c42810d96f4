"""Images for the lessons and the trainer: `load_images("photos" | "cifar10" | a folder)`, and a small trained model."""

import os
from pathlib import Path

from data.images import IMAGENET_MEAN, IMAGENET_STD, ImageError, Images, to_display
from data.model import MODEL, load_model
from data.resident import move, on_device
from data.sources import cifar10, folder, photographs, whole_photographs

__all__ = [
    "BUILT_IN",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "MODEL",
    "ImageError",
    "Images",
    "load_images",
    "load_model",
    "move",
    "on_device",
    "to_display",
]

BUILT_IN = ("photos", "whole photos", "cifar10")  # sources that are no folder of the user's


def load_images(
    source: str | Path = "photos", image_size: int = 224, split: str = "train", seed: int = 0, min_side: int = 1
) -> Images:
    """Open a source of images.

    source: "photos" (random crops of the photographs in data/photos), "whole photos" (the photographs themselves, the
        central square of each, in either split: to look at, since training sees parts of them), "cifar10" (downloaded
        on first use) or the path of a folder of image files. A folder of one of these names is written "./photos".
    image_size: side S of the square images that `.batch` gives, in pixels.
    split: "train" or "val" (held out; no pixel is in both).
    seed: draws the crops, the held-out tenth of a folder without train/ and val/, and the order of the images.
    min_side: smallest side in pixels that an image file of a folder may have; the trainer passes its patch size.

    Raises ImageError, whose message is one sentence that says what is wrong and what to do.
    """
    if split not in ("train", "val"):
        raise ImageError(f'split is {split!r}: it must be "train" or "val"')
    if image_size < 1 or min_side < 1 or seed < 0:
        raise ImageError(
            f"image_size is {image_size}, min_side {min_side} and seed {seed}: they must be at least 1, 1 and 0"
        )
    if source == "photos":
        pixels = photographs(split, seed)
    elif source == "whole photos":
        pixels = whole_photographs()
    elif source == "cifar10":
        pixels = cifar10(split)
    else:
        pixels = folder(Path(os.path.expanduser(source)), image_size, split, seed, min_side)
    return Images(pixels, image_size, seed)
