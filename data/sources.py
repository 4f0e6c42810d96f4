"""Where images come from: the embedded photographs, CIFAR-10, a folder."""

import hashlib
import os
import unicodedata
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError
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

# What a folder's training and held-out parts are called, in any case; the first that is there counts.
TRAINING_FOLDERS = ("train", "training")
HELD_OUT_FOLDERS = ("val", "valid", "validation", "dev", "test", "testing")
RUN, RUN_PICTURES = (
    "metrics.csv",
    {"masks.png", "loss.png", "imagined.png", "pca.png"},
)  # what the trainer writes, and draws beside it

UPRIGHT = {  # EXIF orientation -> what turns the stored pixels upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Text in a PNG file may be long (an image generator's whole workflow): Pillow would refuse the picture from 1 MB on.
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 1 << 28

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
    return Source(count, canvases.read, torch.from_numpy(labels), names, canvases, "photos")


def whole_photographs() -> Source:
    """The central square of each photograph, with the photograph as the label."""
    squares = [_square(HERE / "photos" / f"{name}.jpg") for name in PHOTOGRAPHS]
    canvases = whole(squares)
    labels = torch.arange(len(squares))
    return Source(len(squares), canvases.read, labels, tuple(PHOTOGRAPHS), canvases, "whole photos")


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
    labels = torch.tensor(dataset.targets)
    return Source(len(dataset.data), canvases.read, labels, tuple(dataset.classes), canvases, "cifar10")


def whole(pixels: Sequence[np.ndarray]) -> Canvases:
    """Each of these square images as a canvas of its own."""
    squares = [(number, 0, 0, len(image)) for number, image in enumerate(pixels)]
    return Canvases(pixels, np.array(squares))


def folder(path: Path, image_size: int, split: str, seed: int, min_side: int) -> Source:
    """Every image below a folder, at any depth, in any format that Pillow reads, linked folders included.

    The label of an image is the name of the innermost folder around it that is a class: see _class_names. An image
    beside the class folders has none, -1; if there are fewer than two classes, or none is known of any image of the
    split, there are no labels. Of an image that is not square the central square is used (its shorter side becomes
    image_size), of an animation the first frame. If the folder holds train/ and val/ (or another of HELD_OUT_FOLDERS),
    these are the splits; otherwise a tenth of the files, drawn with the seed, is held out. Files and folders whose name
    begins with a dot are ignored, and so are the pictures that the trainer has drawn for a run.
    """
    if not os.path.isdir(path):  # unlike Path.is_dir, also an answer where permission is denied
        if os.path.exists(path):
            raise ImageError(f"{path} is not a folder: give the folder that holds the images")
        raise ImageError(f'there is no folder {path}: check the path, or use "photos" or "cifar10"')
    if roots := _splits(path):
        files = {name: _image_files(root) for name, root in roots.items()}
        if not files[split]:
            raise ImageError(f"the folder {roots[split]} holds no images that Pillow can read: check the path")
        class_names = _class_names([_folders(file, roots["train"]) for file in files["train"]])
    else:
        roots = {"train": path, "val": path}
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
        class_names = _class_names([_folders(file, path) for file in found])

    kept, pixels = _scan(files[split], image_size, min_side)
    paths = [files[split][index] for index in kept]
    labels = torch.tensor(_labels([_folders(file, roots[split]) for file in paths], class_names))
    digest = _digest(paths, roots[split])

    def read(indices: list[int]) -> list[np.ndarray]:
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(lambda index: _reread(paths[index], 2 * image_size), indices))

    canvases = None if pixels is None else whole(pixels)
    read = canvases.read if canvases else read
    if len(class_names) < 2 or (labels < 0).all():
        return Source(len(kept), read, None, (), canvases, digest)
    return Source(len(kept), read, labels, class_names, canvases, digest)


def _splits(path: Path) -> dict[str, Path] | None:
    """The folders of the training and of the held-out part, if there are both."""
    _, folders, _ = next(os.walk(path), (path, [], []))
    there = {name.lower(): path / name for name in sorted(folders)}
    train, held_out = (
        next((there[name] for name in names if name in there), None) for names in (TRAINING_FOLDERS, HELD_OUT_FOLDERS)
    )
    return {"train": train, "val": held_out} if train and held_out else None


def _image_files(root: Path) -> list[Path]:
    """All files below root with an extension of a format that Pillow opens, in an order that no file system decides.

    Linked folders are followed, each folder once, so that a link that leads back ends there.
    """
    extensions = {extension for extension, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    found, seen = [], {_identity(root)}
    for parent, folders, names in os.walk(root, followlinks=True):
        places = [Path(parent, name) for name in folders if not name.startswith(".")]
        folders.clear()
        for place in sorted(places, key=lambda place: (place.is_symlink(), place)):  # a folder before a link to it
            if (identity := _identity(place)) not in seen:
                seen.add(identity)
                folders.append(place.name)
        own = RUN_PICTURES if RUN in names else set()
        found += [Path(parent, name) for name in names if not name.startswith(".") and name not in own]
    return sorted(file for file in found if file.suffix.lower() in extensions)


def _identity(folder: Path) -> tuple[int, int]:
    """What is the same for a folder and for all links to it."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def _folders(file: Path, root: Path) -> list[str]:
    """The names of the folders between root and a file, outermost first, each spelled with composed letters (NFC)."""
    return [unicodedata.normalize("NFC", name) for name in file.relative_to(root).parent.parts]


def _class_names(folders: Sequence[list[str]]) -> tuple[str, ...]:
    """The classes of images that lie in these folders: the innermost level at which the folders' names differ.

    So it is n01 and n02 for n01/images and n02/images, as Tiny ImageNet has them.
    """
    names = {place[-1] for place in folders if place}
    while len(names) == 1:
        folders = [place[:-1] for place in folders]
        names = {place[-1] for place in folders if place}
    return tuple(sorted(names))


def _labels(folders: Sequence[list[str]], class_names: Sequence[str]) -> list[int]:
    """For images in these folders, the number of the innermost one that is a class; -1 if none is."""
    numbers = {name: number for number, name in enumerate(class_names)}
    return [next((numbers[name] for name in reversed(place) if name in numbers), -1) for place in folders]


def _digest(files: Sequence[Path], root: Path) -> str:
    """What is the same for the same files in another place: of their names below root, and their sizes."""
    lines = [f"{'/'.join(_folders(file, root))}/{file.name} {file.stat().st_size}" for file in files]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


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
        return np.array(_to_rgb(_upright(image)))


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF or XMP data says; as it is stored if they can't be read."""
    image.load()  # here Pillow turns a TIFF itself
    try:
        turn = UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow's parsers raise many kinds; what they fail on is no pixel
        return image
    return image if turn is None else image.transpose(turn)


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
