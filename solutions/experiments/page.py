"""RESULTS.md and its pictures, from the results of finished runs."""

from __future__ import annotations

import io
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from solutions.experiments.probes import BANK, QUERIES
from solutions.experiments.rows import BATCH, CLAIMS, ENOUGH, PAPER, ROWS, SEEDS, Row
from solutions.trainer.machine import draw_off_screen

HERE = Path(__file__).parent
Result = dict[str, Any]
Results = dict[str, list[Result]]  # the runs of each row
PROBES = {"knn": "kNN", "ridge": "ridge", "logistic": "logistic"}
COLUMNS = PROBES | {
    "loss": "training loss",
    "held_out_loss": "held-out loss",
    "constant": "best constant",
    "per_position": "best per position",
    "wrong_image": "other image",
    "effective_rank": "rank",
}
# What a recipe is for: kNN, ridge and logistic that it should reach.
GOALS = {"ten-minutes": (0.50, None, 0.54), "hour": (0.56, 0.59, 0.61), "gpu": (0.60, None, 0.65)}


def last(result: Result) -> dict[str, float]:
    """What was measured at the end of a run."""
    return result["points"][-1]


def cell(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds, in three digits."""
    mean = statistics.mean(values)
    digits = 3 if abs(mean) < 1 else 2 if abs(mean) < 10 else 0
    return f"{mean:.{digits}f}" + (f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else "")


def in_thousands(images: float) -> str:
    return f"{images / 1000:,.0f}" if images else "0"


def table(results: Results, rows: Sequence[Row]) -> str:
    """A Markdown table of some rows at the end of their runs, an empty cell where there is nothing to measure."""
    lines = ["| row | what | seeds | thousand images | " + " | ".join(COLUMNS.values()) + " | verdict |"]
    lines.append("|" + " --- |" * (len(COLUMNS) + 5))
    for row in rows:
        if runs := results.get(row.name):
            ends = [last(run) for run in runs]
            cells = [cell([end[name] for end in ends]) if name in ends[0] else "" for name in COLUMNS]
            verdicts = ", ".join(sorted({run["verdict"] for run in runs if "verdict" in run}))
            images = in_thousands(statistics.mean(end["images"] for end in ends))
            lines.append(f"| `{row.name}` | {row.text} | {len(runs)} | {images} | {' | '.join(cells)} | {verdicts} |")
    return "\n".join(lines)


def judged(claims: Sequence[tuple[str, str, str]], results: Results) -> str:
    """Each claim "better, worse, text" by kNN and by the logistic probe.

    A difference counts if it is larger than twice its standard error over the seeds, and if both rows have enough seeds
    and images: the others are not trained, or are what is compared with.
    """
    trained = {row.name for row in ROWS if row.trained}
    lines = []
    for better, worse, text in claims:
        pair = [results.get(name, []) for name in (better, worse)]
        images = [last(run)["images"] for name, runs in zip((better, worse), pair, strict=True) for run in runs]
        seeds = min((len(runs) for name, runs in zip((better, worse), pair, strict=True) if name in trained), default=0)
        if not all(pair):
            lines.append(f"- {text}: not measured.")
            continue
        if seeds < SEEDS or any(0 < seen < ENOUGH for seen in images):
            lines.append(f"- {text}: too little to say ({seeds} of {SEEDS} seeds).")
            continue
        answers = []
        for key in ("knn", "logistic"):
            values = [[last(run)[key] for run in runs] for runs in pair]
            gap = statistics.mean(values[0]) - statistics.mean(values[1])
            error = math.sqrt(sum(statistics.variance(v) / len(v) for v in values if len(v) > 1))
            word = "no difference beyond the spread of the seeds"
            if abs(gap) > 2 * error:
                word = "it is so" if gap > 0 else "**it is the other way round**"
            answers.append(f"{word} by {PROBES[key]} ({cell(values[0])} against {cell(values[1])})")
        lines.append(f"- {text}: {'; '.join(answers)}.")
    return "\n".join(lines)


def recipes(results: Results) -> str:
    """Each recipe with a goal, beside what it needed and reached."""
    lines = ["| recipe | seeds | minutes | images/s | thousand images | kNN | ridge | logistic | goals |"]
    lines.append("|" + " --- |" * 9)
    for name, numbers in GOALS.items():
        goals = {key: goal for key, goal in zip(PROBES, numbers, strict=True) if goal}
        wanted = ", ".join(f"{PROBES[key]} {goal:.2f}" for key, goal in goals.items())
        runs = results.get(f"recipe-{name}")
        if not runs:
            lines.append(f"| `{name}` | 0 |  |  |  |  |  |  | {wanted}: not measured |")
            continue
        ends = [last(run) for run in runs]
        means = {key: statistics.mean(end[key] for end in ends) for key in PROBES}
        missed = [PROBES[key] for key, goal in goals.items() if means[key] < goal]
        answer = f"not reached by {' and '.join(missed)}" if missed else "reached"
        cells = [
            cell([run["minutes"] for run in runs]),
            cell([run["images_per_second"] for run in runs]),
            in_thousands(statistics.mean(end["images"] for end in ends)),
            *(cell([end[key] for end in ends]) for key in PROBES),
        ]
        lines.append(f"| `{name}` | {len(runs)} | {' | '.join(cells)} | {wanted}: {answer} |")
    return "\n".join(lines)


def machines(results: Results) -> str:
    """On what the runs were made."""
    counted: dict[tuple[str, ...], list[Result]] = {}
    for runs in results.values():
        for run in runs:
            if "machine" in run:
                about = run["machine"], f"{run['threads']} thread(s), {run['precision']}, torch {run['torch']}"
                counted.setdefault(about, []).append(run)
    lines = []
    for about, runs in sorted(counted.items()):
        days = sorted({run["date"] for run in runs})
        lines.append(f"- {', '.join(about)}: {len(runs)} run(s), {' to '.join(dict.fromkeys((days[0], days[-1])))}")
    return "\n".join(lines)


def missing(results: Results) -> str:
    """Which rows have not run, or not with all of their seeds."""
    counts = {row.name: (len(results.get(row.name, [])), row.seeds) for row in ROWS}
    short = [f"`{name}` ({done} of {wanted})" for name, (done, wanted) in counts.items() if done < wanted]
    return f"Not run yet: {', '.join(short)}." if short else ""


def curve(runs: Sequence[Result], key: str) -> tuple[list[float], list[list[float]]]:
    """The images seen at which all runs of a row were measured, and the values of all runs there."""
    common = set.intersection(*({point["images"] for point in run["points"] if key in point} for run in runs))
    images = sorted(common)
    values = [[{p["images"]: p for p in run["points"]}[seen][key] for run in runs] for seen in images]
    return images, values


PANELS = (
    ("what makes the targets", ("plain", "no-ema", "no-norm", "variance")),
    ("what the masks show", ("plain", "random-masks", "overlap", "targets-1", "targets-2", "no-positions")),
)


def draw_curves(results: Results) -> bytes:
    """kNN and the logistic probe against images seen: a line a row, a band from the lowest to the highest seed."""
    draw_off_screen()
    import matplotlib.pyplot as plt

    from lessons.figures import BLUE, DASHES, GREEN, GREY, INK, ORANGE, PURPLE, RED

    colors = (BLUE, ORANGE, GREEN, RED, PURPLE, INK)
    with plt.rc_context({"font.size": 13, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(2, 2, figsize=(13, 10), sharex=True, sharey="row", layout="constrained")
        for column, (title, names) in enumerate(PANELS):
            for line, key in enumerate(("knn", "logistic")):
                panel = axes[line, column]
                for color, dash, name in zip(colors, DASHES, names, strict=False):
                    if not (runs := results.get(name)):
                        continue
                    images, values = curve(runs, key)
                    x = [seen / 1000 for seen in images]
                    panel.plot(x, [statistics.mean(v) for v in values], color=color, linestyle=dash, lw=3, label=name)
                    panel.fill_between(x, [min(v) for v in values], [max(v) for v in values], color=color, alpha=0.2)
                if runs := results.get("pixels"):
                    panel.axhline(last(runs[0])[key], color=GREY, linestyle=":", label="raw pixels")
                panel.set(title=title if line == 0 else "", ylabel=PROBES[key] if column == 0 else "")
            axes[1, column].set(xlabel="thousand images seen")
            axes[0, column].legend(frameon=False, fontsize=11)
        return as_png(figure)


def draw_losses(results: Results) -> bytes:
    """Left: the loss and kNN of plain I-JEPA while it trains. Right: loss against kNN, a path a run."""
    draw_off_screen()
    import matplotlib.pyplot as plt

    from lessons.figures import BLUE, DASHES, GREEN, INK, ORANGE, PURPLE, RED

    colors = (BLUE, ORANGE, GREEN, RED, PURPLE, INK)
    with plt.rc_context({"font.size": 13, "axes.spines.top": False}):
        figure, (left, right) = plt.subplots(1, 2, figsize=(13, 6), layout="constrained")
        other = left.twinx()
        for axes, key, color, dash in ((left, "held_out_loss", ORANGE, DASHES[1]), (other, "knn", BLUE, DASHES[0])):
            images, values = curve(results["plain"], key) if "plain" in results else ([], [])
            x = [seen / 1000 for seen in images[1:]]  # before the first step the loss says nothing
            axes.plot(x, [statistics.mean(v) for v in values[1:]], color=color, linestyle=dash, lw=3)
            axes.fill_between(x, [min(v) for v in values[1:]], [max(v) for v in values[1:]], color=color, alpha=0.2)
        left.set(xlabel="thousand images seen", ylabel="held-out loss (dashed)", title="plain I-JEPA, while it trains")
        other.set(ylabel="kNN (solid)")
        trained = [row.name for row in ROWS if row.trained and not row.photos and results.get(row.name)]
        for number, name in enumerate(trained):
            for run in results[name]:
                path = [(p["held_out_loss"], p["knn"]) for p in run["points"][1:] if "held_out_loss" in p]
                if path:
                    style = {"color": colors[number % 6], "linestyle": DASHES[number // 6], "alpha": 0.8}
                    right.plot(*zip(*path, strict=True), **style, label=name if run is results[name][0] else None)
                    right.plot(*path[-1], "o", color=colors[number % 6], markersize=9)
        right.set(xlabel="held-out loss", ylabel="kNN", title="every run, up to its end (dot)")
        if right.lines:
            right.legend(frameon=False, fontsize=10)
        return as_png(figure)


def as_png(figure: Any) -> bytes:
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=90)
    plt.close(figure)
    return buffer.getvalue()


def write_page(results: Results, to: Path) -> None:
    """RESULTS.md, curves.png and losses.png in the folder `to`."""
    cifar, photos = ([row for row in ROWS if row.photos == photos and not row.recipe] for photos in (False, True))
    photos += [row for row in ROWS if row.photos and row.recipe]
    page = (HERE / "RESULTS.template.md").read_text(encoding="utf-8")
    filled = page.format(
        batch=BATCH,
        bank=f"{BANK:,}",
        queries=f"{QUERIES:,}",
        enough=f"{ENOUGH:,}",
        seeds=SEEDS,
        table=table(results, cifar),
        photos=table(results, photos),
        recipes=recipes(results),
        claims=judged(CLAIMS, results),
        paper=judged(PAPER, results),
        machines=machines(results),
        missing=missing(results),
    )
    (to / "RESULTS.md").write_text(filled, encoding="utf-8")
    (to / "curves.png").write_bytes(draw_curves(results))
    (to / "losses.png").write_bytes(draw_losses(results))
