# ruff: noqa: F811, F821, RUF100
"""Lesson 4: wrong answers that the checks must catch, right ones that they must accept."""

# %% wrong make_teacher: the student itself | the same module
# - copy.deepcopy(student).requires_grad_(False).eval()
# + student.requires_grad_(False).eval()


# %% wrong make_teacher: a shallow copy | shares all its storage
def make_teacher(student):
    teacher = copy.copy(student)
    return teacher.requires_grad_(False).eval()


# %% wrong make_teacher: parameters shared by a copy of the modules | parameters are the student's own
def make_teacher(student):
    teacher = copy.deepcopy(student)
    for mine, other in zip(teacher.parameters(), student.parameters(), strict=True):
        mine.data = other.data
    return teacher.requires_grad_(False).eval()


# %% wrong make_teacher: buffers shared by a copy of the modules | buffers are the student's own
def make_teacher(student):
    teacher = copy.deepcopy(student)
    for mine, other in zip(teacher.modules(), student.modules(), strict=True):
        mine._buffers.update(other._buffers)
    return teacher.requires_grad_(False).eval()


# %% wrong make_teacher: a new module with random weights | called here without all that its `__init__` needs
def make_teacher(student):
    return type(student)().requires_grad_(False).eval()


# %% wrong make_teacher: a new module, filled from the state dict | called here without all that its `__init__` needs
def make_teacher(student):
    teacher = type(student)()
    teacher.load_state_dict(student.state_dict())
    return teacher.requires_grad_(False).eval()


# %% wrong make_teacher: what it holds, without its forward | a module of the student's kind
def make_teacher(student):
    class Frozen(nn.Module):
        def forward(self, images, keep=None):
            return images

    teacher = Frozen()
    teacher.__dict__.update(copy.deepcopy(student).__dict__)
    return teacher.requires_grad_(False).eval()


# %% wrong make_teacher: layers initialised anew | random weights of its own
def make_teacher(student):
    teacher = copy.deepcopy(student)
    for module in teacher.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return teacher.requires_grad_(False).eval()


# %% wrong make_teacher: parameters copied, buffers not | weights and buffers alike
def make_teacher(student):
    teacher = copy.deepcopy(student)
    for buffer in teacher.buffers():
        buffer.zero_()
    return teacher.requires_grad_(False).eval()


# %% wrong make_teacher: only the trained parameters copied | weights and buffers alike
def make_teacher(student):
    teacher = copy.deepcopy(student)
    for parameter in teacher.parameters():
        if not parameter.requires_grad:
            nn.init.normal_(parameter)
    return teacher.requires_grad_(False).eval()


# %% wrong make_teacher: train mode | left in train mode
# - .requires_grad_(False).eval()
# + .requires_grad_(False)


# %% wrong make_teacher: eval mode on the outside only | Only the outermost module is in eval mode
def make_teacher(student):
    teacher = copy.deepcopy(student).train().requires_grad_(False)
    teacher.training = False
    return teacher


# %% wrong make_teacher: still trained | still require gradients
# - copy.deepcopy(student).requires_grad_(False).eval()
# + copy.deepcopy(student).eval()


# %% wrong make_teacher: copied under no_grad, which changes nothing | still require gradients
def make_teacher(student):
    with torch.no_grad():
        return copy.deepcopy(student).eval()


# %% wrong make_teacher: requires_grad set on the module | still require gradients
def make_teacher(student):
    teacher = copy.deepcopy(student)
    teacher.requires_grad = False
    return teacher.eval()


# %% wrong make_teacher: the student is put in eval mode first | The student is put in eval mode as well
# - return copy.deepcopy(student).requires_grad_(False).eval()
# + student.eval()
# +     return copy.deepcopy(student).requires_grad_(False)

# %% wrong make_teacher: eval for the copy, train for the student afterwards | leave each module in its own mode
# - return copy.deepcopy(student).requires_grad_(False).eval()
# + teacher = copy.deepcopy(student.eval()).requires_grad_(False)
# +     student.train()
# +     return teacher

# %% wrong make_teacher: the student is frozen first | The student is frozen as well
# - return copy.deepcopy(student).requires_grad_(False).eval()
# + student.requires_grad_(False)
# +     return copy.deepcopy(student).eval()

