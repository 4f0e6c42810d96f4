# ruff: noqa: F811, F821, RUF100
"""Lesson 8: wrong answers that the checks must catch, right ones that they must accept."""

# %% wrong from_huggingface: output.dense first | translate the longer one first
# - "layernorm_before": "norm1",
# + "output.dense": "mlp.fc2",
# +         "layernorm_before": "norm1",

# %% wrong from_huggingface: layernorm first | translate the longer ones first
# - "encoder.layer": "blocks",
# + "encoder.layer": "blocks",
# +         "layernorm": "norm",

# %% wrong from_huggingface: norms swapped | norm1 and norm2 are swapped
# - "layernorm_before": "norm1",
# -         "layernorm_after": "norm2",
# + "layernorm_before": "norm2",
# +         "layernorm_after": "norm1",

# %% wrong from_huggingface: no last norm | last norm is missing
# - state[name] = tensor
# + if not name.startswith("norm"):
# +             state[name] = tensor

# %% wrong from_huggingface: no positions | positions are missing
# - state[name] = tensor
# + if name != "pos_embed":
# +             state[name] = tensor


# %% wrong from_huggingface: one digit | may have two digits
def from_huggingface(tensors):
    import re

    ours = {
        "embeddings.patch_embeddings.projection": "patch_embed.proj",
        "embeddings.position_embeddings": "pos_embed",
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "attention.output.dense": "attn.proj",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
    }
    state = {}
    for kind in ("weight", "bias"):
        state[f"norm.{kind}"] = tensors[f"layernorm.{kind}"]
        for number in range(10):
            parts = [f"encoder.layer.{number}.attention.attention.{part}.{kind}" for part in ("query", "key", "value")]
            if parts[0] in tensors:
                state[f"blocks.{number}.attn.qkv.{kind}"] = torch.cat([tensors[part] for part in parts])
    for name, tensor in tensors.items():
        if "attention.attention" in name or name.startswith("layernorm"):
            continue
        if name.startswith("encoder") and not re.match(r"encoder\.layer\.\d\.", name):
            continue
        name = name.replace("encoder.layer", "blocks")
        for theirs, own in ours.items():
            name = name.replace(theirs, own)
        state[name] = tensor
    return state


# %% wrong from_huggingface: the file's names | one of them is not translated
def from_huggingface(tensors):
    return dict(tensors)


# %% wrong from_huggingface: query, key and value are left there too | they become one tensor
# - continue  # they come with their query
# + state[name] = tensor
# +             continue

# %% wrong from_huggingface: keys first | queries and keys are swapped
# - ("query", "key", "value")
# + ("key", "query", "value")

# %% wrong from_huggingface: values before keys | keys and values are swapped
# - ("query", "key", "value")
# + ("query", "value", "key")

# %% wrong from_huggingface: the other way round | the order is another one
# - ("query", "key", "value")
# + ("value", "key", "query")

# %% wrong from_huggingface: stack | torch.cat, not torch.stack
# - torch.cat([
# + torch.stack([

# %% wrong from_huggingface: along the last axis | the first axis is the one
# - for third in ("query", "key", "value")])
# + for third in ("query", "key", "value")], dim=-1)

# %% wrong from_huggingface: the last one wins | has overwritten the others
# - if ".key." in name or ".value." in name:
# -             continue  # they come with their query
# -         if ".query." in name:
# -             tensor = torch.cat([tensors[name.replace("query", third)] for third in ("query", "key", "value")])
# + if any(f".{third}." in name for third in ("query", "key", "value")):
# +             kind = name.rpartition(".")[2]
# +             name = name.rsplit(".", 2)[0] + ".query." + kind
# +             tensor = tensors[name.replace("query", "value")]

# %% wrong from_huggingface: the query alone | key and value belong behind it
# - tensor = torch.cat([tensors[name.replace("query", third)] for third in ("query", "key", "value")])
# + pass

# %% wrong from_huggingface: no biases | the biases are missing
# - if ".key." in name or ".value." in name:
# + if ".key." in name or ".value." in name or ".query.bias" in name:

# %% wrong from_huggingface: rows in turns | the rows alternate
# - torch.cat([tensors[name.replace("query", third)] for third in ("query", "key", "value")])
# + torch.stack([tensors[name.replace("query", third)] for third in ("query", "key", "value")], 1).flatten(0, 1)

# %% wrong from_huggingface: transposed | the weights are transposed
# - tensors[name.replace("query", third)] for third
# + tensors[name.replace("query", third)].T for third

# %% wrong from_huggingface: copies | pass the tensors on as they are
# - state[name] = tensor
# + state[name] = tensor.clone()

# %% wrong from_huggingface: float32 | pass the tensors on as they are
# - state[name] = tensor
# + state[name] = tensor.float()


