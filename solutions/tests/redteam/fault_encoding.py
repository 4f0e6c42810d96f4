# A script in bytes that are no UTF-8.
# lesson: patch_embedding
# status: unreadable
# points: 0


def build(folder, reference):
    (folder / "01_patch_embedding.py").write_bytes(b"def patchify(a, b):\n    return '\xff\xfe\x80'\n")
