"""Options of the course's own tests."""

from pathlib import Path


def pytest_addoption(parser):
    parser.addoption("--browser", action="store_true", help="run test_browser*.py, which need chromium and playwright")


def pytest_ignore_collect(collection_path: Path, config) -> bool | None:
    """The browser tests need a browser, which not every machine has: they are asked for by name."""
    return True if collection_path.name.startswith("test_browser") and not config.getoption("--browser") else None