# %% wrong from_huggingface: the dict is used up | leave the dict that is given alone
def from_huggingface(tensors):
    once = {
        "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
        "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
        "embeddings.position_embeddings": "pos_embed",
        "layernorm.weight": "norm.weight",
        "layernorm.bias": "norm.bias",
    }
    parts = {
        "layernorm_before": "norm1",
        "layernorm_after": "norm2",
        "attention.output.dense": "attn.proj",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
    }
    state = {own: tensors.pop(theirs) for theirs, own in once.items()}
    number = 0
    while tensors:
        theirs, own = f"encoder.layer.{number}", f"blocks.{number}"
        for kind in ("weight", "bias"):
            for part, name in parts.items():
                state[f"{own}.{name}.{kind}"] = tensors.pop(f"{theirs}.{part}.{kind}")
            thirds = [tensors.pop(f"{theirs}.attention.attention.{part}.{kind}") for part in ("query", "key", "value")]
            state[f"{own}.attn.qkv.{kind}"] = torch.cat(thirds)
        number += 1
    return state


# %% right from_huggingface: block by block
def from_huggingface(tensors):
    numbers = [int(name.split(".")[2]) for name in tensors if name.startswith("encoder.layer.")]
    state = {"pos_embed": tensors["embeddings.position_embeddings"]}
    for kind in ("weight", "bias"):
        state["patch_embed.proj." + kind] = tensors["embeddings.patch_embeddings.projection." + kind]
        state["norm." + kind] = tensors["layernorm." + kind]
        for number in range(max(numbers) + 1):
            layer, block = f"encoder.layer.{number}.", f"blocks.{number}."
            state[block + "norm1." + kind] = tensors[layer + "layernorm_before." + kind]
            state[block + "norm2." + kind] = tensors[layer + "layernorm_after." + kind]
            state[block + "attn.proj." + kind] = tensors[layer + "attention.output.dense." + kind]
            state[block + "mlp.fc1." + kind] = tensors[layer + "intermediate.dense." + kind]
            state[block + "mlp.fc2." + kind] = tensors[layer + "output.dense." + kind]
            attention = layer + "attention.attention."
            query, key, value = (tensors[attention + part + kind] for part in ("query.", "key.", "value."))
            state[block + "attn.qkv." + kind] = (
                torch.vstack([query, key, value]) if query.dim() == 2 else torch.hstack([query, key, value])
            )
    return state


