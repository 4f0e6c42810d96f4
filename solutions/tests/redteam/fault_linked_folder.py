# A lesson's folder that is a link to the course's.
# lesson: patch_embedding
# status: unreadable
# points: 0
# reason: a link, which is never followed


def build(folder, reference):
    folder.rmdir()
    folder.symlink_to("@COURSE@/solutions")
