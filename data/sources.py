"""Where images come from: the embedded photographs, CIFAR-10, a folder."""

import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm.auto import tqdm

from data.images import Canvases, ImageError, Source

HERE = Path(__file__).parent
CIFAR10_FOLDER = HERE / "cifar10"

# Each photograph and the side of it that is held out: the one where the strip still shows something.
PHOTOGRAPHS = {
    "astronaut": "right",
    "camera": "right",
    "chelsea": "left",
    "china": "right",
    "coffee": "left",
    "flower": "bottom",
    "grace_hopper": "bottom",
    "hubble_deep_field": "right",
    "rocket": "right",
}
HELD_OUT_PART = 0.35
CROPS = {"train": 20_000, "val": 1_000}
MIN_CROP = 64  # pixels: smaller ones, enlarged to 224, are a blur
CANDIDATES = 8  # crops drawn for each place in the list; the first with enough contrast is taken
MIN_CONTRAST = 20  # standard deviation of the grey values, of 255: clear sky and black space have less

CACHE_BYTES = 1 << 30  # a folder whose pixels need more is read from disk batch by batch
THREADS = min(8, os.cpu_count() or 1)  # Pillow decodes without holding Python's lock


def photographs(split: str, seed: int) -> Source:
    """Square random crops of the photographs in data/photos, with the photograph as the label.

    Crop i is of photograph i modulo their number, and a function of split, seed and i alone. Its side is uniform
    between MIN_CROP and the shorter side of the region, its place uniform, as long as it has enough contrast. The
    held-out crops come from a strip of each photograph that the training crops never touch.
    """
    count, names = CROPS[split], tuple(PHOTOGRAPHS)
    regions = [_region(_decode(HERE / "photos" / f"{name}.jpg"), PHOTOGRAPHS[name], split) for name in names]
    draws = np.random.default_rng([seed, split == "val"]).random((count, CANDIDATES, 3))
    boxes = np.empty((count, 3), dtype=np.int64)
    for label, region in enumerate(regions):
        boxes[label :: len(regions)] = _choose_crops(region, draws[label :: len(regions)])

    labels = np.arange(count) % len(regions)
    canvases = Canvases(regions, np.column_stack([labels, boxes]))
    return Source(count, canvases.read, torch.from_numpy(labels), names, canvases)


def whole_photographs() -> Source:
    """The central square of each photograph, with the photograph as the label."""
    squares = [_square(HERE / "photos" / f"{name}.jpg") for name in PHOTOGRAPHS]
    canvases = whole(squares)
    return Source(len(squares), canvases.read, torch.arange(len(squares)), tuple(PHOTOGRAPHS), canvases)


def _region(photograph: np.ndarray, held_out_side: str, split: str) -> np.ndarray:
    """The training or the held-out part of a photograph [H, W, 3], cut apart at one line."""
    axis = 0 if held_out_side == "bottom" else 1
    length = photograph.shape[axis]
    held_out = round(length * HELD_OUT_PART)
    cut = held_out if held_out_side == "left" else length - held_out
    first, second = np.split(photograph, [cut], axis)
    return first if (held_out_side == "left") == (split == "val") else second


