# %% [markdown]
# # Lesson 4: the teacher
#
# ## What you will build and why
#
# The student must predict what a network finds in the hidden patches. Which network? It must look at the same
# photographs, it must get better as training goes on, and nobody has a trained one. So the student makes its own
# teacher: a copy of itself.
#
# If gradients reached the teacher, both could agree on one answer for everything: loss 0, nothing learned. That is
# **collapse**. So the teacher gets no gradients. Its weights follow the student's as a slow average, an **exponential
# moving average** (EMA). This makes collapse rare in practice; why it suffices is only partly understood.
#
# You will write the copy, the targets that it gives, the average and its schedule. Each is a few lines, and each has
# mistakes that people publish. You need `VisionTransformer` and `gather_tokens` (Lesson 2), and what a target is
# (Lesson 3). Plan **60 minutes**.

# %%
import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from checks import check
from solutions.vision_transformer import VisionTransformer, gather_tokens

# %%
if __name__ == "__main__":
    from data import load_images, to_display
    from lessons import figures

    torch.manual_seed(0)
    steps = torch.arange(300)
    student_weight = 1 - torch.exp(-steps / 60) + 0.15 * torch.randn(300)  # it learns, and every batch pulls at it
    teacher_weight = [student_weight[0].item()]
    for value in student_weight[1:].tolist():
        teacher_weight.append(0.95 * teacher_weight[-1] + 0.05 * value)
    figures.curves({"student": student_weight, "teacher": teacher_weight}, "One weight, during training", "weight")

# %% [markdown]
# The student's weight jumps with every batch. The teacher's takes 5 % of the new value and keeps 95 % of its own:
# it follows, later and calmer. What the student must predict today is nearly what it had to predict yesterday.
#
# ## The contract
#
# B images, M target blocks of Nt patches, D numbers in a token.
#
# - `make_teacher(student)` -> a copy: eval mode, no gradients, no shared storage
# - `teacher_targets(teacher, images, targets)`: [B, 3, H, W], [B, M, Nt] -> [B, M, Nt, D], normalised, without a graph
# - `update_teacher(teacher, student, momentum)`: changes the teacher's tensors in place, gives back nothing
# - `momentum_at(step, total_steps)` -> float

# %% [markdown]
# ## Exercise 4.1: make_teacher
#
# **5 minutes, easy.** The teacher starts as the student: equal weights, but tensors of its own. `teacher = student`
# would give the same model a second name, and a new model with fresh random weights would teach noise.
#
# Two switches belong to it. No parameter requires a gradient, so that no optimizer can move it. And it is in eval mode:
# with dropout active, the teacher would answer differently each time it is asked.
#
# <details><summary>Hint 1</summary>
#
# Python's `copy` module copies whole objects, with all that they hold. Which of its two functions copies the tensors,
# too?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `copy.deepcopy(student)`. Modules have one method that sets `requires_grad` of all parameters, and one that switches
# to eval mode. Call them on the copy: the student must go on training.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `.requires_grad_(False)` and `.eval()` both give back the module, so that the calls can be chained.
#
# </details>


# %% exercise="make_teacher"
def make_teacher(student: nn.Module) -> nn.Module:
    """The teacher at step 0: a copy of the student that is never trained by gradients.

    -> a module of the same kind with equal weights, in eval mode, no parameter of which requires a
    gradient or shares storage with the student's. The student is not changed.

    Example: right after teacher = make_teacher(student), teacher(images) equals student(images) (for
    a student in eval mode). One optimizer step later, only the student gives other tokens.
    """
    ### BEGIN SOLUTION
    return copy.deepcopy(student).requires_grad_(False).eval()
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("make_teacher")

# %% [markdown]
# ## Exercise 4.2: teacher_targets
#
# **10 minutes, medium.** The teacher encodes the **full** image, and only then the target patches are taken. So each
# target token has looked at everything around it: it describes a part of a scene, not a square of pixels.
#
# In between, each token is normalised over its D numbers: mean 0, variance 1. And all of this is an answer, not
# something to train: no graph.
#
# <details><summary>Hint 1</summary>
#
# Four steps: encode, normalise, take, bring into shape. Which function of Lesson 2 takes tokens, and which shape of
# indices does it want?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `F.layer_norm(tokens, (D,))` has no weights of its own. `gather_tokens` wants indices [B, K]; `targets.flatten(1)`
# is [B, M\*Nt]. `with torch.no_grad():` goes around everything.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `tokens.shape[-1:]` is (D,). `gather_tokens` gives [B, M\*Nt, D]; `.unflatten(1, targets.shape[1:])` splits axis 1
# into (M, Nt).
#
# </details>


