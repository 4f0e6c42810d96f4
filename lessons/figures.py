"""Every picture that the notebooks and the trainer draw.

Each function takes plain tensors and gives a matplotlib Figure, closed in pyplot's registry, so that a
notebook shows it once: as the last expression of a cell. To keep it: `figure.savefig("name.png")`.
All raise ValueError, in one sentence, for a wrong shape. Images are [H, W, 3] in 0..1, as
`data.to_display` gives them; patches are counted row by row from the top left, from 0.
"""

import math
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import wraps
from io import BytesIO
from typing import Any, cast

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm, to_rgba
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from torch import Tensor

# The one palette: Okabe and Ito's colours (https://jfly.uni-koeln.de/color/), but a lighter green and
# a darker red, which stay apart by lightness for an eye that does not tell their hues apart.
INK, GREY = "#222222", "#8c8c8c"
GREEN, RED = "#3fbf7f", "#b2182b"
BLUE, ORANGE, YELLOW, PURPLE = "#0072b2", "#e69f00", "#f0e442", "#cc79a7"
HEAT = "cividis"  # dark to light, the same to a colour-blind eye

# Colour is never the only sign: the k-th line or block has the k-th dash as well.
DASHES = ("solid", (0, (6, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1)), (0, (8, 2, 1.5, 2, 1.5, 2)))

# Sizes that a projector shows to the last row.
TEXT, TITLE = 14, 16
STYLE = {
    "font.size": TEXT,
    "axes.titlesize": TEXT,
    "figure.titlesize": TITLE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 100,
    "figure.constrained_layout.use": True,
}


