# A folder whose name turns around, breaks lines, quotes, and holds 200 characters; the work in it is right.
# lesson: patch_embedding
# status: graded
# points: all

NAME = ("=cmd()\"',<b>\n\u202e" + "n" * 200)[:200]


def build(folder, reference):
    (folder / "01_patch_embedding.py").write_text(reference)
