# Sleeps without end in a decorator, and lets no exception through.
# lesson: patch_embedding
# status: timeout
# points: 0
# reason: still running

import time


def slow(function):
    while True:
        try:
            time.sleep(1000)
        except BaseException:
            pass


@slow
def patchify(images, patch_size):
    return images
