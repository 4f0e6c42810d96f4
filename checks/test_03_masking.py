"""Lesson 3: masks."""

from itertools import permutations

import torch

from checks.calls import masking as calls
from checks.expected import masking as oracle
from checks.expected import masking_blocks as block_oracle
from checks.tool.exercise import exercise
from checks.tool.expect import expect_equal, expect_error, expect_that, shape

# grid, scale, ratio; each of block_oracle.size_mistakes shows in two of them at least
SIZES = [
    (3, 0.3, 1.0),
    (3, 0.27, 1.0),
    (14, 0.18, 1.0),
    (6, 0.1, 0.5),
    (6, 0.3, 0.6),
    (8, 0.1, 0.5),
    (6, 0.15, 0.8),
]


@exercise("sample_block_size", points=2)
def test_sample_block_size_follows_area_and_ratio(learner):
    """height * width is about scale * G * G and height / width about aspect_ratio, both rounded to the nearest int."""
    cases = [*SIZES, *block_oracle.draw_size_cases(9)]
    likely = (
        "scale is low + (high - low) * u, of which low is left here; then area = scale * G * G, height = sqrt(area * "
        "ratio), width = sqrt(area / ratio), each rounded."
    )
    block_oracle.expect_sizes(learner, cases, block_oracle.size_mistakes, likely)


@exercise("sample_block_size")
def test_sample_block_size_stays_in_the_grid(learner):
    """A side is at least 1 and at most grid_size, and may be either."""
    cases = [(7, 0.9, 3.0), (7, 0.9, 0.3), (5, 0.005, 1.0), (10, 0.01, 8.0), (8, 1.0, 1.0)]
    likely = "After rounding, clamp: min(max(side, 1), grid_size)."
    block_oracle.expect_sizes(learner, cases, block_oracle.clamp_mistakes, likely)


@exercise("sample_block_size")
def test_sample_block_size_draws_uniformly(learner):
    """The fraction of the area and height / width are uniform between low and high."""
    for name, scale, ratio in (("scale", (0.02, 0.8), (1.0, 1.0)), ("aspect_ratio", (0.1, 0.1), (0.2, 5.0))):
        got = learner(calls.block_sizes, 1000, scale, ratio, block_oracle.new_seed(), 600)
        areas, ratios = block_oracle.areas_and_ratios(got, 1000, learner.called)
        values, (low, high) = (areas, scale) if name == "scale" else (ratios, ratio)
        counts = block_oracle.tenths(values, low, high)
        in_range = bool((values > 0.95 * low).all() and (values < 1.05 * high).all())  # rounding moves them a little
        expect_that(
            in_range and block_oracle.fits(counts),
            called=learner.called,
            expected=f"{name} uniform from {low} to {high}: about 60 in each tenth of the range",
            got=f"from {values.min():.3g} to {values.max():.3g}; in the tenths {[int(count) for count in counts]}",
            likely=block_oracle.uniform_flaw(name, values, low, high),
        )


@exercise("sample_block_size")
def test_sample_block_size_draws_two_numbers(learner):
    """Scale and ratio are independent: knowing one tells nothing about the other."""
    scale, ratio = (0.02, 0.42), (0.5, 2.0)
    got = learner(calls.block_sizes, 1000, scale, ratio, block_oracle.new_seed(), 600)
    areas, ratios = block_oracle.areas_and_ratios(got, 1000, learner.called)
    table = block_oracle.quarters(areas, scale, ratios, ratio)
    expect_that(
        block_oracle.are_independent(table),
        called=learner.called,
        expected="in each quarter of the ratios the same mixture of scales",
        got=f"by quarters of the scales (rows) and of the ratios (columns) {table.tolist()} draws",
        likely=block_oracle.dependence_flaw(table),
    )
    block_oracle.expect_a_size(learner)


@exercise("sample_block_size")
def test_sample_block_size_uses_the_generator_alone(learner):
    """Equal generators give equal sizes, and no other random numbers are touched."""
    got = learner(calls.block_sizes_twice, 1000, (0.1, 0.4), (0.5, 2.0), block_oracle.new_seed())
    block_oracle.expect_from_generator_alone(got, learner.called)
    block_oracle.expect_a_size(learner)