# %% wrong make_teacher: the student's frozen weights come out trained | frozen weights are made trainable
# - return copy.deepcopy(student).requires_grad_(False).eval()
# + teacher = copy.deepcopy(student.requires_grad_(False)).eval()
# +     student.requires_grad_(True)
# +     return teacher

# %% wrong make_teacher: no return | no attribute
# - return copy.deepcopy(student).requires_grad_(False).eval()
# + copy.deepcopy(student).requires_grad_(False).eval()

# %% wrong make_teacher: a state dict | no attribute
# - copy.deepcopy(student).requires_grad_(False).eval()
# + copy.deepcopy(student.state_dict())


# %% right make_teacher: parameter by parameter
def make_teacher(student):
    teacher = copy.deepcopy(student)
    teacher.eval()
    for parameter in teacher.parameters():
        parameter.requires_grad = False
    return teacher


# %% right make_teacher: pickled and read again
def make_teacher(student):
    import io

    file = io.BytesIO()
    torch.save(student, file)
    file.seek(0)
    teacher = torch.load(file, weights_only=False)
    return teacher.train(False).requires_grad_(False)


# %% right make_teacher: a copy, filled from the state dict
def make_teacher(student):
    teacher = copy.deepcopy(student)
    teacher.load_state_dict(student.state_dict())
    teacher.eval()
    for parameter in teacher.parameters():
        parameter.detach_()
        parameter.requires_grad_(False)
    return teacher


# %% wrong teacher_targets: no layer_norm | layer_norm is missing
# -         tokens = F.layer_norm(tokens, tokens.shape[-1:])

# %% wrong teacher_targets: over patches and D | over patches and D together
# - tokens.shape[-1:]
# + tokens.shape[-2:]

# %% wrong teacher_targets: over the patches | Normalised over the patches, not over D
# - F.layer_norm(tokens, tokens.shape[-1:])
# + F.layer_norm(tokens.transpose(1, 2), tokens.shape[1:2]).transpose(1, 2)

# %% wrong teacher_targets: as batch norm does | as batch norm does
# - F.layer_norm(tokens, tokens.shape[-1:])
# + F.batch_norm(tokens.transpose(1, 2), None, None, training=True).transpose(1, 2)

# %% wrong teacher_targets: over the whole batch | Normalised over the whole batch
# - F.layer_norm(tokens, tokens.shape[-1:])
# + F.layer_norm(tokens, tokens.shape)

# %% wrong teacher_targets: over the images | Normalised over the images
# - F.layer_norm(tokens, tokens.shape[-1:])
# + (tokens - tokens.mean(0)) / (tokens.var(0, correction=0) + 1e-5).sqrt()


# %% wrong teacher_targets: over a block and D | patches of a block and D together
def teacher_targets(teacher, images, targets):
    with torch.no_grad():
        tokens = teacher(images)
        tokens = gather_tokens(tokens, targets.flatten(1)).unflatten(1, targets.shape[1:])
        return F.layer_norm(tokens, tokens.shape[2:])


# %% wrong teacher_targets: over a block | Normalised over the patches of a block, not over D
def teacher_targets(teacher, images, targets):
    with torch.no_grad():
        tokens = teacher(images)
        tokens = gather_tokens(tokens, targets.flatten(1)).unflatten(1, targets.shape[1:])
        return F.layer_norm(tokens.transpose(2, 3), tokens.shape[2:3]).transpose(2, 3)


# %% wrong teacher_targets: length one | Divided by the length of the token
# - F.layer_norm(tokens, tokens.shape[-1:])
# + F.normalize(tokens, dim=-1)

# %% wrong teacher_targets: only centred | the division by the standard deviation is missing
# - F.layer_norm(tokens, tokens.shape[-1:])
# + tokens - tokens.mean(-1, keepdim=True)

# %% wrong teacher_targets: only scaled | The mean is not taken off
# - F.layer_norm(tokens, tokens.shape[-1:])
# + tokens / (tokens.var(-1, correction=0, keepdim=True) + 1e-5).sqrt()

