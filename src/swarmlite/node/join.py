"""`swarm join`, as a one-shot: trust the root by the token's digest, then ask for a certificate.

The manager is first taken for whoever it says it is, and asked for nothing but the root
certificate; only when its digest is the token's does the token itself go out, over a connection
that is checked against that root.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import socket
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc

from swarmlite import rpc
from swarmlite.errors import (
    FailedPrecondition,
    PermissionDenied,
    ResourceExhausted,
    SwarmliteError,
    Unavailable,
)
from swarmlite.identity.files import Identity, make_certificates
from swarmlite.identity.node import MANAGER, WORKER, NodeIdentity
from swarmlite.manager import storekeys
from swarmlite.manager.ca import anyone, tokens
from swarmlite.manager.ca.root import new_request
from swarmlite.paths import Paths
from swarmlite.proto import ca_pb2 as pb
from swarmlite.proto.ca_pb2_grpc import CAStub
from swarmlite.proto.types_pb2 import NodeRole
from swarmlite.storage import trees

from . import addresses, etcdcmd, externaletcd, init, oneshot, settings

CONNECT_TIMEOUT_S = 5.0
CALL_TIMEOUT_S = 60.0
"""A manager that is reached answers, if slowly."""


async def join(
    paths: Paths, request: Mapping[str, Any], progress: oneshot.Progress
) -> dict[str, Any]:
    """This node in the cluster of `remote`. Raises swarmlite's errors; then nothing has changed."""
    identity = Identity(paths)
    if identity.read() is not None:
        raise FailedPrecondition(init.ALREADY_IN_SWARM)
    token = tokens.parse(str(request.get("token") or ""))
    remote = addresses.join(*addresses.split(str(request.get("remote") or ""), "HOST:PORT"))
    progress(f"asking {remote} for its certificate")
    leaf, own_ip = await asyncio.to_thread(presented, remote)
    request = {"advertise_addr": own_ip, **{k: v for k, v in request.items() if v}}
    advertise, listen, data_path = addresses.advertised(request)
    root = await root_certificate(remote, leaf, token)
    folder = identity.scratch()
    try:
        key, csr = new_request()
        answer = await _issued(remote, root, str(token), csr, request, advertise, data_path)
        certificates = folder / "certificates"
        make_certificates(certificates, roots=root, key=key, certificate=answer.certificate)
        node = _identity(answer, remote, advertise, listen, data_path)
        if node.manager:
            progress("opening the managers' store")
            scratch = Paths(folder, paths.run_dir)
            node = await _become_manager(remote, scratch, node, request.get("etcd_missing"))
        identity.put_in_place(folder, node)
    finally:
        trees.sweep(folder)
    return {"node_id": answer.node_id, "role": node.role, "managers": len(answer.managers)}


def presented(remote: str) -> tuple[bytes, str]:
    """The certificate that the remote shows, PEM and not trusted yet; this host's address to it."""
    host, port = addresses.split(remote, "HOST:PORT")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder, "crt"), Path(folder, "key")
        certificate.write_bytes(anyone.CERT)
        key.write_bytes(anyone.key())
        context.load_cert_chain(certificate, key)
    try:
        with socket.create_connection((host, port), CONNECT_TIMEOUT_S) as plain:
            own_ip = plain.getsockname()[0]
            with context.wrap_socket(plain) as secured:
                der = secured.getpeercert(binary_form=True)
    except ssl.SSLError as error:
        raise FailedPrecondition(f"{remote} is not a manager: it speaks no TLS there") from error
    except TimeoutError as error:
        raise Unavailable(
            f"{remote} does not answer: is it a manager, and does a firewall let port {port} pass?"
        ) from error
    except OSError as error:
        raise Unavailable(f"cannot reach {remote}: {error.strerror or error}") from error
    assert der is not None
    return ssl.DER_cert_to_PEM_cert(der).encode(), str(own_ip)


async def root_certificate(remote: str, leaf: bytes, token: tokens.JoinToken) -> bytes:
    """The cluster's root, once its digest is the token's. Raises PermissionDenied else."""
    # The certificate that was shown is the whole trust of this one call.
    try:
        question = pb.GetRootCertificateRequest()
        answer = await ask(remote, leaf, "GetRootCertificate", question, peer="it")
    except (PermissionDenied, ResourceExhausted):
        raise  # a manager's own word
    except SwarmliteError as error:
        raise Unavailable(
            f"{remote} does not answer as a manager of a swarm does: {error}"
        ) from error
    root: bytes = answer.ca_cert
    if tokens.digest(root) != token.ca_digest:
        raise PermissionDenied(
            f"remote CA does not match fingerprint: {remote} is of another cluster than the token"
        )
    return root


