"""`python -m solutions.pretrained FILE_OR_FOLDER`: published weights beside untrained ones, on your images."""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from data import ImageError, load_images, to_display
from lessons import LessonError, reason
from solutions.diagnostics import knn_accuracy, pca_image
from solutions.published.assemble import PRECISIONS, Sizes, assemble, sizes_of
from solutions.published.files import WeightsError, first_line, size
from solutions.published.shipped import shipped_model
from solutions.published.weights import read_weights
from solutions.trainer.checkpoint import TrainingError, new_run_folder, write_atomic
from solutions.trainer.config import Config
from solutions.trainer.machine import draw_off_screen
from solutions.trainer.metrics import features_and_labels
from solutions.trainer.pieces import NO_MEMORY, blame
from solutions.vision_transformer import MLP, VisionTransformer

# On Hugging Face, and as the authors' archive; parameters are 4 bytes each
PUBLISHED = (
    ("ViT-H/14 at 224 px, ImageNet-1k", "facebook/ijepa_vith14_1k", "IN1K-vit.h.14-300e.pth.tar"),
    ("ViT-H/16 at 448 px, ImageNet-1k", "facebook/ijepa_vith16_1k", "IN1K-vit.h.16-448px-300e.pth.tar"),
    ("ViT-H/14 at 224 px, ImageNet-22k", "facebook/ijepa_vith14_22k", "IN22K-vit.h.14-900e.pth.tar"),
    ("ViT-g/16 at 224 px, ImageNet-22k", "facebook/ijepa_vitg16_22k", "IN22K-vit.g.16-600e.pth.tar"),
)
WHERE = """The encoders of the I-JEPA paper can be downloaded in two forms:

{table}

The folder on Hugging Face holds the encoder alone: 2.5 GB, 4 GB for ViT-g. The authors' archive holds the teacher, the
predictor and the optimizer's memory, too: 10.4 GB for the first of them. In memory an encoder takes 2.5 GB, ViT-g 4 GB,
or half of that with --precision bf16.

Their licence is CC BY-NC 4.0, and not the course's: no commercial use. Read it before you download.

    python -m solutions.pretrained FILE_OR_FOLDER
"""
NEIGHBOURS, BANK, QUERIES, VOTERS = 24, 100, 50, 10  # images: a large encoder takes seconds for each
PATCH = (0.6, 0.5)  # of the similarity maps, as shares of height and width


