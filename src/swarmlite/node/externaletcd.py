"""An etcd that exists, as the store of a cluster: what the flags say, tried before it is used.

`asked` reads the flags, `reached` finds the name that its certificates share, `checked` asks it
whether it does. What is refused is refused with what would be right, and nothing is written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from swarmlite.errors import FailedPrecondition, InvalidSpec, SwarmliteError, Unavailable

from . import addresses, etcdprobe, etcdversions

if TYPE_CHECKING:
    from collections.abc import Callable

    from swarmlite.manager.store.etcd_client import EtcdClient
    from swarmlite.proto.ca_pb2 import ExternalEtcd

FLAGS = ("etcd_prefix", "etcd_ca_cert", "etcd_cert", "etcd_key")
CLIENT_PORT = 2379
_PREFIX = re.compile(r"(/[A-Za-z0-9._-]{1,63}){1,4}")


@dataclasses.dataclass(frozen=True)
class External:
    """An etcd, and how to speak with it."""

    endpoints: tuple[str, ...]
    """HOST:PORT."""
    prefix: str
    ca_cert: bytes
    cert: bytes
    key: bytes
    server_name: str = ""
    """In the certificates of all endpoints; empty without TLS."""

    def as_identity(self) -> dict[str, str]:
        """node.json's "external_etcd"."""
        return {"prefix": self.prefix, "server_name": self.server_name}


def of_message(said: ExternalEtcd) -> External:
    """As another manager says it."""
    return External(
        tuple(said.endpoints), said.prefix, said.ca_cert, said.cert, said.key, said.server_name
    )


def asked(request: Mapping[str, Any]) -> External | None:
    """What the flags name; None without --etcd-endpoints. Raises InvalidSpec naming the flag."""
    urls = request.get("etcd_endpoints") or []
    if not urls:
        for flag in FLAGS:
            if request.get(flag):
                raise InvalidSpec(f"--{flag.replace('_', '-')} is only valid with --etcd-endpoints")
        return None
    secure, endpoints = _endpoints(urls)
    ca, cert, key = (str(request.get(flag) or "").encode() for flag in FLAGS[1:])
    if secure and not ca:
        raise InvalidSpec("--etcd-endpoints: https needs --etcd-ca-cert, the CA of etcd itself")
    if not secure and (ca or cert or key):
        raise InvalidSpec("--etcd-ca-cert, --etcd-cert and --etcd-key are of https:// endpoints")
    if bool(cert) != bool(key):
        raise InvalidSpec("--etcd-cert and --etcd-key go together")
    prefix = str(request.get("etcd_prefix") or "").rstrip("/")
    if prefix and not _PREFIX.fullmatch(prefix):
        raise InvalidSpec(
            f"--etcd-prefix: {prefix!r} is not a prefix: expected /NAME or /NAME/NAME, of letters,"
            " digits, dots, dashes and underscores"
        )
    return External(endpoints, prefix, ca, cert, key)


def _endpoints(urls: Sequence[Any]) -> tuple[bool, tuple[str, ...]]:
    schemes, found = set(), []
    for text in urls:
        url = urlsplit(str(text))
        if url.scheme not in ("http", "https") or not url.hostname or url.path.strip("/"):
            raise InvalidSpec(
                f"--etcd-endpoints: {text!r} is not a URL: expected https://HOST[:PORT]"
            )
        if url.scheme == "http" and not _is_loopback(url.hostname):
            raise InvalidSpec(
                f"--etcd-endpoints: {text}: without TLS anybody on the way reads and writes the"
                " cluster's state: use https, or an etcd on this host's loopback"
            )
        schemes.add(url.scheme)
        try:
            port = url.port or CLIENT_PORT
        except ValueError as error:
            raise InvalidSpec(f"--etcd-endpoints: {text}: {error}") from error
        found.append(addresses.join(url.hostname, port))
    if len(schemes) > 1:
        raise InvalidSpec("--etcd-endpoints: https and http do not mix")
    return schemes == {"https"}, tuple(dict.fromkeys(found))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def reached(external: External) -> External:
    """With the name of its certificates, once each endpoint takes ours. Blocks.

    Raises Unavailable, FailedPrecondition, InvalidSpec.
    """
    if not external.ca_cert:
        return external
    context = etcdprobe.context_of(external.ca_cert, external.cert, external.key)
    shown = {address: etcdprobe.names(address, context) for address in external.endpoints}
    return dataclasses.replace(external, server_name=etcdprobe.common_name(shown))


