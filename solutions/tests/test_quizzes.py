"""Questions to answer before running: every answer is so, and what is told helps."""

import re
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from checks import check
from checks.quizzes import Quiz, find_quiz, quizzes_of
from lessons import LESSONS
from solutions.predictor import Predictor

ROOT = Path(__file__).parents[2]
ALL = {name: quiz for lesson in LESSONS for name, quiz in quizzes_of(lesson).items()}
WORDS = Quiz(answer="rises", why="So it is.", wrong={"falls": "Look again.", "stays": "It can't."})
NUMBER = Quiz(answer=196.0, why="14 x 14.", wrong={224.0: "Pixels a side."}, otherwise="Divide 224 by 16 first.")


@pytest.mark.parametrize(
    ("quiz", "given", "told"),
    [
        (WORDS, ..., "Not answered yet: write one of 'falls', 'rises', 'stays'"),
        (WORDS, "rises", "Right: rises. So it is."),
        (WORDS, " Rises ", "Right"),
        (WORDS, "falls", "No. Look again."),
        (WORDS, "up", "'up' is no answer here: write one of 'falls', 'rises', 'stays'"),
        (WORDS, 3, "3 is no answer here"),
        (NUMBER, ..., "Not answered yet: write a number"),
        (NUMBER, 196, "Right: 196. 14 x 14."),
        (NUMBER, torch.tensor(196.0), "Right"),
        (NUMBER, 195.0, "Right"),  # rounded
        (NUMBER, 224, "No. Pixels a side."),
        (NUMBER, 12, "No. Divide 224 by 16 first."),
        (NUMBER, "196", "'196' is no answer here: write a number"),
        (NUMBER, True, "No answer"),
        (NUMBER, float("nan"), "no answer"),
        (NUMBER, torch.zeros(3), "no answer"),
    ],
)
def test_what_is_told(quiz, given, told):
    assert told.lower() in quiz.verdict(given).lower()


@pytest.mark.parametrize("name", ALL)
def test_a_wrong_answer_is_told_what_it_stands_for_and_not_the_right_one(name):
    quiz = ALL[name]
    assert quiz.verdict(quiz.answer).startswith("Right")
    assert len(quiz.wrong) >= 2
    for wrong in quiz.wrong:
        assert quiz.verdict(wrong) == f"No. {quiz.wrong[wrong]}"
    assert bool(quiz.otherwise) == isinstance(quiz.answer, float)


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_asks_three_and_names_the_options(lesson):
    source = (ROOT / "solutions" / f"{lesson}.py").read_text(encoding="utf-8")
    asked = re.findall(r'check\("(\w+)", \.\.\.\)', source)
    assert asked == list(quizzes_of(lesson))
    assert len(asked) >= 3
    for name in asked:
        above = source[: source.index(f'check("{name}", ...)')].rpartition("# %% [markdown]")[2]
        quiz = find_quiz(name)
        if isinstance(quiz.answer, str):
            assert all(f'`"{option}"`' in above for option in (quiz.answer, *quiz.wrong)), name


def test_check_takes_an_answer(capsys):
    check("loss_of_zeros", 1)
    assert capsys.readouterr().out.startswith("Right: 1.")


# That each answer is so


def test_loss_of_zeros():
    targets = F.layer_norm(torch.randn(200, 4, 96), (96,))
    assert targets.square().mean().item() == pytest.approx(ALL["loss_of_zeros"].answer, rel=0.01)
    others = F.layer_norm(torch.randn(200, 4, 96), (96,))
    assert (targets - others).square().mean().item() == pytest.approx(2.0, rel=0.05)  # as its wrong answer says


def test_predictor_tokens(monkeypatch):
    torch.manual_seed(0)
    seen, predictor = [], Predictor(14, 8, 8, 1, 1)
    predictor.predictor_blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[:2].numel()))
    context, targets = torch.rand(32, 196).topk(80).indices, torch.rand(32, 4, 196).topk(30).indices
    predictor(torch.randn(32, 80, 8), context, targets)
    assert seen == [ALL["predictor_tokens"].answer]


def test_two_blind_answers():
    torch.manual_seed(0)
    predictor = Predictor(4, 12, 8, 2, 2)
    predictor.predictor_pos_embed.zero_()
    answers = predictor(torch.randn(1, 5, 12), torch.arange(5)[None], torch.tensor([[[7, 9, 12]]]))
    assert torch.allclose(answers[:, :, 0], answers[:, :, 1]) == (ALL["two_blind_answers"].answer == "equal")
