"""`python -m solutions.release`: what a lesson's source becomes, what is refused, and that nobody's work is lost."""

import ast
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import jupytext
import nbformat
import pytest
import torch
from nbgrader.converters import GenerateAssignment
from nbgrader.coursedir import CourseDirectory
from nbgrader.nbgraderformat import MetadataValidator
from traitlets.config import Config

import checks.tool.exercise
import lessons
from checks.tool.exercise import exercise
from checks.tool.expect import expect_equal
from lessons.reading.cells import digest
from solutions import release
from solutions.release import ReleaseError, build, build_course, lift, to_bytes, write
from solutions.tests.helpers.boxes_lesson import NAME, POINTS, SOURCE, edit, solve
from solutions.tests.helpers.course_lessons import lesson_of_the_course


@pytest.fixture
def lesson():
    return build(NAME, SOURCE, POINTS)


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A made-up course of one lesson, for the command line."""
    root = tmp_path / "course"
    (root / "solutions").mkdir(parents=True)
    (root / "solutions" / f"{NAME}.py").write_text(SOURCE)
    (root / "lessons").mkdir()
    (root / "README.md").write_text("| lesson |\n| --- |\n| [boxes](lessons/01_boxes/01_boxes.ipynb) |\n")
    (root / "pyproject.toml").write_text("[project]\nname = 'boxes'\n\n[project.optional-dependencies]\n")
    monkeypatch.setattr(release, "ROOT", root)
    monkeypatch.setattr(release, "LESSONS", (NAME,))
    monkeypatch.setattr(checks.tool.exercise, "catalogue", lambda: {NAME: POINTS})
    monkeypatch.setattr(
        checks.tool.exercise, "checks_of", lambda _, stretch=False: [] if stretch else [check_double, check_area]
    )
    return root


def double_of(lesson, x):
    return lesson.double(x)


def area_of(lesson, side):
    return lesson.Box(side).area()


@exercise("double", points=3)
def check_double(learner):
    """Twice."""
    expect_equal(learner(double_of, 4), 8, called=learner.called)


@exercise("Box", points=2)
def check_area(learner):
    """Side squared."""
    expect_equal(learner(area_of, 3), 9, called=learner.called)


def sources(notebook):
    return [cell.source for cell in notebook.cells]


def cell_with(notebook, text):
    (found,) = [cell for cell in notebook.cells if text in cell.source]
    return found


# What the notebooks hold


def test_the_notebooks_are_valid(lesson):
    for notebook in (lesson.solved, lesson.released):
        nbformat.validate(notebook)
        MetadataValidator().validate_nb(notebook)
        ids = [cell.id for cell in notebook.cells]
        assert len(set(ids)) == len(ids)
        assert all(
            cell.outputs == [] and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code"
        )
        assert notebook.metadata.kernelspec.name == "python3"


def test_a_stub_keeps_its_docstring_and_loses_its_solution(lesson):
    assert cell_with(lesson.released, "def double").source == textwrap.dedent('''\
        def double(x):
            """Twice x."""
            # YOUR CODE HERE
            raise NotImplementedError()''')
    box = cell_with(lesson.released, "class Box").source
    assert box.count("raise NotImplementedError()") == 2
    question = cell_with(lesson.released, "Why boxes?").source
    assert question == "Why boxes?\n\nYOUR ANSWER HERE"
    for text in ("SOLUTION", "secret", "2 * x", "self.side", "tile"):
        assert all(text not in source for source in sources(lesson.released))
    assert sum("secret" in source for source in sources(lesson.solved)) == 1


def test_imports_demos_and_checks_are_a_learners(lesson):
    given = cell_with(lesson.released, "import math").source
    assert "from lessons.masking import Masks\nfrom solutions.tools import saw" in given
    demo = """# a demo
from lessons import figures

text = '''
    kept
  as it is
'''

print(f"{text}")  # said"""
    assert cell_with(lesson.released, "a demo").source == demo.replace("'''", '"""')
    assert 'check("double")' in sources(lesson.released)
    assert all("__main__" not in source for source in sources(lesson.released))


def test_the_cells_are_graded_as_nbgrader_needs_it(lesson):
    found = {cell.metadata.nbgrader.grade_id: cell for cell in lesson.released.cells if "nbgrader" in cell.metadata}
    said = {
        grade_id: (cell.metadata.nbgrader.grade, cell.metadata.nbgrader.solution, cell.metadata.nbgrader.locked)
        for grade_id, cell in found.items()
    }
    assert said == {
        "double": (False, True, False),
        "check_double": (True, False, True),
        "Box": (False, True, False),
        "check_Box": (True, False, True),
        "why_boxes": (True, True, False),
    }
    points = {
        grade_id: cell.metadata.nbgrader.points
        for grade_id, cell in found.items()
        if "points" in cell.metadata.nbgrader
    }
    assert points == {"check_double": 3, "check_Box": 2, "why_boxes": 2}