def _picture(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in this module's style, whatever style the notebook has set, and leave that one as it was."""

    @wraps(draw)
    def drawn(*args: object, **kwargs: object) -> Figure:
        with plt.style.context(["default", STYLE]):
            figure = draw(*args, **kwargs)
            for axes in figure.axes:  # ticks are made when the figure is shown, in the notebook's style
                axes.tick_params(labelsize=TEXT - 2, colors=INK)
        plt.close(figure)
        return figure

    return drawn


def _checked(value: Tensor, name: str, *axes: str | int) -> Tensor:
    """The tensor, detached and on the CPU; ValueError unless it has these axes.

    An int is a fixed size, a letter any size from 1 on, the same wherever the letter stands.
    """
    tensor = torch.as_tensor(value).detach().cpu()
    sizes = dict(zip(axes, tensor.shape, strict=False))
    wanted = tuple(axis if isinstance(axis, int) else sizes.get(axis) for axis in axes)
    if tuple(tensor.shape) != wanted or 0 in wanted:
        raise ValueError(f"{name} must be [{', '.join(map(str, axes))}], but its shape is {list(tensor.shape)}")
    return tensor


def _display(images: Tensor, name: str, *axes: str | int) -> Tensor:
    images = _checked(images, name, *axes).float()
    if images.min() < -0.01 or images.max() > 1.01:
        raise ValueError(f"{name} must lie in 0..1, as data.to_display gives them")
    return images.clamp(0, 1)


def _check_indices(indices: Tensor, name: str, grid_size: int) -> None:
    if indices.is_floating_point() or indices.min() < 0 or indices.max() >= grid_size**2:
        raise ValueError(f"{name} must be whole numbers from 0 to {grid_size**2 - 1}, for a grid_size of {grid_size}")


def _show(axes: Axes, picture: Tensor, title: str = "", **options: Any) -> AxesImage:
    """Show a picture without axes; `extent` may put it in units of patches."""
    axes.set_axis_off()
    axes.set_title(title)
    return axes.imshow(picture.numpy(), interpolation="nearest", **options)


def _on_grid(grid_size: int) -> dict[str, Any]:
    """Options for a picture in units of patches: patch (row, column) lies at x = column, y = row."""
    return {"extent": (0, grid_size, grid_size, 0)}


def _mark(axes: Axes, index: int, grid_size: int) -> None:
    """Outline one patch of a picture that is in units of patches; the outline leaves the patch itself free."""
    row, column = divmod(index, grid_size)
    for color, width in ((INK, 5), ("white", 2)):
        axes.add_patch(
            Rectangle((column - 0.2, row - 0.2), 1.4, 1.4, fill=False, edgecolor=color, linewidth=width, clip_on=False)
        )


def _leave_room(axes: Axes, grid_size: int, room: float) -> None:
    """Widen a picture that is in units of patches, so that outlines at its border stay inside."""
    axes.set(xlim=(-room, grid_size + room), ylim=(grid_size + room, -room))


def _start_at_zero(axes: Axes, steps: Sequence[float]) -> None:
    """Both axes from 0, with room above the lines; a run that has made no step yet gets an axis all the same."""
    axes.update_datalim([(0, 0)])
    axes.autoscale_view()
    axes.set(xlabel="step", xlim=(0, max(1, *steps)), ylim=(0, None))


def _label_ends(axes: Axes, lines: Sequence[tuple[str, str, Sequence[float], Sequence[float]]]) -> None:
    """Write each line's name at its right end; lines: (name, colour, x, y). Names that would overlap move apart."""
    figure = cast(Figure, axes.figure)
    figure.draw_without_rendering()  # settles the limits and the height of the axes
    low, high = axes.get_ylim()
    gap = 1.3 * TEXT / (axes.get_window_extent().height * 72 / figure.dpi)
    ends = []
    for name, color, x, y in lines:
        seen = [(float(a), float(b)) for a, b in zip(x, y, strict=True) if math.isfinite(b)]
        if seen:
            ends.append((seen[-1], name, color))
    ends.sort(key=lambda end: end[0][1])
    heights = [(y - low) / (high - low) for (_, y), _, _ in ends]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + gap)
    ceiling = 1.0
    for i in reversed(range(len(heights))):
        heights[i] = min(heights[i], ceiling)
        ceiling = heights[i] - gap
    for (point, name, color), height in zip(ends, heights, strict=True):
        axes.annotate(
            name,
            xy=point,
            xytext=(1.04, height),
            textcoords="axes fraction",
            color=INK,  # in the line's own colour the light ones could not be read
            verticalalignment="center",
            # relpos: to the name's left end; on the way to its middle it would run through the name above or below
            arrowprops={
                "arrowstyle": "-",
                "color": color,
                "linewidth": 2,
                "shrinkA": 2,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
            annotation_clip=False,
        )


# Stripes of the k-th target block: each runs its own way, so that two blocks that overlap cross.
_STRIPES = (lambda y, x: x + y, lambda y, x: x - y, lambda y, x: y, lambda y, x: x)


def _paint_masks(image: Tensor, context: Tensor, blocks: Tensor, cell: int) -> Tensor:
    """Context [G, G] and blocks [M, G, G] (bool) painted on an image [H, W, 3] -> [G * cell, G * cell, 3].

    Only the image's lightness is kept, so that a red flower in the context is green all the same.
    """
    grid_size = len(context)
    side = grid_size * cell
    image = F.interpolate(image.permute(2, 0, 1)[None], size=(side, side), mode="nearest")[0].permute(1, 2, 0)
    light = (image @ torch.tensor([0.299, 0.587, 0.114]))[..., None]  # ITU-R BT.601 luma

    def tone(dark: tuple[float, ...], bright: tuple[float, ...]) -> Tensor:
        return torch.tensor(dark) + light * (torch.tensor(bright) - torch.tensor(dark))

    def enlarged(mask: Tensor) -> Tensor:
        return mask.repeat_interleave(cell, 0).repeat_interleave(cell, 1)[..., None]

    picture = tone((0.6, 0.6, 0.6), (0.98, 0.98, 0.98))
    picture = torch.where(enlarged(context), tone((0.06, 0.46, 0.27), (0.72, 0.98, 0.85)), picture)
    picture = torch.where(enlarged(blocks.any(dim=0)), tone((0.4, 0.0, 0.04), (1.0, 0.46, 0.44)), picture)
    y, x = torch.arange(side)[:, None], torch.arange(side)[None, :]
    for k, block in enumerate(blocks):
        stripe = (_STRIPES[k % len(_STRIPES)](y, x) % 16 < 2).expand(side, side)[..., None]
        picture = torch.where(stripe & enlarged(block), 0.45 * picture + 0.55 * torch.tensor((1.0, 0.8, 0.8)), picture)
    return picture


def _outline(axes: Axes, region: Tensor, dash: str | tuple[float, Sequence[float]] = "solid") -> None:
    """Draw the border of a region, bool [G, G], of a picture that is in units of patches."""
    grid_size, fine = len(region), 8
    ticks = (torch.arange(grid_size * fine + 2) - 0.5) / fine  # a rim of one fine cell closes outlines at the border
    mask = F.pad(region.float().repeat_interleave(fine, 0).repeat_interleave(fine, 1), (1, 1, 1, 1)).numpy()
    axes.contour(ticks, ticks, mask, levels=[0.5], colors="white", linewidths=5)
    axes.contour(ticks, ticks, mask, levels=[0.5], colors=INK, linewidths=2.2, linestyles=[dash])


def _outline_blocks(axes: Axes, blocks: Tensor) -> None:
    """Outline each block [M, G, G] in its own dash; number it, in a patch of no other block where it has one."""
    grid_size = blocks.shape[1]
    covered = blocks.sum(dim=0)
    labelled = torch.zeros(grid_size, grid_size, dtype=torch.bool)
    for k, block in enumerate(blocks):
        _outline(axes, block, DASHES[k % len(DASHES)])
    for k, block in enumerate(blocks):
        crowd = (covered + 100 * labelled).masked_fill(~block, 10_000)
        row, column = divmod(int(crowd.argmin()), grid_size)
        labelled[row, column] = True
        axes.text(
            column + 0.5,
            row + 0.5,
            str(k + 1),
            ha="center",
            va="center",
            fontsize=TEXT - 1,
            fontweight="bold",
            color=INK,
            bbox={"boxstyle": "circle,pad=0.18", "facecolor": "white", "edgecolor": INK},
        )


@_picture
def masks(images: Tensor, context: Tensor, targets: Tensor, grid_size: int) -> Figure:
    """Each image beside its masks: context patches green, target blocks red, numbered and striped, the rest grey.

    images [B, H, W, 3], context [B, Nc], targets [B, M, Nt]: the indices that `sample_masks` gives. Raises
    ValueError for a wrong shape, or an index outside the grid.
    """
    images = _display(images, "images", "B", "H", "W", 3)
    context, targets = _checked(context, "context", "B", "Nc"), _checked(targets, "targets", "B", "M", "Nt")
    if not len(images) == len(context) == len(targets):
        raise ValueError(
            "images, context and targets must have one length, "
            f"but it is {len(images)}, {len(context)} and {len(targets)}"
        )
    _check_indices(context, "context", grid_size)
    _check_indices(targets, "targets", grid_size)

    def on_grid(indices: Tensor) -> Tensor:
        inside = torch.zeros(*indices.shape[:-1], grid_size**2, dtype=torch.bool)
        return inside.scatter_(-1, indices, True).reshape(*indices.shape[:-1], grid_size, grid_size)

    visible, blocks = on_grid(context), on_grid(targets)
    pairs = min(len(images), 2)  # in a row
    rows = math.ceil(len(images) / pairs)
    figure, axes = plt.subplots(rows, 2 * pairs, figsize=(6.4 * pairs, 3.2 * rows + 1), squeeze=False)
    cells = axes.reshape(-1, 2)
    for image, seen, hidden, (left, right) in zip(images, visible, blocks, cells, strict=False):
        painted = _paint_masks(image, seen, hidden, cell=max(16, 448 // grid_size))
        for panel, picture in ((left, image), (right, painted)):
            _show(panel, picture, **_on_grid(grid_size))
            _leave_room(panel, grid_size, 0.12)
        _outline_blocks(right, hidden)
    for left, right in cells[len(images) :]:
        left.set_axis_off()
        right.set_axis_off()
    count = targets.shape[1]
    named = f"target blocks 1 to {count}" if count > 1 else "target block"
    figure.legend(
        handles=[
            Patch(facecolor=GREEN, edgecolor=INK, label="context: what the student sees"),
            Patch(
                facecolor=RED,
                edgecolor="white",
                hatch="//",
                label=f"{named}: what it must predict",
            ),
            Patch(facecolor="#e8e8e8", edgecolor=INK, label="neither"),
        ],
        loc="outside lower center",
        ncols=3 if pairs > 1 else 1,
        frameon=False,
    )
    return figure


@_picture
def losses(rows: Sequence[dict[str, float]]) -> Figure:
    """A run of the trainer: its loss beside the answers that need no look at the image; the features' spread and rank.

    rows: those of metrics.csv, each with step, loss, held_out_loss, constant, per_position, wrong_image,
    feature_std and effective_rank. Raises ValueError if there is no row, or one lacks a key.
    """
    drawn = (
        ("loss", "training loss", GREY, DASHES[0], 1.5),
        ("held_out_loss", "held-out loss", BLUE, DASHES[0], 3.5),
        ("constant", "best single answer", ORANGE, DASHES[1], 2.5),
        ("per_position", "best answer per position", RED, DASHES[2], 2.5),
        ("wrong_image", "against another image", PURPLE, DASHES[3], 2.5),
    )
    keys = ["step", *(key for key, *_ in drawn), "feature_std", "effective_rank"]
    if not rows or any(key not in row for row in rows for key in keys):
        raise ValueError(f"rows must hold at least one row of metrics, each with {', '.join(keys)}")
    steps, marker = [row["step"] for row in rows], "o" if len(rows) < 3 else None
    figure, axes = plt.subplot_mosaic(
        [["loss", "loss"], ["feature_std", "effective_rank"]], figsize=(12, 8.4), height_ratios=[2, 1]
    )
    lines = []
    for key, name, color, dash, width in drawn:
        values = [row[key] for row in rows]
        axes["loss"].plot(steps, values, color=color, linestyle=dash, linewidth=width, marker=marker)
        lines.append((name, color, steps, values))
    axes["loss"].set(ylabel="squared error")
    for key, title in (
        ("feature_std", "spread of the features between images"),
        ("effective_rank", "effective rank of the features"),
    ):
        axes[key].plot(steps, [row[key] for row in rows], color=BLUE, linewidth=3, marker=marker)
        axes[key].set(title=title)
    for panel in axes.values():
        _start_at_zero(panel, steps)
    figure.suptitle(
        "Good signs: a held-out loss below both best answers and far below that against another image,\n"
        "a spread and a rank that stay up. A falling loss alone is not one."
    )
    _label_ends(axes["loss"], lines)
    return figure


# Components as light, as blue to yellow and as green to pink, not as red, green and blue: whoever can't tell red from
# green still sees the first two, and a grey print the first. The last two leave the light (ITU-R BT.601 luma) as it is.
_BLUE_TO_YELLOW, _GREEN_TO_PINK = (0.11, 0.11, -0.85), (0.55, -0.38, 0.52)


def paint_components(components: Tensor) -> Tensor:
    """Three components [..., 3] in 0..1 -> colours [..., 3] in 0..1."""
    light, second, third = components[..., :1], components[..., 1:2] - 0.5, components[..., 2:] - 0.5
    colors = 0.15 + 0.7 * light + second * torch.tensor(_BLUE_TO_YELLOW) + third * torch.tensor(_GREEN_TO_PINK)
    return colors.clamp(0, 1)


@_picture
def pca(images: Tensor, before: Tensor, after: Tensor) -> Figure:
    """Principal components of patch features, before and after training: a row an image, a column a model.

    images [B, H, W, 3]; before and after [B, G, G, 3] in 0..1: three components, as `pca_image` gives them, of all
    images together. The first is shown as light, the second as blue to yellow, the third as green to pink. Raises
    ValueError for a wrong shape.
    """
    images = _display(images, "images", "B", "H", "W", 3)
    columns = [("image", images)]
    for name, components in (("before", before), ("after", after)):
        components = _display(components, name, len(images), "G", "G", 3)
        columns.append((f"{name} training", paint_components(components)))
    figure, axes = plt.subplots(len(images), 3, figsize=(8.4, 2.8 * len(images) + 1), squeeze=False)
    for column, (title, pictures) in enumerate(columns):
        for row, picture in enumerate(pictures):
            _show(axes[row, column], picture, title if row == 0 else "")
    figure.suptitle("Patches with similar features have similar colours\n(compare within a column only)")
    return figure


@_picture
def models(images: Tensor, columns: dict[str, Tensor], title: str, place: tuple[float, float] | None = None) -> Figure:
    """What several models make of the same images: a row an image, a column a model.

    images [B, H, W, 3]. columns: name -> pictures [B, h, w, 3] in 0..1 (`paint_components` makes them of three
    components), or maps [B, G, G] of cosine similarities, all on one scale. place: of the patch that is outlined in the
    maps of the first image, as shares of the height and the width. Raises ValueError for a wrong shape, or no column.
    """
    images = _display(images, "images", "B", "H", "W", 3)
    if not columns:
        raise ValueError("columns must hold at least one name with its pictures or maps")
    shown = {"image": images}
    for name, pictures in columns.items():
        is_map = pictures.dim() == 3
        shown[name] = (
            _checked(pictures, name, len(images), "G", "G").float()
            if is_map
            else _display(pictures, name, len(images), "h", "w", 3)
        )
    figure, axes = plt.subplots(
        len(images), len(shown), figsize=(2.8 * len(shown) + 1.2, 2.8 * len(images) + 1), squeeze=False
    )
    heat = None
    for column, (name, pictures) in enumerate(shown.items()):
        for row, picture in enumerate(pictures):
            panel, grid_size = axes[row, column], len(picture)
            scale = {"cmap": HEAT, "vmin": 0, "vmax": 1} if picture.dim() == 2 else {}
            drawn = _show(panel, picture, name if row == 0 else "", **scale, **_on_grid(grid_size))
            heat = drawn if scale else heat
            if place and row == 0 and scale:
                _mark(panel, int(place[0] * grid_size) * grid_size + int(place[1] * grid_size), grid_size)
    if heat:
        figure.colorbar(heat, ax=list(axes[:, -1]), label="cosine similarity", shrink=0.6, extend="min")
    figure.suptitle(title)
    return figure


@_picture
def runs(
    histories: dict[str, dict[str, Sequence[float] | Sequence[Sequence[float]]]], ylabel: str, xlabel: str = "step"
) -> Figure:
    """Several runs side by side on one scale, the same lines in each: run -> line -> one value a step.

    A line may be that of several seeds, [seeds, steps]: their mean is drawn, with a band from the lowest to the
    highest. The first line is drawn thickest. Raises ValueError if there is no run, if the runs have not the same
    lines, or unless these are 1 to 6.
    """
    names = list(next(iter(histories.values()), ()))
    if not 1 <= len(names) <= len(DASHES) or any(list(lines) != names for lines in histories.values()):
        raise ValueError(f"histories must hold at least one run, all with the same 1 to {len(DASHES)} lines")
    figure, axes = plt.subplots(1, len(histories), figsize=(4.3 * len(histories), 5.2), sharey=True, squeeze=False)
    colors = (BLUE, ORANGE, RED, PURPLE, GREEN, INK)
    for panel, (run, lines) in zip(axes[0], histories.items(), strict=True):
        for k, (name, values) in enumerate(lines.items()):
            seeds = torch.atleast_2d(torch.as_tensor(values, dtype=torch.float64))  # [seeds, steps]
            width = 2.5 + 1.5 * (k == 0)
            panel.plot(seeds.mean(dim=0).numpy(), color=colors[k], linestyle=DASHES[k], linewidth=width, label=name)
            if len(seeds) > 1:
                low, high = seeds.amin(dim=0).numpy(), seeds.amax(dim=0).numpy()
                panel.fill_between(range(seeds.shape[1]), low, high, color=colors[k], alpha=0.25, linewidth=0)
        panel.set(title=run, xlabel=xlabel)
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.margins(x=0.01)
    axes[0, 0].set(ylabel=ylabel, ylim=(0, None))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(names), frameon=False)
    return figure


@_picture
def imagined(images: Tensor, targets: Tensor, versions: dict[str, Tensor], grid_size: int) -> Figure:
    """Images with their target patches taken out, beside versions with the holes filled: a row an image.

    images [B, H, W, 3], targets [B, M, Nt], versions: title -> [B, H, W, 3]. The blocks are outlined. Raises ValueError
    for a wrong shape, no version, or an index outside the grid.
    """
    images, targets = _display(images, "images", "B", "H", "W", 3), _checked(targets, "targets", "B", "M", "Nt")
    if len(targets) != len(images) or not versions:
        raise ValueError(
            f"there must be targets for each of the {len(images)} images and at least one version, "
            f"but there are {len(targets)} and {len(versions)}"
        )
    _check_indices(targets, "targets", grid_size)
    hidden = torch.zeros(len(images), grid_size**2, dtype=torch.bool).scatter_(1, targets.flatten(1), True)
    hidden = hidden.unflatten(1, (grid_size, grid_size))
    holes = F.interpolate(hidden[:, None].float(), size=images.shape[1:3], mode="nearest")[:, 0, ..., None]
    columns = {"what the student sees": images * (1 - holes) + 0.83 * holes}
    columns |= {title: _display(version, title, *images.shape) for title, version in versions.items()}
    figure, axes = plt.subplots(
        len(images), len(columns), figsize=(2.9 * len(columns), 2.9 * len(images) + 0.5), squeeze=False
    )
    for column, (title, pictures) in enumerate(columns.items()):
        for row, picture in enumerate(pictures):
            panel = axes[row, column]
            _show(panel, picture, title if row == 0 else "", **_on_grid(grid_size))
            _leave_room(panel, grid_size, 0.12)
            _outline(panel, hidden[row])
    return figure


@_picture
def neighbours(images: Tensor, places: Tensor, near_images: Tensor, near_places: Tensor, grid_size: int) -> Figure:
    """Patches, each beside its nearest ones in other images: a row a patch, all outlined.

    images [Q, H, W, 3] with one patch each, places [Q]; near_images [Q, K, H, W, 3], nearest first, with near_places
    [Q, K]. Raises ValueError for a wrong shape, or an index outside the grid.
    """
    images = _display(images, "images", "Q", "H", "W", 3)
    near_images = _display(near_images, "near_images", len(images), "K", *images.shape[1:])
    places = _checked(places, "places", len(images))
    near_places = _checked(near_places, "near_places", *near_images.shape[:2])
    for name, indices in (("places", places), ("near_places", near_places)):
        _check_indices(indices, name, grid_size)
    count = near_images.shape[1]
    figure, axes = plt.subplots(
        len(images), count + 1, figsize=(2.6 * (count + 1), 2.6 * len(images) + 0.8), squeeze=False
    )
    for row, panels in enumerate(axes):
        pictures = [images[row], *near_images[row]]
        for k, (panel, index) in enumerate(zip(panels, [int(places[row]), *near_places[row].tolist()], strict=True)):
            title = "this patch" if k == 0 else "nearest" if k == 1 else f"{k}."
            _show(panel, pictures[k], title if row == 0 else "", **_on_grid(grid_size))
            _mark(panel, index, grid_size)
            _leave_room(panel, grid_size, 0.3)
    return figure


@_picture
def similarity(images: Tensor, maps: Tensor, patch: int) -> Figure:
    """How similar every patch of several images is to one patch of the first, which is outlined.

    images [B, H, W, 3], maps [B, G, G]: cosine similarities. Raises ValueError for a wrong shape, or a patch outside
    the grid.
    """
    images = _display(images, "images", "B", "H", "W", 3)
    maps = _checked(maps, "maps", len(images), "G", "G").float()
    grid_size = maps.shape[1]
    _check_indices(torch.tensor(patch), "patch", grid_size)
    figure, axes = plt.subplots(2, len(images), figsize=(2.7 * len(images) + 1.2, 6), squeeze=False)
    # one scale whatever the model, so that the maps of two compare
    scale = {"cmap": HEAT, "vmin": 0, "vmax": 1, **_on_grid(grid_size)}
    for column, (image, heat) in enumerate(zip(images, maps, strict=True)):
        _show(axes[0, column], image, **_on_grid(grid_size))
        shown = _show(axes[1, column], heat, **scale)
    for panel in axes[:, 0]:
        _mark(panel, patch, grid_size)
    for panel in axes.flat:
        _leave_room(panel, grid_size, 0.3)
    figure.colorbar(shown, ax=list(axes[1]), label="cosine similarity", shrink=0.9, extend="min")
    figure.suptitle(f"How similar is each patch to the outlined one, number {patch}?")
    return figure


@_picture
def patches(image: Tensor, patch_size: int) -> Figure:
    """An image [H, W, 3], and the same cut into numbered patches.

    Raises ValueError for a wrong shape, or if patch_size, in pixels, does not divide H and W.
    """
    image = _display(image, "image", "H", "W", 3)
    height, width = image.shape[:2]
    if patch_size < 1 or height % patch_size or width % patch_size:
        raise ValueError(f"patch_size must divide the image's {height} x {width} pixels, but it is {patch_size}")
    rows, columns = height // patch_size, width // patch_size
    gap = max(1, round(patch_size / 10))
    pitch = patch_size + gap
    cut = torch.ones(rows * pitch - gap, columns * pitch - gap, 3)
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 1 + 6 * min(1.4, height / width)))
    few = max(rows, columns) <= 10  # else a number in each patch would be too small to read
    for row in range(rows):
        for column in range(columns):
            y, x = row * pitch, column * pitch
            source = image[row * patch_size : (row + 1) * patch_size, column * patch_size : (column + 1) * patch_size]
            cut[y : y + patch_size, x : x + patch_size] = source
            if few or column in (0, columns - 1) or row == 0:
                right.text(
                    x + (patch_size - 1) / 2,
                    y + (patch_size - 1) / 2,
                    str(row * columns + column),
                    ha="center",
                    va="center",
                    fontsize=TEXT if few else TEXT - 3,
                    color="white",
                    fontweight="bold",
                    path_effects=[withStroke(linewidth=3, foreground=INK)],
                )
    _show(left, image, f"image: {height} x {width} pixels")
    _show(right, cut, f"{rows} x {columns} = {rows * columns} patches of {patch_size} x {patch_size} pixels")
    return figure