def install(external: External, folder: Path) -> None:
    """Its files, for the client (Paths.external_etcd_dir of a scratch folder)."""
    from swarmlite.manager.store import place
    from swarmlite.proto.ca_pb2 import ExternalEtcd

    message = ExternalEtcd(ca_cert=external.ca_cert, cert=external.cert, key=external.key)
    place.install(message, folder)


def client(external: External, folder: Path) -> EtcdClient:
    """By the files that `install` has put into `folder`."""
    from swarmlite.manager.store.etcd_client import EtcdClient

    return EtcdClient(
        external.endpoints,
        folder,
        server_name=external.server_name,
        prefix=external.prefix.encode(),
    )


async def checked(external: External, folder: Path, warn: Callable[[str], None]) -> None:
    """Raises FailedPrecondition for one that is too old, holds a cluster's keys already, or lets
    us not write; Unavailable.
    """
    for endpoint in external.endpoints:
        one = client(dataclasses.replace(external, endpoints=(endpoint,)), folder)
        try:
            with _of(endpoint):
                _check_version(endpoint, (await one.status()).version, warn)
        finally:
            await one.close()
    whole = client(external, folder)
    try:
        with _of(", ".join(external.endpoints), external.prefix):
            await _check_empty(whole, external)
            await _check_writable(whole)
    finally:
        await whole.close()


def _check_version(endpoint: str, shown: str, warn: Callable[[str], None]) -> None:
    version = etcdversions.parsed(shown)
    if version is None:
        raise FailedPrecondition(f"etcd at {endpoint} is of the unknown version {shown!r}")
    wrong = etcdversions.wrong(version)
    if wrong is not None:
        raise FailedPrecondition(f"etcd at {endpoint}: {wrong}")
    known = etcdversions.known_faults(version)
    if known is not None:
        warn(f"warning: etcd at {endpoint}: {known}")


async def _check_empty(whole: EtcdClient, external: External) -> None:
    from swarmlite.manager.store.etcd_mirror import PREFIX, objects_prefixes

    if await whole.any_of(objects_prefixes()) is None:
        return
    below = external.prefix + PREFIX.decode()
    raise FailedPrecondition(
        f"etcd holds another cluster's keys below {below}: choose another --etcd-prefix, or, if"
        f" that cluster is gone for good, remove them (etcdctl del --prefix {below})"
    )


async def _check_writable(whole: EtcdClient) -> None:
    """A key under a lease, as managers hold them, and its removal."""
    from swarmlite.manager.store.etcd_mirror import CHECKS

    lease = await whole.grant(60)
    await whole.put(CHECKS + b"init", b"", lease)
    await whole.revoke(lease)


@contextlib.contextmanager
def _of(endpoints: str, prefix: str = "") -> Any:
    """What etcd's authentication answers, in words that say what to do."""
    try:
        yield
    except SwarmliteError as error:
        text = str(error)
        if "user name is empty" in text or "invalid auth token" in text:
            raise FailedPrecondition(
                f"etcd at {endpoints} asks for a user (its authentication is on): give --etcd-cert"
                " with the user's name as its CN, which etcd --client-cert-auth takes for it"
            ) from error
        if "permission denied" in text:
            raise FailedPrecondition(
                f"etcd at {endpoints} does not let this certificate's user write below"
                f" {prefix}/swarmlite/: etcdctl role grant-permission ROLE readwrite --prefix=true"
                f" {prefix}/swarmlite/"
            ) from error
        if isinstance(error, Unavailable):
            raise Unavailable(f"etcd at {endpoints}: {error}") from error
        raise
