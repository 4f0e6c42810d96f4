# Prints 100 MB, to stdout and to stderr.
# lesson: patch_embedding
# status: graded
# points: 0

import os
import sys


def patchify(images, patch_size):
    for _ in range(100):
        print("x" * 2**19)
        print("y" * 2**19, file=sys.stderr)
        os.write(1, b"z" * 2**19)
    return "printed"
