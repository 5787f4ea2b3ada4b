"""One call of gRPC without arguments, for who loads nothing else: the call is one piece of bytes.

It needs neither protobuf nor `socket`, and knows messages with a single field: a text, number 1.
"""

from __future__ import annotations

import _socket

from swarmlite.cli.wire import hpack

TIMEOUT_S = 30.0
MOST_BYTES = 16 << 20
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS, _PING, _WINDOW_UPDATE = 0, 1, 4, 6, 8
_END_STREAM, _END_HEADERS, _ACK, _PADDED_OR_PRIORITY = 1, 4, 1, 0x28
_EMPTY_MESSAGE = bytes(5)  # not compressed, of length 0


def text(path: str, method: str) -> str:
    """The text that `method` (/PACKAGE.SERVICE/METHOD) answers on a unix socket.

    Raises OSError, and ValueError for any other end than an answer.
    """
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        connection.settimeout(TIMEOUT_S)
        connection.connect(path)
        connection.sendall(_asked(method))
        return _text(_answer(connection))
    finally:
        connection.close()


def _asked(method: str) -> bytes:
    headers = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", method.encode()),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    ]
    # No table of headers, no pushes, and room for all of the answer at once.
    settings = b"\0\1\0\0\0\0\0\2\0\0\0\0\0\4" + MOST_BYTES.to_bytes(4, "big")
    return (
        _PREFACE
        + _frame(_SETTINGS, 0, 0, settings)
        + _frame(_WINDOW_UPDATE, 0, 0, MOST_BYTES.to_bytes(4, "big"))
        + _frame(_HEADERS, _END_HEADERS, 1, hpack.encode(headers))
        + _frame(_DATA, _END_STREAM, 1, _EMPTY_MESSAGE)
    )


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    head = len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
    return head + body


def _answer(connection: _socket.socket) -> bytes:
    """The message, once the server's last headers say that it is whole."""
    received, message = b"", b""
    while data := connection.recv(1 << 18):
        received += data
        while len(received) >= 9 + (length := int.from_bytes(received[:3], "big")):
            kind, flags = received[3], received[4]
            body, received = received[9 : 9 + length], received[9 + length :]
            if kind == _DATA:
                message += body
            elif kind == _SETTINGS and not flags & _ACK:
                connection.sendall(_frame(_SETTINGS, _ACK, 0, b""))
            elif kind == _PING and not flags & _ACK:
                connection.sendall(_frame(_PING, _ACK, 0, body))
            elif kind == _HEADERS:
                if not flags & _END_HEADERS or flags & _PADDED_OR_PRIORITY:
                    raise ValueError("headers of a kind that no server of ours sends")
                if (status := dict(hpack.decode(body)).get(b"grpc-status")) is not None:
                    if status != b"0":
                        raise ValueError(f"the call failed with status {status.decode()}")
                    return message
    raise ValueError("the server has gone")


def _text(message: bytes) -> str:
    compressed, length = message[0], int.from_bytes(message[1:5], "big")
    body = message[5:]
    if compressed or length != len(body):
        raise ValueError("not one whole message")
    if not body:
        return ""
    at, size, shift = 1, 0, 0
    while True:
        byte = body[at]
        size |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            break
    if body[0] != 0x0A or at + size != len(body):
        raise ValueError("not a message of one text")
    return body[at:].decode()
