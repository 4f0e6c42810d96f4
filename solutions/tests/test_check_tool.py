"""`pytest checks`, `check(name)` and what they say: comparisons, the door to the learner's code, options, the map."""

import json
import linecache
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

import lessons
from checks import check
from checks.tool.clock import Clock
from checks.tool.exercise import catalogue, checks_by_exercise, checks_of
from checks.tool.expect import Failure, expect_close, expect_equal, expect_gradients
from checks.tool.learner import Learner, Todo, run_check
from solutions.misconceptions import exercises, load, stub

ROOT = Path(__file__).parents[2]


def said(got, expected, **how) -> str:
    """The failure's text, line breaks as spaces."""
    with pytest.raises(Failure) as failure:
        expect_close(got, expected, called="f()", **how)
    return " ".join(str(failure.value).split())


@pytest.mark.parametrize(
    ("got", "expected", "words"),
    [
        ((2, 16, 48), (2, 48, 16), "the last two axes are swapped"),
        ((16, 2, 48), (2, 16, 48), "the first two axes are swapped"),
        ((48, 16, 2), (2, 16, 48), "axes 0 and 2 are swapped"),
        ((48, 2, 16), (2, 16, 48), "the axes stand in another order"),
        ((16, 48), (2, 16, 48), "the first axis (of size 2) is missing"),
        ((1, 16, 48), (16, 48), "the first axis (of size 1) is too many"),
        ((2, 17, 48), (2, 16, 48), "axis 1 has 17 entries in place of 16"),
        ((2, 768), (2, 16, 48), "the right number of values in another shape"),
        ((2, 1), (2,), "the last axis (of size 1) is too many"),
        ((1, 3), (2, 3), "the first axis has 1 entries in place of 2"),
        ((), (2,), "the first axis (of size 2) is missing"),
    ],
)
def test_a_wrong_shape_is_said_in_words_and_never_broadcast(got, expected, words):
    text = said(torch.zeros(got), torch.zeros(expected))
    assert f"expected {list(expected)} got {list(got)}: {words}" in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x * 0, "Everything is 0."),
        (lambda x: -x, "opposite sign"),
        (lambda x: 8 * x, "8 times what it should be"),
        (lambda x: x + 3, "off by the same 3"),
        (lambda x: x.flip(0), "they stand in another order"),
        (lambda x: torch.full_like(x, 5), "Every value is the same, 5"),
        (lambda x: x / 0 - x / 0, "NaN"),
        (lambda x: x / 0, "infinity"),
        (lambda x: x.double(), "expected the dtype float32 got float64"),
        (lambda x: x.tolist(), "got a list likely One tensor is asked for"),
        (lambda x: None, "Is the `return` missing?"),
    ],
)
def test_a_pattern_in_the_values_is_named(change, words):
    expected = torch.randn(40, 3)
    assert words in said(change(expected), expected)


def test_large_boolean_tensors_compare():
    with pytest.raises(Failure, match="1 of 196 values differ"):
        expect_equal(torch.zeros(14, 14).bool(), torch.arange(196).view(14, 14) == 5, called="f()")


def test_an_operator_that_torch_lacks_is_no_stub():
    with pytest.raises(Failure, match="NotImplementedError"):
        Learner(lesson_with("def mean(x):\n    return x | x\n"), 0)(mean_of, torch.ones(3))


def test_a_name_that_is_missing_is_explained(tmp_path, request):
    request.addfinalizer(lessons.use)
    lessons.use(tmp_path)
    path = tmp_path / "01_patch_embedding" / "01_patch_embedding.py"
    path.parent.mkdir()
    path.write_text("# %%\nWIDTH = 1 / 0\n\n# %%\ndef answer():\n    return WIDTH\n")
    with pytest.raises(Failure, match=r"(?s)WIDTH.*division by zero"):
        Learner(lessons.load_lesson("patch_embedding"), 0)(answer_of)


def test_the_place_of_the_largest_difference_is_shown():
    expected = torch.ones(3, 5)
    got = expected.clone()
    got[1, 2], got[2, 4] = 3, -7
    assert "[3, 5] with 1 at [2, 4] got -7 there" in said(got, expected)
    assert "2 of 15 values differ" in said(got, expected)


