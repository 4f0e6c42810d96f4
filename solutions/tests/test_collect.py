"""What a class handed in becomes one submission for each student and lesson, whatever lies there."""

import errno
import os
import random
import socket
import stat
import zipfile
from pathlib import Path

import pytest

from checks.grader import collect as module
from checks.grader.collect import CollectError, Unreadable, collect
from lessons import LESSONS

NOTEBOOK = b'{"cells": []}'
NOBODY = 65534
NAMES = {  # in the file system: in the record
    **{name: name for name in ("alice", "bob, o'neil", 'say "hi"', "new\nline", "évé 学生", "=1+1", "x" * 200)},
    os.fsdecode(b"caf\xe9"): r"caf\xe9",
}


def put(folder: Path, name: str, content: bytes = NOTEBOOK) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def submissions(place: Path, *lessons: str) -> dict[tuple[str, str], tuple]:
    """{(student, lesson): (status, file, reason and notes)}; one row for each, or this fails."""
    lessons = list(lessons or ("masking",))
    found = list(collect(place, lessons).submissions(lessons))
    rows = {(s.student, s.lesson): (s.status, s.label, " ".join([s.reason, *s.notes])) for s in found}
    assert len(rows) == len(found) == len({student for student, _ in rows}) * len(lessons)
    return rows


def one(place: Path, student: str = "alice", lesson: str = "masking") -> tuple:
    return submissions(place, lesson)[student, lesson]


def content(place: Path, student: str = "alice") -> bytes:
    [submission] = [s for s in collect(place, ["masking"]).submissions(["masking"]) if s.student == student]
    return submission.entry.read()


def as_nobody(function) -> str:
    """What function returns in a process without root's rights."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setresgid(NOBODY, NOBODY, NOBODY)
                os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(writer, str(function()).encode())
        except BaseException as error:
            os.write(writer, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        return pipe.read()


# Which layout


@pytest.mark.parametrize("folder", ["03_masking", "masking"])
@pytest.mark.parametrize("file", ["03_masking.ipynb", "masking.ipynb"])
def test_nbgraders_layout(tmp_path, folder, file):
    put(tmp_path, f"alice/{folder}/{file}")
    put(tmp_path, "bob/02_vision_transformer/02_vision_transformer.ipynb")
    assert submissions(tmp_path, "vision_transformer", "masking") == {
        ("alice", "masking"): ("", file, ""),
        ("alice", "vision_transformer"): ("missing", None, "no notebook was handed in."),
        ("bob", "masking"): ("missing", None, "no notebook was handed in."),
        ("bob", "vision_transformer"): ("", "02_vision_transformer.ipynb", ""),
    }


def test_every_student_has_a_row_for_every_lesson(tmp_path):
    (tmp_path / "empty").mkdir()
    put(tmp_path, "alice/03_masking/03_masking.ipynb")
    rows = submissions(tmp_path, *LESSONS)
    assert set(rows) == {(student, lesson) for student in ("alice", "empty") for lesson in LESSONS}
    assert [place for place, row in rows.items() if row[0] != "missing"] == [("alice", "masking")]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_students_name_is_that_of_the_folder_as_it_stands(tmp_path, name):
    put(tmp_path, f"{name}/03_masking/03_masking.ipynb", b"mine")
    [(student, _)] = submissions(tmp_path, "masking")
    assert student == NAMES[name]
    student.encode()  # any file can hold it
    assert content(tmp_path, student) == b"mine"


def test_no_two_students_become_one(tmp_path):
    """Bytes that are no UTF-8 are shown as escapes, which may be another student's name."""
    for number, name in enumerate((b"zo\xeb", rb"zo\xeb", rb"zo\xeb (2)")):
        put(tmp_path, os.fsdecode(name) + "/03_masking/03_masking.py", f"number = {number}\n".encode())
    found = {s.student: s.entry.read() for s in collect(tmp_path, ["masking"]).submissions(["masking"])}
    assert found[r"zo\xeb"] == b"number = 1\n" and found[r"zo\xeb (2)"] == b"number = 2\n"
    assert found[r"zo\xeb (3)"] == b"number = 0\n" and len(found) == 3


