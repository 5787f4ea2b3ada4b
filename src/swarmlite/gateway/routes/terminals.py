"""The size of a terminal, of a container or an exec."""

from __future__ import annotations

from swarmlite.errors import InvalidSpec
from swarmlite.gateway.request import Call
from swarmlite.proto import containers_pb2 as pb


def resizing(call: Call, ref: str) -> pb.ResizeRequest:
    """`h` and `w` of a query, both of which must be given. Raises InvalidSpec."""
    return pb.ResizeRequest(ref=ref, height=_size(call, "h"), width=_size(call, "w"))


def _size(call: Call, name: str) -> int:
    size = call.number(name)
    if size is None or not 0 <= size < 2**32:
        raise InvalidSpec(f"{name}: expected 0 to {2**32 - 1}, not {call.text(name)!r}")
    return size
