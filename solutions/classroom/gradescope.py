"""The autograder of a lesson for Gradescope: `python -m solutions.classroom.gradescope masking autograder.zip`.

Gradescope unpacks the zip in /autograder/source, runs setup.sh once and run_autograder for each submission, and reads
results.json. https://gradescope-autograders.readthedocs.io/en/latest/
"""

from __future__ import annotations

import argparse
import re
import secrets
import sys
import zipfile
from pathlib import Path

from lessons import LESSONS

ROOT = Path(__file__).parents[2]
HERE = "solutions/classroom"
SCRIPTS = {"setup.sh": "gradescope_setup.sh", "run_autograder": "gradescope_run.sh"}  # by their names in the zip
FILES = ("LICENSE", "README.md", "requirements.txt", "pyproject.toml", "solutions/__init__.py", "data/__init__.py")
FOLDERS = ("checks", "lessons")
LEFT_OUT = re.compile(r"(^|/)(\.|__pycache__/)")


def files_for(root: Path) -> list[str]:
    """The course's files that grading needs, from its folder on."""
    names = [*FILES, *(f"solutions/{name}.py" for name in LESSONS)]
    found = [path for folder in FOLDERS for path in sorted((root / folder).rglob("*")) if path.is_file()]
    names += [path.relative_to(root).as_posix() for path in found]
    return [name for name in names if not LEFT_OUT.search(name)]


def write_zip(lesson: str, place: Path, seed: int, root: Path = ROOT) -> None:
    """Write the autograder of a lesson. seed: of the random inputs, so that the same answer gets the same points.

    Raises OSError.
    """
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in files_for(root):
            archive.write(root / name, name)
        for name, script in SCRIPTS.items():
            text = (
                (root / HERE / script).read_text(encoding="utf-8").replace("LESSON", lesson).replace("SEED", str(seed))
            )
            entry = zipfile.ZipInfo(name, date_time=(2026, 1, 1, 0, 0, 0))
            entry.external_attr = 0o100755 << 16  # an executable file
            archive.writestr(entry, text, zipfile.ZIP_DEFLATED)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m solutions.classroom.gradescope", description="An autograder's zip."
    )
    parser.add_argument("lesson", choices=LESSONS)
    parser.add_argument("zip", type=Path)
    parser.add_argument("--seed", type=int, help="of the random inputs (default: drawn now)")
    options = parser.parse_args()
    try:
        write_zip(options.lesson, options.zip, secrets.randbelow(2**31) if options.seed is None else options.seed)
    except OSError as error:
        print(f"{options.zip} can't be written: {(error.strerror or str(error)).lower()}.", file=sys.stderr)
        return 1
    print(f"{options.zip}: upload it in Gradescope, Configure Autograder, Zip file upload")
    return 0


if __name__ == "__main__":
    sys.exit(main())
