#!/bin/sh
# docker-py 7.2.0: what an exec prints is lost if it arrives together with the head of the answer.
#
# The client reads the head through a buffered file and then what follows from the socket itself, so that bytes of the stream
# which the buffer has taken in with the head are never seen: exec_start() returns nothing, without an error. A server that
# sends a short program's output right behind its head, as HTTP allows, looks like one whose program printed nothing.
#
# Seen:
#   output in one packet with the head: b''
#   output after the head was read: b'hello\n'
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check docker==7.2.0 requests==2.32.5 urllib3==2.5.0 2>/dev/null
cat >"$work/ask.py" <<'PYTHON'
import array
import fcntl
import socket
import sys
import termios
import threading

import docker

HEAD = (
    b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
    b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
)
FRAME = b"\x01\0\0\0\0\0\0\x06hello\n"


def unread(connection):
    """Bytes that the other side of a unix socket has not read yet."""
    size = array.array("i", [0])
    fcntl.ioctl(connection, termios.TIOCOUTQ, size)
    return size[0]


def serve(listener, together):
    connection, _ = listener.accept()
    connection.settimeout(20)
    asked = b""
    while not asked.endswith(b"}"):
        asked += connection.recv(65536)
    if together:
        connection.sendall(HEAD + FRAME)
    else:
        connection.sendall(HEAD)
        for _ in range(2000):
            if unread(connection) == 0:
                break
            threading.Event().wait(0.01)
        connection.sendall(FRAME)
    connection.shutdown(socket.SHUT_WR)
    connection.recv(1)


def ask(path, together):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener, together))
        thread.start()
        client = docker.APIClient(base_url=f"unix://{path}", version="1.41", timeout=20)
        answer = client.exec_start("some")
        client.close()
        thread.join(30)
    return answer


print("output in one packet with the head:", ask(sys.argv[1] + "/a", True))
print("output after the head was read:", ask(sys.argv[1] + "/b", False))
PYTHON
timeout 60 "$work/venv/bin/python" "$work/ask.py" "$work" >"$work/output"
cat "$work/output"
diff - "$work/output" <<'SEEN'
output in one packet with the head: b''
output after the head was read: b'hello\n'
SEEN
