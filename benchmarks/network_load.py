"""Loads of one connection, of many, and of none that lasts; a program, run inside of a namespace.

`server PORT` answers all of them; `throughput|requests|connections|rtt HOST PORT SECONDS` and
`dns SERVER NAME SECONDS` print one figure: bytes, answers or connections a second, microseconds.
`watch HOST PORT` prints a line whenever connections begin to be taken or refused, with the
monotonic clock.
The standard library only, so that it runs with `-I -S`.
"""

from __future__ import annotations

import select
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable

SINK, ASK, ANSWER = b"T", b"R", b"a" * 100
BLOCK = SINK * (1 << 18)
CONNECTIONS, WINDOW = 16, 32
WAIT_S = 5.0
WATCH_WAIT_S, WATCH_PAUSE_S = 0.02, 0.004


def serve(port: int) -> None:
    """Take what begins with SINK, and answer everything else."""
    with socket.create_server(("0.0.0.0", port), backlog=512) as listener:
        poll, open_ones = select.epoll(), {}
        poll.register(listener, select.EPOLLIN)
        print("ready", flush=True)
        while True:
            for number, _ in poll.poll():
                if number == listener.fileno():
                    made, _ = listener.accept()
                    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    open_ones[made.fileno()] = made
                    poll.register(made, select.EPOLLIN)
                elif not _answer(open_ones[number]):
                    poll.unregister(number)
                    open_ones.pop(number).close()


def _answer(connection: socket.socket) -> bool:
    try:
        data = connection.recv(1 << 20)
        if data and not data.startswith(SINK):
            connection.sendall(ANSWER)
    except OSError:
        return False
    return bool(data)


def connect(host: str, port: int) -> socket.socket:
    """A connection that is reset at its end: no TIME_WAIT that runs out of ports."""
    made = socket.create_connection((host, port), WAIT_S)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return made


def throughput(host: str, port: int, seconds: float) -> float:
    """Bytes a second of one connection; what is still on its way is little beside it."""
    sent, end = 0, time.monotonic() + seconds
    with connect(host, port) as connection:
        while time.monotonic() < end:
            sent += connection.send(BLOCK)
    return sent / seconds


def requests(host: str, port: int, seconds: float) -> float:
    """Answers a second over some connections at once, one question on its way on each."""
    poll, end, count = select.epoll(), time.monotonic() + seconds, 0
    made = {c.fileno(): c for c in (connect(host, port) for _ in range(CONNECTIONS))}
    for connection in made.values():
        poll.register(connection, select.EPOLLIN)
        connection.send(ASK)
    while time.monotonic() < end:
        for number, _ in poll.poll(WAIT_S):
            count += len(made[number].recv(4096)) // len(ANSWER)
            made[number].send(ASK)
    for connection in made.values():
        connection.close()
    return count / seconds


def connections(host: str, port: int, seconds: float) -> float:
    """Connections a second, one after the other, each with a question and an answer."""
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        with connect(host, port) as connection:
            connection.send(ASK)
            count += bool(connection.recv(4096))
    return count / seconds


def rtt(host: str, port: int, seconds: float) -> float:
    """Microseconds from a question to its answer, the median."""
    took, end = [], time.monotonic() + seconds
    with connect(host, port) as connection:
        while time.monotonic() < end:
            began = time.perf_counter()
            connection.send(ASK)
            connection.recv(4096)
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e6


def dns(server: str, name: str, seconds: float) -> float:
    """Answers a second to questions for an address, some on their way at once."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    question = b"\0\1\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1"
    count = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect((server, 53))
        asking.settimeout(WAIT_S)
        for _ in range(WINDOW):
            asking.send(question)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if asking.recv(4096)[7] == 0:
                raise SystemExit(f"{name} has no address")
            count += 1
            asking.send(question)
    return count / seconds


def resolve(name: str) -> list[str]:
    """The addresses of a name, by the resolver of the namespace."""
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.connect(("127.0.0.11", 53))
        asking.settimeout(WAIT_S)
        asking.send(b"\0\1\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1")
        answer = asking.recv(4096)
    # Each record: a pointer to the name, type, class, time to live, length, the address.
    count, start = int.from_bytes(answer[6:8], "big"), 12 + len(labels) + 5
    return [
        socket.inet_ntoa(answer[at + 12 : at + 16]) for at in range(start, start + 16 * count, 16)
    ]


def meets(host: str, port: int) -> str:
    """Whether a connection is taken, refused, or not answered for a moment."""
    try:
        with socket.create_connection((host, port), WATCH_WAIT_S):
            return "taken"
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "silent"


def watch(host: str, port: int) -> None:
    """For ever: "SECONDS STATE" at each change, at the time of its discovery."""
    last = ""
    while True:
        state = meets(host, port)
        if state not in (last, "silent"):  # which says something of the machine only
            print(time.monotonic(), state, flush=True)
            last = state
        time.sleep(WATCH_PAUSE_S)


LOADS: dict[str, Callable[[str, int, float], float]] = {
    "throughput": throughput,
    "requests": requests,
    "connections": connections,
    "rtt": rtt,
}


def main(what: str, *arguments: str) -> None:
    """As the module's docstring says."""
    if what == "server":
        serve(int(arguments[0]))
    elif what == "watch":
        watch(arguments[0], int(arguments[1]))
    elif what == "resolve":
        print(*resolve(arguments[0]))
    elif what == "dns":
        print(dns(arguments[0], arguments[1], float(arguments[2])))
    else:
        print(LOADS[what](arguments[0], int(arguments[1]), float(arguments[2])))


if __name__ == "__main__":
    main(*sys.argv[1:])
