# Hands in a folder of checks and one of the course's, beside the notebook and above it.
# lesson: patch_embedding
# status: graded
# points: 0
# says: contained

SOURCE = """
import sys


def patchify(images, patch_size):
    calls, learner = sys.modules["checks.calls.patch_embedding"], sys.modules["checks.tool.learner"]
    planted = any(hasattr(module, "planted") for module in (calls, learner))
    raise RuntimeError("ESCAPED" if planted else "contained")
"""
PLANTED = "planted = True\n\n\ndef patchify(lesson, images, patch_size):\n    return 'right'\n"


def build(folder, reference):
    for top in (folder, folder.parent, folder / "course"):
        for name in ("calls/patch_embedding", "expected/patch_embedding", "tool/learner", "grader/inside/wire"):
            path = top / "checks" / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(PLANTED)
    (folder / "01_patch_embedding.py").write_text(SOURCE)
