"""The messages between checker and child: what is sent comes back equal, and what can't be a message is refused."""

import json
import socket

import pytest
import torch

from checks.grader.inside import wire


def unpacked(message: bytes) -> object:
    head, body = wire.SIZES.unpack(message[: wire.SIZES.size])
    rest = message[wire.SIZES.size :]
    assert len(rest) == head + body
    return wire.unpack(rest[:head], rest[head:])


def same(got: object, sent: object) -> bool:
    if isinstance(sent, torch.Tensor):
        return type(got) is torch.Tensor and got.dtype == sent.dtype and torch.equal(got, sent)
    if isinstance(sent, list | tuple):
        return type(got) is type(sent) and len(got) == len(sent) and all(map(same, got, sent))
    if isinstance(sent, dict):
        return type(got) is dict and list(got) == list(sent) and all(same(got[name], sent[name]) for name in sent)
    return type(got) is type(sent) and got == sent


EVERY_DTYPE = [torch.tensor([[0, 1, 1], [1, 0, 1]]).to(dtype) for dtype in wire.DTYPES.values()]


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"a": (1, 2.5, True, "x\n"), 3: [None, [], ()]},
        torch.tensor(3.0),
        torch.empty(0, 3),
        EVERY_DTYPE,
        [torch.rand(2, 3), torch.rand(4), torch.tensor(1.0), torch.rand(0, 2)],
        (torch.tensor([[True, False]]), torch.tensor(False)),
        [torch.rand(3, 4).T, torch.rand(2).requires_grad_()],
        [torch.rand(2, dtype=torch.complex64).conj(), torch.rand(3, dtype=torch.complex64)],
        [torch.rand(2), torch.arange(3), 1.0],
        [torch.rand(0), torch.rand(0)],
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_sent_comes_back_equal(value):
    assert same(unpacked(wire.pack(value)), value)


def test_tensors_of_a_list_can_be_changed_one_by_one():
    first, second = unpacked(wire.pack([torch.zeros(2), torch.zeros(2)]))
    first += 1
    assert first.tolist() == [1, 1] and second.tolist() == [0, 0]


@pytest.mark.parametrize(
    "head, body",
    [
        ([{"tensor": ["float32", [3]]}], bytes(8)),
        ([{"tensor": ["float32", [1]]}], bytes(8)),
        ([{"tensor": ["float32", [-1]]}], bytes(8)),
        ([{"tensor": ["float32", [1.0]]}], bytes(4)),
        ([{"tensor": ["float128", [1]]}], bytes(16)),
        ([{"tensor": ["bool", [2]]}], b"\1\2"),
        ([{"tensor": ["float32", [1] * 17]}], bytes(4)),
        ([{"tensors": ["list", "float32", [[1], [2]]]}], bytes(8)),
        ([{"tensors": ["list", "float32", [[1], [-1]]]}], bytes(8)),
        ([{"tensors": ["list", "float32", [[2**30, 2**30]]]}], bytes(8)),
        ([{"tensors": ["list", "bool", [[1], [1]]]}], b"\0\7"),
        ([{"tensors": ["dict", "float32", [[1]]]}], bytes(4)),
        ([{"tensors": ["list", "float32", [1]]}], bytes(4)),
        ([{"tensors": ["list", "float32"]}], bytes(4)),
        ([{"tensors": 5}], b""),
        ([{"set": [1]}], b""),
        ([1, 2], b""),
        ([10**30], b""),
        ({}, b""),
    ],
)
def test_what_can_not_be_a_message_is_refused(head, body):
    with pytest.raises(wire.WireError):
        wire.unpack(json.dumps(head).encode(), body)


def test_an_object_of_a_class_is_not_sent():
    class Own(torch.Tensor):
        pass

    for value in (object(), torch.rand(2).as_subclass(Own), [torch.rand(2), torch.rand(2).as_subclass(Own)], {1}):
        with pytest.raises(wire.WireError, match="can't be sent"):
            wire.pack(value)


def test_a_message_over_the_limit_is_refused_before_it_is_read():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(wire.SIZES.pack(10, wire.BODY_LIMIT + 1))
        with pytest.raises(wire.WireError, match="KB came"):
            wire.receive(ours)
