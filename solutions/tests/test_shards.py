"""A class in parts, as jobs of Slurm and as tasks of Dask: joined, they are the class."""

import csv
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from checks import grade
from checks.tool.exercise import catalogue
from solutions.classroom.shards_dask import grade_parts
from solutions.misconceptions import exercises, stub
from solutions.tests.helpers.notebooks import ROOT, cells_of, notebook, put

SLURM = ROOT / "solutions" / "classroom" / "shards.slurm"
REST = ["--lesson", "teacher", "--trusted"]
WORTH = sum(catalogue()["teacher"].values())
POINTS = {f"student{number}": WORTH if number % 2 else 0 for number in range(4)}


@pytest.fixture
def place(tmp_path) -> Path:
    stubs = {name: stub(cell) for name, cell in exercises("teacher").items()}
    for student, points in POINTS.items():
        put(tmp_path / "class", student, "teacher", notebook(cells_of("teacher", **({} if points else stubs))))
    return tmp_path / "class"


def joined(parts: Path, out: Path) -> dict[str, int]:
    """The points of each student after --merge, and every part has some of them."""
    folders = sorted(parts.iterdir())
    assert [folder.name for folder in folders] == ["part1", "part2"]
    assert all((folder / "record.jsonl").stat().st_size for folder in folders)
    assert grade.main(["--merge", *map(str, folders), "--out", str(out)]) == 0
    with (out / "grades.csv").open(newline="", encoding="utf-8-sig") as file:
        return {row["student"]: int(row["points"]) for row in csv.DictReader(file)}


def test_the_jobs_of_a_slurm_array_are_the_class(place, tmp_path):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for number in (1, 2):  # what Slurm sets
        facts = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_CPUS_PER_TASK": "1"}
        command = ["bash", SLURM, place, tmp_path / "parts", "7", *REST]
        environment = os.environ | facts | {"PATH": path, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert joined(tmp_path / "parts", tmp_path / "grades") == POINTS


def test_the_settings_of_the_array_stand_before_its_commands():
    lines = SLURM.read_text().splitlines()
    assert lines[0].startswith("#!") and os.access(SLURM, os.R_OK)
    settings = [number for number, line in enumerate(lines) if line.startswith("#SBATCH")]
    assert settings and settings[-1] < lines.index("set -euo pipefail")
    assert "#SBATCH --array=1-8" in lines  # from 1 on, as --shard counts


def test_the_tasks_of_an_executor_are_the_class(place, tmp_path, capsys):
    with ThreadPoolExecutor(1) as executor:
        assert grade_parts(executor, place, tmp_path / "parts", 7, 2, [*REST, "--jobs", "1"]) == 0
    assert capsys.readouterr().out == "part 1 of 2: done\npart 2 of 2: done\n"
    assert joined(tmp_path / "parts", tmp_path / "grades") == POINTS


def test_a_part_that_fails_is_said(tmp_path, capsys):
    with ThreadPoolExecutor(1) as executor:
        assert grade_parts(executor, tmp_path / "absent", tmp_path / "parts", 7, 1, []) == 1
    assert "part 1 of 1: there is no" in capsys.readouterr().out
