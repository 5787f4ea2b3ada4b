"""`python -m swarmlite.exporter --state-dir D --run-dir R --listen-fd N [--tls-ca ...]`."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

from aiohttp import web

from swarmlite import logs
from swarmlite.exporter.asking import Node
from swarmlite.exporter.serving import Documents, tls
from swarmlite.paths import Paths


async def run(options: argparse.Namespace) -> None:
    """Until SIGTERM or SIGINT."""
    paths = Paths(options.state_dir.absolute(), options.run_dir.absolute())
    context = tls(options.tls_ca, options.tls_cert, options.tls_key) if options.tls_ca else None
    node = Node(paths)
    # One line a request would be a line every few seconds.
    runner = web.AppRunner(Documents(paths, node).app(), access_log=None)
    await runner.setup()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        listening = socket.socket(fileno=os.dup(options.listen_fd))
        await web.SockSite(runner, listening, ssl_context=context).start()
        await stop.wait()
    finally:
        await runner.cleanup()
        await node.close()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="swarmlite-exporter", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--listen-fd", type=int, required=True)
    for name in ("ca", "cert", "key"):
        parser.add_argument(f"--tls-{name}", default="")
    options = parser.parse_args()
    logs.begin()
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    try:
        asyncio.run(run(options))
    except OSError as error:  # ssl.SSLError is one
        print(f"swarmlite-exporter: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
