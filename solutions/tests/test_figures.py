"""Figures: what each one promises is in it, as drawn or as matplotlib holds it; and it leaves no trace behind."""

import base64
import itertools
import math
import os
import subprocess
import sys

import jupyter_client
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lessons import figures

GRID = 8
# Two target blocks of 3 x 3 patches that share patch (3, 3), a context around them, and the last row in neither.
BLOCKS = [{(row, column) for row in range(top, top + 3) for column in range(top, top + 3)} for top in (1, 3)]
CONTEXT = {(row, column) for row in range(7) for column in range(8)} - set.union(*BLOCKS)


def indices(places) -> torch.Tensor:
    return torch.tensor([GRID * row + column for row, column in places])


def draw_masks(image: torch.Tensor):
    return figures.masks(image[None], indices(CONTEXT)[None], torch.stack([indices(b) for b in BLOCKS])[None], GRID)


def pixels(figure) -> np.ndarray:
    """What is on the canvas, [height, width, 3] in 0..1, row 0 at the bottom as in matplotlib's coordinates."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[::-1, :, :3] / 255


def patch_pixels(canvas: np.ndarray, axes, row: int, column: int) -> np.ndarray:
    """The pixels on the canvas [n, 3] of the inner part of a patch, free of outlines."""
    (left, bottom), (right, top) = axes.transData.transform([(column + 0.25, row + 0.75), (column + 0.75, row + 0.25)])
    return canvas[math.ceil(bottom) : int(top), math.ceil(left) : int(right)].reshape(-1, 3)


def numbered(axes) -> dict[str, tuple[int, int]]:
    """The texts of a picture in units of patches: text -> (row, column)."""
    return {t.get_text(): (int(t.get_position()[1]), int(t.get_position()[0])) for t in axes.texts}


def rows_of_metrics(steps=(0, 50, 100)) -> list[dict]:
    keys = ("loss", "held_out_loss", "constant", "per_position", "wrong_image", "feature_std", "effective_rank")
    return [{"step": step} | {key: (k + 1) / (1 + step) for k, key in enumerate(keys)} for step in steps]


def texts(figure) -> set[str]:
    return {artist.get_text() for artist in figure.findobj(matplotlib.text.Text)}


def every_figure() -> dict:
    image = torch.rand(16, 16, 3)
    return {
        "masks": lambda: draw_masks(image),
        "losses": lambda: figures.losses(rows_of_metrics()),
        "pca": lambda: figures.pca(image[None], torch.rand(1, 4, 4, 3), torch.rand(1, 4, 4, 3)),
        "runs": lambda: figures.runs({"a": {"x": [1, 2], "y": [2, 1]}, "b": {"x": [3, 2], "y": [2, 2]}}, "loss"),
        "models": lambda: figures.models(
            image[None], {"a": image[None], "b": torch.rand(1, 4, 4)}, "title", (0.6, 0.5)
        ),
        "imagined": lambda: figures.imagined(image[None], torch.tensor([[[0, 1], [5, 6]]]), {"a": image[None]}, 4),
        "neighbours": lambda: figures.neighbours(
            image[None], torch.tensor([3]), image.repeat(1, 4, 1, 1, 1), torch.tensor([[0, 1, 2, 3]]), 4
        ),
        "similarity": lambda: figures.similarity(image[None].repeat(3, 1, 1, 1), torch.rand(3, 4, 4), 3),
        "patches": lambda: figures.patches(image, 4),
        "position_similarity": lambda: figures.position_similarity(torch.rand(16, 8), 4),
        "attention": lambda: figures.attention(image, {"one head": torch.rand(16).softmax(dim=0)}, 5, 4),
        "mask_frequency": lambda: figures.mask_frequency({"a": torch.rand(4, 4), "b": torch.rand(4, 4)}),
        "curves": lambda: figures.curves({"a": [1, 2], "b": [2, 1]}, "title", "value"),
        "side_by_side": lambda: figures.side_by_side([image, torch.rand(4, 4)], ["image", "map"], "distance"),
        "long_run": lambda: figures.long_run(POINTS),
    }


POINTS = [
    {"images": 1000 * images, "held_out_loss": loss, "constant": 0.5, "knn": 0.3 + images / 1000, "logistic": 0.5}
    for images, loss in ((0, 1.5), (32, 0.2), (64, 0.25), (640, 0.3))
]


# all figures


@pytest.mark.parametrize("name", every_figure())
def test_a_figure_is_closed_leaves_the_style_alone_and_is_dark_on_white_in_any(name):
    with plt.style.context("dark_background"):
        before = dict(matplotlib.rcParams)
        figure = every_figure()[name]()
        assert dict(matplotlib.rcParams) == before
        assert plt.get_fignums() == []
        canvas = pixels(figure)
    assert (canvas[0] == 1).all() and (canvas[-1, 0] == 1).all()  # the rim of the canvas
    ticks = [tick for axes in figure.axes for tick in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    for text in [*figure.findobj(matplotlib.text.Text), *ticks]:
        if text.get_text() and not text.get_path_effects():
            assert max(matplotlib.colors.to_rgb(text.get_color())) < 0.3


@pytest.mark.parametrize("name", every_figure())
def test_all_that_is_written_lies_inside_the_figure_and_is_large_enough(name):
    figure = every_figure()[name]()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    written = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text() and text.get_visible()]
    assert written
    for text in written:
        assert text.get_fontsize() >= 11
    for axes in figure.axes:
        for text in [axes.title, *axes.texts, axes.xaxis.label, axes.yaxis.label]:
            box = text.get_window_extent()
            if text.get_text():
                assert box.x0 >= -1 and box.y0 >= -1
                assert box.x1 <= figure.bbox.width + 1 and box.y1 <= figure.bbox.height + 1


def test_a_machine_without_a_screen_can_draw():
    code = (
        "import io, torch as t; from lessons.figures import patches; patches(t.rand(4, 4, 3), 2).savefig(io.BytesIO())"
    )
    screen = ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")
    environment = {name: value for name, value in os.environ.items() if name not in screen}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# masks


@pytest.mark.parametrize("color", [(0, 0, 0), (1, 1, 1), (0.9, 0.1, 0.1), (0.1, 0.8, 0.1), (0.2, 0.2, 0.9)])
def test_context_is_green_targets_are_red_and_the_rest_grey_whatever_the_image(color):
    figure = draw_masks(torch.tensor(color, dtype=torch.float32).expand(64, 64, 3))
    canvas, picture = pixels(figure), figure.axes[1]
    badges = set(numbered(picture).values())
    targets = set.union(*BLOCKS) - badges
    light = {"context": [], "target": []}
    for row, column in itertools.product(range(GRID), repeat=2):
        if (row, column) in badges:
            continue
        red, green, blue = np.median(patch_pixels(canvas, picture, row, column), axis=0)
        if (row, column) in CONTEXT:
            assert green > red + 0.15 and green > blue + 0.1, (row, column)
            light["context"].append(red + green + blue)
        elif (row, column) in targets:
            assert red > green + 0.25 and red > blue + 0.25, (row, column)
            light["target"].append(red + green + blue)
        else:
            assert max(red, green, blue) - min(red, green, blue) < 0.05, (row, column)
    # told apart without hue as well: all of one is lighter than all of the other
    assert min(light["context"]) > max(light["target"]) + 0.15


def test_what_lies_under_the_masks_can_be_seen():
    """Black and white of the photograph differ in every colour, by the WCAG's 3 to 1 and more."""

    def luminance(color: np.ndarray) -> float:
        linear = np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    free = {"context": min(CONTEXT), "target": max(BLOCKS[1] - BLOCKS[0]), "neither": None}
    free["neither"] = min(set(itertools.product(range(GRID), repeat=2)) - CONTEXT - set.union(*BLOCKS))
    seen = {}
    for shade in (0.0, 1.0):
        figure = draw_masks(torch.full((64, 64, 3), shade))
        canvas = pixels(figure)
        for name, place in free.items():
            median = np.median(patch_pixels(canvas, figure.axes[1], *place), axis=0)
            seen[name, shade] = luminance(median) + 0.05
    contrast = {name: seen[name, 1.0] / seen[name, 0.0] for name in free}
    assert min(contrast["context"], contrast["target"]) > 3 and contrast["neither"] > 2, contrast


