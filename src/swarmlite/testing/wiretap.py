"""Who looks at the packets in a network namespace: whether they are encrypted, and can be read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

SECRET = b"what-nobody-reads"
ETH_P_ALL = 3

# Counts, until its input ends, packets of UDP by port, and those that hold the words. It listens on
# every interface: what a bridge passes from port to port is never seen on the bridge's own.
WATCH = f"""
import select, socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons({ETH_P_ALL}))
print("ready", flush=True)
sealed = plain = read = 0
while True:
    ready, _, _ = select.select([s, sys.stdin], [], [])
    if s not in ready:
        break
    data = s.recv(65535)
    if data[12:14] == b"\\x08\\x00" and data[23] == 17:
        port = int.from_bytes(data[36:38], "big")
        sealed += port == 2383
        plain += port == 4789
    read += {SECRET!r} in data
print(sealed, plain, read, flush=True)
"""


@contextmanager
def watching(enter: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A watcher that has begun; `counts` ends it. `enter`: a command, of what follows it inside."""
    command = [*enter, sys.executable, "-I", "-S", "-c", WATCH]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline().strip() == "ready"
        yield process
    finally:
        process.kill()
        process.communicate()


def counts(process: subprocess.Popen[str]) -> tuple[int, int, int]:
    """Packets of WireGuard, of VXLAN, and those in which the words could be read."""
    said, _ = process.communicate()
    sealed, plain, read = map(int, said.split())
    return sealed, plain, read
