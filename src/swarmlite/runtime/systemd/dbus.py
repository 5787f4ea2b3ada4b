"""D-Bus, as far as calls to systemd take it: one connection, a call at a time, signals kept.

Standard library only, and lean: see `runtime/lean.py`. Source: the D-Bus specification, "Message
Protocol" (marshalling) and "Authentication Protocol" (EXTERNAL).
"""

from __future__ import annotations

import os
import time

from swarmlite import errors
from swarmlite.runtime import lean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

TIMEOUT_S = 60.0
MAX_MESSAGE_BYTES = 16 << 20
METHOD_CALL, METHOD_RETURN, ERROR, SIGNAL = 1, 2, 3, 4
PATH, INTERFACE, MEMBER, ERROR_NAME, REPLY_SERIAL, DESTINATION, _SENDER, SIGNATURE = range(1, 9)
_HEADER = "a(yv)"
_NUMBERS = {"y": 1, "b": 4, "n": 2, "q": 2, "i": 4, "u": 4, "x": 8, "t": 8, "d": 8, "h": 4}
_SIGNED = "nix"
_ALIGNED = {**_NUMBERS, "s": 4, "o": 4, "g": 1, "a": 4, "(": 8, "{": 8, "v": 1}


class RemoteError(errors.FailedPrecondition):
    """The other side's answer is an error; `name` is D-Bus's, `text` the other side's."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text or name)
        self.name = name


class Message:
    """One that came; `body` holds its values."""

    def __init__(self, kind: int, fields: dict[int, object], body: list[object]) -> None:
        self.kind, self.fields, self.body = kind, fields, body


class Connection:
    """To a peer at a socket, as root. Raises OSError when nobody listens there."""

    def __init__(self, address: str) -> None:
        self._serial = 0
        self._deadline = time.monotonic() + TIMEOUT_S
        self._socket = lean.unix_socket(lean.SOCK_STREAM)
        self._signals: list[Message] = []
        try:
            self._socket.settimeout(TIMEOUT_S)
            self._socket.connect(address)
            self._authenticate()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _authenticate(self) -> None:
        """We are who the kernel says we are.

        BEGIN goes along, as systemd's own clients send it: where it comes later and the first
        message is read with it, systemd (252) lets that message lie until another comes.
        """
        user = str(os.geteuid()).encode().hex()
        self._socket.sendall(b"\0AUTH EXTERNAL " + user.encode() + b"\r\nBEGIN\r\n")
        said = b""
        while not said.endswith(b"\r\n"):
            said += self._some(1)
        if not said.startswith(b"OK "):
            raise errors.PermissionDenied(f"D-Bus refuses root: {said.decode('ascii', 'replace')}")

    def call(
        self,
        to: tuple[str, str, str],
        member: str,
        signature: str = "",
        *values: object,
    ) -> list[object]:
        """Call a method of (service, object, interface). Raises RemoteError, FailedPrecondition."""
        try:
            return self._call(to, member, signature, values)
        except OSError as error:
            raise errors.FailedPrecondition(f"D-Bus: {member}: {error}") from error

    def _call(
        self, to: tuple[str, str, str], member: str, signature: str, values: tuple[object, ...]
    ) -> list[object]:
        service, path, interface = to
        self._serial += 1
        self._deadline = time.monotonic() + TIMEOUT_S
        fields: list[tuple[int, tuple[str, object]]] = [
            (PATH, ("o", path)), (INTERFACE, ("s", interface)), (MEMBER, ("s", member)),
            (DESTINATION, ("s", service)),
        ]  # fmt: skip
        if signature:
            fields.append((SIGNATURE, ("g", signature)))
        body = bytearray()
        for kind, value in zip(split(signature), values, strict=True):
            encode(body, kind, value)
        message = bytearray(b"l\1\0\1")
        encode(message, "u", len(body))
        encode(message, "u", self._serial)
        encode(message, _HEADER, fields)
        _pad(message, 8)
        self._socket.sendall(bytes(message + body))
        while True:
            answer = self._next()
            if answer.kind == SIGNAL:
                self._signals.append(answer)
            elif answer.fields.get(REPLY_SERIAL) == self._serial:
                if answer.kind == ERROR:
                    text = answer.body[0] if answer.body else ""
                    raise RemoteError(str(answer.fields.get(ERROR_NAME)), str(text))
                return answer.body

    def signal(self, member: str, wanted: Callable[[list[object]], bool]) -> list[object]:
        """The values of the first that is wanted, of those since the connection began.

        Raises FailedPrecondition when none comes.
        """
        try:
            return self._signal(member, wanted)
        except OSError as error:
            raise errors.FailedPrecondition(f"D-Bus: {member}: {error}") from error

    def _signal(self, member: str, wanted: Callable[[list[object]], bool]) -> list[object]:
        self._deadline = time.monotonic() + TIMEOUT_S
        while True:
            for message in self._signals:
                if message.fields.get(MEMBER) == member and wanted(message.body):
                    return message.body
            self._signals = [m for m in [self._next()] if m.kind == SIGNAL]

    def _next(self) -> Message:
        head = self._some(16)
        order = "little" if head[:1] == b"l" else "big"
        reader = Reader(head, order)
        kind = head[1]
        body_bytes, fields_bytes = reader.number("u", 4), reader.number("u", 12)
        rest = (fields_bytes + 7) // 8 * 8 + body_bytes
        if rest > MAX_MESSAGE_BYTES:
            raise errors.FailedPrecondition(f"D-Bus: a message of {rest} bytes")
        data = head + self._some(rest)
        reader = Reader(data, order, 12)
        found: list[tuple[int, object]] = reader.value(_HEADER)  # type: ignore[assignment]
        fields = dict(found)
        reader.at = len(data) - body_bytes
        start = Reader(data[reader.at :], order)
        body = [start.value(each) for each in split(str(fields.get(SIGNATURE, "")))]
        return Message(kind, fields, body)

    def _some(self, count: int) -> bytes:
        """That many bytes, before the deadline."""
        data = b""
        while len(data) < count:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("D-Bus: no answer")
            self._socket.settimeout(left)
            chunk = self._socket.recv(count - len(data))
            if not chunk:
                raise ConnectionResetError("D-Bus: the other side hung up")
            data += chunk
        return data


def split(signature: str) -> list[str]:
    """The complete types that a signature is made of."""
    found, start = [], 0
    while start < len(signature):
        end = _end(signature, start)
        found.append(signature[start:end])
        start = end
    return found


def _end(signature: str, start: int) -> int:
    """Behind the complete type that begins there."""
    if signature[start] == "a":
        return _end(signature, start + 1)
    if signature[start] not in "({":
        return start + 1
    close, at = {"(": ")", "{": "}"}[signature[start]], start + 1
    while signature[at] != close:
        at = _end(signature, at)
    return at + 1


def _pad(out: bytearray, alignment: int) -> None:
    out += bytes(-len(out) % alignment)


def encode(out: bytearray, kind: str, value: object) -> None:
    """Append a value of one complete type; variants are pairs (type, value)."""
    first = kind[0]
    _pad(out, _ALIGNED[first])
    if first in _NUMBERS:
        assert isinstance(value, int)
        out += value.to_bytes(_NUMBERS[first], "little", signed=first in _SIGNED)
    elif first in "sog":
        data = str(value).encode()
        out += len(data).to_bytes(1 if first == "g" else 4, "little") + data + b"\0"
    elif first == "v":
        inner, content = _pair(value)
        encode(out, "g", inner)
        encode(out, inner, content)
    elif first == "a":
        out += bytes(4)
        length_at = len(out) - 4
        _pad(out, _ALIGNED[kind[1]])
        start = len(out)
        for item in value:  # type: ignore[attr-defined]
            encode(out, kind[1:], item)
        out[length_at : length_at + 4] = (len(out) - start).to_bytes(4, "little")
    else:
        for inner, item in zip(split(kind[1:-1]), value, strict=True):  # type: ignore[call-overload]
            encode(out, inner, item)


def _pair(value: object) -> tuple[str, object]:
    assert isinstance(value, tuple)
    kind, content = value
    return kind, content


class Reader:
    """Values out of bytes, one after the other; `at` counts from where alignment begins."""

    def __init__(self, data: bytes, order: str, at: int = 0) -> None:
        self._data, self._order, self.at = data, order, at

    def number(self, kind: str, at: int) -> int:
        """The number at a place."""
        raw = self._data[at : at + _NUMBERS[kind]]
        return int.from_bytes(raw, self._order, signed=kind in _SIGNED)  # type: ignore[arg-type]

    def value(self, kind: str) -> object:
        """Of one complete type."""
        first = kind[0]
        self.at += -self.at % _ALIGNED[first]
        if first in _NUMBERS:
            self.at += _NUMBERS[first]
            return self.number(first, self.at - _NUMBERS[first])
        if first in "sog":
            length = self.number("y" if first == "g" else "u", self.at)
            start = self.at + (1 if first == "g" else 4)
            self.at = start + length + 1
            return self._data[start : start + length].decode("utf-8", "replace")
        if first == "v":
            return self.value(str(self.value("g")))
        if first == "a":
            length = self.number("u", self.at)
            self.at += 4
            self.at += -self.at % _ALIGNED[kind[1]]
            end, items = self.at + length, []
            while self.at < end:
                items.append(self.value(kind[1:]))
            return items
        return tuple(self.value(inner) for inner in split(kind[1:-1]))
