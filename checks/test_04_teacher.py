"""Lesson 4: the teacher. The students and teachers here are small stand-ins; their weights are handed over by name."""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from checks.tool.exercise import drawn, exercise
from checks.tool.expect import Later, expect_close, expect_equal, expect_that, find_difference, shape


class Student(nn.Module):
    """A bit of everything: weights, a frozen table, buffers of floats, integers and bools, dropout, batch norm."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.pos_embed = nn.Parameter(torch.randn(1, 4, 6), requires_grad=False)
        self.register_buffer("centre", torch.randn(6))
        self.register_buffer("seen", torch.randint(1000, (2,)))
        self.register_buffer("flags", torch.rand(5) < 0.5)
        self.blocks = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), nn.BatchNorm1d(4))

    def forward(self, tokens):
        return self.blocks(tokens + self.pos_embed) * self.scale - self.centre


class LocalTeacher(nn.Module):
    """A token depends on its own patch alone."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, images, keep=None):
        tokens = F.unfold(images, 2, stride=2).transpose(1, 2) @ self.weight  # patches of 2 x 2 pixels
        if keep is not None:
            tokens = torch.stack([row[indices] for row, indices in zip(tokens, keep, strict=True)])
        return tokens


class GlobalTeacher(LocalTeacher):
    """As LocalTeacher, but each token depends on every patch that is fed."""

    def forward(self, images, keep=None):
        tokens = super().forward(images, keep)
        return tokens + 3 * tokens.mean(dim=1, keepdim=True).sin()


class DroppingTeacher(LocalTeacher):
    """As LocalTeacher, with dropout and batch norm: in train mode its tokens are others."""

    def __init__(self, weight):
        super().__init__(weight)
        self.drop, self.norm = nn.Dropout(0.5), nn.BatchNorm1d(weight.shape[1])

    def forward(self, images, keep=None):
        tokens = self.drop(super().forward(images, keep))
        return self.norm(tokens.transpose(1, 2)).transpose(1, 2)


def filled(state):
    """A Student with these values, in the dtype of state["scale"]."""
    student = Student().to(state["scale"].dtype)
    student.load_state_dict(state)
    return student


