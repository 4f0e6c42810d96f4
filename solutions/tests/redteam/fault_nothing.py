# An empty folder.
# lesson: patch_embedding
# status: missing
# points: 0
# reason: no notebook was handed in


def build(folder, reference):
    folder.rmdir()
