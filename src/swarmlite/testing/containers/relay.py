"""Standard input and output to a socket, PATH or HOST:PORT.

Its text is sent to where it runs, so it imports nothing of ours.

It connects when the first bytes have come: whoever answers first would be unheard at the far end,
which reads past the head of the answer to its request.
"""

import os
import socket
import sys
import threading

CHUNK_BYTES = 1 << 16


def connect(target: str) -> socket.socket:
    """PATH or HOST:PORT."""
    if target.startswith("/"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(target)
        return connection
    host, _, port = target.rpartition(":")
    return socket.create_connection((host, int(port)))


def upwards(connection: socket.socket, data: bytes) -> None:
    """What comes in, and its end."""
    try:
        while data:
            connection.sendall(data)
            data = os.read(0, CHUNK_BYTES)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other direction says it


def main() -> None:
    """Until the socket's end."""
    first = os.read(0, CHUNK_BYTES)
    if not first:
        return
    with connect(sys.argv[1]) as connection:
        threading.Thread(target=upwards, args=(connection, first), daemon=True).start()
        while data := connection.recv(CHUNK_BYTES):
            while data:
                data = data[os.write(1, data) :]


if __name__ == "__main__":
    main()
