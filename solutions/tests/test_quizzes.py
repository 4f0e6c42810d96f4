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
from data import load_images, load_model
from lessons import LESSONS
from solutions import diagnostics, pretrained, training
from solutions.masking import sample_block_size, sample_masks
from solutions.patch_embedding import PatchEmbedding, sincos_position_embedding
from solutions.predictor import Predictor
from solutions.published.files import read_huggingface
from solutions.published.shipped import in_huggingface_layout
from solutions.teacher import make_teacher, teacher_targets, update_teacher
from solutions.vision_transformer import Attention, Block, VisionTransformer

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


# Lesson 3


def test_middle_and_corner():
    covered, tops = torch.zeros(14, 14), range(14 - 6 + 1)
    for top in tops:
        for left in tops:
            covered[top : top + 6, left : left + 6] += 1
    quiz = ALL["middle_and_corner"]
    assert covered[6:8, 6:8].unique().item() / covered[0, 0] == quiz.answer
    # as its wrong answers say: along the rows alone, all places, all tops
    assert covered[7, 0] == 6 and len(tops) ** 2 == 81 and len(tops) == 9
    assert {6, 81, 9} <= set(quiz.wrong)


def test_height_at_ratio_4():
    generator = torch.Generator().manual_seed(0)
    square, tall = (sample_block_size(10_000, (0.1, 0.1), (ratio, ratio), generator) for ratio in (1.0, 4.0))
    assert tall[0] / square[0] == pytest.approx(ALL["height_at_ratio_4"].answer, rel=1e-3)
    assert tall[1] / square[1] == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_larger_batch(seed):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([sample_masks(1, 14, generator).context.shape[1] for _ in range(256)])
    kept = {size: lengths.unflatten(0, (-1, size)).amin(dim=1).float().mean() for size in (8, 128)}
    assert (kept[128] < kept[8]) == (ALL["larger_batch"].answer == "more")


# Lesson 4


@pytest.mark.parametrize("seed", range(5))
def test_who_moves(seed):
    torch.manual_seed(seed)
    teacher = make_teacher(VisionTransformer(image_size=64, patch_size=8, dim=48, depth=2, num_heads=2))
    block = torch.arange(64).reshape(8, 8)[4:, 4:].reshape(1, 1, 16)
    photo = torch.randn(1, 3, 64, 64)
    changed = photo.clone()
    changed[:, :, :8, :8] = -2.0
    moved = (teacher_targets(teacher, changed, block) - teacher_targets(teacher, photo, block)).abs().sum(dim=-1)
    assert (moved > 1e-4).all() == (ALL["who_moves"].answer == "all")
    assert torch.equal(teacher(changed, block.flatten(1)), teacher(photo, block.flatten(1)))  # as its wrong answer says


def test_half_life():
    student, quiz = torch.nn.Linear(1, 1, bias=False), ALL["half_life"]
    student.weight.data.fill_(1.0)
    teacher = make_teacher(student)
    student.weight.data.fill_(0.0)
    left = {}
    for step in range(1, 501):
        update_teacher(teacher, student, 0.996)
        left[step] = teacher.weight.item()
    assert next(step for step in left if left[step] < 0.5) == quiz.answer
    assert left[125] > 0.6  # where .004 of the start at each step would leave .5
    assert left[250] == pytest.approx(0.37, abs=0.005) and left[500] == pytest.approx(0.13, abs=0.005)


def test_missing_underscore():
    weight, student = torch.tensor(1.0), torch.tensor(1.0)
    for _ in range(1000):
        weight.mul_(0.996).add(student, alpha=1 - 0.996)
    assert weight.item() == pytest.approx(0.996**1000, rel=1e-3)
    assert (weight < 0.02) == (ALL["missing_underscore"].answer == "fades")


# Lesson 6


def test_strongest_pull():
    pull = [training.learning_rate_at(step, 300, 30) * training.weight_decay_at(step, 300) for step in range(301)]
    strongest = max(range(301), key=pull.__getitem__)
    assert {0: "start", 1: "middle", 2: "end"}[3 * strongest // 301] == ALL["strongest_pull"].answer
    assert pull[strongest] > 10 * max(pull[0], pull[-1])
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.4)
    weight.grad = torch.zeros(())
    optimizer.step()
    assert weight.item() == pytest.approx(1 - 0.1 * 0.4)  # learning rate x decay, as the question says


