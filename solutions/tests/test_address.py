"""`python -m solutions.release --repository`: a notebook that is alone finds the course, or says what to do."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from lessons import LESSONS, folder_name
from solutions.classroom.address import AddressError, badges, checked, of_origin, public, recorded, set_up, written_down
from solutions.release import main
from solutions.tests.helpers.course_copy import copy_course
from solutions.tests.helpers.course_lessons import lesson_of_the_course

ROOT = Path(__file__).parents[2]
PAGE = "# C\n\n| lesson | minutes |\n| --- | --- |\n| [1 a](lessons/01_a/01_a.ipynb) | 75 |\n"
# The cells of a notebook in turn, until one fails
CELLS = """
import nbformat
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
    if cell.cell_type == "code":
        result = shell.run_cell(cell.source)
        if not result.success:
            raise SystemExit(f"{cell.source}\\n\\n{result.error_in_exec}")
"""
WITHOUT_THE_COURSE = f"""
import os, sys
sys.meta_path[:] = [f for f in sys.meta_path if not getattr(f, "__module__", "").startswith("__editable__")]
sys.path[:] = [place for place in sys.path if os.path.realpath(place or ".") != {str(ROOT.resolve())!r}]
"""


def git(folder: Path, *command: str) -> None:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", *identity, *command], cwd=folder, check=True, capture_output=True)


def python(code: str, folder: Path) -> subprocess.CompletedProcess:
    """Run code in a folder, without the course that this environment has."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"MPLBACKEND": "agg"}
    command = [sys.executable, "-c", WITHOUT_THE_COURSE + code]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """The course as a git repository, with its photographs."""
    course = copy_course(tmp_path_factory.mktemp("repository") / "course")
    shutil.copytree(ROOT / "data", course / "data", ignore=shutil.ignore_patterns("__pycache__", "cifar10"))
    git(course, "init")
    git(course, "add", "-A")
    git(course, "commit", "-m", "All")
    return course


def write_lesson(name: str, folder: Path, address: str) -> Path:
    """A solved lesson with this address, as it is uploaded alone."""
    notebook = lesson_of_the_course(name).solved
    notebook.cells[0].source = set_up(name, address)
    path = folder / f"{folder_name(name)}.ipynb"
    nbformat.write(notebook, path)
    return path


def test_a_lesson_alone_fetches_the_course_and_goes_on(repository, tmp_path):
    notebook = write_lesson("masking", tmp_path, repository.as_uri())
    done = python(CELLS.replace("NOTEBOOK", repr(str(notebook))), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "sample_masks: " in done.stdout and "failed" not in done.stdout
    assert "Borrowed from the reference: patchify" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {notebook.name, "build-i-jepa"}


def test_the_fetched_course_is_fetched_once_and_found_from_within(repository, tmp_path):
    """A second kernel needs no network; nor does a notebook that lies in the course and has a kernel of elsewhere."""
    nowhere = set_up("patch_embedding", (tmp_path / "nowhere").as_uri())
    fetched = tmp_path / "build-i-jepa"
    git(tmp_path, "clone", "--quiet", str(repository), str(fetched))
    for folder in (tmp_path, fetched / "lessons" / "03_masking"):
        done = python(f"{nowhere}\nimport lessons\nprint('course:', lessons.__file__)", folder)
        assert f"course: {fetched / 'lessons' / '__init__.py'}" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("has_git", [True, False])
def test_what_cannot_be_fetched_is_said_in_a_sentence(tmp_path, monkeypatch, has_git):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "lessons", None)
    if not has_git:
        monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit) as raised:
        exec(set_up("masking", (tmp_path / "nowhere").as_uri()), {})
    said = str(raised.value).splitlines()
    assert said[0].startswith("The rest of the course can't be fetched with git: ")
    assert ("nowhere" if has_git else "'git'") in str(raised.value)
    assert any("Internet on" in line for line in said)
    assert list(tmp_path.iterdir()) == []


def test_a_course_without_an_address_says_what_to_do_and_has_no_placeholder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "lessons", None)
    cell = set_up("masking", "")
    with pytest.raises(SystemExit, match=r"(?s)On your own machine: open .*On Colab or Kaggle: upload lessons/"):
        exec(cell, {})
    assert not re.search(r"ADDRESS|OWNER|<\w+>|\.\.\.|://", cell)


