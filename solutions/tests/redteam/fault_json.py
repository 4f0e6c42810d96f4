# A notebook that is no JSON.
# lesson: patch_embedding
# status: unreadable
# points: 0


def build(folder, reference):
    (folder / "01_patch_embedding.ipynb").write_text('{"cells": [')
