"""The supervisor's wire format: length-prefixed JSON on a unix stream, descriptors beside it.

A frame is 4 bytes of length (big endian), then a JSON object. A frame that carries descriptors has
`"fds": n`, and its bytes are sent in one `sendmsg` with SCM_RIGHTS, so that they arrive no later
than its first byte. Requests: `{"id", "op", ...}`; answers: `{"id", "ok"}` or `{"id", "error":
{"kind", "message"}}`; events: `{"event": "exit", "state"}` and `{"event": "oom", "id"}`. An error's
kind is the name of a class of swarmlite.errors.
"""

from __future__ import annotations

import json
import struct

HEADER = struct.Struct(">I")
MAX_FRAME_BYTES = 16 << 20
MAX_FDS = 250  # the kernel's SCM_MAX_FD is 253


class ProtocolError(Exception):
    """The peer does not speak this protocol: close the connection."""


def encode(message: dict[str, object]) -> bytes:
    """One frame."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return HEADER.pack(len(body)) + body


class Decoder:
    """Cuts a stream of bytes into messages; `feed` returns those that are complete."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[dict[str, object]]:
        """Messages completed by `data`; raises ProtocolError for anything but JSON objects."""
        self._buffer += data
        messages: list[dict[str, object]] = []
        while len(self._buffer) >= HEADER.size:
            (length,) = HEADER.unpack_from(self._buffer)
            if length > MAX_FRAME_BYTES:
                raise ProtocolError(f"a frame of {length} bytes is too long")
            if len(self._buffer) < HEADER.size + length:
                break
            body = bytes(self._buffer[HEADER.size : HEADER.size + length])
            del self._buffer[: HEADER.size + length]
            try:
                message = json.loads(body)
            except ValueError as error:
                raise ProtocolError(f"not JSON: {error}") from error
            if not isinstance(message, dict):
                raise ProtocolError("a message must be a JSON object")
            messages.append(message)
        return messages
