"""What agents may say: each field of a report is bounded where it is received.

A node is trusted with its own tasks and with nothing else: whatever it sends ends in the store, in
other nodes' assignments and on users' terminals. Text is cut and made one line; what has a form is
left out when it does not have it. Each function answers a copy of the fields that are known.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.errors import InvalidSpec
from swarmlite.model.encryption import KEY_BYTES
from swarmlite.proto.control_pb2 import (
    LOG_STDERR,
    LOG_STDOUT,
    LogMessage,
    NetworkFindings,
)
from swarmlite.proto.dispatcher_pb2 import AgentMessage, Hello
from swarmlite.proto.types_pb2 import (
    ContainerStatus,
    Encryption,
    EngineDescription,
    NodeDescription,
    PortConfig,
    Resources,
    TaskStatus,
)

MAX_TEXT = 1024
"""Characters of a message or an error."""
MAX_WORD = 256
"""Characters of a name, a version, a label's name."""
MAX_WARNINGS = 16
MAX_ADDRESSES = 32
MAX_PROBES = 5
MAX_OUTPUT = 512
"""Characters of a health probe's output: it is kept at each change of health."""
MAX_HOST_NAME = 253
MAX_ID = 64
MAX_PORTS = 1024
MAX_LABELS = 128
MAX_WORDS = 128
"""Runtimes, capabilities, kinds of resources."""
MAX_ATTACHMENTS = 10_000
MAX_STATUSES = 5_000
MAX_IMAGES = 10_000
MAX_LINES = 50_000
"""Of one message."""
MAX_LINE_BYTES = 1024 * 1024
MAX_NUMBER = 2**62
MAX_PEERS = 10_000
MAX_FIGURES = 1_000
MIN_ROUTE_BITS = 7
"""Of the widest destinations that count: 10.0.0.0/8 is one, fc00::/7 too."""
MAX_ROUTES = 64
MAX_MTU = 65535
_FIRST_S, _LAST_S = 0, 253_402_300_799  # the years that can be written
_HEALTH = frozenset({"", "starting", "healthy", "unhealthy"})


def one_line(text: str, longest: int = MAX_TEXT) -> str:
    """`text` as one line of bounded length, without characters that move a terminal's cursor."""
    if len(text) > longest:
        text = text[:longest]
    if text.isprintable():
        return text
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def bounded_status(status: TaskStatus) -> TaskStatus:
    """What is kept of an agent's report of a task."""
    kept = TaskStatus(
        state=status.state,
        message=one_line(status.message),
        err=one_line(status.err),
        healthy=status.healthy,
    )
    if is_time(status.timestamp):
        kept.timestamp.CopyFrom(status.timestamp)
    if status.HasField("container"):
        kept.container.CopyFrom(_container(status.container))
    kept.host_ports.extend(_ports(status.host_ports))
    return kept


def _container(container: ContainerStatus) -> ContainerStatus:
    known = container.container_id
    kept = ContainerStatus(
        container_id=known if len(known) <= MAX_ID and known.isalnum() else "",
        pid=max(0, container.pid),
        exit_code=container.exit_code,
        oom_killed=container.oom_killed,
        health=container.health if container.health in _HEALTH else "",
    )
    for probe in container.health_log[-MAX_PROBES:]:
        copy = kept.health_log.add(
            exit_code=probe.exit_code, output=one_line(probe.output, MAX_OUTPUT)
        )
        if is_time(probe.start) and is_time(probe.end):
            copy.start.CopyFrom(probe.start)
            copy.end.CopyFrom(probe.end)
    return kept


def _ports(ports: Iterable[PortConfig]) -> list[PortConfig]:
    kept = []
    for port in list(ports)[:MAX_PORTS]:
        if (
            port.protocol in PortConfig.Protocol.values()
            and port.publish_mode in PortConfig.PublishMode.values()
            and 0 < port.target_port < 65536
            and port.published_port < 65536
        ):
            kept.append(
                PortConfig(
                    name=one_line(port.name, MAX_WORD),
                    protocol=port.protocol,
                    target_port=port.target_port,
                    published_port=port.published_port,
                    publish_mode=port.publish_mode,
                    host_ip=address(port.host_ip),
                )
            )
    return kept


def bounded_description(description: NodeDescription) -> NodeDescription:
    """What is kept of a node's description of itself."""
    kept = NodeDescription(
        hostname=one_line(description.hostname, MAX_HOST_NAME),
        data_path_addr=_ipv4(description.data_path_addr),
        kernel_version=one_line(description.kernel_version, MAX_WORD),
        os_name=one_line(description.os_name, MAX_WORD),
        certificate_issuer=one_line(description.certificate_issuer, MAX_ID),
        image_port=description.image_port if description.image_port < 65536 else 0,
        addresses=[a for text in description.addresses[:MAX_ADDRESSES] if (a := address(text))],
        warnings=[one_line(text, MAX_WORD) for text in description.warnings[:MAX_WARNINGS]],
    )
    for route in description.routes[:MAX_ROUTES]:
        if (destination := subnet(route.destination)) and not _too_wide(destination):
            kept.routes.add(destination=destination, interface=one_line(route.interface, MAX_ID))
    if description.HasField("encryption"):
        kept.encryption.CopyFrom(_encryption(description.encryption))
    if description.HasField("platform"):
        kept.platform.architecture = one_line(description.platform.architecture, MAX_WORD)
        kept.platform.os = one_line(description.platform.os, MAX_WORD)
        kept.platform.variant = one_line(description.platform.variant, MAX_WORD)
    if description.HasField("resources"):
        kept.resources.CopyFrom(_resources(description.resources))
    if description.HasField("engine"):
        kept.engine.CopyFrom(_engine(description.engine))
    return kept


