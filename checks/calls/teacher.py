"""What runs beside a learner's teacher: functions of (lesson, ...), and small stand-ins for students and teachers."""

import torch
from torch import nn
from torch.nn import functional as F


class Student(nn.Module):
    """A bit of everything: weights, a frozen table, buffers of floats, integers and bools, dropout, batch norm.

    Like a VisionTransformer it can't be made without its sizes.
    """

    def __init__(self, dim):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.pos_embed = nn.Parameter(torch.randn(1, 4, dim), requires_grad=False)
        self.register_buffer("centre", torch.randn(dim))
        self.register_buffer("seen", torch.randint(1000, (2,)))
        self.register_buffer("flags", torch.rand(5) < 0.5)
        self.blocks = nn.Sequential(nn.Linear(dim, dim), nn.Dropout(0.5), nn.BatchNorm1d(4))

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
    student = Student(len(state["centre"])).to(state["scale"].dtype)
    student.load_state_dict(state)
    return student


def frozen(teacher):
    return teacher.requires_grad_(False).eval()


def state_of_teacher(lesson, state):
    """make_teacher(student).state_dict()"""
    student = filled(state)
    teacher = lesson.make_teacher(student)
    return dict(teacher.state_dict()), teacher is student


def answer_of_teacher(lesson, state, tokens):
    """make_teacher(student)(tokens {tokens})"""
    return lesson.make_teacher(filled(state)).eval()(tokens)


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
    return {
        "is the teacher": lesson.make_teacher(student) is student,
        "training": {name or "student": module.training for name, module in student.named_modules()},
        "requires_grad": {name: value.requires_grad for name, value in student.named_parameters()},
        "values": dict(student.state_dict()),
    }


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
    return {"answers": [first, again, *of_others(lesson, teacher, images, targets)], "training": training}


def graph_of_targets(lesson, weight, images, targets):
    """teacher_targets(teacher, images {images}, targets {targets}), both with requires_grad"""
    teacher = LocalTeacher(weight).eval()
    got = lesson.teacher_targets(teacher, images.requires_grad_(), targets)
    graph = {"requires_grad": getattr(got, "requires_grad", None), "gradients on afterwards": torch.is_grad_enabled()}
    again = lesson.teacher_targets(teacher, images, targets)
    return {"answers": [got, again, *of_others(lesson, teacher, images, targets)], "graph": graph}


def of_others(lesson, teacher, images, targets):
    """The targets of other images, and those of a teacher with other weights."""
    of_images = lesson.teacher_targets(teacher, -images, targets)
    with torch.no_grad():
        teacher.weight.neg_()
    return of_images, lesson.teacher_targets(teacher, images, targets)


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


def momenta(lesson, steps, options):
    """momentum_at(step, total_steps, **{options}), where the first two are {steps} in turn"""
    return [as_float(lesson.momentum_at(step, total, **options)) for step, total in steps]


def as_float(value):
    return float(value) if isinstance(value, float) else value  # numpy's floats are floats
