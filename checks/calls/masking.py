"""What runs beside a learner's masks: functions of (lesson, ...) that a check calls through `learner`."""

import sys
from contextlib import contextmanager

import torch

LINES = 400_000  # that a learner's code may run before it refuses: thousands of tries


def block_size(lesson, grid_size, scale, aspect_ratio, seed):
    """sample_block_size({grid_size}, {scale}, {aspect_ratio}, generator)"""
    return block_sizes(lesson, grid_size, scale, aspect_ratio, seed, 1)[0]


def block_sizes(lesson, grid_size, scale, aspect_ratio, seed, count):
    """sample_block_size({grid_size}, {scale}, {aspect_ratio}, generator), {count} times"""
    generator = torch.Generator().manual_seed(seed)
    return [a_size(lesson, grid_size, scale, aspect_ratio, generator) for _ in range(count)]


def block_sizes_twice(lesson, grid_size, scale, aspect_ratio, seed):
    """sample_block_size({grid_size}, {scale}, {aspect_ratio}, generator), with two generators of one seed"""
    return twice(lambda generator: a_size(lesson, grid_size, scale, aspect_ratio, generator), seed)


def a_size(lesson, grid_size, scale, aspect_ratio, generator):
    return unnamed(lesson.sample_block_size(grid_size, scale, aspect_ratio, generator))


def blocks(lesson, grid_size, block_size, seed, count):
    """sample_block({grid_size}, {block_size}, generator), {count} times"""
    generator = torch.Generator().manual_seed(seed)
    return [lesson.sample_block(grid_size, block_size, generator) for _ in range(count)]


def blocks_twice(lesson, grid_size, block_size, seed):
    """sample_block({grid_size}, {block_size}, generator), with two generators of one seed"""
    return twice(lambda generator: lesson.sample_block(grid_size, block_size, generator), seed, 5)


def masks(lesson, batch_size, grid_size, options, seed, count):
    """sample_masks({batch_size}, {grid_size}, generator, **{options}), {count} times"""
    generator = torch.Generator().manual_seed(seed)
    return [unnamed(lesson.sample_masks(batch_size, grid_size, generator, **options)) for _ in range(count)]


def masks_or_error(lesson, batch_size, grid_size, options, seed):
    """sample_masks({batch_size}, {grid_size}, generator, **{options})"""
    with at_most(LINES, lesson):
        return unnamed(lesson.sample_masks(batch_size, grid_size, torch.Generator().manual_seed(seed), **options))


class Endless(BaseException):
    """Code that goes on and on. No Exception, which the code itself may catch."""


@contextmanager
def at_most(lines, lesson):
    """Stop the lesson's code with Endless once it has run so many lines: a count that no machine's speed changes."""
    run = 0

    def count(frame, event, argument):
        nonlocal run
        run += 1
        if run > lines:
            raise Endless(f"it still goes on after {lines} lines")
        return count

    before = sys.gettrace()
    sys.settrace(lambda frame, event, argument: count if frame.f_globals is vars(lesson) else None)
    try:
        yield
    finally:
        sys.settrace(before)


def masks_twice(lesson, batch_size, grid_size, seed):
    """sample_masks({batch_size}, {grid_size}, generator), with two generators of one seed"""
    return twice(lambda generator: unnamed(lesson.sample_masks(batch_size, grid_size, generator)), seed)


def mask_fields(lesson, batch_size, grid_size, seed):
    """sample_masks({batch_size}, {grid_size}, generator)"""
    drawn = lesson.sample_masks(batch_size, grid_size, torch.Generator().manual_seed(seed))
    return [str(name) for name in getattr(drawn, "_fields", ())] or type(drawn).__name__


def unnamed(value):
    return tuple(value) if isinstance(value, tuple | list) else value


def twice(draw, seed, count=3):
    """Some draws from each of two equal generators, and whether torch's global random numbers were left alone.

    So many that a right answer's are all alike with a chance of less than 1e-9.
    """
    before = torch.get_rng_state()
    first, again = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
    return {
        "first": [draw(first) for _ in range(count)],
        "again": [draw(again) for _ in range(count)],
        "global left alone": torch.equal(before, torch.get_rng_state()),
    }
