# A socket in the place of the notebook.
# lesson: patch_embedding
# status: unreadable
# points: 0
# reason: a socket and no file

import os
import socket


def build(folder, reference):
    here = os.getcwd()
    os.chdir(folder)  # a socket's path may not be long
    with socket.socket(socket.AF_UNIX) as channel:
        channel.bind("01_patch_embedding.ipynb")
    os.chdir(here)
