"""Where a node is, as users write it, and the way there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from swarmlite.client.reach.api import Reach
from swarmlite.errors import InvalidSpec
from swarmlite.paths import Paths

if TYPE_CHECKING:
    from swarmlite.client.reach.tls import TlsFiles

TLS_PORT = 2376
IN_CLEAR = "without-tls-anyone-on-the-way-is-root"
FORMS = "unix://PATH, tcp://HOST[:PORT], ssh://[USER@]HOST[:PORT] or swarm://MANAGER[:PORT][,...]"


@dataclass(frozen=True)
class Certificates:
    """PEM files for tcp://; `skip_verify` trusts whoever answers."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    skip_verify: bool = False
    in_clear: bool = False  # no TLS at all

    def files(self) -> TlsFiles:
        """As the way by TLS takes them."""
        from swarmlite.client.reach.tls import TlsFiles

        return TlsFiles(self.ca, self.cert, self.key, verify=not self.skip_verify)


def reach(address: str, certificates: Certificates, paths: Paths) -> Reach:
    """The way to the node. Raises InvalidSpec; connects to nothing.

    `unix://` names the directory of a node's sockets, or its socket of Docker's API; `paths` gives
    what an address leaves open.
    """
    check(address, certificates)
    scheme, _, rest = address.rpartition("://")
    if scheme in ("", "unix"):
        return _unix(Path(rest), paths)
    if scheme == "ssh":
        from swarmlite.client.reach.ssh import Ssh, SshHost

        parts = _split(address)
        return Ssh(SshHost(parts.hostname or "", parts.username or "", _port(address) or 0))
    if scheme == "swarm":
        from swarmlite.client.reach.managers import Managers, parse

        return Managers(parse(rest), certificates.files())
    from swarmlite.client.reach.tls import Tcp

    files = None if certificates.in_clear else certificates.files()
    return Tcp(_split(address).hostname or "", _port(address) or TLS_PORT, files)


def _unix(path: Path, paths: Paths) -> Reach:
    if path.suffix == ".sock":
        from swarmlite.client.reach.tunnel import Tunnel

        return Tunnel(path)
    from swarmlite.client.reach.local import Local

    return Local(replace(paths, run_dir=path))


def check(address: str, certificates: Certificates = Certificates()) -> None:
    """Raises InvalidSpec where it is not the address of a node."""
    scheme, _, rest = address.rpartition("://")
    if scheme in ("", "unix"):
        if not rest.startswith("/"):
            raise InvalidSpec(f"{address[:80]!r} is not a node's address: expected {FORMS}")
        return
    if scheme == "swarm":
        _check_managers(address, rest)
        _check_pair(certificates)
        return
    if scheme not in ("tcp", "ssh"):
        raise InvalidSpec(f"{address[:80]!r}: unknown scheme {scheme!r}: expected {FORMS}")
    parts = _split(address)
    host = parts.hostname or ""
    # A name that begins with a dash would be a flag of ssh's.
    if not host or host.startswith("-") or (parts.username or "").startswith("-"):
        raise InvalidSpec(f"{address[:80]!r} names no host: expected {FORMS}")
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.password:
        raise InvalidSpec(f"{address[:80]!r}: only a host and a port, and no password")
    _port(address)
    if scheme == "tcp" and not certificates.in_clear:
        _check_pair(certificates)


def _check_managers(address: str, rest: str) -> None:
    from swarmlite.client.reach.managers import parse

    try:
        parse(rest)
    except ValueError as error:
        raise InvalidSpec(f"{address[:80]!r}: expected swarm://MANAGER[:PORT][,...]") from error


def _check_pair(certificates: Certificates) -> None:
    if (certificates.cert is None) != (certificates.key is None):
        raise InvalidSpec("a client's certificate and its key go together: give both or neither")


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError as error:
        raise InvalidSpec(f"{address[:80]!r} is not a node's address: {error}") from error


def _port(address: str) -> int | None:
    try:
        return _split(address).port
    except ValueError as error:
        raise InvalidSpec(f"{address[:80]!r}: a port is a number up to 65535") from error
