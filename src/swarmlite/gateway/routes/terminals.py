"""The size of a terminal, of a container or an exec."""

from __future__ import annotations

from swarmlite.errors import InvalidSpec
from swarmlite.gateway.request import Call
from swarmlite.proto import containers_pb2 as pb


def resizing(call: Call, ref: str) -> pb.ResizeRequest:
    """`h` and `w` of a query. Raises InvalidSpec."""
    height, width = call.number("h", 0) or 0, call.number("w", 0) or 0
    if not (0 <= height < 2**32 and 0 <= width < 2**32):
        raise InvalidSpec(f"h={height} and w={width}: not the size of a terminal")
    return pb.ResizeRequest(ref=ref, height=height, width=width)
