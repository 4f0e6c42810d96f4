# nbgrader's metadata promise 1000 points, and the outputs show a pass.
# lesson: patch_embedding
# status: graded
# points: 0

import json


def cell(source, **more):
    return {
        "cell_type": "code",
        "id": "same",
        "source": source,
        "metadata": {},
        "outputs": [],
        "execution_count": 1,
    } | more


def build(folder, reference):
    cells = [
        cell(
            "def patchify(images, patch_size):\n    return None",
            metadata={"nbgrader": {"grade": True, "grade_id": "patchify", "points": 1000, "schema_version": 3}},
            outputs=[{"output_type": "stream", "name": "stdout", "text": "patchify: 5 of 5 points\npassed"}],
        ),
        cell("", metadata={"nbgrader": {"grade": True, "grade_id": "patchify", "points": 1000, "locked": True}}),
    ]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "01_patch_embedding.ipynb").write_text(json.dumps(notebook))