# %% right from_huggingface: by regular expressions
def from_huggingface(tensors):
    import re
    from collections import defaultdict

    rules = [
        (r"^embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
        (r"^embeddings\.position_embeddings$", "pos_embed"),
        (r"^layernorm", "norm"),
        (r"^encoder\.layer\.(\d+)", r"blocks.\1"),
        (r"layernorm_before", "norm1"),
        (r"layernorm_after", "norm2"),
        (r"attention\.output\.dense", "attn.proj"),
        (r"attention\.attention\.(query|key|value)", r"attn.qkv.\1"),
        (r"intermediate\.dense", "mlp.fc1"),
        (r"(?<!attention\.)output\.dense", "mlp.fc2"),
    ]
    state, thirds = {}, defaultdict(dict)
    for name, tensor in tensors.items():
        for pattern, own in rules:
            name = re.sub(pattern, own, name)
        match = re.fullmatch(r"(.*qkv)\.(query|key|value)\.(weight|bias)", name)
        if match:
            thirds[f"{match[1]}.{match[3]}"][match[2]] = tensor
        else:
            state[name] = tensor
    return state | {name: torch.cat([part[x] for x in ("query", "key", "value")]) for name, part in thirds.items()}


# %% wrong image_descriptor: not of length 1 | not brought to length 1
# - F.normalize(tokens.mean(dim=1), dim=-1)
# + tokens.mean(dim=1)

# %% wrong image_descriptor: the first token | there is no class token
# - tokens.mean(dim=1)
# + tokens[:, 0]

# %% wrong image_descriptor: without the first token | it is no class token
# - tokens.mean(dim=1)
# + tokens[:, 1:].mean(dim=1)

# %% wrong image_descriptor: the maximum | largest value of each feature
# - tokens.mean(dim=1)
# + tokens.amax(dim=1)

# %% wrong image_descriptor: over the features | averaged over the features
# - tokens.mean(dim=1)
# + tokens.mean(dim=2)

# %% wrong image_descriptor: tokens of length 1 | average first
# - F.normalize(tokens.mean(dim=1), dim=-1)
# + F.normalize(tokens, dim=-1).mean(dim=1)

# %% wrong image_descriptor: tokens of length 1, then the average too | long tokens may count more
# - F.normalize(tokens.mean(dim=1), dim=-1)
# + F.normalize(F.normalize(tokens, dim=-1).mean(dim=1), dim=-1)

# %% wrong image_descriptor: over the images | over the images
# - dim=-1)
# + dim=0)

# %% wrong image_descriptor: the whole table | the whole table
# - return F.normalize(tokens.mean(dim=1), dim=-1)
# + return tokens.mean(dim=1) / tokens.mean(dim=1).norm()

# %% wrong image_descriptor: layer_norm | takes the mean off
# - F.normalize(tokens.mean(dim=1), dim=-1)
# + F.layer_norm(tokens.mean(dim=1), tokens.shape[-1:])

# %% wrong image_descriptor: one image loses its axis | the first axis (of size 1) is missing
# - tokens.mean(dim=1), dim
# + tokens.mean(dim=1).squeeze(), dim

# %% wrong image_descriptor: one vector for the batch | they must stay apart
# - tokens.mean(dim=1)
# + tokens.mean(dim=(0, 1)).expand(len(tokens), -1)

# %% wrong image_descriptor: images in float32 | dtype
# - images.to(next(encoder.parameters()).dtype)
# + images

# %% wrong image_descriptor: in bfloat16 to the end | after the encoder (.float())
# - .dtype)).float()
# + .dtype))

# %% wrong image_descriptor: averaged in bfloat16 | with three digits
# - .dtype)).float()
# -     return F.normalize(tokens.mean(dim=1), dim=-1)
# + .dtype))
# +     return F.normalize(tokens.mean(dim=1).float(), dim=-1)

# %% wrong image_descriptor: with a graph | a graph hangs on the vectors
# - with torch.no_grad():
# + if True:

# %% wrong image_descriptor: the encoder is frozen | the encoder is frozen
# - with torch.no_grad():
# + encoder.requires_grad_(False)
# +     with torch.no_grad():

# %% wrong image_descriptor: gradients are left off | stay switched off
# - with torch.no_grad():
# + torch.set_grad_enabled(False)
# +     if True:


# %% right image_descriptor: by hand
@torch.no_grad()
def image_descriptor(encoder, images):
    kind = next(iter(encoder.state_dict().values())).dtype
    vectors = encoder(images.to(kind)).to(torch.float32).sum(1)
    return vectors / vectors.norm(dim=1, keepdim=True)


# %% right image_descriptor: an image at a time, detached
def image_descriptor(encoder, images):
    found = []
    for image in images:
        with torch.inference_mode(False):
            tokens = encoder(image[None].to(next(encoder.parameters()).dtype)).detach().float()
        average = torch.einsum("nd->d", tokens[0]) / tokens.shape[1]
        found.append(average / torch.linalg.vector_norm(average))
    return torch.stack(found)


# %% wrong resize_positions: poured into pictures | The axes are in disorder: [1, N, D] becomes [1, D, N]
# - table.transpose(1, 2).unflatten(2, (grid, grid))
# + table.reshape(1, -1, grid, grid)

# %% wrong resize_positions: poured, there and back | before and after
# - table.transpose(1, 2).unflatten(2, (grid, grid))
# + table.reshape(1, -1, grid, grid)
# - .flatten(2).transpose(1, 2)
# + .reshape(1, new_grid**2, -1)

# %% wrong resize_positions: poured on the way back | The way back is in disorder
# - .flatten(2).transpose(1, 2)
# + .reshape(1, new_grid**2, -1)

# %% wrong resize_positions: columns first | Rows and columns are exchanged
# - .flatten(2).transpose(1, 2)
# + .transpose(2, 3).flatten(2).transpose(1, 2)

# %% wrong resize_positions: bilinear | This is bilinear
# - mode="bicubic")
# + mode="bilinear")

# %% wrong resize_positions: corners aligned | align_corners is set
# - mode="bicubic")
# + mode="bicubic", align_corners=True)

# %% wrong resize_positions: D stands first | D stands before the positions
# - .flatten(2).transpose(1, 2)
# + .flatten(2)


# %% wrong resize_positions: along a line | as if they stood in one line
def resize_positions(table, new_grid):
    return F.interpolate(table.transpose(1, 2), size=new_grid**2, mode="linear").transpose(1, 2)


# %% right resize_positions: with permute, channels last
def resize_positions(table, new_grid):
    old = int(table.size(1) ** 0.5 + 0.5)
    pictures = table.view(1, old, old, table.size(2)).permute(0, 3, 1, 2)
    pictures = F.interpolate(pictures, (new_grid, new_grid), mode="bicubic", align_corners=False, antialias=False)
    return pictures.permute(0, 2, 3, 1).reshape(1, -1, table.size(2))


# %% right resize_positions: by the table of what each old position gives to each new one
def resize_positions(table, new_grid):
    number = table.shape[1]
    side = round(number**0.5)
    shares = F.interpolate(torch.eye(number).view(number, 1, side, side), size=new_grid, mode="bicubic")
    return torch.einsum("on,bod->bnd", shares.view(number, -1).to(table.dtype), table)