def test_never_zeroed():
    moved = {}
    for zeroed in (True, False):
        weight = torch.nn.Parameter(torch.zeros(()))
        optimizer = torch.optim.SGD([weight], lr=0.1)
        for _ in range(10):
            if zeroed:
                optimizer.zero_grad()
            (1.0 * weight).backward()
            optimizer.step()
        moved[zeroed] = -weight.item()
    assert moved[False] == pytest.approx(ALL["never_zeroed"].answer)
    assert moved[True] == pytest.approx(1.0)  # as its wrong answer says


def test_hour_loss():
    points = load_model()["points"]
    first, last = points[1], points[-1]  # the first after training began
    assert (last["held_out_loss"] > 1.2 * first["held_out_loss"]) == (ALL["hour_loss"].answer == "rise")
    assert last["knn"] > first["knn"] and last["logistic"] > first["logistic"]
    assert points[0]["held_out_loss"] > first["held_out_loss"]


# Lesson 7


def test_rank_of_noise():
    for seed in range(5):
        singular = torch.linalg.svdvals(torch.randn(4096, 64, generator=torch.Generator().manual_seed(seed)))
        rank = torch.distributions.Categorical(probs=singular).entropy().exp().item()
        assert rank == pytest.approx(ALL["rank_of_noise"].answer, rel=0.005)
    line = torch.randn(4096, 1) * torch.randn(64)
    assert diagnostics.effective_rank(line) == pytest.approx(1.0, abs=0.01)  # as a wrong answer says


def test_self_neighbours():
    torch.manual_seed(0)
    crops = load_images("photos", 32)
    with torch.no_grad():
        features = VisionTransformer(32, 8, 24, 2, 2)(crops.batch(range(200))).mean(dim=1)
    asked = features, crops.labels[:200], features, crops.labels[:200]
    assert diagnostics.knn_accuracy(*asked, k=1) == pytest.approx(ALL["self_neighbours"].answer)
    assert diagnostics.knn_accuracy(*asked, k=20) < 0.9  # it is the crop itself that makes it


def test_faded_tokens():
    tokens = torch.randn(3, 16, 8) * torch.arange(1, 9) + 1
    pictures = [diagnostics.pca_image(tokens * scale, 4) for scale in (1, 0.01)]
    same = torch.minimum((pictures[0] - pictures[1]).abs(), (pictures[0] - 1 + pictures[1]).abs())  # signs are free
    assert (same.max().item() < 1e-4) == (ALL["faded_tokens"].answer == "same")


# Lesson 8


def test_tensors_of_ours(tmp_path):
    theirs = read_huggingface(in_huggingface_layout(tmp_path)).tensors
    ours = pretrained.from_huggingface(dict(theirs))
    blocks = 1 + max(int(name.split(".")[1]) for name in ours if name.startswith("blocks."))
    a_block = [sum(f"{part}.0." in name for name in state) for state, part in ((theirs, "layer"), (ours, "blocks"))]
    assert len(theirs) + (32 - blocks) * a_block[0] == 517  # as the question says
    assert len(ours) + (32 - blocks) * a_block[1] == ALL["tensors_of_ours"].answer
    assert ours.keys() == VisionTransformer(32, 4, 192, blocks, 3).state_dict().keys()


def test_swapped_queries():
    torch.manual_seed(0)
    attention, tokens = Attention(12, 3), torch.randn(1, 9, 12)
    with torch.no_grad():
        before = attention(tokens)[0]
        for tensor in attention.qkv.parameters():
            tensor.copy_(torch.cat([tensor[12:24], tensor[:12], tensor[24:]]))
        after = attention(tokens)[0]
    apart = torch.cdist(before, after)  # of each token before from each one after
    assert (apart.min().item() > 1e-4) == (ALL["swapped_queries"].answer == "other")


def test_sum_in_bfloat16():
    total = torch.zeros((), dtype=torch.bfloat16)
    seen = [(total := total + 1).item() for _ in range(1000)]
    assert seen[-1] == ALL["sum_in_bfloat16"].answer
    assert seen[128] == 129.0 and max(seen) == seen[-1]  # 128 is not where it stops, as a wrong answer says
