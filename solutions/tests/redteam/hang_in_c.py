# Stays in one call of C code, which no Python signal handler can interrupt.
# lesson: patch_embedding
# status: timeout
# points: 0
# reason: patchify: it was still running
# tiers: bubblewrap rlimits


def patchify(images, patch_size):
    return sum(range(10**15))