def test_the_image_stands_beside_its_masks_as_it_is():
    image = torch.rand(GRID, GRID, 3)
    figure = draw_masks(image)
    canvas = pixels(figure)
    for row, column in ((0, 0), (2, 5), (7, 7)):
        seen = np.median(patch_pixels(canvas, figure.axes[0], row, column), axis=0)
        np.testing.assert_allclose(seen, image[row, column].numpy(), atol=0.01)


def test_target_blocks_are_told_apart_by_number_outline_and_stripes():
    figure = draw_masks(torch.full((64, 64, 3), 0.5))
    canvas, picture = pixels(figure), figure.axes[1]
    numbers = numbered(picture)
    assert set(numbers) == {"1", "2"}
    for k, block in enumerate(BLOCKS):
        assert numbers[str(k + 1)] in block - BLOCKS[1 - k]
    dashes = {str(c.get_linestyle()) for c in picture.collections if np.allclose(c.get_edgecolor()[0, :3], 0x22 / 255)}
    assert len(dashes) == 2

    def bright(row: int, column: int) -> float:
        values = patch_pixels(canvas, picture, row, column)[:, 1]
        return (values > np.median(values) + 0.1).mean()

    assert 0 < bright(2, 2) < bright(3, 3) > bright(4, 4) > 0  # (3, 3) is in both blocks: it has the stripes of both
    assert bright(0, 0) == 0


