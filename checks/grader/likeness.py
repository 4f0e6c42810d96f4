"""Which students' own code is alike, most alike first.

What many have in common says little: an exercise of twenty lines has few good answers. So a fingerprint counts by how
rare it is in the class, and what the course itself hands out doesn't count at all. (copydetect and pycode-similar
compare file with file, whatever the rest of the class has written, and read no notebooks; JPlag needs Java.)
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Set
from dataclasses import dataclass

COMMON = 0.5  # what more than this share of a class has written is what the exercise asks for
MOST_PAIRS = 50_000  # per student that share a fingerprint: a large class counts rare ones only, or it would take hours
LEAST_COMMON = 10  # students who may share a fingerprint in any class
DOUBT = 5.0  # the weight of a fingerprint that two in 300 share: two who have little in common are not alike
FEW = 3  # students: a copy, its original, and one more
POWER = 4  # of the likeness of a lesson: two that are half alike weigh an eighth of one that is alike

Pair = tuple[str, str]


@dataclass(frozen=True)
class AlikePair:
    """Two students, and how alike their own code is in each lesson, from 0 to 1, most alike first."""

    students: Pair
    lessons: Mapping[str, float]

    @property
    def score(self) -> float:
        return sum(value**POWER for value in self.lessons.values())


def most_alike(lessons: Mapping[str, Mapping[str, Set[int]]], count: int) -> list[AlikePair]:
    """The `count` pairs of students whose own code is most alike. lessons: {lesson: {student: own fingerprints}}."""
    found: dict[Pair, dict[str, float]] = {}
    for lesson, prints in lessons.items():
        for pair, value in alike_in(prints).items():
            found.setdefault(pair, {})[lesson] = value
    pairs = [AlikePair(pair, dict(sorted(of.items(), key=lambda entry: -entry[1]))) for pair, of in found.items()]
    return sorted(pairs, key=lambda pair: (-pair.score, pair.students))[:count]


def alike_in(prints: Mapping[str, Set[int]]) -> dict[Pair, float]:
    """How alike students are in a lesson, if they have anything in common that is not common to all.

    The cosine of their fingerprints, each weighted by the logarithm of how rare it is. Fingerprints that the same
    students have, and more than FEW of them, come of one idea: the root of their number counts.
    """
    students: defaultdict[int, list[str]] = defaultdict(list)
    for student in sorted(prints):
        for value in prints[student]:
            students[value].append(student)
    most = max(LEAST_COMMON, min(COMMON * len(prints), MOST_PAIRS / max(len(prints), 1)))
    own: defaultdict[str, float] = defaultdict(float)
    shared: defaultdict[Pair, float] = defaultdict(float)
    for names, number in Counter(map(tuple, students.values())).items():
        weight = math.log((1 + len(prints)) / len(names)) * (number if len(names) <= FEW else math.sqrt(number))
        if len(names) <= most:
            for name in names:
                own[name] += weight
            for pair in itertools.combinations(names, 2):
                shared[pair] += weight
    return {pair: value / (DOUBT + math.sqrt(own[pair[0]] * own[pair[1]])) for pair, value in shared.items()}
