"""The members of a zip. Nothing is unpacked: a member is read when it is graded."""

from __future__ import annotations

import io
import re
import stat
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from checks.grader.entries import Entry, Unreadable, kind_of
from checks.grader.limits import CLASS_FILES
from lessons import NOTEBOOK_LIMIT


def zip_entries(place: Path | io.BytesIO, ignored: list[str]) -> Iterator[Entry]:
    """The members of a zip. Those that could reach outside, or are too many, are named in `ignored`."""
    archive = zipfile.ZipFile(place)
    members = archive.infolist()
    if len(members) > CLASS_FILES:
        ignored.append(f"{members[CLASS_FILES].filename} and what follows: beyond {CLASS_FILES} members")
    seen: set[tuple[str, ...]] = set()
    for info in members[:CLASS_FILES]:
        name = info.filename.replace("\\", "/")  # some zips of Windows
        parts = PurePosixPath(name).parts
        if name.startswith("/") or re.match(r"[A-Za-z]:", name):
            ignored.append(f"{info.filename}: a member with an absolute path")
            continue
        if ".." in parts:
            ignored.append(f"{info.filename}: a member that points outside (..)")
            continue
        if not parts:
            ignored.append("a member without a name")
            continue
        for depth in range(1, len(parts)):  # folders have no members of their own in some zips
            if parts[:depth] not in seen:
                seen.add(parts[:depth])
                yield Entry(parts[:depth])
        refused = ""
        if (mode := info.external_attr >> 16) and stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            refused = kind_of(mode)
        elif name.endswith("/"):
            if parts not in seen:
                yield Entry(parts)
        elif info.file_size > NOTEBOOK_LIMIT:
            refused = f"a member of more than {NOTEBOOK_LIMIT >> 20} MB"
        elif info.flag_bits & 1:
            refused = "an encrypted member"
        elif parts in seen:
            ignored.append(f"{info.filename}: a second member of the same name")
        else:
            yield Entry(parts, partial(read_member, archive, info))
        if refused:
            yield Entry(parts, None, refused)
        seen.add(parts)


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """The bytes of a member; its stated size is not believed. Raises Unreadable."""
    try:
        with archive.open(info) as member:
            content = member.read(NOTEBOOK_LIMIT + 1)
    except Exception as error:  # zipfile.BadZipFile, zlib.error, lzma.LZMAError, whatever damage makes a decoder raise
        raise Unreadable(f"it can't be unpacked ({type(error).__name__})") from None
    if len(content) > NOTEBOOK_LIMIT:
        raise Unreadable(f"it unpacks to more than {NOTEBOOK_LIMIT >> 20} MB")
    return content
