# %% [markdown]
# # Lesson 4: the teacher

# %%
import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from checks import check
from solutions.vision_transformer import gather_tokens


# %% exercise="make_teacher"
def make_teacher(student: nn.Module) -> nn.Module:
    """The teacher at step 0: a copy of the student that is never trained by gradients.

    -> a module of the same kind with equal weights, in eval mode, no parameter of which requires a
    gradient or shares storage with the student's. The student is not changed.
    """
    ### BEGIN SOLUTION
    return copy.deepcopy(student).requires_grad_(False).eval()
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("make_teacher")


# %% exercise="teacher_targets"
def teacher_targets(teacher: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    """What the student must predict: the teacher's view of the target patches.

    The teacher encodes the FULL images [B, 3, H, W] -> h [B, N, D]; h is normalised over D
    (F.layer_norm without weights, torch's default eps); then the target patches, long [B, M, Nt],
    are taken -> [B, M, Nt, D]. No graph is kept.
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


# %% exercise="update_teacher"
def update_teacher(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Move the teacher a little towards the student: an exponential moving average (EMA) of its
    weights.

    Every parameter, frozen ones too, and every floating-point buffer becomes momentum * teacher +
    (1 - momentum) * student, in the teacher's own storage; other buffers are copied. The student is
    not changed and no graph is kept.
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


# %% exercise="momentum_at"
def momentum_at(step: int, total_steps: int, start: float = 0.996, end: float = 1.0) -> float:
    """The EMA momentum at a step: a straight line from start at step 0 to end at step ==
    total_steps.
    """
    ### BEGIN SOLUTION
    return start + (end - start) * step / total_steps
    ### END SOLUTION


# %%
if __name__ == "__main__":
    check("momentum_at")
