"""Options of the course's own tests, and fixtures that several of them use."""

import os
import signal
from pathlib import Path

import pytest

import lessons

OPTIONAL = ("browser", "oracles")
PROCESSES = 2  # of `pytest solutions`: continuous integration has two cores


def pytest_addoption(parser):
    parser.addoption("--browser", action="store_true", help="run test_browser*.py, which need chromium and playwright")
    parser.addoption("--oracles", action="store_true", help="run test_oracles.py, which needs transformers and timm")
    parser.addoption("--book", metavar="FOLDER", help="the book that test_browser_book.py opens")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Let the files of a folder, as in `pytest solutions`, be shared by processes of one thread each (pytest-xdist): on
    two cores they take half the time. The tests of a file share fixtures, and stay together."""
    if config.option.usepdb or hasattr(config, "workerinput"):  # a debugger wants one process; this is one of several
        return
    if config.getoption("numprocesses", 0) is None and any(Path(name).is_dir() for name in config.args):
        config.option.numprocesses = PROCESSES
    if config.getoption("numprocesses", 0) and config.option.dist == "no":
        config.option.dist = "loadfile"
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_configure() -> None:
    # a shell's background jobs start with it ignored, and so would the processes that tests press Ctrl-C for
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(collection_path: Path, config) -> bool | None:
    """What needs more than the course's packages, such as a browser, is asked for by name."""
    name = collection_path.name
    optional = any(name.startswith(f"test_{option}") and not config.getoption(option) for option in OPTIONAL)
    return True if optional else None


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of lessons, in use."""
    monkeypatch.delenv("IJEPA_LESSONS", raising=False)
    lessons.use(tmp_path)
    yield tmp_path
    lessons.use()