# %% wrong teacher_targets: torch's std divides by D - 1 | divided by D - 1
# - F.layer_norm(tokens, tokens.shape[-1:])
# + (tokens - tokens.mean(-1, keepdim=True)) / (tokens.std(-1, keepdim=True) + 1e-6)

# %% wrong teacher_targets: the encoder's eps | eps is 1e-6
# - F.layer_norm(tokens, tokens.shape[-1:])
# + F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)

# %% wrong teacher_targets: eps beside the root | eps is added to the standard deviation
# - F.layer_norm(tokens, tokens.shape[-1:])
# + (tokens - tokens.mean(-1, keepdim=True)) / (tokens.std(-1, correction=0, keepdim=True) + 1e-5)

# %% wrong teacher_targets: no eps | eps is left out
# - F.layer_norm(tokens, tokens.shape[-1:])
# + (tokens - tokens.mean(-1, keepdim=True)) / tokens.std(-1, correction=0, keepdim=True)

# %% wrong teacher_targets: the indices of image 0 for all | All images get the targets of image 0
# - gather_tokens(tokens, targets.flatten(1))
# + tokens[:, targets[0].flatten()]

# %% wrong teacher_targets: the tokens of image 0 for all | All targets are taken from image 0
# - gather_tokens(tokens, targets.flatten(1))
# + tokens[0][targets.flatten(1)]

# %% wrong teacher_targets: sorted | The indices are sorted
# - targets.flatten(1)
# + targets.sort(dim=2).values.flatten(1)


# %% wrong teacher_targets: the union of the blocks | one token for each index, block by block
def teacher_targets(teacher, images, targets):
    with torch.no_grad():
        tokens = F.layer_norm(teacher(images), (teacher.weight.shape[1],))
        rows = [row[indices.unique()] for row, indices in zip(tokens, targets, strict=True)]
        return torch.stack([row[: min(map(len, rows))] for row in rows])


# %% wrong teacher_targets: the blocks side by side | The blocks stand in one row
# - .unflatten(1, targets.shape[1:])
# +

# %% wrong teacher_targets: all tokens | one token for each index, block by block
# - return gather_tokens(tokens, targets.flatten(1)).unflatten(1, targets.shape[1:])
# + return tokens

# %% wrong teacher_targets: blocks and patches swapped | F.layer_norm(h, (D,)), then take
# - targets.flatten(1)
# + targets.transpose(1, 2).flatten(1)

# %% wrong teacher_targets: a learned norm with other weights | F.layer_norm(h, (D,)), then take
# - F.layer_norm(tokens, tokens.shape[-1:])
# + F.layer_norm(tokens, tokens.shape[-1:], 1.5 * torch.ones_like(tokens[0, 0]))

# %% wrong teacher_targets: the teacher sees only the targets | the teacher must see the full image
# - tokens = teacher(images)
# -         tokens = F.layer_norm(tokens, tokens.shape[-1:])
# -         return gather_tokens(tokens, targets.flatten(1)).unflatten(1, targets.shape[1:])
# + tokens = teacher(images, targets.flatten(1))
# +         tokens = F.layer_norm(tokens, tokens.shape[-1:])
# +         return tokens.unflatten(1, targets.shape[1:])


# %% wrong teacher_targets: block by block | the teacher must see the full image
def teacher_targets(teacher, images, targets):
    with torch.no_grad():
        blocks = [teacher(images, keep=targets[:, m]) for m in range(targets.shape[1])]
        tokens = torch.stack(blocks, dim=1)
        return F.layer_norm(tokens, tokens.shape[-1:])


# %% wrong teacher_targets: the other pixels blanked out | the teacher must see the full image
# - tokens = teacher(images)
# + rows, columns = images.shape[2] // 2, images.shape[3] // 2
# +         mask = torch.zeros(len(images), rows * columns, dtype=images.dtype)
# +         mask = mask.scatter(1, targets.flatten(1), 1.0).reshape(-1, 1, rows, columns)
# +         tokens = teacher(images * F.interpolate(mask, scale_factor=2))

# %% wrong teacher_targets: the targets blanked out | The pixels of the targets make no difference
# - tokens = teacher(images)
# + rows, columns = images.shape[2] // 2, images.shape[3] // 2
# +         mask = torch.ones(len(images), rows * columns, dtype=images.dtype)
# +         mask = mask.scatter(1, targets.flatten(1), 0.0).reshape(-1, 1, rows, columns)
# +         tokens = teacher(images * F.interpolate(mask, scale_factor=2))