async def _issued(
    remote: str, root: bytes, token: str, csr: bytes, request: Mapping[str, Any],
    advertise: str, data_path: str,
) -> Any:  # fmt: skip
    message = pb.IssueNodeCertificateRequest(
        token=token,
        csr=csr,
        availability=settings.availability(request),
        advertise_addr=advertise,
    )
    message.description.hostname, architecture = init.hostname_and_platform()
    message.description.platform.architecture = architecture
    message.description.platform.os = "linux"
    message.description.data_path_addr = data_path
    return await ask(remote, root, "IssueNodeCertificate", message)


async def ask(remote: str, trusted: bytes, method: str, message: Any, peer: str = "") -> Any:
    """A call of ca.proto's, by who has no certificate yet. Raises swarmlite's errors, in which
    `peer` is what the other end is called.
    """
    credentials = grpc.ssl_channel_credentials(trusted, anyone.key(), anyone.CERT)
    channel = rpc.channel_with([remote], credentials, more=rpc.PATIENT)
    try:
        with rpc.translated(peer or f"manager {remote}"):
            return await getattr(CAStub(channel), method)(message, timeout=CALL_TIMEOUT_S)
    finally:
        await channel.close()


def _identity(
    answer: Any, remote: str, advertise: str, listen: str, data_path: str
) -> NodeIdentity:
    managers = [peer.addr for peer in answer.managers if peer.addr != advertise]
    manager = answer.role == NodeRole.MANAGER
    if manager:
        managers.append(advertise)
    return NodeIdentity(
        node_id=answer.node_id,
        cluster_id=answer.cluster_id,
        role=MANAGER if manager else WORKER,
        hostname=socket.gethostname(),
        advertise_addr=advertise,
        listen_addr=listen,
        data_path_addr=data_path,
        data_path_port=answer.vxlan_udp_port,
        managers=tuple(managers or [remote]),
        etcd=None,
        etcd_endpoints=(),
    )


async def _become_manager(
    remote: str, scratch: Paths, node: NodeIdentity, etcd_missing: str | None
) -> NodeIdentity:
    """Take over what opens the store. What fails is reported to the cluster."""
    channel = rpc.secure_channel([remote], scratch.certificates_dir, more=rpc.PATIENT)
    try:
        init.check_free(node.listen_addr)
        return dataclasses.replace(node, **await opened(remote, scratch, node, etcd_missing))
    except SwarmliteError:
        # The first error is the one to tell, whether or not the cluster hears of it.
        with contextlib.suppress(SwarmliteError), rpc.translated():
            await CAStub(channel).LeaveCluster(
                pb.LeaveClusterRequest(force=True), timeout=CALL_TIMEOUT_S
            )
        raise
    finally:
        await channel.close()


async def opened(
    remote: str, paths: Paths, node: NodeIdentity, etcd_missing: str | None
) -> dict[str, Any]:
    """The store's keys into `paths`, and what node.json is to say of the store: the learner, just
    added, that this node's etcd will be, or the etcd that was there before the cluster.
    """
    answer = await storekeys.asked(remote, paths.certificates_dir)
    storekeys.KeptKeys(paths.store_keys_file).add(storekeys.from_messages(answer.keys))
    if answer.HasField("external_etcd"):
        return await _external(answer.external_etcd, paths)
    if etcd_missing:
        raise FailedPrecondition(etcd_missing)
    client, peer = init.member_urls(node.advertise_addr)
    channel = rpc.secure_channel([remote], paths.certificates_dir, more=rpc.PATIENT)
    try:
        request = pb.AddMemberRequest(name=node.node_id, peer_url=peer)
        with rpc.translated(f"manager {remote}"):
            added = await CAStub(channel).AddMember(request, timeout=CALL_TIMEOUT_S)
    finally:
        await channel.close()
    member = {
        "name": node.node_id,
        "client_url": client,
        "peer_url": peer,
        "initial_cluster": added.initial_cluster,
        "initial_cluster_state": "existing",
    }
    etcdcmd.await_first_start(paths.etcd_dir)
    return init.store_of(member, None)


async def _external(said: pb.ExternalEtcd, paths: Paths) -> dict[str, Any]:
    external = externaletcd.of_message(said)
    await asyncio.to_thread(externaletcd.reached, external)  # from this host, with its firewall
    externaletcd.install(external, paths.external_etcd_dir)
    return init.store_of(None, external)


if __name__ == "__main__":
    os.umask(0o077)
    oneshot.main(join)