def _choose_crops(region: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Random numbers in 0..1 [n, CANDIDATES, 3] -> (top, left, side) of n crops [n, 3].

    A crop's contrast comes from running sums over the region's grey values and their squares, so it costs four look-ups
    whatever the crop's size.
    """
    height, width, _ = region.shape
    side = MIN_CROP + np.floor(draws[..., 0] * (min(height, width) - MIN_CROP + 1)).astype(np.int64)
    top = np.floor(draws[..., 1] * (height - side + 1)).astype(np.int64)
    left = np.floor(draws[..., 2] * (width - side + 1)).astype(np.int64)

    grey = region.mean(axis=2)

    def crop_mean(values: np.ndarray) -> np.ndarray:
        sums = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        bottom, right = top + side, left + side
        return (sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]) / side**2

    variance = crop_mean(grey**2) - crop_mean(grey) ** 2
    enough = variance >= MIN_CONTRAST**2
    chosen = np.where(enough.any(1), enough.argmax(1), variance.argmax(1))
    return np.stack([top, left, side], axis=2)[np.arange(len(draws)), chosen]


def cifar10(split: str) -> Source:
    """CIFAR-10: 60,000 images of 32 x 32 pixels in 10 classes, its own training split and, held out, its test set.

    On first use torchvision downloads 170 MB into data/cifar10.
    """
    from torchvision.datasets import CIFAR10  # here, because importing torchvision takes seconds

    try:
        dataset = CIFAR10(CIFAR10_FOLDER, train=split == "train", download=True)
    except (OSError, EOFError, RuntimeError) as error:  # no network, full disk, broken archive, failed checksum
        raise ImageError(
            f"CIFAR-10 could not be downloaded to {CIFAR10_FOLDER} ({error}): use the embedded photographs "
            f'("photos"), or unpack {CIFAR10.url} into that folder yourself'
        ) from error
    canvases = whole(dataset.data)
    return Source(len(dataset.data), canvases.read, torch.tensor(dataset.targets), tuple(dataset.classes), canvases)


def whole(pixels: Sequence[np.ndarray]) -> Canvases:
    """Each of these square images as a canvas of its own."""
    squares = [(number, 0, 0, len(image)) for number, image in enumerate(pixels)]
    return Canvases(pixels, np.array(squares))


def folder(path: Path, image_size: int, split: str, seed: int, min_side: int) -> Source:
    """Every image below a folder, at any depth, in any format that Pillow reads.

    The label of an image is the name of the folder that it lies in; if all lie in one folder there are no labels. Of an
    image that is not square the central square is used (its shorter side becomes image_size), of an animation the first
    frame. If the folder holds train/ and val/ (or test/), these are the splits; otherwise a tenth of the files, drawn
    with the seed, is held out. Files and folders whose name begins with a dot are ignored.
    """
    if not os.path.isdir(path):  # unlike Path.is_dir, also an answer where permission is denied
        if os.path.exists(path):
            raise ImageError(f"{path} is not a folder: give the folder that holds the images")
        raise ImageError(f'there is no folder {path}: check the path, or use "photos" or "cifar10"')
    held_out = next((path / name for name in ("val", "test") if (path / name).is_dir()), None)
    if held_out and (path / "train").is_dir():
        roots = {"train": path / "train", "val": held_out}
        files = {name: _image_files(root) for name, root in roots.items()}
        if not files[split]:
            raise ImageError(f"the folder {roots[split]} holds no images that Pillow can read: check the path")
        classes = {name: [_class_name(file, roots[name]) for file in files[name]] for name in files}
    else:
        found = _image_files(path)
        if len(found) < 2:
            count = {0: "no images", 1: "one image only"}[len(found)]
            raise ImageError(
                f"the folder {path} holds {count} that Pillow can read: give at least two, one to train on and one "
                "to hold out"
            )
        order = np.random.default_rng(seed).permutation(len(found))
        tenth = max(1, len(found) // 10)
        parts = {"train": sorted(order[tenth:]), "val": sorted(order[:tenth])}
        files = {name: [found[index] for index in part] for name, part in parts.items()}
        classes = {name: [_class_name(file, path) for file in files[name]] for name in files}

    kept, pixels = _scan(files[split], image_size, min_side)
    class_names = sorted({*classes["train"], *classes["val"]})
    labels = torch.tensor([class_names.index(classes[split][index]) for index in kept])
    paths = [files[split][index] for index in kept]

    def read(indices: list[int]) -> list[np.ndarray]:
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(lambda index: _reread(paths[index], 2 * image_size), indices))

    canvases = None if pixels is None else whole(pixels)
    read = canvases.read if canvases else read
    if len(class_names) < 2:
        return Source(len(kept), read, None, (), canvases)
    return Source(len(kept), read, labels, tuple(class_names), canvases)


def _image_files(root: Path) -> list[Path]:
    """All files below root with an extension of a format that Pillow opens, in an order that no file system decides."""
    extensions = {extension for extension, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    found = []
    for parent, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(file for file in found if file.suffix.lower() in extensions)


def _class_name(file: Path, root: Path) -> str:
    return file.relative_to(root).parent.name or "."


def _scan(files: list[Path], image_size: int, min_side: int) -> tuple[list[int], list[np.ndarray] | None]:
    """Decode every file once: the positions of those that are whole, and their pixels if all fit into CACHE_BYTES.

    The rest are named in a warning. Raises ImageError if none is left or one is smaller than min_side.
    """
    kept, broken, small, used = [], [], [], 0
    pixels: list[np.ndarray] | None = []

    def attempt(file: Path) -> np.ndarray | Exception:
        try:
            # once it is clear that the pixels won't be kept, a JPEG file is checked at a reduced size, which is faster
            return _square(file, None if pixels is not None else 2 * max(image_size, min_side))
        except UnidentifiedImageError:
            return ValueError("not an image")  # Pillow's own message repeats the path
        except Exception as error:  # Pillow's decoders raise many kinds on broken files, a bomb's among them
            return error

    pool = ThreadPoolExecutor(THREADS)
    try:
        attempts: Iterable[np.ndarray | Exception] = pool.map(attempt, files)
        for index, result in enumerate(tqdm(attempts, "reading images", len(files), unit="file", delay=1, leave=False)):
            if isinstance(result, Exception):
                broken.append(f"{files[index]} ({result})")
                continue
            if result.shape[0] < min_side:
                small.append(f"{files[index]} (shorter side {result.shape[0]})")
            kept.append(index)
            used += result.nbytes
            if used > CACHE_BYTES:
                pixels = None
            elif pixels is not None:
                pixels.append(result)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the files that are still in the queue
    if not kept:
        raise ImageError(f"none of the {len(files)} image files can be read: {_first_few(broken)}; give other files")
    if small:
        raise ImageError(
            f"{len(small)} of {len(files)} images are smaller than {min_side} pixels, the side of a patch: "
            f"{_first_few(small)}; remove them or choose a smaller patch size"
        )
    if broken:
        warnings.warn(f"skipped {len(broken)} of {len(files)} image files: {_first_few(broken)}", stacklevel=4)
    return kept, pixels


def _first_few(items: list[str]) -> str:
    return ", ".join(items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")


def _reread(path: Path, reduced_side: int) -> np.ndarray:
    try:
        return _square(path, reduced_side)
    except Exception as error:  # as in _scan; the file was whole then
        raise ImageError(f"{path} can no longer be read ({error}): restore it, or start again without it") from error


def _square(path: Path, reduced_side: int | None = None) -> np.ndarray:
    """The central square of an image file, uint8 [side, side, 3]."""
    pixels = _decode(path, reduced_side)
    height, width, _ = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side].copy()  # a view would keep the whole image in memory


def _decode(path: Path, reduced_side: int | None = None) -> np.ndarray:
    """An image file as uint8 RGB [H, W, 3], upright as its EXIF data says; raises whatever Pillow raises.

    With reduced_side, a large JPEG is decoded at a half, a quarter or an eighth, with no side below that many pixels.
    """
    with Image.open(path) as image:
        if reduced_side is not None:
            image.draft(None, (reduced_side, reduced_side))
        return np.array(_to_rgb(ImageOps.exif_transpose(image)))


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any of Pillow's modes as RGB. Transparent parts are laid over white, as a page shows them."""
    if image.mode.startswith("I"):  # 16-bit grey is "I;16" or, in older versions of Pillow, the 32-bit "I"
        image = Image.fromarray(np.rint(np.asarray(image).clip(0, 65535) / 257).astype(np.uint8))
    elif image.mode == "F":  # float pixels have no agreed range: 0..1 is common, 0..255 the next
        values = np.nan_to_num(np.asarray(image))
        image = Image.fromarray(np.rint((values * (255 if values.max() <= 1 else 1)).clip(0, 255)).astype(np.uint8))
    elif "transparency" in image.info or image.mode in ("LA", "PA", "RGBA", "RGBa"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
