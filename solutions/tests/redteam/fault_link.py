# A notebook that is a link to the reference.
# lesson: patch_embedding
# status: unreadable
# points: 0
# reason: a link, which is never followed


def build(folder, reference):
    (folder / "01_patch_embedding.ipynb").symlink_to("@COURSE@/solutions/patch_embedding.py")
