"""Lesson 2: questions to answer before running."""

from checks.tool.quiz import Quiz

QUIZZES = {
    "score_spread": Quiz(
        answer=8.0,
        why="Each of the 64 products has variance 1, and variances of independent numbers add: 64, whose root is 8. "
        "So divided by the root of d a score has standard deviation 1, whatever d is.",
        wrong={
            64.0: "That is the variance of the sum. How far from its mean is a typical score?",
            1.0: "That is the spread of a single product of two such numbers. A score is the sum of 64 of them.",
            0.0: "That is the mean: pluses and minuses cancel on average. How far from it is a single score?",
        },
        otherwise="A product of two independent numbers of mean 0 and variance 1 has variance 1 as well, and variances "
        "of independent numbers add. The standard deviation is the root of the variance.",
    ),
    "tokens_that_notice": Quiz(
        answer="all",
        why="A softmax gives every token some weight, however small. So after one block each kept token holds a part "
        "of each hidden patch, and dropping the hidden tokens afterwards takes nothing back.",
        wrong={
            "none": "The hidden tokens are dropped, but only at the end. What did the kept ones gather in the block?",
            "neighbours": "In a convolution it would begin with the neighbours. How far does attention look?",
        },
    ),
    "work_left": Quiz(
        answer="a quarter",
        why="For each token the linear layers take 12 D squared = 442,368 multiplications, attention's pairs 2 N D: "
        "75,264 for 196 tokens and 18,816 for 49. Only these go with the square of N; in all 22 % is left.",
        wrong={
            "a sixteenth": "That is what is left of the pairs. What does a block do with each token by itself?",
            "an eighth": "Count for one token: the linear layers have 3 D, D, 4 D and 4 D times D weights; its scores "
            "and its weighted values take N D each. Which part is larger for N = 196? Which goes with the square of N?",
        },
    ),
}
