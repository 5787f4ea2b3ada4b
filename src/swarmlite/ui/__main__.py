"""`python -m swarmlite.ui --state-dir D --run-dir R --listen-fd N`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import ssl
import sys
from pathlib import Path

from aiohttp import web

from swarmlite import logs
from swarmlite.client import membership
from swarmlite.errors import FailedPrecondition, SwarmliteError
from swarmlite.identity.certificates import CERTIFICATE, KEY, ROOTS, Certificates
from swarmlite.paths import Paths
from swarmlite.ui.cluster import Cluster
from swarmlite.ui.server import Server
from swarmlite.ui.signing import Sessions

LOOK_S = 30.0


class Tls:
    """The node's own certificate, or one of its owner's; users of its cluster may show theirs."""

    def __init__(self, folder: Path, owners: tuple[Path, Path] | None = None) -> None:
        """`owners` are the files of a chain and its key.

        Raises FailedPrecondition while the node has none, or where those cannot be used.
        """
        self._certificates = Certificates(folder)
        self._pair = owners or (folder / CERTIFICATE, folder / KEY)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.verify_mode = ssl.CERT_OPTIONAL
        self._load()

    def _load(self) -> None:
        # A key that is not the certificate's leaves a context with neither: another one tries them.
        contexts = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.context
        try:
            stamp, roots = self._stamps(), self._certificates.roots
            for context in contexts:
                context.load_cert_chain(*self._pair)
                context.load_verify_locations(self._certificates.folder / ROOTS)
        except OSError as error:  # an SSLError too
            raise FailedPrecondition(f"{self._pair[0]} is no certificate here: {error}") from error
        self._stamp, self._roots = stamp, roots

    def _stamps(self) -> object:
        return self._certificates.stamp(), *(path.stat().st_mtime_ns for path in self._pair)

    async def follow(self) -> None:
        """New connections have the certificate that was renewed. Returns once other roots are to be
        trusted: whoever has a certificate of the old ones is taken by this context for good.
        """
        while True:
            await asyncio.sleep(LOOK_S)
            with contextlib.suppress(SwarmliteError, OSError):
                if self._stamps() == self._stamp:
                    continue
                if self._certificates.roots != self._roots:
                    return
                self._load()


async def run(options: argparse.Namespace) -> None:
    """Until SIGTERM or SIGINT, or until other roots are to be trusted: it is started again then."""
    paths = Paths(options.state_dir.absolute(), options.run_dir.absolute())
    logs.node_id = membership.self_node_id(paths)
    owners = (options.cert, options.key) if options.cert else None
    tls = Tls(paths.certificates_dir, owners)
    cluster = Cluster(paths)
    server = Server(paths, cluster, Sessions(paths.run_dir / "ui"))
    # A page that is closed ends what it followed, also where nothing is written to it.
    runner = web.AppRunner(
        server.app(), access_log=None, shutdown_timeout=1.0, handler_cancellation=True
    )
    await runner.setup()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        listening = socket.socket(fileno=os.dup(options.listen_fd))
        await web.SockSite(runner, listening, ssl_context=tls.context).start()
        # A loop that dies takes the page down, so that it is seen and begun again.
        async with asyncio.TaskGroup() as group:
            ends = [group.create_task(stop.wait()), group.create_task(tls.follow())]
            live = group.create_task(server.live.run())
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for each in (*ends, live):
                each.cancel()
    finally:
        await runner.cleanup()
        await cluster.close()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="swarmlite-ui", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--listen-fd", type=int, required=True)
    parser.add_argument("--cert", type=Path)
    parser.add_argument("--key", type=Path)
    options = parser.parse_args()
    logs.begin()
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    try:
        asyncio.run(run(options))
    except SwarmliteError as error:
        print(f"swarmlite-ui: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
