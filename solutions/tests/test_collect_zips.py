"""Zips of a class with members that lead elsewhere, are no files, too large, too many, encrypted or damaged."""

import random
import stat
import zipfile

import pytest

from checks.grader import zips as module
from checks.grader.collect import CollectError, collect
from checks.grader.entries import Unreadable
from solutions.tests.helpers.class_folders import NOTEBOOK, content, one, submissions, zipped


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
    monkeypatch.setattr(module, "NOTEBOOK_LIMIT", 2**20)
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
    monkeypatch.setattr(module, "CLASS_FILES", 10)
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
