# A folder with the name of a notebook.
# lesson: patch_embedding
# status: missing
# points: 0


def build(folder, reference):
    (folder / "01_patch_embedding.ipynb").mkdir()