def test_hidden_folders_and_other_files_are_left_aside_and_named(tmp_path):
    put(tmp_path, "alice/03_masking/03_masking.ipynb")
    put(tmp_path, "alice/03_masking/.ipynb_checkpoints/03_masking.ipynb")
    put(tmp_path, "alice/.git/config")
    put(tmp_path, ".cache/03_masking/03_masking.ipynb")
    put(tmp_path, "__MACOSX/alice/03_masking/._03_masking.ipynb")
    put(tmp_path, "roster.csv")
    put(tmp_path, "alice_masking.ipynb")
    found = collect(tmp_path, ["masking"])
    assert set(found.students) == {"alice"}
    assert one(tmp_path) == ("", "03_masking.ipynb", "")
    for name in (".cache", "__MACOSX", "roster.csv", "alice_masking.ipynb"):
        assert sum(line.startswith(f"{name}: ") for line in found.ignored) == 1


def test_flat_files(tmp_path):
    put(tmp_path, "alice_03_masking.ipynb", b"1")
    put(tmp_path, "alice_teacher (final).ipynb", b"2")
    put(tmp_path, "bob o'neil_Masking_v2.ipynb", b"3")
    put(tmp_path, "notes.ipynb")
    put(tmp_path, "carol_homework.ipynb")
    rows = submissions(tmp_path, "masking", "teacher")
    assert {place: row[1:] for place, row in rows.items() if not row[0]} == {
        ("alice", "masking"): ("alice_03_masking.ipynb", ""),
        ("alice", "teacher"): ("alice_teacher (final).ipynb", ""),
        ("bob o'neil", "masking"): ("bob o'neil_Masking_v2.ipynb", ""),
    }
    ignored = collect(tmp_path, ["masking", "teacher"]).ignored
    assert sorted(line.partition(":")[0] for line in ignored) == ["carol_homework.ipynb", "notes.ipynb"]
    assert one(tmp_path, "carol") == ("", "carol_homework.ipynb", "")  # only one lesson is graded


def test_a_students_own_folder_is_not_a_class(tmp_path):
    put(tmp_path, "03_masking.ipynb")
    with pytest.raises(CollectError, match=r"no submission .*03_masking\.ipynb"):
        collect(tmp_path, list(LESSONS))


def test_the_zip_of_canvas(tmp_path):
    names = ("doejane_LATE_12345_67890_03_masking-1.ipynb", "roejohn_23456_67891_03_masking.ipynb")
    place = zipped(tmp_path / "canvas.zip", {name: name.encode() for name in names})
    assert submissions(place, "masking") == {
        ("doejane", "masking"): ("", names[0], ""),
        ("roejohn", "masking"): ("", names[1], ""),
    }
    assert content(place, "doejane") == names[0].encode()


def test_the_zip_of_moodle(tmp_path):
    members = {
        "Jane Doe_1234567_assignsubmission_file_/03_masking.ipynb": b"jane",
        "Zoë, jr._1234568_assignsubmission_file_/03_masking (1).ipynb": b"zoe",
        "No One_1234569_assignsubmission_file_/": b"",
    }
    place = zipped(tmp_path / "moodle.zip", members)
    jane, zoe, no_one = (name.partition("/")[0] for name in members)
    assert submissions(place, "masking", "teacher") == {
        (jane, "masking"): ("", "03_masking.ipynb", ""),
        (jane, "teacher"): ("missing", None, "no notebook was handed in."),
        (zoe, "masking"): (
            "",
            "03_masking (1).ipynb",
            " 03_masking (1).ipynb was graded: there is no 03_masking.ipynb.",
        ),
        (zoe, "teacher"): ("missing", None, "no notebook was handed in."),
        (no_one, "masking"): ("missing", None, "no notebook was handed in."),
        (no_one, "teacher"): ("missing", None, "no notebook was handed in."),
    }
    assert content(place, zoe) == b"zoe"


def test_moodles_other_zip_is_flat(tmp_path):
    place = zipped(tmp_path / "moodle.zip", {"Jane Doe_1234567_assignsubmission_file_03_masking.ipynb": b"jane"})
    assert content(place, "Jane Doe") == b"jane"