# %% wrong teacher_targets: dropout switched on | must not be put in train mode
# - tokens = teacher(images)
# + tokens = teacher.train()(images)

# %% wrong teacher_targets: gradients flow | The targets hang on a graph
# - with torch.no_grad():
# + if True:


# %% wrong teacher_targets: only the teacher is detached | The targets hang on a graph
def teacher_targets(teacher, images, targets):
    teacher.requires_grad_(False)
    tokens = teacher(images)
    tokens = F.layer_norm(tokens, tokens.shape[-1:])
    return gather_tokens(tokens, targets.flatten(1)).unflatten(1, targets.shape[1:])


# %% wrong teacher_targets: gradients switched off for good | Gradients stay switched off
# - with torch.no_grad():
# + torch.set_grad_enabled(False)
# +     if True:

# %% wrong teacher_targets: no return | Is the `return` missing
# - return gather_tokens
# + gather_tokens


# %% right teacher_targets: advanced indexing, norm after the gather
@torch.no_grad()
def teacher_targets(teacher, images, targets):
    tokens = teacher(images)
    rows = torch.arange(len(images))[:, None, None]
    return F.layer_norm(tokens[rows, targets], (tokens.shape[-1],))


# %% right teacher_targets: by hand, detached
def teacher_targets(teacher, images, targets):
    tokens = teacher(images).detach()
    centred = tokens - tokens.mean(dim=-1, keepdim=True)
    tokens = centred * torch.rsqrt(centred.square().mean(dim=-1, keepdim=True) + 1e-5)
    return torch.stack([tokens[b][targets[b]] for b in range(len(tokens))])


# %% right teacher_targets: a norm module without weights, torch.gather block by block
def teacher_targets(teacher, images, targets):
    with torch.inference_mode():
        tokens = teacher.eval()(images)
        norm = torch.nn.LayerNorm(tokens.shape[-1], elementwise_affine=False)
        tokens, blocks = norm(tokens), []
        for m in range(targets.shape[1]):
            index = targets[:, m, :, None].expand(-1, -1, tokens.shape[-1])
            blocks.append(tokens.gather(1, index))
        return torch.stack(blocks, 1)


# %% wrong update_teacher: by way of float32 | it went through float32
def update_teacher(teacher, student, momentum):
    with torch.no_grad():
        for mine, other in zip(teacher.parameters(), student.parameters(), strict=True):
            mine.copy_(momentum * mine.float() + (1 - momentum) * other.float())
        for mine, other in zip(teacher.buffers(), student.buffers(), strict=True):
            if mine.is_floating_point():
                mine.copy_(momentum * mine + (1 - momentum) * other)
            else:
                mine.copy_(other)


# %% wrong update_teacher: the momentum on the student | The momentum is on the wrong side
def update_teacher(teacher, student, momentum):
    with torch.no_grad():
        for mine, other in zip(teacher.state_dict().values(), student.state_dict().values(), strict=True):
            if mine.is_floating_point():
                mine.mul_(1 - momentum).add_(other, alpha=momentum)
            else:
                mine.copy_(other)


# %% wrong update_teacher: add out of place | The student never arrives and the teacher decays to 0
def update_teacher(teacher, student, momentum):
    with torch.no_grad():
        for mine, other in zip(teacher.parameters(), student.parameters(), strict=True):
            mine.mul_(momentum).add(other, alpha=1 - momentum)
        for mine, other in zip(teacher.buffers(), student.buffers(), strict=True):
            mine.copy_(momentum * mine + (1 - momentum) * other if mine.is_floating_point() else other)


# %% wrong update_teacher: nothing in place | The teacher has not moved
def update_teacher(teacher, student, momentum):
    with torch.no_grad():
        for mine, other in zip(teacher.parameters(), student.parameters(), strict=True):
            mine.mul(momentum).add(other, alpha=1 - momentum)


# %% wrong update_teacher: the name is bound anew | The teacher has not moved
def update_teacher(teacher, student, momentum):
    for mine, other in zip(teacher.parameters(), student.parameters(), strict=True):
        mine = momentum * mine + (1 - momentum) * other