def new_state(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Random values for all that a Student holds."""
    state = dict(Student().to(dtype).state_dict())
    for name, value in state.items():
        if value.is_floating_point():
            state[name] = torch.rand_like(value) + 0.5
        elif value.dtype == torch.long:
            state[name] = torch.randint(1, 10**6, value.shape)
        else:
            state[name] = torch.rand(value.shape) < 0.5
    return state


def parameters(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: state[name] for name, _ in Student().named_parameters()}


def state_of_teacher(lesson, state):
    """make_teacher(student).state_dict()"""
    return dict(lesson.make_teacher(filled(state)).state_dict())


def teacher_modes(lesson, state):
    """make_teacher(student): .training of the teacher and of the modules in it"""
    return {name or "teacher": module.training for name, module in lesson.make_teacher(filled(state)).named_modules()}


def teacher_requires_grad(lesson, state):
    """make_teacher(student): .requires_grad of the parameters"""
    return {name: value.requires_grad for name, value in lesson.make_teacher(filled(state)).named_parameters()}


def teacher_while_the_student_moves(lesson, state):
    """make_teacher(student).state_dict(), before and after all weights and buffers of the student are changed"""
    student = filled(state)
    teacher = lesson.make_teacher(student)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    with torch.no_grad():
        for value in student.state_dict().values():
            value.copy_(~value if value.dtype == torch.bool else value + 1)
    return {"before": before, "after": dict(teacher.state_dict())}


def student_after_make_teacher(lesson, state):
    """make_teacher(student), then a look at the student"""
    student = filled(state)
    student.blocks[1].eval()
    teacher = lesson.make_teacher(student)
    return {
        "teacher": [name for name, _ in teacher.named_parameters()],
        "training": {name or "student": module.training for name, module in student.named_modules()},
        "requires_grad": {name: value.requires_grad for name, value in student.named_parameters()},
        "values": dict(student.state_dict()),
    }


def expect_copied(names: Iterable[str], expected: Iterable[str], called: str) -> None:
    """What the teacher holds must be named as what it is a copy of: of nothing, every property holds."""
    missing = [name for name in expected if name not in names]
    expect_that(
        not missing,
        called=called,
        expected="a teacher that holds all that the student does",
        got=f"one without {', '.join(missing)}",
        likely="What came back doesn't hold what the student holds: the teacher is a copy of it (copy.deepcopy).",
    )


@exercise("make_teacher")
def test_make_teacher_copies_every_value(learner):
    """The teacher holds the student's values: parameters, frozen ones too, and buffers."""
    state = new_state()
    got = learner(state_of_teacher, state)
    likely = (
        "The teacher starts as a copy of the student (copy.deepcopy), weights and buffers alike: a new module has "
        "random weights of its own."
    )
    expect_equal(got, state, called=learner.called, likely=likely)


@exercise("make_teacher")
def test_make_teacher_gives_eval_mode(learner):
    """The teacher and every module in it are in eval mode."""
    expected = {name or "teacher": False for name, _ in Student().named_modules()}
    mistakes = {
        "Only the outermost module is in eval mode, so dropout still runs inside: call .eval() on the teacher.": {
            name: name != "teacher" for name in expected
        },
    }
    got = learner(teacher_modes, new_state())
    expect_copied(got, expected, learner.called)
    likely = "The teacher is left in train mode, so that dropout is active in it: call .eval() on the teacher."
    expect_equal(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("make_teacher")
def test_make_teacher_needs_no_gradients(learner):
    """No parameter of the teacher requires a gradient."""
    expected = {name: False for name, _ in Student().named_parameters()}
    got = learner(teacher_requires_grad, new_state())
    expect_copied(got, expected, learner.called)
    likely = "The teacher's weights still require gradients: switch them off with teacher.requires_grad_(False)."
    expect_equal(got, expected, called=learner.called, likely=likely)


@exercise("make_teacher", points=2)
def test_make_teacher_shares_nothing(learner):
    """What happens to the student afterwards does not reach the teacher."""
    state = new_state()
    changed = {name: ~value if value.dtype == torch.bool else value + 1 for name, value in state.items()}
    weights = parameters(state)
    mistakes = {
        "The teacher moves with the student: it is the same module, or shares all its storage. Copy the values "
        "(copy.deepcopy).": changed,
        "The teacher's buffers are the student's own: copy them too.": changed | weights,
        "The teacher's parameters are the student's own: copy them.": state | {name: changed[name] for name in weights},
    }
    got = learner(teacher_while_the_student_moves, state)
    expect_copied(got["before"], state, learner.called)
    likely = "Some of the teacher's storage is the student's: copy every value (copy.deepcopy)."
    expect_close(got["after"], got["before"], called=learner.called, mistakes=mistakes, likely=likely)


@exercise("make_teacher")
def test_make_teacher_leaves_the_student_alone(learner):
    """The student keeps its mode, its values, and which of its weights are trained."""
    state, student = new_state(), Student()
    training = {name or "student": name != "blocks.1" for name, _ in student.named_modules()}
    requires_grad = {name: value.requires_grad for name, value in student.named_parameters()}
    got = learner(student_after_make_teacher, state)
    expect_copied(got["teacher"], requires_grad, learner.called)
    evaluated = {name: False for name in training}, "The student is put in eval mode as well: call .eval() on the copy."
    trained = {name: True for name in training}, "The student is put in train mode: leave each module in its own mode."
    mistakes = {sentence: modes for modes, sentence in (evaluated, trained)}
    likely = "The student's mode is changed: call .eval() on the copy, and nothing on the student."
    expect_equal(got["training"], training, called=f"{learner.called}: .training", mistakes=mistakes, likely=likely)
    frozen, trained = {name: False for name in requires_grad}, {name: True for name in requires_grad}
    mistakes = {
        "The student is frozen as well, so it would never learn: requires_grad_(False) is for the copy alone.": frozen,
        "The student's frozen weights are made trainable: leave the student as it is.": trained,
    }
    called = f"{learner.called}: .requires_grad"
    expect_equal(got["requires_grad"], requires_grad, called=called, mistakes=mistakes)
    likely = "The student's values are changed: only read them."
    expect_equal(got["values"], state, called=f"{learner.called}: its values", likely=likely)


# batch, rows and columns of patches, dim, target blocks, patches of a block
SIZES = [(2, 2, 3, 7, 3, 4), (1, 3, 3, 8, 1, 2), (3, 2, 2, 6, 4, 1)]


def local_targets(lesson, weight, images, targets):
    """teacher_targets(teacher, images {images}, targets {targets})"""
    return lesson.teacher_targets(frozen(LocalTeacher(weight)), images, targets)


def global_targets(lesson, weight, several, targets):
    """teacher_targets(teacher, images, targets {targets}), where each token of the teacher depends on all patches"""
    teacher = frozen(GlobalTeacher(weight))
    return [lesson.teacher_targets(teacher, images, targets) for images in several]


def dropping_targets(lesson, weight, images, targets):
    """teacher_targets(teacher, images {images}, targets {targets}) twice, with dropout in the teacher, in eval mode"""
    teacher = frozen(DroppingTeacher(weight))
    first = lesson.teacher_targets(teacher, images, targets)
    again = lesson.teacher_targets(teacher, images, targets)
    training = any(module.training for module in teacher.modules())
    return {"answers": [first, again, lesson.teacher_targets(teacher, -images, targets)], "training": training}


def graph_of_targets(lesson, weight, images, targets):
    """teacher_targets(teacher, images {images}, targets {targets}), both with requires_grad"""
    teacher = LocalTeacher(weight).eval()
    got = lesson.teacher_targets(teacher, images.requires_grad_(), targets)
    graph = {"requires_grad": getattr(got, "requires_grad", None), "gradients on afterwards": torch.is_grad_enabled()}
    others = [lesson.teacher_targets(teacher, other, targets) for other in (images, -images)]
    return {"answers": [got, *others], "graph": graph}


def frozen(teacher):
    return teacher.requires_grad_(False).eval()


def scene(batch: int, rows: int, columns: int, dim: int, blocks: int, count: int, dtype=torch.float32) -> tuple:
    """Weight, images and targets: each image's own patches, in no order, the same ones in several blocks."""
    weight = 3 * torch.randn(12, dim, dtype=dtype)  # so large that eps doesn't show
    images = torch.randn(batch, 3, 2 * rows, 2 * columns, dtype=dtype)
    order = torch.rand(batch, blocks, rows * columns).argsort(dim=2)
    return weight, images, order[:, :, :count].contiguous()


def take(tokens: Tensor, targets: Tensor) -> Tensor:
    """The tokens [B, N, D] at targets [B, M, Nt], image by image: [B, M, Nt, D]."""
    return torch.stack([row[indices] for row, indices in zip(tokens, targets, strict=True)])


def normalised(tokens: Tensor, dims: tuple[int, ...] = (-1,), eps: float = 1e-5, correction: int = 0) -> Tensor:
    variance, mean = torch.var_mean(tokens, dims, correction=correction, keepdim=True)
    return (tokens - mean) / (variance + eps).sqrt()


def expect_shape(got, weight: Tensor, images: Tensor, targets: Tensor, called: str) -> None:
    batch, blocks, count = targets.shape
    likely = "Give back one token for each index, block by block: [B, M, Nt, D]."
    if got is None:
        likely = "Is the `return` missing?"
    elif isinstance(got, Tensor) and got.shape == (batch, blocks * count, weight.shape[1]):
        likely = "The blocks stand in one row: split M * Nt into (M, Nt) again, with unflatten or reshape."
    expected = [batch, blocks, count, weight.shape[1]]
    expect_that(
        isinstance(got, Tensor) and list(got.shape) == expected,
        called=called,
        expected=f"a tensor {expected}",
        got=shape(got) if isinstance(got, Tensor) else type(got).__name__,
        likely=likely,
    )


def expect_answers(first, again, other, called: str) -> None:
    """Targets of some images, of the same ones again and of others: what no teacher gave has nothing to show."""
    if not first.isfinite().all():
        got = "NaN or infinity"
    elif find_difference(again, first, 1e-4, 1e-5):
        got = "other targets for the same images"
    else:
        got = "the same targets for other images"
    expect_that(
        got.startswith("the same") and bool(find_difference(other, first, 1e-4, 1e-5)),
        called=called,
        expected="targets that depend on the images, and on nothing else",
        got=got,
        likely="The targets must be the teacher's answer to these images: its tokens, teacher(images), normalised.",
    )


@exercise("teacher_targets", points=2)
def test_teacher_targets_are_normalised_tokens(learner):
    """Each target is its patch's token, normalised over D, in the order of the indices."""
    batch, rows, columns, dim, blocks = drawn((1, 3), (2, 4), (2, 4), (4, 9), (1, 3))
    for size in (*SIZES, (batch, rows, columns, dim, blocks, *drawn((1, rows * columns)))):
        for dtype in (torch.float32, torch.float64):
            weight, images, targets = scene(*size, dtype)
            with torch.no_grad():
                tokens = LocalTeacher(weight)(images)
            expected = take(normalised(tokens), targets)
            mistakes = Later(target_mistakes, tokens, targets)
            got = learner(local_targets, weight, images, targets)
            expect_shape(got, weight, images, targets, learner.called)
            likely = "F.layer_norm(h, (D,)), then take the tokens at targets[b, m] for each image b and block m."
            expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


def target_mistakes(tokens: Tensor, targets: Tensor) -> dict[str, Tensor]:
    raw = take(tokens, targets)
    return {
        "layer_norm is missing: normalise the tokens over D.": raw,
        "Normalised over patches and D together: each token is normalised by itself, over (D,).": take(
            normalised(tokens, (1, 2)), targets
        ),
        "Normalised over the patches, not over D.": take(normalised(tokens, (1,)), targets),
        "Normalised over the images, not over D.": take(normalised(tokens, (0,)), targets),
        "Normalised over images and patches as batch norm does, not over D.": take(normalised(tokens, (0, 1)), targets),
        "Normalised over the whole batch: each token is normalised by itself, over (D,).": take(
            normalised(tokens, (0, 1, 2)), targets
        ),
        "Normalised over the patches of a block, not over D.": normalised(raw, (2,)),
        "Normalised over the patches of a block and D together: each token by itself, over (D,).": normalised(
            raw, (2, 3)
        ),
        "Divided by the length of the token (F.normalize): layer_norm takes the mean off and divides by the "
        "standard deviation.": F.normalize(raw, dim=-1),
        "The mean is not taken off.": raw / (raw.var(-1, correction=0, keepdim=True) + 1e-5).sqrt(),
        "The mean is taken off, but the division by the standard deviation is missing.": raw
        - raw.mean(-1, keepdim=True),
        "The variance is divided by D - 1: layer_norm divides by D.": normalised(raw, correction=1),
        "All images get the targets of image 0.": take(normalised(tokens), targets[:1].expand_as(targets)),
        "All targets are taken from image 0.": take(normalised(tokens[:1].expand_as(tokens)), targets),
        "The indices are sorted: keep the order of targets.": take(normalised(tokens), targets.sort(2).values),
    }


@exercise("teacher_targets")
def test_teacher_targets_use_the_default_eps(learner):
    """Tokens that hardly vary are normalised with eps 1e-5, torch's default."""
    weight, images, _ = scene(1, 2, 3, 5, 1, 6)
    weight, targets = weight / 3000, torch.arange(6).reshape(1, 1, 6)
    with torch.no_grad():
        tokens = take(LocalTeacher(weight)(images), targets)
    mistakes = {
        "eps is 1e-6: here it is torch's default, 1e-5.": normalised(tokens, eps=1e-6),
        "eps is left out: F.layer_norm adds 1e-5 to the variance.": normalised(tokens, eps=0),
        "eps is added to the standard deviation: it belongs to the variance, under the root.": (
            (tokens - tokens.mean(-1, keepdim=True)) / (tokens.std(-1, correction=0, keepdim=True) + 1e-5)
        ),
    }
    got = learner(local_targets, weight, images, targets)
    expect_shape(got, weight, images, targets, learner.called)
    likely = "F.layer_norm(h, (D,)) with no eps of one's own adds 1e-5 to the variance."
    expect_close(got, normalised(tokens), called=learner.called, mistakes=mistakes, likely=likely)


@exercise("teacher_targets", points=2)
def test_teacher_targets_come_from_the_full_image(learner):
    """Every pixel of an image, in a target or not, changes all targets of this image."""
    for rows, columns in ((3, 3), (2, 5)):
        weight, images, targets = scene(3, rows, columns, 6, 2, 3)
        inside = torch.zeros(3, rows * columns).scatter(1, targets.flatten(1), 1.0).reshape(3, 1, rows, columns)
        inside = F.interpolate(inside, scale_factor=2)  # 1 at the pixels of target patches
        noise = torch.randn_like(images)
        several = [images, images, images + noise * (1 - inside), images + noise * inside]
        first, again, outside_changed, inside_changed = answers = learner(global_targets, weight, several, targets)
        for got in answers:
            expect_shape(got, weight, images, targets, learner.called)
        for changed, place, likely in (
            (
                outside_changed,
                "outside the targets",
                "The teacher is fed the target patches alone, or the rest is blanked out. The student sees a part, but "
                "the teacher must see the full image, teacher(images), and the targets are taken from its output.",
            ),
            (
                inside_changed,
                "of the targets",
                "The pixels of the targets make no difference: the teacher must see the full image, teacher(images).",
            ),
        ):
            same = torch.isclose(changed, first, rtol=1e-4, atol=1e-5).all(dim=3)
            expect_that(
                not same.any(),
                called=learner.called,
                expected=f"other targets after a change of the pixels {place}",
                got=f"{int(same.sum())} of {same.numel()} are the same",
                likely=likely,
            )
        expect_answers(first, again, inside_changed, learner.called)


@exercise("teacher_targets")
def test_teacher_targets_leave_the_teacher_in_eval_mode(learner):
    """The teacher is used in the mode it comes in, eval: no dropout, and always the same targets."""
    weight, images, targets = scene(*SIZES[0])
    got = learner(dropping_targets, weight, images, targets)
    for entry in got["answers"]:
        expect_shape(entry, weight, images, targets, learner.called)
    likely = "Dropout is active: the teacher comes in eval mode and must not be put in train mode."
    expect_that(
        not got["training"],
        called=learner.called,
        expected="a teacher in eval mode afterwards",
        got="one in train mode",
        likely=likely,
    )
    first, again, other = got["answers"]
    expect_close(again, first, called=f"{learner.called}: the second", likely=likely)
    expect_answers(first, again, other, learner.called)


@exercise("teacher_targets")
def test_teacher_targets_keep_no_graph(learner):
    """No gradient can flow through the targets, even into images or a teacher that would take one."""
    weight, images, targets = scene(*SIZES[0])
    got = learner(graph_of_targets, weight, images, targets)
    mistakes = {
        "The targets hang on a graph, so that the loss would train the teacher: compute them under torch.no_grad().": {
            "requires_grad": True,
            "gradients on afterwards": True,
        },
        "Gradients stay switched off afterwards, so the student would not learn: use `with torch.no_grad():`.": {
            "requires_grad": False,
            "gradients on afterwards": False,
        },
    }
    expected = {"requires_grad": False, "gradients on afterwards": True}
    expect_equal(got["graph"], expected, called=learner.called, mistakes=mistakes)
    for entry in got["answers"]:
        expect_shape(entry, weight, images, targets, learner.called)
    expect_answers(*got["answers"], learner.called)


def teacher_after_updates(lesson, teacher_state, student_states, momentum):
    """update_teacher(teacher, student, {momentum}), repeatedly; the teacher afterwards"""
    return dict(updated(lesson, teacher_state, student_states, momentum)[0].state_dict())


def teacher_after_many_updates(lesson, weight, goal, momentum, steps):
    """update_teacher(teacher, student, {momentum}), {steps} times; the teacher's weight afterwards"""
    teacher, student = frozen(LocalTeacher(weight)), LocalTeacher(goal)
    for _ in range(steps):
        lesson.update_teacher(teacher, student, momentum)
    return teacher.weight


def storage_after_update(lesson, teacher_state, student_state, momentum):
    """update_teacher(teacher, student, {momentum}), then the teacher, and what references from before show"""
    teacher, student = frozen(filled(teacher_state)), filled(student_state)
    references = dict(teacher.state_dict())  # they share the storage
    lesson.update_teacher(teacher, student, momentum)
    return {"teacher": dict(teacher.state_dict()), "references": references}


def student_after_update(lesson, teacher_state, student_state, momentum):
    """update_teacher(teacher, student, {momentum}), then a look at the student"""
    teacher, student = updated(lesson, teacher_state, [student_state], momentum)
    return {
        "teacher": dict(teacher.state_dict()),
        "values": dict(student.state_dict()),
        "requires_grad": {name: value.requires_grad for name, value in student.named_parameters()},
        "training": student.training,
    }


def graph_after_update(lesson, teacher_state, student_state, momentum):
    """update_teacher(teacher, student, {momentum}), then a look at the teacher's graph"""
    teacher, _ = updated(lesson, teacher_state, [student_state], momentum)
    tensors = [*teacher.parameters(), *teacher.buffers()]
    return {
        "teacher": dict(teacher.state_dict()),
        "a graph": any(value.grad_fn is not None for value in tensors),
        "requires_grad": any(value.requires_grad for value in tensors),
        "gradients on afterwards": torch.is_grad_enabled(),
    }


def updated(lesson, teacher_state, student_states, momentum):
    """Teacher and last student, after one update with each of the students."""
    teacher = frozen(filled(teacher_state))
    for state in student_states:
        student = filled(state)
        lesson.update_teacher(teacher, student, momentum)
    return teacher, student


DECAY = (
    "The student never arrives and the teacher decays to 0: `.add(...)` makes a new tensor that is thrown away, and "
    "`.add_(...)` works in place."
)


def moved(teacher: dict, students: list[dict], change: Callable) -> dict[str, Tensor]:
    """What the teacher's values become if each step makes change(teacher, student) of them."""
    for student in students:
        teacher = {name: change(value, student[name]) for name, value in teacher.items()}
    return teacher


def averaged(teacher: dict, students: list[dict], m: float) -> dict[str, Tensor]:
    return moved(teacher, students, lambda t, s: m * t + (1 - m) * s)


def average_mistakes(teacher: dict, students: list[dict], m: float, others: dict) -> dict[str, dict[str, Tensor]]:
    """What each mistake makes of these values of the teacher, by its sentence; others are added."""
    changes = {
        "The teacher has not moved: write the new values into its parameters and buffers, in place.": lambda t, s: t,
        "The momentum is on the wrong side: it belongs to the teacher, 1 - momentum to the student.": lambda t, s: (
            (1 - m) * t + m * s
        ),
        DECAY: lambda t, s: m * t,
        "The student is copied: the teacher must keep the share `momentum` of its own value.": lambda t, s: s,
        "The student's factor 1 - momentum is missing.": lambda t, s: m * t + s,
        "The teacher's factor momentum is missing.": lambda t, s: t + (1 - m) * s,
        "The sign is wrong: the teacher moves away from the student.": lambda t, s: t - (1 - m) * (s - t),
        "Both have the factor momentum: the student's is 1 - momentum.": lambda t, s: m * (t + s),
        "The student is added before the teacher is scaled: scale first, then add.": lambda t, s: m * (t + (1 - m) * s),
        "The average is taken twice in one call.": lambda t, s: m * (m * t + (1 - m) * s) + (1 - m) * s,
    }
    return others | {sentence: moved(teacher, students, change) for sentence, change in changes.items()}


@exercise("update_teacher", points=2)
def test_update_teacher_averages_parameters(learner):
    """After one step, two and two hundred, each parameter is momentum * teacher + (1 - momentum) * student."""
    likely = "Every parameter becomes momentum * teacher + (1 - momentum) * student."
    for dtype, momentum, steps in (
        (torch.float32, 0.9, 1),
        (torch.float64, 0.25, 2),
        (torch.float32, 1.0, 1),
        (torch.float32, 0.0, 1),
    ):
        teacher, students = new_state(dtype), [new_state(dtype) for _ in range(steps)]
        weights = parameters(teacher)
        expected = averaged(weights, students, momentum)
        frozen = "Frozen parameters are left out, such as a position table: average them too."
        also = {frozen: expected | {"pos_embed": weights["pos_embed"]}}
        mistakes = Later(average_mistakes, weights, students, momentum, also)
        got = learner(teacher_after_updates, teacher, students, momentum)
        mine = {name: got[name] for name in expected}
        expect_close(mine, expected, called=learner.called, mistakes=mistakes, likely=likely)
    weight, goal, momentum, steps = torch.rand(12, 4) + 0.5, torch.rand(12, 4) + 0.5, 0.98, 200
    expected = momentum**steps * weight + (1 - momentum**steps) * goal
    got = learner(teacher_after_many_updates, weight, goal, momentum, steps)
    expect_close(got, expected, called=learner.called, mistakes={DECAY: momentum**steps * weight}, likely=likely)


@exercise("update_teacher")
def test_update_teacher_averages_float_buffers(learner):
    """Buffers of floats, such as batch norm's running statistics, move as the parameters do."""
    teacher, students, momentum = new_state(), [new_state(), new_state()], 0.75
    floats = {
        name: value for name, value in teacher.items() if value.is_floating_point() and name not in parameters(teacher)
    }
    mistakes = {
        "Buffers of floats are left out: average them as the parameters.": floats,
        "Buffers of floats are copied from the student: average them as the parameters.": {
            name: students[-1][name] for name in floats
        },
    }
    mistakes = Later(average_mistakes, floats, students, momentum, mistakes)
    got = learner(teacher_after_updates, teacher, students, momentum)
    likely = "Each buffer of floats becomes momentum * teacher + (1 - momentum) * student, once a call."
    mine = {name: got[name] for name in floats}
    expect_close(mine, averaged(floats, students, momentum), called=learner.called, mistakes=mistakes, likely=likely)


@exercise("update_teacher")
def test_update_teacher_copies_other_buffers(learner):
    """Buffers of integers and bools become the student's: an average of them means nothing."""
    teacher, student, m = new_state(), new_state(), 0.75
    names = sorted(name for name, value in teacher.items() if not value.is_floating_point())
    student["flags"] = ~teacher["flags"]
    expected = {name: student[name] for name in names}
    mixed = {name: (m * teacher[name] + (1 - m) * student[name]).to(teacher[name].dtype) for name in names}
    mistakes = {
        "Buffers of integers and bools are left as they were: copy the student's.": {
            name: teacher[name] for name in names
        },
        "Integers and bools are averaged: copy the student's, test `is_floating_point()`.": mixed,
        "Buffers of integers are left as they were: copy the student's.": expected
        | {name: teacher[name] for name in names if name != "flags"},
    }
    got = learner(teacher_after_updates, teacher, [student], m)
    mine = {name: got[name] for name in names}
    likely = "Copy buffers that are not of floats from the student: `.copy_(...)`."
    expect_equal(mine, expected, called=learner.called, mistakes=mistakes, likely=likely)


def expect_moved(new: dict[str, Tensor], old: dict[str, Tensor], called: str) -> None:
    """The teacher's values must have changed: how they are written can't be seen where none is."""
    expect_that(
        bool(find_difference(new, old, 0, 0)),
        called=called,
        expected="a teacher with other values than before",
        got="all values are as they were",
        likely="The teacher did not move: write the new values into its parameters and buffers, in place.",
    )


@exercise("update_teacher")
def test_update_teacher_writes_into_its_own_storage(learner):
    """The teacher's tensors stay the same ones: who holds a reference to one sees the new value."""
    old = new_state()
    weights = parameters(old)
    got = learner(storage_after_update, old, new_state(), 0.5)
    new = got["teacher"]
    in_place = "write into the ones it has (mul_ and add_, lerp_, copy_), no `p.data = ...` and no new Parameter."
    mistakes = {
        f"The teacher's tensors are replaced by new ones: {in_place}": old,
        f"The teacher's parameters are replaced by new tensors: {in_place}": new | weights,
        f"The teacher's buffers are replaced by new tensors: {in_place}": old | {name: new[name] for name in weights},
    }
    expect_moved(new, old, learner.called)
    likely = f"Some of the teacher's tensors are replaced by new ones: {in_place}"
    expect_close(got["references"], new, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("update_teacher")
def test_update_teacher_leaves_the_student_alone(learner):
    """The student keeps its values, its mode, and which of its weights are trained."""
    state = new_state()
    expected = {
        "values": state,
        "requires_grad": {name: value.requires_grad for name, value in Student().named_parameters()},
        "training": True,
    }
    teacher = new_state()
    got = learner(student_after_update, teacher, state, 0.75)
    moved = got.pop("teacher")
    likely = (
        "The student is changed: use what does not end in `_` on its values, and leave its mode and gradients alone."
    )
    expect_equal(got, expected, called=learner.called, likely=likely)
    expect_moved(moved, teacher, learner.called)


@exercise("update_teacher")
def test_update_teacher_keeps_no_graph(learner):
    """After an update the teacher still requires no gradient and holds no graph."""
    teacher = new_state()
    got = learner(graph_after_update, teacher, new_state(), 0.75)
    expect_moved(got.pop("teacher"), teacher, learner.called)
    mistakes = {
        "The update is recorded by autograd, and the graph grows with each step: update under torch.no_grad().": {
            "a graph": True,
            "requires_grad": True,
            "gradients on afterwards": True,
        },
        "The teacher's weights require gradients after the update: leave requires_grad alone.": {
            "a graph": False,
            "requires_grad": True,
            "gradients on afterwards": True,
        },
        "Gradients stay switched off afterwards, so the student would not learn: use `with torch.no_grad():`.": {
            "a graph": False,
            "requires_grad": False,
            "gradients on afterwards": False,
        },
    }
    expected = {"a graph": False, "requires_grad": False, "gradients on afterwards": True}
    expect_equal(got, expected, called=learner.called, mistakes=mistakes)


def momenta(lesson, steps, options):
    """momentum_at(step, total_steps, **{options}), where the first two are {steps} in turn"""
    return [as_float(lesson.momentum_at(step, total, **options)) for step, total in steps]


def as_float(value):
    return float(value) if isinstance(value, float) else value  # numpy's floats are floats


STEPS = [(0, 4), (4, 4), (1, 4), (3, 4), (5, 7), (250, 1000), (1, 1)]  # step, total_steps


@exercise("momentum_at")
def test_momentum_at_rises_from_its_defaults(learner):
    """A straight line from .996 at step 0 to 1 at step == total_steps."""
    expect_line(0.996, 1.0, learner(momenta, STEPS, {}))


@exercise("momentum_at")
def test_momentum_at_takes_other_ends(learner):
    """The line goes from start to end, whichever is larger."""
    for start, end in ((0.5, 0.9), (0.75, 0.25), (0.0, 1.0)):
        expect_line(start, end, learner(momenta, STEPS, {"start": start, "end": end}))


def expect_line(start: float, end: float, got: list) -> None:
    """got: the values at STEPS."""
    numbers = all(type(value) in (int, float) for value in got)
    likely = "start + (end - start) * step / total_steps." if numbers else "Give back a float: no tensor is needed."
    for i, (step, total) in enumerate(STEPS):
        arguments = f"{step}, {total}" + ("" if (start, end) == (0.996, 1.0) else f", start={start}, end={end}")
        expect_close(
            got[i],
            start + (end - start) * step / total,
            called=f"momentum_at({arguments})",
            mistakes=Later(explaining_mistakes, start, end, got if numbers else [], i),
            likely=likely,
            rtol=0,
            atol=1e-6,
        )


def explaining_mistakes(start: float, end: float, got: list, i: int) -> dict[str, float]:
    """The mistakes that explain all values at STEPS, each with its value i."""
    lines = [line_mistakes(step, total, start, end) for step, total in STEPS[: len(got)]]
    return {
        name: float(lines[i][name])
        for name in (lines[0] if lines else {})
        if torch.allclose(doubles(got), doubles([float(line[name]) for line in lines]), 0, 1e-6)
    }


def line_mistakes(step: int, total: int, start: float, end: float) -> dict[str, float]:
    """What each mistake makes of the momentum, by its sentence."""
    progress, span = step / total, end - start
    early = "end is reached one step too early: progress is step / total_steps, not step / (total_steps - 1)."
    geometric = start * (end / start) ** progress if start else 0.0
    return {
        "The schedule runs backwards: it must go from start to end.": end - span * progress,
        "This is half a cosine: the momentum is a straight line.": start + span * (1 - cosine(progress)) / 2,
        "This is half a cosine, backwards: a straight line from start to end.": start
        + span * (1 + cosine(progress)) / 2,
        "The momentum never falls below start, but the line goes down where end is smaller.": max(
            start, start + span * progress
        ),
        "The momentum is constant: it must move from start to end.": start,
        "The momentum is constant, at end: it must move from start to end.": end,
        "`//` divides to a whole number: use `/`.": start + span * (step // total),
        early: start + span * step / max(total - 1, 1),
        f"{early} ": start + span * min(step / max(total - 1, 1), 1.0),  # the same, then held
        "end is never reached: progress is step / total_steps, not step / (total_steps + 1).": start
        + span * step / (total + 1),
        "It is one step ahead: progress is step / total_steps, not (step + 1) / total_steps.": start
        + span * (step + 1) / total,
        "This is quadratic: the momentum is a straight line.": start + span * progress**2,
        "This is geometric: the momentum is a straight line.": geometric,
        "end stands where end - start belongs: start + (end - start) * progress.": start + end * progress,
        "start is missing: start + (end - start) * progress.": span * progress,
        "start and end are not used, but .996 and 1 whatever is asked for.": 0.996 + 0.004 * progress,
        "Steps are not divided by total_steps.": start + span * step,
    }


def cosine(progress: float) -> float:
    return math.cos(progress * math.pi)


def doubles(values: list) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
