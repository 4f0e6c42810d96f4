# Calls itself without end, in Python and in repr.
# lesson: patch_embedding
# status: graded
# points: 0
# says: RecursionError


def patchify(images, patch_size):
    return patchify(images, patch_size)


def unpatchify(patches, patch_size, grid_size):
    nested = []
    for _ in range(100_000):
        nested = [nested]
    return nested
