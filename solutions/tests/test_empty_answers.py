"""An answer that does nothing earns nothing: no check passes because nothing came that it could find fault with."""

import pytest

from checks.tool.exercise import check_files, checks_by_exercise, checks_of
from checks.tool.learner import run_checks
from solutions.misconceptions import exercises, load
from solutions.tests.helpers.valueless import lessons_with_answers

SEED = 1

# lesson, the exercise with its parameters, and what it gives back
EMPTY = [
    ("masking", "sample_block_size(*_)", "(1, 1)"),
    ("masking", "sample_block(*_)", "None"),
    (
        "masking",
        "sample_masks(batch, grid, generator, num_targets=4, **_)",
        "Masks(torch.zeros(batch, 1).long(), torch.ones(batch, num_targets, 1).long())",
    ),
    ("teacher", "make_teacher(student)", "nn.Identity()"),
    *(
        ("teacher", "teacher_targets(teacher, images, targets)", f"{fill}(*targets.shape, teacher.weight.shape[1])")
        for fill in ("torch.rand", "torch.zeros", "torch.nan * torch.ones")
    ),
    ("teacher", "update_teacher(*_)", "None"),
    ("training", "parameter_groups(*_, **__)", '[{"params": [nn.Parameter(torch.zeros(1))], "weight_decay": 0.0}]'),
    ("training", "train_step(*_)", "torch.zeros(())"),
    ("patch_embedding", "sincos_position_embedding(grid_size, dim)", "torch.zeros(grid_size**2, dim)"),
    ("diagnostics", "feature_std(*_)", "0.0"),
    ("diagnostics", "knn_accuracy(*_, **__)", "1.0"),
    ("diagnostics", "imagine(*_, **__)", "None"),
    ("diagnostics", "pca_image(*_)", "torch.zeros(())"),
    ("vision_transformer", "gather_tokens(*_)", "None"),
]


@pytest.mark.parametrize(("lesson", "signature", "value"), EMPTY, ids=lambda text: text.split("(")[0])
def test_an_answer_that_does_nothing_earns_nothing(lesson, signature, value):
    exercise = signature.split("(")[0]
    module = load(lesson, exercise, f"\ndef {signature}:\n    return {value}\n")
    checks = [check for check in checks_of(lesson) if check.exercise == exercise]
    found = run_checks(checks, module, SEED)
    assert {verdict.status for verdict in found} <= {"passed", "failed"}, found
    assert {verdict.check: verdict.earned for verdict in found if verdict.earned} == {}


EXERCISES = [(lesson, name) for lesson in check_files() for name in exercises(lesson)]


@pytest.mark.parametrize(("lesson", "exercise"), EXERCISES)
def test_an_answer_that_gets_no_value_right_earns_nothing(lesson, exercise):
    """Zeros, ones, noise, an input, nothing, ... in the right form or in another, from an answer that refuses rightly.

    What a class makes (names and shapes of its layers, a table) is a value too: only checks that ask its forward count.
    """
    for name, module, asked in lessons_with_answers(lesson, exercise):
        for check in checks_by_exercise(lesson)[exercise]:
            asked.clear()
            (verdict,) = run_checks([check], module, SEED)
            assert verdict.status in ("passed", "failed"), f"{name}\n{verdict.page}"
            assert verdict.status == "failed" or not asked, f"{verdict.check} passes: {name}"