def test_a_known_mistake_is_named_before_anything_else():
    expected = torch.randn(4, 4)
    mistakes = {"It is turned.": expected.T, "It has another shape.": torch.Size([2, 8])}
    assert "likely It is turned." in said(expected.T, expected, mistakes=mistakes, likely="Something else.")
    assert "likely It has another shape." in said(torch.zeros(2, 8), expected, mistakes=mistakes)
    assert "likely Something else." in said(torch.randn(4, 4), expected, mistakes=mistakes, likely="Something else.")


@pytest.mark.parametrize(
    ("got", "expected"),
    [(0.5, 0.25), ("a", "b"), (True, 1), ([1, 2], [1, 3]), ([1], [1, 2]), ({"a": 1}, {"b": 1}), (1, 1.5), (None, 0)],
)
def test_plain_values_are_compared_exactly(got, expected):
    expect_equal(expected, expected, called="f()")
    assert "expected" in said(got, expected, rtol=0, atol=0)


def test_a_tensor_within_the_tolerance_passes():
    expected = torch.tensor([1.0, float("nan"), float("inf")])
    expect_close(expected + 1e-6, expected, called="f()")
    assert "differ" in said(torch.ones(20), torch.full((20,), 1.01))


def answer_of(lesson):
    return lesson.answer()


def mean_of(lesson, values):
    """the mean of {values}"""
    return lesson.mean(values)


def lesson_with(code: str) -> ModuleType:
    lesson = ModuleType("lessons.made_up")
    exec(compile(code, "<made up>", "exec"), vars(lesson))
    linecache.cache["<made up>"] = (len(code), None, code.splitlines(keepends=True), "<made up>")
    return lesson


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import pytest; pytest.skip('no thanks')", "Skipped: no thanks"),
        ("import pytest; pytest.exit('bye')", "Exit: bye"),
        ("return 1 / 0", "ZeroDivisionError: division by zero"),
        ("return nobody", "NameError: name 'nobody' is not defined"),
        ("return answer()", "RecursionError"),
        ("return torch.nn.Parameter", "NotPlain"),
        ("return type('Sly', (torch.Tensor,), {'__eq__': lambda a, b: True})([1.0])", "class Sly"),
        ("return type('Sly', (float,), {'__eq__': lambda a, b: True})(1.0)", "class Sly"),
        ("return torch.eye(3).to_sparse()", "layout torch.sparse_coo"),
        ("return torch.nn.Module()(1)", "NotImplementedError: Module [Module] is missing"),
    ],
)
def test_whatever_the_learners_code_raises_is_a_failure(body, words):
    lesson = lesson_with(f"import torch\ndef answer():\n    {body}\n")
    with pytest.raises(Failure, match=re.escape(words)):
        Learner(lesson, 0)(answer_of)


def test_a_stub_is_todo_and_a_subclass_of_its_error_is_not():
    with pytest.raises(Todo, match="answer isn't written yet"):
        Learner(lesson_with("def answer():\n    raise NotImplementedError()\n"), 0)(answer_of)
    code = "class Mine(NotImplementedError):\n    pass\ndef answer():\n    raise Mine('x')\n"
    with pytest.raises(Failure, match="Mine: x"):
        Learner(lesson_with(code), 0)(answer_of)


def test_inputs_and_results_are_copies():
    lesson = lesson_with("kept = []\ndef mean(x):\n    kept.append(x)\n    x.zero_()\n    return x.requires_grad_()\n")
    values = torch.ones(3)
    got = Learner(lesson, 0)(mean_of, values)
    lesson.kept[0].data.fill_(7)
    assert values.tolist() == [1, 1, 1]
    assert got.tolist() == [0, 0, 0]
    assert not got.requires_grad


def test_global_state_is_put_back():
    code = (
        "import torch, random\ndef answer():\n    torch.set_grad_enabled(False)\n    torch.set_num_threads(3)\n"
        "    torch.set_default_dtype(torch.float64)\n    return [torch.rand(()), random.random()]\n"
    )
    before = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    state = torch.get_rng_state()
    first, again, other = (Learner(lesson_with(code), seed)(answer_of) for seed in (1, 1, 2))
    assert (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()) == before
    assert torch.equal(torch.get_rng_state(), state)
    assert first == again != other


