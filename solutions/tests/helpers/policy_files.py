"""The instructor's files as the tests write them: late.toml, and the first line of marks.csv."""

from pathlib import Path

MARKS = "student,lesson,item,points,comment\n"
LATE = """
time_zone = "Europe/Berlin"
free_days = 1
penalty = 10
max_penalty = 50
[deadlines]
masking = 2026-11-01T23:59:00        # 22:59 UTC
teacher = 2026-10-24T23:59:00        # 21:59 UTC; clocks go back in the night
training = 2026-11-01T23:59:00-08:00 # 07:59 UTC on the next day
[extensions.bob]
masking = 2
[extensions."Zoë M."]
masking = 2026-11-08T12:00:00
"""


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def marks_file(folder: Path, *lines: str) -> Path:
    """A marks.csv with these lines below the first one."""
    return written(folder / "marks.csv", MARKS + "".join(f"{line}\n" for line in lines))
