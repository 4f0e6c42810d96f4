# ruff: noqa: F811, F821, RUF100
"""Lesson 6: wrong answers that the checks must catch, right ones that they must accept."""

# %% wrong learning_rate_at: the warm-up begins at 0 | the warm-up begins at 0: it begins at start
# - start + (peak - start) * step / warmup_steps
# + peak * step / warmup_steps

# %% wrong learning_rate_at: one step ahead | the warm-up is one step ahead
# - start + (peak - start) * step / warmup_steps
# + start + (peak - start) * (step + 1) / warmup_steps

# %% wrong learning_rate_at: from 0 and one step ahead | begins at 0 and is one step ahead
# - start + (peak - start) * step / warmup_steps
# + peak * (step + 1) / warmup_steps

# %% wrong learning_rate_at: the line overshoots | rises by peak - start
# - start + (peak - start) * step / warmup_steps
# + start + peak * step / warmup_steps

# %% wrong learning_rate_at: peak a step too early | the warm-up ends one step too early
# - start + (peak - start) * step / warmup_steps
# + start + (peak - start) * step / max(1, warmup_steps - 1)

# %% wrong learning_rate_at: the line over all steps | it ends at warmup_steps
# - start + (peak - start) * step / warmup_steps
# + start + (peak - start) * step / total_steps

# %% wrong learning_rate_at: whole numbers only | would round the progress down
# - start + (peak - start) * step / warmup_steps
# + start + (peak - start) * (step // warmup_steps)

# %% wrong learning_rate_at: no warm-up | the cosine starts at step 0
# - if step < warmup_steps:
# + warmup_steps = 0
# +     if False:

# %% wrong learning_rate_at: a line from peak down | the warm-up runs the wrong way
# - start + (peak - start) * step / warmup_steps
# + peak + (start - peak) * step / warmup_steps

# %% wrong learning_rate_at: the warm-up is a cosine | it is a straight line
# - start + (peak - start) * step / warmup_steps
# + start + (peak - start) * (1 - math.cos(math.pi * step / warmup_steps)) / 2

# %% wrong learning_rate_at: peak is written out | the argument peak is ignored
# - start + (peak - start) * step / warmup_steps
# + start + (1e-3 - start) * step / warmup_steps

# %% wrong learning_rate_at: the cosine over all steps | the cosine runs over all steps
# - (step - warmup_steps) / max(total_steps - warmup_steps, 1)
# + step / total_steps

# %% wrong learning_rate_at: only half corrected | divide by total_steps - warmup_steps
# - (step - warmup_steps) / max(total_steps - warmup_steps, 1)
# + (step - warmup_steps) / total_steps

# %% wrong learning_rate_at: the warm-up is not taken off | the steps of the warm-up are not taken off
# - (step - warmup_steps) / max(total_steps - warmup_steps, 1)
# + step / (total_steps - warmup_steps)

# %% wrong learning_rate_at: end a step too early | arrives one step too early
# - max(total_steps - warmup_steps, 1)
# + max(total_steps - warmup_steps - 1, 1)

# %% wrong learning_rate_at: end a step too late | arrives one step too late
# - max(total_steps - warmup_steps, 1)
# + (total_steps - warmup_steps + 1)

# %% wrong learning_rate_at: a straight line down | this is a straight line: it is half a cosine
# - (1 + math.cos(math.pi * progress)) / 2
# + (1 - progress)

# %% wrong learning_rate_at: the cosine goes up | the curve runs the wrong way
# - (1 + math.cos(math.pi * progress))
# + (1 - math.cos(math.pi * progress))

# %% wrong learning_rate_at: a whole period | there and back
# - math.pi * progress
# + 2 * math.pi * progress

# %% wrong learning_rate_at: a quarter of a period | this is a quarter of a cosine
# - (1 + math.cos(math.pi * progress)) / 2
# + math.cos(math.pi / 2 * progress)