def test_output_is_kept_out_of_the_way_and_bounded(capfd):
    code = (
        "import sys, warnings\ndef answer():\n    print('x' * 10**6)\n    print('to stderr', file=sys.stderr)\n"
        "    warnings.warn('careful')\n    return 1\n"
    )
    learner = Learner(lesson_with(code), 0)
    assert learner(answer_of) == 1
    assert 1000 <= len(learner.output) <= 10_000
    assert capfd.readouterr() == ("", "")


def test_only_the_learners_own_lines_are_shown():
    lesson = lesson_with("import torch\ndef mean(x):\n    return torch.nn.functional.softmax(x, dim=5)\n")
    learner = Learner(lesson, 0)
    with pytest.raises(Failure, match=r"called +the mean of \[3\]"):
        learner(mean_of, torch.ones(3))
    assert learner.frames == ("made up, line 3: return torch.nn.functional.softmax(x, dim=5)",)


def test_a_function_that_cannot_be_sent_by_name_is_refused():
    with pytest.raises(TypeError, match="top of a file in calls/"):
        Learner(lesson_with(""), 0)(lambda lesson: 1)


def test_a_check_that_breaks_is_not_the_learners_failure():
    def test_broken(learner):
        """Breaks."""
        raise KeyError("ours")

    test_broken.exercise, test_broken.points = "answer", 1
    verdict = run_check(test_broken, Learner(lesson_with(""), 0))
    assert verdict.status == "broken"
    assert "KeyError" in verdict.page


def test_checks_are_grouped_by_exercise_in_the_order_of_the_page():
    for lesson, points in catalogue().items():
        groups = checks_by_exercise(lesson)
        assert list(groups) == list(points)
        assert [check for checks in groups.values() for check in checks] == checks_of(lesson)
        for name, checks in groups.items():
            assert {check.exercise for check in checks} == {name}
            assert sum(check.points for check in checks) == points[name]


HINTS = """## Exercise 1.2: unpatchify
<details><summary>Hint 1</summary>
Count the axes.
</details>
<details><summary>Hint 2</summary>
Split, permute, join.
</details>
<details><summary>Hint 3</summary>
Six axes in between.
</details>
"""
COLUMN_MAJOR = ("permute(0, 2, 4, 1, 3, 5)", "permute(0, 4, 2, 1, 3, 5)")


@pytest.fixture
def folder(tmp_path) -> Path:
    """Lessons of which only the first is there: patchify is wrong, unpatchify a stub, the rest right."""
    own = exercises("patch_embedding")
    code = ["import torch\nfrom torch import Tensor, nn", *own.values()]
    code[1], code[2] = code[1].replace(*COLUMN_MAJOR), stub(code[2])
    cells = [{"cell_type": "markdown", "metadata": {}, "source": HINTS}]
    cells += [{"cell_type": "code", "metadata": {}, "outputs": [], "source": source} for source in code]
    path = tmp_path / "01_patch_embedding" / "01_patch_embedding.ipynb"
    path.parent.mkdir()
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8")
    yield tmp_path
    lessons.use()


@pytest.fixture
def run(capsys, tmp_path):
    """pytest in this process, on the checks of lesson 1: (exit status, output)."""

    def run_pytest(*options: str) -> tuple[int, str]:
        file = str(ROOT / "checks" / "test_01_patch_embedding.py")
        status = pytest.main(["-o", f"cache_dir={tmp_path / 'cache'}", f"--rootdir={ROOT}", file, *options])
        out, err = capsys.readouterr()
        return int(status), out + err

    return run_pytest


def test_a_run_that_passes_ends_with_0_and_a_full_map(run):
    status, out = run("--solutions")
    assert status == 0
    assert "01_patch_embedding       [########################] 4/4" in out
    assert "next:" not in out


def test_a_run_that_does_not_pass_explains_and_points_on(run, folder):
    status, out = run("--lessons", str(folder))
    assert status == 1
    assert re.search(r"called .*expected .*got .*likely +The patches run down the columns", out, re.DOTALL)
    assert "4 todo" in out
    assert "01_patch_embedding       [############............] 2/4" in out
    assert re.search(r"^next: patchify, in .*01_patch_embedding.ipynb, cell 2$", out, re.MULTILINE)
    assert "Traceback" not in out
    assert "expect_equal" not in out
    assert out.isascii()