# Which address


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://github.com/ada/course.git", "https://github.com/ada/course"),
        ("https://github.com/ada/course/", "https://github.com/ada/course"),
        ("https://ada:secret@github.com/ada/course", "https://github.com/ada/course"),
        ("git@github.com:ada/course.git", "https://github.com/ada/course"),
        ("ssh://git@git.example.org:2222/lab/ada/course.git", "https://git.example.org/lab/ada/course"),
        ("http://git.example.org:3000/ada/course", "http://git.example.org:3000/ada/course"),
        ("/home/ada/course", ""),
        ("../course", ""),
        ("file:///home/ada/course", ""),
        ("", ""),
    ],
)
def test_a_remote_is_told_as_anyone_can_fetch_it(tmp_path, remote, address):
    assert public(remote) == address
    git(tmp_path, "init")
    if remote:
        git(tmp_path, "remote", "add", "origin", remote)
    assert of_origin(tmp_path) == address
    (tmp_path / "course").mkdir()
    assert of_origin(tmp_path / "course") == ""  # it lies within the repository, and is not it


def test_without_git_there_is_no_origin(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert of_origin(tmp_path) == ""


@pytest.mark.parametrize("address", ["", " ", "two words", '"', "--upload-pack=x", "a\nb", "$(x)", "`x`"])
def test_what_is_no_address_is_refused_with_what_to_give(address):
    with pytest.raises(
        AddressError, match=r"is no address of a repository: give one such as https://host/owner/course"
    ):
        checked(address)


@pytest.mark.parametrize("address", ["https://github.com/ada/course", "git@host:ada/course.git", "file:///a/b", "/a/b"])
def test_what_git_can_fetch_is_taken(address):
    assert checked(f" {address}\n") == address


# Where it is written down


@pytest.fixture
def course(tmp_path) -> Path:
    (tmp_path / "README.md").write_text(PAGE)
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    return tmp_path


def put(files: dict[Path, bytes]) -> None:
    for path, content in files.items():
        path.write_bytes(content)


def test_the_address_is_recorded_once_and_replaced_and_taken_out(course):
    before = {path: path.read_bytes() for path in course.iterdir()}
    for address in ("https://github.com/ada/course", "https://github.com/bob/course"):
        put(written_down(course, address))
        put(written_down(course, address))
        assert recorded(course) == address
        text = (course / "pyproject.toml").read_text()
        assert text.count("[project.urls]") == 1 and text.count(address) == 1
        page = (course / "README.md").read_text()
        assert page.count("[![open in Colab]") == page.count("[![open in Kaggle]") == 1
        owner = address.removeprefix("https://github.com/")
        assert f"https://colab.research.google.com/github/{owner}/blob/main/lessons/01_a/01_a.ipynb" in page
    put(written_down(course, ""))
    assert {path: path.read_bytes() for path in before} == before


def test_only_what_colab_can_open_has_a_badge():
    assert badges("lessons/01_a/01_a.ipynb", "git@github.com:ada/course.git").count("](https://") == 4
    assert badges("lessons/01_a/01_a.ipynb", "https://git.example.org/ada/course") == ""
    assert badges("lessons/01_a/01_a.ipynb", "https://github.com/ada") == ""


def test_the_readme_has_a_row_for_each_lesson(tmp_path):
    for name in ("README.md", "pyproject.toml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    put(written_down(tmp_path, "https://github.com/ada/course"))
    page = (tmp_path / "README.md").read_text()
    for name in LESSONS:
        notebook = f"lessons/{folder_name(name)}/{folder_name(name)}.ipynb"
        assert page.count(f"https://colab.research.google.com/github/ada/course/blob/main/{notebook})") == 1
        assert page.count(f"src=https://github.com/ada/course/blob/main/{notebook})") == 1


def test_the_command_refuses_what_is_no_address(capsys):
    assert main(["--check", "--repository", "two words"]) == 1
    assert capsys.readouterr().err == (
        "'two words' is no address of a repository: give one such as https://host/owner/course\n"
    )