# %% wrong learning_rate_at: degrees | math.cos takes radians
# - math.pi * progress
# + 180 * progress

# %% wrong learning_rate_at: pi forgotten | the angle lacks pi
# - math.pi * progress
# + progress

# %% wrong learning_rate_at: not halved | halve it
# - progress)) / 2
# + progress))

# %% wrong learning_rate_at: down to 0 | it goes to end
# - end + (peak - end) * (1
# + peak * (1

# %% wrong learning_rate_at: scaled by peak | scale it by the difference
# - end + (peak - end) * (1
# + end + peak * (1

# %% wrong learning_rate_at: falls from start | the fall begins at start
# - end + (peak - end) * (1
# + end + (start - end) * (1

# %% wrong learning_rate_at: starts anew at the end | at peak again at the last step
# - progress = (step - warmup_steps) / max(total_steps - warmup_steps, 1)
# + progress = (step - warmup_steps) % (total_steps - warmup_steps) / (total_steps - warmup_steps)

# %% wrong learning_rate_at: the last step is capped | this is the rate of the step before
# - progress = (step - warmup_steps)
# + progress = (min(step, total_steps - 1) - warmup_steps)

# %% wrong learning_rate_at: divides by a warm-up of 0 | division by zero
# - if step < warmup_steps:
# + warm = step / warmup_steps
# +     if step < warmup_steps:

# %% wrong learning_rate_at: a tensor | this is a tensor
# - end + (peak - end) * (1 + math.cos(math.pi * progress)) / 2
# + end + (peak - end) * (1 + torch.cos(torch.tensor(math.pi * progress))) / 2

# %% wrong learning_rate_at: nothing is returned | is a `return` missing
# - return end + (peak - end) * (1
# + rate = end + (peak - end) * (1


# %% right learning_rate_at: <= and a guard, another formula
def learning_rate_at(step, total_steps, warmup_steps, peak=1e-3, start=2e-4, end=1e-6):
    if step <= warmup_steps and warmup_steps > 0:
        t = step / warmup_steps
        return (1 - t) * start + t * peak
    t = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak - (peak - end) * math.sin(math.pi * t / 2) ** 2


# %% right learning_rate_at: start at step 0 without warm-up, numpy
def learning_rate_at(step, total_steps, warmup_steps, peak=1e-3, start=2e-4, end=1e-6):
    import numpy as np

    if step <= warmup_steps:
        return float(np.interp(step, [0, max(1, warmup_steps)], [start, peak]))
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return end + 0.5 * (peak - end) * (1 + np.cos(np.pi * progress))


# %% right learning_rate_at: torch inside
def learning_rate_at(step, total_steps, warmup_steps, peak=1e-3, start=2e-4, end=1e-6):
    if step < warmup_steps:
        return torch.lerp(torch.tensor(start).double(), torch.tensor(peak).double(), step / warmup_steps).item()
    angle = torch.tensor(math.pi * (step - warmup_steps) / max(1, total_steps - warmup_steps), dtype=torch.float64)
    return (end + (peak - end) / 2 * (1 + torch.cos(angle))).item()


# %% wrong weight_decay_at: a straight line | this is a straight line: it is half a cosine
# - end + (start - end) * (1 + math.cos(math.pi * step / total_steps)) / 2
# + start + (end - start) * step / total_steps

# %% wrong weight_decay_at: downwards | the curve runs the wrong way
# - end + (start - end) * (1 + math.cos(math.pi * step / total_steps)) / 2
# + start + (end - start) * (1 + math.cos(math.pi * step / total_steps)) / 2

# %% wrong weight_decay_at: there and back | there and back
# - math.pi * step
# + 2 * math.pi * step

# %% wrong weight_decay_at: a sine | this is a sine
# - end + (start - end) * (1 + math.cos(math.pi * step / total_steps)) / 2
# + start + (end - start) * math.sin(math.pi / 2 * step / total_steps)

