"""Weights as they are published: the authors' archive, and a folder in Hugging Face's layout.

Tensors are mapped from the file, not read: memory is taken when they are used. Nothing that could run code is ever
loaded. safetensors is a header of JSON and raw bytes, so that reading it takes no package.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import mmap
import pickle
import re
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from solutions.published.foreign import seems

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
HEADER_LIMIT = 100 * 2**20  # bytes: what the format allows

# transformers 5 calls modules in memory by other names than files do; who saves a state dict saves those
IN_MEMORY = (
    (r"^layers\.(\d+)\.", r"encoder.layer.\1."),
    (r"^encoder\.layers\.(\d+)\.", r"encoder.layer.\1."),
    (r"\.attention\.q_proj\.", ".attention.attention.query."),
    (r"\.attention\.k_proj\.", ".attention.attention.key."),
    (r"\.attention\.v_proj\.", ".attention.attention.value."),
    (r"\.attention\.o_proj\.", ".attention.output.dense."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)


class WeightsError(Exception):
    """Weights that can't be used. The message is one sentence that says what is wrong and what to do."""


class Weights(NamedTuple):
    """Tensors by the names of their file, and what the file says besides.

    num_heads: of the attention, None where the file doesn't say it (shapes don't show it). eps: of the norms.
    """

    tensors: dict[str, Tensor]
    path: Path
    num_heads: int | None = None
    eps: float = 1e-6


def is_huggingface(path: Path) -> bool:
    """Whether this is the place of weights in Hugging Face's layout, and not of an archive."""
    return path.is_dir() or path.suffix == ".safetensors"


def existing(path: Path | str) -> Path:
    path = Path(path).expanduser()
    if not path.exists():
        raise WeightsError(f"there is no {path}: `python -m solutions.pretrained` says where weights can be downloaded")
    return path


# The authors' archive


def read_official(path: Path | str, network: str = "encoder") -> Weights:
    """One network of an archive as the authors publish it, its names without `module.`.

    network: "encoder" (the student, as in Hugging Face's weights) or "target_encoder" (its teacher).
    The course's own model and the checkpoint of a run of its trainer count as archives too: the teacher is taken.

    Raises WeightsError for a file that is damaged, could run code, or holds something else.
    """
    path = existing(path)
    if is_huggingface(path):
        raise WeightsError(f"{path} is no archive but in Hugging Face's layout: load_huggingface reads it")
    archive = load_archive(path)
    num_heads = None
    if "teacher" in archive and isinstance(config := archive.get("config"), dict):
        network, num_heads = "teacher", config.get("heads")
    elif isinstance(sizes := archive.get("encoder_sizes"), list) and len(sizes) == 5:
        network, num_heads = "encoder", sizes[4]
    tensors = archive.get(network)
    other = seems_to_be(flattened(archive))
    if other or not is_state(tensors):
        raise WeightsError(
            f"{path} holds no {network} of I-JEPA{other}: "
            "`python -m solutions.pretrained` says where weights can be downloaded"
        )
    tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return Weights(tensors, path, num_heads)


def load_archive(path: Path) -> dict[str, Any]:
    """What torch.save has written there, read as tensors and plain containers. Raises WeightsError."""
    is_zip = zipfile.is_zipfile(path)  # torch's format from before 2020 is none, and can't be mapped
    with path.open("rb") as file:
        if not is_zip and file.read(2) == b"PK":
            raise WeightsError(f"{path} is not complete, its end is missing: download it again")
    try:
        archive = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        if named := re.search(r"GLOBAL (\S+)", str(error)):
            raise WeightsError(
                f"{path} holds more than tensors ({named[1]}), and could run code: it is not loaded; "
                "download weights from a source that you trust"
            ) from None
        raise WeightsError(f"{path} is no archive of weights: torch can't read it") from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} is damaged ({first_line(error)}): download it again") from None
    if not isinstance(archive, dict):
        raise WeightsError(f"{path} holds a {type(archive).__name__}, and no archive of networks")
    return archive


def is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(tensor, Tensor) for tensor in value.values())


def flattened(value: Any, prefix: str = "", depth: int = 3) -> dict[str, Tensor]:
    """The tensors in nested dicts, by dotted names."""
    found: dict[str, Tensor] = {}
    for name, inner in value.items():
        if isinstance(inner, Tensor):
            found[f"{prefix}{name}"] = inner
        elif isinstance(inner, Mapping) and depth:
            found |= flattened(inner, f"{prefix}{name}.", depth - 1)
    return found


