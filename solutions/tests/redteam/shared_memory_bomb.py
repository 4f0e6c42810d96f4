# Fills /dev/shm, up to 200 MB, and leaves a segment behind.
# lesson: patch_embedding
# status: graded, crashed
# points: 0

from multiprocessing import shared_memory


def patchify(images, patch_size):
    segments = []
    try:
        for number in range(50):
            segments.append(shared_memory.SharedMemory(f"redteam-{number}", create=True, size=2**22))
            segments[-1].buf[:] = b"x" * 2**22
    except OSError as error:
        raise RuntimeError(f"contained: {error}") from None
    raise RuntimeError(f"ESCAPED: {len(segments)} segments")
