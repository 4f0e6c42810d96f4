"""Where the course can be fetched: `python -m solutions.release --repository ADDRESS` writes it down.

It stands in pyproject.toml, as `repository` of `[project.urls]`, so that a release is the same in every clone. The
first cell of each lesson fetches the course from there, and the README's table opens each lesson at Colab and Kaggle.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

RECORD, README = "pyproject.toml", "README.md"
BRANCH = "main"  # the one that Colab and Kaggle open a lesson of
ROW = re.compile(r"^(\| \[[^\]]*\]\((lessons/[\w/]+\.ipynb)\))[^|]*\|", re.M)  # of the README's table of lessons
PLAIN = re.compile(r"[\w./~:@%+-]+")  # nothing that a string or a shell would read as its own
SHORT_SSH = re.compile(r"^[\w.-]+@([\w.-]+):(?!//)(.+)")

ALONE = """# Set-up: run this cell first.
try:
    from lessons import borrow
except ImportError:
    raise SystemExit(
        "The rest of the course is not here, and this notebook names no address to fetch it from.\\n"
        "On your own machine: open the notebook in the course's folder, with its environment (see its README).\\n"
        "On Colab or Kaggle: upload lessons/, checks/, data/ and solutions/ of the course beside this notebook."
    ) from None
borrow("{lesson}")"""
FETCHED = """# Set-up: run this cell first.
try:
    from lessons import borrow
except ImportError:  # a notebook alone, as on Colab or Kaggle: the rest of the course is fetched
    import subprocess
    import sys
    from pathlib import Path

    fetched = Path.cwd() / "build-i-jepa"
    places = [folder for folder in (fetched, *fetched.parents) if (folder / "lessons/__init__.py").is_file()]
    if not places:
        command = ["git", "clone", "--quiet", "--depth=1", {address}, str(fetched)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SystemExit(
                f"The rest of the course can't be fetched with git: {{getattr(error, 'stderr', None) or error}}\\n"
                "Is there a network? (At Kaggle: Settings, Internet on.) If so, run this cell again.\\n"
                "On your own machine, open the notebook in the course's folder, with its environment."
            ) from None
    sys.path.insert(0, str([*places, fetched][0]))
    from lessons import borrow
borrow("{lesson}")"""


class AddressError(Exception):
    """This is no address that a course can be fetched from. The message is one sentence."""


def set_up(lesson: str, address: str) -> str:
    """The first cell of a lesson: it finds the course or, if address is not "", fetches it."""
    return FETCHED.format(lesson=lesson, address=json.dumps(address)) if address else ALONE.format(lesson=lesson)


def checked(address: str) -> str:
    """The address without blanks around it. Raises AddressError for what git would not take for one."""
    address = address.strip()
    if not PLAIN.fullmatch(address) or address.startswith("-"):
        raise AddressError(f"{address!r} is no address of a repository: give one such as https://host/owner/course")
    return address


def recorded(root: Path) -> str:
    """The address that pyproject.toml names, or ""."""
    return tomllib.loads((root / RECORD).read_text(encoding="utf-8"))["project"].get("urls", {}).get("repository", "")


def of_origin(root: Path) -> str:
    """Where anyone can fetch what `origin` is, as https, or "" if there is none, or it is a folder of this machine."""
    # a course that merely lies within a repository of something else has no address of its own
    return "" if git(root, "rev-parse", "--show-prefix") else public(git(root, "remote", "get-url", "origin"))


def git(root: Path, *command: str) -> str:
    """What git says in a folder, or "" if it fails or is not there."""
    try:
        return subprocess.run(["git", *command], cwd=root, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def public(remote: str) -> str:
    """A remote's address for those who have no account: by https, without user or token; "" for a folder.

    "git@github.com:owner/course.git" -> "https://github.com/owner/course"
    """
    remote = SHORT_SSH.sub(r"ssh://\1/\2", remote)
    match = re.fullmatch(r"(https?|ssh|git)://(?:[^/@]*@)?([^/:]+)(:\d+)?/(.+?)(?:\.git)?/?", remote)
    if not match:
        return ""
    scheme, host, port, path = match.groups()
    return f"{scheme}://{host}{port or ''}/{path}" if scheme.startswith("http") else f"https://{host}/{path}"


def written_down(root: Path, address: str) -> dict[Path, bytes]:
    """pyproject.toml and README.md as they are with this address: path -> content."""
    record, readme = root / RECORD, root / README
    text = record.read_text(encoding="utf-8")
    if address != recorded(root):
        text = re.sub(r"^\[project\.urls\]\n(repository = .*\n)?\n?", "", text, flags=re.M)
        table = f"[project.urls]\nrepository = {json.dumps(address)}\n\n" if address else ""
        text = text.replace("[project.optional-dependencies]", f"{table}[project.optional-dependencies]", 1)
    page = ROW.sub(lambda row: f"{row[1]}{badges(row[2], address)} |", readme.read_text(encoding="utf-8"))
    return {record: text.encode(), readme: page.encode()}


def badges(notebook: str, address: str) -> str:
    """What opens a notebook of a repository at GitHub in Colab and Kaggle, or "" (they open no others so)."""
    match = re.fullmatch(r"https://github\.com/([\w.-]+/[\w.-]+)", public(address))
    if not match:
        return ""
    place = f"{match[1]}/blob/{BRANCH}/{notebook}"
    colab = "https://colab.research.google.com"
    return (
        f" [![open in Colab]({colab}/assets/colab-badge.svg)]({colab}/github/{place})"
        f" [![open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)]"
        f"(https://kaggle.com/kernels/welcome?src=https://github.com/{place})"
    )
