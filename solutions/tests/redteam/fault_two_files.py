# Two notebooks, either of which could be meant.
# lesson: patch_embedding
# status: missing
# points: 0
# reason: several files could be meant


def build(folder, reference):
    (folder / "mine.ipynb").write_text("{}")
    (folder / "other.ipynb").write_text("{}")