@exercise("sample_block", points=2)
def test_sample_block_is_one_whole_rectangle(learner):
    """A bool [G, G] mask, True inside one whole rectangle of height x width, of any size that fits."""
    for grid_size, size in [(7, (2, 4)), (5, (4, 3)), (6, (1, 1)), (4, (4, 4)), (8, (1, 8)), (1, (1, 1))]:
        got = learner(calls.blocks, grid_size, size, block_oracle.new_seed(), 12)
        block_oracle.expect_rectangles(got, grid_size, size, learner.called)


@exercise("sample_block")
def test_sample_block_is_equally_likely_everywhere(learner):
    """Every place where the block fits is equally likely, the borders included."""
    grid_size, height, width = 6, 3, 1
    got = learner(calls.blocks, grid_size, (height, width), block_oracle.new_seed(), 720)
    cells = block_oracle.expect_rectangles(got, grid_size, (height, width), learner.called)
    corner = cells.flatten(1).long().argmax(dim=1)  # the first True
    block_oracle.expect_uniform_places(corner, grid_size, height, width, learner.called)


@exercise("sample_block")
def test_sample_block_uses_the_generator_alone(learner):
    """Equal generators give equal blocks, and no other random numbers are touched."""
    got = learner(calls.blocks_twice, 200, (8, 9), block_oracle.new_seed())
    block_oracle.expect_from_generator_alone(got, learner.called)
    block_oracle.expect_mostly_rectangles(got["first"], 200, (8, 9), learner.called)


@exercise("sample_masks")
def test_sample_masks_gives_named_index_tensors(learner):
    """The result is a Masks with .context, long [B, Nc], and .targets, long [B, M, Nt]; no index twice in a row."""
    for batch_size, num_targets in ((3, 2), (1, 4), (2, 1), (1, 1)):
        got = oracle.draw_masks(learner, batch_size, 10, 2, num_targets=num_targets)
        oracle.expect_some_block(got, 10, learner.called)
        for pair in got:
            expect_that(
                min(entry.shape[-1] for entry in pair) > 1,
                called=learner.called,
                expected="rows of several indices",
                got=f"context {shape(pair[0])}, targets {shape(pair[1])}",
                likely="A row holds one index alone, so that nothing could stand in it twice: a target of the default "
                "scale has 15 patches or more here, and a context 11 or more.",
            )
    got = learner(calls.mask_fields, 2, 10, block_oracle.new_seed())
    likely = "Give back Masks(context, targets), the NamedTuple given above, not a plain tuple or a dict."
    expect_equal(got, ["context", "targets"], called=learner.called, likely=likely)


@exercise("sample_masks")
def test_sample_masks_targets_are_whole_blocks(learner):
    """Every target is a whole block of the scale and aspect ratio asked for."""
    for grid_size, height, width, num_targets in ((9, 2, 8, 3), (7, 4, 2, 2), (10, 1, 1, 1)):
        sizes = oracle.of_size(grid_size, height, width)
        for _, targets in oracle.draw_masks(learner, 3, grid_size, 3, num_targets=num_targets, **sizes):
            cells = oracle.as_blocks(targets, grid_size).flatten(0, 1)
            block_oracle.expect_rectangles(list(cells), grid_size, (height, width), learner.called)


