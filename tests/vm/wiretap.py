"""Who looks at the packets between the machines, on their bridge."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from machines import Wire

SECRET = b"what-nobody-reads"
ETH_P_ALL = 3

# Counts, on the machines' bridge, packets of UDP by port and those that hold the words.
WATCH = f"""
import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons({ETH_P_ALL}))
s.bind(("br0", 0)); s.settimeout(0.5)
print("ready", flush=True)
sealed = plain = read = 0
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    try:
        data = s.recv(65535)
    except TimeoutError:
        continue
    if data[12:14] == b"\\x08\\x00" and data[23] == 17:
        port = int.from_bytes(data[36:38], "big")
        sealed += port == 2383
        plain += port == 4789
    read += {SECRET!r} in data
print(sealed, plain, read, flush=True)
"""


@contextmanager
def watching(wire: Wire, seconds: float) -> Iterator[subprocess.Popen[str]]:
    command = wire.enter(["python3", "-I", "-S", "-c", WATCH, str(seconds)])
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline().strip() == "ready"
        yield process
    finally:
        process.kill()
        process.communicate()


def counts(process: subprocess.Popen[str]) -> tuple[int, int, int]:
    assert process.stdout is not None
    sealed, plain, read = map(int, process.stdout.readline().split())
    return sealed, plain, read