# %% wrong weight_decay_at: a quarter of a period | the angle goes to pi, not to pi / 2
# - math.pi * step
# + math.pi / 2 * step

# %% wrong weight_decay_at: degrees | math.cos takes radians
# - math.pi * step
# + 180 * step

# %% wrong weight_decay_at: pi forgotten | the angle lacks pi
# - math.pi * step
# + step

# %% wrong weight_decay_at: the last step is total_steps - 1 | arrives one step too early
# - / total_steps))
# + / (total_steps - 1)))

# %% wrong weight_decay_at: one step ahead | one step ahead
# - math.pi * step
# + math.pi * (step + 1)

# %% wrong weight_decay_at: whole numbers only | would round the progress down
# - math.pi * step / total_steps
# + math.pi * (step // total_steps)

# %% wrong weight_decay_at: not halved | halve it
# - total_steps)) / 2
# + total_steps))

# %% wrong weight_decay_at: from 0 | starts from 0
# - end + (start - end) * (1
# + end - end * (1

# %% wrong weight_decay_at: starts anew at the end | the last value is start again
# - math.pi * step
# + math.pi * (step % total_steps)

# %% wrong weight_decay_at: the last step is capped | that of the step before
# - math.pi * step
# + math.pi * min(step, total_steps - 1)

# %% wrong weight_decay_at: the arguments are not used | the arguments start and end are ignored
# - end + (start - end) * (1
# + 0.4 + (0.04 - 0.4) * (1

# %% wrong weight_decay_at: a tensor | this is a tensor
# - math.cos(math.pi * step / total_steps)
# + torch.cos(torch.tensor(math.pi * step / total_steps))

# %% wrong weight_decay_at: constant | the weight decay stays at start
# - end + (start - end) * (1 + math.cos(math.pi * step / total_steps)) / 2
# + start


# %% right weight_decay_at: 1 - cos
def weight_decay_at(step, total_steps, start=0.04, end=0.4):
    progress = step / total_steps
    return start + 0.5 * (end - start) * (1.0 - math.cos(math.pi * progress))


# %% right weight_decay_at: a squared sine, numpy
def weight_decay_at(step, total_steps, start=0.04, end=0.4):
    import numpy as np

    rise = np.sin(np.pi / 2 * step / total_steps) ** 2
    return (1 - rise) * start + rise * end


# %% wrong parameter_groups: all parameters | teacher and frozen parameters are included
# - trained = [p for module in (model.student, model.predictor) for p in module.parameters() if p.requires_grad]
# + trained = list(model.parameters())

# %% wrong parameter_groups: the teacher too | the teacher is included
# - if p.requires_grad]
# + if p.requires_grad] + list(model.teacher.parameters())

# %% wrong parameter_groups: frozen ones too | frozen parameters are included
# - if p.requires_grad]
# + ]

# %% wrong parameter_groups: frozen ones by name | go by requires_grad, not by the name
# - for p in module.parameters() if p.requires_grad]
# + for name, p in module.named_parameters() if "pos_embed" not in name]

# %% wrong parameter_groups: no predictor | the predictor is left out
# - (model.student, model.predictor)
# + (model.student,)

# %% wrong parameter_groups: no student | the student is left out
# - (model.student, model.predictor)
# + (model.predictor,)

# %% wrong parameter_groups: no mask token | the mask token is left out
# - for p in module.parameters() if p.requires_grad]
# + for name, p in module.named_parameters() if p.requires_grad and name != "mask_token"]

# %% wrong parameter_groups: layers only | what belongs to the student or predictor itself
# - for p in module.parameters() if p.requires_grad]
# + for layer in module.children() for p in layer.parameters() if p.requires_grad]

# %% wrong parameter_groups: no patch embedding | the patch embedding is left out
# - for p in module.parameters() if p.requires_grad]
# + for name, p in module.named_parameters() if p.requires_grad and "patch_embed" not in name]

