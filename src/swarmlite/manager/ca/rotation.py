"""Another root in the place of the cluster's: no connection breaks, and no node is left behind.

While it goes on both roots are trusted, and the new one signs; behind each certificate stands the
new root as the old one signed it, so that a node which knows only the old one (it joins, or was
away) finds its way. Every session names the root that the node's certificate is to be of; the
node renews, and reports whose certificate it has. Once every node has one of the new root, that is
the cluster's, with new join tokens, and the old one is trusted no more. A node that is away is
waited for: it comes back with a certificate of the old root. `node rm` ends the wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from swarmlite.errors import FailedPrecondition, SwarmliteError
from swarmlite.identity.issuers import key_id
from swarmlite.proto.objects_pb2 import Cluster, Node

from ..store.api import Fence, Fenced, Put, Resync, Store
from . import tokens
from .root import RootCA

log = logging.getLogger(__name__)

RETRY_S = 1.0


def begin(cluster: Cluster, new: RootCA) -> None:
    """Begin a rotation to `new`, in a copy. Raises FailedPrecondition where one is under way, or
    the present root cannot sign the new one.
    """
    authority = cluster.root_ca
    if authority.HasField("rotation"):
        raise FailedPrecondition(
            "a rotation of the CA is under way: it ends once every node has renewed its"
            " certificate; take nodes that are gone for good out with `swarmlite node rm`"
        )
    if not authority.ca_key:
        raise FailedPrecondition(
            "the present root's key is not here (an external CA has it), so nothing vouches for"
            " another root to the nodes"
        )
    rotation = authority.rotation
    rotation.ca_cert, rotation.ca_key = new.cert, new.key
    rotation.cross_signed = RootCA(authority.ca_cert, authority.ca_key).cross_sign(new.cert)


def trusted(cluster: Cluster) -> bytes:
    """The roots that nodes trust now, PEM."""
    authority = cluster.root_ca
    return authority.ca_cert + authority.rotation.ca_cert


def signer(cluster: Cluster) -> tuple[RootCA, bytes]:
    """The root that signs now, and what stands behind each of its certificates."""
    authority = cluster.root_ca
    if authority.HasField("rotation"):
        rotation = authority.rotation
        return RootCA(rotation.ca_cert, rotation.ca_key), rotation.cross_signed
    return RootCA(authority.ca_cert, authority.ca_key), authority.cross_signed


def issuer(cluster: Cluster) -> str:
    """The key id of the root that signs now."""
    return key_id(signer(cluster)[0].cert)


def behind(cluster: Cluster, nodes: Iterable[Node]) -> list[Node]:
    """Nodes whose certificate is still of another root than the one that signs."""
    wanted = issuer(cluster)
    return [n for n in nodes if n.description.certificate_issuer != wanted and not n.left]


def finish(cluster: Cluster) -> None:
    """The new root is the cluster's, in a copy."""
    authority = cluster.root_ca
    rotation = authority.rotation
    authority.ca_cert, authority.ca_key = rotation.ca_cert, rotation.ca_key
    authority.cross_signed = rotation.cross_signed
    authority.ca_cert_hash = tokens.digest(authority.ca_cert)
    authority.join_tokens.worker = tokens.new_token(authority.ca_cert_hash)
    authority.join_tokens.manager = tokens.new_token(authority.ca_cert_hash)
    authority.last_forced_rotation = cluster.spec.ca.force_rotate
    authority.ClearField("rotation")


async def keep(store: Store, fence: Fence) -> None:
    """A leader's duty: ends a rotation once no node is behind. Raises Fenced; never returns."""
    while True:
        try:
            async with store.subscribe("cluster", "node") as events:
                await _finish_if_due(store, fence)
                async for _ in events:
                    await _finish_if_due(store, fence)
        except Fenced:
            raise
        except (Resync, SwarmliteError) as error:
            log.info("rotation of the CA: %r", error)
        except Exception:
            log.exception("rotation of the CA: what was to be done is left to the next round")
        await asyncio.sleep(RETRY_S)


async def _finish_if_due(store: Store, fence: Fence) -> None:
    cluster = store.view.cluster
    if cluster is None or not cluster.root_ca.HasField("rotation"):
        return
    if behind(cluster, store.view.nodes):
        return
    copy = Cluster()
    copy.CopyFrom(cluster)
    finish(copy)
    await store.commit([Put(copy)], fence)
    log.info("the CA was rotated: every node has a certificate of the new root")