@pytest.mark.parametrize(
    "inner", ["alice/03_masking/03_masking.ipynb", "alice/03_masking.ipynb", "alice_masking.ipynb"]
)
@pytest.mark.parametrize("wrapper", ["", "submissions 2026/"])
@pytest.mark.parametrize("separator", ["/", "\\"])
def test_a_zip_may_have_one_folder_around_everything(tmp_path, inner, wrapper, separator):
    members = {
        f"{wrapper}{inner}".replace("/", separator): b"mine",
        f"__MACOSX/{wrapper}._alice": b"",
        f"{wrapper}.DS_Store": b"",
        "../outside.ipynb": b"",
    }
    place = zipped(tmp_path / "class.zip", members)
    assert [student for student, _ in submissions(place, "masking")] == ["alice"]
    assert content(place) == b"mine"


def test_a_zip_of_one_student_keeps_the_student(tmp_path):
    members = {"alice/03_masking.ipynb": b"", "alice/data/photo.png": b"", "alice/04_teacher/04_teacher.ipynb": b""}
    rows = submissions(zipped(tmp_path / "class.zip", members), "masking", "teacher")
    assert [row[0] for row in rows.values()] == ["", ""]
    assert {student for student, _ in rows} == {"alice"}


# Which file


def test_the_only_other_notebook_is_graded_and_the_report_says_so(tmp_path):
    put(tmp_path, "alice/03_masking/my masks.ipynb", b"mine")
    put(tmp_path, "alice/03_masking/helper.py")
    assert one(tmp_path) == ("", "my masks.ipynb", " my masks.ipynb was graded: there is no 03_masking.ipynb.")
    assert content(tmp_path) == b"mine"


def test_the_lessons_own_name_goes_first(tmp_path):
    for name in ("03_masking.ipynb", "masking.ipynb", "03_masking-Copy1.ipynb", "03_masking.py"):
        put(tmp_path, f"alice/03_masking/{name}", name.encode())
    put(tmp_path, "alice/03_masking.ipynb", b"beside the folder")
    assert content(tmp_path) == b"03_masking.ipynb"


def test_several_other_notebooks_are_named_and_none_is_graded(tmp_path):
    for name in ("b.ipynb", "a.ipynb", "c.py"):
        put(tmp_path, f"alice/03_masking/{name}")
    assert one(tmp_path) == ("missing", None, "several files could be meant, so none was graded: a.ipynb, b.ipynb.")


def test_the_names_of_many_notebooks_are_not_all_said(tmp_path):
    members = {f"alice/03_masking/{number:04}{'x' * 200}.ipynb": b"" for number in range(500)}
    status, _, reason = one(zipped(tmp_path / "class.zip", members))
    assert status == "missing" and "495 more" in reason and len(reason) < 1500


def test_the_script_counts_if_there_is_no_notebook(tmp_path):
    put(tmp_path, "alice/03_masking/03_masking.py", b"script")
    put(tmp_path, "alice/03_masking/timestamp.txt")
    put(tmp_path, "bob/03_masking/masks.py", b"script")
    assert one(tmp_path) == ("", "03_masking.py", "")
    assert one(tmp_path, "bob")[1:] == ("masks.py", " masks.py was graded: there is no 03_masking.py.")
    put(tmp_path, "alice/03_masking/mine.ipynb")
    assert one(tmp_path)[1] == "mine.ipynb"


def test_a_file_whose_lesson_is_not_known_is_named(tmp_path):
    put(tmp_path, "alice/homework.ipynb")
    assert {row[0] for row in submissions(tmp_path, *LESSONS).values()} == {"missing"}
    assert collect(tmp_path, list(LESSONS)).ignored == ["alice/homework.ipynb: its name tells no lesson"]


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        ("2026-11-01 23:10:00.123456 UTC", "2026-11-01T23:10:00+00:00"),
        ("2026-11-01 23:10:00 UTC\n", "2026-11-01T23:10:00+00:00"),
        ("2026-11-01T23:10:00Z", "2026-11-01T23:10:00+00:00"),
        ("2026-11-01 23:10:00+01:00", "2026-11-01T23:10:00+01:00"),
        ("2026-11-01 23:10:00", "2026-11-01T23:10:00+00:00"),
        ("yesterday", "2020-01-02T00:00:00+00:00"),
        ("0001-01-01 00:00:00+12:00", "2020-01-02T00:00:00+00:00"),  # before the year 1 in UTC
        ("9999-12-31 23:00:00-12:00", "2020-01-02T00:00:00+00:00"),
        ("\udcff" * 10**6, "2020-01-02T00:00:00+00:00"),
        (None, "2020-01-02T00:00:00+00:00"),
    ],
    ids=ascii,
)
def test_when_it_was_handed_in(tmp_path, stamp, expected):
    path = put(tmp_path, "alice/03_masking/03_masking.ipynb")
    os.utime(path, (1577923200, 1577923200))  # 2020-01-02
    if stamp is not None:
        put(tmp_path, "alice/03_masking/timestamp.txt", os.fsencode(stamp))
    [submission] = collect(tmp_path, ["masking"]).submissions(["masking"])
    assert submission.submitted == expected