@dataclass(frozen=True)
class Model:
    """An encoder, and how it is told from the others in pictures."""

    name: str
    encoder: nn.Module
    sizes: Sizes

    @property
    def grid_size(self) -> int:
        return self.sizes.image_size // self.sizes.patch_size

    def tokens(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] of any size -> float32 [B, N, D]."""
        side = self.sizes.image_size
        if images.shape[-1] != side:
            images = F.interpolate(images, size=(side, side), mode="bilinear", antialias=True)
        dtype = next(self.encoder.parameters()).dtype
        with torch.no_grad():
            return torch.cat([self.encoder(image[None].to(dtype)).float() for image in images])


def model_of(name: str, encoder: nn.Module, path: Path) -> Model:
    return Model(name, encoder, sizes_of(encoder.state_dict(), path))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m solutions.pretrained", description="Published weights at work.")
    made.add_argument("weights", nargs="?", help="an archive, a folder, or a name such as facebook/ijepa_vith14_1k")
    made.add_argument("--images", default="photos", help="a folder of images, photos (the default) or cifar10")
    made.add_argument("--precision", choices=PRECISIONS, default="fp32", help="bf16 takes half the memory")
    made.add_argument(
        "--network", choices=("encoder", "target_encoder"), default="encoder", help="of an archive: student or teacher"
    )
    made.add_argument("--heads", type=int, help="attention heads, if neither the file nor the width says it")
    made.add_argument(
        "--pieces", choices=("solutions", "lessons"), default="solutions", help="the reference's classes, or your own"
    )
    made.add_argument("--out", type=Path, help="where the pictures go (default: a new folder below runs/)")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the command line -> the exit code."""
    options = parser().parse_args(arguments)
    try:
        if options.weights is None:
            print(where())
            return 0
        return show(options)
    except (WeightsError, ImageError, LessonError, TrainingError) as error:
        print(f"pretrained: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("pretrained: stopped", file=sys.stderr)
        return 130
    except BaseException as error:  # SystemExit too, if a piece of the learner's raises it
        sentence: object = blame(error)
        if any(words in str(error) for words in NO_MEMORY):
            sentence = "there is not enough memory: close what else runs, or take half with --precision bf16"
        if sentence is None:
            raise
        print(f"pretrained: {sentence}", file=sys.stderr)
        return 1


def where() -> str:
    """Where weights are to be had, and which of them are here already."""
    rows = [
        f"  {title}\n    https://huggingface.co/{name}\n    https://dl.fbaipublicfiles.com/ijepa/{archive}"
        for title, name, archive in PUBLISHED
    ]
    text = WHERE.format(table="\n".join(rows))
    for _, name, _ in PUBLISHED:
        if from_hub(name, download=False):
            text += f"\nhuggingface_hub has this one here: python -m solutions.pretrained {name}\n"
    if model := shipped_model():
        text += f"\nThe course comes with a small one: python -m solutions.pretrained {model}\n"
    return text


def from_hub(name: str, download: bool = True) -> Path | None:
    """The folder of a published encoder in huggingface_hub's cache; None without huggingface_hub, or if it isn't there.

    Raises WeightsError if it can't be downloaded.
    """
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError:
        return None
    wanted = ["config.json", "*.safetensors", "*.safetensors.index.json"]
    try:
        return Path(hub.snapshot_download(name, allow_patterns=wanted, local_files_only=not download))
    except Exception as error:  # its own errors, and those of the network's libraries
        if not download:
            return None
        raise WeightsError(
            f"{name} can't be downloaded ({first_line(error)}): try again, or download it by hand from "
            f"https://huggingface.co/{name}"
        ) from None


def place_of(weights: str) -> Path:
    """The path that was named, or the folder of a published encoder that was. Raises WeightsError."""
    if not Path(weights).expanduser().exists() and weights in {name for _, name, _ in PUBLISHED}:
        if folder := from_hub(weights):
            return folder
        raise WeightsError(
            f"{weights} is a name on Hugging Face: `pip install huggingface_hub` lets this command download it; or "
            "name the folder that you have downloaded yourself"
        )
    return Path(weights).expanduser()


def show(options: argparse.Namespace) -> int:
    """Load, look, write pictures and a report."""
    path, dtype = place_of(options.weights), PRECISIONS[options.precision]
    classes = importlib.import_module(f"{options.pieces}.vision_transformer")
    if not hasattr(classes, "VisionTransformer"):
        raise WeightsError(
            f"VisionTransformer is missing: {reason(classes, 'VisionTransformer') or 'no cell defines it'}"
        )
    weights = read_weights(path, options.network)
    encoder = assemble(classes.VisionTransformer, lambda *sizes: classes.MLP(*sizes), weights, options.heads, dtype)
    published = model_of(path.name, encoder, path)
    others = []
    shipped = shipped_model()
    if shipped and shipped.resolve() != path.resolve():
        small = assemble(VisionTransformer, MLP, read_weights(shipped), None, torch.float32)
        others.append(model_of("the course's", small, shipped))
    torch.manual_seed(0)
    plain = Config()  # untrained, of the trainer's size: large random weights show no more than small ones
    untrained = VisionTransformer(224, 16, plain.dim, plain.depth, plain.heads).eval()
    others.append(model_of("untrained", untrained, path))
    models = [published, *others]

    count = sum(tensor.numel() for tensor in encoder.parameters())
    taken = size(sum(tensor.nbytes for tensor in encoder.state_dict().values()))
    about = f"{path.name}: {published.sizes}; {count:,} weights, {taken} in {options.precision}"
    print(about, file=sys.stderr)
    draw_off_screen()
    pictures, lines = look(models, options.images)
    out = options.out or new_run_folder(Path("runs") / "pretrained")
    for name, picture in pictures.items():
        write_atomic(out / name, picture)
    report = "\n\n".join([f"# {path.name}", about + ".", *lines, *(f"![{name}]({name})" for name in pictures)]) + "\n"
    write_atomic(out / "report.md", report.encode(errors="replace"))
    print(f"{report}\n{out} holds {', '.join(pictures)} and report.md")
    return 0


def look(models: list[Model], source: str) -> tuple[dict[str, bytes], list[str]]:
    """Pictures by their file names, and what labels say, in Markdown."""
    from lessons import figures

    sizes = models[0].sizes
    side, patch = max(sizes.image_size, 224), sizes.patch_size  # fine enough to be looked at; each model has its own
    bank = load_images(source, side, min_side=patch)
    whole = load_images("whole photos" if source == "photos" else source, side, split="val", min_side=patch)
    shown = whole.batch([2, 3, 4, 5] if source == "photos" else range(min(4, len(whole))))
    others = bank.batch(range(min(NEIGHBOURS, len(bank))))
    images = to_display(shown)
    paintings: dict[str, Tensor] = {}
    maps: dict[str, Tensor] = {}
    near: dict[str, Tensor] = {}
    for model in tqdm(models, desc="looking", unit="model"):
        tokens, grid_size = model.tokens(shown), model.grid_size
        paintings[model.name] = figures.paint_components(pca_image(tokens, grid_size))
        asked = tokens[0, int(PATCH[0] * grid_size) * grid_size + int(PATCH[1] * grid_size)]
        maps[model.name] = F.cosine_similarity(tokens, asked, dim=-1).unflatten(1, (grid_size, grid_size))
        pooled, pool = (F.normalize(found.mean(dim=1), dim=-1) for found in (tokens, model.tokens(others)))
        near[model.name] = to_display(others[(pooled @ pool.T).argmax(dim=1)])
    made = {
        "neighbours.png": figures.models(images, near, f"The nearest of {len(others)} other images"),
        "pca.png": figures.models(images, paintings, "Patches with similar features have similar colours"),
        "similarity.png": figures.models(images, maps, "How similar is each patch to the outlined one?", PATCH),
    }
    return {name: drawn(figure) for name, figure in made.items()}, labels_say(models, source)


def drawn(figure: object) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=120)
    return buffer.getvalue()