# %% wrong parameter_groups: what has no decay is left out | they are still trained
# - {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
# +

# %% wrong parameter_groups: one axis exactly | a parameter without axes is left out
# - if p.ndim <= 1]
# + if p.ndim == 1]

# %% wrong parameter_groups: two axes exactly | parameters of three and four axes
# - if p.ndim > 1]
# + if p.ndim == 2]

# %% wrong parameter_groups: a parameter in both groups | some parameters appear in more than one parameter group
# - if p.ndim > 1]
# + if p.ndim > 0]

# %% wrong parameter_groups: found twice | gives each of them once
# - for p in module.parameters() if p.requires_grad]
# + for part in module.modules() for p in part.parameters(recurse=False) if p.requires_grad]

# %% wrong parameter_groups: with duplicates | gives each of them once
# - for p in module.parameters() if p.requires_grad]
# + for _, p in module.named_parameters(remove_duplicate=False) if p.requires_grad]


# %% wrong parameter_groups: one group | biases and LayerNorm weights must not
def parameter_groups(model, weight_decay=0.04):
    trained = [p for p in model.parameters() if p.requires_grad]
    return [{"params": trained, "weight_decay": weight_decay}]


# %% wrong parameter_groups: biases by name | LayerNorm weights have one axis and are decayed
def parameter_groups(model, weight_decay=0.04):
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    return [
        {"params": [p for n, p in named if "bias" not in n], "weight_decay": weight_decay},
        {"params": [p for n, p in named if "bias" in n], "weight_decay": 0.0},
    ]


# %% wrong parameter_groups: biases and norms by name | neither bias nor norm
def parameter_groups(model, weight_decay=0.04):
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    return [
        {"params": [p for n, p in named if not ("bias" in n or "norm" in n)], "weight_decay": weight_decay},
        {"params": [p for n, p in named if "bias" in n or "norm" in n], "weight_decay": 0.0},
    ]


# %% wrong parameter_groups: the axes, and biases by name | a bias of two axes is decayed
def parameter_groups(model, weight_decay=0.04):
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    return [
        {"params": [p for n, p in named if p.ndim > 1 and "bias" not in n], "weight_decay": weight_decay},
        {"params": [p for n, p in named if not (p.ndim > 1 and "bias" not in n)], "weight_decay": 0.0},
    ]


# %% wrong parameter_groups: no decay on the mask token | the mask token has no weight decay
def parameter_groups(model, weight_decay=0.04):
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    return [
        {"params": [p for n, p in named if p.ndim > 1 and "mask_token" not in n], "weight_decay": weight_decay},
        {"params": [p for n, p in named if p.ndim <= 1 or "mask_token" in n], "weight_decay": 0.0},
    ]


# %% wrong parameter_groups: decay for matrices alone | tensors of three axes and more
# - if p.ndim > 1]
# + if p.ndim == 2]
# - if p.ndim <= 1]
# + if p.ndim != 2]

# %% wrong parameter_groups: decay for all but one axis | a parameter without axes is decayed
# - if p.ndim > 1]
# + if p.ndim != 1]
# - if p.ndim <= 1]
# + if p.ndim == 1]

# %% wrong parameter_groups: the groups are swapped | the two groups are swapped
# - if p.ndim > 1]
# + if p.ndim < 2]
# - if p.ndim <= 1]
# + if p.ndim >= 2]

# %% wrong parameter_groups: weight_decay is ignored | weight_decay is ignored
# - "weight_decay": weight_decay}
# + "weight_decay": 0.04}

# %% wrong parameter_groups: no weight_decay key | a group has no weight_decay of its own
# - , "weight_decay": 0.0}
# + }

# %% wrong parameter_groups: names in place of parameters | can only optimize Tensors
# - for p in module.parameters() if p.requires_grad]
# + for p in module.parameters() if p.requires_grad]; return [{"params": list(model.state_dict())}]


