"""nbgrader's settings for this course; solutions/README.md has the sequence of commands.

Everything that nbgrader reads and writes lies below build/nbgrader, which git ignores: its own commands wipe folders.
"""

from pathlib import Path

c = get_config()  # noqa: F821

c.CourseDirectory.course_id = "build-i-jepa"
c.CourseDirectory.root = str(Path(__file__).parent / "build" / "nbgrader")
# a lesson is a few minutes of reading and a minute of demos: more than nbgrader's 30 s a cell
c.ExecutePreprocessor.timeout = 180
