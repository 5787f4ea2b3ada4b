#!/bin/sh
# aiohttp 3.14.5, server: what follows a request that asks for an upgrade and has a body is read as the next request.
#
# Docker's clients start an exec with `POST ... Connection: Upgrade, Upgrade: tcp, Content-Length: N`, a body of JSON, and
# then bytes of the upgraded protocol. Without a body (a websocket's handshake) what follows is kept for who takes the
# connection over; with one, the parser goes on with it as HTTP, and answers 400 behind the handler's back.
#
# Seen:
#   body b'{}' upgraded False
#   BadHttpMethod
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check aiohttp==3.14.5 2>/dev/null
"$work/venv/bin/python" - >"$work/output" 2>"$work/errors" <<'PYTHON'
import asyncio
import socket

from aiohttp import web

HEAD = b"POST / HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n"


async def handler(request):
    body = await request.read()
    await asyncio.sleep(0.5)
    print("body", body, "upgraded", request.protocol._upgraded, flush=True)
    return web.Response()


def client(port):
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.sendall(HEAD + b"{}")
    connection.sendall(b"of the upgraded protocol\n")
    connection.recv(1000)
    connection.close()


async def main():
    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    await asyncio.to_thread(client, site._server.sockets[0].getsockname()[1])
    await runner.cleanup()


asyncio.run(main())
PYTHON
cat "$work/output"
grep -o BadHttpMethod "$work/errors" | head -1