def test_masks_have_a_legend_and_a_panel_for_each_image():
    for count, panels in ((1, 2), (3, 8), (4, 8)):
        context, targets = indices(CONTEXT).repeat(count, 1), indices(BLOCKS[0]).repeat(count, 4, 1)
        figure = figures.masks(torch.rand(count, 64, 64, 3), context, targets, GRID)
        assert len(figure.axes) == panels and sum(len(axes.images) for axes in figure.axes) == 2 * count
        legend = " ".join(text.get_text() for text in figure.legends[0].texts)
        assert all(word in legend for word in ("context", "target blocks 1 to 4", "neither"))


# losses


def test_losses_draws_every_column_and_names_it():
    rows = rows_of_metrics()
    figure = figures.losses(rows)
    loss, *below = [axes for axes in figure.axes if axes.lines]
    drawn = {tuple(line.get_ydata()): tuple(line.get_xdata()) for line in loss.lines}
    for key in ("loss", "held_out_loss", "constant", "per_position", "wrong_image"):
        assert drawn[tuple(row[key] for row in rows)] == (0, 50, 100)
    shown = {tuple(axes.lines[0].get_ydata()) for axes in below}
    assert shown == {tuple(row[key] for row in rows) for key in ("feature_std", "effective_rank")}
    assert {"training loss", "held-out loss", "against another image"} <= texts(figure)
    assert {"best single answer", "best answer per position"} <= texts(figure)
    assert len({(line.get_color(), line.get_linestyle()) for line in loss.lines}) == 5
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert low == 0 and high > max(max(line.get_ydata()) for line in axes.lines)


@pytest.mark.parametrize("rows", [rows_of_metrics((0,)), [row | {"feature_std": 0.0} for row in rows_of_metrics()]])
def test_losses_draws_a_run_without_steps_and_one_that_collapsed(rows, recwarn):
    pixels(figures.losses(rows))
    assert not [str(w.message) for w in recwarn]


# curves


def test_curves_name_each_line_at_its_end_without_overlap():
    series = {f"line {k}": [0.0, 1 + 0.001 * k] for k in range(6)}
    figure = figures.curves(series, "Six that end together", "loss", "epoch")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (axes,) = figure.axes
    assert {"Six that end together", "loss", "epoch", *series} <= texts(figure)
    assert [list(line.get_ydata()) for line in axes.lines] == list(series.values())
    # the box of a Text alone; an Annotation's holds its leader as well
    boxes = [matplotlib.text.Text.get_window_extent(label) for label in axes.texts]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    for label in axes.texts:
        assert label.xy == (1, series[label.get_text()][-1])
    leaders = {label.get_text(): label.arrow_patch.get_edgecolor() for label in axes.texts}
    for line, name in zip(axes.lines, series, strict=True):
        assert leaders[name] == matplotlib.colors.to_rgba(line.get_color())
    assert len({(line.get_color(), str(line._dash_pattern)) for line in axes.lines}) == 6
    assert len({str(line._dash_pattern) for line in axes.lines}) == 6


def test_no_leader_runs_through_another_name():
    figure = figures.curves({"falls": [1.0, 0.0], "rises with it": [0.0, 1.0], "rises": [0.0, 1.0]}, "title", "loss")
    FigureCanvasAgg(figure).draw()
    labels = figure.axes[0].texts
    for label in labels:
        (x0, y0), *_, (x1, y1) = label.arrow_patch.get_transform().transform_path(label.arrow_patch.get_path()).vertices
        assert abs(x1 - x0) > 1
        for other in labels:
            box = matplotlib.text.Text.get_window_extent(other)
            crossed = [box.contains(x0 + t * (x1 - x0), y0 + t * (y1 - y0)) for t in np.linspace(0, 1, 200)]
            assert not any(crossed) or other is label, (label.get_text(), other.get_text())


