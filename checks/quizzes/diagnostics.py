"""Lesson 7: questions to answer before running."""

from checks.tool.quiz import Quiz

QUIZZES = {
    "rank_of_noise": Quiz(
        answer=63.9,
        why="Random vectors point in all directions alike, so that nearly all 64 are in use. The rank says how many "
        "directions there are, and never whether they have to do with the image: a low one is a bad sign, a high one "
        "no proof.",
        wrong={
            1.0: "That would be tokens on a single line, as after a collapse. Do random vectors lie on one?",
            0.0: "That the features say nothing is true, but a rank counts directions, and is at least 1.",
            4096.0: "There are as many tokens, but each has 64 numbers: how many directions are there at most?",
            32.0: "For that, half of the directions would have to stay unused. What would make them?",
        },
        otherwise="Think of the singular values of a large table of random numbers: does one of them tower above the "
        "rest?",
    ),
    "self_neighbours": Quiz(
        answer=1.0,
        why="The nearest crop to each is itself, with cosine 1, and it has the right label, whatever the network has "
        "learned. So a bank must never hold what it is asked about, nor crops that overlap it.",
        wrong={
            0.11: "That is guessing, one of nine. But the untrained network isn't what decides here: which crop of "
            "the bank is the nearest one?",
            0.5: "An untrained network gets about that if the bank holds other crops. What is different here?",
            100.0: "`knn_accuracy` gives a share, from 0 to 1.",
        },
        otherwise="Take one crop and look for the nearest one in the bank. Which is it, and what is their cosine?",
    ),
    "faded_tokens": Quiz(
        answer="same",
        why="The directions stay, and each component is stretched to 0..1 from wherever it was. So the picture can't "
        "show that features have faded: for that there is `feature_std`.",
        wrong={
            "paler": "The components become a hundred times smaller. And what does `pca_image` do with each of them "
            "last?",
            "darker": "No value comes nearer to 0 in the end: what is the smallest component scaled to, and what the "
            "largest?",
        },
    ),
}
