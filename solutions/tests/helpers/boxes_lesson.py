"""A made-up lesson with two exercises and a question: its source, its checks' points, and a learner's work on it."""

from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

NAME = "patch_embedding"
POINTS = {"double": 3, "Box": 2}
SOURCE = '''# %% [markdown]
# # Lesson: boxes

# %%
import math

from checks import check
from solutions.masking import Masks
from solutions.tools import saw


# %%
if __name__ == "__main__":
    # a demo
    from lessons import figures

    text = """
    kept
  as it is
"""

    print(f"{text}")  # said


# %% exercise="double"
def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    # the secret
    return 2 * x
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("double")

# %% [markdown]
# Between.

# %% exercise="Box"
class Box:
    """A box."""

    def __init__(self, side):
        ### BEGIN SOLUTION
        self.side = side
        ### END SOLUTION

    def area(self):
        """Its area."""
        ### BEGIN SOLUTION
        return self.side**2
        ### END SOLUTION


# %%
if __name__ == "__main__":
    check("Box")

# %% [markdown] question="why_boxes" points=2
# Why boxes?
#
# ### BEGIN SOLUTION
# They tile.
#
# Rubric: 1 point for tiling, 1 for why.
# ### END SOLUTION
'''


def edit(path: Path, change: Callable[[NotebookNode], object]) -> None:
    notebook = nbformat.read(path, as_version=4)
    change(notebook)
    nbformat.write(notebook, path)


def solve(notebook: NotebookNode) -> None:
    notebook.cells[4].source = "def double(x):\n    return x + x"
