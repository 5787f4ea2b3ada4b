"""Plain containers on attachable networks: places that a node asks for, kept as tasks.

Such a task runs nothing: the allocator gives it an address, and it is RUNNING from then on, so that
its endpoint reaches the network's nodes as any task's does. It has no service, no loop restarts or
moves it, and it goes when its node gives it back, no longer names it, or is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress

from swarmlite.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidSpec,
    NotFound,
    ResourceExhausted,
    SwarmliteError,
    Unavailable,
)
from swarmlite.ids import new_id
from swarmlite.manager.controlapi.api import resolve
from swarmlite.manager.controlapi.references import subnet_of
from swarmlite.manager.store.api import Delete, Put, Resync, Store, Subscription
from swarmlite.manager.store.tables import Tables
from swarmlite.model import encryption, task_states
from swarmlite.model.timestamps import set_now
from swarmlite.model.validate import checks
from swarmlite.proto.dispatcher_pb2 import (
    AttachContainerRequest,
    AttachContainerResponse,
    DetachContainerRequest,
    HeldAttachment,
)
from swarmlite.proto.objects_pb2 import Network, Node, Task

log = logging.getLogger(__name__)

ALLOCATION_WAIT_S = 10.0
"""How long an attachment waits for its address; a change of leaders takes some four seconds."""

MAX_OF_NODE = 4096
"""Attachments of one node: a bound to what a node that misbehaves can take of the networks."""

MAX_ALIASES = 64


class Attachments:
    """AttachContainer and DetachContainer, for nodes of any manager. Reads and writes the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def attach(
        self, node_id: str, request: AttachContainerRequest
    ) -> AttachContainerResponse:
        """As dispatcher.proto says. Whatever fails, or is cancelled, leaves no attachment."""
        view = self._store.view
        node = view.nodes.get(node_id)
        if node is None:
            raise Unavailable(f"node {node_id} is not known here yet")
        check_request(request)
        network = attachable(view, request.network)
        check_address(network, request.addresses)
        check_encryption(network, node, view.nodes)
        async with self._store.subscribe("task") as events:
            known = next(of_container(view, node_id, request.container_id, network.id), None)
            if known is None:
                check_room(view, node_id)
                allocated = await self._new(new_attachment(node_id, network, request), events)
            else:
                check_same(known, request)
                allocated = await self._again(known, request, events)
        current = self._store.view.networks.get(network.id) or network
        return AttachContainerResponse(attachment=allocated.networks[0], network=current)

    async def _new(self, task: Task, events: Subscription) -> Task:
        try:
            await self._store.commit([Put(task)])
            return await self._allocated(task.id, events)
        except BaseException:
            with suppress(SwarmliteError):
                await asyncio.shield(self._delete([task.id]))
            raise

    async def _again(
        self, known: Task, request: AttachContainerRequest, events: Subscription
    ) -> Task:
        """The answer to a call that is repeated, or that gives the container other names."""
        allocated = await self._allocated(known.id, events)
        task = Task()
        task.CopyFrom(allocated)
        name_attachment(task, request)
        if task != allocated:
            await self._store.commit([Put(task)])
        return task

    async def detach(self, node_id: str, request: DetachContainerRequest) -> None:
        """As dispatcher.proto says."""
        found = of_container(self._store.view, node_id, request.container_id)
        await self._delete(
            [task.id for task in found if not request.network or _is_on(task, request.network)]
        )

    async def _allocated(self, task_id: str, events: Subscription) -> Task:
        try:
            async with asyncio.timeout(ALLOCATION_WAIT_S):
                while True:
                    task = self._store.view.tasks.get(task_id)
                    if task is None:
                        raise FailedPrecondition("the attachment was removed in the meantime")
                    if task.status.state == task_states.RUNNING:
                        return task
                    if task.status.err:
                        raise refusal(task)
                    with suppress(Resync):
                        await anext(aiter(events))
        except TimeoutError as error:
            raise Unavailable(
                f"no address was given within {ALLOCATION_WAIT_S:.0f} s: the managers have no"
                " leader, or it is busy; try again"
            ) from error

    async def _delete(self, task_ids: Iterable[str]) -> None:
        """Delete these attachments as they are by now; what changes meanwhile is tried again."""
        for _ in range(5):
            found = [t for t in map(self._store.view.tasks.get, task_ids) if t is not None]
            if not found or not await self._store.commit_many([Delete(task) for task in found]):
                return
        raise Unavailable("the attachment changes all the time; try again")


def check_request(request: AttachContainerRequest) -> None:
    """Raise InvalidSpec for what no container is called."""
    checks.object_name("container id", request.container_id, longest=64)
    checks.object_name("container name", request.container_name, longest=255)
    if request.hostname:
        checks.host_name("--hostname", request.hostname)
    if len(request.aliases) > MAX_ALIASES:
        raise InvalidSpec(f"--network-alias: {len(request.aliases)} aliases, {MAX_ALIASES} at most")
    for alias in request.aliases:
        checks.host_name("--network-alias", alias)


