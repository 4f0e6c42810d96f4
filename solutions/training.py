# %% [markdown]
# # Lesson 6: training
#
# ## What you will build and why
#
# All parts are there: a student that sees the context, a teacher that sees everything, a predictor between them.
# Training repeats one step: the teacher looks, the student looks, the predictor answers, the loss compares, the
# gradients flow to student and predictor, and the teacher moves a little towards the student. The order matters, and
# most of the mistakes that people publish are in it.
#
# Around the step stand two schedules and a list of parameters: how large a step, how strong the pull of the weights
# towards zero, and which weights are pulled at all.
#
# Then comes the question that the whole course leads to. The teacher makes the targets, and the teacher
# follows the student. So the loss can fall in two ways: the predictions get better, or the targets get easier.
# You will train both kinds and learn to tell them apart. You need all earlier lessons. Plan **90 minutes**.

# %%
import math

import torch
from torch import Tensor, nn

from checks import check
from solutions.masking import Masks
from solutions.predictor import jepa_loss
from solutions.teacher import make_teacher, momentum_at, teacher_targets, update_teacher

# %%
if __name__ == "__main__":
    from data import load_images, load_model, to_display
    from lessons import figures
    from solutions.masking import sample_masks
    from solutions.predictor import Predictor
    from solutions.vision_transformer import VisionTransformer

    photos = load_images("whole photos").batch([4, 5, 3])
    masks = sample_masks(3, 14, torch.Generator().manual_seed(5))
    figures.masks(to_display(photos), masks.context, masks.targets, 14)

# %% [markdown]
# One training step in a picture: the student sees green, the teacher sees everything, and the predictor says what
# the teacher makes of the four red blocks.
#
# ## The contract
#
# All schedules measure progress as step / total_steps; the end value is reached at step == total_steps.
#
# - `learning_rate_at(step, total_steps, warmup_steps, peak, start, end)`: a line up, then half a cosine down
# - `weight_decay_at(step, total_steps, start, end)`: half a cosine up
# - `parameter_groups(model, weight_decay)` -> a list of dicts for AdamW: each trained parameter once
# - `train_step(model, images, masks, optimizer, momentum)` -> the loss, a detached scalar
#
# `IJEPA` holds the three networks and is given:


# %%
class IJEPA(nn.Module):
    """Student, teacher and predictor under one roof; the teacher is made from the student."""

    def __init__(self, student: nn.Module, predictor: nn.Module):
        super().__init__()
        self.student = student
        self.teacher = make_teacher(student)
        self.predictor = predictor

    def train(self, mode: bool = True) -> "IJEPA":
        """As for any module, but the teacher stays in eval mode: its targets must not be noisy."""
        super().train(mode)
        self.teacher.eval()
        return self


# %% [markdown]
# ## Exercise 6.1: learning_rate_at
#
# **10 minutes, easy.** AdamW's first steps are uncertain, since it has seen few gradients: start small, rise on a
# straight line for `warmup_steps`, then come down on half a cosine, so that the last steps only polish.
#
# <details><summary>Hint 1</summary>
#
# Two cases. In each, first compute how far along you are, as a number from 0 to 1.
#
# </details>
# <details><summary>Hint 2</summary>
#
# After the warm-up, progress counts the steps that remain: 0 at `warmup_steps`, 1 at `total_steps`. Half a
# cosine from 1 down to 0 is `(1 + math.cos(math.pi * progress)) / 2`.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `end + (peak - end) * half_cosine`. With `warmup_steps=0` the first case must never divide by it.
#
# </details>


# %% exercise="learning_rate_at"
def learning_rate_at(
    step: int, total_steps: int, warmup_steps: int, peak: float = 1e-3, start: float = 2e-4, end: float = 1e-6
) -> float:
    """The learning rate at a step: a line from start at step 0 to peak at warmup_steps, then half a
    cosine down to end at step == total_steps.
    """
    ### BEGIN SOLUTION
    if step < warmup_steps:
        return start + (peak - start) * step / warmup_steps
    progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
    return end + (peak - end) * (1 + math.cos(math.pi * progress)) / 2
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("learning_rate_at")

