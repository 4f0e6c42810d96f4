"""The ways of installing the course name what is there, and what Windows lacks no learner needs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/course.yml").read_text(encoding="utf-8"))


def commands() -> list[str]:
    return [step["run"] for job in WORKFLOW["jobs"].values() for step in job["steps"] if "run" in step]


def test_the_workflow_runs_scripts_that_are_there_in_every_lane_they_know():
    scripts = set(re.findall(r"\.ci/\w+", "\n".join(commands())))
    assert scripts == {".ci/run", ".ci/install", ".ci/book"}
    for script in scripts:
        assert os.access(ROOT / script, os.X_OK), script
        assert subprocess.run(["bash", "-n", ROOT / script]).returncode == 0
    lanes = re.search(r"usage: \.ci/install ([\w|]+)", (ROOT / ".ci/install").read_text(encoding="utf-8")).group(1)
    used = {"pip", *WORKFLOW["jobs"]["lanes"]["strategy"]["matrix"]["lane"]}
    assert set(lanes.split("|")) == used


def test_an_unknown_lane_is_refused_with_those_that_there_are():
    done = subprocess.run([ROOT / ".ci/install", "conda"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "usage: .ci/install pip|uv|oldest\n")


def test_the_oldest_python_is_the_one_that_the_course_asks_for():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    oldest = re.search(r'requires-python = ">=([\d.]+)"', project).group(1)
    assert f"--python {oldest} " in (ROOT / ".ci/install").read_text(encoding="utf-8")
    assert oldest in WORKFLOW["jobs"]["learner"]["strategy"]["matrix"]["python"]


def test_the_devcontainer_installs_the_course():
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    assert "pip install --user -r requirements.txt" in container["postCreateCommand"]


def test_the_citation_has_what_the_format_asks_for():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation) and citation["cff-version"] == "1.2.0"
    assert f'version = "{citation["version"]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


# What Python has under Linux and macOS only. The libraries are imported first: they look for the system then.
AS_UNDER_WINDOWS = """
import asyncio, os, signal, subprocess, sys
import matplotlib.pyplot, pytest, torch, torch._dynamo, tqdm.auto, PIL.Image
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
for name in ("fork", "getuid", "geteuid", "killpg", "sched_getaffinity", "setsid", "uname", "wait", "waitid"):
    vars(os).pop(name, None)
for name in ("SIGALRM", "SIGHUP", "SIGKILL", "SIGUSR1", "ITIMER_REAL", "alarm", "setitimer"):
    vars(signal).pop(name, None)
from solutions.train import main
assert pytest.main(["checks/test_03_masking.py", "--solutions", "-q", "-p", "no:cacheprovider"]) == 0
assert pytest.main(["checks", "--watch"]) == pytest.ExitCode.USAGE_ERROR
assert main(["--steps", "1", "--batch-size", "2", "--image-size", "96", "--out", sys.argv[1]]) == 0
sys.platform = "win32"
import checks.grade
"""


def test_checks_and_training_need_nothing_that_windows_lacks_and_the_grader_says_what_it_needs(tmp_path):
    command = [sys.executable, "-c", AS_UNDER_WINDOWS, str(tmp_path / "run")]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert "--watch needs Linux or macOS" in done.stdout + done.stderr
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        "grading a class needs Linux or macOS: under Windows, run it in WSL.",
    ), done.stdout + done.stderr
    assert (tmp_path / "run" / "report.md").is_file()
