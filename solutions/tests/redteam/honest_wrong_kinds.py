# Answers with a dataclass, a NamedTuple and a numpy array: wrong, and nothing worse.
# lesson: patch_embedding
# status: graded
# points: 0

from dataclasses import dataclass
from typing import NamedTuple


@dataclass
class Patches:
    values: list


class Images(NamedTuple):
    images: object


def patchify(images, patch_size):
    return Patches([])


def unpatchify(patches, patch_size, grid_size):
    return Images(patches)


def sincos_position_embedding(grid_size, dim):
    import numpy

    return numpy.zeros(3)
