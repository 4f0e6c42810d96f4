# A script with null bytes.
# lesson: patch_embedding
# status: graded, unreadable
# points: 0


def build(folder, reference):
    (folder / "01_patch_embedding.py").write_bytes(b"\0" * 100 + b"\ndef patchify(a, b):\n    return a\n")
