"""What learns, what collapses, and what each part of the recipe is worth: `python -m solutions.results`.

Trains every row of the table with several seeds, measures the frozen teacher with labels (which training never sees),
and writes RESULTS.md and results.png beside this file. A run that is done is not done again: stop it and start it
again as you like. `--row NAME` runs one row alone and prints it.
"""

import argparse
import contextlib
import dataclasses
import functools
import io
import itertools
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from data import ImageError, Images
from solutions.diagnostics import knn_accuracy
from solutions.masking import Masks, block_indices, sample_block_size, sample_masks
from solutions.recipe import NORMALISE, RECIPES
from solutions.report import verdict
from solutions.train import Config, TrainingError, build_model, load_checkpoint, load_pieces, open_images, train

HERE = Path(__file__).parent
STEPS, PHOTO_STEPS = 400, 4_500  # of 32 images
LONG_STEPS = (5_000, 10_000, 15_000)
BANK, QUERIES = 10_000, 2_000  # images of the training and of the held-out part that the probes use

Pieces = SimpleNamespace


# What is taken away: each function swaps one piece of lessons 2 to 6


def no_ema(pieces: Pieces) -> None:
    pieces.momentum_at = lambda step, total_steps, start: 0.0


def no_positions(pieces: Pieces) -> None:
    class Blind(pieces.Predictor):
        def __init__(self, *sizes: int):
            super().__init__(*sizes)
            self.predictor_pos_embed.data.zero_()

    pieces.Predictor = Blind


def random_masks(pieces: Pieces) -> None:
    """As many targets of as many patches, but each patch by itself anywhere, and the context from all others."""

    def sample(batch_size: int, grid_size: int, generator: torch.Generator) -> Masks:
        _, count, size = sample_masks(batch_size, grid_size, generator).targets.shape
        targets = torch.rand(batch_size, count, grid_size**2, generator=generator).topk(size).indices
        keys = torch.rand(batch_size, grid_size**2, generator=generator).scatter(1, targets.flatten(1), -1.0)
        return Masks(keys.topk(int((keys >= 0).sum(dim=1).min())).indices, targets)

    pieces.sample_masks = sample


def overlap(pieces: Pieces) -> None:
    """The context is the whole context block: it shows the targets as well."""

    def sample(batch_size: int, grid_size: int, generator: torch.Generator) -> Masks:
        targets = sample_masks(batch_size, grid_size, generator).targets
        size = sample_block_size(grid_size, (0.85, 1.0), (1.0, 1.0), generator)
        return Masks(block_indices(batch_size, 1, grid_size, size, generator)[:, 0], targets)

    pieces.sample_masks = sample


def number_of_targets(count: int) -> Callable[[Pieces], None]:
    def swap(pieces: Pieces) -> None:
        pieces.sample_masks = functools.partial(sample_masks, num_targets=count)

    return swap


def no_normalisation(pieces: Pieces) -> None:
    NORMALISE["none"] = lambda tokens: tokens


# The table


@dataclasses.dataclass
class Row:
    """One line of the table: a recipe, what differs from it, and what is swapped."""

    name: str
    text: str
    recipe: str | None = "minutes"  # None: nothing is trained
    changes: dict = dataclasses.field(default_factory=dict)
    swap: Callable[[Pieces], None] | None = None
    most_seeds: int = 100

    @property
    def photos(self) -> bool:
        return self.changes.get("data") == "photos"

    def config(self, data: str, seed: int) -> Config:
        sizes = {name: RECIPES["minutes"][name] for name in ("image_size", "patch_size", "predictor_dim", "batch_size")}
        every = {"steps": STEPS, "minutes": 0.0, "log_every": 100, "save_every": STEPS}
        every |= {"data": data, "seed": seed}
        return Config(**(sizes | RECIPES[self.recipe or "plain"] | every | self.changes))


