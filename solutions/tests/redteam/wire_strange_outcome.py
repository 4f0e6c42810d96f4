# Forges an outcome whose fields have types that no outcome has.
# lesson: patch_embedding
# status: crashed
# points: 0
# reason: its process ended before it answered

import json
import os
import struct
import sys


def setup():
    """What the checker has sent first: it holds the nonce."""
    frame = sys._getframe()
    while not isinstance(frame.f_locals.get("setup"), dict):
        frame = frame.f_back
    return frame.f_locals["setup"]


def say(value, body=b"", sizes=None):
    head = value if isinstance(value, bytes) else json.dumps([value]).encode()
    os.write(3, struct.pack("!II", *(sizes or (len(head), len(body)))) + head + body)


def patchify(images, patch_size):
    outcome = {"dict": [["error", {"dict": [["a", 5]]}], ["message", 7], ["frames", 1], ["todo", "yes"]]}
    say({"dict": [["nonce", setup()["nonce"]], ["call", 1], ["flags", 3], ["outcome", outcome]]})
    os._exit(0)
