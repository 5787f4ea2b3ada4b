"""Renews this node's certificate between 50 and 80% of its life, from any manager."""

from __future__ import annotations

import asyncio
import datetime
import logging
import random
from collections.abc import Callable
from pathlib import Path

import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from swarmlite import rpc
from swarmlite.agent.managers import ManagerList
from swarmlite.errors import SwarmliteError
from swarmlite.kernel import durable
from swarmlite.proto.ca_pb2 import IssueNodeCertificateRequest, IssueNodeCertificateResponse
from swarmlite.proto.ca_pb2_grpc import CAStub

log = logging.getLogger(__name__)

RETRY_S = 60.0
CHECK_S = 3600.0
CALL_TIMEOUT_S = 15.0


class Renewal:
    """Watches the certificate's life; `renewed` is called once a new one is in place."""

    def __init__(
        self,
        certificates_dir: Path,
        managers: ManagerList,
        channel: Callable[[str], grpc.aio.Channel],
        renewed: Callable[[], None],
    ) -> None:
        """`channel` opens a connection with the certificate that is in place."""
        self._dir = certificates_dir
        self._managers = managers
        self._channel = channel
        self._renewed = renewed

    async def run(self) -> None:
        """Ends only by cancellation."""
        due = self._due()
        while True:
            delay = due - datetime.datetime.now(datetime.UTC)
            await asyncio.sleep(min(max(delay.total_seconds(), 0.0), CHECK_S))
            if datetime.datetime.now(datetime.UTC) < due:
                continue
            try:
                await self.renew()
                due = self._due()
            except (SwarmliteError, OSError) as error:  # OSError: a disk that is full, say
                log.warning("certificate not renewed error=%s", error)
                await asyncio.sleep(RETRY_S)

    async def renew(self) -> None:
        """A new key and certificate, now. Raises SwarmliteError, OSError; the old one stays."""
        key = ec.generate_private_key(ec.SECP256R1())
        response = await self._issue(_request(key))
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        self._replace(pem, response.certificate)
        log.info("certificate renewed node=%s", response.node_id)
        self._renewed()

    async def _issue(self, csr: bytes) -> IssueNodeCertificateResponse:
        address, _ = self._managers.next()
        channel = self._channel(address)
        try:
            with rpc.translated(f"manager {address}"):
                response: IssueNodeCertificateResponse = await CAStub(channel).IssueNodeCertificate(
                    IssueNodeCertificateRequest(csr=csr), timeout=CALL_TIMEOUT_S
                )
                return response
        finally:
            await channel.close()

    def _replace(self, key: bytes, certificate: bytes) -> None:
        """The key first; `finish_replacement` completes what a crash in between leaves."""
        files = {self._dir / "node.key": key, self._dir / "node.crt": certificate}
        try:
            for path, content in files.items():
                durable.create(durable.scratch_of(path), content)
        except OSError:
            for path in files:
                durable.remove(durable.scratch_of(path), sync=False)
            raise
        for path in files:
            durable.replace(durable.scratch_of(path), path)

    def _due(self) -> datetime.datetime:
        certificate = x509.load_pem_x509_certificate((self._dir / "node.crt").read_bytes())
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        return begin + (end - begin) * random.uniform(0.5, 0.8)


def finish_replacement(certificates_dir: Path) -> None:
    """Complete a change of key and certificate that a crash interrupted between its two renames."""
    pending = certificates_dir / ".node.crt.new"
    if pending.exists() and not (certificates_dir / ".node.key.new").exists():
        pending.replace(certificates_dir / "node.crt")


def _request(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A CSR; the CA knows the name and role from the certificate of the connection."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "swarm-node")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
