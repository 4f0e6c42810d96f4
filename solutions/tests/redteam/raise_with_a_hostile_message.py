# An exception whose message can't be made, and one whose message is huge.
# lesson: patch_embedding
# status: graded
# points: 0
# says: can't be printed


class Silent(Exception):
    def __str__(self):
        raise SystemExit


def patchify(images, patch_size):
    raise Silent


def unpatchify(patches, patch_size, grid_size):
    raise ValueError("x" * 100_000)
