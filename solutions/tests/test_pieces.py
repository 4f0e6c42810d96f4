"""`--pieces lessons`: a mistake of the learner's is one sentence with its piece and its line, before the first step."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import lessons
from solutions import release
from solutions.tests.helpers.training import TINY, error_of
from solutions.train import load_pieces, main
from solutions.trainer.checkpoint import TrainingError
from solutions.trainer.config import parse
from solutions.trainer.pieces import try_out


@pytest.fixture(scope="module")
def all_solved(tmp_path_factory) -> Path:
    """The lessons as a learner has them at the end."""
    folder = tmp_path_factory.mktemp("course") / "solved"
    assert release.main(["--solved", str(folder)]) == 0
    return folder


@pytest.fixture
def mine(all_solved, tmp_path):
    """A copy of them, in use."""
    shutil.copytree(all_solved, tmp_path / "mine")
    lessons.use(tmp_path / "mine")
    yield tmp_path / "mine"
    lessons.use()


def replace(folder: Path, lesson: str, before: str, after: str) -> None:
    """Change the one cell of a lesson that holds these words."""
    [path] = folder.glob(f"*_{lesson}/*.ipynb")
    notebook = json.loads(path.read_text())
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and before in "".join(cell["source"])]
    assert len(cells) == 1, before
    cells[0]["source"] = "".join(cells[0]["source"]).replace(before, after)
    path.write_text(json.dumps(notebook))


def train_mine(*arguments) -> list[str]:
    return [*TINY, "--steps", "2", "--pieces", "lessons", *map(str, arguments)]


@pytest.mark.parametrize(
    ("lesson", "before", "after", "words"),
    [
        (  # an error in a piece of an earlier lesson, deep inside the encoder
            "vision_transformer",
            "        return self.proj(",
            "        return self.no_such_layer(",
            ["VisionTransformer", "02_vision_transformer", "self.no_such_layer(", "no error", "AttributeError"],
        ),
        (
            "predictor",
            "    return (predictions - targets).square().mean()",
            "    return (predictions - targets).square().mean() / 0",
            ["jepa_loss", "05_predictor", "finite numbers", "inf"],
        ),
        (
            "training",
            "    return loss.detach()",
            "    return None",
            ["train_step", "06_training", "a tensor []", "None"],
        ),
    ],
)
def test_an_error_in_a_piece_is_one_sentence(mine, capsys, tmp_path, lesson, before, after, words):
    replace(mine, lesson, before, after)
    message = error_of(capsys, *train_mine("--out", tmp_path / "run"))
    for word in (*words, "cell ", ", line ", f"run `pytest checks -k {words[0]}`"):
        assert word in message, message
    assert not (tmp_path / "run").exists()


def test_an_error_that_comes_later_names_its_line_too(mine, capsys, tmp_path):
    code = "    return total_steps // (step - 1) and "
    replace(mine, "teacher", "    return start + (end - start)", code + "start + (end - start)")
    message = error_of(capsys, *train_mine("--out", tmp_path / "run"))
    assert "your momentum_at (" in message and "cell " in message and "ZeroDivisionError" in message
    assert "run `pytest checks -k momentum_at`" in message


def test_what_is_not_written_can_be_borrowed_and_the_report_says_so(mine, capsys, tmp_path):
    stub = "    raise NotImplementedError()"
    replace(mine, "teacher", "    return start + (end - start) * step / total_steps", stub)
    replace(mine, "predictor", "    return (predictions - targets).square().mean()", stub)
    said = error_of(capsys, *train_mine("--out", tmp_path / "run"))
    assert "jepa_loss is not written yet: write it, or add --borrow" in said
    assert main(train_mine("--borrow", "--out", tmp_path / "run")) == 0
    report = (tmp_path / "run" / "report.md").read_text()
    assert "pieces from lessons (momentum_at, jepa_loss from the reference)" in report


def test_a_piece_that_cannot_be_read_is_named(mine, capsys, tmp_path):
    replace(mine, "training", "    return loss.detach()", "    return loss.detach(")
    message = error_of(capsys, *train_mine("--out", tmp_path / "run"))
    assert "06_training" in message and "cell " in message and "pytest checks" in message


def test_borrowing_is_for_ones_own_lessons(capsys, tmp_path):
    assert "add --pieces lessons" in error_of(capsys, *TINY, "--borrow", "--out", tmp_path / "run")


def returns(value):
    return lambda *inputs, **options: value


def module(forward):
    """A class of modules whose forward is this."""
    return type(
        "Mine", (torch.nn.Module,), {"__init__": lambda self, *_: super(type(self), self).__init__(), **forward}
    )


def raises(*inputs):
    raise ValueError("a value of\nmine")


WRONG = {
    "VisionTransformer": (module({"forward": returns(torch.zeros(2, 4, 16))}), "a tensor [2, 16, 16], got [2, 4, 16]"),
    "sample_masks": (returns((torch.zeros(2, 3), torch.zeros(2, 4, 5))), "2 rows of indices from 0 to 15, 2 axes"),
    "make_teacher": (returns(None), "no error, got TypeError"),
    "teacher_targets": (returns(None), "got None"),
    "Predictor": (module({"forward": returns(torch.tensor(float("nan")))}), "a tensor [2, 4, "),
    "jepa_loss": (returns(torch.tensor(float("inf"))), "finite numbers [], got inf among them"),
    "update_teacher": (raises, "no error, got ValueError: a value of mine;"),
    "momentum_at": (returns(None), "a number, got None"),
    "learning_rate_at": (returns(float("nan")), "a number, got nan"),
    "weight_decay_at": (raises, "got ValueError"),
    "parameter_groups": (returns([]), "no error, got ValueError: optimizer got an empty parameter list"),
    "train_step": (returns(0.5), "a tensor [], got 0.5"),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_piece_is_tried_alone_and_named(tmp_path, name):
    config, _, _ = parse([*TINY, "--pieces", "lessons", "--out", str(tmp_path / "run")])
    pieces = load_pieces("solutions")
    try_out(pieces, config, torch.randn(2, 3, 32, 32))  # the reference passes
    wrong, words = WRONG[name]
    setattr(pieces, name, wrong)
    with pytest.raises(TrainingError) as caught:
        try_out(pieces, config, torch.randn(2, 3, 32, 32))
    message = str(caught.value)
    assert message.startswith(f"your {name} (test_pieces.py, line ") and words in message, message
    assert message.endswith(f"run `pytest checks -k {name}`") and "\n" not in message


def test_weights_that_are_not_finite_after_a_step_are_named(tmp_path):
    config, _, _ = parse([*TINY, "--pieces", "lessons", "--out", str(tmp_path / "run")])
    pieces = load_pieces("solutions")
    pieces.jepa_loss = lambda predictions, targets: (predictions - predictions.detach()).square().sum().sqrt()

    def step(model, images, masks, optimizer, momentum):
        tokens = model.student(images, keep=masks.context)
        loss = pieces.jepa_loss(model.predictor(tokens, masks.context, masks.targets), None)
        loss.backward()  # the square root's slope at 0
        return loss.detach()

    pieces.train_step = step
    with pytest.raises(TrainingError, match=r"your train_step .* finite numbers in the gradient of student\."):
        try_out(pieces, config, torch.randn(2, 3, 32, 32))


def test_too_little_memory_is_no_fault_of_a_piece(tmp_path, monkeypatch, capsys):
    def no_room(*_):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried")

    monkeypatch.setattr("solutions.train.FastStep.__call__", no_room)
    assert "a smaller --batch-size" in error_of(capsys, *TINY, "--out", tmp_path / "run")