ROWS = (
    Row("pixels", "raw pixels, nothing trained", None, most_seeds=1),
    Row("random", "random encoder, nothing trained", None),
    Row("plain", "plain I-JEPA", "plain"),
    Row("plain-no-ema", "plain I-JEPA, the teacher is the student", "plain", swap=no_ema),
    Row("recipe", "the recipe"),
    Row("no-ema", "recipe, the teacher is the student", swap=no_ema),
    Row("no-norm", "recipe, targets not normalised", changes={"target_norm": "none"}, swap=no_normalisation),
    Row(
        "layer-norm", "recipe, targets normalised token by token, as in the plain one", changes={"target_norm": "layer"}
    ),
    Row("no-positions", "recipe, no positions in the predictor", swap=no_positions),
    Row("random-masks", "recipe, random patches in place of blocks", swap=random_masks),
    Row("overlap", "recipe, the context shows the targets", swap=overlap),
    Row("no-variance", "recipe, no variance and covariance terms", changes={"variance": 0.0, "covariance": 0.0}),
    Row("targets-1", "recipe, 1 target in place of 4", swap=number_of_targets(1)),
    Row("targets-2", "recipe, 2 targets in place of 4", swap=number_of_targets(2)),
    Row(
        "batch-8",
        "recipe, as many images in batches of 8",
        changes={"batch_size": 8, "steps": 4 * STEPS, "lr": 7e-4, "momentum": 0.995},
    ),
    Row("wider", "recipe, 128 wide and 3 blocks deep", changes={"dim": 128, "depth": 3, "heads": 4}),
    *(
        Row(
            f"steps-{steps}",
            f"the recipe, {steps} steps",
            changes={"steps": steps, "log_every": steps // 10, "save_every": 1_000},
            most_seeds=3 if steps <= 10_000 else 1,
        )
        for steps in LONG_STEPS
    ),
    Row("photos-pixels", "raw pixels, nothing trained", None, changes={"data": "photos"}, most_seeds=1),
    Row("photos-random", "random encoder, nothing trained", None, changes={"data": "photos"}),
    Row("photos", f"the recipe, {PHOTO_STEPS} steps", changes={"data": "photos", "steps": PHOTO_STEPS}),
)

# What the paper found (tables 1, 6, 8 and 10): the first row is better than the second, its numbers in percent.
PAPER = (
    ("recipe", "random-masks", "blocks beat random patches as targets (54.2 against 17.6)"),
    ("recipe", "targets-1", "4 targets beat 1 (54.2 against 9.0)"),
    ("recipe", "targets-2", "4 targets beat 2 (54.2 against 22.0)"),
)
EXPECTED = (
    ("plain", "random", "plain I-JEPA beats the random encoder"),
    ("recipe", "plain", "the recipe beats plain I-JEPA"),
    ("recipe", "random", "the recipe beats the random encoder"),
    ("recipe", "pixels", "the recipe beats raw pixels"),
    ("recipe", "no-ema", "an averaged teacher beats a teacher that is the student"),
    ("recipe", "no-norm", "normalised targets beat raw ones"),
    ("recipe", "layer-norm", "targets standardised over the batch beat targets normalised token by token"),
    ("recipe", "no-positions", "a predictor that knows the places beats one that does not"),
    ("recipe", "overlap", "a context without the targets beats one that shows them"),
    ("recipe", "no-variance", "the variance and covariance terms help"),
    ("batch-8", "recipe", "the same images in smaller batches, four times the steps, give better features"),
    ("wider", "recipe", "a wider encoder gives better features"),
    ("steps-10000", "steps-5000", "10,000 steps give better features than 5,000"),
    ("steps-15000", "steps-10000", "15,000 steps give better features than 10,000"),
    ("photos", "photos-random", "on the photographs the recipe beats the random encoder"),
    ("photos", "photos-pixels", "on the photographs the recipe beats raw pixels"),
)


# Measuring with labels


def standardised(bank: Tensor, queries: Tensor) -> tuple[Tensor, Tensor]:
    """Features [K, D] and [Q, D] -> float64, each feature with mean 0 and variance 1 over the bank."""
    mean, std = bank.mean(dim=0), bank.std(dim=0) + 1e-6
    return (bank - mean).double() / std.double(), (queries - mean).double() / std.double()


def ridge_probe(bank: Tensor, bank_labels: Tensor, queries: Tensor, query_labels: Tensor) -> float:
    """Ridge regression of the classes on standardised features: bank [K, D], queries [Q, D] -> share right, 0..1."""
    bank, queries = standardised(bank, queries)
    classes = F.one_hot(bank_labels).double()
    share = classes.mean(dim=0)
    gram = bank.T @ bank / len(bank) + 0.01 * torch.eye(bank.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(gram, bank.T @ (classes - share) / len(bank))
    return ((queries @ weights + share).argmax(dim=1) == query_labels).double().mean().item()


def logistic_probe(bank: Tensor, bank_labels: Tensor, queries: Tensor, query_labels: Tensor) -> float:
    """Logistic regression of the classes on standardised features, weights decayed by 1e-4 -> share right, 0..1."""
    bank, queries = standardised(bank, queries)
    weights = torch.zeros(bank.shape[1], int(bank_labels.max()) + 1, dtype=torch.float64, requires_grad=True)
    biases = torch.zeros(weights.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, biases], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(bank @ weights + biases, bank_labels) + 1e-4 * weights.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return ((queries @ weights + biases).argmax(dim=1) == query_labels).double().mean().item()


def some(images: Images, count: int) -> Tensor:
    """The same indices for every run: [min(count, len)], drawn at random."""
    return torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:count]


def probes(encode: Callable[[Tensor], Tensor], sources: tuple[Images, Images]) -> dict[str, float]:
    """kNN and the two linear probes of encode: images [B, 3, S, S] -> features [B, D]."""
    parts: list[Tensor] = []
    for images, count in zip(sources, (BANK, QUERIES), strict=True):
        indices = some(images, count)
        with torch.no_grad():
            parts += [torch.cat([encode(images.batch(part)) for part in indices.split(250)]), images.labels[indices]]
    return {"knn": knn_accuracy(*parts), "ridge": ridge_probe(*parts), "logistic": logistic_probe(*parts)}


def pooled(teacher: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda images: teacher(images).mean(dim=1)


def run(row: Row, seed: int, data: str, sources: tuple[Images, Images], folder: Path) -> dict:
    """Train and measure one row with one seed, or read what was measured before."""
    done = folder / "result.json"
    if done.exists():
        return json.loads(done.read_text())
    for images in sources:
        images.seed = seed
    config, pieces = row.config(data, seed), load_pieces("solutions")
    result = {"row": row.name, "seed": seed}
    encode = functools.partial(torch.flatten, start_dim=1)
    if row.swap:
        row.swap(pieces)
    if row.name.endswith("random"):
        encode = pooled(build_model(pieces, config).teacher)
    elif row.recipe:
        resumable = (folder / "checkpoint.pt").exists()
        checkpoint = load_checkpoint(folder / "checkpoint.pt") if resumable else None
        start, clock = time.process_time(), time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            code = train(config, folder, checkpoint, pieces, sources)
        if code:
            raise KeyboardInterrupt
        cores, minutes = time.process_time() - start, (time.perf_counter() - clock) / 60
        trained = config.batch_size * (config.steps - (checkpoint["step"] if checkpoint else 0))
        checkpoint = load_checkpoint(folder / "checkpoint.pt")
        teacher = build_model(pieces, config).teacher
        teacher.load_state_dict(checkpoint["teacher"])
        encode = pooled(teacher)
        first, last = checkpoint["rows"][0], checkpoint["rows"][-1]
        result |= {name: last[name] for name in ("held_out_loss", "constant", "per_position", "wrong_image")}
        result |= {"effective_rank": last["effective_rank"], "spread": last["feature_std"] / first["feature_std"]}
        result |= {"verdict": verdict(checkpoint["rows"]).split(":")[0]}
        result |= {
            "precision": checkpoint["config"]["precision"],
            "core_minutes": cores / 60,
            "minutes": minutes,
            "images_per_core_second": trained / cores,
        }
    result |= probes(encode, sources)
    folder.mkdir(parents=True, exist_ok=True)
    done.write_text(json.dumps(result))
    return result


# Writing

COLUMNS = {
    "held_out_loss": "loss",
    "constant": "best constant",
    "per_position": "best per position",
    "wrong_image": "other image",
    "spread": "spread kept",
    "effective_rank": "rank",
    "knn": "kNN",
    "ridge": "ridge",
    "logistic": "logistic",
    "core_minutes": "core minutes",
    "images_per_core_second": "images/s a core",
}


def cell(values: list[float]) -> str:
    """Mean and standard deviation over seeds, in three digits."""
    mean = statistics.mean(values)
    digits = 3 if abs(mean) < 1 else 2 if abs(mean) < 10 else 0
    return f"{mean:.{digits}f}" + (f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else "")


def table(results: dict[str, list[dict]], photos: bool = False) -> str:
    """A Markdown table of the rows of one data set, an empty cell where there is nothing to measure."""
    lines = ["| row | what | seeds | " + " | ".join(COLUMNS.values()) + " | verdict |"]
    lines.append("|" + " --- |" * (len(COLUMNS) + 4))
    for row in ROWS:
        if (runs := results.get(row.name)) and row.photos == photos:
            cells = [cell([r[name] for r in runs]) if name in runs[0] else "" for name in COLUMNS]
            verdicts = sorted({r.get("verdict", "").lower() for r in runs})
            lines.append(
                f"| `{row.name}` | {row.text} | {len(runs)} | " + " | ".join([*cells, ", ".join(verdicts)]) + " |"
            )
    return "\n".join(lines)


def judged(claims: tuple, results: dict[str, list[dict]]) -> str:
    """Each claim "better, worse, text" with the kNN of both rows: a difference counts if it is larger than twice its
    standard error over the seeds.
    """
    lines = []
    for better, worse, text in claims:
        pair = [[run["knn"] for run in results.get(name, [])] for name in (better, worse)]
        if min(map(len, pair)) == 0:
            lines.append(f"- {text}: not measured.")
            continue
        gap = statistics.mean(pair[0]) - statistics.mean(pair[1])
        error = math.sqrt(sum(statistics.variance(values) / len(values) for values in pair if len(values) > 1))
        answer = "no difference beyond the spread of the seeds"
        if max(map(len, pair)) == 1:
            answer = "one run each says nothing"
        elif abs(gap) > 2 * error:
            answer = "it is so" if gap > 0 else "**it is the other way round**"
        lines.append(f"- {text}: {answer} (kNN {cell(pair[0])} against {cell(pair[1])}).")
    return "\n".join(lines)


PAGE = """# Results

`python -m solutions.results --data {data}` made this page: {date}, {machine}, {threads} thread(s), {precision},
torch {torch}, {images} training images ({classes}).
Numbers are the mean over seeds ± their standard deviation. Core minutes are processor time: they do not count the time
that a busy machine made a run wait.

All rows have one encoder (96 wide, 4 blocks, 32 px in patches of 4), batches of {batch}, and {steps} steps, unless they
say otherwise. That is short: a run costs a minute of one core or less. Read differences between rows, not the height
of the numbers. kNN (20 neighbours, cosine) and two linear probes (ridge regression and logistic regression) use the
frozen teacher's patch features, averaged over the image, of {bank} training and {queries} held-out images: the only
place with labels.

{table}

The same on the nine photographs that come with the course, where a class is a photograph: the probes use {photo_bank}
training crops, and {photo_queries} from a strip of each photograph that no training crop touches.

{photos}

![loss against kNN](results.png)

Each mark is one run of the first table. If a low loss were evidence of good features, the marks would fall from the
upper left to the lower right.

The verdict is the one of report.md, from the run's own numbers and without labels: whether the predictions beat the
cheap answers and the features still differ between images. It can't know whether they differ in what matters. Where it
says *learned* beside a kNN below the random encoder's, that is the gap between the two questions.

## What was expected, and what came

{expected}

## Beside the paper's ablations

The paper's numbers are for ImageNet at 1 % of the labels, after hundreds of epochs of a large encoder. What can agree
here is a direction, not a number.

{paper}

## The goals, and what was tried

How many steps fit into ten minutes of two cores depends on the cores, and `python -m solutions.train --recipe minutes`
says it as it starts: 5,288 on two threads of an older processor in fp32 (24 November 2026), 13,000 to 15,000 on two
cores that multiply bf16 (27 November). The recipe stops at 10,000: 15,000 lower the loss, and the kNN with it, while
the linear probes stay within their spread. 30,000, an hour of that older processor, gave a kNN of .410, ridge
regression .452 and logistic regression .466 (24 November, one seed, the row `recipe-hour` that this page had then):
worse than 5,000.

{goals}

Tried in the search for the recipe too, once each, and no better than the seeds' spread or worse: the two terms on the
averaged tokens of an image, alone or added; other weights of the terms (1:1, 4:4, .15, .01 for the covariance); a term
that draws the features towards a normal distribution; targets averaged over the last three blocks, or standardised
position by position; crops, flips and other mask scales; patches of 8 pixels with a wider encoder; another optimizer
for the matrices; patch embeddings that start as a whitening of the patches; images standardised one by one; a deeper
encoder; a wider or a shallower predictor; small contexts. In runs of 5,000 to 15,000 steps: constant weight decay;
targets standardised position by position, with the two terms on averaged tokens added or without; 192 features; larger
targets, with which training diverged.
"""


def goals(results: dict[str, list[dict]]) -> str:
    """The goals of the recipe beside what came."""

    def mean(name: str, key: str) -> float:
        return statistics.mean(run[key] for run in results[name])

    lines = []
    probes = (
        ("knn", "kNN"),
        ("ridge", "linear probe by ridge regression"),
        ("logistic", "linear probe by logistic regression"),
    )
    for minutes, names, *levels in (
        (10, ("steps-5000", "steps-10000"), 0.45, 0.50, 0.50),
        (60, ("steps-15000",), 0.55, 0.58, 0.58),
    ):
        for (key, text), goal in zip(probes, levels, strict=True):
            values = {name: mean(name, key) for name in names if results.get(name)}
            if values:
                word = "reached" if max(values.values()) >= goal else "not reached"
                found = ", ".join(f"`{name}`: {value:.3f}" for name, value in values.items())
                lines.append(f"- {text} of {goal:.2f} in {minutes} minutes of two cores: {word} ({found}).")
    for name, other in itertools.product(("steps-5000", "steps-10000"), ("random", "pixels")):
        if results.get(name) and results.get(other):
            above = 100 * (mean(name, "knn") - mean(other, "knn"))
            word = "reached" if above >= 10 else "not reached"
            lines.append(f"- kNN of `{name}` 10 points above `{other}`: {word} ({above:+.1f}).")
    lines += [f"- `{row.name}` has not been run." for row in ROWS if not results.get(row.name)]
    return "\n".join(lines)


def draw(results: dict[str, list[dict]]) -> bytes:
    """Loss against kNN, a mark a run: the picture that shows why a low loss is no evidence."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from lessons.figures import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, RED

    with plt.rc_context({"font.size": 13, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(figsize=(11, 6.5), layout="constrained")
        trained = [row.name for row in ROWS if row.recipe and not row.photos and results.get(row.name)]
        for number, name in enumerate(trained):
            color = (BLUE, ORANGE, GREEN, RED, PURPLE, INK)[number % 6]
            points = [(run["held_out_loss"], run["knn"]) for run in results[name]]
            axes.scatter(
                *zip(*points, strict=True), s=90, color=color, marker="osD^vP*X"[number * 3 % 8], label=name, alpha=0.85
            )
        for name, dash in (("pixels", "--"), ("random", ":")):
            if runs := results.get(name):
                axes.axhline(statistics.mean(run["knn"] for run in runs), color=GREY, linestyle=dash, label=name)
        axes.set(xlabel="held-out loss", ylabel="kNN accuracy, held-out images")
        figure.suptitle("A low loss is no evidence: each mark is one run")
        figure.legend(loc="outside right upper", frameon=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=100)
        plt.close(figure)
    return buffer.getvalue()


def write_page(
    results: dict[str, list[dict]],
    data: str,
    sources: tuple[Images, Images],
    photos: tuple[Images, Images],
    to: Path,
) -> None:
    """RESULTS.md and results.png in the folder `to`."""
    page = PAGE.format(
        data=data if data == "cifar10" else "FOLDER",
        classes=", ".join(sources[0].class_names),
        date=date.today().isoformat(),
        machine=f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        threads=torch.get_num_threads(),
        precision=" and ".join(sorted({r["precision"] for runs in results.values() for r in runs if "precision" in r})),
        torch=torch.__version__,
        images=len(sources[0]),
        steps=STEPS,
        batch=RECIPES["minutes"]["batch_size"],
        bank=min(BANK, len(sources[0])),
        queries=min(QUERIES, len(sources[1])),
        table=table(results),
        photos=table(results, photos=True),
        photo_bank=min(BANK, len(photos[0])),
        photo_queries=min(QUERIES, len(photos[1])),
        expected=judged(EXPECTED, results),
        paper=judged(PAPER, results),
        goals=goals(results),
    )
    (to / "RESULTS.md").write_text(page)
    (to / "results.png").write_bytes(draw(results))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line -> the exit code."""
    parser = argparse.ArgumentParser(prog="python -m solutions.results", description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="cifar10", help="cifar10, or a folder with train/<class>/ and val/<class>/")
    parser.add_argument("--row", choices=[row.name for row in ROWS], help="run this row alone, and print it")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each row (default: 3)")
    parser.add_argument("--work", type=Path, default=Path("runs/results"), help="where runs are kept, to go on later")
    parser.add_argument("--page", type=Path, default=HERE, help="the folder of RESULTS.md and results.png")
    given = parser.parse_args(arguments)
    try:
        sources = open_images(ROWS[0].config(given.data, 0))
        photos = open_images(ROWS[0].config("photos", 0))
        if any(images.labels is None for images in sources):
            raise ImageError(f"{given.data} has no classes: give a folder with one subfolder a class")
        rows = [row for row in ROWS if given.row in (None, row.name)]
        results: dict[str, list[dict]] = {}
        todo = [(row, seed) for seed in range(given.seeds) for row in rows if seed < row.most_seeds]
        todo.sort(key=lambda item: item[0].config(given.data, 0).steps)  # the long ones last
        for row, seed in tqdm(todo, "results", unit=" runs"):
            folder = given.work / f"{row.name}-{seed}"
            images = photos if row.photos else sources
            results.setdefault(row.name, []).append(run(row, seed, given.data, images, folder))
            if not given.row:
                write_page(results, given.data, sources, photos, given.page)
    except (TrainingError, ImageError) as error:
        print(f"results: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("results: stopped; the same command goes on", file=sys.stderr)
        return 130
    if given.row:
        print(table(results, photos=rows[0].photos))
    return 0


if __name__ == "__main__":
    sys.exit(main())