def _too_wide(destination: str) -> bool:
    """Whether a route is a default one, or half of it: one node's word would forbid all subnets."""
    return ipaddress.ip_network(destination).prefixlen < MIN_ROUTE_BITS


def _resources(resources: Resources) -> Resources:
    kept = Resources(
        nano_cpus=min(max(0, resources.nano_cpus), MAX_NUMBER),
        memory_bytes=min(max(0, resources.memory_bytes), MAX_NUMBER),
    )
    for resource in resources.generic[:MAX_WORDS]:
        copy = kept.generic.add(kind=one_line(resource.kind, MAX_WORD))
        if resource.WhichOneof("resource") == "named":
            copy.named = one_line(resource.named, MAX_WORD)
        else:
            copy.discrete = min(max(0, resource.discrete), MAX_NUMBER)
    return kept


def _encryption(said: Encryption) -> Encryption:
    whole = len(said.public_key) == KEY_BYTES and 0 < said.port < 65536
    return Encryption(
        public_key=said.public_key if whole else b"",
        port=said.port if whole else 0,
        reason=one_line(said.reason, MAX_WORD),
    )


def _engine(engine: EngineDescription) -> EngineDescription:
    kept = EngineDescription(
        engine_version=one_line(engine.engine_version, MAX_WORD),
        runtimes=_words(engine.runtimes),
        capabilities=_words(engine.capabilities),
        allowed=_words(engine.allowed),
    )
    for name in sorted(engine.labels)[:MAX_LABELS]:
        if name and len(name) <= MAX_WORD and name.isprintable():
            kept.labels[name] = one_line(engine.labels[name])
    return kept


def _words(values: Sequence[str]) -> list[str]:
    return [one_line(value, MAX_WORD) for value in values[:MAX_WORDS]]


def bounded_findings(findings: NetworkFindings) -> NetworkFindings:
    """What is kept of what a node found of a network."""
    kept = NetworkFindings(
        id=findings.id,
        error=one_line(findings.error),
        mtu=min(findings.mtu, MAX_MTU),
        repairs=[one_line(text) for text in findings.repairs[:MAX_WORDS]],
    )
    for peer in findings.peers[:MAX_PEERS]:
        kept.peers.add(
            node_id=one_line(peer.node_id, MAX_ID),
            heard_bytes=min(peer.heard_bytes, MAX_MTU),
            sending=one_line(peer.sending),
            arriving=one_line(peer.arriving),
            arrived=peer.arrived,
        )
    return kept


def check_hello(hello: Hello) -> None:
    """Raise InvalidSpec for a hello that is out of bounds; its description is not looked at."""
    for what, text in (("session_id", hello.session_id), ("instance", hello.instance)):
        if len(text) > MAX_ID or not text.isprintable():
            raise InvalidSpec(f"hello: {what}: expected {MAX_ID} printable characters at most")
    if len(hello.attachments) > MAX_ATTACHMENTS:
        raise InvalidSpec(f"hello: {len(hello.attachments)} attachments, {MAX_ATTACHMENTS} at most")


def check_message(message: AgentMessage) -> None:
    """Raise InvalidSpec for more in one message than an agent sends: it would keep all others
    waiting. Agents send 500 statuses and 200 figures at most.
    """
    lines = sum(len(chunk.messages) for chunk in message.logs) + len(message.logs)
    for what, count, limit in (
        ("statuses", len(message.statuses), MAX_STATUSES),
        ("log lines", lines, MAX_LINES),
        ("images", len(message.images.added) + len(message.images.removed), MAX_IMAGES),
        ("figures", len(message.figures), MAX_FIGURES),
        ("peers", len(message.network_findings.peers), MAX_PEERS),
    ):
        if count > limit:
            raise InvalidSpec(f"{count} {what} in one message, {limit} at most")


def bound_line(message: LogMessage) -> None:
    """Bring a line of a container's log within its bounds, in place: there are many of them."""
    if message.stream not in (LOG_STDOUT, LOG_STDERR):
        message.stream = LOG_STDOUT  # the others are the managers' own
    if len(message.data) > MAX_LINE_BYTES:
        message.data = message.data[: MAX_LINE_BYTES - 1] + b"\n"
    if message.HasField("timestamp") and not is_time(message.timestamp):
        message.ClearField("timestamp")


def is_time(timestamp: Timestamp) -> bool:
    """Whether it is a moment between 1970 and 9999, those that can be written as a date."""
    return _FIRST_S <= timestamp.seconds <= _LAST_S and 0 <= timestamp.nanos < 1_000_000_000


def subnet(text: str) -> str:
    """A network in CIDR form; empty for anything else."""
    try:
        return str(ipaddress.ip_network(text[:64]))
    except ValueError:
        return ""


def _ipv4(text: str) -> str:
    """What tunnels are led to; no other host's rules or tunnels would take an IPv6 one."""
    found = address(text)
    return "" if ":" in found else found


def address(text: str) -> str:
    """An IP address in its usual form; empty for anything else."""
    try:
        return str(ipaddress.ip_address(text[:64]))
    except ValueError:
        return ""
