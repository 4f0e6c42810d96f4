"""What a submission may use and say. The sizes of messages stand where both their sides read them: inside/wire.py."""

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


START_SECONDS = 120  # importing torch from a cold disk
ANSWER_SECONDS = 30  # of a zygote that forks or ends a child

# What a child says, in characters and entries
TEXT_CHARACTERS = 4_000
TEXTS = 50
FLAGS = 20
MESSAGE_CHARACTERS = 20_000  # of a failure's page in the record
