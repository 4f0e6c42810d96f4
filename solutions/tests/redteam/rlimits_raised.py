# Raises its own limits.
# lesson: patch_embedding
# status: graded
# points: 0
# says: contained
# tiers: bubblewrap rlimits

import resource


def patchify(images, patch_size):
    names = ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_NPROC", "RLIMIT_FSIZE", "RLIMIT_NOFILE")
    before = [resource.getrlimit(getattr(resource, name)) for name in names]
    refused = 0
    for name, (_, hard) in zip(names, before, strict=True):
        try:
            resource.setrlimit(getattr(resource, name), (hard + 1, hard + 1))
        except (ValueError, OSError):
            refused += 1
    infinite = [hard for _, hard in before if hard == resource.RLIM_INFINITY]
    raise RuntimeError("contained" if refused == len(names) and not infinite else f"ESCAPED: {before}")