@exercise("sample_masks")
def test_sample_masks_draws_one_size_a_batch(learner):
    """The targets of a batch have one height and width, its context blocks one side, all drawn anew for each batch."""
    seen = set()
    for _, targets in oracle.draw_masks(learner, 3, 14, 20):
        sizes = oracle.target_sizes(targets, 14)
        expect_that(
            len(sizes) == 1,
            called=learner.called,
            expected="one height and width for all targets of a batch",
            got=", ".join(f"{height} x {width}" for height, width in sorted(sizes)),
            likely="Call sample_block_size for the targets once a batch, not once a target or image; no block is cut.",
        )
        seen |= sizes
    for height, width in seen:
        expect_that(
            # height and width may be swapped here: another check asks for that
            any(oracle.may_be_rounded(sides, 14, (0.15, 0.2), (0.75, 1.5)) for sides in permutations((height, width))),
            called=learner.called,
            expected="targets of .15 to .2 of the 196 patches, their sides' ratio from .75 to 1.5",
            got=f"{height} x {width}, {height * width} patches",
            likely="The defaults are target_scale=(.15, .2), target_aspect_ratio=(.75, 1.5): are they the ones used?",
        )
    expect_that(
        len(seen) > 1,
        called=learner.called,
        expected="sizes that differ from batch to batch",
        got=f"always {' x '.join(str(side) for side in min(seen))}",
        likely="The size is fixed, or the generator seeded anew: draw it with sample_block_size in each call.",
    )
    options = {"num_targets": 1, "context_scale": (0.1, 0.3), **oracle.of_size(14, 1, 1)}
    for context, _ in oracle.draw_masks(learner, 6, 14, 6, **options):
        rows, columns = block_oracle.spans(oracle.as_blocks(context, 14))
        expect_that(
            len(set(rows.tolist())) == len(set(columns.tolist())) == 1,
            called=learner.called,
            expected="context blocks of one size in all images of a batch",
            got=", ".join(f"{height} x {width}" for height, width in zip(rows, columns, strict=True)),
            likely="Call sample_block_size for the context once a batch, not once an image.",
        )


@exercise("sample_masks")
def test_sample_masks_places_targets_uniformly(learner):
    """Each target of each image has a place of its own, every place equally likely."""
    grid_size, height, width = 8, 3, 4
    options = {"num_targets": 2, "context_scale": (1.0, 1.0), **oracle.of_size(grid_size, height, width)}
    # batches of two: no context is too short, not even where the targets of both images are taken out
    got = oracle.draw_masks(learner, 2, grid_size, 200, **options)
    corner = torch.stack([targets.amin(dim=2) for _, targets in got])  # [200, 2, 2]
    for axis, shared, likely in (
        (0, "each call", f"Each call gives the same places: {block_oracle.UNDRAWN}"),
        (1, "all images of a batch", "The places are drawn once for the whole batch: draw them for each image."),
        (2, "all targets of an image", "All targets of an image share one place: draw one for each target."),
    ):
        block_oracle.expect_varied(corner, axis, f"the same places in {shared}", likely, learner.called)
    if oracle.targets_are_whole(got, grid_size, height, width):  # if they aren't, another check says so
        block_oracle.expect_uniform_places(corner.flatten(), grid_size, height, width, learner.called)


@exercise("sample_masks")
def test_sample_masks_context_lies_in_a_block(learner):
    """The context lies within a square block of context_scale, by default .85 to 1, and takes up all its sides."""
    for grid_size, scale, wanted in (
        (8, {"context_scale": oracle.fixed_scale(8, 5, 5)}, {5}),
        (12, {"context_scale": oracle.fixed_scale(12, 7, 7)}, {7}),
        (14, {}, {13, 14}),
    ):
        # targets that are not square, so that their aspect ratio shows if it is the context's too
        options = {"num_targets": 1, **scale, **oracle.of_size(grid_size, 1, 3)}
        got = oracle.draw_masks(learner, 2, grid_size, 8 if scale else 30, **options)
        seen = oracle.context_sides(got, grid_size)
        likely = (
            "Draw the size of the context block with sample_block_size, context_scale (by default .85 to 1) and the "
            "aspect ratio (1, 1); the context is that block minus the targets, not the rest of the grid."
        )
        if max(seen) < max(wanted):
            likely = f"The context block is too small. {likely}"
        expect_that(
            max(seen) == max(wanted) and wanted <= seen,
            called=learner.called,
            expected=f"contexts of {' or '.join(str(side) for side in sorted(wanted))} rows and columns",
            got=f"contexts of {', '.join(str(side) for side in sorted(seen))} rows or columns",
            likely=likely,
        )


