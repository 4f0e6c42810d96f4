"""Lesson 1: questions to answer before running."""

from checks.tool.quiz import Quiz

QUIZZES = {
    "patch_of_pixel": Quiz(
        answer=34.0,
        why="Row 40 lies in row 2 of the patches (40 // 16), column 100 in column 6 (100 // 16). Two whole rows of 14 "
        "patches come first, then 6 more: 2 x 14 + 6.",
        wrong={
            86.0: "That counts down the columns, or takes the column for the row. Patch 1 is to the right of patch 0.",
            35.0: "That counts from 1. The patch at the top left is number 0.",
            10.0: "That is its number in the picture above, where patches have 32 pixels.",
        },
        otherwise="Find the row and the column of the patch first, 16 pixels each. How many patches come before that "
        "row? And how many before it within the row?",
    ),
    "tokens_changed": Quiz(
        answer=1.0,
        why="The window jumps by its own width, so each pixel lies in one patch only and reaches one token. "
        "Nothing in lesson 1 lets a token know of another patch.",
        wrong={
            9.0: "That would be windows that overlap, as in most convolutional networks. How far does this one jump?",
            196.0: "For that each token would have to see the whole image. Which pixels does a token get?",
            192.0: "So many numbers has a token. How many tokens get this pixel?",
        },
        otherwise="How many windows of the convolution hold this pixel?",
    ),
    "more_alike": Quiz(
        answer="row",
        why="Half of the code is the column and half is the row, and their similarities add. In the same row one half "
        "is the same to the last digit; on the diagonal both have changed. The cosine is 0.87 against 0.81.",
        wrong={
            "diagonal": "That place is nearer, and both halves of its code have changed. Compare them one by one: the "
            "half that holds the column, and the half that holds the row.",
            "equal": "Compare the halves of each code with those of row 6, column 6: the half of the column, and the "
            "half of the row. How many are the same?",
        },
    ),
}