def test_a_seed_repeats_a_run(run, folder):
    first, again, other = (
        re.findall(r"^got.*", run("--lessons", str(folder), "--seed", seed)[1], re.M) for seed in "112"
    )
    assert first == again != other


def test_one_exercise_can_be_asked_for(run, folder):
    assert run("--lessons", str(folder), "-k", "PatchEmbedding")[0] == 0
    assert run("--lessons", str(folder), "-k", "unpatchify")[0] == 1


def test_hints_without_pytests_cache(run, folder):
    status, out = run("--lessons", str(folder), "--hint", "unpatchify", "-p", "no:cacheprovider")
    assert status == 0
    assert all(words in out for words in ("Count the axes.", "Split, permute, join.", "Six axes in between."))


def test_the_map_of_several_processes(run, folder, capsys):
    """What pytest-xdist does: each process collects all checks and runs some, and its output is plain data."""
    page = str(ROOT / "checks" / "test_01_patch_embedding.py")

    class Worker:
        def __init__(self, *chosen: str):
            self.chosen, self.workeroutput = chosen, {}

        def pytest_configure(self, config):
            config.workeroutput = self.workeroutput

        def pytest_runtest_protocol(self, item):
            return None if item.function.exercise in self.chosen else True

    class Controller:
        @pytest.hookimpl(trylast=True)
        def pytest_collection_modifyitems(self, config, items):
            items.clear()
            for worker in workers:
                node = SimpleNamespace(config=config, workeroutput=json.loads(json.dumps(worker.workeroutput)))
                config.hook.pytest_testnodedown(node=node, error=None)

        def pytest_addhooks(self, pluginmanager):
            pluginmanager.add_hookspecs(SimpleNamespace(pytest_testnodedown=lambda node, error: None))

    workers = [Worker("patchify", "unpatchify"), Worker("PatchEmbedding", "sincos_position_embedding")]
    arguments = [page, f"--rootdir={ROOT}", "-p", "no:cacheprovider", f"--lessons={folder}"]
    for worker in workers:
        pytest.main(arguments, [worker])
    capsys.readouterr()
    pytest.main(arguments, [Controller()])
    out = capsys.readouterr().out
    assert "01_patch_embedding       [############............] 2/4" in out
    assert "next: patchify, in " in out


def test_hints_come_one_by_one(run, folder):
    found = [run("--lessons", str(folder), "--hint", "unpatchify") for _ in range(4)]
    assert [status for status, _ in found] == [0] * 4
    words = ("Count the axes.", "Split, permute, join.", "Six axes in between.", "Six axes in between.")
    assert all(word in out for word, (_, out) in zip(words, found, strict=True))
    assert "Split" not in found[0][1]


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(run, folder):
    status, out = run("--lessons", str(folder), "--hint", "Unpatchfy")
    assert (status, "do you mean 'unpatchify'?" in out) == (pytest.ExitCode.USAGE_ERROR, True)
    status, out = run("--lessons", str(folder), "-k", "patchembeding")
    assert (status, "do you mean PatchEmbedding?" in out) == (pytest.ExitCode.NO_TESTS_COLLECTED, True)
    assert "do you mean" not in run("--lessons", str(folder), "-k", "patchify")[1]


def test_the_name_of_an_exercise_selects_its_checks_alone(run, folder):
    out = run("--lessons", str(folder), "-k", "patchify", "--collect-only", "-q")[1]
    assert set(re.findall(r"::(\w+)", out)) == {
        check.__name__ for check in checks_by_exercise("patch_embedding")["patchify"]
    }


def test_a_cause_that_several_checks_share_is_told_once(run, folder, monkeypatch, capsys):
    path = folder / "01_patch_embedding" / "01_patch_embedding.ipynb"
    path.unlink()
    code = "def patchify(images, patch_size):\n    pass\n"
    path.with_suffix(".py").write_text(f"# %%\n{code}")
    out = run("--lessons", str(folder), "-k", "patchify")[1]
    assert (out.count("called "), out.count("Is the `return` missing?"), out.count("As above: Is the")) == (2, 3, 2)
    module = lesson_with(code)
    module.__name__ = "__main__"
    monkeypatch.setitem(sys.modules, "__main__", module)
    check("patchify")
    assert capsys.readouterr().out.count("As above: Is the") == 2