# %% right parameter_groups: one group a parameter, in reverse
def parameter_groups(model, weight_decay=0.04):
    groups = []
    for name, p in model.named_parameters():
        if name.startswith("teacher.") or not p.requires_grad:
            continue
        groups.insert(0, {"params": [p], "weight_decay": weight_decay if p.dim() >= 2 else 0, "name": name})
    return groups


# %% right parameter_groups: generators, and a group without members
def parameter_groups(model, weight_decay=0.04):
    def trained(test):
        return (p for p in model.parameters() if p.requires_grad and test(len(p.shape)))

    return (
        {"params": trained(lambda axes: axes == 0 or axes == 1), "weight_decay": 0.0, "lr_scale": 1.0},
        {"params": trained(lambda axes: axes > 1), "weight_decay": weight_decay},
        {"params": [], "weight_decay": weight_decay},
    )


# %% right parameter_groups: four groups of named parameters
def parameter_groups(model, weight_decay=0.04):
    groups = []
    for part in (model.predictor, model.student):
        for decayed in (False, True):
            chosen = [(n, p) for n, p in part.named_parameters() if p.requires_grad and (p.ndim > 1) == decayed]
            prefix = "predictor." if part is model.predictor else "student."
            named = [(prefix + n, p) for n, p in chosen]
            groups.append({"params": named, "weight_decay": weight_decay * decayed})
    return groups


# %% wrong train_step: the student sees the full image | the student sees the full image
# - model.student(images, keep=masks.context)
# + torch.stack([t[k] for t, k in zip(model.student(images), masks.context, strict=True)])

# %% wrong train_step: all tokens of the student | must be the tokens of context
# - model.student(images, keep=masks.context)
# + model.student(images)

# %% wrong train_step: the teacher sees only the targets | the teacher sees only the target patches
# - teacher_targets(model.teacher, images, masks.targets)
# + model.teacher(images, keep=masks.targets.flatten(1)).unflatten(1, masks.targets.shape[1:]).detach()
# - loss = jepa_loss(predictions, targets)
# + loss = jepa_loss(predictions, nn.functional.layer_norm(targets, targets.shape[-1:]))

# %% wrong train_step: the teacher sees one block at a time | the teacher sees one target block at a time
# - teacher_targets(model.teacher, images, masks.targets)
# + torch.stack([model.teacher(images, keep=block) for block in masks.targets.unbind(1)], dim=1)
# - loss = jepa_loss(predictions, targets)
# + loss = jepa_loss(predictions, nn.functional.layer_norm(targets, targets.shape[-1:]))

# %% wrong train_step: targets for the whole grid | must have one shape
# - teacher_targets(model.teacher, images, masks.targets)
# + model.teacher(images)

# %% wrong train_step: targets from the student | the targets come from the student
# - teacher_targets(model.teacher, images, masks.targets)
# + teacher_targets(model.student, images, masks.targets)

# %% wrong train_step: a gradient through the targets | the gradient runs through them
# - targets = teacher_targets(model.teacher, images, masks.targets)
# + tokens = model.student(images); tokens = nn.functional.layer_norm(tokens, tokens.shape[-1:])
# +     targets = torch.stack([t[k] for t, k in zip(tokens, masks.targets, strict=True)])

# %% wrong train_step: the teacher's context | the student encodes it
# - model.student(images, keep=masks.context)
# + model.teacher(images, keep=masks.context)

# %% wrong train_step: student and teacher swapped | student and teacher are swapped
# - teacher_targets(model.teacher, images, masks.targets)
# + teacher_targets(model.student, images, masks.targets)
# - model.student(images, keep=masks.context)
# + model.teacher(images, keep=masks.context)

# %% wrong train_step: context and targets swapped | the student keeps masks.context
# - context_tokens = model.student
# + masks = Masks(masks.targets, masks.context)
# +     context_tokens = model.student

