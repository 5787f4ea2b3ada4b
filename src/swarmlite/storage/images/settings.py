"""Which registries are spoken to how."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swarmlite.errors import FailedPrecondition

DEFAULT_CERTS_DIR = Path("/etc/swarmlite/certs.d")


@dataclass(frozen=True)
class RegistrySettings:
    """How to reach registries.

    `insecure`: HOST, HOST:PORT or CIDR of registries that may speak plain HTTP or have a
    certificate of an unknown CA; loopback always may. `certs_dir`: HOST:PORT/ca.crt below it is
    the CA of that registry. `retries` are per request, without progress; the first waits
    `backoff_s`, each further one twice as long.
    """

    insecure: tuple[str, ...] = ()
    certs_dir: Path = DEFAULT_CERTS_DIR
    retries: int = 5
    backoff_s: float = 0.5
    max_backoff_s: float = 20.0
    connect_timeout_s: float = 10.0
    stall_timeout_s: float = 30.0

    @classmethod
    def from_environment(cls) -> RegistrySettings:
        """SWARMLITE_INSECURE_REGISTRIES (comma separated) and SWARMLITE_CERTS_DIR."""
        insecure = os.environ.get("SWARMLITE_INSECURE_REGISTRIES", "")
        return cls(
            tuple(part.strip() for part in insecure.split(",") if part.strip()),
            Path(os.environ.get("SWARMLITE_CERTS_DIR", DEFAULT_CERTS_DIR)),
        )

    def is_insecure(self, host: str) -> bool:
        """Whether `host` (HOST[:PORT]) may speak plain HTTP."""
        name = host_name(host)
        if name == "localhost" or host in self.insecure or name in self.insecure:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or any(address in net for net in _networks(self.insecure))

    def ca_file(self, host: str) -> Path | None:
        """The CA of `host`, where one was laid down for it."""
        path = self.certs_dir / host / "ca.crt"
        return path if path.is_file() else None

    def tls(self, host: str) -> ssl.SSLContext:
        """A context for `host`; raises FailedPrecondition for a CA file that is none."""
        context = ssl.create_default_context()
        # Python turns this on since 3.13. Docker, and Python before, take authorities that have
        # no key usage or key identifier, as many a private registry's: so do we, on every Python.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if ca_file := self.ca_file(host):
            try:
                context.load_verify_locations(ca_file)
            except (ssl.SSLError, OSError) as error:
                raise FailedPrecondition(f"{ca_file} is not a PEM certificate: {error}") from error
        elif self.is_insecure(host):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def host_name(host: str) -> str:
    """HOST of HOST[:PORT], without the brackets of IPv6."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _networks(
    entries: Sequence[str],
) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    networks = []
    for entry in entries:
        if "/" in entry:
            try:
                networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                continue
    return networks
