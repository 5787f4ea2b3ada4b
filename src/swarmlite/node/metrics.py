"""The address that the owner opens for /metrics, /healthz and /readyz: held here, answered by a
process of its own (`swarmlite.exporter`). Without one nothing runs and nothing listens.

Plain HTTP on loopback only: figures tell names of services and nodes. Elsewhere clients show a
certificate of an authority that the owner names.
"""

from __future__ import annotations

import argparse
import ipaddress
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmlite.errors import InvalidSpec
from swarmlite.paths import Paths
from swarmlite.storage.images import configfile

from .children import Child
from .dockersocket import listen_tcp

FLAG = "--metrics-addr"
KEYS = ("addr", "tls-ca", "tls-cert", "tls-key")


@dataclass(frozen=True)
class MetricsOptions:
    """What swarmlited was told; no address: nothing is served."""

    addr: str = ""
    tls: tuple[str, ...] = ()
    """The clients' CA, our certificate and its key, or nothing."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """swarmlited's flags of it."""
    add = parser.add_argument_group("metrics and health").add_argument
    add(FLAG, default="", metavar="HOST:PORT", help="/metrics, /healthz and /readyz, here")
    for name, what in (("ca", "who signs clients"), ("cert", "ours"), ("key", "its key")):
        add(f"--metrics-tls-{name}", default="", metavar="FILE", help=f"PEM: {what}")


def options_of(parsed: argparse.Namespace) -> MetricsOptions:
    """Flags, and where they say nothing the section `metrics` of swarmlite.toml.

    Raises InvalidSpec where they contradict each other.
    """
    given: Mapping[str, Any] = configfile.section("metrics")
    for key, value in given.items():
        if key not in KEYS or not isinstance(value, str):
            known = ", ".join(KEYS)
            raise InvalidSpec(f"{configfile.path()}: metrics.{key}: expected text in {known}")
    addr = parsed.metrics_addr or given.get("addr", "")
    files = tuple(
        getattr(parsed, f"metrics_tls_{name}") or given.get(f"tls-{name}", "")
        for name in ("ca", "cert", "key")
    )
    if any(files) and not all(files):
        raise InvalidSpec("--metrics-tls-ca, --metrics-tls-cert and --metrics-tls-key go together")
    if addr and not any(files) and not _is_loopback(addr):
        raise InvalidSpec(
            f"{FLAG} {addr}: without TLS only a loopback address is served, as 127.0.0.1:9323;"
            " give --metrics-tls-ca, --metrics-tls-cert and --metrics-tls-key for others"
        )
    return MetricsOptions(addr, tuple(str(Path(f).absolute()) for f in files) if all(files) else ())


def _is_loopback(addr: str) -> bool:
    host = addr.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Metrics:
    """Holds the address and keeps the process that answers there."""

    def __init__(self, paths: Paths, options: MetricsOptions, *, debug: bool = False) -> None:
        """Binds nothing yet."""
        self._paths, self._options, self._debug = paths, options, debug
        self._listening: socket.socket | None = None
        self.child: Child | None = None

    def open(self) -> None:
        """Listen. Raises InvalidSpec for an address that cannot be had."""
        if self._options.addr:
            self._listening = listening = listen_tcp(FLAG, self._options.addr)
            self.child = Child(
                "exporter", self._command, self._paths.logs_dir, self._debug,
                pass_fds=[listening.fileno()],
            )  # fmt: skip

    def _command(self) -> list[str]:
        assert self._listening is not None
        paths = self._paths
        command = [sys.executable, "-m", "swarmlite.exporter", f"--state-dir={paths.state_dir}"]
        command += [f"--run-dir={paths.run_dir}", f"--listen-fd={self._listening.fileno()}"]
        for name, file in zip(("ca", "cert", "key"), self._options.tls, strict=False):
            command.append(f"--tls-{name}={file}")
        return command

    async def close(self) -> None:
        """End it, and listen no more."""
        if self.child is not None:
            await self.child.stop()
        if self._listening is not None:
            self._listening.close()
