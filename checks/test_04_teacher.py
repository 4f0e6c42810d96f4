"""Lesson 4: the teacher. The students and teachers here are small stand-ins; their weights are handed over by name."""

import torch

from checks.calls import teacher as calls
from checks.expected import teacher as oracle
from checks.tool.exercise import drawn, exercise
from checks.tool.expect import Later, expect_answers, expect_close, expect_equal, expect_that


@exercise("make_teacher")
def test_make_teacher_copies_every_value(learner):
    """The teacher holds the student's values, parameters, frozen ones too, and buffers, and does the same with them."""
    state = oracle.new_state()
    got, is_student = learner(calls.state_of_teacher, state)
    likely = (
        "The teacher starts as a copy of the student (copy.deepcopy), weights and buffers alike: a new module has "
        "random weights of its own."
    )
    oracle.expect_another(is_student, learner.called)
    expect_equal(got, state, called=learner.called, likely=likely)
    tokens = torch.randn(2, 4, oracle.DIM)
    expected = oracle.answer(state, tokens)
    got = learner(calls.answer_of_teacher, state, tokens)
    likely = "The teacher is a module of the student's kind and computes the same: copy all of it (copy.deepcopy)."
    expect_close(got, expected, called=learner.called, likely=likely)


@exercise("make_teacher")
def test_make_teacher_gives_eval_mode(learner):
    """The teacher and every module in it are in eval mode."""
    state, expected, mistakes = oracle.new_state(), oracle.teacher_modes(), Later(oracle.teacher_mode_mistakes)
    oracle.expect_copied(learner, state)
    got = learner(calls.teacher_modes, state)
    likely = "The teacher and every module in it must be in eval mode: call .eval() on the teacher."
    if got.get("blocks.1"):
        likely = "The teacher is left in train mode, so that dropout is active in it: call .eval() on the teacher."
    expect_equal(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("make_teacher")
def test_make_teacher_needs_no_gradients(learner):
    """No parameter of the teacher requires a gradient."""
    state, expected = oracle.new_state(), oracle.teacher_requires_grad()
    oracle.expect_copied(learner, state)
    got = learner(calls.teacher_requires_grad, state)
    likely = "The teacher's parameters are named as the student's, and none of them requires a gradient."
    if any(got.values()):
        likely = "The teacher's weights still require gradients: switch them off with teacher.requires_grad_(False)."
    expect_equal(got, expected, called=learner.called, likely=likely)


@exercise("make_teacher", points=2)
def test_make_teacher_shares_nothing(learner):
    """What happens to the student afterwards does not reach the teacher."""
    state = oracle.new_state()
    mistakes = Later(oracle.sharing_mistakes, state)
    oracle.expect_copied(learner, state)
    got = learner(calls.teacher_while_the_student_moves, state)
    likely = "Some of the teacher's storage is the student's: copy every value (copy.deepcopy)."
    expect_close(got["after"], got["before"], called=learner.called, mistakes=mistakes, likely=likely)


@exercise("make_teacher")
def test_make_teacher_leaves_the_student_alone(learner):
    """The student keeps its mode, its values, and which of its weights are trained."""
    state, training, requires_grad = oracle.new_state(), oracle.student_modes(), oracle.student_requires_grad()
    oracle.expect_copied(learner, state)
    got = learner(calls.student_after_make_teacher, state)
    oracle.expect_another(got["is the teacher"], learner.called)
    mistakes = Later(oracle.student_mode_mistakes)
    likely = "The student's mode is changed: call .eval() on the copy, and nothing on the student."
    expect_equal(got["training"], training, called=f"{learner.called}: .training", mistakes=mistakes, likely=likely)
    called, mistakes = f"{learner.called}: .requires_grad", Later(oracle.student_gradient_mistakes)
    expect_equal(got["requires_grad"], requires_grad, called=called, mistakes=mistakes)
    likely = "The student's values are changed: only read them."
    expect_equal(got["values"], state, called=f"{learner.called}: its values", likely=likely)


# batch, rows and columns of patches, dim, target blocks, patches of a block
SIZES = [(2, 2, 3, 7, 3, 4), (1, 3, 3, 8, 1, 2), (3, 2, 2, 6, 4, 1)]


@exercise("teacher_targets", points=2)
def test_teacher_targets_are_normalised_tokens(learner):
    """Each target is its patch's token, normalised over D, in the order of the indices."""
    batch, rows, columns, dim, blocks = drawn((1, 3), (2, 4), (2, 4), (4, 9), (1, 3))
    for size in (*SIZES, (batch, rows, columns, dim, blocks, *drawn((1, rows * columns)))):
        for dtype in (torch.float32, torch.float64):
            weight, images, targets = oracle.scene(*size, dtype)
            expected = oracle.local_targets(weight, images, targets)
            mistakes = Later(oracle.target_mistakes, weight, images, targets)
            got = learner(calls.local_targets, weight, images, targets)
            oracle.expect_shape(got, weight, targets, learner.called)
            likely = "F.layer_norm(h, (D,)), then take the tokens at targets[b, m] for each image b and block m."
            expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("teacher_targets")
def test_teacher_targets_use_the_default_eps(learner):
    """Tokens that hardly vary are normalised with eps 1e-5, torch's default."""
    weight, images, targets = oracle.faint_scene()
    expected = oracle.local_targets(weight, images, targets)
    mistakes = Later(oracle.eps_mistakes, weight, images, targets)
    got = learner(calls.local_targets, weight, images, targets)
    oracle.expect_shape(got, weight, targets, learner.called)
    likely = "F.layer_norm(h, (D,)) with no eps of one's own adds 1e-5 to the variance."
    expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("teacher_targets", points=2)
def test_teacher_targets_come_from_the_full_image(learner):
    """Every pixel of an image, in a target or not, changes all targets of this image."""
    for rows, columns in ((3, 3), (2, 5)):
        weight, images, targets = oracle.scene(3, rows, columns, 6, 2, 3)
        inside, noise = oracle.target_pixels(targets, rows, columns), torch.randn_like(images)
        several = [images, images, images + noise * (1 - inside), images + noise * inside]
        answers = learner(calls.global_targets, weight, several, targets)
        for got in answers:
            oracle.expect_shape(got, weight, targets, learner.called)
        first, again, other_outside, other_inside = answers
        likely = (
            "Pixels outside of the targets make no difference. (Is the teacher fed the target patches alone, or the "
            "rest blanked out?) The student sees a part, but the teacher must see the full image, teacher(images), and "
            "the targets are taken from its output."
        )
        oracle.expect_changed(other_outside, first, "outside the targets", learner.called, likely)
        likely = "The pixels of the targets make no difference: the teacher must see the full image, teacher(images)."
        oracle.expect_changed(other_inside, first, "of the targets", learner.called, likely)
        expect_answers([first, again, other_inside], first.shape, (), "images", called=learner.called)


@exercise("teacher_targets")
def test_teacher_targets_leave_the_teacher_in_eval_mode(learner):
    """The teacher is used in the mode it comes in, eval: no dropout, and always the same targets."""
    weight, images, targets = oracle.scene(*SIZES[0])
    got = learner(calls.dropping_targets, weight, images, targets)
    for entry in got["answers"]:
        oracle.expect_shape(entry, weight, targets, learner.called)
    likely = "The teacher comes in eval mode, without dropout, and must not be put in train mode."
    expect_that(
        not got["training"],
        called=learner.called,
        expected="a teacher in eval mode afterwards",
        got="one in train mode",
        likely=likely,
    )
    likely = f"The same images give other targets: nothing may be random here. {likely}"
    expect_close(got["answers"][1], got["answers"][0], called=f"{learner.called}: the second", likely=likely)
    size = got["answers"][0].shape
    expect_answers(got["answers"], size, (), "teacher's tokens of the images", called=learner.called)


@exercise("teacher_targets")
def test_teacher_targets_keep_no_graph(learner):
    """No gradient can flow through the targets, even into images or a teacher that would take one."""
    weight, images, targets = oracle.scene(*SIZES[0])
    got = learner(calls.graph_of_targets, weight, images, targets)
    expected, mistakes = {"requires_grad": False, "gradients on afterwards": True}, Later(oracle.target_graph_mistakes)
    expect_equal(got["graph"], expected, called=learner.called, mistakes=mistakes)
    for entry in got["answers"]:
        oracle.expect_shape(entry, weight, targets, learner.called)
    size = got["answers"][0].shape
    expect_answers(got["answers"], size, (), "teacher's tokens of the images", called=learner.called)


# dtype, momentum, steps
UPDATES = [(torch.float32, 0.9, 1), (torch.float64, 0.25, 2), (torch.float32, 1.0, 1), (torch.float32, 0.0, 1)]


@exercise("update_teacher", points=2)
def test_update_teacher_averages_parameters(learner):
    """After one step, two and two hundred, each parameter is momentum * teacher + (1 - momentum) * student."""
    likely = "Every parameter becomes momentum * teacher + (1 - momentum) * student."
    for dtype, momentum, steps in UPDATES:
        teacher, students = oracle.new_state(dtype), [oracle.new_state(dtype) for _ in range(steps)]
        weights = oracle.parameters(teacher)
        expected = oracle.averaged(weights, students, momentum)
        mistakes = Later(oracle.parameter_mistakes, weights, students, momentum)
        got = learner(calls.teacher_after_updates, teacher, students, momentum)
        mine = {name: got[name] for name in expected if name in got}
        expect_close(mine, expected, called=learner.called, mistakes=mistakes, likely=likely)
        if dtype is torch.float64:
            rounded = "Right to seven digits, of sixteen: it went through float32. Stay in the dtype of the weights."
            expect_close(mine, expected, called=learner.called, likely=rounded, rtol=1e-9, atol=1e-12)
    weight, goal, momentum, steps = torch.rand(12, 4) + 0.5, torch.rand(12, 4) + 0.5, 0.98, 200
    expected = momentum**steps * weight + (1 - momentum**steps) * goal
    mistakes = Later(oracle.decay_mistakes, weight, momentum, steps)
    got = learner(calls.teacher_after_many_updates, weight, goal, momentum, steps)
    expect_close(got, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("update_teacher")
def test_update_teacher_averages_float_buffers(learner):
    """Buffers of floats, such as batch norm's running statistics, move as the parameters do."""
    teacher, students, momentum = oracle.new_state(), [oracle.new_state(), oracle.new_state()], 0.75
    floats = oracle.float_buffers(teacher)
    expected = oracle.averaged(floats, students, momentum)
    mistakes = Later(oracle.float_buffer_mistakes, floats, students, momentum)
    got = learner(calls.teacher_after_updates, teacher, students, momentum)
    mine = {name: got[name] for name in expected if name in got}
    likely = "Each buffer of floats becomes momentum * teacher + (1 - momentum) * student, once a call."
    expect_close(mine, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("update_teacher")
def test_update_teacher_copies_other_buffers(learner):
    """Buffers of integers and bools become the student's: an average of them means nothing."""
    teacher, student, momentum = oracle.new_state(), oracle.new_state(), 0.75
    student["flags"] = ~teacher["flags"]
    expected = oracle.other_buffers(student)
    mistakes = Later(oracle.other_buffer_mistakes, teacher, student, momentum)
    got = learner(calls.teacher_after_updates, teacher, [student], momentum)
    mine = {name: got[name] for name in expected if name in got}
    likely = "Copy buffers that are not of floats from the student: `.copy_(...)`."
    expect_equal(mine, expected, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("update_teacher")
def test_update_teacher_writes_into_its_own_storage(learner):
    """The teacher's tensors stay the same ones: who holds a reference to one sees the new value."""
    old, student = oracle.new_state(), oracle.new_state()
    weights = oracle.parameters(old)
    got = learner(calls.storage_after_update, old, student, 0.5)
    new = got["teacher"]
    oracle.expect_moved(new, old, student, 0.5, learner.called)
    mistakes = Later(oracle.storage_mistakes, old, weights, new)
    likely = "The teacher keeps its parameters and buffers, none more and none less."
    if set(got["references"]) == set(new):
        likely = f"Some of the teacher's tensors are replaced by new ones: {oracle.IN_PLACE}"
    expect_close(got["references"], new, called=learner.called, mistakes=mistakes, likely=likely)


@exercise("update_teacher")
def test_update_teacher_leaves_the_student_alone(learner):
    """The student keeps its values, its mode, and which of its weights are trained."""
    state = oracle.new_state()
    expected = {"values": state, "requires_grad": oracle.student_requires_grad(), "training": True}
    teacher = oracle.new_state()
    got = learner(calls.student_after_update, teacher, state, 0.5)
    moved = got.pop("teacher")
    likely = (
        "The student is changed: use what does not end in `_` on its values, and leave its mode and gradients alone."
    )
    expect_equal(got, expected, called=learner.called, likely=likely)
    oracle.expect_moved(moved, teacher, state, 0.5, learner.called)


@exercise("update_teacher")
def test_update_teacher_keeps_no_graph(learner):
    """After an update the teacher still requires no gradient and holds no graph."""
    teacher, student = oracle.new_state(), oracle.new_state()
    got = learner(calls.graph_after_update, teacher, student, 0.5)
    oracle.expect_moved(got.pop("teacher"), teacher, student, 0.5, learner.called)
    expected = {"a graph": False, "requires_grad": False, "gradients on afterwards": True}
    expect_equal(got, expected, called=learner.called, mistakes=Later(oracle.update_graph_mistakes))


STEPS = [(0, 4), (4, 4), (1, 4), (3, 4), (5, 7), (250, 1000), (1, 1)]  # step, total_steps


@exercise("momentum_at")
def test_momentum_at_rises_from_its_defaults(learner):
    """A straight line from .996 at step 0 to 1 at step == total_steps."""
    start, end = 0.996, 1.0
    expected = oracle.line(STEPS, start, end)
    oracle.expect_line(learner(calls.momenta, STEPS, {}), expected, STEPS, start, end)


@exercise("momentum_at")
def test_momentum_at_takes_other_ends(learner):
    """The line goes from start to end, whichever is larger."""
    for start, end in ((0.5, 0.9), (0.75, 0.25), (0.0, 1.0)):
        expected = oracle.line(STEPS, start, end)
        got = learner(calls.momenta, STEPS, {"start": start, "end": end})
        oracle.expect_line(got, expected, STEPS, start, end)