def test_a_curve_that_breaks_off_in_nan_is_named_at_its_last_number():
    figure = figures.curves({"lost": [3.0, 2.0, math.nan], "kept": [3.0, 2.5, 2.0]}, "title", "loss")
    assert {label.get_text(): label.xy for label in figure.axes[0].texts} == {"lost": (1, 2.0), "kept": (2, 2.0)}


# principal components


LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


def painted(components: torch.Tensor) -> np.ndarray:
    """The colours in which figures.pca shows components [3] each of several patches [n, 3] -> [n, 3]."""
    side = math.ceil(math.sqrt(len(components)))
    grid = torch.full((side * side, 3), 0.5)
    grid[: len(components)] = components
    figure = figures.pca(torch.rand(1, 8, 8, 3), grid.reshape(1, side, side, 3), torch.rand(1, 4, 4, 3))
    return np.asarray(figure.axes[1].images[0].get_array()).reshape(-1, 3)[: len(components)]


def test_pca_shows_a_row_an_image_and_a_column_a_model():
    images = torch.rand(2, 8, 8, 3)
    before, after = torch.full((2, 4, 4, 3), 0.5), torch.full((2, 4, 4, 3), 0.5)
    after[0, 1, 2] = 1
    figure = figures.pca(images, before, after)
    pictures = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    assert [picture.shape for picture in pictures] == [(8, 8, 3), (4, 4, 3), (4, 4, 3)] * 2
    np.testing.assert_array_equal(pictures[3], images[1].numpy())
    assert (pictures[1] == pictures[1][0, 0]).all()
    different = (pictures[2] != pictures[5][0, 0]).any(axis=-1)
    assert np.argwhere(different).tolist() == [[1, 2]]
    assert {"image", "before training", "after training"} <= texts(figure)


def test_a_grey_print_of_pca_shows_the_first_component():
    light = painted(torch.tensor([[value, 0.5, 0.5] for value in (0.0, 0.25, 0.5, 0.75, 1.0)])) @ LUMA
    assert np.diff(light).min() > 0.1
    others = painted(torch.tensor([[0.5, b, c] for b in (0.2, 0.5, 0.8) for c in (0.2, 0.5, 0.8)])) @ LUMA
    assert np.ptp(others) < 0.02


def test_eyes_that_do_not_tell_red_from_green_see_the_second_component_of_pca():
    # a deuteranope's colours in linear RGB: Machado, Oliveira and Fernandes 2009, severity 1.0
    deuteranopia = np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    )
    low, high = painted(torch.tensor([[0.5, 0.1, 0.5], [0.5, 0.9, 0.5]])) ** 2.2 @ deuteranopia.T
    assert np.abs(low - high).max() > 0.2
    low, high = painted(torch.tensor([[0.5, 0.5, 0.1], [0.5, 0.5, 0.9]]))
    assert high[0] > low[0] + 0.2 and high[1] < low[1] - 0.2


# runs, imagination, neighbours, similarity


def test_runs_have_a_panel_each_on_one_scale_and_the_same_lines():
    histories = {
        "good": {"loss": [1.0, 0.5, 0.4], "constant": [0.7, 0.8, 0.9]},
        "bad": {"loss": [1.3, 0.1, 0.0], "constant": [0.7, 0.1, 0.0]},
    }
    figure = figures.runs(histories, "squared error", "tens of steps")
    assert [axes.get_title() for axes in figure.axes] == ["good", "bad"]
    for axes, lines in zip(figure.axes, histories.values(), strict=True):
        assert [list(line.get_ydata()) for line in axes.lines] == list(lines.values())
        assert len({(line.get_color(), str(line._dash_pattern)) for line in axes.lines}) == 2
        assert axes.get_xlabel() == "tens of steps"
    (low, high), other = (axes.get_ylim() for axes in figure.axes)
    assert (low, high) == other and low == 0 and high > 1.3
    assert [text.get_text() for text in figure.legends[0].texts] == ["loss", "constant"]


