"""Where a manager's store is: in its own member of etcd, or in an etcd that was there before."""

from __future__ import annotations

from pathlib import Path

from swarmlite.errors import FailedPrecondition
from swarmlite.identity.certificates import Certificates, stamp_of
from swarmlite.identity.node import NodeIdentity
from swarmlite.manager.storekeys import write_private
from swarmlite.paths import Paths
from swarmlite.proto import ca_pb2 as pb

from .etcd_client import EtcdClient


def client_of(node: NodeIdentity, paths: Paths) -> EtcdClient:
    """A client of a manager's store. Raises FailedPrecondition without its certificates."""
    external = node.external_etcd
    if external is None:
        return EtcdClient(node.etcd_endpoints, paths.certificates_dir)
    return EtcdClient(
        node.etcd_endpoints,
        paths.external_etcd_dir,
        server_name=external["server_name"],
        prefix=external["prefix"].encode(),
    )


def stamp(node: NodeIdentity, paths: Paths) -> object:
    """Another one whenever what the client connects with was replaced. Raises OSError."""
    if node.external_etcd is None:
        return Certificates(paths.certificates_dir).stamp()
    return [stamp_of(path) for path in sorted(paths.external_etcd_dir.iterdir())]


def to_message(node: NodeIdentity, paths: Paths) -> pb.ExternalEtcd | None:
    """What another manager needs to open the same store; None where it gets a member of its own.

    Raises FailedPrecondition when it cannot be read.
    """
    external = node.external_etcd
    if external is None:
        return None
    message = pb.ExternalEtcd(
        endpoints=node.etcd_endpoints,
        prefix=external["prefix"],
        server_name=external["server_name"],
    )
    folder = paths.external_etcd_dir
    try:
        if message.server_name:
            message.ca_cert = (folder / "ca.crt").read_bytes()
        if (folder / "node.crt").exists():
            message.cert = (folder / "node.crt").read_bytes()
            message.key = (folder / "node.key").read_bytes()
    except OSError as error:
        raise FailedPrecondition(f"cannot read {error.filename}: {error.strerror}") from error
    return message


def install(message: pb.ExternalEtcd, folder: Path) -> None:
    """Its files in `folder` (Paths.external_etcd_dir), which nobody reads yet. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    contents = {"ca.crt": message.ca_cert, "node.crt": message.cert, "node.key": message.key}
    for name, content in contents.items():
        write_private(folder / name, content)
