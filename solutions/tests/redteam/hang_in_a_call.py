# Loops without end in a call: that exercise is out of time, the others keep their points.
# lesson: patch_embedding
# status: timeout
# points: all but patchify
# on: reference
# reason: patchify: it was still running


def patchify(images, patch_size):
    while True:
        pass
