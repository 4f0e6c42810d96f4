# %% [markdown]
# # Lesson 6: training

# %%
import math

import torch
from torch import Tensor, nn

from checks import check
from solutions.masking import Masks
from solutions.predictor import jepa_loss
from solutions.teacher import make_teacher, teacher_targets, update_teacher


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
