"""RESULTS.md and results.png: tables, what was expected and what came, and a picture of loss against kNN."""

from __future__ import annotations

import io
import itertools
import math
import platform
import statistics
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

from data import Images
from solutions.experiments.probes import BANK, QUERIES
from solutions.experiments.rows import EXPECTED, PAPER, ROWS, STEPS
from solutions.trainer.config import RECIPES
from solutions.trainer.machine import draw_off_screen

HERE = Path(__file__).parent
Results = dict[str, list[dict[str, Any]]]  # the runs of each row

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


def table(results: Results, photos: bool = False) -> str:
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


def judged(claims: Sequence[tuple[str, str, str]], results: Results) -> str:
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


def goals(results: Results) -> str:
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


def draw(results: Results) -> bytes:
    """Loss against kNN, a mark a run: the picture that shows why a low loss is no evidence."""
    draw_off_screen()
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
    results: Results,
    data: str,
    sources: tuple[Images, Images],
    photos: tuple[Images, Images],
    to: Path,
) -> None:
    """RESULTS.md and results.png in the folder `to`."""
    page = (
        (HERE / "RESULTS.template.md")
        .read_text(encoding="utf-8")
        .format(
            data=data if data == "cifar10" else "FOLDER",
            classes=", ".join(sources[0].class_names),
            date=date.today().isoformat(),
            machine=f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
            threads=torch.get_num_threads(),
            precision=" and ".join(
                sorted({r["precision"] for runs in results.values() for r in runs if "precision" in r})
            ),
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
    )
    (to / "RESULTS.md").write_text(page)
    (to / "results.png").write_bytes(draw(results))