def test_runs_of_several_seeds_are_their_mean_in_a_band():
    figure = figures.runs({"three seeds": {"loss": [[1.0, 0.5], [2.0, 0.0], [0.0, 1.0]]}}, "squared error")
    (axes,) = figure.axes
    (line,), (band,) = axes.lines, axes.collections
    assert list(line.get_ydata()) == [1.0, 0.5]
    corners = {tuple(corner) for corner in band.get_paths()[0].vertices.tolist()}
    assert {(0.0, 0.0), (0.0, 2.0), (1.0, 0.0), (1.0, 1.0)} <= corners


def test_imagined_takes_the_target_patches_out_and_shows_each_version_as_it_is():
    images, truth = torch.rand(2, 16, 16, 3) / 2, torch.rand(2, 16, 16, 3)
    targets = torch.tensor([[[0, 1]], [[10, 11]]])  # of a 4 x 4 grid of patches of 4 pixels
    figure = figures.imagined(images, targets, {"the truth": truth, "a guess": 1 - truth}, 4)
    assert {"what the student sees", "the truth", "a guess"} <= texts(figure)
    pictures = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    for row, (hole, kept) in enumerate((((slice(0, 4), slice(0, 8)), 5), ((slice(8, 12), slice(8, 16)), 0))):
        seen, *versions = pictures[3 * row : 3 * row + 3]
        assert np.ptp(seen[hole]) == 0 and seen[hole].min() > 0.6
        np.testing.assert_array_equal(
            seen[4:8, :4] if kept else seen[:4, :4], images[row][4:8, :4] if kept else images[row][:4, :4]
        )
        np.testing.assert_array_equal(versions[0], truth[row].numpy())
        np.testing.assert_array_equal(versions[1], 1 - truth[row].numpy())
    for axes in figure.axes[:3]:  # the outline, in units of patches
        (outline,) = {path.get_extents().bounds for c in axes.collections for path in c.get_paths()}
        np.testing.assert_allclose(outline, (0, 0, 2, 1), atol=0.15)


def marked(axes) -> int:
    """The patch that is outlined, in a grid of 4."""
    box = axes.patches[0]
    return 4 * int(box.get_y() + box.get_height() / 2) + int(box.get_x() + box.get_width() / 2)


def test_neighbours_outline_each_patch_in_its_own_image():
    images, near = torch.rand(2, 8, 8, 3), torch.rand(2, 3, 8, 8, 3)
    places, near_places = torch.tensor([5, 0]), torch.tensor([[1, 2, 3], [15, 7, 9]])
    figure = figures.neighbours(images, places, near, near_places, 4)
    for row in range(2):
        panels = figure.axes[4 * row : 4 * row + 4]
        assert [marked(axes) for axes in panels] == [places[row], *near_places[row]]
        for axes, image in zip(panels, [images[row], *near[row]], strict=True):
            np.testing.assert_array_equal(axes.images[0].get_array(), image.numpy())
    assert {"this patch", "nearest", "2.", "3."} <= texts(figure)


def test_similarity_maps_run_from_0_to_1_and_the_patch_is_outlined_in_the_first_image_only():
    images, maps = torch.rand(3, 8, 8, 3), torch.rand(3, 4, 4) - 0.3
    figure = figures.similarity(images, maps, 6)
    panels = [axes for axes in figure.axes if axes.images]
    heats = [axes for axes in panels if axes.images[0].get_array().shape == (4, 4)]
    for axes, heat in zip(heats, maps, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), heat.numpy())
        assert axes.images[0].get_clim() == (0, 1)
    outlined = [axes for axes in panels if axes.patches]
    assert len(outlined) == 2 and all(marked(axes) == 6 for axes in outlined) and heats[0] in outlined
    assert "cosine similarity" in texts(figure)


# the lessons' pictures


def test_models_show_pictures_as_they_are_and_maps_of_any_grid_on_one_scale_with_the_place_outlined():
    images, pictures = torch.rand(2, 16, 16, 3), torch.rand(2, 5, 5, 3)
    columns = {"painted": pictures, "fine": torch.rand(2, 8, 8), "coarse": -torch.rand(2, 4, 4)}
    figure = figures.models(images, columns, "A title", (0.6, 0.5))
    panels = np.array([axes for axes in figure.axes if axes.images and axes.get_label() != "<colorbar>"]).reshape(2, 4)
    assert [axes.get_title() for axes in panels[0]] == ["image", "painted", "fine", "coarse"]
    for column, expected in enumerate((images, *columns.values())):
        for axes, picture in zip(panels[:, column], expected, strict=True):
            np.testing.assert_array_equal(axes.images[0].get_array(), picture.numpy())
    assert {axes.images[0].get_clim() for axes in panels[:, 2:].flat} == {(0, 1)}
    outlined = {
        (row, column): {(round(mark.get_x() + 0.2), round(mark.get_y() + 0.2)) for mark in axes.patches}
        for (row, column), axes in np.ndenumerate(panels)
        if axes.patches
    }
    assert outlined == {(0, 2): {(4, 4)}, (0, 3): {(2, 2)}}
    assert {"A title", "cosine similarity"} <= texts(figure)


