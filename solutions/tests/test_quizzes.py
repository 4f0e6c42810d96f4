"""Questions to answer before running: every answer is so, and what is told helps."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from checks import check
from checks.tool.quiz import Quiz, find_quiz, quizzes_of
from lessons import LESSONS
from solutions.patch_embedding import PatchEmbedding, sincos_position_embedding
from solutions.predictor import Predictor
from solutions.vision_transformer import Block, VisionTransformer

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


# Lesson 1


def test_patch_of_pixel():
    image = torch.zeros(1, 1, 224, 224)
    image[0, 0, 40, 100] = 1
    patch, turned, large = (
        F.unfold(each, size, stride=size).sum(dim=1).argmax().item()
        for each, size in ((image, 16), (image.transpose(2, 3), 16), (image, 32))
    )
    assert patch == ALL["patch_of_pixel"].answer
    assert {turned, patch + 1, large} == set(ALL["patch_of_pixel"].wrong)


def test_tokens_changed():
    torch.manual_seed(0)
    embedding, overlapping = PatchEmbedding(224, 16, 8), nn.Conv2d(3, 8, 48, stride=16, padding=16)
    image = torch.randn(1, 3, 224, 224)
    changed = image.clone()
    changed[0, :, 40, 100] += 1
    moved = (embedding(image) - embedding(changed)).abs().amax(dim=-1) > 1e-3
    assert moved.sum() == ALL["tokens_changed"].answer
    windows = (overlapping(image) - overlapping(changed)).abs().amax(dim=1) > 1e-3
    assert windows.sum().item() in ALL["tokens_changed"].wrong


def test_more_alike():
    frequencies = 10000.0 ** (-torch.arange(48) / 48)

    def similarity(rows: int, columns: int) -> float:
        """Of two codes with 192 numbers, by cos(a - b) = cos a cos b + sin a sin b."""
        return ((rows * frequencies).cos().sum() + (columns * frequencies).cos().sum()).item() / 96

    row, diagonal = similarity(0, 7), similarity(3, 3)
    assert ALL["more_alike"].answer == "row" and row > diagonal + 0.05
    assert f"{row:.2f} against {diagonal:.2f}" in ALL["more_alike"].why
    codes = F.normalize(sincos_position_embedding(14, 192), dim=1)
    assert codes[6 * 14 + 6] @ codes[6 * 14 + 13] == pytest.approx(row, abs=1e-4)
    assert codes[6 * 14 + 6] @ codes[9 * 14 + 9] == pytest.approx(diagonal, abs=1e-4)


# Lesson 2


def test_score_spread():
    torch.manual_seed(0)
    scores = (torch.randn(20_000, 64) * torch.randn(20_000, 64)).sum(dim=1)
    assert scores.std().item() == pytest.approx(ALL["score_spread"].answer, rel=0.03)
    assert scores.var().item() == pytest.approx(64, rel=0.06)
    assert 64 in ALL["score_spread"].wrong


@pytest.mark.parametrize("seed", range(5))
def test_tokens_that_notice(seed):
    torch.manual_seed(seed)
    model = VisionTransformer(224, 16, dim=48, depth=1, num_heads=3)
    hidden = torch.zeros(14, 14, dtype=torch.bool)
    hidden[4:10, 5:11] = True
    photo, other = torch.randn(2, 1, 3, 224, 224)
    changed = torch.where(hidden.repeat_interleave(16, 0).repeat_interleave(16, 1), other, photo)
    with torch.no_grad():
        moved = (model(photo) - model(changed)).norm(dim=-1)[0, ~hidden.flatten()]
    assert (moved.min() > 1e-4) == (ALL["tokens_that_notice"].answer == "all")


def test_work_left():
    def operations(count: int) -> int:
        with FlopCounterMode(display=False) as counter:
            Block(192, 3)(torch.zeros(1, count, 192))
        return counter.get_total_flops()

    left = operations(49) / operations(196)
    assert operations(196) == 2 * 196 * (442_368 + 75_264)  # an addition for each multiplication
    assert operations(49) == 2 * 49 * (442_368 + 18_816)
    near = min(
        (1 / 4, "a quarter"), (1 / 8, "an eighth"), (1 / 16, "a sixteenth"), key=lambda each: abs(each[0] - left)
    )
    assert ALL["work_left"].answer == near[1]
    assert f"{left:.0%}".replace("%", " %") in ALL["work_left"].why