# %% wrong update_teacher: the student copied | The student is copied
def update_teacher(teacher, student, momentum):
    teacher.load_state_dict(student.state_dict())


# %% wrong update_teacher: the student's share in full | The student's factor 1 - momentum is missing
# -             mine.lerp_(other, 1 - momentum)
# -         for mine, other in zip(teacher.buffers()
# +             mine.mul_(momentum).add_(other)
# +         for mine, other in zip(teacher.buffers()

# %% wrong update_teacher: the teacher's share in full | The teacher's factor momentum is missing
# -             mine.lerp_(other, 1 - momentum)
# -         for mine, other in zip(teacher.buffers()
# +             mine.add_(other, alpha=1 - momentum)
# +         for mine, other in zip(teacher.buffers()

# %% wrong update_teacher: the same factor for both | Both have the factor momentum
# -             mine.lerp_(other, 1 - momentum)
# -         for mine, other in zip(teacher.buffers()
# +             mine.add_(other).mul_(momentum)
# +         for mine, other in zip(teacher.buffers()

# %% wrong update_teacher: added first | scale first, then add
# -             mine.lerp_(other, 1 - momentum)
# -         for mine, other in zip(teacher.buffers()
# +             mine.add_(other, alpha=1 - momentum).mul_(momentum)
# +         for mine, other in zip(teacher.buffers()

# %% wrong update_teacher: away from the student | The sign is wrong
# -             mine.lerp_(other, 1 - momentum)
# -         for mine, other in zip(teacher.buffers()
# +             mine.sub_((1 - momentum) * (other - mine))
# +         for mine, other in zip(teacher.buffers()

# %% wrong update_teacher: lerp by the momentum | The momentum is on the wrong side
# -             mine.lerp_(other, 1 - momentum)
# -         for mine, other in zip(teacher.buffers()
# +             mine.lerp_(other, momentum)
# +         for mine, other in zip(teacher.buffers()

# %% wrong update_teacher: parameters twice | The average is taken twice
# - with torch.no_grad():
# + with torch.no_grad():
# +         for mine, other in zip(teacher.parameters(), student.parameters(), strict=True):
# +             mine.lerp_(other, 1 - momentum)

# %% wrong update_teacher: a fixed momentum | Every parameter becomes momentum * teacher
# - with torch.no_grad():
# + momentum = 0.996
# +     with torch.no_grad():

# %% wrong update_teacher: only what requires a gradient in the student | Frozen parameters are left out
# -             mine.lerp_(other, 1 - momentum)
# -         for mine, other in zip(teacher.buffers()
# +             if other.requires_grad:
# +                 mine.mul_(momentum).add_(other, alpha=1 - momentum)
# +         for mine, other in zip(teacher.buffers()

# %% wrong update_teacher: only what requires a gradient in the teacher | The teacher has not moved
# -             mine.lerp_(other, 1 - momentum)
# -         for mine, other in zip(teacher.buffers()
# +             if mine.requires_grad:
# +                 mine.mul_(momentum).add_(other, alpha=1 - momentum)
# +         for mine, other in zip(teacher.buffers()

# %% wrong update_teacher: only weight matrices | Every parameter becomes momentum * teacher
# -             mine.lerp_(other, 1 - momentum)
# -         for mine, other in zip(teacher.buffers()
# +             if mine.ndim > 1:
# +                 mine.mul_(momentum).add_(other, alpha=1 - momentum)
# +         for mine, other in zip(teacher.buffers()


# %% wrong update_teacher: no buffers | Buffers of floats are left out
def update_teacher(teacher, student, momentum):
    with torch.no_grad():
        for mine, other in zip(teacher.parameters(), student.parameters(), strict=True):
            mine.mul_(momentum).add_(other, alpha=1 - momentum)


# %% wrong update_teacher: all buffers copied | Buffers of floats are copied
def update_teacher(teacher, student, momentum):
    with torch.no_grad():
        for mine, other in zip(teacher.parameters(), student.parameters(), strict=True):
            mine.mul_(momentum).add_(other, alpha=1 - momentum)
        for mine, other in zip(teacher.buffers(), student.buffers(), strict=True):
            mine.copy_(other)


