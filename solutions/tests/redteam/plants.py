# Carries files that Python or pytest would pick up, beside the notebook.
# lesson: patch_embedding
# status: graded
# points: 0
# says: contained
# beside: conftest.py pytest.ini numpy.py sitecustomize.py usercustomize.py

import os


def patchify(images, patch_size):
    import numpy

    planted = hasattr(numpy, "planted") or os.path.exists("conftest.py")
    raise RuntimeError("ESCAPED" if planted else "contained")