def test_patches_are_cut_and_numbered_row_by_row():
    image = torch.rand(24, 32, 3)
    figure = figures.patches(image, 8)
    left, right = figure.axes
    cut = np.asarray(right.images[0].get_array())
    np.testing.assert_array_equal(left.images[0].get_array(), image.numpy())
    assert {t.get_text() for t in right.texts} == {str(k) for k in range(12)}
    for text in right.texts:
        row, column = divmod(int(text.get_text()), 4)
        x, y = text.get_position()  # the middle of a patch: 3.5 pixels from its first
        piece = cut[round(y - 3.5) : round(y - 3.5) + 8, round(x - 3.5) : round(x - 3.5) + 8]
        np.testing.assert_array_equal(piece, image[8 * row : 8 * row + 8, 8 * column : 8 * column + 8].numpy())
    assert cut.shape[0] > 24 and (cut[8] == 1).all()  # a gap
    assert "3 x 4 = 12 patches of 8 x 8 pixels" in texts(figure)


def test_many_patches_are_numbered_along_the_border_only():
    figure = figures.patches(torch.rand(56, 56, 3), 4)
    expected = {*range(14), *range(0, 196, 14), *range(13, 196, 14)}
    assert {int(t.get_text()) for t in figure.axes[1].texts} == expected


def test_position_similarity_is_the_cosine_with_the_outlined_patch():
    embedding = torch.randn(25, 6)
    figure = figures.position_similarity(embedding, 5)
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 4 and len({axes.images[0].get_clim() for axes in panels}) == 1
    for axes in panels:
        marked = axes.patches[0]
        row, column = int(marked.get_y() + marked.get_height() / 2), int(marked.get_x() + marked.get_width() / 2)
        assert axes.get_title() == f"row {row}, column {column}"
        expected = torch.cosine_similarity(embedding, embedding[5 * row + column][None], dim=1).reshape(5, 5)
        np.testing.assert_allclose(axes.images[0].get_array(), expected.numpy(), atol=1e-6)
    assert "cosine similarity" in texts(figure)


def test_attention_lights_the_patches_with_weight_and_outlines_the_query():
    weights = {"right": torch.zeros(16), "left": torch.zeros(16)}
    weights["right"][6], weights["left"][9] = 1, 1
    figure = figures.attention(torch.rand(16, 16, 3), weights, 13, 4)
    canvas = pixels(figure)
    whole, *heads = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in (whole, *heads)] == ["patch 13", "right", "left"]
    for axes, expected in ((heads[0], {(1, 2)}), (heads[1], {(2, 1)})):
        lit = set()
        for row, column in itertools.product(range(4), repeat=2):
            red, green, blue = np.median(patch_pixels(canvas, axes, row, column), axis=0)
            if red > blue + 0.2 and green > blue + 0.2:  # yellow
                lit.add((row, column))
        assert lit == expected
    for axes in (whole, *heads):
        marked = axes.patches[0]
        assert (marked.get_x() + marked.get_width() / 2, marked.get_y() + marked.get_height() / 2) == (1.5, 3.5)
    assert "attention weight" in texts(figure)


def test_mask_frequency_has_one_scale_for_all():
    counts = {"all borders": torch.full((4, 4), 2.0), "one border less": torch.diag(torch.tensor([0, 7, 0, 0]))}
    figure = figures.mask_frequency(counts)
    panels = [axes for axes in figure.axes if axes.images]
    for axes, (title, count) in zip(panels, counts.items(), strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), count.numpy())
        assert axes.images[0].get_clim() == (0, 7) and axes.get_title().startswith(title)
    assert "from 0 to 7" in panels[1].get_title() and "times covered" in texts(figure)
    assert "times seen" in texts(figures.mask_frequency(counts, "times seen"))


