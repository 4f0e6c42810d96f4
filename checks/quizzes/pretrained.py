"""Lesson 8: questions to answer before running."""

from checks.tool.quiz import Quiz

QUIZZES = {
    "tensors_of_ours": Quiz(
        answer=389.0,
        why="In each block three weights and three biases become one of each, so that 16 tensors become 12: 517 - 32 "
        "x 4. Count the names that come out of your function, and you know whether one was lost.",
        wrong={
            517.0: "That would be so if every tensor only got another name. What becomes of query, key and value?",
            453.0: "That is two fewer a block: the three weights have become one. What about their biases?",
            325.0: "That is six fewer a block: all of query, key and value are gone. What comes in their place?",
            421.0: "That is three fewer a block. Count the tensors of query, key and value, and then those of qkv.",
        },
        otherwise="How many tensors of a block are query, key and value, and how many of yours are made of them?",
    ),
    "swapped_queries": Quiz(
        answer="other",
        why="A score of patch i for patch j becomes that of j for i: the table is transposed. But the softmax still "
        "runs over its rows, so each patch mixes the values with other weights, and other tokens come from the first "
        "block on.",
        wrong={
            "same": "A scalar product is the same both ways, that is true. But whose key is multiplied with whose "
            "query in row i, and over what does the softmax run?",
            "shuffled": "Each patch still asks for itself, and its token stays in its place. What changes is how much "
            "it takes of each other patch.",
        },
    ),
    "sum_in_bfloat16": Quiz(
        answer=256.0,
        why="bfloat16 keeps eight binary digits. From 256 on its numbers are 2 apart: 257 is none of them, is rounded "
        "to 256, and the sum stands still. So large weights may be kept in it, but sums and averages are taken in "
        "float32.",
        wrong={
            1000.0: "In exact arithmetic, yes. But bfloat16 keeps eight binary digits: from where on is a 1 too small "
            "to count?",
            128.0: "At 128 the numbers of bfloat16 are still 1 apart, so that the sum goes on.",
            65504.0: "That is the largest number of float16, and far from where this sum gets.",
            512.0: "The numbers near 512 are 4 apart. The sum stops before: where are they 2 apart for the first time?",
        },
        otherwise="With eight binary digits, how far apart are the numbers near 100, near 200, near 300?",
    ),
}
