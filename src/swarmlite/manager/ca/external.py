"""An external CA that has the root's key, by cfssl's protocol: a signing request over HTTP.

The request is JSON with the CSR, the names that the certificate is to have and the hosts; the
answer is {"success": true, "result": {"certificate": PEM}}. What comes back is checked: whose key
it is, the names in it, and that the cluster's root signed it.
Source: cfssl's doc/api/endpoint_sign.txt.
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from swarmlite.errors import InvalidSpec, SwarmliteError, Unavailable
from swarmlite.identity.subjects import Subject, subject_of
from swarmlite.proto.specs_pb2 import ExternalCA

PROTOCOL = "cfssl"
TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 256 * 1024


def sign(authorities: Sequence[ExternalCA], root: bytes, csr: bytes, subject: Subject) -> bytes:
    """A certificate of `root` for the request, PEM. The first authority that signs is taken.

    Blocks. Raises Unavailable with the last one's reason.
    """
    failure: SwarmliteError = Unavailable("the cluster's root has no key here, nor an external CA")
    for authority in authorities:
        try:
            return _checked(_asked(authority, csr, subject), root, csr, subject, authority.url)
        except Unavailable as error:
            failure = error
    raise failure


def check(authority: ExternalCA) -> None:
    """Raises InvalidSpec for one that cannot be asked."""
    if authority.protocol != PROTOCOL:
        raise InvalidSpec(f"--external-ca: unknown protocol {authority.protocol!r}: use cfssl")
    url = urlsplit(authority.url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise InvalidSpec(
            f"--external-ca: {authority.url!r} is not a URL: expected https://HOST[:PORT]/PATH"
        )
    if authority.ca_cert:
        try:
            x509.load_pem_x509_certificates(authority.ca_cert)
        except ValueError as error:
            raise InvalidSpec("--external-ca: cacert is not a certificate in PEM form") from error


def _asked(authority: ExternalCA, csr: bytes, subject: Subject) -> bytes:
    request = urllib.request.Request(
        authority.url,
        json.dumps(_message(csr, subject, dict(authority.options))).encode(),
        {"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), *_https(authority), _NoRedirects()
    )
    try:
        with opener.open(request, timeout=TIMEOUT_S) as response:
            answer = json.loads(response.read(MAX_ANSWER_BYTES))
        if not answer.get("success"):
            raise Unavailable(f"{authority.url} did not sign: {_reasons(answer)}")
        return str(answer["result"]["certificate"]).encode()
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(MAX_ANSWER_BYTES)
        raise Unavailable(
            f"{authority.url} did not sign: {error.code} {_reasons_in(said)}"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = getattr(error, "reason", None) or error
        raise Unavailable(f"{authority.url} did not sign: {reason}") from error


def _https(authority: ExternalCA) -> list[urllib.request.HTTPSHandler]:
    if urlsplit(authority.url).scheme != "https":
        return []
    text = authority.ca_cert.decode() or None
    context = ssl.create_default_context(cadata=text)
    return [urllib.request.HTTPSHandler(context=context)]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any, **options: Any) -> None:
        """Nowhere: the request goes to whom the user named only."""
        return


def _message(csr: bytes, subject: Subject, options: dict[str, str]) -> dict[str, Any]:
    names = [{"O": subject.cluster_id, "OU": subject.role}]
    return {
        **options,
        "certificate_request": csr.decode(),
        "subject": {"CN": subject.node_id, "names": names},
        "hosts": [subject.node_id, subject.role, "localhost", "127.0.0.1", *subject.addresses],
    }


def _reasons(answer: Any) -> str:
    errors = answer.get("errors") or []
    return "; ".join(str(each.get("message")) for each in errors) or "without a reason"


def _reasons_in(said: bytes) -> str:
    try:
        return _reasons(json.loads(said))
    except (ValueError, AttributeError):
        return "without a reason"


def _checked(pem: bytes, root: bytes, csr: bytes, subject: Subject, url: str) -> bytes:
    def refuse(what: str) -> Unavailable:
        return Unavailable(f"{url} signed something else: {what}")

    try:
        certificate = x509.load_pem_x509_certificate(pem)
        named = subject_of(pem)[0]
    except (ValueError, InvalidSpec) as error:
        raise refuse("no certificate of a node") from error
    if (named.node_id, named.role, named.cluster_id) != (
        subject.node_id,
        subject.role,
        subject.cluster_id,
    ):
        raise refuse(f"its names are {named.node_id} {named.role} {named.cluster_id}")
    if certificate.public_key() != x509.load_pem_x509_csr(csr).public_key():
        raise refuse("it is of another key")
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(root))
    except (ValueError, TypeError, InvalidSignature) as error:
        raise refuse("it is not of the cluster's root") from error
    return certificate.public_bytes(serialization.Encoding.PEM)
