"""nbgrader's settings for this course; solutions/README.md has the sequence of commands.

Everything that nbgrader reads and writes lies below build/nbgrader, which git ignores: its own commands wipe folders.
"""

from pathlib import Path

c = get_config()  # noqa: F821

BUILD = Path(__file__).parent / "build" / "nbgrader"

c.CourseDirectory.course_id = "build-i-jepa"
c.CourseDirectory.root = str(BUILD)
c.Exchange.root = str(BUILD / "exchange")  # on a hub: a folder that all its users can write to

c.Autograde.exporter_class = "solutions.classroom.autograde.AnyNotebook"
# nbgrader's own steps, with RestoreCells put first and ExecuteChecks in the place of Execute
c.Autograde.sanitize_preprocessors = [
    "solutions.classroom.autograde.RestoreCells",
    "nbgrader.preprocessors.ClearOutput",
    "nbgrader.preprocessors.DeduplicateIds",
    "nbgrader.preprocessors.OverwriteKernelspec",
    "nbgrader.preprocessors.OverwriteCells",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.Autograde.autograde_preprocessors = [
    "solutions.classroom.autograde.ExecuteChecks",
    "nbgrader.preprocessors.LimitOutput",
    "nbgrader.preprocessors.SaveAutoGrades",
    "nbgrader.preprocessors.AssignLatePenalties",
    "nbgrader.preprocessors.CheckCellMetadata",
]
c.ExecuteChecks.timeout = 60  # seconds for the checks of an exercise; the first of them loads torch

c.GenerateFeedback.preprocessors = [
    "solutions.classroom.autograde.RemoveRubric",
    "nbgrader.preprocessors.GetGrades",
    "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
]
# files from a learning platform: alice_12345_678_03_masking-1.ipynb
c.FileNameCollectorPlugin.named_regexp = (
    r".*/(?P<student_id>[^_/]+)_(?:[^/]*_)?(?P<file_id>\d\d_[a-z_]+?)(?:-\d+)?\.ipynb$"
)
