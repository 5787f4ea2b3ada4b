"""A node's certificate, of whichever root signs now: by its key here, else by an external CA."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from swarmlite.proto.objects_pb2 import Cluster

from . import external, rotation
from .root import NODE_LIFE, Subject, checked_request


async def issue(cluster: Cluster, csr: bytes, subject: Subject) -> bytes:
    """The chain, PEM: the certificate, and behind it the root as an earlier one signed it.

    Raises InvalidSpec for a request that cannot be signed, Unavailable when no external CA signs.
    """
    root, cross_signed = rotation.signer(cluster)
    if root.key:
        return root.issue(csr, subject, life_in(cluster)) + cross_signed
    checked_request(csr)
    signed = await asyncio.to_thread(
        external.sign, list(cluster.spec.ca.external_cas), root.cert, csr, subject
    )
    return signed + cross_signed


def life_in(cluster: Cluster) -> timedelta:
    """How long this cluster's certificates hold."""
    if not cluster.spec.ca.HasField("node_cert_expiry"):
        return NODE_LIFE
    return timedelta(seconds=cluster.spec.ca.node_cert_expiry.seconds) or NODE_LIFE