# %% wrong update_teacher: the momentum on the wrong side for buffers | The momentum is on the wrong side
# -                 mine.lerp_(other, 1 - momentum)
# -             else:
# +                 mine.mul_(1 - momentum).add_(other, alpha=momentum)
# +             else:

# %% wrong update_teacher: buffers decay | decays to 0
# -                 mine.lerp_(other, 1 - momentum)
# -             else:
# +                 mine.mul_(momentum).add(other, alpha=1 - momentum)
# +             else:

# %% wrong update_teacher: integers averaged | test `is_floating_point()`
# - mine.copy_(other)
# + mine.copy_(momentum * mine + (1 - momentum) * other)

# %% wrong update_teacher: integers left as they are | left as they were: copy the student's
# - mine.copy_(other)
# + pass


# %% wrong update_teacher: integers averaged in place | result type Float can't be cast
def update_teacher(teacher, student, momentum):
    with torch.no_grad():
        for mine, other in zip(teacher.state_dict().values(), student.state_dict().values(), strict=True):
            mine.mul_(momentum).add_(other, alpha=1 - momentum)


# %% wrong update_teacher: new tensors behind .data | no `p.data = ...` and no new Parameter
# -             mine.lerp_(other, 1 - momentum)
# -         for mine, other in zip(teacher.buffers()
# +             mine.data = momentum * mine + (1 - momentum) * other
# +         for mine, other in zip(teacher.buffers()


# %% wrong update_teacher: a state dict assigned | The teacher's tensors are replaced by new ones
def update_teacher(teacher, student, momentum):
    with torch.no_grad():
        other = student.state_dict()
        state = {
            name: momentum * value + (1 - momentum) * other[name] if value.is_floating_point() else other[name].clone()
            for name, value in teacher.state_dict().items()
        }
        teacher.load_state_dict(state, assign=True)
        teacher.requires_grad_(False)


# %% wrong update_teacher: new buffers | The teacher's buffers are replaced by new tensors
def update_teacher(teacher, student, momentum):
    with torch.no_grad():
        for mine, other in zip(teacher.parameters(), student.parameters(), strict=True):
            mine.mul_(momentum).add_(other, alpha=1 - momentum)
        for module, twin in zip(teacher.modules(), student.modules(), strict=True):
            for name, value in twin._buffers.items():
                old = module._buffers[name]
                new = momentum * old + (1 - momentum) * value if value.is_floating_point() else value.clone()
                module._buffers[name] = new


# %% wrong update_teacher: works in the student | The student is changed
# -             mine.lerp_(other, 1 - momentum)
# -         for mine, other in zip(teacher.buffers()
# +             mine.mul_(momentum).add_(other.mul_(1 - momentum))
# +         for mine, other in zip(teacher.buffers()


# %% wrong update_teacher: teacher and student exchanged | The teacher has not moved
def update_teacher(teacher, student, momentum):
    teacher, student = student, teacher
    with torch.no_grad():
        for mine, other in zip(teacher.parameters(), student.parameters(), strict=True):
            mine.mul_(momentum).add_(other, alpha=1 - momentum)


# %% wrong update_teacher: the student ends in eval mode | The student is changed
# - with torch.no_grad():
# + student.eval()
# +     with torch.no_grad():

# %% wrong update_teacher: recorded by autograd | The update is recorded by autograd
# - with torch.no_grad():
# + if True:

# %% wrong update_teacher: gradients switched off for good | Gradients stay switched off
# - with torch.no_grad():
# + torch.set_grad_enabled(False)
# +     if True:

# %% wrong update_teacher: the teacher learns again | require gradients after the update
# - with torch.no_grad():
# + teacher.requires_grad_(True)
# +     with torch.no_grad():


# %% right update_teacher: lerp_ on .data
def update_teacher(teacher, student, momentum):
    for mine, other in zip(teacher.parameters(), student.parameters(), strict=True):
        mine.data.lerp_(other.data, 1 - momentum)
    for mine, other in zip(teacher.buffers(), student.buffers(), strict=True):
        if mine.dtype.is_floating_point:
            mine.data.lerp_(other.data, 1 - momentum)
        else:
            mine.data.copy_(other.data)