def test_nbgrader_makes_the_same_of_the_source(lesson, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)  # nbgrader calls alembic
    path = tmp_path / "source" / "01_patch_embedding" / "01_patch_embedding.ipynb"
    write({path: to_bytes(lesson.solved)})
    config = Config()
    config.CourseDirectory.root = str(tmp_path)
    config.CourseDirectory.db_url = f"sqlite:///{tmp_path}/gradebook.db"
    config.CourseDirectory.assignment_id = "01_patch_embedding"
    GenerateAssignment(coursedir=CourseDirectory(config=config), config=config).start()
    theirs = nbformat.read(tmp_path / "release" / "01_patch_embedding" / path.name, as_version=4)
    assert theirs.cells == lesson.released.cells


def test_the_solved_code_is_the_source(lesson):
    script = ast.parse(jupytext.writes(lesson.solved, fmt="py:percent"))
    guarded = [node for node in ast.parse(SOURCE.replace("solutions.masking", "lessons.masking")).body]
    plain = [part for node in guarded for part in (node.body if isinstance(node, ast.If) else [node])]
    assert [ast.dump(node) for node in script.body[2:]] == [ast.dump(node) for node in plain]


def test_a_cell_of_the_script_alone_is_in_no_notebook(lesson):
    command = '\n# %% only="script"\nif __name__ == "__main__" and __spec__:\n    raise SystemExit(main())\n'
    made = build(NAME, SOURCE.replace("\n# %%", f"{command}\n# %%", 1), POINTS)
    assert command.strip().splitlines()[-1] not in "".join(sources(made.solved))
    assert [to_bytes(made.solved), to_bytes(made.released)] == [to_bytes(lesson.solved), to_bytes(lesson.released)]


def test_release_is_byte_stable(lesson):
    code = "import sys\nfrom solutions.release import *\n"
    code += "lesson = build(sys.argv[1], sys.argv[2], {'Box': 2, 'double': 3})\n"
    code += "sys.stdout.buffer.write(to_bytes(lesson.released) + to_bytes(lesson.solved))"
    environment = os.environ | {
        "PYTHONHASHSEED": "7",
        "LC_ALL": "C",
        "PYTHONPATH": str(Path(lessons.__file__).parents[1]),
    }
    done = subprocess.run([sys.executable, "-c", code, NAME, SOURCE], capture_output=True, env=environment, check=True)
    assert done.stdout == to_bytes(lesson.released) + to_bytes(lesson.solved)
    assert b"\r" not in done.stdout and done.stdout.endswith(b"}\n")


def test_a_new_cell_changes_no_other_sections_ids(lesson):
    longer = build(NAME, SOURCE.replace("# Between.", "# Between.\n\n# %% [markdown]\n# More."), POINTS)
    before, after = [cell.id for cell in lesson.released.cells], [cell.id for cell in longer.released.cells]
    assert [name for name in after if name not in before] == ["patch_embedding-check_double-2"]
    assert [name for name in after if name in before] == before


def test_the_set_up_cell_borrows_where_the_course_is_at_hand(monkeypatch, capsys):
    called = []
    monkeypatch.setattr(lessons, "borrow", called.append)
    for address in ("", "https://github.com/ada/course"):
        first = build(NAME, SOURCE, POINTS, address).released.cells[0]
        assert first.cell_type == "code" and (address in first.source)
        exec(first.source, {})
    assert called == [NAME, NAME]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("cell", "lifted"),
    [
        ("x = 1", "x = 1"),
        ('if __name__ == "__main__":\n    x = 1\n\n    # a\n# b\n    y = 2', "x = 1\n\n# a\n# b\ny = 2"),
        ('# before\nif __name__ == "__main__":\n    for i in x:\n        y', "# before\nfor i in x:\n    y"),
        ("if __name__ == \"__main__\":\n    f('''a\n    b''', 1)\n    g()", "f('''a\n    b''', 1)\ng()"),
        ("if __name__ == \"__main__\":\n    f(f'''a\n    {b}\n    c''')\n    g()", "f(f'''a\n    {b}\n    c''')\ng()"),
        ("if __name__ == \"__main__\":\n    f('a'\n      'b')", "f('a'\n  'b')"),
        ("if __name__ == \"__main__\":\n    f('a\\\n    b')", "f('a\\\n    b')"),
        ('if __name__ == "__main__":\n    if a:\n        b\n    else:\n        c', "if a:\n    b\nelse:\n    c"),
    ],
)
def test_demos_are_lifted_out_of_the_guard(cell, lifted):
    assert lift(cell, "here") == lifted