def seems_to_be(tensors: Mapping[str, Tensor]) -> str:
    """ ", but what seems to be DINOv2" or "": the part of a sentence."""
    other = seems({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    return f", but what seems to be {other}" if other else ""


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:100]


def renamed(weights: Weights, rename: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> Weights:
    """The weights under the names that a function gives them. What it has copied doesn't stay in memory twice."""
    tensors = rename(dict(weights.tensors))
    if not is_state(tensors):
        raise WeightsError(f"{rename.__name__} gives no tensors by their names: `pytest checks -k {rename.__name__}`")
    for tensor in weights.tensors.values():
        let_go(tensor)
    return weights._replace(tensors=dict(tensors))


# Hugging Face's layout


def read_huggingface(path: Path | str) -> Weights:
    """All tensors of a folder with `model.safetensors`, whole or in shards, or of one such file, by their names on
    disk.

    Raises WeightsError for files that are damaged, missing, or hold something else.
    """
    path = existing(path)
    if not is_huggingface(path):
        raise WeightsError(f"{path} is neither a folder nor a .safetensors file: load_official reads archives")
    tensors: dict[str, Tensor] = {}
    for file in shards(path):
        tensors |= read_safetensors(file)
    names = {huggingface_name(name): tensor for name, tensor in tensors.items()}
    other = seems_to_be(names)
    if other:
        raise WeightsError(
            f"{path} holds no I-JEPA{other}: `python -m solutions.pretrained` says where weights can be downloaded"
        )
    config = config_of(path)
    return Weights(names, path, config.get("num_attention_heads"), config.get("layer_norm_eps", 1e-6))


def shards(path: Path) -> list[Path]:
    """The files that hold the tensors. Raises WeightsError if there is none, or one is missing."""
    if path.is_file():
        return [path]
    index = path / INDEX
    if not index.exists():
        if not (path / SINGLE).exists():
            raise WeightsError(f"{path} holds no {SINGLE}: name the folder that was downloaded, config.json and all")
        return [path / SINGLE]
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise WeightsError(f"{index} names no files: download it again")
    files = [path / Path(name).name for name in sorted(set(places.values()))]  # of this folder, whatever it says
    if missing := [file.name for file in files if not file.is_file()]:
        raise WeightsError(f"{path} lacks {', '.join(missing[:5])}: download all of its {len(files)} files")
    return files


def config_of(path: Path) -> dict[str, Any]:
    config = (path if path.is_dir() else path.parent) / "config.json"
    return read_json(config) if config.exists() else {}


def read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} can't be read as JSON ({first_line(error)}): download it again") from None
    if not isinstance(value, dict):
        raise WeightsError(f"{path} holds a {type(value).__name__} in place of an object: download it again")
    return value


def huggingface_name(name: str) -> str:
    """A name as it stands on disk, whichever of transformers' ways of saying it was used."""
    name = name.removeprefix("ijepa.")  # of a model with a classifier on top
    for pattern, on_disk in IN_MEMORY:
        name = re.sub(pattern, on_disk, name)
    return name


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, mapped from it: eight bytes, a header, then the values.

    Raises WeightsError unless each tensor lies within the file, with as many bytes as its shape asks for.
    """
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)  # a change stays in memory
        (length,) = struct.unpack("<Q", mapped[:8])
        header = json.loads(mapped[8 : 8 + length]) if length <= min(HEADER_LIMIT, len(mapped) - 8) else None
    except (OSError, ValueError, RecursionError, struct.error):
        header = None
    if not isinstance(header, dict):
        raise WeightsError(f"{path} is no safetensors file, or not complete: download it again")
    header.pop("__metadata__", None)
    entries, start = {name: read_entry(path, name, entry) for name, entry in header.items()}, 8 + length
    stored, whole = len(mapped) - start, max((last for *_, last in entries.values()), default=0)
    if stored < whole:
        raise WeightsError(f"{path} is not complete: it has {size(stored)} of {size(whole)}; download it again")
    return {
        name: torch.frombuffer(mapped, dtype=dtype, count=math.prod(shape), offset=start + first).reshape(shape)
        for name, (dtype, shape, first, _) in entries.items()
    }


def read_entry(path: Path, name: str, entry: Any) -> tuple[torch.dtype, list[int], int, int]:
    """dtype, shape, and the places of the first byte and behind the last. Raises WeightsError."""
    try:
        kind, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
        whole_numbers = all(type(number) is int for number in (*shape, first, last))
        dtype = DTYPES.get(kind)
        size_in_bytes = math.prod(shape) * dtype.itemsize if dtype else last - first
    except (KeyError, TypeError, ValueError):
        whole_numbers = False
    if not whole_numbers or not 0 <= first < last or last - first != size_in_bytes:
        raise WeightsError(f"{path} has a damaged header, at {name}: download it again")
    if dtype is None:
        raise WeightsError(f"{path} holds {name} as {kind}: float32, float16 or bfloat16 are read")
    return dtype, shape, first, last


def size(count: int) -> str:
    """Bytes in words: "2.5 GB"."""
    for unit, worth in (("GB", 10**9), ("MB", 10**6)):
        if count >= worth:
            return f"{count / worth:.1f} {unit}"
    return f"{count} bytes"


# Memory


def let_go(tensor: Tensor) -> None:
    """Give back the memory of a tensor that is mapped from a file and was never changed.

    It is read from the file again if somebody asks for it. A tensor in memory of torch's own is left alone.
    """
    if tensor.untyped_storage().resizable():
        return
    page = mmap.PAGESIZE
    first = -(-tensor.data_ptr() // page) * page  # whole pages alone: the others hold neighbours, too
    last = (tensor.data_ptr() + tensor.nbytes) // page * page
    if last > first:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), mmap.MADV_DONTNEED)


def free_memory() -> int | None:
    """How many bytes programs can still take, None where the system doesn't say it."""
    found = []
    with contextlib.suppress(OSError, AttributeError, IndexError, ValueError):
        line = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.M)
        found.append(1024 * int(line[1]) if line else 0)
    with contextlib.suppress(OSError, ValueError):  # a container's share
        group = Path("/sys/fs/cgroup")
        limit, taken = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        files = re.search(r"^inactive_file (\d+)", (group / "memory.stat").read_text(), re.M)
        found.append(limit - taken + (int(files[1]) if files else 0))
    return min(found, default=None)
