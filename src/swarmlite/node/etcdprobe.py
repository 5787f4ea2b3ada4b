"""An etcd that exists, tried over TLS: what its certificates say and whether it takes ours.

The standard library only, for `doctor` too.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import tempfile
from collections.abc import Sequence
from pathlib import Path

from swarmlite.errors import FailedPrecondition, InvalidSpec, Unavailable

WAIT_S = 5.0
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""What a client of HTTP/2 begins with, and empty settings: the server answers its own."""
WANTS_CERTIFICATE = "asks for a client certificate that it trusts: give --etcd-cert and --etcd-key"


def context_of(ca: bytes, cert: bytes, key: bytes) -> ssl.SSLContext:
    """What trusts `ca`, and shows `cert`. Raises InvalidSpec naming the flag that is wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # names are compared by `names` and `common_name`
    context.set_alpn_protocols(["h2"])
    try:
        context.load_verify_locations(cadata=ca.decode())
    except (ValueError, ssl.SSLError) as error:
        raise InvalidSpec("--etcd-ca-cert: not a certificate in PEM form") from error
    if not cert:
        return context
    with tempfile.TemporaryDirectory() as folder:  # Python loads them from files only
        files = Path(folder, "cert"), Path(folder, "key")
        for path, content in zip(files, (cert, key), strict=True):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "wb") as output:
                output.write(content)
        try:
            context.load_cert_chain(*files)
        except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
            raise InvalidSpec(
                "--etcd-cert, --etcd-key: not a certificate and its key in PEM form, unencrypted"
            ) from error
    return context


def names(address: str, context: ssl.SSLContext) -> frozenset[str]:
    """The names in the certificate of the server at HOST:PORT, once it takes ours.

    Raises Unavailable where nobody answers, FailedPrecondition where it or we are not trusted.
    """
    host, _, port = address.rpartition(":")
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), WAIT_S) as plain,
            context.wrap_socket(plain) as secured,
        ):
            shown = secured.getpeercert() or {}
            # By TLS 1.3 a client learns that it is refused when it reads first.
            secured.sendall(_PREFACE)
            if not secured.recv(1):
                raise FailedPrecondition(f"etcd at {address} {WANTS_CERTIFICATE}")
    except ssl.SSLCertVerificationError as error:
        raise FailedPrecondition(
            f"etcd at {address} shows a certificate that --etcd-ca-cert did not sign"
            f" ({error.verify_message})"
        ) from error
    except ssl.SSLError as error:
        if "WRONG_VERSION" in str(error) or "HTTP_REQUEST" in str(error):
            raise FailedPrecondition(f"etcd at {address} speaks no TLS") from error
        raise FailedPrecondition(f"etcd at {address} {WANTS_CERTIFICATE} ({error})") from error
    except ConnectionResetError as error:
        raise FailedPrecondition(f"etcd at {address} {WANTS_CERTIFICATE}") from error
    except OSError as error:
        why = error.strerror or error
        raise Unavailable(f"etcd at {address} cannot be reached: {why}") from error
    alternatives: Sequence[tuple[str, str]] = shown.get("subjectAltName", ())  # type: ignore[assignment]
    return frozenset(value for kind, value in alternatives if kind in ("DNS", "IP Address"))


def common_name(shown: dict[str, frozenset[str]]) -> str:
    """A name that the certificates of all addresses bear: gRPC compares with one.

    Raises FailedPrecondition where a certificate is not of its address, or none is common.
    """
    for address, known in shown.items():
        host = address.rpartition(":")[0].strip("[]")
        if not _is_named(host, known):
            owners = ", ".join(sorted(known)) or "nobody"
            raise FailedPrecondition(
                f"the certificate of etcd at {address} is for {owners}, and not for {host}"
            )
    hosts = [address.rpartition(":")[0].strip("[]") for address in shown]
    everywhere = frozenset.intersection(*shown.values())
    for name in [*hosts, *sorted(everywhere, key=_is_address)]:
        if "*" not in name and all(_is_named(name, known) for known in shown.values()):
            return name
    raise FailedPrecondition(
        f"the certificates of etcd at {', '.join(shown)} have no name in common: give them one"
        " (a DNS name, say etcd.internal) besides their own"
    )


def _is_named(host: str, known: frozenset[str]) -> bool:
    if host in known:
        return True
    first, _, rest = host.partition(".")
    return bool(first) and not _is_address(host) and f"*.{rest}" in known


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
