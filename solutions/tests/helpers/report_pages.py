"""What the reports write for a class, and a reader of its pages."""

import json
import re
import unicodedata
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from checks.grader.changes import NAME as POINTS
from checks.grader.reports.outputs import write_outputs
from checks.grader.settled import SettledRow

ABOUT = {
    "course": "Build I-JEPA",
    "started": "2026-11-24 10:00 UTC",
    "tier": "bubblewrap",
    "promises": ["No network.", "No sight of other submissions, of grades, or of the reference."],
    "limits": {"wall clock": "20 s a lesson, 60 s for training", "memory": "2 GB"},
    "ignored": ["__MACOSX", ".DS_Store"],
}


class Page(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.data: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.data.append(data)

    @property
    def text(self) -> str:
        return "".join(self.data)


def table_after(report: str, anchor: str) -> list[list[str]]:
    """The texts of the cells of the first table after an id."""
    body = report[report.index(f'id="{anchor}"') :]
    body = body[body.index("<tbody>") : body.index("</tbody>")]
    lines = [re.split("<t[dh]", line)[1:] for line in body.split("<tr")[1:]]
    return [[Page(f"<td{cell}").text.strip() for cell in line] for line in lines]


def written_class(rows: Iterable[SettledRow], out: Path, **about: Any) -> dict[str, str]:
    """All files that people read, by their paths; none has a character that does more than stand there."""
    write_outputs(rows, out, ABOUT | about)
    paths = [path for path in sorted(out.rglob("*")) if path.is_file() and path.name != POINTS]
    files = {str(path.relative_to(out)): path.read_bytes().decode("utf-8-sig") for path in paths}
    for name, text in files.items():
        text = json.dumps(json.loads(text), ensure_ascii=False) if name.endswith("json") else text
        assert not [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")], name
    return files