@_picture
def position_similarity(pos_embed: Tensor, grid_size: int) -> Figure:
    """How alike the position embeddings are: four patches (outlined), the cosine of each with all patches.

    pos_embed [N, D], N = grid_size squared. Raises ValueError for a wrong shape.
    """
    pos_embed = _checked(pos_embed, "pos_embed", grid_size**2, "D").float()
    directions = F.normalize(pos_embed, dim=1)
    similarity = directions @ directions.T
    scale = {"cmap": HEAT, "vmin": min(0.9, float(similarity.min())), "vmax": 1, **_on_grid(grid_size)}
    middle, last = grid_size // 2, grid_size - 1
    chosen = [(0, 0), (middle, middle), (grid_size // 4, last), (last, grid_size // 4)]
    figure, axes = plt.subplots(1, 4, figsize=(14, 4))
    for panel, (row, column) in zip(axes, chosen, strict=True):
        index = row * grid_size + column
        heat = similarity[index].unflatten(0, (grid_size, grid_size))
        shown = _show(panel, heat, f"row {row}, column {column}", **scale)
        _mark(panel, index, grid_size)
    figure.colorbar(shown, ax=list(axes), label="cosine similarity", shrink=0.8)
    figure.suptitle("How alike is each position to the outlined one?")
    return figure


@_picture
def attention(image: Tensor, weights: dict[str, Tensor], query: int, grid_size: int) -> Figure:
    """Where one patch looks: the attention of patch `query` to all patches, a panel for each title.

    image [H, W, 3], weights: title -> [N] (a row of an attention matrix: it sums to 1), N = grid_size squared. Raises
    ValueError for a wrong shape, nothing to draw, or a query outside the grid.
    """
    image = _display(image, "image", "H", "W", 3)
    if not weights:
        raise ValueError("weights must hold at least one title with its [N] weights")
    _check_indices(torch.tensor(query), "query", grid_size)
    maps = {title: _checked(row, f"weights of {title!r}", grid_size**2).float() for title, row in weights.items()}
    columns = min(4, len(maps) + 1)
    rows = math.ceil((len(maps) + 1) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.3 * columns + 1.4, 3.5 * rows + 0.8), squeeze=False)
    panels = list(axes.flat)
    grey = 0.3 * image.mean(dim=-1)
    # light that falls on a dimmed photograph; square roots, else one strong patch would leave all others dark
    light = LinearSegmentedColormap.from_list("light", [to_rgba(YELLOW, 0), to_rgba(YELLOW, 1)])
    most = max(float(row.max()) for row in maps.values())
    scale = {"cmap": light, "norm": PowerNorm(0.5, 0, most), **_on_grid(grid_size)}
    _show(panels[0], image, f"patch {query}", **_on_grid(grid_size))
    _mark(panels[0], query, grid_size)
    for panel, (title, row) in zip(panels[1:], maps.items(), strict=False):
        _show(panel, grey, cmap="gray", vmin=0, vmax=1, **_on_grid(grid_size))
        shown = _show(panel, row.unflatten(0, (grid_size, grid_size)), title, **scale)
        _mark(panel, query, grid_size)
    for panel in panels[len(maps) + 1 :]:
        panel.set_axis_off()
    figure.colorbar(shown, ax=panels, label="attention weight", shrink=0.8).ax.set_facecolor(INK)
    figure.suptitle(f"Where the outlined patch looks (evenly would be 1/{grid_size**2} = {1 / grid_size**2:.3g} each)")
    return figure


@_picture
def mask_frequency(counts: dict[str, Tensor], label: str = "times covered") -> Figure:
    """How often each patch is covered, or what else `label` says, a panel for each title, all on one colour scale.

    counts: title -> [G, G], how many times for each patch (over as many draws in each panel, so that they compare).
    Raises ValueError for a wrong shape, or nothing to draw.
    """
    if not counts:
        raise ValueError("counts must hold at least one title with its [G, G] counts")
    counts = {title: _checked(count, f"counts of {title!r}", "G", "G").float() for title, count in counts.items()}
    most = max(float(count.max()) for count in counts.values())
    figure, axes = plt.subplots(1, len(counts), figsize=(4.6 * len(counts) + 1.4, 5.2), squeeze=False)
    for panel, (title, count) in zip(axes[0], counts.items(), strict=True):
        title = f"{title}\nfrom {float(count.min()):.4g} to {float(count.max()):.4g}"
        shown = _show(panel, count, title, cmap=HEAT, vmin=0, vmax=most)
    figure.colorbar(shown, ax=list(axes[0]), label=label, shrink=0.8)
    return figure


@_picture
def curves(
    series: dict[str, Sequence[float]], title: str, ylabel: str, xlabel: str = "step", bottom: float | None = None
) -> Figure:
    """Lines from step 0 on, each with its name at its end; series: name -> one value a step, at most six.

    bottom is where the axis of the values starts: a little below the lowest, unless it is given.
    Raises ValueError if there is no line, one without values, or more than six.
    """
    colors = (BLUE, ORANGE, RED, PURPLE, GREEN, INK)
    if not 1 <= len(series) <= len(colors) or not all(len(values) for values in series.values()):
        raise ValueError(f"series must hold 1 to {len(colors)} names, each with at least one value")
    figure, axes = plt.subplots(figsize=(11, 5))
    lines = []
    for (name, values), color, dash in zip(series.items(), colors, DASHES, strict=False):
        values = [float(value) for value in values]
        axes.plot(values, color=color, linestyle=dash, linewidth=3, marker="o" if len(values) < 3 else None)
        lines.append((name, color, range(len(values)), values))
    axes.set(title=title, ylabel=ylabel, xlabel=xlabel)
    axes.ticklabel_format(useOffset=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.01)
    axes.set_ylim(bottom=bottom)
    _label_ends(axes, lines)
    return figure


def sliders(draw: Callable[..., Figure], **controls: tuple[Any, Sequence[Any]]) -> "Figure | Sliders":
    """A picture with a slider for each argument of draw, drawn anew when one moves: the last expression of a cell.

    controls: argument -> (where its slider starts, the values in order). Where nobody can move a slider, in a script or
    when nbconvert or papermill runs the notebook, it is the first picture alone. Raises ValueError for a start that is
    not among the values, and what draw raises for the starts.
    """
    for name, (start, values) in controls.items():
        if start not in values:
            raise ValueError(f"{name} must start at one of its values, but {start!r} is not one")
    first = draw(**{name: start for name, (start, _) in controls.items()})
    return Sliders(draw, controls, first) if _is_someone_there() else first


def _is_someone_there() -> bool:
    """Whether this runs in a notebook that someone sits at: a program that runs one says that it answers no input."""
    from IPython.core.getipython import get_ipython  # here, because the trainer draws without Jupyter

    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and bool(kernel.get_parent("shell").get("content", {}).get("allow_stdin"))


class Sliders:
    """What `sliders` gives a notebook: the widgets and, for where there is no kernel any more, the first picture."""

    def __init__(self, draw: Callable[..., Figure], controls: dict[str, tuple[Any, Sequence[Any]]], first: Figure):
        from ipywidgets import Image, Label, SelectionSlider, VBox

        self._draw = draw
        self._sliders = {
            name: SelectionSlider(options=list(values), value=start, description=name, continuous_update=False)
            for name, (start, values) in controls.items()
        }
        self._first = _png(first)
        # an image and no Output: that one loses pictures when a slider moves while a cell runs
        self._picture, self._said = Image(value=self._first, format="png"), Label()
        self._box = VBox([*self._sliders.values(), self._picture, self._said])
        for slider in self._sliders.values():
            slider.observe(self._redraw, names="value")

    def _redraw(self, _: object) -> None:
        try:
            figure = self._draw(**{name: slider.value for name, slider in self._sliders.items()})
            self._picture.value, self._said.value = _png(figure), ""
        except Exception as error:  # the learner's code: what it raises would be lost
            self._said.value = f"{type(error).__name__}: {error}"

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        widget = {"version_major": 2, "version_minor": 0, "model_id": self._box.model_id}
        picture = b64encode(self._first).decode()
        return {"application/vnd.jupyter.widget-view+json": widget, "image/png": picture, "text/plain": "sliders"}


def _png(figure: Figure) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


@_picture
def side_by_side(pictures: Sequence[Tensor], titles: Sequence[str], label: str = "") -> Figure:
    """Images [H, W, 3] and maps [rows, columns] in a row; the maps share one colour scale, named `label`; NaN is grey.

    Raises ValueError for a wrong shape, maps without a finite number, or unless each picture has its title.
    """
    if not 1 <= len(pictures) == len(titles):
        raise ValueError(f"each picture must have a title, but there are {len(pictures)} and {len(titles)}")
    shown = [
        _checked(picture, title, "rows", "columns").float()
        if picture.dim() == 2
        else _display(picture, title, "H", "W", 3)
        for picture, title in zip(pictures, titles, strict=True)
    ]
    maps = [picture.flatten() for picture in shown if picture.dim() == 2]
    scale = {}
    if maps:
        values = torch.cat(maps)
        values = values[values.isfinite()]
        if not len(values):
            raise ValueError("the maps must hold at least one finite number")
        low, high = float(values.min()), float(values.max())
        scale = {"cmap": plt.get_cmap(HEAT).with_extremes(bad="#d5d5d5"), "vmin": low, "vmax": high}
    figure, axes = plt.subplots(1, len(shown), figsize=(3.3 * len(shown) + 1.4 * bool(maps), 3.8), squeeze=False)
    for panel, picture, title in zip(axes[0], shown, titles, strict=True):
        drawn = _show(panel, picture, title, **scale)  # an image takes no notice of a scale
        if picture.dim() == 2:
            heat = drawn
    if maps:
        figure.colorbar(heat, ax=list(axes[0]), label=label, shrink=0.8)
    return figure


@_picture
def long_run(points: Sequence[dict[str, float]]) -> Figure:
    """A long run, against the images it has seen: its loss beside the best constant's, and what labels say of it.

    points: each with images, held_out_loss, constant, knn and logistic (`load_model()["points"]`). The first, before
    the first step, has no loss that would say anything. Raises ValueError if there are fewer than two.
    """
    if len(points) < 2:
        raise ValueError(f"a run has at least two points, but there are {len(points)}")
    figure, axes = plt.subplots(1, 2, figsize=(14, 5.5), layout="constrained")
    panels = (
        (
            "The question: squared error",
            (("held_out_loss", "held-out loss", BLUE), ("constant", "best constant", GREY)),
        ),
        ("What labels say of the features", (("knn", "neighbours", ORANGE), ("logistic", "linear probe", PURPLE))),
    )
    for panel, (title, drawn) in zip(axes, panels, strict=True):
        seen = points[1:] if drawn[0][0] == "held_out_loss" else points
        x = [point["images"] / 1000 for point in seen]
        lines = []
        for (key, name, color), dash in zip(drawn, DASHES, strict=False):
            values = [point[key] for point in seen]
            panel.plot(x, values, color=color, linestyle=dash, linewidth=3, marker="o")
            lines.append((name, color, x, values))
        panel.set(title=title, xlabel="thousand images seen", ylabel="share right" if seen is points else "")
        panel.margins(x=0.02)
        _label_ends(panel, lines)
    return figure