@pytest.mark.parametrize("code", ["x = 1\n", "def patchifi(images, patch_size):\n    pass\n"])
def test_an_exercise_that_is_gone_is_told_as_that(folder, code):
    path = folder / "01_patch_embedding" / "01_patch_embedding.py"
    path.write_text(f"# %%\n{code}")
    lesson = lessons.load_lesson("patch_embedding", path)
    verdicts = [run_check(each, Learner(lesson, 0)) for each in checks_by_exercise("patch_embedding")["patchify"]]
    for verdict in verdicts:
        assert "patchify is defined in no cell" in " ".join(verdict.page.split())
        assert "restore its cell" in verdict.likely


@pytest.mark.parametrize(
    ("got", "words"),
    [
        ({"a": None, "b": torch.ones(2)}, "No gradient reaches a:"),
        ({"a": torch.zeros(2), "b": torch.zeros(2)}, "No gradient reaches a, b:"),
        ({"a": torch.ones(2), "b": 2 * torch.ones(2)}, "Gradients come, but other ones."),
        ({"b": torch.ones(2)}, "not among the parameters"),
    ],
)
def test_a_graph_is_called_cut_only_where_no_gradient_comes(got, words):
    with pytest.raises(Failure) as failure:
        expect_gradients(got, {"a": torch.ones(2), "b": torch.ones(2)}, called="f()")
    assert words in failure.value.likely
    assert ("the graph is cut on the way" in failure.value.likely) == words.startswith("No gradient")


def test_many_missing_names_are_counted():
    text = said({}, {f"blocks.{index}.weight": 1 for index in range(40)}, likely="A list.")
    assert "'blocks.2.weight' is missing; 37 more are missing likely A list." in text
    assert len(text) < 400


def test_a_notebook_in_another_copy_of_the_course_says_whose_code_runs(tmp_path, monkeypatch, capsys):
    place = tmp_path / "lessons" / "01_patch_embedding"
    place.mkdir(parents=True)
    (tmp_path / "lessons" / "__init__.py").touch()
    monkeypatch.chdir(place)
    lessons.borrow("patch_embedding")
    out = capsys.readouterr().out
    assert str(tmp_path) in out and str(ROOT) in out
    monkeypatch.chdir(ROOT / "lessons")
    lessons.borrow("patch_embedding")
    assert "note" not in capsys.readouterr().out


def test_a_name_that_waits_for_a_stub_is_no_note(folder):
    path = folder / "01_patch_embedding" / "01_patch_embedding.py"
    path.write_text(
        "# %%\ndef patchify():\n    raise NotImplementedError()\n\n# %%\npatches = patchify()\nbad = 1 / 0\n"
    )
    lesson = lessons.load_lesson("patch_embedding", path)
    assert not hasattr(lesson, "nobody")
    for name, words in (("patches", "needs patchify, which isn't written yet"), ("bad", "division by zero")):
        with pytest.raises(NameError, match=words):
            getattr(lesson, name)
    assert [line.partition(" ")[0] for line in lesson.__report__.lines()] == ["bad"]


@pytest.mark.parametrize("name", ["nobody", "patchify"])
def test_a_hint_that_is_not_there_is_one_sentence(run, folder, name):
    status, out = run("--lessons", str(folder), "--hint", name)
    assert status == pytest.ExitCode.USAGE_ERROR
    assert len(out.strip().splitlines()) == 1


def test_a_damaged_notebook_is_one_sentence(run, folder):
    (folder / "01_patch_embedding" / "01_patch_embedding.ipynb").write_text('{"cells": [', encoding="utf-8")
    status, out = run("--lessons", str(folder))
    assert status == 1
    assert "is damaged" in out
    assert "Traceback" not in out
    status, out = run("--lessons", str(folder / "nowhere"))
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "is not a folder" in out


