"""Services' VIPs and ports, and tasks' and nodes' attachments."""

from __future__ import annotations

from collections.abc import Sequence

from swarmlite.errors import AlreadyExists, InvalidSpec, ResourceExhausted
from swarmlite.model.references import INGRESS_NETWORK
from swarmlite.model.task_states import PENDING, RUNNING, is_attachment
from swarmlite.proto.objects_pb2 import Network, Node, Service, Task
from swarmlite.proto.types_pb2 import EndpointSpec, NetworkAttachmentConfig

from ..store.tables import Tables
from ..times import stamp
from .ipam import mac_of
from .ports import is_ingress
from .state import PREDEFINED, Given, State, find_network, ingress_network, needs_addresses

NO_CONFIG = NetworkAttachmentConfig()


def publishes_ingress(service: Service) -> bool:
    """Whether the service has a port on every node, so its tasks are on the ingress network."""
    return any(is_ingress(port) for port in service.spec.endpoint.ports)


def vip_networks(service: Service, view: Tables) -> list[Network]:
    """The networks on which a service has a VIP."""
    if service.spec.endpoint.mode == EndpointSpec.DNSRR:
        return []
    found = (find_network(view, config.target) for config in service.spec.task.networks)
    networks = [n for n in found if n is not None and needs_addresses(n)]
    ingress = ingress_network(view) if publishes_ingress(service) else None
    return networks + ([ingress] if ingress and ingress not in networks else [])


def is_current(service: Service, view: Tables) -> bool:
    """Whether a service has been given what its spec asks for."""
    endpoint = service.endpoint
    return (
        service.HasField("endpoint")
        and endpoint.HasField("spec")
        and endpoint.spec == service.spec.endpoint
        and {v.network_id for v in endpoint.virtual_ips}
        == {n.id for n in vip_networks(service, view)}
    )


def allocate_service(state: State, service: Service, view: Tables) -> Service:
    """A copy with VIPs and ports; VIPs that it has stay as they are.

    Raises AlreadyExists and ResourceExhausted; it then has what the store says and no more.
    """
    owner = f"service/{service.id}"
    state.release(owner)
    state.hold_service(service)
    allocated = Service()
    allocated.CopyFrom(service)
    endpoint = allocated.endpoint
    endpoint.spec.CopyFrom(service.spec.endpoint)
    before: dict[str, list[str]] = {}
    for vip in service.endpoint.virtual_ips:
        before.setdefault(vip.network_id, []).append(vip.addr)
    del endpoint.virtual_ips[:]
    try:
        for network in vip_networks(service, view):
            kept = before.get(network.id)
            for addr in kept or [text for text, _ in _given(state, owner, network)]:
                endpoint.virtual_ips.add(network_id=network.id, addr=addr)
        ports = state.ports.allocate(
            service.id,
            service.spec.endpoint.ports,
            service.endpoint.ports,
            lambda other: _name_of_service(view, other),
        )
    except Exception:
        state.release(owner)
        state.hold_service(service)
        raise
    del endpoint.ports[:]
    endpoint.ports.extend(ports)
    return allocated


def _name_of_service(view: Tables, service_id: str) -> str:
    service = view.services.get(service_id)
    return service.spec.annotations.name if service is not None else service_id


def settle_service(state: State, service: Service) -> None:
    """Give back VIPs that the stored service no longer has."""
    state.release(f"service/{service.id}")
    state.hold_service(service)


Wanted = Sequence[tuple[Network | str, NetworkAttachmentConfig]]


def allocate_task(
    state: State, task: Task, service: Service | None, networks: Wanted, now: float
) -> Task:
    """A copy with an address on each of `networks`, its `task_networks`.

    A task is PENDING then, a plain container's place on a network RUNNING. Raises
    ResourceExhausted and the like; the caller releases the task.
    """
    allocated = Task()
    allocated.CopyFrom(task)
    if service is not None:
        allocated.endpoint.CopyFrom(service.endpoint)
    for network, config in networks:
        _attach(state, allocated, network, config)
    allocated.status.state = PENDING
    allocated.status.message = "pending task scheduling"
    if is_attachment(task):
        # Its node asked for it, and has nothing to report: with its addresses it is complete.
        allocated.status.state = RUNNING
        allocated.status.message = "attached"
        allocated.status.healthy = True
    allocated.status.err = ""
    stamp(allocated.status.timestamp, now)
    return allocated


def task_networks(task: Task, service: Service | None, view: Tables) -> Wanted:
    """The networks of a task, the ingress last; a bare name is one that is each node's own."""
    wanted: list[tuple[Network | str, NetworkAttachmentConfig]] = []
    for config in task.spec.networks:
        network = find_network(view, config.target)
        wanted.append((network if network is not None else config.target, config))
    if service is not None and publishes_ingress(service):
        ingress = ingress_network(view)
        if ingress is None:
            wanted.append((INGRESS_NETWORK, NO_CONFIG))
        elif all(network is not ingress for network, _ in wanted):
            wanted.append((ingress, NO_CONFIG))
    return wanted


def missing_network(networks: Wanted) -> str | None:
    """A network that does not exist (yet), or None."""
    for network, _ in networks:
        if isinstance(network, str) and network not in PREDEFINED:
            return network
    return None


def _attach(
    state: State, task: Task, network: Network | str, config: NetworkAttachmentConfig
) -> None:
    attachment = task.networks.add(aliases=config.aliases)
    attachment.driver_attachment_opts.update(config.driver_attachment_opts)
    if isinstance(network, str):
        attachment.network_id = attachment.network_name = network
        return
    attachment.network_id = network.id
    attachment.network_name = network.spec.annotations.name
    if needs_addresses(network):
        given = _given(state, f"task/{task.id}", network, _fixed(state, task, network, config))
        attachment.addresses.extend(text for text, _ in given)
        attachment.mac = mac_of(given[0][1])
    elif config.addresses:  # its host sees to it that nobody else has them there
        attachment.addresses.extend(_fixed(state, task, network, config))


def _fixed(
    state: State, task: Task, network: Network, config: NetworkAttachmentConfig
) -> Sequence[str]:
    """Those of a service's fixed addresses that are the task's: its slot's, one of each family.

    Slots may go beyond the number of replicas once some were removed: any that is free, then.
    """
    if is_attachment(task):
        return config.addresses
    chosen: list[str] = []
    for six in (False, True):
        named = [text for text in config.addresses if (":" in text) == six]
        if not named:
            continue
        if 0 < task.slot <= len(named):
            chosen.append(named[task.slot - 1])
        else:
            chosen.append(next((t for t in named if state.free(network.id, t)), named[-1]))
    return chosen


def _given(state: State, owner: str, network: Network, asked: Sequence[str] = ()) -> list[Given]:
    """As State.give; errors name the network, which has no other name for a user."""
    try:
        return state.give(owner, network.id, asked)
    except (AlreadyExists, InvalidSpec, ResourceExhausted) as error:
        name = network.spec.annotations.name
        raise type(error)(f"network {name}: {error}") from error


def allocate_node(state: State, node: Node, ingress: Network) -> Node:
    """A copy with the node's own address on the ingress network. Raises ResourceExhausted."""
    owner = f"node/{node.id}"
    state.release(owner)
    allocated = Node()
    allocated.CopyFrom(node)
    del allocated.attachments[:]
    given = _given(state, owner, ingress)
    allocated.attachments.add(
        network_id=ingress.id,
        network_name=ingress.spec.annotations.name,
        addresses=[text for text, _ in given],
        mac=mac_of(given[0][1]),
    )
    return allocated