def attachable(view: Tables, ref: str) -> Network:
    """The network of this id or name. Raises NotFound, FailedPrecondition."""
    network = resolve("network", view.networks, ref[:255])
    if network.pending_delete:
        raise NotFound(f"network {network.spec.annotations.name} is being removed")
    if not network.spec.attachable:
        raise FailedPrecondition(
            f"network {network.spec.annotations.name} is not attachable: containers that no"
            " service asked for need one made with --attachable"
        )
    return network


def check_address(network: Network, addresses: Iterable[str]) -> None:
    """Raise InvalidSpec for an address that no container of the network can have."""
    asked = list(addresses)
    spec = network.spec
    chosen_later = max(len(spec.ipam.configs), 1 + spec.ipv6_enabled)  # all have IPv4
    subnets = len(network.ipam.configs) or chosen_later
    if len(asked) > subnets:
        raise InvalidSpec(f"--ip: {len(asked)} addresses for {subnets} subnet")
    for text in asked:
        address = checks.address("--ip", text)
        subnet = subnet_of(network, address, f"--ip {address}")
        if subnet is not None and address in (subnet.network_address, subnet.broadcast_address):
            raise InvalidSpec(f"--ip {address}: is not a host address of {subnet}")


def check_encryption(network: Network, node: Node, nodes: Iterable[Node] = ()) -> None:
    """Raise FailedPrecondition where the node, one of `nodes`, cannot take part in the network."""
    if not encryption.is_encrypted(network):
        return
    if reason := encryption.hindrance(node) or encryption.displaced(nodes).get(node.id):
        raise FailedPrecondition(
            f"network {network.spec.annotations.name} is encrypted, and this node cannot take part:"
            f" {reason}"
        )


def check_same(task: Task, request: AttachContainerRequest) -> None:
    """Raise AlreadyExists when the container has another address on the network already."""
    if request.addresses and list(task.spec.networks[0].addresses) != list(request.addresses):
        raise AlreadyExists(
            f"container {request.container_name} is on network {request.network} already;"
            " detach it first"
        )


def new_attachment(node_id: str, network: Network, request: AttachContainerRequest) -> Task:
    """The task that stands for a container's place on a network."""
    task = Task(id=new_id(), node_id=node_id, desired_state=task_states.RUNNING)
    task.spec.attachment.container_id = request.container_id
    task.spec.networks.add(target=network.id, addresses=request.addresses)
    name_attachment(task, request)
    task.status.message = "created"
    set_now(task.status.timestamp)
    return task


def name_attachment(task: Task, request: AttachContainerRequest) -> None:
    """Write into `task` by which names its container is found."""
    task.annotations.name = request.container_name
    task.spec.attachment.container_name = request.container_name
    task.spec.attachment.hostname = request.hostname
    names = list(dict.fromkeys([request.container_name, *request.aliases]))
    task.spec.networks[0].aliases[:] = names
    for place in task.networks:
        place.aliases[:] = names


def check_room(view: Tables, node_id: str) -> None:
    """Raise ResourceExhausted for a node that has as many attachments as it may have."""
    if sum(1 for _ in of_node(view, node_id)) >= MAX_OF_NODE:
        raise ResourceExhausted(
            f"node {node_id} has {MAX_OF_NODE} containers attached, which is the limit"
        )


def refusal(task: Task) -> SwarmliteError:
    """The error of an attachment that the allocator gave no address."""
    if task.spec.networks[0].addresses:
        return AlreadyExists(task.status.err)
    return FailedPrecondition(task.status.err)


def of_node(view: Tables, node_id: str) -> Iterator[Task]:
    """A node's attachments."""
    return filter(task_states.is_attachment, view.tasks.of_node(node_id).values())


def of_container(
    view: Tables, node_id: str, container_id: str, network_id: str = ""
) -> Iterator[Task]:
    """The attachments of one container of a node, to one network or to all."""
    for task in of_node(view, node_id):
        if task.spec.attachment.container_id == container_id and (
            not network_id or _is_on(task, network_id)
        ):
            yield task


def _is_on(task: Task, network: str) -> bool:
    names = {a.network_name for a in task.networks}
    return network in names or any(n.target == network for n in task.spec.networks)


def stale(view: Tables, node_id: str, held: Iterable[HeldAttachment]) -> list[Task]:
    """A node's attachments that it no longer has, by what it says in its hello.

    One that it has asked for and got no answer about may stand there by its network's name.
    """
    known = {(h.container_id, h.network_id) for h in held}
    return [task for task in of_node(view, node_id) if not _places(view, task) & known]


def _places(view: Tables, task: Task) -> set[tuple[str, str]]:
    container_id, network_id = task.spec.attachment.container_id, task.spec.networks[0].target
    network = view.networks.get(network_id)
    name = network.spec.annotations.name if network is not None else network_id
    return {(container_id, network_id), (container_id, name)}