def test_check_grades_what_main_defines_now(monkeypatch, capsys):
    wrong = load("patch_embedding", "patchify", exercises("patch_embedding")["patchify"].replace(*COLUMN_MAJOR))
    wrong.__name__ = "__main__"
    monkeypatch.setitem(sys.modules, "__main__", wrong)
    monkeypatch.setenv("NBGRADER_EXECUTION", "validate")
    points = catalogue()["patch_embedding"]
    lost = next(check.points for check in checks_of("patch_embedding") if "row_by_row" in check.__name__)
    earned = check("patchify")
    out, err = capsys.readouterr()
    assert (type(earned), earned) == (float, points["patchify"] - lost)
    assert "run down the columns" in out
    assert err == ""
    assert check("unpatchify") == points["unpatchify"]
    del wrong.unpatchify
    assert check("unpatchify") == check("unpatchfy") == 0.0
    out = capsys.readouterr().out
    assert "unpatchify is not defined here yet" in out
    assert "do you mean 'unpatchify'?" in out
    monkeypatch.delenv("NBGRADER_EXECUTION")
    assert check("patchify") is check("unpatchify") is check("nobody") is None  # or a notebook would show a bare number


ENDLESS = {
    "a loop": "while True:\n        pass",
    "a loop that retries": "while True:\n        try:\n            1 / 0\n        except:\n            continue",
    "a loop that hides": "while 1:\n        try:\n            time.sleep(9)\n        except:\n            x = 1",
    "a sleep": "time.sleep(999)",
    "a lambda": "return sorted(range(9), key=lambda _: sum(1 for _ in iter(int, 1)))",
}


@pytest.mark.parametrize("name", ENDLESS)
def test_code_that_runs_for_ever_is_stopped(name):
    lesson = lesson_with(f"import itertools, time\ndef answer():\n    {ENDLESS[name]}\n")
    before = signal.getsignal(signal.SIGALRM), sys.gettrace()
    clock = Clock(0.3)
    with pytest.raises(
        Failure, match=r"(?s)expected +an answer within 0.3 s\ngot +it was still running\n.*`pytest checks"
    ):
        Learner(lesson, 0, clock)(answer_of)
    assert clock.left <= 0
    with pytest.raises(Failure, match="it was not run: the check above had used up all the time") as follows:
        Learner(lesson, 0, clock)(answer_of)
    assert "likely" not in str(follows.value)
    assert (signal.getsignal(signal.SIGALRM), sys.gettrace()) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_what_runs_beside_the_learners_code_is_cleaned_up():
    lesson = lesson_with("def answer():\n    while True:\n        pass\n")
    with pytest.raises(Failure, match="still running"):
        Learner(lesson, 0, Clock(0.2))(answer_and_clean_up)
    assert lesson.cleaned == "up"


def answer_and_clean_up(lesson):
    try:
        return lesson.answer()
    finally:
        end = time.monotonic() + 0.3  # longer than until the next alarm
        while time.monotonic() < end:
            pass
        lesson.cleaned = "up"


def change(folder: Path, old: str, new: str) -> None:
    """Change the text of the lesson."""
    path = folder / "01_patch_embedding" / "01_patch_embedding.ipynb"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_an_exercise_that_runs_for_ever_costs_its_own_points(run, folder):
    change(folder, "batch, channels, height", "while True:\\n        pass\\n    batch, channels, height")
    status, out = run("--lessons", str(folder), "--seconds", "1")
    assert status == 1
    assert out.count("it was still running") == 1 and "an answer within 1 s" in out
    assert re.search(r"^at +01_patch_embedding.ipynb, cell 2, line \d+: (pass|while True:)$", out, re.MULTILINE)
    assert "01_patch_embedding       [############............] 2/4" in out


def test_a_definition_that_runs_for_ever_is_one_sentence(run, folder):
    change(
        folder,
        "class PatchEmbedding",
        "def hang():\\n    while True:\\n        pass\\n\\nWIDTH = hang()\\n\\nclass PatchEmbedding",
    )
    change(folder, "nn.Conv2d(3, dim", "nn.Conv2d(3, WIDTH or dim")
    status, out = run("--lessons", str(folder), "--seconds", "0.5")
    assert status == 1
    assert "After 0.5 s this was still running, before any check: 01_patch_embedding.ipynb, cell" in " ".join(
        out.split()
    )
    assert "Traceback" not in out and "clock.py" not in out


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "soon"])
def test_seconds_that_are_no_time_are_refused(run, folder, seconds):
    status, out = run("--lessons", str(folder), f"--seconds={seconds}")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "--seconds" in out and "Traceback" not in out


