# Fills the memory with bytes, up to 6 GB.
# lesson: patch_embedding
# status: graded, crashed, timeout
# points: 0
# tiers: bubblewrap rlimits


def patchify(images, patch_size):
    return [bytearray(2**26) for _ in range(96)]