# %% right update_teacher: the values of the state dicts
@torch.no_grad()
def update_teacher(teacher, student, momentum):
    theirs = student.state_dict()
    for name, value in teacher.state_dict().items():
        other = theirs[name].detach()
        value.copy_(momentum * value + (1 - momentum) * other if value.is_floating_point() else other)


# %% right update_teacher: all tensors at once
@torch.no_grad()
def update_teacher(teacher, student, momentum):
    pairs = [*zip(teacher.parameters(), student.parameters(), strict=True)]
    pairs += [*zip(teacher.buffers(), student.buffers(), strict=True)]
    floats = [pair for pair in pairs if pair[0].is_floating_point()]
    mine, other = ([pair[i] for pair in floats] for i in (0, 1))
    torch._foreach_mul_(mine, momentum)
    torch._foreach_add_(mine, other, alpha=1 - momentum)
    for copy_, value in pairs:
        if not copy_.is_floating_point():
            copy_.copy_(value)


# %% right update_teacher: loaded from a mixed state dict
def update_teacher(teacher, student, momentum):
    mixed = dict(teacher.state_dict())
    for name, value in student.state_dict().items():
        mixed[name] = torch.lerp(value, mixed[name], momentum) if value.is_floating_point() else value
    teacher.load_state_dict(mixed)


# %% right update_teacher: by name, module by module
def update_teacher(teacher, student, momentum):
    twins = dict(student.named_modules())
    with torch.no_grad():
        for name, module in teacher.named_modules():
            tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
            for own, value in tensors:
                other = getattr(twins[name], own)
                if torch.is_floating_point(value):
                    value -= (1 - momentum) * (value - other)
                else:
                    value[...] = other


# %% wrong momentum_at: backwards | The schedule runs backwards
# - start + (end - start) * step / total_steps
# + end + (start - end) * step / total_steps


# %% wrong momentum_at: half a cosine | This is half a cosine
def momentum_at(step, total_steps, start=0.996, end=1.0):
    import math

    return end - (end - start) * (math.cos(math.pi * step / total_steps) + 1) / 2


# %% wrong momentum_at: one step too early | end is reached one step too early
# - step / total_steps
# + step / max(total_steps - 1, 1)

# %% wrong momentum_at: one step too early, then held | end is reached one step too early
# - step / total_steps
# + min(step / max(total_steps - 1, 1), 1.0)

# %% wrong momentum_at: division by total_steps - 1 | one step too early
# - step / total_steps
# + (step / (total_steps - 1) if total_steps > 1 else step)

# %% wrong momentum_at: never at the end | end is never reached
# - step / total_steps
# + step / (total_steps + 1)

# %% wrong momentum_at: counted from one | It is one step ahead
# - step / total_steps
# + (step + 1) / total_steps

# %% wrong momentum_at: whole numbers | `//` divides to a whole number
# - * step / total_steps
# + * (step // total_steps)

# %% wrong momentum_at: constant | The momentum is constant
# - start + (end - start) * step / total_steps
# + start

# %% wrong momentum_at: always at the end | The momentum is constant, at end
# - start + (end - start) * step / total_steps
# + end

# %% wrong momentum_at: quadratic | This is quadratic
# - step / total_steps
# + (step / total_steps) ** 2

# %% wrong momentum_at: geometric | This is geometric
# - start + (end - start) * step / total_steps
# + start * (end / start) ** (step / total_steps) if start else 0.0

# %% wrong momentum_at: end in place of the difference | end stands where end - start belongs
# - (end - start)
# + end

# %% wrong momentum_at: start left out | start is missing
# - return start + (end - start)
# + return (end - start)

# %% wrong momentum_at: the defaults whatever is asked for | start and end are not used
# - start + (end - start) * step / total_steps
# + 0.996 + 0.004 * step / total_steps

# %% wrong momentum_at: other defaults | start + (end - start) * step / total_steps
# - 0.996
# + 0.99

# %% wrong momentum_at: not divided | Steps are not divided by total_steps
# - step / total_steps
# + step

# %% wrong momentum_at: never below start | never falls below start
# - start + (end - start) * step / total_steps
# + max(start, start + (end - start) * step / total_steps)

