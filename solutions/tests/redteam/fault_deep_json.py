# A notebook that is nested 100,000 levels deep.
# lesson: patch_embedding
# status: unreadable
# points: 0


def build(folder, reference):
    (folder / "01_patch_embedding.ipynb").write_text('{"cells": ' + "[" * 100_000 + "]" * 100_000 + "}")