# %% wrong train_step: swapped for the predictor alone | must be [B, M, Nt]
# - context_tokens, masks.context, masks.targets)
# + context_tokens, masks.targets, masks.context)

# %% wrong train_step: the teacher in training mode | the teacher is in training mode
# - targets = teacher_targets
# + model.teacher.train(); targets = teacher_targets

# %% wrong train_step: targets that are not normalised | the targets are not normalised
# - targets = teacher_targets(model.teacher, images, masks.targets)
# + with torch.no_grad():
# +         targets = torch.stack([t[k] for t, k in zip(model.teacher(images), masks.targets, strict=True)])

# %% wrong train_step: smooth L1 | this is smooth L1
# - jepa_loss(predictions, targets)
# + nn.functional.smooth_l1_loss(predictions, targets)

# %% wrong train_step: a sum | the squares are summed
# - jepa_loss(predictions, targets)
# + jepa_loss(predictions, targets) * targets.numel()

# %% wrong train_step: the teacher moves first | it moves at the end of the step
# - update_teacher(model.teacher, model.student, momentum)
# +
# - targets = teacher_targets
# + update_teacher(model.teacher, model.student, momentum); targets = teacher_targets

# %% wrong train_step: the loss after the step | this is the loss after the step
# - return loss.detach()
# + predictions = model.predictor(model.student(images, keep=masks.context), masks.context, masks.targets)
# +     return jepa_loss(predictions, targets).detach()

# %% wrong train_step: the graph comes back | the graph is still attached
# - return loss.detach()
# + return loss

# %% wrong train_step: a float | a tensor is asked for
# - loss.detach()
# + loss.item()

# %% wrong train_step: nothing is returned | is the `return` missing
# - return loss.detach()
# + loss.detach()

# %% wrong train_step: zero_grad is missing | gradients left from before are added
# - optimizer.zero_grad()
# +

# %% wrong train_step: zero_grad only after the step | gradients left from before are added
# - optimizer.zero_grad()
# +
# - return loss.detach()
# + optimizer.zero_grad(); return loss.detach()

# %% wrong train_step: zero_grad between backward and step | nothing moved
# - optimizer.zero_grad()
# +
# - loss.backward()
# + loss.backward(); optimizer.zero_grad()

# %% wrong train_step: no backward | nothing moved
# - loss.backward()
# +

# %% wrong train_step: no optimizer step | nothing moved
# - optimizer.step()
# +

# %% wrong train_step: the step comes before backward | nothing moved
# - loss.backward()
# -     optimizer.step()
# + optimizer.step()
# +     loss.backward()

# %% wrong train_step: old gradients make the step | only gradients left from before count
# - optimizer.step()
# +
# - optimizer.zero_grad()
# + optimizer.step(); optimizer.zero_grad()

# %% wrong train_step: two steps | the optimizer steps twice
# - optimizer.step()
# + optimizer.step(); optimizer.step()

# %% wrong train_step: the student under no_grad | the student did not move
# - context_tokens = model.student(images, keep=masks.context)
# + with torch.no_grad():
# +         context_tokens = model.student(images, keep=masks.context)

# %% wrong train_step: detached predictions | the graph was cut
# - predictions = model.predictor(context_tokens, masks.context, masks.targets)
# + predictions = model.predictor(context_tokens, masks.context, masks.targets).detach()

# %% wrong train_step: clipped | the gradient is clipped
# - optimizer.step()
# + nn.utils.clip_grad_norm_([*model.student.parameters(), *model.predictor.parameters()], 1.0); optimizer.step()

# %% wrong train_step: an optimizer of its own | nothing moved
# - optimizer.zero_grad()
# + optimizer = torch.optim.SGD(model.student.parameters(), lr=0.0)

# %% wrong train_step: the update swapped | the student is moved to the teacher
# - update_teacher(model.teacher, model.student, momentum)
# + update_teacher(model.student, model.teacher, momentum)

