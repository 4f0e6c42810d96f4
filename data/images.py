"""Batches of square images from uint8 pixels of any size."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from copy import copy
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# mean and standard deviation of ImageNet's red, green and blue in 0..1, which the published I-JEPA weights expect
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ImageError(Exception):
    """The images asked for can't be given. The message is one sentence for the user: what is wrong and what to do."""


class Canvases(NamedTuple):
    """Pixels that lie in memory, uint8 [H, W, 3] each, and the square of each image: canvas, top, left, side [n, 4]."""

    pixels: Sequence[np.ndarray]
    squares: np.ndarray

    def read(self, indices: list[int]) -> list[np.ndarray]:
        """The squares at these indices, each at its native size."""
        return [
            self.pixels[canvas][top : top + side, left : left + side]
            for canvas, top, left, side in self.squares[indices].tolist()
        ]


class Source(NamedTuple):
    """What a source of images hands over.

    read: indices -> that many square uint8 arrays [side, side, 3], each at its native size.
    labels: long [count], -1 where an image's class is not known, or None where no class is. For diagnostics; training
        never looks at them.
    class_names: the name of each label.
    canvases: where the pixels lie, if they are in memory.
    digest: the same wherever the same images are opened, and another one for others.
    """

    count: int
    read: Callable[[list[int]], list[np.ndarray]]
    labels: Tensor | None
    class_names: tuple[str, ...]
    canvases: Canvases | None = None
    digest: str = ""


class Images:
    """Images kept as uint8 at native size and resized batch by batch. `len()` is their number.

    `.labels` is long [len] or None (-1: not known), `.class_names` a tuple with the name of each label, `.digest` a
    string that is the same wherever the same images are opened.
    """

    def __init__(self, source: Source, image_size: int, seed: int) -> None:
        self.labels = source.labels
        self.class_names = source.class_names
        self.digest = source.digest
        self.image_size = image_size
        self.seed = seed
        self.canvases = source.canvases
        self._count = source.count
        self._read = source.read

    def __len__(self) -> int:
        return self._count

    def in_order_of(self, seed: int) -> "Images":
        """The same images, in the order that another seed draws."""
        other = copy(self)
        other.seed = seed
        return other

    def batch(self, indices: Tensor | Sequence[int]) -> Tensor:
        """The images at `indices` ([B] whole numbers in 0..len-1, repeats allowed), in their order.

        Returns float32 [B, 3, S, S], normalised with ImageNet's mean and standard deviation.
        Raises IndexError for indices that are not such numbers, ImageError for a file that can no longer be read.
        """
        crops = self._read(self._checked(indices))
        size = (self.image_size, self.image_size)
        by_side = defaultdict(list)
        for position, crop in enumerate(crops):
            by_side[crop.shape[0]].append(position)
        mean, std = (np.array(values, dtype=np.float32).reshape(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
        scale, shift = 1 / (255 * std), mean / std
        images = np.empty((len(crops), 3, *size), dtype=np.float32)
        # One call for all crops of one size. On uint8 pixels in [B, H, W, 3] order torch resizes with integer vector
        # instructions, several times faster than on float32 or as two matrix products, and rounds as Pillow does.
        # NumPy does the rest image by image, in the processor's cache and without waking torch's threads: as fast
        # when the machine is idle, and many times faster when its cores are busy.
        for positions in by_side.values():
            stacked = torch.from_numpy(np.stack([crops[position] for position in positions])).permute(0, 3, 1, 2)
            resized = F.interpolate(stacked, size=size, mode="bilinear", antialias=True).numpy()
            for position, pixels in zip(positions, resized, strict=True):
                image = images[position]
                image[...] = pixels
                image *= scale
                image -= shift
        return torch.from_numpy(images)

    def indices_at(self, step: int, batch_size: int) -> Tensor:
        """Indices of the batch of training step `step` (from 0) -> long [batch_size].

        A pure function of the seed, `step` and `batch_size`, so that a resumed run sees what an uninterrupted one
        does. The batches run through one fresh permutation of all images after another, over the border of an epoch
        too: every image comes once per epoch whatever the batch size. Raises ValueError for a step below 0 or an
        empty batch.
        """
        if step < 0 or batch_size < 1:
            raise ValueError(f"step is {step} and batch_size {batch_size}: they must be at least 0 and 1")
        start, stop = step * batch_size, (step + 1) * batch_size
        epochs = range(start // len(self), (stop - 1) // len(self) + 1)
        order = np.concatenate([_permutation(len(self), self.seed, epoch) for epoch in epochs])
        offset = epochs[0] * len(self)
        return torch.from_numpy(order[start - offset : stop - offset])

    def _checked(self, indices: Tensor | Sequence[int]) -> list[int]:
        array = np.asarray(indices)
        if array.ndim != 1 or array.size == 0 or not np.issubdtype(array.dtype, np.integer):
            found = f"an array of shape {list(array.shape)} and type {array.dtype}"
            raise IndexError(f"indices must be a list or a 1-D tensor of at least one whole number, not {found}")
        if array.min() < 0 or array.max() >= len(self):
            worst = array.min() if array.min() < 0 else array.max()
            raise IndexError(f"index {worst} is out of range: there are {len(self)} images, 0 to {len(self) - 1}")
        return array.tolist()


@lru_cache(maxsize=4)
def _permutation(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


def to_display(images: Tensor) -> Tensor:
    """Undo the normalisation of `Images.batch`, to draw: [B, 3, H, W] -> float32 [B, H, W, 3] in 0..1, on the CPU."""
    images = images.detach().float().cpu().permute(0, 2, 3, 1)
    return (images * torch.tensor(IMAGENET_STD) + torch.tensor(IMAGENET_MEAN)).clamp(0, 1)