@pytest.mark.parametrize(
    "cell",
    [
        'x = 1\nif __name__ == "__main__":\n    y = 2',
        'if __name__ == "__main__":\n    y = 2\nx = 1',
        'if __name__ == "__main__":\n    y = 2\nelse:\n    x = 1',
        'if __name__ == "__main__": y = 2',
        "if __name__ == '__main__' and x:\n    y = 2",
        'if __name__ == "__main__":\n  y = 2',
        'if __name__ == "__main__":\n    y = (',
    ],
)
def test_a_demo_that_cannot_be_lifted_is_refused(cell):
    with pytest.raises(ReleaseError, match=r"^here: "):
        lift(cell, "here")


# What is refused


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('exercise="Box"', 'exercise="double"', "cell 7: exercise double is not defined here"),
        (
            '# %%\nif __name__ == "__main__":\n    check("Box")\n',
            "",
            'cell 7: exercise Box has no check cell, `check("Box")`',
        ),
        ('check("Box")', 'check("Bax")', 'cell 8: check("Bax") is a check without an exercise'),
        ('check("Box")', 'check("double")', 'cell 8: check("double") is a second check'),
        ('# %% exercise="double"', "# %%", "cell 4: a solution region stands outside of an exercise"),
        ("    return 2 * x\n    ### END SOLUTION", "    return 2 * x", "cell 4: double needs `### BEGIN SOLUTION`"),
        ("    ### BEGIN SOLUTION\n    # the secret", "    # the secret", "cell 4: double needs `### BEGIN SOLUTION`"),
        ("    # the secret", "    ### BEGIN SOLUTION", "cell 4: double needs `### BEGIN SOLUTION`"),
        ("    # the secret", "    ### END SOLUTION", "cell 4: double needs `### BEGIN SOLUTION`"),
        (
            '"""Twice x."""',
            '"""Twice x."""\n    ### Begin solution',
            "patch_embedding-double: a solution region is left in the stub",
        ),
        ("# Between.", "# Between. ### BEGIN SOLUTION", "cell 6: a solution region stands outside"),
        ("points=2", "", "cell 9: question why_boxes must be a markdown cell with points=N"),
        ("def double(x):", "def double(x:", "cell 4: this is no valid Python"),
    ],
)
def test_a_source_that_is_wrong_is_refused_by_file_and_cell(old, new, said):
    assert SOURCE.count(old) == 1
    with pytest.raises(ReleaseError) as raised:
        build(NAME, SOURCE.replace(old, new), POINTS)
    assert str(raised.value).startswith("solutions/patch_embedding.py, ")
    assert said in str(raised.value)


def test_exercises_and_checks_must_be_the_same(lesson):
    with pytest.raises(ReleaseError, match=r"cell 7: exercise Box has no check in checks/test_01_patch_embedding.py"):
        build(NAME, SOURCE, {"double": 3})
    with pytest.raises(ReleaseError, match=r"checks/test_01_patch_embedding.py: there are checks of triple, but"):
        build(NAME, SOURCE, POINTS | {"triple": 1})


def test_a_duplicate_exercise_is_refused():
    twice = (
        SOURCE
        + '\n# %% exercise="double"\ndef double(x):\n    ### BEGIN SOLUTION\n    return x + x\n    ### END SOLUTION\n'
    )
    with pytest.raises(ReleaseError, match=r"cell 10: double is a duplicate, it stands in .*cell 4 too"):
        build(NAME, twice, POINTS)
    both = {NAME: SOURCE, "masking": SOURCE}
    with pytest.raises(
        ReleaseError, match=r"masking.py: exercise double stands in solutions/patch_embedding.py already"
    ):
        build_course(both, {NAME: POINTS, "masking": POINTS})


def test_a_stub_that_passes_is_refused_and_nothing_is_written(course, capsys):
    path = course / "solutions" / f"{NAME}.py"
    path.write_text(SOURCE.replace('    """Twice x."""', '    """Twice x."""\n    if x == 4:\n        return 8'))
    assert release.main([]) == 1
    assert capsys.readouterr().err == "solutions/patch_embedding.py: the stub of double passes check_double\n"
    assert list((course / "lessons").iterdir()) == []