def labels_say(models: list[Model], source: str) -> list[str]:
    """How many held-out images their neighbours name rightly, where images have classes in both splits."""
    side, patch = models[0].sizes[:2]
    bank, queries = (load_images(source, side, split=split, min_side=patch) for split in ("train", "val"))
    if not all(images.labels is not None and (images.labels >= 0).any() for images in (bank, queries)):
        return ["The images have no classes (a folder each), so that nothing here says what the features are good for."]
    lines = ["| features | held-out images that their neighbours name rightly |", "| --- | --- |"]
    for model in tqdm(models, desc="neighbours", unit="model"):
        lines.append(
            f"| {model.name} | {accuracy(bank, queries, lambda images, own=model: own.tokens(images).mean(1))} |"
        )
    raw = accuracy(bank, queries, lambda images: F.adaptive_avg_pool2d(images, 32).flatten(1))
    lines.append(f"| raw pixels | {raw} |")
    return ["\n".join(lines)]


def accuracy(bank: object, queries: object, encode: Callable[[Tensor], Tensor]) -> str:
    parts = *features_and_labels(bank, encode, BANK), *features_and_labels(queries, encode, QUERIES)
    return f"{knn_accuracy(*parts, k=min(VOTERS, len(parts[0]))):.0%} of {len(parts[2])}"
