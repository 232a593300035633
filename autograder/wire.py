"""Arrays and errors across the boundary to the untrusted child: a JSON header, then raw bytes; never pickle.

A frame is two lengths (header, body), the header as JSON {"tree": …, "arrays": [[dtype, shape], …]}, and the
arrays' bytes one after the other. Every length, depth, dtype and count is checked before memory is taken.
"""

import json
import math
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from autograder.check import rebuild

LENGTHS = struct.Struct(">II")
MAX_HEADER = 8 << 20
MAX_BODY = 256 << 20
MAX_DEPTH = 12
MAX_ARRAYS = 4096
MAX_DIMENSIONS = 16
DTYPES = frozenset("?bBhHiIlLqQefdFD")


class BrokenWireError(Exception):
    """The other side closed the connection or sent what is no frame."""


def flatten(value: Any, arrays: list[np.ndarray[Any, Any]]) -> Any:
    """Turn nested dicts, lists, scalars and arrays into a JSON tree; the arrays are appended to `arrays`.

    Raises TypeError for anything else.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"#array": len(arrays) - 1}
    if isinstance(value, Mapping):
        return {str(key): flatten(item, arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [flatten(item, arrays) for item in value]
    raise TypeError(f"a {type(value).__name__} can't cross the wire")


def send(connection: socket.socket, value: Any) -> None:
    """Send one value. Raises TypeError if it holds anything but dicts, lists, scalars and arrays."""
    arrays: list[np.ndarray[Any, Any]] = []
    tree = flatten(value, arrays)
    shapes = [[array.dtype.char, list(array.shape)] for array in arrays]
    header = json.dumps({"tree": tree, "arrays": shapes}, ensure_ascii=False).encode("utf-8", "replace")
    body = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
    connection.sendall(LENGTHS.pack(len(header), len(body)) + header + body)


def receive(connection: socket.socket, deadline: float) -> Any:
    """Receive one value before `deadline` (of time.monotonic).

    Raises TimeoutError when it passes, BrokenWireError if the other side is gone or sent what is no frame.
    """
    header_length, body_length = LENGTHS.unpack(_read(connection, LENGTHS.size, deadline))
    if header_length > MAX_HEADER or body_length > MAX_BODY:
        raise BrokenWireError(f"a frame of {header_length} + {body_length} bytes is over the limit")
    header = _read(connection, header_length, deadline)
    body = _read(connection, body_length, deadline)
    try:
        return _decode(json.loads(header), body)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise BrokenWireError(f"malformed frame: {error}") from error


def _read(connection: socket.socket, length: int, deadline: float) -> bytearray:
    data = bytearray()
    while len(data) < length:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)
        try:
            part = connection.recv(min(length - len(data), 1 << 20))
        except ConnectionError as error:
            raise BrokenWireError(str(error)) from error
        if not part:
            raise BrokenWireError("the connection was closed")
        data += part
    return data


def _decode(header: Any, body: bytearray) -> Any:
    if not isinstance(header, dict) or set(header) != {"tree", "arrays"} or not isinstance(header["arrays"], list):
        raise ValueError("the header is not {tree, arrays}")
    if len(header["arrays"]) > MAX_ARRAYS:
        raise ValueError(f"{len(header['arrays'])} arrays")
    arrays, start = [], 0
    for char, shape in header["arrays"]:
        dtype, size = _checked(char, shape)
        if start + size > len(body):
            raise ValueError("the body is shorter than its arrays")
        arrays.append(np.frombuffer(body, dtype, size // dtype.itemsize, start).reshape(shape).copy())
        start += size
    _check_tree(header["tree"], len(arrays), MAX_DEPTH)
    return rebuild(_printable(header["tree"]), arrays)


def _printable(tree: Any) -> Any:
    """Replace what is in no text, lone surrogates, which no file could take later."""
    if isinstance(tree, str):
        return tree.encode("utf-8", "replace").decode("utf-8")
    if isinstance(tree, dict):
        return {_printable(key): _printable(value) for key, value in tree.items()}
    return [_printable(value) for value in tree] if isinstance(tree, list) else tree


def _checked(char: Any, shape: Any) -> tuple[np.dtype[Any], int]:
    """The dtype and the number of bytes of an announced array."""
    if not isinstance(char, str) or char not in DTYPES or len(char) != 1:
        raise ValueError(f"dtype {char!r}")
    whole = isinstance(shape, list) and all(type(n) is int and 0 <= n <= MAX_BODY for n in shape)
    if not whole or len(shape) > MAX_DIMENSIONS:
        raise ValueError(f"shape {shape!r}")
    dtype = np.dtype(char)
    return dtype, math.prod(shape) * dtype.itemsize


def _check_tree(tree: Any, arrays: int, depth: int) -> None:
    if depth == 0:
        raise ValueError("nested too deeply")
    if isinstance(tree, dict):
        if set(tree) == {"#array"} and not (type(tree["#array"]) is int and 0 <= tree["#array"] < arrays):
            raise ValueError(f"no array {tree['#array']!r}")
        for value in tree.values():
            _check_tree(value, arrays, depth - 1)
    elif isinstance(tree, list):
        for value in tree:
            _check_tree(value, arrays, depth - 1)