# %% exercise="teacher_targets"
def teacher_targets(teacher: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """What the student must predict: the teacher's view of the target patches.

    The teacher encodes the FULL images [B, 3, H, W] -> h [B, N, D]; h is normalised over D
    (F.layer_norm without weights, torch's default eps); then the target patches, long [B, M, Nt],
    are taken -> [B, M, Nt, D]. No graph is kept.

    Example: images [2, 3, 224, 224], targets [2, 4, 36] and a teacher of dim 192
    -> [2, 4, 36, 192]; each vector of 192 numbers has mean 0 and variance 1.
    """
    ### BEGIN SOLUTION
    with torch.no_grad():
        tokens = teacher(images)
        tokens = F.layer_norm(tokens, tokens.shape[-1:])
        return gather_tokens(tokens, targets.flatten(1)).unflatten(1, targets.shape[1:])
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("teacher_targets")

# %% [markdown]
# ## Experiment: mask the output, not the input
#
# Change one patch in a corner of the photograph, far from the target of 36 patches, and ask the teacher for its target
# tokens again: once with the full image, as you wrote it, and once with the target patches alone as its input.
#
# **Predict:** with the full image, which of the target tokens move: `"all"`, the `"nearest"` to the corner, or
# `"none"`?

# %%
if __name__ == "__main__":
    check("who_moves", ...)

# %%
if __name__ == "__main__":
    photo = load_images("photos").batch([12])  # [1, 3, 224, 224]
    student = VisionTransformer(image_size=224, patch_size=16, dim=192, depth=6, num_heads=3)
    teacher = make_teacher(student)
    block = torch.arange(196).reshape(14, 14)[7:13, 6:12].reshape(1, 1, 36)  # [B, M, Nt]

    size = 16
    changed = photo.clone()
    changed[:, :, :size, :size] = -2.0  # black

    def targets_only(images: Tensor) -> Tensor:
        with torch.no_grad():
            return F.layer_norm(teacher(images, keep=block.flatten(1)), (192,))

    full = (teacher_targets(teacher, changed, block) - teacher_targets(teacher, photo, block)).norm(dim=-1)
    alone = (targets_only(changed) - targets_only(photo)).norm(dim=-1)
    print(f"The target tokens move by {full.mean():.1e} with the full image, by {alone.mean():.1e} with targets only.")

    def on_grid(moves: Tensor) -> Tensor:
        return torch.full((196,), float("nan")).scatter(0, block.flatten(), moves.flatten()).reshape(14, 14)

    titles = ["changed photograph", "full image", "targets only"]
    figures.side_by_side([to_display(changed)[0], on_grid(full), on_grid(alone)], titles, label="how far it moves")

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# - **full image** (yours): every target token moves a little. Each has heard of the corner. (An untrained model
#   listens to all patches alike, so the move is small. Training makes it matter.)
# - **targets only**: the teacher is fed the target patches alone. Nothing moves: these tokens can't know where in the
#   world they are. In the paper this costs 11 points (56.1 % in place of 67.3 %).
#
# It is the mirror image of Lesson 2: the student must not see the rest, the teacher must. (Grey patches are not in
# this target.)
#
# </details>
#
# **Try:** `size = 1`. Is one pixel enough?
#
# ## Experiment: the cheap way down
#
# Why normalise? Predict 0 everywhere, and the loss is the mean square of the targets. For tokens of spread 1 that is
# 1. A student that shrinks its tokens shrinks its teacher's as well, and the loss falls without any knowledge.
#
# Here the model's last gain is halved, again and again. **Predict:** by what does each halving divide the cost of the
# answer 0, for raw tokens and for normalised ones?

# %%
if __name__ == "__main__":
    shrinking = make_teacher(student)
    cost = {"raw tokens": [], "normalised": []}
    for _ in range(6):
        cost["raw tokens"].append(gather_tokens(shrinking(photo), block[0]).square().mean().item())
        cost["normalised"].append(teacher_targets(shrinking, photo, block).square().mean().item())
        shrinking.norm.weight.mul_(0.5)
    figures.curves(cost, "What the answer 0 costs", "squared error", "times halved")

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# **Raw tokens**: each halving divides the cost by four, for it is a square. **Normalised**: the answer 0 keeps costing
# 1, however small the tokens get. (At the far right, torch's small eps begins to show.) So remember 1.0: a loss near it
# is what an empty answer gets.
#
# </details>
#
# **Try:** take the `F.layer_norm` out of your `teacher_targets`, run its cell and this one. Then put it back.
#
# ## Exercise 4.3: update_teacher
#
# **15 minutes, medium.** After each step of the student, each tensor of the teacher becomes momentum \* teacher +
# (1 - momentum) \* student. With momentum .996, that is four thousandths of the way.
#
# Work **in place**: the teacher's tensors keep their storage and get new values. Go through parameters and buffers;
# buffers hold what a model keeps besides its weights, such as tables and running means. Some are counters, whole
# numbers, and have no average: copy them.
#
# <details><summary>Hint 1</summary>
#
# `zip(teacher.parameters(), student.parameters(), strict=True)` gives the pairs; `.buffers()` works the same way. What
# happens to the teacher if you write `mine = momentum * mine + ...` in the loop? Nothing: only the name moves.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Methods whose names end in `_` change their tensor: `mul_`, `add_`, `lerp_`, `copy_`. In
# `mine.mul_(momentum).add(...)` the second one lacks it: the sum is computed and thrown away.
#
# </details>
# <details><summary>Hint 3</summary>
#
# Inside `with torch.no_grad():`, `mine.lerp_(other, weight)` goes the fraction `weight` of the way from mine to
# other. Which weight leaves the teacher alone at momentum 1? `mine.is_floating_point()` tells floats from counters.
#
# </details>


# %% exercise="update_teacher"
def update_teacher(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Move the teacher a little towards the student: an exponential moving average (EMA) of its
    weights.

    Every parameter, frozen ones too, and every floating-point buffer becomes momentum * teacher +
    (1 - momentum) * student, in the teacher's own storage; other buffers are copied. The student is
    not changed and no graph is kept.

    Example: momentum 0.9, a teacher's weight of 1.0, the student's 0.0 -> the teacher's is 0.9, and
    0.81 after a second update.
    """
    ### BEGIN SOLUTION
    with torch.no_grad():
        # lerp_ is mine + (1 - momentum) * (other - mine): equal tensors stay exactly equal
        for mine, other in zip(teacher.parameters(), student.parameters(), strict=True):
            mine.lerp_(other, 1 - momentum)
        for mine, other in zip(teacher.buffers(), student.buffers(), strict=True):
            if mine.is_floating_point():
                mine.lerp_(other, 1 - momentum)
            else:
                mine.copy_(other)
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("update_teacher")

# %% [markdown]
# ## Experiment: how slow?
#
# Your `update_teacher` on a model of one weight. Above the picture stands the **half-life**: how many steps it takes
# until half of what the teacher started with is gone.
#
# **Predict:** how long is the half-life at the paper's momentum, .996? Then look for the calmest teacher that is not
# too late.

# %%
if __name__ == "__main__":
    check("half_life", ...)

# %%
if __name__ == "__main__":
    from math import log

    def path(momenta: list[float]) -> list[float]:
        """The teacher's weight after each step; momenta: one a step."""
        one_weight = nn.Linear(1, 1, bias=False)
        one_weight.weight.data.fill_(student_weight[0])
        follower, weights = make_teacher(one_weight), []
        for value, momentum in zip(student_weight, momenta, strict=True):
            one_weight.weight.data.fill_(value)
            update_teacher(follower, one_weight, momentum)
            weights.append(follower.weight.item())
        return weights

    def follow(momentum: float):
        title = f"momentum {momentum}: half-life of about {log(2) / (1 - momentum):.0f} steps"
        return figures.curves({"student": student_weight, "teacher": path([momentum] * 300)}, title, "weight")

    figures.sliders(follow, momentum=(0.98, [0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.996, 0.999]))

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# Each step leaves momentum of what was there: after about ln 2 / (1 - momentum) steps, half of it is gone.
#
# - .5: the teacher jumps as the student does. Predicting it means predicting yourself.
# - .98: calm, and not far behind.
# - .999: calm, and hopelessly late. In a run of 300 steps this teacher keeps 74 % of its start.
#
# So the right momentum depends on how long you train.
#
# </details>
#
# ## Experiment: one underscore
#
# The student stands still at 1, and so does the teacher: nothing should happen. But the second underscore is missing:
# `mine.mul_(momentum).add(other, alpha=1 - momentum)`. A published implementation does this.
#
# **Predict:** what does the teacher's weight do over 1000 steps: it `"stays"`, it `"fades"`, or there is an `"error"`?

# %%
if __name__ == "__main__":
    check("missing_underscore", ...)

# %%
if __name__ == "__main__":
    momentum = 0.996
    still = nn.Linear(1, 1, bias=False)
    still.weight.data.fill_(1.0)
    good, bad = make_teacher(still), make_teacher(still)
    kept = {"add_": [], "add": []}
    for _ in range(1001):
        kept["add_"].append(good.weight.item())
        kept["add"].append(bad.weight.item())
        update_teacher(good, still, momentum)
        bad.weight.mul_(momentum).add(still.weight, alpha=1 - momentum)
    print(f"After 1000 steps: {kept['add'][-1]:.3f}; momentum ** 1000 = {momentum**1000:.3f}")
    figures.curves(kept, "The teacher's weight, while the student's stays at 1", "weight")

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# Each step multiplies the teacher by the momentum, and nothing is added: after n steps momentum\*\*n is left of it.
# There is no error and no strange loss. But this teacher is no average: it learns nothing from the student.
#
# </details>
#
# **Try:** .9 and .9999. At which of them would you notice within ten steps?
#
# ## Exercise 4.4: momentum_at
#
# **5 minutes, easy.** Early on, the student gets better quickly, and the teacher should follow. At the end it should
# stand still. So the momentum rises, on a straight line from .996 at step 0 to 1 at `total_steps`.
#
# <details><summary>Hint 1</summary>
#
# What fraction of the training is done at `step`? It is 0 at step 0 and 1 at `total_steps`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A fraction p of the way from start to end is start + p \* (end - start).
#
# </details>
# <details><summary>Hint 3</summary>
#
# p is `step / total_steps`: not `//`, which is 0 until the last step, and not `total_steps - 1`.
#
# </details>


# %% exercise="momentum_at"
def momentum_at(step: int, total_steps: int, start: float = 0.996, end: float = 1.0) -> float:
    """The EMA momentum at a step: a straight line from start at step 0 to end at step ==
    total_steps.

    Example: momentum_at(500, 1000) -> 0.998.
    """
    ### BEGIN SOLUTION
    return start + (end - start) * step / total_steps
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("momentum_at")

# %% [markdown]
# ## Experiment: a teacher that comes to rest
#
# The student of the first picture again, with two teachers: one at a momentum of .9 throughout, one on your schedule
# from .9 to 1. **Predict:** which of them moves less in the last fifty steps, by what factor, and why not at the start?

# %%
if __name__ == "__main__":
    rising = [momentum_at(step, 300, start=0.9) for step in range(300)]
    paths = {"constant": path([0.9] * 300), "rising": path(rising)}
    for name, weights in paths.items():
        moved = torch.tensor(weights).diff().abs()
        print(f"{name:>8}: {moved[:50].mean():.4f} a step in the first fifty, {moved[-50:].mean():.4f} in the last")
    figures.curves({"student": student_weight, **paths}, "A constant momentum of .9, and one that rises to 1", "weight")

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# A step takes 1 - momentum of the way to the student. At the start that is .1 for both. Over the last fifty steps of
# the rising one it is .0085 on average, about a twelfth. So the student's last batches hardly count: what this teacher
# holds in the end lies about 70 steps back on average, in place of 9. The teacher is the encoder that is kept.
#
# </details>
#
# ## Stretch: update_all
#
# *Optional, 15 minutes.* Your loop of exercise 4.3 asks torch for each tensor apart. Some functions take whole lists:
# `torch._foreach_mul_(tensors, number)`, `torch._foreach_add_(tensors, others, alpha=number)` and
# `torch._foreach_lerp_(tensors, others, number)`. (The underscore in front says that torch may change them; its own
# optimizers and averages are built of them.) `pytest checks --stretch` runs the checks of all stretch exercises.


# %% stretch="update_all"
def update_all(teacher: list[Tensor], student: list[Tensor], momentum: float) -> None:
    """The moving average of exercise 4.3 for lists of tensors, all at once.

    Each of the teacher's tensors becomes momentum * teacher + (1 - momentum) * student, in its own storage. The lists
    hold floats in equal shapes; the student's may require gradients. Lists and student stay as they are, and no graph
    is kept. The number of torch operations does not depend on the length of the lists.
    """
    ### BEGIN SOLUTION
    with torch.no_grad():
        torch._foreach_lerp_(teacher, student, 1 - momentum)
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("update_all")

# %%
if __name__ == "__main__":
    from time import perf_counter

    small = VisionTransformer(image_size=32, patch_size=4, dim=64, depth=12, num_heads=2)
    follower = make_teacher(small)
    lists = list(follower.parameters()), list(small.parameters())
    for update, given in ((update_teacher, (follower, small)), (update_all, lists)):
        start = perf_counter()
        for _ in range(100):
            update(*given, 0.996)
        print(f"{update.__name__:>14}: {(perf_counter() - start) * 10:.2f} ms for {len(lists[0])} tensors")

# %% [markdown]
# A GPU does each of these small jobs faster than Python can ask for the next: there the loop is nearly all of the time.
#
# ## What people get wrong here
#
# - **A teacher with weights of its own.** It starts as random noise that has nothing to do with the student.
# - **Shared storage** (`teacher = student`, or a shallow copy). Teacher and student are one. A patch embedding that
#   both share is the same mistake in small.
# - **Gradient through the targets.** The targets move towards the prediction: the short way to collapse.
# - **Dropout active in the teacher.** The targets jitter, and the student learns their mean.
# - **Only the target patches fed to the teacher**; **no layer_norm**; **EMA out of place**: you have seen these three.
# - **Momentum on the wrong side.** `lerp_(other, momentum)` takes .996 of the student: a copy with hardly any past.
# - **No buffers in the EMA.** A batch norm in the teacher would keep its first running mean for ever.
# - **A schedule that runs backwards.** The teacher stands still first, and jumps at the end.
#
# With every one of these the loss can fall. Lesson 6 measures what a loss can't tell you.

# %% [markdown] question="momentum_extremes" points=2
# ## Question: the two extremes
#
# Set the momentum to 1 for the whole training, then to 0. Say for each what the teacher is, what the student can learn
# from it, and what goes wrong. Why does a low loss not settle which of the two is better? Four to six sentences.
#
# ### BEGIN SOLUTION
# Momentum 1: the teacher keeps its random start. Its tokens still depend on the image, so the student learns
# something, but it can never learn more than random features contain: the targets do not get better. Momentum 0: the
# teacher is the student of the step before. The targets jump with every batch and follow the student at once, so
# student and teacher can drift together towards an answer that is the same for all images (collapse). The loss does
# not settle it: it measures how well the targets are predicted, not what they are worth. Collapsed targets are the
# easiest of all, and the loss goes to 0 with the features worth nothing.
#
# Rubric: half a point for momentum 1 (a fixed random teacher, which limits what is learned). Half a point for momentum
# 0 (no memory; unstable targets or collapse). 1 point for the loss: it depends on targets that differ between the two
# runs, and an easy target is no good one (half a point for naming collapse alone).
# ### END SOLUTION

# %% [markdown]
# ## Read
#
# [Assran et al. 2023](https://arxiv.org/abs/2301.08243), section 3, "Method", the paragraphs "Targets" and "Loss". The
# appendix on ablations compares masking the teacher's output and its input.
#
# ## Next
#
# The student has its context, the teacher its answers. Lesson 5 builds what goes from one to the other: the predictor.
