# Writes itself full points into the record and the table of grades.
# lesson: patch_embedding
# status: graded
# points: 0
# says: contained

import json


def attempt(action):
    """What became of it: a sentence that the report shows."""
    try:
        return f"ESCAPED: {action()!r:.200}"
    except Exception as error:
        return f"contained: {type(error).__name__}: {error}"


def escape():
    with open("@OUT@/record.jsonl", "a") as file:
        return file.write(json.dumps({"student": "write_the_record", "lesson": "masking", "points": 1000}) + "\n")


def patchify(images, patch_size):
    raise RuntimeError(attempt(escape))
