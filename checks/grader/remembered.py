"""course.toml: what a grades folder remembers of its course, so that the next run grades in the same way.

seed = 1234     # of the random inputs: one for the whole class, so that the same answer gets the same points
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

from checks.grader.texts import PolicyError, read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAME = "course.toml"


def seed_of_class(out: Path, given: int | None) -> int:
    """The seed of a grades folder: the one given, or else the remembered one, or else one drawn now.

    It is written down. Raises PolicyError for a course.toml that holds no seed.
    """
    path = out / NAME
    known = read_seed(path) if path.exists() else None
    seed = given if given is not None else known if known is not None else secrets.randbelow(2**31)
    if seed != known:
        new = path.with_name(f".{NAME}")
        new.write_text(f"seed = {seed}\n", encoding="utf-8")
        new.replace(path)  # as a whole, or on a full disk not at all
    return seed


def read_seed(path: Path) -> int:
    """The seed in a course.toml. Raises PolicyError."""
    try:
        seed = tomllib.loads(read_text(path)).get("seed")
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{path} is no valid TOML: {error}; mend it, or delete it and give --seed") from None
    if type(seed) is not int or not 0 <= seed < 2**31:
        raise PolicyError(f"{path} needs a line such as seed = 1234, a whole number from 0 to {2**31 - 1}")
    return seed