# %% [markdown]
# ## Exercise 6.2: weight_decay_at
#
# **5 minutes, easy.** Weight decay rises over the run, from .04 to .4 in the paper: free at first, held tighter later.
#
# <details><summary>Hint 1</summary>
#
# It is the second half of exercise 6.1 with the ends exchanged.
#
# </details>
# <details><summary>Hint 2</summary>
#
# At progress 0 the half cosine is 1: it must then give `start`.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `end + (start - end) * half_cosine`, with progress = step / total_steps.
#
# </details>


# %% exercise="weight_decay_at"
def weight_decay_at(step: int, total_steps: int, start: float = 0.04, end: float = 0.4) -> float:
    """The weight decay at a step: half a cosine up from start at step 0 to end at step ==
    total_steps.
    """
    ### BEGIN SOLUTION
    return end + (start - end) * (1 + math.cos(math.pi * step / total_steps)) / 2
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("weight_decay_at")

# %% [markdown]
# **Predict before you run it.** AdamW's decay takes learning rate x weight decay of each weight off it, in every step.
# The first falls over most of the run while the second rises. When is this pull towards zero strongest: at the
# `"start"`, in the `"middle"` or at the `"end"` of the run?

# %%
if __name__ == "__main__":
    check("strongest_pull", ...)

# %%
if __name__ == "__main__":

    def from_0_to_1(values: list[float]) -> list[float]:
        low, high = min(values), max(values)
        return [(value - low) / (high - low) for value in values]

    schedules = {
        "learning rate": [learning_rate_at(step, 300, 30) for step in range(301)],
        "weight decay": [weight_decay_at(step, 300) for step in range(301)],
        "momentum": [momentum_at(step, 300) for step in range(301)],
        "pull": [learning_rate_at(step, 300, 30) * weight_decay_at(step, 300) for step in range(301)],
    }
    for name, values in schedules.items():
        print(f"{name:>14}: from {values[0]:.3g} to {values[-1]:.3g}, at most {max(values):.3g}")
    figures.curves(
        {name: from_0_to_1(values) for name, values in schedules.items()},
        "Schedules of 300 steps, each between its smallest and its largest value",
        "share of the way up",
    )

# %% [markdown]
# The third is your `momentum_at` from lesson 4. Read the picture from left to right: at first the student may change
# quickly, with little decay, and the teacher follows it. At the end all of them hold still.

# %% [markdown]
# ## Exercise 6.3: parameter_groups
#
# **15 minutes, medium.** Weight decay pulls weights towards zero. For a matrix that is a mild preference for simple
# maps. For a bias or the scale of a LayerNorm it makes no sense: a scale wants to be near 1, not 0. So parameters
# go to the optimizer in groups, with decay and without.
#
# What must be in: everything of student and predictor that is trained. What must not: the teacher, which follows
# by averaging and never by gradients, and the fixed position tables.
#
# <details><summary>Hint 1</summary>
#
# `p.ndim` is 1 for biases and LayerNorm weights, 2 for the weights of a Linear, 4 for a convolution, 3 for the mask
# token. No name is needed.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Collect the parameters of `model.student` and `model.predictor` with `requires_grad`, then split the list in two.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `[{"params": [...], "weight_decay": weight_decay}, {"params": [...], "weight_decay": 0.0}]`
#
# </details>


# %% exercise="parameter_groups"
def parameter_groups(model: nn.Module, weight_decay: float = 0.04) -> list[dict]:
    """The parameters of an IJEPA for AdamW: `[{"params": [...], "weight_decay": ...}, ...]`.

    Every parameter of student and predictor that is trained stands in exactly one group, none of
    the teacher's in any. Tensors of at most one axis (biases, LayerNorm weights) have no weight
    decay, all others, the mask token included, have weight_decay.
    """
    ### BEGIN SOLUTION
    trained = [p for module in (model.student, model.predictor) for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("parameter_groups")

# %% [markdown]
# ## Experiment: gradients that nobody cleared
#
# `backward` adds to what `.grad` holds already. **Predict:** a weight whose gradient is 1 for every batch takes ten
# steps of plain SGD with learning rate .1. With `zero_grad` in each step it moves by 1 in all. By how much without?

# %%
if __name__ == "__main__":
    check("never_zeroed", ...)

# %%
if __name__ == "__main__":
    weight = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1)
    for _ in range(10):
        weight.backward()  # adds 1
        optimizer.step()
        print(f".grad {weight.grad.item():2.0f}, moved by {-weight.item():.1f}")

