"""Which registries are spoken to how: by the environment, and by a section of swarmlite.toml.

[registries]
mirrors = ["https://mirror.example"]     # of docker.io, asked first
insecure = ["10.0.0.0/8", "reg:5000"]
strict-token-servers = true              # logins go to token servers of the registry's site only
[registries."ghcr.io"]
mirrors = ["https://cache.example:5000"]
insecure = true
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yarl import URL

from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.model.references import DEFAULT_DOMAIN
from swarmlite.storage.images import configfile, proxies

DEFAULT_CERTS_DIR = Path("/etc/swarmlite/certs.d")
DOCKERS_CERTS_DIR = Path("/etc/docker/certs.d")


@dataclass(frozen=True)
class RegistrySettings:
    """How to reach registries.

    `insecure`: HOST, HOST:PORT or CIDR of registries that may speak plain HTTP or have a
    certificate of an unknown CA; loopback always may. `certs_dir`: HOST:PORT/*.crt below it are
    CAs of that registry, HOST:PORT/NAME.cert and NAME.key a certificate to show it;
    `more_certs_dirs` are looked into where it has nothing. `mirrors` are URLs by registry, asked
    before it for what is pulled. `retries` are per request, without progress; the first waits
    `backoff_s`, each further one twice as long; a registry that says how long is believed up to
    `max_told_s`. `strict_token_servers`: credentials go to a token server of the same site only.
    """

    insecure: tuple[str, ...] = ()
    certs_dir: Path = DEFAULT_CERTS_DIR
    retries: int = 5
    backoff_s: float = 0.5
    max_backoff_s: float = 20.0
    max_told_s: float = 120.0
    connect_timeout_s: float = 10.0
    stall_timeout_s: float = 30.0
    slowest_bytes_s: int = 512
    """A registry that sends less for four times `stall_timeout_s` is given up."""
    mirrors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    strict_token_servers: bool = False
    upload_chunk_bytes: int = 64 << 20
    more_certs_dirs: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Where proxies are named: http_proxy, https_proxy, no_proxy, in either case."""

    @classmethod
    def from_environment(cls) -> RegistrySettings:
        """SWARMLITE_INSECURE_REGISTRIES (comma separated), SWARMLITE_CERTS_DIR, and the file that
        SWARMLITE_SETTINGS names, or /etc/swarmlite/swarmlite.toml where it is there.

        Raises InvalidSpec that names the file and the key.
        """
        named = os.environ.get("SWARMLITE_INSECURE_REGISTRIES", "")
        file = _File.read()
        insecure = [part.strip() for part in named.split(",") if part.strip()]
        return cls(
            (*insecure, *file.insecure),
            Path(os.environ.get("SWARMLITE_CERTS_DIR", DEFAULT_CERTS_DIR)),
            mirrors=file.mirrors,
            strict_token_servers=file.strict,
            more_certs_dirs=(DOCKERS_CERTS_DIR,),
            environment=proxies.variables(os.environ),
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

    def mirrors_of(self, domain: str) -> tuple[URL, ...]:
        """Registries to ask before that of `domain`."""
        return tuple(URL(url) for url in self.mirrors.get(domain, ()))

    def proxy_for(self, url: URL) -> URL | None:
        """The proxy of the environment for a request; None goes straight there."""
        return proxies.proxy_for(url, self.environment)

    def ca_file(self, host: str) -> Path | None:
        """The first CA of `host`, where one was laid down for it."""
        found = self._files(host, ".crt")
        return found[0] if found else None

    def _files(self, host: str, suffix: str) -> list[Path]:
        for folder in (self.certs_dir, *self.more_certs_dirs):
            try:
                found = sorted((folder / host).glob(f"*{suffix}"))
            except OSError:
                continue
            if found:
                return found
        return []

    def tls(self, host: str) -> ssl.SSLContext:
        """A context for `host`; raises FailedPrecondition for a CA file that is none."""
        context = ssl.create_default_context()
        # Python turns this on since 3.13. Docker, and Python before, take authorities that have
        # no key usage or key identifier, as many a private registry's: so do we, on every Python.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        authorities = self._files(host, ".crt")
        for file in authorities:
            try:
                context.load_verify_locations(file)
            except (ssl.SSLError, OSError) as error:
                raise FailedPrecondition(f"{file} is not a PEM certificate: {error}") from error
        if not authorities and self.is_insecure(host):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        for certificate in self._files(host, ".cert"):
            key = certificate.with_suffix(".key")
            try:
                context.load_cert_chain(certificate, key)
            except (ssl.SSLError, OSError) as error:
                raise FailedPrecondition(
                    f"{certificate} and {key.name} are not a PEM certificate and its key: {error}"
                ) from error
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


@dataclass
class _File:
    """The `registries` section of swarmlite.toml."""

    insecure: list[str] = field(default_factory=list)
    mirrors: dict[str, tuple[str, ...]] = field(default_factory=dict)
    strict: bool = False

    @classmethod
    def read(cls) -> _File:
        """Of the file that is named, or the usual one. Raises InvalidSpec."""
        try:
            return cls._parse(configfile.section("registries"))
        except InvalidSpec as error:
            if str(error).startswith(str(configfile.path())):
                raise
            raise InvalidSpec(f"{configfile.path()}: registries: {error}") from error

    @classmethod
    def _parse(cls, section: dict[str, Any]) -> _File:
        found = cls()
        for key, value in section.items():
            if isinstance(value, dict):
                found._registry(key, value)
            elif key == "insecure":
                found.insecure += _texts(key, value)
            elif key == "mirrors":
                found.mirrors[DEFAULT_DOMAIN] = _urls(key, value)
            elif key == "strict-token-servers":
                found.strict = _truth(key, value)
            else:
                raise InvalidSpec(
                    f"unknown key {key!r}: use insecure, mirrors, strict-token-servers or a table "
                    "named as a registry"
                )
        return found

    def _registry(self, host: str, table: dict[str, Any]) -> None:
        for key, value in table.items():
            where = f"{host}.{key}"
            if key == "mirrors":
                self.mirrors[host] = _urls(where, value)
            elif key == "insecure":
                self.insecure += [host] if _truth(where, value) else []
            else:
                raise InvalidSpec(f"unknown key {where!r}: use insecure or mirrors")


def _texts(key: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise InvalidSpec(f"{key} is not a list of strings")
    return value


def _urls(key: str, value: Any) -> tuple[str, ...]:
    texts = _texts(key, value)
    for text in texts:
        if not text.startswith(("https://", "http://")) or not URL(text).host:
            raise InvalidSpec(f"{key}: {text[:80]!r} is not an http or https URL")
    return tuple(texts)


def _truth(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidSpec(f"{key} is neither true nor false")
    return value