# %% wrong train_step: the teacher never moves | update_teacher is missing
# - update_teacher(model.teacher, model.student, momentum)
# +

# %% wrong train_step: the teacher moves before the student | update_teacher comes after optimizer.step()
# - optimizer.step()
# -     update_teacher(model.teacher, model.student, momentum)
# + update_teacher(model.teacher, model.student, momentum)
# +     optimizer.step()

# %% wrong train_step: momentum is ignored | momentum is ignored
# - model.student, momentum)
# + model.student, 0.996)

# %% wrong train_step: momentum on the wrong side | the momentum is on the wrong side
# - model.student, momentum)
# + model.student, 1 - momentum)

# %% wrong train_step: a copy of the student | the teacher is a copy of the student
# - update_teacher(model.teacher, model.student, momentum)
# + model.teacher.load_state_dict(model.student.state_dict())

# %% wrong train_step: the teacher moves twice | the teacher moves twice
# - update_teacher(model.teacher, model.student, momentum)
# + update_teacher(model.teacher, model.student, momentum); update_teacher(model.teacher, model.student, momentum)


# %% right train_step: written out by hand
def train_step(model, images, masks, optimizer, momentum):
    context, targets = masks
    optimizer.zero_grad(set_to_none=False)
    with torch.no_grad():
        h = model.teacher(images)
        h = (h - h.mean(-1, keepdim=True)) / (h.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        rows = torch.arange(len(images))[:, None, None]
        truth = h[rows, targets]
    predicted = model.predictor(model.student(images, context), context, targets)
    loss = nn.functional.mse_loss(predicted, truth)
    loss.backward()
    optimizer.step()
    with torch.no_grad():
        for t, s in zip(model.teacher.parameters(), model.student.parameters(), strict=True):
            t.lerp_(s, 1 - momentum)
    return loss.data


# %% right train_step: one block at a time, zeroed before and after
def train_step(model, images, masks, optimizer, momentum):
    model.train()
    model.zero_grad()
    optimizer.zero_grad()
    tokens = model.student(images, keep=masks.context)
    loss = 0.0
    for block in masks.targets.unbind(1):
        predicted = model.predictor(tokens, masks.context, block[:, None])
        loss = loss + jepa_loss(predicted, teacher_targets(model.teacher, images, block[:, None]))
    loss = loss / masks.targets.shape[1]
    loss.backward()
    optimizer.step()
    update_teacher(model.teacher, model.student, momentum=momentum)
    optimizer.zero_grad()
    return loss.detach().clone()


# %% right train_step: keywords, a closure
def train_step(model, images, masks, optimizer, momentum):
    targets = teacher_targets(teacher=model.teacher, images=images, targets=masks.targets)

    def closure():
        optimizer.zero_grad(set_to_none=True)
        seen = model.student(images=images, keep=masks.context)
        predictions = model.predictor(context_tokens=seen, context=masks.context, targets=masks.targets)
        loss = jepa_loss(predictions, targets)
        loss.backward()
        return loss

    loss = optimizer.step(closure)
    update_teacher(model.teacher, model.student, momentum)
    return loss.detach()


# %% wrong learning_rate_at: the fall divides whole numbers | `//` would round the progress ! division by warmup_steps
# - (step - warmup_steps) / max(total_steps - warmup_steps, 1)
# + (step - warmup_steps) // max(total_steps - warmup_steps, 1)

# %% wrong gradients_in_parts: gradients left from before | Gradients left from before are added
# - model.zero_grad()
# + pass

# %% wrong gradients_in_parts: the mean of the parts | All parts count alike
# - share = len(some) / len(images) * jepa_loss
# + share = 1 / parts * jepa_loss

# %% wrong gradients_in_parts: the sum of the parts | The parts are added as they are
# - share = len(some) / len(images) * jepa_loss
# + share = jepa_loss

# %% wrong gradients_in_parts: zeroed before each part | Only the last part is left
# - share.backward()
# + model.zero_grad()
# +         share.backward()

# %% wrong gradients_in_parts: the loss of the last part | This is the loss of the last part, by its share
# - whole += share.detach()
# + whole = share.detach()


# %% wrong gradients_in_parts: the first masks for all | Every part gets the masks of the first images
def gradients_in_parts(model, images, masks, parts):
    model.zero_grad()
    whole = 0
    for some in images.chunk(parts):
        context, targets = masks.context[: len(some)], masks.targets[: len(some)]
        predictions = model.predictor(model.student(some, keep=context), context, targets)
        share = jepa_loss(predictions, teacher_targets(model.teacher, some, targets)) * len(some) / len(images)
        share.backward()
        whole = whole + share.detach()
    return whole


# %% wrong gradients_in_parts: what fills no part is left out | The images that don't fill a part are left out
def gradients_in_parts(model, images, masks, parts):
    model.zero_grad()
    whole, size = 0, len(images) // parts
    for first in range(0, size * parts, size):
        some, context, targets = (tensor[first : first + size] for tensor in (images, *masks))
        predictions = model.predictor(model.student(some, keep=context), context, targets)
        share = jepa_loss(predictions, teacher_targets(model.teacher, some, targets)) / parts
        share.backward()
        whole = whole + share.detach()
    return whole


# %% wrong gradients_in_parts: one backward for all parts | keeps the graphs of all parts
def gradients_in_parts(model, images, masks, parts):
    model.zero_grad()
    whole = 0
    for some, context, targets in zip(*(tensor.chunk(parts) for tensor in (images, *masks)), strict=True):
        predictions = model.predictor(model.student(some, keep=context), context, targets)
        loss = jepa_loss(predictions, teacher_targets(model.teacher, some, targets))
        whole = whole + loss * len(some) / len(images)
    whole.backward()
    return whole.detach()


# %% wrong gradients_in_parts: the whole batch at once | Cut images and masks into parts first
def gradients_in_parts(model, images, masks, parts):
    model.zero_grad()
    predictions = model.predictor(model.student(images, masks.context), masks.context, masks.targets)
    loss = jepa_loss(predictions, teacher_targets(model.teacher, images, masks.targets))
    loss.backward()
    return loss.detach()


# %% right gradients_in_parts: an image at a time, the teacher once
def gradients_in_parts(model, images, masks, parts):
    for weight in [*model.student.parameters(), *model.predictor.parameters()]:
        weight.grad = None
    truth, losses = teacher_targets(model.teacher, images, masks.targets), []
    for n in range(len(images)):
        context, targets = masks.context[n : n + 1], masks.targets[n : n + 1]
        predictions = model.predictor(model.student(images[n : n + 1], context), context, targets)
        losses.append(jepa_loss(predictions, truth[n : n + 1]))
        (losses[-1] / len(images)).backward()
    return torch.stack(losses).mean().detach()


# %% right gradients_in_parts: summed squares, divided at the end, by autograd.grad
def gradients_in_parts(model, images, masks, parts):
    trained = [p for net in (model.student, model.predictor) for p in net.parameters()]
    sums, whole, count = [torch.zeros_like(p) for p in trained], 0.0, 0
    for rows in torch.tensor_split(torch.arange(len(images)), parts):
        tokens = model.student(images[rows], keep=masks.context[rows])
        predictions = model.predictor(tokens, masks.context[rows], masks.targets[rows])
        gap = (predictions - teacher_targets(model.teacher, images[rows], masks.targets[rows])).square().sum()
        for total, gradient in zip(sums, torch.autograd.grad(gap, trained), strict=True):
            total += gradient
        whole, count = whole + gap.detach(), count + predictions.numel()
    for weight, total in zip(trained, sums, strict=True):
        weight.grad = total / count
    return whole / count