# %% [markdown]
# ## Exercise 6.4: train_step
#
# **20 minutes, medium.** Put the parts in order. Each line is short; what counts is what each network gets to see, and
# when the teacher moves.
#
# <details><summary>Hint 1</summary>
#
# Write the docstring's chain down as seven comments, then one line of code below each. Which of the seven need
# `masks.context`, which `masks.targets`?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `teacher_targets` gets the full images and `masks.targets`; the student gets the images and `keep=masks.context`;
# the predictor gets the student's tokens and both. Gradients of an earlier step are still there: `zero_grad`.
#
# </details>
# <details><summary>Hint 3</summary>
#
# `zero_grad`, `backward`, `step` in this order, then `update_teacher` with the student as it is *after* the step.
# Return `loss.detach()`, so that nobody keeps the graph alive.
#
# </details>


# %% exercise="train_step"
def train_step(
    model: nn.Module, images: Tensor, masks: Masks, optimizer: torch.optim.Optimizer, momentum: float
) -> Tensor:
    """One step: teacher -> student -> predictor -> loss -> backward -> optimizer step -> teacher
    update, in this order.

    images [B, 3, H, W]; masks.context [B, Nc], masks.targets [B, M, Nt]; gradients left from before
    do not count. -> the loss, a detached scalar.
    """
    ### BEGIN SOLUTION
    targets = teacher_targets(model.teacher, images, masks.targets)
    context_tokens = model.student(images, keep=masks.context)
    predictions = model.predictor(context_tokens, masks.context, masks.targets)
    loss = jepa_loss(predictions, targets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    update_teacher(model.teacher, model.student, momentum)
    return loss.detach()
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("train_step")

# %% [markdown]
# ## Experiment: train it
#
# Small images (96 px, a grid of 6 x 6), a small network, half a minute, and all three schedules. `compare` measures, on
# photographs that training never saw, the loss beside two answers that show nothing learned: one constant vector for
# every target (the best there is), and the predictions held against *another* image.
#
# **Predict:** in which order will the three lines end, from the lowest to the highest?

# %%
if __name__ == "__main__":
    held_out_masks = sample_masks(64, 6, torch.Generator().manual_seed(0))

    def compare(model: IJEPA, held_out: Tensor) -> dict[str, float]:
        """The held-out loss, the best constant's, and that of the predictions for another image."""
        context, targets = held_out_masks
        with torch.no_grad():
            predictions = model.predictor(model.student(held_out, context), context, targets)
            truth = teacher_targets(model.teacher, held_out, targets)
            other = teacher_targets(model.teacher, held_out.roll(1, dims=0), targets)
            constant = truth.mean(dim=(0, 1, 2)).expand_as(truth)
        return {
            "loss": jepa_loss(predictions, truth).item(),
            "best constant": jepa_loss(constant, truth).item(),
            "another image": jepa_loss(predictions, other).item(),
        }

    def photographs(size: int):
        images = load_images("photos", image_size=size)
        return lambda step, seed, count: images.batch(images.in_order_of(seed).indices_at(step, count))

    def train(
        images_at, momentum: float, size: int = 96, steps: int = 300, count: int = 32, seed: int = 0, a_step=train_step
    ) -> dict[str, list[float]]:
        """Train a new IJEPA on the batches images_at(step, seed, count) -> what compare said every 10 steps."""
        held_out = load_images("photos", image_size=size, split="val").batch(range(64))
        torch.manual_seed(seed)
        student = VisionTransformer(size, size // 6, dim=64, depth=2, num_heads=2)
        model = IJEPA(student, Predictor(6, 64, 32, depth=2, num_heads=2))
        optimizer = torch.optim.AdamW(parameter_groups(model))
        history: dict[str, list[float]] = {}
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(step, steps, warmup_steps=steps // 10)
                if group["weight_decay"]:
                    group["weight_decay"] = weight_decay_at(step, steps)
            now = momentum_at(step, steps, momentum) if momentum else 0.0
            masks = sample_masks(count, 6, torch.Generator().manual_seed(1000 * seed + step))
            a_step(model, images_at(step, seed, count), masks, optimizer, now)
            if step % 10 == 0:
                for name, value in compare(model, held_out).items():
                    history.setdefault(name, []).append(value)
        return history

    history = train(photographs(96), momentum=0.996)
    figures.curves(history, "Trained on photographs", "squared error", "tens of steps")

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# The loss ends below the best constant, and the predictions fit their own image better than another one. So they use
# what the context shows. Whether the features are good for anything is another question: lesson 7 asks it.
#
# </details>
#
# ## Experiment: which mistake does the damage?
#
# Two things can go wrong. The images may be **white noise**, in which nothing can be predicted from anything. And the
# teacher may be the student itself (`momentum=0`), so that the targets follow at once. We try all four
# combinations, each with three seeds, on smaller images so that it takes about a minute. The line is the mean of the
# seeds; the band goes from the lowest to the highest.
#
# In all four the loss falls. **Predict:** in which will it end below the best constant?

# %%
if __name__ == "__main__":

    def noise(step: int, seed: int, count: int) -> Tensor:
        return torch.randn(count, 3, 48, 48, generator=torch.Generator().manual_seed(1000 * seed + step))

    quick = {"size": 48, "steps": 200, "count": 16}
    four = {}
    for images_name, images_at in (("photographs", photographs(48)), ("white noise", noise)):
        for momentum in (0.996, 0.0):
            seeds = [train(images_at, momentum, seed=seed, **quick) for seed in range(3)]
            four[f"{images_name}, momentum {momentum:g}"] = {
                line: [one[line] for one in seeds] for line in ("loss", "best constant")
            }
    figures.runs(four, "squared error, held-out photographs", "tens of steps")

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# It is the noise. With photographs the loss ends far below the best constant, whichever the momentum. With noise it
# ends where the constant is: it falls only as far as that falls, because the targets of all images become alike. This
# is **collapse**. With a copied teacher it is over in fifty steps, with a slow one it is under way.
#
# So the lowest loss of the four belongs to the worst model. A loss means something only beside what it would be without
# looking.
#
# </details>
#
# ## Experiment: why do photographs not collapse?
#
# The loss would be smallest if all targets were the same. What keeps a run from going there? Cut one thing: let the
# gradient flow into the targets. `leaky_step` is your `train_step` with the student as its own teacher and without
# `no_grad`. **Predict:** where will its loss end, and where the best constant's?

# %%
if __name__ == "__main__":
    from torch.nn import functional as F

    from solutions.vision_transformer import gather_tokens

    def leaky_step(model: IJEPA, images: Tensor, masks: Masks, optimizer, momentum: float) -> None:
        """A step whose gradient also moves the targets towards the predictions."""
        tokens = F.layer_norm(model.student(images), (64,))
        targets = gather_tokens(tokens, masks.targets.flatten(1)).unflatten(1, masks.targets.shape[1:])
        predictions = model.predictor(model.student(images, masks.context), masks.context, masks.targets)
        optimizer.zero_grad()
        jepa_loss(predictions, targets).backward()
        optimizer.step()
        update_teacher(model.teacher, model.student, 0.0)

    leaky = [train(photographs(48), 0.0, seed=seed, a_step=leaky_step, **quick) for seed in range(3)]
    cut = {
        "momentum 0, as you wrote it": four["photographs, momentum 0"],
        "momentum 0, gradient in the targets": {
            line: [one[line] for one in leaky] for line in ("loss", "best constant")
        },
    }
    figures.runs(cut, "squared error, held-out photographs", "tens of steps")

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# Both teachers are the student. In the second the targets are all alike within fifty steps, and the loss is nearly 0.
#
# - **The stop-gradient.** With it, a step moves predictions towards targets, and never targets towards predictions.
#   Making all images alike would lower the loss, but no gradient points there.
# - **The predictor.** The student's tokens need not *be* the targets; the targets need to follow from them. So the
#   student is asked to keep what tells images apart, as long as that helps to predict. BYOL and SimSiam found the
#   same with two views of an image: take the predictor or the stop-gradient away, and they collapse. SimSiam
#   did without a slow teacher, as your run with momentum 0.
# - **Where the argument ends.** That no gradient points to the constant does not mean that nothing goes there. If the
#   targets can't be predicted, as in noise, the best prediction is a constant, nothing asks the student to keep
#   anything, and it doesn't. And features can lose most of their directions long before all of them: lesson 7.
#
# </details>
#
# ## Experiment: what an hour gives
#
# A minute is short. A small model comes with the course: your pieces, in a larger network, for about an hour on 20,000
# small images of CIFAR-10. Its weights fit into your classes: `load_model` returns them, and what was measured on the
# way. On the right is what labels say, which the training never saw. "Neighbours": how often most of the 20 images with
# the nearest features are of the same kind. Lesson 7 builds this instrument.
#
# **Predict:** both measures of the features get better. And the loss, after its first fall: will it `"fall"` on,
# `"stay"` or `"rise"`?

# %%
if __name__ == "__main__":
    check("hour_loss", ...)

# %%
if __name__ == "__main__":
    small = load_model()
    teacher = VisionTransformer(*small["encoder_sizes"])
    print(teacher.load_state_dict(small["encoder"]))
    figures.long_run(small["points"])

# %% [markdown]
# <details><summary>What happens, and why</summary>
#
# After its first fall the loss **rises**, for most of the hour, and both measures of the features with it. The targets
# come from the teacher's features: the more these tell images apart, the harder is the question. The best constant
# says so: its loss ends higher as well.
#
# So a falling loss is no evidence that it learns, and a rising one none that it doesn't. You need other instruments.
#
# </details>
#
# ## Your own I-JEPA
#
# The course's trainer assembles your pieces and trains them at full size, 224 px. In a terminal, in the folder of
# the course:
#
#     python -m solutions.train --pieces lessons
#
# It takes a few minutes and leaves pictures and a report in `runs/photos`.
#
# ## Stretch: gradients_in_parts
#
# *Optional, 25 minutes.* The paper's batches hold 2,048 images, and what `backward` needs of so many fits into no small
# memory. That gradients add up, the trap above, is the way out: take the batch in parts, and call `backward` on each.
# They must add up to the gradient of the whole batch's loss. `pytest checks --stretch` runs the checks.


# %% stretch="gradients_in_parts"
def gradients_in_parts(model: nn.Module, images: Tensor, masks: Masks, parts: int) -> Tensor:
    """The gradients of a large batch from several small ones -> the loss of the whole batch, a detached scalar.

    Afterwards .grad of student and predictor is the gradient of jepa_loss over all images [B, 3, H, W] and masks;
    gradients left from before do not count. The student sees at most ceil(B / parts) images at a time, and the graph
    of one part is gone before the next part begins. 1 <= parts <= B; parts need not divide B.
    """
    ### BEGIN SOLUTION
    model.zero_grad()
    whole = torch.zeros((), device=images.device)
    for some, context, targets in zip(*(tensor.chunk(parts) for tensor in (images, *masks)), strict=True):
        predictions = model.predictor(model.student(some, keep=context), context, targets)
        share = len(some) / len(images) * jepa_loss(predictions, teacher_targets(model.teacher, some, targets))
        share.backward()
        whole += share.detach()
    return whole
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("gradients_in_parts")

# %% [markdown]
# What a graph keeps for `backward`, and how far the gradients of the parts are from those of the whole:

# %%
if __name__ == "__main__":
    student = VisionTransformer(96, 16, dim=64, depth=2, num_heads=2)
    model = IJEPA(student, Predictor(6, 64, 32, depth=2, num_heads=2))
    large = load_images("photos", image_size=96).batch(range(64)), sample_masks(64, 6, torch.Generator().manual_seed(0))
    kept, whole = [], None
    for parts in (1, 5, 16):
        kept.clear()
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.nbytes) or tensor, lambda t: t):
            gradients_in_parts(model, *large, parts)
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        whole = gradient if whole is None else whole
        off = (gradient - whole).norm() / whole.norm()
        print(f"{parts:2} parts: {sum(kept) / parts / 1e6:5.1f} MB a part, gradients off by {off:.0e} of their length")

# %% [markdown]
# The memory of a part, and the gradient of the whole but for rounding. That works because each image has a loss of its
# own: what compares the images of a batch, such as lesson 7's `apart_loss`, can't be taken apart like this.
#
# ## What people get wrong here
#
# - **The teacher moves before the optimizer steps**: it averages yesterday's student. A small mistake that no
#   loss shows.
# - **Gradients never zeroed**: each step repeats all earlier ones.
# - **Gradients through the targets**: the shortest way to a small loss is then to make the targets constant.
# - **The student sees the full image**: it copies, and the task is gone.
# - **Mask token or patch embedding left out of the optimizer**: it stays random, and the loss falls without it.
# - **The teacher in the optimizer**: two forces move it, and the average is no average any more.
# - **Weight decay on norms and biases**: scales are pulled to 0.
# - **A schedule that ends early or never** (progress over total_steps - 1, or the cosine over all steps).
# - **Only the loss is looked at**: the experiments above.
#
# ## Paper, official code, this course
#
# What you wrote is I-JEPA, but papers and code are not always of one mind. Where they differ:
#
# | | paper | official code | this course |
# | --- | --- | --- | --- |
# | learning rate at the start | 1e-4 | 2e-4 | 2e-4 |
# | weight decay, .04 to .4 | a line | half a cosine | half a cosine |
# | loss | squared difference (L2) | smooth L1 | squared difference |
# | normalised targets | not mentioned | `layer_norm` of each token | the same |
# | context cut to one length | not mentioned | keeps the first patches, row by row | keeps patches at random |
# | blocks at the border | not mentioned | never reach the last row and column | reach every border |
# | size and shape of a block | drawn from two ranges | one random number gives both | two random numbers |
#
# The cut of the context is easy to overlook: in the official code, in large batches, the bottom rows are almost never
# context.

# %% [markdown] question="falling_loss" points=3
# ## Question: what would convince you?
#
# A friend shows you a curve: the loss of their I-JEPA falls from 1.0 to 0.05 in 200 steps. In five sentences or
# fewer: why does this not show that it learned? Name two measurements that would tell you more, and say for each
# which result would convince you and which would worry you. *(3 points, marked by hand)*
#
# ### BEGIN SOLUTION
# The teacher makes the targets, and it follows the student: if the targets of all images become alike, the loss falls
# although nothing about the images is learned. (a) The loss of the best constant vector on the same targets: if it is
# .05 as well, the predictor answers with a constant; if it stayed near .7, the predictions carry information.
# (b) The loss of the same predictions against another image's targets: equal to the loss means that the context is
# ignored, much larger means that it is used. Others serve as well: spread or effective rank of the features (falling
# to 0 or 1 is collapse), a probe or nearest neighbours with labels against an untrained network.
#
# Rubric: 1 point for the reason (targets can become easy, collapse); 1 point for each measurement with both
# outcomes, at most 2.
# ### END SOLUTION

# %% [markdown]
# ## Read
#
# [The paper](https://arxiv.org/abs/2301.08243), section 3 and appendix A.1, has the schedules and the optimizer.
#
# ## Next
#
# You have built and trained an I-JEPA. Run it on images of your own (`--data folder`), or change one thing: the size of
# the targets, the width of the predictor, the momentum. What to measure before you believe, you build in lesson 7.
