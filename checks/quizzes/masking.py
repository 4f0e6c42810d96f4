"""Lesson 3: questions to answer before running."""

from checks.tool.quiz import Quiz

QUIZZES = {
    "middle_and_corner": Quiz(
        answer=36.0,
        why="A patch in the middle lies in the block for 6 tops x 6 lefts, a corner for one of each. All 81 places of "
        "the block are equally likely, and so its patches are not covered equally often.",
        wrong={
            1.0: "It is the places of the block that are equally likely. How many of them cover the corner, and how "
            "many a patch in the middle?",
            6.0: "So it is along the rows. The block can slide along the columns as well.",
            81.0: "That is how many places the block has. Not all of them cover a given patch.",
            9.0: "That is how many tops there are. How many of them put the block on a given row?",
        },
        otherwise="Count places: how many tops put the block of 6 on row 7? How many lefts put it on column 7? And for "
        "row 0 and column 0?",
    ),
    "height_at_ratio_4": Quiz(
        answer=2.0,
        why="Scale fixes the area, so that what the height gains, the width must lose: twice as high and half as wide "
        "is 4 times the ratio.",
        wrong={
            4.0: "If the height alone grew by 4, the area would too. It is the scale that says how large the area is.",
            1.0: "A ratio of 4 is a tall block: height / width.",
            0.5: "That is what becomes of the width.",
            16.0: "The area would then be many times as large. Which two equations do height and width solve?",
        },
        otherwise="height * width stays as it is, and height / width becomes 4 times as large. Multiply the two.",
    ),
    "larger_batch": Quiz(
        answer="more",
        why="All contexts are cut to the shortest one. The more images there are, the shorter the shortest of them is, "
        "and all the others pay for it.",
        wrong={
            "fewer": "A large batch evens out an average. But what is taken here is no average.",
            "as many": "Each image's own context doesn't know about the batch. To what length is it cut?",
        },
    ),
}