# What is written, and what is never overwritten


def test_release_twice_gives_identical_bytes_and_check_agrees(course, capsys):
    path = course / "lessons" / "01_patch_embedding" / "01_patch_embedding.ipynb"
    assert release.main(["--check"]) == 1
    assert "lessons/01_patch_embedding/01_patch_embedding.ipynb is not what" in capsys.readouterr().err
    assert release.main([]) == 0
    first = path.read_bytes()
    assert release.main(["--check"]) == 0
    assert release.main([]) == 0
    assert path.read_bytes() == first
    assert sorted(item.name for item in path.parent.iterdir()) == [path.name]
    source = course / "solutions" / f"{NAME}.py"
    source.write_text(SOURCE.replace("import math", "import math, os"))
    assert release.main(["--check"]) == 1
    source.write_text(SOURCE)
    assert release.main(["--check"]) == 0


def test_an_address_that_is_given_once_is_kept_and_check_takes_no_notice_of_origin(course, capsys):
    for command in (["init"], ["remote", "add", "origin", "https://github.com/bob/course"]):
        subprocess.run(["git", *command], cwd=course, check=True, capture_output=True)
    path = course / "lessons" / "01_patch_embedding" / "01_patch_embedding.ipynb"
    address, others = "https://github.com/ada/course", ("README.md", "pyproject.toml")
    assert release.main([]) == 0
    assert "https://github.com/bob/course" in path.read_text()
    assert release.main(["--repository", address]) == 0
    assert all(address in place.read_text() for place in (path, *(course / name for name in others)))
    assert release.main([]) == 0 and address in path.read_text()
    assert release.main(["--check"]) == 0
    assert release.main(["--check", "--repository", "https://github.com/eve/course"]) == 1
    assert all(name in capsys.readouterr().err for name in others[:1])


def test_check_is_the_same_in_a_clone(course):
    assert release.main([]) == 0
    for command in (["init"], ["remote", "add", "origin", "https://github.com/bob/course"]):
        subprocess.run(["git", *command], cwd=course, check=True, capture_output=True)
    assert release.main(["--check"]) == 0


def test_the_solved_course_and_nbgraders_source(course, tmp_path, lesson):
    assert release.main(["--solved", str(tmp_path / "solved")]) == 0
    assert release.main(["--nbgrader", str(tmp_path / "nbgrader")]) == 0
    for folder in (tmp_path / "solved", tmp_path / "nbgrader" / "source"):
        assert (folder / "01_patch_embedding" / "01_patch_embedding.ipynb").read_bytes() == to_bytes(lesson.solved)
    assert list((course / "lessons").iterdir()) == []


def test_learners_find_a_model_answer_below_a_question_and_nbgrader_and_some_kits_do_not(course, lesson, tmp_path):
    def texts(notebook) -> list[str]:
        return [cell.source for cell in notebook.cells if "They tile." in cell.source]

    assert release.main([]) == 0
    path = course / "lessons" / "01_patch_embedding" / "01_patch_embedding.ipynb"
    notebook = nbformat.read(path, as_version=4)
    (folded,) = texts(notebook)
    assert folded.startswith("<details><summary>") and folded.endswith("</details>") and "Rubric" not in folded
    assert notebook.cells[-2].metadata["nbgrader"]["grade_id"] == "why_boxes"
    assert notebook.cells[-1].source == folded and "nbgrader" not in notebook.cells[-1].metadata
    assert not release.is_edited(path)
    assert texts(lesson.released) == []


def test_a_kit_without_model_answers(tmp_path, capsys):
    for name, options, held in (("with", [], True), ("without", ["--no-answers"], False)):
        assert release.main(["--kit", "patch_embedding", str(tmp_path / name), *options]) == 0
        notebook = tmp_path / name / "lessons" / "01_patch_embedding" / "01_patch_embedding.ipynb"
        assert ("A model answer" in notebook.read_text(encoding="utf-8")) == held
    with pytest.raises(SystemExit):
        release.main(["--no-answers"])
    assert "--no-answers goes with --kit" in capsys.readouterr().err