@exercise("sample_masks")
def test_sample_masks_places_the_context_uniformly(learner):
    """The context block of each image has a place of its own, every place equally likely."""
    grid_size, side = 8, 6
    options = oracle.one_target(grid_size, side, (1, 1))
    got = oracle.draw_masks(learner, 18, grid_size, 25, **options)
    corner = oracle.context_corners(got, grid_size, side)  # [25, 18]
    known = corner[corner >= 0]
    expect_that(
        len(known) >= 300,
        called=learner.called,
        expected=f"contexts of {side} rows and columns, as context_scale asks for: their places are counted",
        got=f"{len(known)} of {corner.numel()}",
        likely=f"Too few contexts are blocks of {side} x {side} to tell anything about their places.",
    )
    if not (known == known[0]).all():  # one fixed place is named by what follows
        likely = f"Each call gives the same place: {block_oracle.UNDRAWN}"
        block_oracle.expect_varied(corner, 0, "the same context block in each call", likely, learner.called)
        likely = "The context block is placed once for the whole batch: place it for each image."
        block_oracle.expect_varied(corner, 1, "the same context block in all images of a batch", likely, learner.called)
    block_oracle.expect_uniform_places(known, grid_size, side, side, learner.called)


@exercise("sample_masks", points=2)
def test_sample_masks_context_leaves_out_its_own_targets(learner):
    """No target of an image is in its context; targets of other images may be."""
    redrawn = oracle.one_target(12, 11, (11, 11))
    counts = torch.zeros(4, dtype=torch.long)  # of the batches in which contexts are not redrawn
    for batch_size, grid_size, options in ((3, 14, {}), (2, 10, {"num_targets": 2}), (3, 12, redrawn)):
        got = oracle.draw_masks(learner, batch_size, grid_size, 30 if options is redrawn else 6, **options)
        overlap = oracle.overlap_by_target(got, grid_size)
        likely = "The context overlaps the targets of its own image: take all of them out of the context block."
        if (overlap == 0).any():
            likely = "Only some of the targets are taken out of the context: take out all of them."
        expect_that(
            bool((overlap == 0).all()),
            called=learner.called,
            expected="a context without any patch of its own targets",
            got=f"by target {overlap.tolist()} patches that are in the context",
            likely=likely,
        )
        if options is not redrawn:
            counts += oracle.count_visible(got, grid_size)
    free, free_seen, elsewhere, elsewhere_seen = counts.tolist()
    expect_that(
        free_seen > free / 10,
        called="sample_masks(3, 14, generator) and sample_masks(2, 10, generator, num_targets=2), 6 times each",
        expected="contexts that hold a good part of what no target covers",
        got=f"{free_seen} of {free} patches",
        likely="The contexts are so small that they tell nothing: take a block of context_scale, and then the targets "
        "out of it.",
    )
    # both shares are about equal; among hundreds of patches drawn at random, less than a third of it never comes
    expect_that(
        not elsewhere or elsewhere_seen / elsewhere > free_seen / free / 3,
        called=learner.called,
        expected=f"targets of other images in a context as often as any patch, about {free_seen / free:.0%}",
        got=f"{elsewhere_seen / max(elsewhere, 1):.0%}",
        likely="The targets of the other images are taken out as well: a context loses those of its own image only.",
    )


@exercise("sample_masks", points=2)
def test_sample_masks_cuts_contexts_at_random(learner):
    """Contexts are cut to the shortest's length by a random choice: no part of the image is left out more often."""
    options = {"num_targets": 2, "context_scale": (1.0, 1.0), **oracle.of_size(10, 4, 4)}
    got = oracle.draw_masks(learner, 16, 10, 10, **options)
    cuts = oracle.count_cuts(got, grid_size=10, parts=8)
    expected = cuts.expected.round().int().tolist()
    expect_that(
        oracle.are_random(cuts),
        called=learner.called,
        expected=f"by eighths of the image from the top, about {expected} patches left out",
        got=f"{cuts.left_out.int().tolist()}",
        likely=f"{oracle.cut_flaw(cuts)} Cut with a random subset, from torch.randperm or the largest of random keys.",
    )
    lengths, shortest = [context.shape[1] for context, _ in got], oracle.fewest_visible(got, grid_size=10)
    expect_that(
        lengths == shortest or bool(oracle.overlap_by_target(got, 10).any()),  # of which another check tells
        called=learner.called,
        expected=f"batch by batch, contexts as long as the shortest before it is cut: {shortest}",
        got=str(lengths),
        likely="context_scale is (1, 1) here: each context is all of the grid but its own targets, and then it is cut "
        "to the smallest count in the batch, no further.",
    )