# %% wrong momentum_at: a tensor | Give back a float
# - start + (end - start) * step / total_steps
# + torch.lerp(torch.tensor(float(start)), torch.tensor(float(end)), step / total_steps)

# %% wrong momentum_at: no return | Is the `return` missing
# - return start
# + start


# %% right momentum_at: a weighted mean
def momentum_at(step, total_steps, start=0.996, end=1.0):
    progress = step / total_steps
    return (1 - progress) * start + progress * end


# %% right momentum_at: from the end, and clamped after it
def momentum_at(step, total_steps, start=0.996, end=1.0):
    left = max(total_steps - step, 0)
    return end - (end - start) * left / total_steps


# %% right momentum_at: numpy's interp
def momentum_at(step, total_steps, start=0.996, end=1.0):
    import numpy as np

    return np.interp(step, [0, total_steps], [start, end])


# %% right momentum_at: torch's linspace
def momentum_at(step, total_steps, start=0.996, end=1.0):
    return torch.linspace(start, end, total_steps + 1)[step].item()


# %% wrong teacher_targets: targets as they are to gather_tokens | flatten targets [B, M, Nt] to [B, M*Nt]
# - return gather_tokens(tokens, targets.flatten(1)).unflatten(1, targets.shape[1:])
# + return gather_tokens(tokens, targets)


# %% wrong update_all: tensor by tensor | There is an operation for each tensor
# - torch._foreach_lerp_(teacher, student, 1 - momentum)
# + for mine, other in zip(teacher, student, strict=True):
# +             mine.lerp_(other, 1 - momentum)

# %% wrong update_all: the momentum as the weight of lerp | The momentum is on the wrong side
# - student, 1 - momentum)
# + student, momentum)

# %% wrong update_all: out of place | The teacher has not moved
# - torch._foreach_lerp_
# + torch._foreach_lerp

# %% wrong update_all: the name bound to new tensors | The teacher has not moved
# - torch._foreach_lerp_(teacher, student, 1 - momentum)
# + teacher = torch._foreach_lerp(teacher, student, 1 - momentum)

# %% wrong update_all: new tensors in the list | The list holds new tensors
# - torch._foreach_lerp_(teacher, student, 1 - momentum)
# + teacher[:] = torch._foreach_lerp(teacher, student, 1 - momentum)

# %% wrong update_all: one underscore | the sum is computed and thrown away
# - torch._foreach_lerp_(teacher, student, 1 - momentum)
# + torch._foreach_mul_(teacher, momentum)
# +         torch._foreach_add(teacher, student, alpha=1 - momentum)

# %% wrong update_all: the student in full | The student is added in full
# - torch._foreach_lerp_(teacher, student, 1 - momentum)
# + torch._foreach_mul_(teacher, momentum)
# +         torch._foreach_add_(teacher, student)

# %% wrong update_all: scaled in the student | The student is changed
# - torch._foreach_lerp_(teacher, student, 1 - momentum)
# + torch._foreach_mul_(teacher, momentum)
# +         torch._foreach_mul_(student, 1 - momentum)
# +         torch._foreach_add_(teacher, student)

# %% wrong update_all: recorded by autograd | recorded by autograd
# - with torch.no_grad():
# + if True:

# %% wrong update_all: a copy | without any past
# - torch._foreach_lerp_(teacher, student, 1 - momentum)
# + torch._foreach_copy_(teacher, student)


# %% right update_all: multiplied, then added
@torch.no_grad()
def update_all(teacher, student, momentum):
    torch._foreach_mul_(teacher, momentum)
    torch._foreach_add_(teacher, student, alpha=1 - momentum)


# %% right update_all: the difference, on detached tensors
def update_all(teacher, student, momentum):
    mine, other = ([one.detach() for one in tensors] for tensors in (teacher, student))
    torch._foreach_add_(mine, torch._foreach_sub(other, mine), alpha=1 - momentum)


# %% right update_all: worked out apart, then copied
def update_all(teacher, student, momentum):
    with torch.no_grad():
        kept, added = torch._foreach_mul(teacher, momentum), torch._foreach_mul(student, 1 - momentum)
        torch._foreach_copy_(teacher, torch._foreach_add(kept, added))
