"""Who is enrolled, and whose submission is whose.

A roster is the CSV that Canvas exports as its gradebook, a CSV of Moodle (participants, grades or the grading
worksheet), GitHub Classroom's, or a table of one's own with the columns name, id and email.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from checks.grader.collect import Class, names_lesson
from checks.grader.entries import Entry
from checks.grader.texts import PolicyError, read_table
from lessons import LESSONS

# what a column is, by its name without blanks and capitals
COLUMNS = {
    "name": ("student", "name", "fullname", "studentname"),
    "first": ("firstname", "givenname"),
    "last": ("lastname", "surname", "familyname"),
    "id": ("id", "idnumber", "studentid", "userid"),
    "sis": ("sisuserid", "sid"),
    "login": ("sisloginid", "login", "username", "githubusername"),
    "email": ("email", "emailaddress"),
    "section": ("section", "sections"),
    "identifier": ("identifier",),
}
WORTH = "Points Possible"  # in the first cell of the line that says what Canvas's assignments are worth
TEST_STUDENT = "Student, Test"  # Canvas's own
PARTICIPANT = re.compile(r"\D+ (\d+)")  # how Moodle's grading worksheet names someone
# which of these stands behind the names in a platform's files, and where it counts alone if the roster has all of them
NUMBERS = {"canvas": ("id",), "moodle": ("participant",), "gradescope": ("sis", "id", "email", "login")}
CERTAIN = ("canvas", "moodle")


@dataclass(frozen=True)
class Person:
    """Someone who is enrolled; "" where the roster says nothing. participant: the number in one Moodle assignment."""

    name: str
    id: str = ""
    sis: str = ""
    login: str = ""
    email: str = ""
    section: str = ""
    participant: str = ""

    @property
    def student(self) -> str:
        """What the grader calls them: the name, and what tells two of one name apart in every assignment."""
        identity = self.id or self.email or self.login or self.sis or self.participant
        return f"{self.name}_{identity}" if identity else self.name


@dataclass(frozen=True)
class Assignment:
    """A column of Canvas's gradebook. worth: the points that Canvas knows, "" if the roster doesn't say."""

    title: str
    worth: str = ""


@dataclass(frozen=True)
class Roster:
    """people: by what the grader calls them. assignments: by lesson, where one title names it."""

    people: Mapping[str, Person] = field(default_factory=dict)
    assignments: Mapping[str, Assignment] = field(default_factory=dict)

    def find(self, student: str, form: str = "", numbered: bool = True) -> str | None:
        """Who is meant by a student of a class in this form, or by a name in the instructor's files; None: nobody, or
        one of several. numbered: whether the roster has the numbers of this class.
        """
        if student in self.people:
            return student
        name, _, number = student.rpartition("_")
        keys = NUMBERS.get(form, ())
        if found := next((one for key in keys if (one := self.only((key,), number))), None):
            return found
        numbers_decide = numbered and form in CERTAIN
        if numbers_decide and all(getattr(person, key) for person in self.people.values() for key in keys):
            return None
        if found := self.only(("id", "sis", "login", "email"), student):
            return found
        wanted = spellings(name if form in (*NUMBERS, "brightspace") else student)
        named = [label for label, person in self.people.items() if wanted & spellings(person.name)]
        if not named and form == "folders":  # GitHub Classroom: the assignment's name, then the login
            logins = {label: person.login.casefold() for label, person in self.people.items() if person.login}
            named = [label for label, login in logins.items() if student.casefold().endswith(f"-{login}")]
        return named[0] if len(named) == 1 else None

    def whose(self, person: Person) -> str | None:
        """Who is meant by what another file says of a person; None: nobody, one of several, or not the same one by all
        that it says.
        """
        keys = ("id", "sis", "login", "email", "participant")
        found = {self.only((key,), getattr(person, key)) for key in keys} | {self.find(person.name)}
        found.discard(None)
        return found.pop() if len(found) == 1 else None

    def only(self, keys: tuple[str, ...], text: str) -> str | None:
        """The only one of whom one of these facts is this text."""
        wanted, people = text.casefold(), self.people.items()
        found = [label for label, person in people if wanted in (getattr(person, key).casefold() for key in keys)]
        return found[0] if wanted and len(found) == 1 else None

    def join(self, found: Class) -> list[str]:
        """Give everyone who is enrolled a place in the class, under their name here -> a sentence for each student who
        is not: they keep their own name, and their grades.
        """
        numbers = {student.rpartition("_")[2] for student in found.students}
        # Moodle numbers its participants anew in each assignment: then the roster's numbers may be of another one
        numbered = found.form != "moodle" or any(self.only(("participant",), number) for number in numbers)
        owners = {student: self.find(student, found.form, numbered) for student in found.students}
        students: dict[str, list[Entry]] = {label: [] for label in self.people}
        for student, files in found.students.items():
            label = owners[student] or student
            named = files if label == student else [replace(file, origin=file.origin or student) for file in files]
            students.setdefault(label, []).extend(named)
        found.students = students
        return [
            f"{student} is graded, and is nobody of the roster, or one of several of this name"
            for student, label in owners.items()
            if label is None
        ]


def everyone(students: Iterable[str], roster: Roster | None) -> Roster:
    """Those who are enrolled, and all others of a class as far as their names say who they are: where a platform puts a
    number or an address behind a name, it stands behind the last _.
    """
    people: dict[str, Person] = {}
    for student in students:
        name, _, number = student.rpartition("_")
        people[student] = Person(name or student, number, number, student, number, participant=number)
    return replace(roster or Roster(), people=people | dict(roster.people if roster else {}))


def spellings(name: str) -> set[str]:
    """How a name may be spelled in the name of a file, without blanks: first name first, or last name first."""
    last, comma, first = unicodedata.normalize("NFKC", name).casefold().partition(",")
    words, firsts = re.findall(r"\w+", last.replace("_", " ")), re.findall(r"\w+", first.replace("_", " "))
    if comma and firsts:
        return {"".join(firsts + words), "".join(words + firsts)}
    return {"".join(words), "".join(words[-1:] + words[:-1])} - {""}


def read_roster(path: Path) -> Roster:
    """Read a roster. Raises PolicyError, which names the line."""
    columns: dict[str, int] = {}
    titles: dict[int, str] = {}
    worths: dict[int, str] = {}
    people: dict[str, Person] = {}
    for place, cells in read_table(path):
        if not columns:
            columns = columns_of(cells)
            if "name" not in columns and not {"first", "last"} <= columns.keys():
                raise PolicyError(
                    f"{place}: the first line must name the columns, as in name,id,email or "
                    "First name,Last name,Email address"
                )
            titles = {number: cell.strip() for number, cell in enumerate(cells) if re.search(r"\(\d+\)\s*$", cell)}
            continue
        facts = {name: cells[number].strip() for name, number in columns.items() if number < len(cells)}
        if WORTH in cells[0]:
            worths = {number: cells[number].strip() for number in titles if number < len(cells)}
        person = person_of(facts)
        if not person.name or WORTH in cells[0] or person.name == TEST_STUDENT:
            continue  # Canvas has a line "Manual Posting" without a name
        if person.student in people:
            raise PolicyError(
                f"{place}: {person.student!r} stands in the roster twice; take one out, or give both an id or an email"
            )
        people[person.student] = person
    if not people:
        raise PolicyError(f"{path} holds nobody: give a CSV with a line for each student")
    return Roster(people, assignments_of(titles, worths))


def column_name(cell: str) -> str:
    return re.sub(r"\W|_", "", cell.casefold())


def columns_of(cells: list[str]) -> dict[str, int]:
    """Which column says what about a person."""
    known = {alias: name for name, aliases in COLUMNS.items() for alias in aliases}
    columns: dict[str, int] = {}
    for number, cell in enumerate(cells):
        name = known.get(column_name(cell))
        if name and name not in columns:
            columns[name] = number
    return columns


def person_of(facts: dict[str, str]) -> Person:
    name = facts.pop("name", "") or f"{facts.get('first', '')} {facts.get('last', '')}".strip()
    identifier = facts.pop("identifier", "")
    if participant := PARTICIPANT.fullmatch(identifier):
        facts["participant"] = participant[1]
    elif identifier:
        facts["id"] = facts.get("id") or identifier
    return Person(name, **{key: value for key, value in facts.items() if key not in ("first", "last")})


def assignments_of(titles: dict[int, str], worths: dict[int, str]) -> dict[str, Assignment]:
    """The assignment of each lesson that exactly one title names."""
    found: dict[str, list[Assignment]] = {}
    for number, title in titles.items():
        lesson = names_lesson(re.sub(r"\W+", "_", title), list(LESSONS))
        if lesson:
            found.setdefault(lesson, []).append(Assignment(title, worths.get(number, "")))
    return {lesson: assignments[0] for lesson, assignments in found.items() if len(assignments) == 1}
