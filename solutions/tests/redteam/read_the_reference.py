# Reads the reference, and the checks with their oracles.
# lesson: patch_embedding
# status: graded
# points: 0
# says: contained
# control: escapes

import glob
from pathlib import Path


def attempt(action):
    """What became of it: a sentence that the report shows."""
    try:
        return f"ESCAPED: {action()!r:.200}"
    except Exception as error:
        return f"contained: {type(error).__name__}: {error}"


def escape():
    names = ("solutions/*.py", "checks/test_*.py", "checks/expected/*.py")
    places = [f"{course}/{name}" for course in ("@COURSE@", "/course") for name in names]
    return [Path(path).read_text()[:20] for place in places for path in glob.glob(place)][0]


def patchify(images, patch_size):
    raise RuntimeError(attempt(escape))