# What is never opened


def special(path: Path, kind: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "link":
        path.symlink_to("/etc/hostname")
    elif kind == "link to a folder":
        path.symlink_to(path.parents[1] / "victim" / "03_masking")
    elif kind == "broken link":
        path.symlink_to("nowhere")
    elif kind == "pipe":
        os.mkfifo(path)  # to open it would wait for ever
    elif kind == "device":
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero, without end
    else:
        here = os.getcwd()
        os.chdir(path.parent)  # the name of a socket is short
        try:
            socket.socket(socket.AF_UNIX).bind(path.name)
        finally:
            os.chdir(here)


KINDS = ["link", "link to a folder", "broken link", "pipe", "socket", *(["device"] if os.geteuid() == 0 else [])]
SAID = {"link to a folder": "link", "broken link": "link"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["mallory/03_masking/03_masking.ipynb", "mallory/03_masking", "mallory"])
def test_what_is_no_file_is_never_opened(tmp_path, place, kind):
    put(tmp_path, "victim/03_masking/03_masking.ipynb")
    special(tmp_path / place, kind)
    status, _, reason = one(tmp_path, "mallory")
    assert status == "unreadable"
    assert f"a {SAID.get(kind, kind)}" in reason
    assert one(tmp_path, "victim")[0] == ""


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_never_opened_in_a_flat_folder(tmp_path, kind):
    special(tmp_path / "mallory_masking.ipynb", kind)
    put(tmp_path, "victim_masking.ipynb")
    status, _, reason = one(tmp_path, "mallory")
    assert status == "unreadable" and f"a {SAID.get(kind, kind)}" in reason
    assert one(tmp_path, "victim")[0] == ""


def test_a_link_beside_the_notebook_is_not_followed_either(tmp_path):
    put(tmp_path, "victim/03_masking/03_masking.ipynb", b"theirs")
    put(tmp_path, "mallory/03_masking/03_masking.ipynb", b"mine")
    (tmp_path / "mallory/03_masking/timestamp.txt").symlink_to("/etc/hostname")
    (tmp_path / "mallory/masking").symlink_to(tmp_path / "victim/03_masking")
    assert one(tmp_path, "mallory")[0] == "unreadable"
    (tmp_path / "mallory/masking").unlink()
    assert content(tmp_path, "mallory") == b"mine"


def test_permissions(tmp_path):
    for path in (tmp_path, *tmp_path.parents):
        os.chmod(path, os.stat(path).st_mode | 0o055)
    for student in ("alice", "file", "lesson", "whole"):
        put(tmp_path, f"{student}/03_masking/03_masking.ipynb")
    os.chmod(tmp_path / "file/03_masking/03_masking.ipynb", 0)
    os.chmod(tmp_path / "lesson/03_masking", 0)
    os.chmod(tmp_path / "whole", 0)

    def look():
        found = collect(tmp_path, ["masking"])
        for submission in found.submissions(["masking"]):
            try:
                yield submission.student, submission.status or submission.entry.read(), submission.reason
            except Unreadable as error:
                yield submission.student, "unreadable", str(error)

    denied = os.strerror(errno.EACCES).lower()
    assert eval(as_nobody(lambda: list(look()))) == [
        ("alice", NOTEBOOK, ""),
        ("file", "unreadable", f"it can't be opened ({denied})"),
        ("lesson", "unreadable", f"the folder 03_masking is closed to the grader ({denied})."),
        ("whole", "unreadable", f"the student's folder is closed to the grader ({denied})."),
    ]
    os.chmod(tmp_path, 0)
    assert denied in as_nobody(lambda: collect(tmp_path, ["masking"]))
    os.chmod(tmp_path, 0o700)


def test_a_folder_that_changes_while_it_is_graded(tmp_path):
    for student in ("gone", "link", "folder", "lesson", "grown", "same"):
        put(tmp_path, f"{student}/03_masking/03_masking.ipynb")
    found = {s.student: s for s in collect(tmp_path, ["masking"]).submissions(["masking"])}
    place = {student: tmp_path / student / "03_masking" / "03_masking.ipynb" for student in found}
    for student in ("gone", "link", "folder"):
        place[student].unlink()
    place["link"].symlink_to("/etc/hostname")
    place["folder"].mkdir()
    place["lesson"].parent.rename(tmp_path / "moved")
    place["lesson"].parent.symlink_to(tmp_path / "moved")
    place["grown"].write_bytes(b"more")
    for student in ("gone", "link", "folder", "lesson"):
        with pytest.raises(Unreadable):
            found[student].entry.read()
    assert found["grown"].entry.read() == b"more"
    assert found["same"].entry.read() == NOTEBOOK


def test_a_students_folder_that_vanishes_while_it_is_looked_through(tmp_path, monkeypatch):
    put(tmp_path, "alice/03_masking/03_masking.ipynb")
    put(tmp_path, "bob/03_masking/03_masking.ipynb")
    scan = os.scandir

    def vanishing(path):
        if path == tmp_path / "alice":
            (tmp_path / "alice").rename(tmp_path.with_name("elsewhere"))
        return scan(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    rows = submissions(tmp_path, "masking")
    assert [rows[student, "masking"][0] for student in ("alice", "bob")] == ["unreadable", ""]


def test_a_file_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LIMIT", 2**20)
    put(tmp_path, "alice/03_masking/03_masking.ipynb", bytes(2**20 + 1))
    put(tmp_path, "bob/03_masking/03_masking.ipynb", bytes(2**20))
    with pytest.raises(Unreadable, match="more than 1 MB"):
        content(tmp_path)
    assert content(tmp_path, "bob") == bytes(2**20)


def test_a_student_with_too_many_files_is_alone_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FOLDER_LIMIT", 20)
    monkeypatch.setattr(module, "FILES_LIMIT", 40)
    for number in range(50):
        put(tmp_path, f"many/03_masking/{number}.ipynb")
        put(tmp_path, f"data/03_masking/{number}.png")
        put(tmp_path, f"data/photos/{number}.ipynb")
    put(tmp_path, "data/03_masking/03_masking.ipynb")
    assert one(tmp_path, "data")[0] == ""
    assert one(tmp_path, "many")[0::2] == (
        "unreadable",
        "the folder 03_masking is a folder of more than 20 notebooks and scripts.",
    )
    for number in range(50):
        put(tmp_path, f"{number}.txt")
    with pytest.raises(CollectError, match="more than 40"):
        collect(tmp_path, ["masking"])


# Zips


def member(name: str, mode: int = stat.S_IFREG | 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../../etc/cron.d/alice", "points outside"),
        ("mallory/../alice/03_masking/03_masking.ipynb", "points outside"),
        ("..\\alice\\03_masking\\03_masking.ipynb", "points outside"),
        ("/alice/03_masking/03_masking.ipynb", "absolute path"),
        ("C:\\alice\\03_masking\\03_masking.ipynb", "absolute path"),
        ("alice/03_masking/03_masking.ipynb", "second member of the same name"),
        (".", "without a name"),
    ],
)
def test_a_member_of_a_zip_that_leads_elsewhere_is_refused_and_named(tmp_path, name, why):
    with zipfile.ZipFile(tmp_path / "class.zip", "w") as archive, pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # of two members with one name
        archive.writestr(member("alice/03_masking/03_masking.ipynb"), b"hers")
        archive.writestr(member(name), b"evil")
    place = tmp_path / "class.zip"
    assert set(submissions(place, "masking")) == {("alice", "masking")}
    assert content(place) == b"hers"
    [line] = collect(place, ["masking"]).ignored
    assert why in line and (name in line or name == ".")


@pytest.mark.parametrize(("mode", "what"), [(stat.S_IFLNK, "link"), (stat.S_IFIFO, "pipe"), (stat.S_IFCHR, "device")])
@pytest.mark.parametrize("place", ["mallory/03_masking/03_masking.ipynb", "mallory/03_masking", "mallory"])
def test_a_member_of_a_zip_that_is_no_file(tmp_path, place, mode, what):
    with zipfile.ZipFile(tmp_path / "class.zip", "w") as archive:
        archive.writestr(member("alice/03_masking/03_masking.ipynb"), b"hers")
        archive.writestr(member(place, mode | 0o777), b"/etc/passwd")
        archive.writestr(member("alice/photos", mode | 0o777), b"/etc")
    status, _, reason = one(tmp_path / "class.zip", "mallory")
    assert status == "unreadable" and f"a {what}" in reason
    assert content(tmp_path / "class.zip") == b"hers"
    [line] = collect(tmp_path / "class.zip", ["masking"]).ignored
    assert line.startswith("alice/photos: ")


def test_members_of_a_zip_that_are_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LIMIT", 2**20)
    with zipfile.ZipFile(tmp_path / "class.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("alice/03_masking/03_masking.ipynb", b"hers")
        archive.writestr("bomb/03_masking/03_masking.ipynb", bytes(2**22))
        archive.writestr("liar/03_masking/03_masking.ipynb", bytes(2**22))
    data = (tmp_path / "class.zip").read_bytes()
    place = data.rindex(b"liar/") - 46 + 24  # the size that the directory at the end states
    (tmp_path / "class.zip").write_bytes(data[:place] + (10).to_bytes(4, "little") + data[place + 4 :])
    assert one(tmp_path / "class.zip", "bomb")[0::2] == (
        "unreadable",
        "03_masking.ipynb is a member of more than 1 MB.",
    )
    with pytest.raises(Unreadable):
        content(tmp_path / "class.zip", "liar")
    assert content(tmp_path / "class.zip") == b"hers"


def test_a_zip_with_too_many_members(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FILES_LIMIT", 10)
    place = zipped(tmp_path / "class.zip", {f"student{n:02}/03_masking/03_masking.ipynb": b"" for n in range(30)})
    assert len(submissions(place, "masking")) == 10
    [line] = collect(place, ["masking"]).ignored
    assert "student10" in line and "10 members" in line


def test_an_encrypted_and_a_damaged_member(tmp_path):
    place = zipped(tmp_path / "class.zip", {f"{name}/03_masking/03_masking.ipynb": b"x" * 99 for name in "abc"})
    data = bytearray(place.read_bytes())
    data[data.index(b"b/03_masking") + 40] ^= 1
    for start in (data.index(b"c/03_masking") - 30 + 6, data.rindex(b"c/03_masking") - 46 + 8):
        data[start] |= 1  # the flag of encryption, in the member's head and in the directory
    place.write_bytes(data)
    assert content(place, "a") == b"x" * 99
    with pytest.raises(Unreadable, match="can't be unpacked"):
        content(place, "b")
    assert one(place, "c")[0::2] == ("unreadable", "03_masking.ipynb is an encrypted member.")


def test_a_damaged_zip_is_a_sentence_or_the_rest_is_graded(tmp_path):
    whole = zipped(tmp_path / "class.zip", {f"{name}/03_masking/03_masking.ipynb": NOTEBOOK for name in "abc"})
    data, numbers = whole.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(400):
        damaged = bytearray(data[: numbers.choice((len(data), numbers.randrange(len(data))))])
        for _ in range(numbers.randrange(8)):
            damaged[numbers.randrange(len(damaged))] = numbers.randrange(256)
        whole.write_bytes(damaged)
        try:
            for submission in collect(whole, ["masking"]).submissions(["masking"]):
                if not submission.status:
                    submission.entry.read()
        except Unreadable:
            pass
        except CollectError as error:
            refused += 1
            assert "\n" not in str(error)
    assert 0 < refused < 400


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda place: None, "there is no"),
        (lambda place: place.write_text("no zip"), "neither a folder nor a zip"),
        (lambda place: place.mkdir(), "holds no submission"),
        (lambda place: put(place, ".hidden/03_masking/03_masking.ipynb"), "holds no submission"),
        (lambda place: zipped(place, {}), "holds no submission"),
    ],
    ids=["absent", "a text", "empty", "hidden", "empty zip"],
)
def test_a_place_without_submissions_is_a_sentence(tmp_path, make, why):
    make(tmp_path / "class")
    with pytest.raises(CollectError, match=why):
        collect(tmp_path / "class", ["masking"])
