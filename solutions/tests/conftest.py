"""Options of the course's own tests, and fixtures that several of them use."""

from pathlib import Path

import pytest

import lessons


def pytest_addoption(parser):
    parser.addoption("--browser", action="store_true", help="run test_browser*.py, which need chromium and playwright")
    parser.addoption("--book", metavar="FOLDER", help="the book that test_browser_book.py opens")


def pytest_ignore_collect(collection_path: Path, config) -> bool | None:
    """The browser tests need a browser, which not every machine has: they are asked for by name."""
    return True if collection_path.name.startswith("test_browser") and not config.getoption("--browser") else None


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of lessons, in use."""
    monkeypatch.delenv("IJEPA_LESSONS", raising=False)
    lessons.use(tmp_path)
    yield tmp_path
    lessons.use()
