# Shell lines, magics and bare calls would run commands where the notebook is run.
# lesson: patch_embedding
# status: graded
# points: all

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
        cell("!touch /tmp/redteam-shell"),
        cell("%%bash\ntouch /tmp/redteam-shell"),
        cell("get_ipython().system('touch /tmp/redteam-shell')"),
        cell("__import__('os').system('touch /tmp/redteam-shell')"),
        cell(reference),
    ]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "01_patch_embedding.ipynb").write_text(json.dumps(notebook))
