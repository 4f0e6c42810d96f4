"""Images that live on a GPU as uint8: cut out, resized and normalised there, so that it doesn't wait for a CPU."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from data.images import IMAGENET_MEAN, IMAGENET_STD, Canvases, Images


class Resident:
    """Gives batches as `Images.batch` does, on a device; a value may differ from it by one step of 255, by rounding."""

    def __init__(self, canvases: Canvases, image_size: int, device: torch.device) -> None:
        self.image_size, self.device = image_size, device
        by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for number, pixels in enumerate(canvases.pixels):
            by_shape[pixels.shape].append(number)
        # all canvases of one shape as one tensor [K, H, W, 3], and where each canvas is: its tensor, its place in it
        self.stacks: list[Tensor] = []
        self.place = np.empty((len(canvases.pixels), 2), dtype=np.int64)
        for numbers in by_shape.values():
            self.place[numbers] = [(len(self.stacks), place) for place in range(len(numbers))]
            stacked = np.stack([canvases.pixels[number] for number in numbers])
            self.stacks.append(move(torch.from_numpy(stacked), device))
        self.squares = canvases.squares
        self.mean, self.std = (torch.tensor(v, device=device).view(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))

    def batch(self, indices: Tensor | Sequence[int]) -> Tensor:
        """The images at `indices` ([B] whole numbers): float32 [B, 3, S, S] on the device, normalised."""
        squares = self.squares[np.asarray(indices)]
        stack, place = self.place[squares[:, 0]].T
        size = self.image_size
        images = torch.empty(len(squares), 3, size, size, device=self.device)
        for number in np.unique(stack):
            chosen = np.flatnonzero(stack == number)
            pixels, boxes = self.stacks[number], squares[chosen, 1:]
            if (boxes == [0, 0, size]).all() and pixels.shape[1:3] == (size, size):
                images[self._index(chosen)] = pixels[self._index(place[chosen])].permute(0, 3, 1, 2).float()
                continue
            for canvas in np.unique(place[chosen]):  # few are large, as photographs are; small ones take the way above
                own = place[chosen] == canvas
                images[self._index(chosen[own])] = self._cut(pixels[canvas], boxes[own])
        return (images / 255 - self.mean) / self.std

    def _index(self, places: np.ndarray) -> Tensor:
        return move(torch.from_numpy(places), self.device)

    def _cut(self, canvas: Tensor, boxes: np.ndarray) -> Tensor:
        """Squares (top, left, side) [b, 3] of one canvas [H, W, 3], resized: [b, 3, S, S], values 0 to 255."""
        height, width, _ = canvas.shape
        top, left, side = move(torch.from_numpy(boxes).float(), self.device).T
        rows, columns = (
            triangle(start, side, length, self.image_size) for start, length in ((top, height), (left, width))
        )
        resized = torch.einsum("bih,hwc,bjw->bcij", rows, canvas.float(), columns)
        return resized.round_().clamp_(0, 255)


def move(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device, without waiting for what the device is still at work on."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def on_device(images: Images, device: torch.device) -> Images | Resident:
    """What gives batches of these images fastest: their pixels move to a GPU if they are in memory."""
    if device.type == "cpu" or images.canvases is None:
        return images
    return Resident(images.canvases, images.image_size, device)


def triangle(start: Tensor, side: Tensor, length: int, size: int) -> Tensor:
    """Matrices [b, size, length] that resize the part from start [b] on, of side [b] pixels, to size pixels.

    Each output is a weighted mean of the pixels within one output's width (at least one pixel's) of its centre, as
    Pillow's and torch's bilinear filter with antialiasing.
    """
    scale = (side / size)[:, None, None]
    reach = scale.clamp(min=1)
    outputs = torch.arange(size, device=start.device)[None, :, None] + 0.5
    pixels = torch.arange(length, device=start.device)[None, None, :] + 0.5
    begin = start[:, None, None]
    weights = (1 - (pixels - begin - outputs * scale).abs() / reach).clamp(min=0)
    weights = weights * ((pixels > begin) & (pixels < begin + side[:, None, None]))
    return weights / weights.sum(dim=2, keepdim=True)