def test_side_by_side_shows_images_as_they_are_and_maps_on_one_scale():
    image, holes = torch.rand(6, 6, 3), torch.tensor([[1.0, math.nan], [3.0, 2.0]])
    figure = figures.side_by_side([image, holes, torch.tensor([[5.0]])], ["photo", "with a hole", "high"], "distance")
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in panels] == ["photo", "with a hole", "high"]
    np.testing.assert_array_equal(panels[0].images[0].get_array(), image.numpy())
    assert all(axes.images[0].get_clim() == (1, 5) for axes in panels[1:])
    red, green, blue = panels[1].images[0].to_rgba(np.ma.masked_invalid(holes.numpy()))[0, 1, :3]
    assert red == green == blue
    assert "distance" in texts(figure)


def test_a_long_run_shows_its_loss_from_the_first_step_on_and_its_neighbours_from_before():
    left, right = figures.long_run(POINTS).axes
    assert [list(line.get_xdata()) for line in left.lines] == [[32, 64, 640]] * 2
    assert list(left.lines[0].get_ydata()) == [0.2, 0.25, 0.3]
    assert list(right.lines[0].get_xdata()) == [0, 32, 64, 640]
    assert list(right.lines[0].get_ydata()) == pytest.approx([0.3, 0.332, 0.364, 0.94])


# bad input


IMAGE, IMAGES = torch.rand(16, 16, 3), torch.rand(2, 16, 16, 3)
FEATURES, COLORS, TARGETS = torch.rand(2, 16, 5), torch.rand(2, 4, 4, 3), torch.tensor([[[0, 7]], [[2, 3]]])

# sliders


def draw_line(height: int):
    if height == 9:
        raise ValueError("too high")
    return figures.curves({"line": [0, height]}, "A line", "height")


def test_a_slider_draws_anew_says_what_fails_and_keeps_the_first_picture(monkeypatch):
    monkeypatch.setattr(figures, "_is_someone_there", lambda: True)
    shown = figures.sliders(draw_line, height=(2, range(1, 10)))
    bundle = shown._repr_mimebundle_()
    (slider, picture, message) = shown._box.children
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == shown._box.model_id
    first = base64.b64decode(bundle["image/png"])
    assert first == picture.value and first.startswith(b"\x89PNG")
    slider.value = 7
    seventh = picture.value
    assert seventh != first and message.value == ""
    slider.value = 9
    assert (picture.value, message.value) == (seventh, "ValueError: too high")
    slider.value = 2
    assert (picture.value, message.value) == (first, "")


def test_where_nobody_can_move_a_slider_there_is_the_first_picture():
    figure = figures.sliders(draw_line, height=(2, range(1, 10)))
    assert list(figure.axes[0].lines[0].get_ydata()) == [0, 2]
    with pytest.raises(ValueError, match="too high"):
        figures.sliders(draw_line, height=(9, range(1, 10)))


