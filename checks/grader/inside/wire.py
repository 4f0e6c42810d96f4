"""The messages between the checker and a sandboxed child: plain data in a format that can't execute anything.

A message is a head in JSON and the bytes of its tensors behind it. The head is a list of one value: a scalar stands for
itself, anything else is an object of one key, which names its type: {"list": [...]}, {"tuple": [...]},
{"dict": [[key, value], ...]}, {"tensor": [dtype, shape]}, and {"tensors": [type, dtype, shapes]} for a list or tuple of
tensors of one dtype, hundreds of them in some checks. What comes from a child is bounded before it is read, and every
type, shape and size is validated before it is used.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from typing import Any

import torch
from torch import Tensor

SIZES = struct.Struct("!II")  # bytes of the head, bytes of the tensors
# Five times what any right answer needs. A check that unpacks a tensor makes an object of each element, of half a KB
HEAD_LIMIT = BODY_LIMIT = 2**20
AXES_LIMIT = 16
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
        *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    )
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


class WireError(Exception):
    """What came is no message of this format, or is larger than the limit."""


def pack(value: Any) -> bytes:
    """Plain data as a message. Raises WireError for anything else."""
    tensors: list[bytes] = []
    head = json.dumps([_simple(value, tensors)]).encode()
    body = b"".join(tensors)
    return SIZES.pack(len(head), len(body)) + head + body


def _simple(value: Any, tensors: list[bytes]) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind in (list, tuple):
        if _alike(value):
            tensors.append(_bytes(torch.cat([entry.detach().reshape(-1) for entry in value])))
            return {"tensors": [kind.__name__, NAMES[value[0].dtype], [list(entry.shape) for entry in value]]}
        return {kind.__name__: [_simple(entry, tensors) for entry in value]}
    if kind is dict:
        return {"dict": [[_simple(key, tensors), _simple(entry, tensors)] for key, entry in value.items()]}
    if kind is Tensor and value.dtype in NAMES:
        tensors.append(_bytes(value.detach().reshape(-1)))
        return {"tensor": [NAMES[value.dtype], list(value.shape)]}
    what = f"a tensor of {value.dtype}" if kind is Tensor else f"an object of the class {kind.__name__}"
    raise WireError(f"{what} can't be sent")


def _alike(entries: list[Any] | tuple[Any, ...]) -> bool:
    """Whether these are tensors of one dtype that can be sent as one. (A submission may have replaced `all`.)"""
    found = {entry.dtype if type(entry) is Tensor else None for entry in entries}
    return len(entries) > 1 and len(found) == 1 and found <= NAMES.keys()


def _bytes(flat: Tensor) -> bytes:
    return flat.resolve_conj().resolve_neg().cpu().contiguous().view(torch.uint8).numpy().tobytes()


def unpack(head: bytes, body: bytes) -> Any:
    """The value of a message. Raises WireError."""
    try:
        [value] = json.loads(head)
        content, rest = _value(value, memoryview(body))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, RuntimeError) as error:
        raise WireError(f"the message can't be read ({type(error).__name__})") from None
    if len(rest):
        raise WireError("the message has bytes that belong to no tensor")
    return content


def _value(value: Any, body: memoryview) -> tuple[Any, memoryview]:
    """A decoded value, and what is left of the tensors' bytes."""
    if type(value) is int and value.bit_length() > 64:
        raise WireError(f"an integer of {value.bit_length()} bits came")
    if type(value) is str:
        return value.encode(errors="replace").decode(), body  # a lone surrogate could not be written to any file
    if value is None or type(value) in (bool, int, float):
        return value, body
    [(kind, content)] = value.items()
    if kind == "tensor":
        name, shape = content
        [tensor], body = _tensors(name, [shape], body)
        return tensor, body
    if kind == "tensors":
        container, name, shapes = content
        tensors, body = _tensors(name, shapes, body)
        return {"list": list, "tuple": tuple}[container](tensors), body
    entries: list[Any] = []
    if kind == "dict":
        for key, entry in content:
            key, body = _value(key, body)
            entry, body = _value(entry, body)
            entries.append((key, entry))
    elif kind in ("list", "tuple"):
        for entry in content:
            entry, body = _value(entry, body)
            entries.append(entry)
    else:
        raise WireError("the message names an unknown type")
    return {"dict": dict, "list": list, "tuple": tuple}[kind](entries), body


def _tensors(name: str, shapes: list[list[int]], body: memoryview) -> tuple[list[Tensor], memoryview]:
    """Tensors of one dtype, whose bytes stand one after the other."""
    dtype = DTYPES[name]
    for shape in shapes:
        if len(shape) > AXES_LIMIT or any(type(size) is not int or not 0 <= size < 2**31 for size in shape):
            raise WireError("a tensor came with an impossible shape")
    counts = [math.prod(shape) for shape in shapes]
    size = sum(counts) * dtype.itemsize
    if size > len(body):
        raise WireError("a tensor came with fewer bytes than its shape needs")
    flat = torch.frombuffer(bytearray(body[:size]), dtype=dtype) if size else torch.empty(0, dtype=dtype)
    if dtype is torch.bool and size and flat.view(torch.uint8).max() > 1:
        raise WireError("a bool tensor came with values other than 0 and 1")
    parts = flat.split(counts) if len(counts) > 1 else [flat]
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)], body[size:]


def send(channel: socket.socket, value: Any, deadline: float | None = None) -> None:
    """Send plain data. deadline: on time.monotonic's clock. Raises WireError, TimeoutError, OSError."""
    message = memoryview(pack(value))
    while message:
        _wait_until(channel, deadline)
        message = message[channel.send(message[: 2**20]) :]


def receive(channel: socket.socket, deadline: float | None = None, bounded: bool = True) -> Any:
    """Receive plain data; bounded: what comes may be hostile. Raises WireError, TimeoutError, EOFError, OSError."""
    head_size, body_size = SIZES.unpack(_exactly(channel, SIZES.size, deadline))
    if bounded and (head_size > HEAD_LIMIT or body_size > BODY_LIMIT):
        raise WireError(f"a message of {(head_size + body_size) >> 10} KB came, where {BODY_LIMIT >> 10} are allowed")
    return unpack(_exactly(channel, head_size, deadline), _exactly(channel, body_size, deadline))


def _exactly(channel: socket.socket, size: int, deadline: float | None) -> bytes:
    parts = []
    while size:
        _wait_until(channel, deadline)
        part = channel.recv(min(size, 2**20))
        if not part:
            raise EOFError("the channel was closed")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _wait_until(channel: socket.socket, deadline: float | None) -> None:
    if deadline is None:
        channel.settimeout(None)
        return
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    channel.settimeout(left)
