# Ignores every signal that can be ignored, then sleeps.
# lesson: patch_embedding
# status: timeout
# points: 0
# reason: patchify: it was still running
# tiers: bubblewrap rlimits

import signal
import time


def patchify(images, patch_size):
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    time.sleep(10_000)
