"""Parts of the standard library without what they bring along.

`json`, `signal`, `socket` and `contextlib` load re, enum, functools and collections: together that
takes longer than a container's start. What is below them is in the interpreter anyway. The same
names, so that a reader sees what is meant: `lean.json.loads`, `lean.signal.SIGKILL`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

_json: Any
try:
    import _json
except ImportError:  # an interpreter without the C part
    _json = None

signal: Any = _signal
Socket = _socket.socket
AF_UNIX, SOCK_SEQPACKET, SOCK_STREAM = (
    _socket.AF_UNIX, _socket.SOCK_SEQPACKET, _socket.SOCK_STREAM,
)  # fmt: skip
SOCK_CLOEXEC = _socket.SOCK_CLOEXEC
MSG_CMSG_CLOEXEC = _socket.MSG_CMSG_CLOEXEC
SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGXFSZ, SIGKILL, SIGWINCH, SIGSTOP, SIGURG = (
    _signal.SIGCHLD, _signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP, _signal.SIGPIPE,
    _signal.SIGXFSZ, _signal.SIGKILL, _signal.SIGWINCH, _signal.SIGSTOP, _signal.SIGURG,
)  # fmt: skip


class suppress:
    """Exceptions of these classes end the block, and nothing else happens."""

    def __init__(self, *kinds: type[BaseException]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> bool:
        return kind is not None and issubclass(kind, self._kinds)


# sockets
def unix_socket(kind: int = SOCK_SEQPACKET) -> Socket:
    """A new one, closed on exec."""
    return _socket.socket(AF_UNIX, kind | SOCK_CLOEXEC)


def socketpair(kind: int = SOCK_SEQPACKET) -> tuple[Socket, Socket]:
    """Two that are joined, closed on exec."""
    return _socket.socketpair(AF_UNIX, kind | SOCK_CLOEXEC)


def accept(listener: Socket) -> Socket:
    """The next connection."""
    fd, _ = listener._accept()  # type: ignore[attr-defined]
    return adopt(fd)


def adopt(fd: int) -> Socket:
    """One that is open."""
    return _socket.socket(AF_UNIX, SOCK_SEQPACKET, 0, fd)


def send_fds(sock: Socket, data: bytes, fds: list[int]) -> None:
    """Descriptors beside the bytes."""
    packed = b"".join(fd.to_bytes(4, "little") for fd in fds)
    sock.sendmsg([data], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)])


def recv_fds(sock: Socket, size: int, count: int) -> tuple[bytes, list[int]]:
    """Bytes, and descriptors that came beside them, closed on exec."""
    data, ancillary, _, _ = sock.recvmsg(size, _socket.CMSG_LEN(4 * count), MSG_CMSG_CLOEXEC)
    fds: list[int] = []
    for level, kind, packed in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            whole = len(packed) - len(packed) % 4
            fds += [int.from_bytes(packed[k : k + 4], "little") for k in range(0, whole, 4)]
    return data, fds


# JSON
class _Context:
    strict = True
    object_hook = object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}  # noqa: RUF012

    @staticmethod
    def parse_constant(word: str) -> object:
        raise ValueError(f"{word} is not JSON")


_WHITE = " \t\n\r"
_scan: Any = _json.make_scanner(_Context) if _json is not None else None


def loads(data: bytes | str) -> Any:
    """One value; raises ValueError."""
    text = data.decode() if isinstance(data, bytes) else data
    if _scan is None:
        import json

        return json.loads(text)
    start = len(text) - len(text.lstrip(_WHITE))
    try:
        value, end = _scan(text, start)
    except StopIteration as error:
        raise ValueError(f"no value at character {error.value}") from None
    if text[end:].strip(_WHITE):
        raise ValueError(f"more after the value, at character {end}")
    return value


def load(path: str) -> Any:
    """One value of a file; raises OSError, ValueError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = b""
        while chunk := os.read(fd, 1 << 18):
            data += chunk
    finally:
        os.close(fd)
    return loads(data)


def dumps(value: object) -> str:
    """On one line; raises TypeError for what JSON has no form for."""
    if _json is None:
        import json

        return json.dumps(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return str(_json.encode_basestring_ascii(value))
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(dumps(item) for item in value) + "]"
    if isinstance(value, dict):
        items = (f"{dumps(str(key))}: {dumps(item)}" for key, item in value.items())
        return "{" + ", ".join(items) + "}"
    raise TypeError(f"{type(value).__name__} has no JSON form")
