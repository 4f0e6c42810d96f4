"""Lesson 6: questions to answer before running."""

from checks.tool.quiz import Quiz

QUIZZES = {
    "strongest_pull": Quiz(
        answer="middle",
        why="The pull is the product of the two: about .000008 of a weight in the first step, .00013 near the middle, "
        'and .0000004 in the last one, where the learning rate is next to nothing. Decay is "stronger" at the end '
        "only beside the gradient's own step, which shrinks with the learning rate as well.",
        wrong={
            "end": "There the weight decay is largest, .4. But it is multiplied: what is the learning rate by then?",
            "start": "There the learning rate still warms up, and the weight decay is at its smallest.",
        },
    ),
    "never_zeroed": Quiz(
        answer=5.5,
        why="`.grad` is 1, then 2, then 3, up to 10: step k repeats all k batches so far. 1 + 2 + ... + 10 = 55, "
        "times .1. The steps get longer and longer, as if somebody raised the learning rate, and each follows old "
        "gradients most.",
        wrong={
            1.0: "That is the way with zero_grad. What does `.grad` hold when the second step is taken?",
            10.0: "That would be ten steps that each follow ten gradients. But the first step has seen one only.",
            0.1: "That is one step. Ten are taken.",
            55.0: "Those are all the gradients that were followed. Each step goes .1 of `.grad`.",
        },
        otherwise="Write down what `.grad` holds at the first step, at the second, at the third. Each step goes .1 of "
        "it.",
    ),
    "hour_loss": Quiz(
        answer="rise",
        why="The targets are made of the teacher's features. The more these tell images apart, the harder is the "
        "question that the loss scores, and here that outruns what the predictor learns. Nobody could have read it "
        "off the loss.",
        wrong={
            "fall": "So one would think: better features, better predictions. But who sets the question, and what "
            "happens to it while the features get better?",
            "stay": "That would need questions that stay as hard as they were, or that get harder exactly as fast as "
            "the predictor gets better.",
        },
    ),
}
