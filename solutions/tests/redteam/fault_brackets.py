# A script of two million brackets on one line, at which a parser could break.
# lesson: patch_embedding
# status: graded, crashed
# points: 0


def build(folder, reference):
    (folder / "01_patch_embedding.py").write_text("x = " + "(" * 1_000_000 + ")" * 1_000_000)
