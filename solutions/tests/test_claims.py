"""What the checks say of an answer and is not so, is found."""

import torch

from checks.tool.exercise import exercise
from checks.tool.expect import expect_close
from solutions.misconceptions import exercises, load
from solutions.misconceptions.claims import falsehoods, judged


@exercise("update_teacher")
def names_by_chance(learner):
    """Names a mistake that gives 1 with one seed and 2 with another."""
    mistakes = {"It is 1.": 1.0 if torch.rand(()) < 0.5 else 2.0}
    expect_close(1.0, 0.0, called="one()", mistakes=mistakes, likely="It is not 0.")


@exercise("update_teacher")
def names_the_mistake(learner):
    """Names a mistake that gives what the answer gives, with every seed."""
    value = torch.rand(()) + 1
    expect_close(2 * value, value, called="double()", mistakes={"It is doubled.": 2 * value})


@exercise("update_teacher")
def states_a_fact(learner):
    """States something without a look."""
    expect_close(1.0, 0.0, called="one()", likely="The teacher did not move: write in place.")


def test_a_name_that_fits_by_chance_is_found():
    lesson = load("teacher", "update_teacher", exercises("teacher")["update_teacher"])
    seed = next(seed for seed in range(20) if judged(names_by_chance, lesson, seed)[1])
    outcome = judged(names_by_chance, lesson, seed)
    assert "'It is not 0.'" in "".join(falsehoods(names_by_chance, lesson, outcome, range(20)))
    outcome = judged(names_the_mistake, lesson, 1)
    assert outcome[1] and not list(falsehoods(names_the_mistake, lesson, outcome, range(20)))


def test_a_fact_that_is_none_is_found():
    lesson = load("teacher", "update_teacher", exercises("teacher")["update_teacher"])
    assert list(falsehoods(states_a_fact, lesson, judged(states_a_fact, lesson, 1), ()))
    still = load("teacher", "update_teacher", "\ndef update_teacher(teacher, student, momentum):\n    pass\n")
    assert not list(falsehoods(states_a_fact, still, judged(states_a_fact, still, 1), ()))
