"""What is written for a class as a whole: names and texts that attack, the same bytes again, a disk that is full."""

import errno
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from checks.grader.reports.outputs import FILES, write_outputs
from checks.grader.reports.text import folder_of, shown
from lessons import LESSONS
from solutions.tests.helpers.made_up_rows import HOSTILE, hostile_rows, settled_row
from solutions.tests.helpers.report_pages import ABOUT, Page, written_class

# Text that others wrote


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("Zoë 张伟 🔬", "Zoë 张伟 🔬"),
        ("a\u202eb\u2066c\u200fd", r"a\u202eb\u2066c\u200fd"),
        ("\x1b[31m\x00\x7f\x9b", r"\x1b[31m\x00\x7f\x9b"),
        ("a\r\nb\tc\u2028d", r"a\r\nb\tc\u2028d"),
        ("\udc80", r"\udc80"),
        ("e" + 5 * "\u0301", "e" + 3 * "\u0301" + 2 * r"\u0301"),
        ("x" * 41, "x" * 36 + " ..."),
        ("\x00" * 41, 9 * r"\x00" + " ..."),
    ],
)
def test_text_is_shown_as_it_stands_and_no_longer_than_fits(text, expected):
    assert shown(text, 40) == shown(expected, 40) == expected


def test_what_a_student_writes_never_becomes_a_tag(tmp_path):
    hostile = written_class(hostile_rows(), tmp_path / "hostile", ignored=list(HOSTILE))
    names = tuple(f"student-{number}" for number in range(len(HOSTILE)))
    tame = written_class(hostile_rows(names), tmp_path / "tame", ignored=list(names))
    for name, other in (("report.html", "report.html"), ("feedback/index.html", "feedback/index.html")):
        pages = [Page(hostile[name]), Page(tame[other])]
        assert Counter(pages[0].tags) == Counter(pages[1].tags)
        assert not {"script", "img", "iframe", "object", "link", "form"} & set(pages[0].tags)
        assert {key for key, _ in pages[0].attributes} == {key for key, _ in pages[1].attributes}
        for text in HOSTILE:
            assert shown(text, 100) in pages[0].text
        for key, value in pages[0].attributes:
            assert key not in ("href", "src") or re.fullmatch(r"#\w+|[\w~/.-]+\.html", value)
    for text, tame_name in zip(HOSTILE, names, strict=True):
        page = Page(hostile[f"feedback/{folder_of(text)}/masking.html"])
        assert page.tags == Page(tame[f"feedback/{tame_name}/masking.html"]).tags
        assert shown(text, 100) in page.text


def test_folders_are_safe_and_another_one_for_each_name(tmp_path):
    names = [
        *HOSTILE,
        "alice",
        "Alice",
        "CON",
        "a" * 40,
        "a" * 41,
        " alice",
        "alice ",
        ".",
        ".hidden",
        "alice.",
        "é",
        "e\u0301",
    ]
    names += [folder_of(name) for name in names]  # whoever knows how a folder is named
    folders = {name: folder_of(name) for name in dict.fromkeys(names)}
    assert len({folder.casefold() for folder in folders.values()}) == len(folders) > 50
    for folder in folders.values():
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_~-]*", folder) and len(folder) < 70
    assert folders["alice"] == "alice"
    # printf Alice | sha256sum
    assert folders["Alice"] == "Alice~3bc51062973c458d5a6f"


# Writing


def snapshot(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_rerun_gives_the_same_bytes_and_forgets_who_has_gone(tmp_path):
    rows = hostile_rows()
    write_outputs(rows, tmp_path / "once", ABOUT)
    write_outputs([*rows, settled_row("gone", "masking")], tmp_path / "twice", ABOUT)
    (tmp_path / "twice" / ".new-killed" / "feedback").mkdir(parents=True)
    (tmp_path / "twice" / "record.jsonl").write_text("kept")
    write_outputs(list(reversed(rows)), tmp_path / "twice", ABOUT)
    twice = snapshot(tmp_path / "twice")
    assert twice.pop("record.jsonl") == b"kept"
    assert twice == snapshot(tmp_path / "once")
    assert not list((tmp_path / "twice").glob(".new-*"))


@pytest.mark.parametrize("writes", [0, 1, 5, 12])
def test_a_full_disk_leaves_the_old_files(tmp_path, monkeypatch, writes):
    write_outputs([settled_row("alice", lesson) for lesson in LESSONS], tmp_path, ABOUT)
    before, real, left = snapshot(tmp_path), Path.write_text, [writes]

    def write_text(path, *arguments, **options):
        if not left[0]:
            path.touch()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= 1
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", write_text)
    with pytest.raises(OSError, match="No space"):
        write_outputs([settled_row("bob", lesson) for lesson in LESSONS], tmp_path, ABOUT)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("moves", range(10))
def test_a_move_that_fails_leaves_each_file_whole(tmp_path, monkeypatch, moves):
    out = tmp_path / "out"
    write_outputs([settled_row("alice", "masking")], out, ABOUT)
    write_outputs([settled_row("bob", "masking")], tmp_path / "new", ABOUT)
    before, after, real, left = snapshot(out), snapshot(tmp_path / "new"), os.replace, [moves]

    def replace(source, target):
        left[0] -= 1
        if left[0] == -1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="No space"):
        write_outputs([settled_row("bob", "masking")], out, ABOUT)
    now = snapshot(out)
    for part in (name for name in FILES if name != "moodle"):  # which is empty here
        states = [{name: files[name] for name in files if name.startswith(part)} for files in (now, before, after)]
        assert states[0] in states[1:] and states[0]
    if moves < 2:
        assert now == before
