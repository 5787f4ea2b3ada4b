"""What the gateway is told at its start, parsed once."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swarmlite.errors import InvalidSpec
from swarmlite.gateway.versions import NEWEST, OLDEST, Version
from swarmlite.paths import Paths


@dataclass(frozen=True)
class Settings:
    """Frozen for the life of the process."""

    paths: Paths
    socket: Path | None = None  # else the descriptors that came with the start
    listen_fds: tuple[int, ...] = ()
    tls_fds: tuple[int, ...] = ()
    tls: tuple[Path, Path, Path] | None = None  # the clients' CA, our certificate and its key
    idle_s: float = 30.0  # ends so long after the last connection; 0 = never
    newest: Version = NEWEST
    oldest: Version = OLDEST


def parse(arguments: Sequence[str] | None = None) -> Settings:
    """The command line. Raises InvalidSpec."""
    defaults = Paths.from_environment()
    parser = argparse.ArgumentParser(prog="swarmlite-gateway", description="Docker's API.")
    parser.add_argument("--state-dir", type=Path, default=defaults.state_dir)
    parser.add_argument("--run-dir", type=Path, default=defaults.run_dir)
    parser.add_argument("--socket", type=Path, help="listen here; else on descriptors")
    parser.add_argument("--listen-fd", type=int, action="append", help="a socket that listens")
    parser.add_argument("--tls-fd", type=int, action="append", help="the same, with mutual TLS")
    for name in ("ca", "cert", "key"):
        parser.add_argument(f"--tls-{name}", type=Path)
    parser.add_argument("--idle", type=float, default=30.0, help="seconds until it ends; 0: never")
    parser.add_argument("--api-version", default=str(NEWEST))
    parser.add_argument("--api-min-version", default=str(OLDEST))
    options = parser.parse_args(arguments)
    newest, oldest = Version.parse(options.api_version), Version.parse(options.api_min_version)
    if not OLDEST <= oldest <= newest <= NEWEST:
        raise InvalidSpec(
            f"--api-min-version {oldest} and --api-version {newest} must be in this order,"
            f" and between {OLDEST} and {NEWEST}"
        )
    files = (options.tls_ca, options.tls_cert, options.tls_key)
    if options.tls_fd and not all(files):
        raise InvalidSpec("--tls-fd needs --tls-ca, --tls-cert and --tls-key")
    return Settings(
        paths=Paths(options.state_dir.absolute(), options.run_dir.absolute()),
        socket=options.socket,
        listen_fds=tuple(options.listen_fd or ()),
        tls_fds=tuple(options.tls_fd or ()),
        tls=files if all(files) else None,
        idle_s=options.idle,
        newest=newest,
        oldest=oldest,
    )
