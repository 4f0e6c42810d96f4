"""Lesson 5: questions to answer before running."""

from checks.tool.quiz import Quiz

QUIZZES = {
    "loss_of_zeros": Quiz(
        answer=1.0,
        why="The loss is then the mean of the squared targets, and a normalised target has mean 0 and mean square 1. "
        "So 1 is what knowing nothing costs: a loss below it says that something was learned, not yet what.",
        wrong={
            0.0: "That would be the loss if the targets were zero too. Their mean is 0, but the loss squares each "
            "difference before it averages.",
            2.0: "That is the mean squared difference of two independent normalised vectors: a predictor that answers "
            "with the target of some other patch. Zeros bring no spread of their own.",
            0.5: "There is no half in this loss: it is the mean of the squares.",
        },
        otherwise="The loss is the mean of (0 - target) squared. What is the mean square of a vector with mean 0 and "
        "variance 1?",
    ),
    "predictor_tokens": Quiz(
        answer=14080.0,
        why="32 images x 4 blocks = 128 rows, and each has the 80 tokens of the context and 30 queries: 128 x 110.",
        wrong={
            6400.0: "That is one row an image, 80 + 4 x 30: then the blocks would see each other's queries.",
            3520.0: "That is one block an image. There are 4, each in a row of its own.",
            3840.0: "Those are the queries alone: the 80 context tokens go through the blocks with them, in every row.",
            12800.0: "That is 4 rows of 100 tokens an image. A row holds the 80 context tokens and the 30 queries.",
        },
        otherwise="Count the rows of the long batch, images x blocks, and then the tokens of one row.",
    ),
    "two_blind_answers": Quiz(
        answer="equal",
        why="Without positions both queries are the same vector, the mask token, in the same row with the same "
        "context. The same input gives the same output, whatever was trained: it can learn one answer for the block, "
        "no more.",
        wrong={
            "similar": "What could make them differ? Write down the two queries as they enter the first block.",
            "different": "It is asked about different patches, but nothing in the two queries says so: the place was "
            "in the position, and that is gone.",
        },
    ),
}