def test_a_stretch_exercise_is_a_stub_that_is_not_graded():
    body = '    """Twist."""\n    ### BEGIN SOLUTION\n    return -x\n    ### END SOLUTION\n'
    cell = f'# %% stretch="twist"\ndef twist(x):\n{body}'
    demo = '\n\n# %%\nif __name__ == "__main__":\n    check("twist")\n\n'
    made = build(
        NAME, SOURCE.replace("# %% [markdown]\n# Between.", cell + demo + "# %% [markdown]\n# Between."), POINTS
    )
    own, check = (cell for cell in made.released.cells if "twist" in cell.source)
    assert "return -x" not in own.source and "raise NotImplementedError()" in own.source and "Twist." in own.source
    assert own.metadata["nbgrader"]["solution"] and not own.metadata["nbgrader"]["grade"]
    assert check.source == 'check("twist")' and "nbgrader" not in check.metadata
    with pytest.raises(ReleaseError, match="twist is not defined here"):
        build(NAME, SOURCE + cell.replace("def twist", "def turn"), POINTS)


@pytest.fixture
def released(lesson, tmp_path):
    path = tmp_path / "01_patch_embedding" / "01_patch_embedding.ipynb"
    write({path: to_bytes(lesson.released)})
    return path


EDITS = {
    "code": solve,
    "an answer": lambda notebook: notebook.cells[-1].update(source="Because."),
    "a cell more": lambda notebook: notebook.cells.append(nbformat.v4.new_code_cell("x = 1")),
    "a cell less": lambda notebook: notebook.cells.pop(),
    "metadata dropped": lambda notebook: notebook.update(metadata={}),
}


@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in EDITS.items()])
def test_edited_work_is_refused_and_with_force_kept(released, change):
    edit(released, change)
    work = released.read_bytes()
    with pytest.raises(ReleaseError, match=r"worked in .*01_patch_embedding.ipynb: with --force a copy is kept"):
        write({released: b"{}"})
    assert released.read_bytes() == work
    write({released: b"{}"}, force=True)
    assert released.read_bytes() == b"{}"
    assert released.with_name("01_patch_embedding.backup-1.ipynb").read_bytes() == work
    released.write_bytes(b"work of another day")
    write({released: b"{}"}, force=True)
    assert released.with_name("01_patch_embedding.backup-1.ipynb").read_bytes() == work
    assert released.with_name("01_patch_embedding.backup-2.ipynb").read_bytes() == b"work of another day"


def test_a_notebook_that_was_only_run_is_not_edited(released):
    def run(notebook):
        notebook.cells[1].metadata["trusted"] = True
        notebook.metadata.language_info["version"] = "3.12.1"
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [nbformat.v4.new_output("stream", text="hi")], 3
        notebook.cells.append(nbformat.v4.new_code_cell(""))

    edit(released, run)
    write({released: b"{}"})
    assert released.read_bytes() == b"{}"
    assert [path.name for path in released.parent.iterdir()] == [released.name]


def test_a_script_beside_the_notebook_is_work_too(released):
    script = released.with_suffix(".py")
    script.write_text("x = 1")
    write({released: released.read_bytes()})  # nothing to change: nothing to refuse
    with pytest.raises(ReleaseError, match=r"01_patch_embedding\.py"):
        write({released: b"{}"})
    write({released: b"{}"}, force=True)
    assert not script.exists()
    assert script.with_name("01_patch_embedding.backup-1.py").read_text() == "x = 1"


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_failure_leaves_everything_as_it_was(tmp_path, lesson, monkeypatch, fails_at):
    paths = [tmp_path / name / "lesson.ipynb" for name in ("a", "b", "c")]
    write({paths[0]: to_bytes(lesson.released)})
    old, real, count = paths[0].read_bytes(), os.replace, []

    def replace(source, target):
        count.append(target)
        if len(count) == fails_at:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="No space left"):
        write({path: to_bytes(lesson.solved) for path in paths})
    assert paths[0].read_bytes() == old
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")) == ["a", "a/lesson.ipynb"]


def test_the_digest_ignores_what_front_ends_change(lesson):
    written = nbformat.from_dict(json.loads(json.dumps(lesson.released)))
    for cell in written.cells:
        cell.source += "\n"
        del cell["id"]
    assert digest(written) == lesson.released.metadata.course.digest
    solve(written)
    assert digest(written) != lesson.released.metadata.course.digest


@pytest.mark.parametrize("name", lessons.LESSONS)
def test_importing_a_lesson_trains_nothing(name, monkeypatch):
    def step(*_, **__):
        raise RuntimeError("an import ran a training")

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    content = to_bytes(lesson_of_the_course(name).released)
    module = lessons.load_lesson(name, Path(f"{name}.ipynb"), content, reference=True)
    lessons.forget(name)
    assert not [why for why in module.__report__.failed.values() if "ran a training" in why]
