# A named pipe, at which a reader would wait without end.
# lesson: patch_embedding
# status: unreadable
# points: 0
# reason: a pipe and no file

import os


def build(folder, reference):
    os.mkfifo(folder / "01_patch_embedding.ipynb")
