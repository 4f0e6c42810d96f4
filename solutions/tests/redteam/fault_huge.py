# A notebook of 101 MB, all of it a hole.
# lesson: patch_embedding
# status: unreadable
# points: 0
# reason: more than 100 MB


def build(folder, reference):
    with open(folder / "01_patch_embedding.ipynb", "wb") as file:
        file.truncate(101 * 2**20)
