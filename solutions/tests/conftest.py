"""Options of the course's own tests, and fixtures that several of them use."""

from pathlib import Path

import pytest

import lessons

OPTIONAL = ("browser", "oracles")


def pytest_addoption(parser):
    parser.addoption("--browser", action="store_true", help="run test_browser*.py, which need chromium and playwright")
    parser.addoption("--oracles", action="store_true", help="run test_oracles.py, which needs transformers and timm")
    parser.addoption("--book", metavar="FOLDER", help="the book that test_browser_book.py opens")


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
