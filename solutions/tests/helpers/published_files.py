"""Checkpoints as others publish them, made here: names from their files, and what the encoder in them gives."""

import json
import struct
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

State = dict[str, Tensor]
KINDS = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int8: "I8"}


def official_state(dim=24, depth=2, patch=4, grid=3, hidden=None, seed=0) -> State:
    """Random weights by the names of the authors' file, large enough that every one of them counts."""
    hidden = hidden or 4 * dim
    shapes = {
        "pos_embed": (1, grid**2, dim),
        "patch_embed.proj.weight": (dim, 3, patch, patch),
        "patch_embed.proj.bias": (dim,),
    }
    for i in range(depth):
        shapes |= {f"blocks.{i}.{norm}.{kind}": (dim,) for norm in ("norm1", "norm2") for kind in ("weight", "bias")}
        shapes |= {f"blocks.{i}.attn.qkv.weight": (3 * dim, dim), f"blocks.{i}.attn.qkv.bias": (3 * dim,)}
        shapes |= {f"blocks.{i}.attn.proj.weight": (dim, dim), f"blocks.{i}.attn.proj.bias": (dim,)}
        shapes |= {f"blocks.{i}.mlp.fc1.weight": (hidden, dim), f"blocks.{i}.mlp.fc1.bias": (hidden,)}
        shapes |= {f"blocks.{i}.mlp.fc2.weight": (dim, hidden), f"blocks.{i}.mlp.fc2.bias": (dim,)}
    shapes |= {"norm.weight": (dim,), "norm.bias": (dim,)}
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def tokens(state: State, images: Tensor, heads: int) -> Tensor:
    """What an encoder with these weights gives for images [B, 3, S, S], by torch's functions: [B, N, D]."""
    x = F.conv2d(images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], state_stride(state))
    x = x.flatten(2).transpose(1, 2) + state["pos_embed"]

    def normed(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    for i in range(sum(name.endswith("norm1.bias") for name in state)):
        qkv = linear(normed(x, f"blocks.{i}.norm1"), f"blocks.{i}.attn.qkv")
        query, key, value = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in qkv.chunk(3, dim=-1))
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = x + linear(mixed, f"blocks.{i}.attn.proj")
        x = x + linear(F.gelu(linear(normed(x, f"blocks.{i}.norm2"), f"blocks.{i}.mlp.fc1")), f"blocks.{i}.mlp.fc2")
    return normed(x, "norm")


def state_stride(state: State) -> int:
    return state["patch_embed.proj.weight"].shape[-1]


def huggingface_state(state: State) -> State:
    """The same weights by the names on Hugging Face's disks."""
    found: State = {}
    for name, tensor in state.items():
        head, _, kind = name.rpartition(".")
        match head.split("."):
            case ["blocks", i, "attn", "qkv"]:
                for part, third in zip(tensor.chunk(3), ("query", "key", "value"), strict=True):
                    found[f"encoder.layer.{i}.attention.attention.{third}.{kind}"] = part.clone()
            case ["blocks", i, *rest]:
                theirs = {
                    "norm1": "layernorm_before",
                    "norm2": "layernorm_after",
                    "attn.proj": "attention.output.dense",
                    "mlp.fc1": "intermediate.dense",
                    "mlp.fc2": "output.dense",
                }[".".join(rest)]
                found[f"encoder.layer.{i}.{theirs}.{kind}"] = tensor
            case ["patch_embed", "proj"]:
                found[f"embeddings.patch_embeddings.projection.{kind}"] = tensor
            case ["norm"]:
                found[f"layernorm.{kind}"] = tensor
            case _:
                found["embeddings.position_embeddings"] = tensor
    return found


def in_memory_state(state: State) -> State:
    """The same weights by the names that transformers 5 has in memory, for a depth of one digit."""
    renamed = {}
    for name, tensor in huggingface_state(state).items():
        name = name.replace("encoder.layer.", "layers.")
        for third in ("query", "key", "value"):
            name = name.replace(f"attention.attention.{third}", f"attention.{third[0]}_proj")
        name = name.replace("attention.output.dense", "attention.o_proj")
        name = name.replace("intermediate.dense", "mlp.fc1").replace("output.dense", "mlp.fc2")
        renamed[name] = tensor
    return renamed


def save_safetensors(path: Path, state: State) -> None:
    """A .safetensors file, as the format's description has it."""
    header, values = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in state.items():
        raw = tensor.contiguous().view(torch.uint8).numpy().tobytes()
        places = [len(values), len(values) + len(raw)]
        header[name] = {"dtype": KINDS[tensor.dtype], "shape": list(tensor.shape), "data_offsets": places}
        values += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + values)


def save_huggingface(folder: Path, state: State, heads: int = 2, shards: int = 1) -> Path:
    """A folder in Hugging Face's layout, whole or in so many shards."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "ijepa", "num_attention_heads": heads}))
    if shards == 1:
        save_safetensors(folder / "model.safetensors", state)
        return folder
    names = [f"model-{i + 1:05d}-of-{shards:05d}.safetensors" for i in range(shards)]
    places = {name: names[i % shards] for i, name in enumerate(state)}
    for file in names:
        save_safetensors(folder / file, {name: state[name] for name in state if places[name] == file})
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def save_official(path: Path, encoder: State, target: State | None = None) -> Path:
    """An archive as the authors publish it, with what stands beside the networks."""

    def parallel(state: State) -> State:
        return {f"module.{name}": tensor for name, tensor in state.items()}

    archive = {
        "encoder": parallel(encoder),
        "predictor": parallel({"mask_token": torch.zeros(1, 1, 8), "predictor_norm.weight": torch.ones(8)}),
        "target_encoder": parallel(target or encoder),
        "opt": {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(4)}}, "param_groups": [{"lr": 0.001}]},
        "scaler": {"scale": 65536.0},
        "epoch": 300,
        "loss": 0.12,
        "batch_size": 128,
        "world_size": 16,
        "lr": 0.001,
    }
    torch.save(archive, path)
    return path
