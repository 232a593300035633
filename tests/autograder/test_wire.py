"""What crosses the boundary arrives as it was sent, and what is no frame is refused before memory is taken."""

import json
import socket
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from autograder import wire


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def soon() -> float:
    return time.monotonic() + 5


def raw(header: object, body: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return wire.LENGTHS.pack(len(text), len(body)) + text + body


DTYPES = [np.dtype(char) for char in sorted(wire.DTYPES)]
ARRAYS = st.sampled_from(DTYPES).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)


@given(ARRAYS)
def test_every_array_arrives_bit_for_bit(array):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        wire.send(ours, {"value": [array, None, True, 3, 0.5, "text"]})
        back = wire.receive(theirs, soon())["value"]
    assert back[1:] == [None, True, 3, 0.5, "text"]
    assert (back[0].dtype, back[0].shape, back[0].tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_an_object_cannot_be_sent(pair):
    with pytest.raises(TypeError, match="a set can't cross the wire"):
        wire.send(pair[0], {"value": {1, 2}})


@pytest.mark.parametrize(
    "frame",
    [
        wire.LENGTHS.pack(wire.MAX_HEADER + 1, 0),
        wire.LENGTHS.pack(2, wire.MAX_BODY + 1),
        raw([]),
        raw({"tree": 1}),
        raw({"tree": {"#array": 0}, "arrays": []}),
        raw({"tree": {"#array": -1}, "arrays": [["d", [1]]]}, bytes(8)),
        raw({"tree": {"#array": True}, "arrays": [["d", [1]], ["d", [1]]]}, bytes(16)),
        raw({"tree": 0, "arrays": [["O", [1]]]}, bytes(8)),
        raw({"tree": 0, "arrays": [["dd", [1]]]}, bytes(8)),
        raw({"tree": 0, "arrays": [["d", [-1]]]}, bytes(8)),
        raw({"tree": 0, "arrays": [["d", [1.0]]]}, bytes(8)),
        raw({"tree": 0, "arrays": [["d", [1 << 40, 1 << 40]]]}, bytes(8)),
        raw({"tree": 0, "arrays": [["d", [2]]]}, bytes(8)),
        raw({"tree": 0, "arrays": [["d", [1] * 40]]}, bytes(8)),
        raw({"tree": 0, "arrays": [["d"]]}, bytes(8)),
        raw({"tree": 0, "arrays": [["d", [0]]] * (wire.MAX_ARRAYS + 1)}),
        raw({"tree": [[[[[[[[[[[[[[0]]]]]]]]]]]]]], "arrays": []}),
        wire.LENGTHS.pack(3, 0) + b"\xff\xfe\xfd",
        wire.LENGTHS.pack(2000, 0) + b"[" * 2000,
    ],
    ids=lambda frame: repr(frame[:60]),
)
def test_a_malformed_frame_is_refused(pair, frame):
    ours, theirs = pair
    ours.sendall(frame)
    with pytest.raises(wire.BrokenWireError):
        wire.receive(theirs, soon())


def test_a_side_that_hangs_up_is_noticed(pair):
    ours, theirs = pair
    ours.sendall(wire.LENGTHS.pack(100, 0))
    ours.close()
    with pytest.raises(wire.BrokenWireError, match="closed"):
        wire.receive(theirs, soon())


def test_a_slow_drip_of_bytes_does_not_extend_the_deadline(pair):
    ours, theirs = pair
    ours.sendall(wire.LENGTHS.pack(100, 0) + b"x")
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        wire.receive(theirs, start + 0.2)
    assert time.monotonic() - start < 2
