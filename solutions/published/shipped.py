"""What there is to load without a download: the small trained encoder that comes with the course."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from data import MODEL, load_model
from solutions.published.files import DTYPES, SINGLE
from solutions.vision_transformer import VisionTransformer

# Hugging Face's names, by ours: the parts of a block, and what stands once
OF_A_BLOCK = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}
ONCE = {"patch_embed.proj": "embeddings.patch_embeddings.projection", "norm": "layernorm"}


def shipped_model() -> Path | None:
    """The archive that comes with the course, for load_official; None in a copy without it."""
    return MODEL if MODEL.exists() else None


def in_huggingface_layout(folder: Path) -> Path:
    """Write the course's encoder as Hugging Face's files are -> the folder.

    In a copy of the course without it an untrained one is written: it has seen no image, but everything runs.
    """
    torch.manual_seed(0)
    if shipped_model():
        model = load_model()
        encoder, heads = model["encoder"], model["encoder_sizes"][4]
    else:
        encoder, heads = VisionTransformer(32, 4, 96, 4, 3).state_dict(), 3
    tensors: dict[str, Tensor] = {}
    for name, tensor in encoder.items():
        module, _, kind = name.rpartition(".")
        _, number, part = module.split(".", 2) if module.startswith("blocks.") else ("", "", module)
        if name == "pos_embed":
            tensors["embeddings.position_embeddings"] = tensor
        elif part in ONCE:
            tensors[f"{ONCE[part]}.{kind}"] = tensor
        elif part in OF_A_BLOCK:
            tensors[f"encoder.layer.{number}.{OF_A_BLOCK[part]}.{kind}"] = tensor
        else:
            for third, own in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                tensors[f"encoder.layer.{number}.attention.attention.{third}.{kind}"] = own
    folder.mkdir(parents=True, exist_ok=True)
    write_safetensors(folder / SINGLE, tensors)
    (folder / "config.json").write_text(json.dumps({"model_type": "ijepa", "num_attention_heads": heads}))
    return folder


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as a .safetensors file: eight bytes, a header of JSON, the values."""
    kinds = {dtype: kind for kind, dtype in DTYPES.items()}
    header, stop = {}, 0
    for name, tensor in tensors.items():
        start, stop = stop, stop + tensor.nbytes
        header[name] = {"dtype": kinds[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, stop]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the values start at a multiple of eight
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.contiguous().view(torch.uint8).numpy().tobytes())