@exercise("sample_masks")
def test_sample_masks_redraws_short_contexts_only(learner):
    """A context of min(10, G*G // 8) patches or fewer is drawn again, a longer one is kept."""
    # Batch, grid, side of the context block, target, number of draws, and a length that is common: never to see it is a
    # chance of less than 1e-8. Wherever the target lies, some contexts are too short and others long enough, so that it
    # doesn't matter whether the context, the image or the batch is drawn again.
    for batch_size, grid_size, side, target, count, common in (
        (1, 6, 5, (4, 4), 36, 9),
        (1, 6, 5, (5, 5), 20, 5),
        (8, 5, 3, (3, 2), 8, 5),
        (1, 12, 11, (11, 11), 20, 11),
        (1, 10, 5, (3, 8), 10, None),
        (1, 6, 4, (3, 5), 10, None),
    ):
        fewest = min(10, grid_size**2 // 8) + 1
        options = oracle.one_target(grid_size, side, target)
        got = oracle.draw_masks(learner, batch_size, grid_size, count, **options)
        shortest = min(context.shape[1] for context, _ in got)
        longest = max(oracle.context_sides(got, grid_size))
        overlap = int(oracle.overlap_by_target(got, grid_size).sum())
        expect_that(
            longest == side and not overlap,
            called=learner.called,
            expected=f"contexts that are a block of {side} x {side} minus the target",
            got=f"up to {longest} rows or columns, and {overlap} patches that are in the target",
            likely="Only for such contexts can be told which are too short.",
        )
        expect_that(
            shortest >= fewest,
            called=learner.called,
            expected=f"contexts of {fewest} patches or more in a grid of {grid_size}",
            got=f"one of {shortest}",
            likely="A context of min(10, G*G // 8) patches or fewer must be drawn again.",
        )
        expect_that(
            common is None or shortest <= common,
            called=learner.called,
            expected=f"contexts of {common} patches now and then: more than min(10, G*G // 8) = {fewest - 1} is enough",
            got=f"none below {shortest}",
            likely="Contexts that are long enough are drawn again: the limit is min(10, G*G // 8), at most 10 and less "
            "in a small grid.",
        )


@exercise("sample_masks")
def test_sample_masks_refuses_sizes_that_leave_no_context(learner):
    """Targets that cover the whole grid leave no context: a ValueError, after some tries and not never."""
    whole = {"target_scale": (1.0, 1.0), "target_aspect_ratio": (1.0, 1.0)}
    for batch_size, grid_size, num_targets in ((1, 4, 1), (2, 5, 3)):
        options = {"num_targets": num_targets, **whole}
        likely = (
            "However often you draw, the targets cover everything. Count the rounds, and after some hundred of them "
            "raise ValueError(...)."
        )
        expect_error(
            ValueError,
            learner,
            calls.masks_or_error,
            batch_size,
            grid_size,
            options,
            block_oracle.new_seed(),
            likely=likely,
        )
    # these sizes leave one, in which every patch comes that is no target
    options = {"num_targets": 1, "context_scale": (1.0, 1.0), **oracle.of_size(10, 2, 2)}
    oracle.expect_some_block(oracle.draw_masks(learner, 1, 10, 30, **options), 10, learner.called)


@exercise("sample_masks")
def test_sample_masks_uses_the_generator_alone(learner):
    """Equal generators give equal masks, and no other random numbers are touched."""
    got = learner(calls.masks_twice, 4, 14, block_oracle.new_seed())
    block_oracle.expect_from_generator_alone(got, learner.called)
    oracle.expect_some_block(got["first"], 14, learner.called)
