# Forges a message of control characters, markup, bidirectional marks and half characters.
# lesson: patch_embedding
# status: graded, crashed
# points: 0

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
    text = "\x1b[2J<script>alert(1)</script>\u202e\ud800=cmd()" * 10
    fields = {"error": {"list": ["<b>\ud800"]}, "message": text, "frames": {"list": [text] * 60}, "output": text}
    outcome = {"dict": [*fields.items()]}
    say({"dict": [["nonce", setup()["nonce"]], ["call", 1], ["outcome", outcome]]})
    say({"dict": [["nonce", setup()["nonce"]], ["call", 2], ["outcome", outcome]]})
