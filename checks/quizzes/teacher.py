"""Lesson 4: questions to answer before running."""

from checks.tool.quiz import Quiz

QUIZZES = {
    "who_moves": Quiz(
        answer="all",
        why="Attention knows no distance: in the first block already, each token takes in something of every patch, "
        "the corner's too.",
        wrong={
            "nearest": "A convolution works its way from neighbour to neighbour. How far does a token look in one "
            "block of attention?",
            "none": "So it would be if the teacher were fed the target patches alone. What is yours fed?",
        },
    ),
    "half_life": Quiz(
        answer=173.0,
        why="After n steps momentum ** n of the start is left, and .996 ** 173 is one half: n = ln 2 / (1 - momentum), "
        "nearly.",
        wrong={
            125.0: "So it would be if each step took .004 of the start. It takes .004 of what is left of it.",
            250.0: "That is 1 / (1 - momentum). By then more than half is gone: .996 ** 250 = .37.",
            500.0: "By then .996 ** 500 = .13 is left: each step takes less than the one before, but not so little.",
        },
        otherwise="Each step leaves .996 of what was left, n steps leave .996 ** n. For which n is that one half?",
    ),
    "missing_underscore": Quiz(
        answer="fades",
        why="`mul_` has already multiplied the teacher's weight. The sum that would fill it up again is computed and "
        "thrown away, so each step leaves momentum times the weight.",
        wrong={
            "stays": "It would if nothing were changed in place. Which of the two calls has an underscore?",
            "error": "Python computes the sum and drops it. Nothing is wrong with that, as far as Python knows.",
        },
    ),
}
