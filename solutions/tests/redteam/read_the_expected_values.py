# Reads the oracles, and what runs beside other lessons, from where the course's package lies.
# lesson: patch_embedding
# status: graded
# points: 0
# says: contained
# control: escapes

from pathlib import Path

import checks


def attempt(action):
    """What became of it: a sentence that the report shows."""
    try:
        return f"ESCAPED: {action()!r:.200}"
    except Exception as error:
        return f"contained: {type(error).__name__}: {error}"


def escape():
    folders = [Path(folder, name) for folder in (*checks.__path__, "/course/checks") for name in ("expected", "calls")]
    found = [path for folder in folders for path in folder.rglob("*.py*")]
    return found[0].read_bytes()[:20]


def patchify(images, patch_size):
    raise RuntimeError(attempt(escape))
