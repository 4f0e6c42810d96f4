"""Every limit of the grader, but for the sizes of messages, which stand where both sides read them: inside/wire.py."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a submission of one lesson may use, as a whole where nothing else is said."""

    seconds: float = 20.0  # wall clock, by the checker's own clock
    training_seconds: float = 60.0  # of lessons that train
    memory: int = 2 * 2**30  # bytes on top of torch; without a cgroup of each process
    processes: int = 32
    file_size: int = 16 * 2**20  # bytes of one file; all files share a /tmp of this size under bubblewrap

    def seconds_of(self, lesson: str) -> float:
        return self.training_seconds if lesson == "training" else self.seconds


# What the command takes
MOST_SECONDS = 86_400  # a day
LEAST_MEMORY = 64  # MB
LEAST_PROCESSES = 4
MOST_DAYS = 1_000  # of an extension

# Of the grader's own processes
START_SECONDS = 120  # importing torch from a cold disk
ANSWER_SECONDS = 30  # of a zygote that forks or ends a child
TRIES = 2  # a submission whose grader fails is tried again, in a new worker

# What is collected
CLASS_FILES = 200_000  # folders and files at the top of a class, or members of its zip
FOLDER_FILES = 1_000  # notebooks and scripts of one folder
NAMED_FILES = 5  # that a sentence names

# What a child says, in characters and entries
TEXT_CHARACTERS = 4_000
TEXTS = 50
FLAGS = 20
MESSAGE_CHARACTERS = 20_000  # of a failure's page in the record

# What a table or a page shows
NAME_CHARACTERS = 100
LINE_CHARACTERS = 500  # of a reason, a note, a cell of a table, or a line of a message
MESSAGE_LINES = 120
LISTED_FILES = 500
MARKS_ON_A_LETTER = 3  # combining marks: more would grow over the lines around it