def test_a_program_that_runs_a_notebook_gets_a_picture_and_a_person_sliders():
    """A front-end says with each cell whether it can ask someone for input; nbconvert and papermill say no."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    manager, client = jupyter_client.manager.start_new_kernel(env=environment)
    shown = {}
    code = (
        "%matplotlib inline\nfrom lessons import figures\n"
        "figures.sliders(lambda height: figures.curves({'line': [0, height]}, 'A', 'h'), height=(2, range(5)))"
    )

    def keep(message: dict) -> None:
        if message["msg_type"] in ("execute_result", "display_data"):
            shown[person] = set(message["content"]["data"])

    try:
        for person in (True, False):
            client.execute_interactive(code, allow_stdin=person, timeout=120, output_hook=keep)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert shown[True] == {"application/vnd.jupyter.widget-view+json", "image/png", "text/plain"}
    assert shown[False] == {"image/png", "text/plain"}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: figures.masks(torch.rand(2, 3, 16, 16), FEATURES, FEATURES, 4), r"images must be \[B, H, W, 3\]"),
        (lambda: figures.masks(IMAGES - 2, FEATURES, FEATURES, 4), "0..1"),
        (lambda: figures.masks(IMAGES, torch.zeros(2, 3, dtype=int), torch.zeros(2, 3, dtype=int), 4), r"\[B, M, Nt\]"),
        (lambda: figures.masks(IMAGES, torch.zeros(1, 3, dtype=int), torch.zeros(2, 1, 3, dtype=int), 4), "2, 1 and 2"),
        (lambda: figures.masks(IMAGES, torch.full((2, 3), 16), torch.zeros(2, 1, 3, dtype=int), 4), "from 0 to 15"),
        (lambda: figures.masks(IMAGES, torch.zeros(2, 3), torch.zeros(2, 1, 3, dtype=int), 4), "whole numbers"),
        (lambda: figures.losses([]), "at least one row"),
        (lambda: figures.losses([{"step": 0, "loss": 1.0}]), "held_out_loss"),
        (
            lambda: figures.pca(IMAGES, FEATURES, COLORS),
            r"before must be \[2, G, G, 3\], but its shape is \[2, 16, 5\]",
        ),
        (lambda: figures.pca(IMAGES, COLORS, COLORS[:1]), r"after must be \[2, G, G, 3\]"),
        (lambda: figures.pca(IMAGES, COLORS, COLORS + 1), "after must lie in 0..1"),
        (lambda: figures.runs({}, "y"), "at least one run"),
        (lambda: figures.runs({"a": {"x": [1]}, "b": {"y": [1]}}, "y"), "the same 1 to 6 lines"),
        (lambda: figures.models(IMAGES, {}, "title"), "at least one name"),
        (lambda: figures.models(IMAGES, {"a": IMAGES[:1]}, "title"), r"a must be \[2, h, w, 3\]"),
        (lambda: figures.models(IMAGES, {"a": torch.rand(2, 4, 5)}, "title"), r"a must be \[2, G, G\]"),
        (lambda: figures.imagined(IMAGES, TARGETS, {}, 4), "at least one version"),
        (lambda: figures.imagined(IMAGES, TARGETS[:1], {"a": IMAGES}, 4), "targets for each of the 2 images"),
        (lambda: figures.imagined(IMAGES, TARGETS, {"a": IMAGES[:1]}, 4), r"a must be \[2, 16, 16, 3\]"),
        (lambda: figures.imagined(IMAGES, TARGETS + 9, {"a": IMAGES}, 4), "targets must be whole numbers from 0 to 15"),
        (
            lambda: figures.neighbours(IMAGES, TARGETS[:, 0, 0], IMAGES, TARGETS[:, 0], 4),
            r"near_images must be \[2, K,",
        ),
        (
            lambda: figures.neighbours(IMAGES, torch.tensor([0, 16]), IMAGES[:, None], TARGETS[:, 0, :1], 4),
            "places must",
        ),
        (lambda: figures.similarity(IMAGES, COLORS[..., 0], 16), "patch must be whole numbers from 0 to 15"),
        (lambda: figures.similarity(IMAGES, COLORS, 1), r"maps must be \[2, G, G\]"),
        (lambda: figures.patches(IMAGE, 5), "must divide the image's 16 x 16 pixels, but it is 5"),
        (lambda: figures.patches(IMAGES, 4), r"image must be \[H, W, 3\]"),
        (lambda: figures.position_similarity(torch.rand(15, 8), 4), r"\[16, D\], but its shape is \[15, 8\]"),
        (lambda: figures.attention(IMAGE, {"a": torch.rand(15)}, 0, 4), r"'a' must be \[16\]"),
        (lambda: figures.attention(IMAGE, {}, 0, 4), "at least one title"),
        (lambda: figures.attention(IMAGE, {"a": torch.rand(16)}, 16, 4), "query must be whole numbers from 0 to 15"),
        (lambda: figures.mask_frequency({}), "at least one title"),
        (lambda: figures.sliders(draw_line, height=(0, range(1, 5))), "height must start at one of its values, but 0"),
        (lambda: figures.mask_frequency({"a": torch.rand(4)}), r"'a' must be \[G, G\]"),
        (lambda: figures.mask_frequency({"a": torch.rand(4, 5)}), r"'a' must be \[G, G\]"),
        (lambda: figures.curves({}, "title", "y"), "1 to 6 names"),
        (lambda: figures.curves({"a": []}, "title", "y"), "at least one value"),
        (lambda: figures.long_run(POINTS[:1]), "at least two points"),
        (lambda: figures.side_by_side([IMAGE], []), "must have a title"),
        (lambda: figures.side_by_side([torch.full((2, 2), math.nan)], ["a"]), "finite"),
        (lambda: figures.side_by_side([IMAGES], ["a"]), r"a must be \[H, W, 3\]"),
    ],
)
def test_bad_input_is_said_in_a_sentence_and_leaves_nothing_open(call, words):
    with pytest.raises(ValueError, match=words):
        call()
    assert plt.get_fignums() == []
