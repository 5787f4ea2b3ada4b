"""The CA service: joining, renewing, leaving, and a manager's member of the embedded etcd."""

from __future__ import annotations

import logging
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any, Protocol

from swarmlite.errors import (
    FailedPrecondition,
    InvalidSpec,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from swarmlite.ids import new_id
from swarmlite.model.timestamps import set_now
from swarmlite.model.validate.checks import host_port
from swarmlite.model.validate.reports import bounded_description
from swarmlite.proto import ca_pb2 as pb
from swarmlite.proto import options_pb2
from swarmlite.proto.ca_pb2_grpc import CAServicer
from swarmlite.proto.dispatcher_pb2 import ManagerPeer
from swarmlite.proto.objects_pb2 import Cluster, Node
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.proto.types_pb2 import ManagerStatus, NodeRole, NodeStatus

from .. import auth, storekeys
from ..store.api import Put, Store
from ..store.tables import Tables
from . import issuing, logins, tokens, users
from .root import MANAGER, WORKER, Subject

log = logging.getLogger(__name__)

MAX_FAILURES = 10
"""Wrong tokens that one address may try in FAILURE_WINDOW_S; ten times as many from all."""
FAILURE_WINDOW_S = 60.0
MAX_CSR_BYTES = 64 * 1024
_AVAILABILITIES = set(NodeSpec.Availability.values())


class Members(Protocol):
    """What the service needs of the embedded etcd's membership."""

    async def add(self, node_id: str, peer_url: str) -> pb.AddMemberResponse:
        """Add the node's member as a learner, or answer the one that it has."""

    async def remove(self, node_id: str, member_id: str = "") -> None:
        """Take the node's member out, if there is one; `member_id` is of one that never started."""


class CAService(CAServicer):
    """CA of ca.proto. Raises swarmlite's errors; the server's interceptor translates."""

    def __init__(
        self,
        store: Store,
        members: Members,
        kept: storekeys.KeptKeys,
        clock: Callable[[], float] = time.monotonic,
        external_etcd: Callable[[], pb.ExternalEtcd | None] = lambda: None,
    ) -> None:
        """`external_etcd` is what place.to_message answers for this manager."""
        self._store = store
        self._members = members
        self._kept = kept
        self._external_etcd = external_etcd
        self._failures = Failures(clock)

    async def GetRootCertificate(
        self, request: pb.GetRootCertificateRequest, context: Any
    ) -> pb.GetRootCertificateResponse:
        """See ca.proto."""
        return pb.GetRootCertificateResponse(ca_cert=self._cluster().root_ca.ca_cert)

    async def IssueNodeCertificate(
        self, request: pb.IssueNodeCertificateRequest, context: Any
    ) -> pb.IssueNodeCertificateResponse:
        """See ca.proto. The node's object is written before the certificate is handed out."""
        who = auth.caller(context)
        if request.token:
            node = self._joining(request, self._role_of_token(request.token, who.address))
        elif who.role in (options_pb2.ROLE_WORKER, options_pb2.ROLE_MANAGER):
            node = self._renewing(request, who.node_id)
        else:
            raise PermissionDenied("a join token is needed")
        # Before anything is written: a request that cannot be signed leaves no node behind.
        certificate = await self._signed(request.csr, node)
        await self._store.commit([Put(node)])
        cluster = self._cluster()
        return pb.IssueNodeCertificateResponse(
            node_id=node.id,
            cluster_id=cluster.id,
            role=node.role,
            certificate=certificate,
            managers=managers_of(self._store.view),
            vxlan_udp_port=cluster.vxlan_udp_port,
        )

    async def IssueUserCertificate(
        self, request: pb.IssueUserCertificateRequest, context: Any
    ) -> pb.IssueUserCertificateResponse:
        """See ca.proto. The user is in the cluster's object before the certificate is given."""
        address = auth.caller(context).address
        self._failures.check(address)
        cluster = self._cluster()
        authority = cluster.root_ca
        try:
            login = logins.read(
                request.token, authority.ca_cert_hash, authority.join_tokens.manager, time.time()
            )
        except PermissionDenied:
            self._failures.count(address)
            raise
        if len(request.csr) > MAX_CSR_BYTES:
            raise InvalidSpec(f"the request has {len(request.csr)} bytes, {MAX_CSR_BYTES} at most")
        user_id = new_id()
        subject = Subject(user_id, logins.SUBJECTS[login.role], cluster.id)
        certificate = await issuing.issue(cluster, request.csr, subject)
        await users.add(self._store, user_id, login, request.token, certificate)
        return pb.IssueUserCertificateResponse(
            user_id=user_id,
            cluster_id=cluster.id,
            role=login.role,
            name=login.name,
            certificate=certificate,
            managers=managers_of(self._store.view),
        )

    async def LeaveCluster(
        self, request: pb.LeaveClusterRequest, context: Any
    ) -> pb.LeaveClusterResponse:
        """See ca.proto. The node stays listed as DOWN, a worker from then on, until removed."""
        who = auth.caller(context)
        node = self._node(who.node_id)
        if node.role == NodeRole.MANAGER:
            if not request.force:
                raise FailedPrecondition("a manager leaves the cluster by force only")
            await self._members.remove(node.id, node.manager_status.etcd_member_id)
            node = self._node(who.node_id)
            node.role = node.spec.desired_role = NodeRole.WORKER
            node.ClearField("manager_status")
        node.status.state = NodeStatus.DOWN
        node.status.message = "the node left the cluster"
        node.left = True
        await self._store.commit([Put(node)])
        return pb.LeaveClusterResponse()

    async def AddMember(self, request: pb.AddMemberRequest, context: Any) -> pb.AddMemberResponse:
        """See ca.proto."""
        who = auth.caller(context)
        if request.name != who.node_id:
            raise PermissionDenied("a manager adds only its own member")
        answer = await self._members.add(request.name, request.peer_url)
        node = self._node(who.node_id)
        node.manager_status.etcd_member_id = f"{answer.member_id:x}"
        await self._store.commit([Put(node)])
        return answer

    async def GetStoreKeys(
        self, request: pb.GetStoreKeysRequest, context: Any
    ) -> pb.GetStoreKeysResponse:
        """See ca.proto."""
        log.info("store keys were handed to node=%s", auth.caller(context).node_id)
        return pb.GetStoreKeysResponse(
            keys=storekeys.to_messages(self._kept.keys), external_etcd=self._external_etcd()
        )

    async def TakeStoreKeys(
        self, request: pb.TakeStoreKeysRequest, context: Any
    ) -> pb.TakeStoreKeysResponse:
        """See ca.proto."""
        try:
            self._kept.add(storekeys.from_messages(request.keys))
        except OSError as error:
            raise Unavailable(f"the store's key was not written: {error.strerror}") from error
        return pb.TakeStoreKeysResponse()

    # parts
    def _cluster(self) -> Cluster:
        cluster = self._store.view.cluster
        if cluster is None:
            raise Unavailable("this manager does not know its cluster yet")
        return cluster

    def _node(self, node_id: str) -> Node:
        """A copy of the node's object, to change."""
        stored = self._store.view.nodes.get(node_id)
        if stored is None:
            raise PermissionDenied(f"node {node_id} is not in the cluster")
        node = Node()
        node.CopyFrom(stored)
        return node

    def _role_of_token(self, token: str, address: str) -> NodeRole.ValueType:
        self._failures.check(address)
        join_tokens = self._cluster().root_ca.join_tokens
        # Both are compared, whichever it is: the time tells nothing.
        worker = tokens.equal(token, join_tokens.worker)
        manager = tokens.equal(token, join_tokens.manager)
        if manager:
            return NodeRole.MANAGER
        if worker:
            return NodeRole.WORKER
        self._failures.count(address)
        raise PermissionDenied("the join token is not valid: it may have been rotated")

    def _joining(self, request: pb.IssueNodeCertificateRequest, role: NodeRole.ValueType) -> Node:
        if request.availability not in _AVAILABILITIES:
            raise InvalidSpec(f"unknown availability {request.availability}")
        node = new_node(new_id(), role)
        node.spec.availability = NodeSpec.Availability.ValueType(request.availability)
        node.description.CopyFrom(bounded_description(request.description))
        if role == NodeRole.MANAGER:
            node.manager_status.addr = host_port("advertise address", request.advertise_addr)
        return node

    def _renewing(self, request: pb.IssueNodeCertificateRequest, node_id: str) -> Node:
        node = self._node(node_id)
        if request.follow_role and node.role != node.spec.desired_role:
            if node.role == NodeRole.MANAGER:  # roles.py makes it a worker then
                raise Unavailable("this node's member of etcd is still being taken out")
            node.role = NodeRole.MANAGER
            node.manager_status.reachability = ManagerStatus.REACHABLE
        if node.role == NodeRole.MANAGER and request.advertise_addr:
            addr = host_port("advertise address", request.advertise_addr)
            node.manager_status.addr = addr
        return node

    async def _signed(self, csr: bytes, node: Node) -> bytes:
        if len(csr) > MAX_CSR_BYTES:
            raise InvalidSpec(f"the request has {len(csr)} bytes, {MAX_CSR_BYTES} at most")
        cluster = self._cluster()
        return await issuing.issue(cluster, csr, subject_for(node, cluster))


class Failures:
    """Wrong tokens lately, by address and in all."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_address: defaultdict[str, deque[float]] = defaultdict(deque)
        self._all: deque[float] = deque()

    def check(self, address: str) -> None:
        """Raises ResourceExhausted when there were too many."""
        self._forget()
        tried = self._by_address.get(address, ())
        if len(tried) >= MAX_FAILURES or len(self._all) >= 10 * MAX_FAILURES:
            raise ResourceExhausted("too many wrong join tokens: try again in a minute")

    def count(self, address: str) -> None:
        """One more."""
        now = self._clock()
        self._by_address[address].append(now)
        self._all.append(now)

    def _forget(self) -> None:
        before = self._clock() - FAILURE_WINDOW_S
        while self._all and self._all[0] < before:
            self._all.popleft()
        for address, times in list(self._by_address.items()):
            while times and times[0] < before:
                times.popleft()
            if not times:
                del self._by_address[address]


def new_node(node_id: str, role: NodeRole.ValueType) -> Node:
    """A node that was just accepted."""
    node = Node(id=node_id, role=role)
    node.spec.desired_role = role
    node.spec.membership = NodeSpec.ACCEPTED
    set_now(node.joined_at)
    if role == NodeRole.MANAGER:
        node.manager_status.reachability = ManagerStatus.REACHABLE
    return node


def subject_for(node: Node, cluster: Cluster) -> Subject:
    """The names of the node's certificate. Only managers are reached at an address of theirs."""
    if node.role != NodeRole.MANAGER:
        return Subject(node.id, WORKER, cluster.id)
    host = node.manager_status.addr.rpartition(":")[0].strip("[]")
    return Subject(node.id, MANAGER, cluster.id, (host,) if host else ())


def managers_of(view: Tables) -> list[ManagerPeer]:
    """Every manager's API address."""
    return [
        ManagerPeer(node_id=node.id, addr=node.manager_status.addr)
        for node in view.nodes.managers()
        if node.manager_status.addr
    ]