def test_check_ends_an_exercise_that_runs_for_ever(monkeypatch, capsys):
    monkeypatch.setattr("checks.tool.learner.SECONDS", 0.5)
    cell = exercises("patch_embedding")["patchify"].replace(
        "    batch, channels", "    while True:\n        pass\n    batch, channels", 1
    )
    module = load("patch_embedding", "patchify", cell)
    module.__name__ = "__main__"
    monkeypatch.setitem(sys.modules, "__main__", module)
    check("patchify")
    out = capsys.readouterr().out
    assert "patchify: 0 of 5 points" in out and out.count("it was still running") == 1


def test_what_is_compiled_runs_as_it_is_written():
    code = "import torch\ndef refuse(*_):\n    raise OSError('no compiler')\n\n@torch.compile(backend=refuse)\n"
    assert Learner(lesson_with(code + "def mean(x):\n    return x.mean() + 1\n"), 0)(mean_of, torch.ones(3)) == 2


def test_check_says_todo_for_a_stub(monkeypatch, capsys):
    monkeypatch.setitem(
        sys.modules, "__main__", load("patch_embedding", "patchify", stub(exercises("patch_embedding")["patchify"]))
    )
    check("patchify")
    assert "todo" in capsys.readouterr().out


@pytest.fixture
def watching(folder):
    """`pytest checks --watch` on lesson 1: (the process, a function that reads its output up to a line)."""
    command = [sys.executable, "-u", "-m", "pytest", "checks/test_01_patch_embedding.py", "--watch"]
    command += ["--lessons", str(folder)]
    worker = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )

    def until(words: str) -> str:
        lines = []
        while not lines or words not in lines[-1]:
            lines.append(worker.stdout.readline())
            assert lines[-1], "".join(lines)
        return "".join(lines)

    yield worker, until
    worker.kill()
    worker.stdout.close()


IDLE = "(Ctrl-C ends)"
HANG = ("batch, channels, height", "while True:\\n        pass\\n    batch, channels, height")


def hang(folder: Path) -> None:
    """Let patchify of the lesson never end. It leaves a file once it runs, for `until_it_hangs`."""
    old, new = HANG
    change(folder, old, f"open('{folder / 'hangs'}', 'w').close()\\n    {new}")


def until_it_hangs(folder: Path, worker: subprocess.Popen) -> None:
    while not (folder / "hangs").exists():
        assert worker.poll() is None
        time.sleep(0.02)


def test_watch_runs_again_when_a_lesson_is_saved(folder, watching):
    worker, until = watching
    first = until(IDLE)
    assert "3 failed" not in first
    assert "4 todo" in first
    change(folder, *reversed(COLUMN_MAJOR))
    second = until(IDLE)
    assert "run down the columns" in first
    assert "run down the columns" not in second
    os.killpg(worker.pid, signal.SIGINT)
    assert worker.wait(timeout=60) == 1


def test_watch_starts_anew_when_a_lesson_is_saved_while_its_checks_run(folder, watching):
    worker, until = watching
    until(IDLE)
    change(folder, *HANG)
    until("collected")
    change(folder, *reversed(HANG))
    out = until(IDLE)
    assert "was saved: once more from the start." in out
    assert "4 todo" in out and "still running" not in out
    hang(folder)
    until("collected")
    until_it_hangs(folder, worker)
    os.killpg(worker.pid, signal.SIGINT)  # in the middle of a run
    rest = worker.stdout.read().replace("checks/test_01_patch_embedding.py", "the page")
    assert worker.wait(timeout=60) == 1
    assert ".py" not in rest and "Traceback" not in rest and "KeyboardInterrupt" not in rest


def test_ctrl_c_shows_no_file_of_ours(folder):
    hang(folder)
    command = [sys.executable, "-u", "-m", "pytest", "checks/test_01_patch_embedding.py", f"--lessons={folder}"]
    worker = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    until_it_hangs(folder, worker)
    os.killpg(worker.pid, signal.SIGINT)
    out = worker.stdout.read()
    assert worker.wait(timeout=60) == pytest.ExitCode.INTERRUPTED
    assert "stopped by Ctrl-C" in out
    assert "learner.py" not in out and "conftest.py" not in out and "Traceback" not in out
    assert "01_patch_embedding       [........................] 0/4" in out
