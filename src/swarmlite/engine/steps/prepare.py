"""What a container has while it runs: its mounts, network, files of /etc, bundle, and its process.

The list is done at each start, all but the process ahead of it for a task, and undone at each end.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from swarmlite.engine import bundles, host_files, id_ranges, links, network_plan, oci_spec
from swarmlite.engine.cluster_networks import ClusterNetworks
from swarmlite.engine.container_events import NetworkEvent
from swarmlite.engine.container_mounts import ContainerMounts, OCIMount
from swarmlite.engine.exits import SupervisorLink
from swarmlite.engine.io.log_drivers import log_of
from swarmlite.engine.oci_spec.namespaces import CONTAINER, HOST, Joins
from swarmlite.engine.records import SHORT, Record, Records
from swarmlite.engine.roots import Roots
from swarmlite.engine.shared_memory import SharedMemory
from swarmlite.engine.steps import Job
from swarmlite.errors import FailedPrecondition, NotFound
from swarmlite.network.api import BRIDGE, EndpointRequest
from swarmlite.network.node import NodeNetwork
from swarmlite.proto.containers_pb2 import ContainerConfig, ContainerState, EndpointConfig
from swarmlite.proto.types_pb2 import Mount, NetworkAttachment

Created = Callable[[str], Awaitable[None]]
NAME_ANNOTATION = "swarmlite.name"
ETC_FILES = ("hosts", "hostname", "resolv.conf")


class Mounts:
    """Volumes with options are mounted, binds looked for again."""

    name = "mounts"

    def __init__(
        self, mounts: ContainerMounts, roots: Roots, tell: Callable[[str, Record], None]
    ) -> None:
        """`mounts` are all containers', `roots` knows the images to mount.

        `tell` tells of a container's volumes: `mount`, `unmount`.
        """
        self._mounts, self._roots, self._tell = mounts, roots, tell

    async def do(self, job: Job) -> None:
        """Raises InvalidSpec, FailedPrecondition."""
        message = job.record.message
        if message.resolved_mounts:
            job.mounts += await asyncio.to_thread(
                partial(
                    self._mounts.oci,
                    message.resolved_mounts,
                    self._roots.image_mount,
                    own_ids=bool(message.id_count),
                )
            )
            job.record.mounted = True
            self._tell("mount", job.record)
        if job.record.of_task:
            job.mounts += [_payload(mount) for mount in message.config.task.payload_mounts]

    async def undo(self, record: Record) -> None:
        """A volume with options stays mounted: others may use it."""
        if record.mounted:
            record.mounted = False
            self._tell("unmount", record)


def _payload(mount: Mount) -> OCIMount:
    """A secret or config of a task, on the agent's tmpfs."""
    return {
        "destination": mount.target,
        "type": "bind",
        "source": mount.source,
        "options": ["bind", "rprivate", "ro", "nosuid", "nodev", "noexec"],
    }


class Network:
    """The sandbox: a network stack, or another's."""

    name = "sandbox"

    def __init__(
        self,
        network: NodeNetwork,
        cluster: Callable[[], ClusterNetworks],
        records: Records,
        tell: NetworkEvent,
    ) -> None:
        """`cluster` is asked for places on the managers' networks; `tell` tells of each place."""
        self._network, self._cluster, self._records = network, cluster, records
        self._tell = tell

    async def do(self, job: Job) -> None:
        """Raises what NodeNetwork.create_sandbox raises."""
        record = job.record
        job.hostname = hostname_of(record, self._records.find)
        job.links = links.of_bridge(record, self._records.find)
        all_wanted = list(record.message.wanted_networks)
        attachments, endpoints = [], []
        for wanted in all_wanted:
            place = await self.place(record, job.hostname, wanted)
            if isinstance(place, NetworkAttachment):
                attachments.append(place)
            else:
                endpoints.append(place)
        ports = network_plan.published(record.config, record.message.exposed_ports)
        request = network_plan.request(
            record, job.hostname, ports, attachments, endpoints, self._records.find
        )
        job.sandbox = await self._network.create_sandbox(record.id, request)
        message = record.message
        del message.ports[:]
        message.ports.extend(job.sandbox.host_ports)
        del message.networks[:]
        for info in job.sandbox.endpoints:
            answered = wanted_for(all_wanted, info.network_name, info.network_id)
            message.networks.append(
                network_plan.endpoint_state(record.id, info, answered, request.names)
            )
            self._tell("connect", record, message.networks[-1])
        message.sandbox_path = str(job.sandbox.netns)

    async def place(
        self, record: Record, hostname: str, wanted: EndpointConfig
    ) -> EndpointRequest | NetworkAttachment:
        """What a request is to the network room: of this host, or of the managers."""
        try:
            self._network.networks.get(wanted.network)
        except NotFound:
            return await self._cluster().attach(record, hostname, wanted)
        return network_plan.endpoint_request(wanted)

    async def undo(self, record: Record) -> None:
        """Interfaces, ports and addresses are free again."""
        await self._network.delete_sandbox(record.id)
        message = record.message
        if any(wanted.network != BRIDGE for wanted in message.wanted_networks):
            await self._cluster().detach(record)
        for state in message.networks:
            self._tell("disconnect", record, state)
        message.sandbox_path = ""
        del message.networks[:]
        del message.ports[:]


def wanted_for(
    all_wanted: list[EndpointConfig], name: str, network_id: str
) -> EndpointConfig | None:
    """The request that a place on a network answers to."""
    for wanted in all_wanted:
        if wanted.network in (name, network_id) or network_id.startswith(wanted.network):
            return wanted
    return None


def hostname_of(record: Record, find: Callable[[str], Record]) -> str:
    """Its own, its short id, or that of the host or container whose stack it shares."""
    config = record.config
    mode = network_plan.mode_of(config)
    if config.spec.uts_mode == HOST or (mode == HOST and not config.spec.hostname):
        return socket.gethostname()
    if mode.startswith(network_plan.JOINED) and not config.spec.hostname:
        return hostname_of(find(mode.removeprefix(network_plan.JOINED)), find)
    return config.spec.hostname or record.id[:SHORT]


class HostFiles:
    """/etc/hosts, /etc/hostname and /etc/resolv.conf."""

    name = "files"

    def __init__(self, records: Records, gateway: Callable[[], str]) -> None:
        """`records` are where a joined container's are found; `gateway` is the host's."""
        self._records, self._gateway = records, gateway

    async def do(self, job: Job) -> None:
        """Who shares a stack shares its files too."""
        record, sandbox = job.record, job.sandbox
        assert sandbox is not None
        mode = network_plan.mode_of(record.config)
        if mode.startswith(network_plan.JOINED) and not record.of_task:
            other = network_plan.joined(mode, self._records.find)
            folder = other.message.hosts_path.removesuffix("/hosts")
            files = host_files.mounts(folder)
        else:
            extra = self._with_gateway(record.config, [e.gateway for e in sandbox.endpoints])
            content = host_files.hosts(
                [*extra, *(link.hosts() for link in job.links)],
                [address for address, _ in sandbox.hosts],
                job.hostname,
                domain=record.config.spec.domainname,
                base=_host_hosts() if mode == HOST else host_files.LOOPBACK,
            )
            folder, files = bundles.put(
                record,
                partial(
                    host_files.write,
                    hosts_content=content,
                    hostname=job.hostname,
                    resolv_conf=sandbox.resolv_conf,
                ),
            )
        taken = {mount["destination"] for mount in job.mounts}
        job.mounts += [mount for mount in files if mount["destination"] not in taken]
        message = record.message
        message.hosts_path = f"{folder}/hosts"
        message.hostname_path = f"{folder}/hostname"
        message.resolv_conf_path = f"{folder}/resolv.conf"

    def _with_gateway(self, config: ContainerConfig, gateways: list[str]) -> list[str]:
        """The extra lines of /etc/hosts, `host-gateway` made an address of this host."""
        lines = []
        for entry in config.spec.hosts:
            address, _, names = entry.partition(" ")
            if address == "host-gateway":
                found = next((gateway for gateway in gateways if gateway), "") or self._gateway()
                if not found:
                    raise FailedPrecondition(
                        f"--add-host {names.strip()}:host-gateway: this host has no gateway"
                    )
                address = found.partition("/")[0]
            lines.append(f"{address} {names}")
        return lines

    async def undo(self, record: Record) -> None:
        """Those on the container's own folder go with that."""
        if record.bundle != record.folder:
            bundles.discard(record.bundle)


def _host_hosts() -> str:
    try:
        return Path("/etc/hosts").read_text(errors="replace").rstrip("\n") + "\n"
    except OSError:
        return host_files.LOOPBACK


class Bundle:
    """config.json."""

    name = "bundle"

    def __init__(
        self, roots: Roots, records: Records, shm: SharedMemory, cgroup_parent: str
    ) -> None:
        """`cgroup_parent` is the path below which containers have their groups."""
        self._roots, self._records, self._shm = roots, records, shm
        self._cgroup_parent = cgroup_parent

    async def do(self, job: Job) -> None:
        """Raises InvalidSpec for what cannot be run, FailedPrecondition."""
        record, sandbox = job.record, job.sandbox
        assert sandbox is not None
        if record.message.id_count:
            await asyncio.to_thread(id_ranges.check_host, record.folder)
        root, annotations = self._roots.place(record)
        parent = record.config.resources.cgroup_parent or self._cgroup_parent
        inputs = oci_spec.Inputs(
            config=record.config,
            image=job.image_config,
            container_id=record.id,
            root=root,
            annotations={**annotations, NAME_ANNOTATION: record.name},
            cgroups_path=f"{parent.rstrip('/')}/{record.id}",
            hostname=job.hostname,
            netns=sandbox.netns,
            mounts=job.mounts,
            host_network=sandbox.host_stack,
            joins=self._joins(record),
            first_id=record.message.first_id,
            id_count=record.message.id_count,
            linked_env=[e for link in job.links for e in link.environment(record.name)],
        )
        spec = record.config.spec
        if spec.privileged or spec.devices:  # all of the host's /dev may have to be looked at
            made = await asyncio.to_thread(oci_spec.build, inputs)
        else:
            made = oci_spec.build(inputs)
        bundles.put(record, partial(bundles.write_spec, made))

    def _joins(self, record: Record) -> Joins:
        paths = {}
        for kind, mode in (
            ("pid", record.config.spec.pid_mode),
            ("ipc", record.config.spec.ipc_mode),
        ):
            if mode.startswith(CONTAINER):
                other = self._records.find(mode.removeprefix(CONTAINER))
                if other.state.status not in (ContainerState.RUNNING, ContainerState.PAUSED):
                    raise FailedPrecondition(
                        f"cannot join {kind.upper()} of a non running container: {other.id}"
                    )
                paths[kind] = f"/proc/{other.state.pid}/ns/{kind}"
        return Joins(paths=paths, shm=self._shm.of(record))

    async def undo(self, record: Record) -> None:
        """It is written again at the next start."""
        bundles.remove(record.bundle, bundles.CONFIG)
        if record.bundle != record.folder:
            bundles.remove(record.folder, bundles.CONFIG)


class Process:
    """The supervisor's container: its first process, which runs its program then.

    Where somebody waits to be attached to it, it is made to wait before its exec.
    """

    name = "process"

    def __init__(
        self, supervisor: SupervisorLink, awaited: Callable[[str], bool], created: Created
    ) -> None:
        """`supervisor` runs the containers; `created` attaches those that it is `awaited` by."""
        self._supervisor, self._awaited, self._created = supervisor, awaited, created

    async def do(self, job: Job) -> None:
        """Raises what Supervisor.create raises, unless a process was made."""
        record, spec = job.record, job.record.config.spec
        client = self._supervisor.client
        self._supervisor.expect(record.id)
        start = not self._awaited(record.id)
        try:
            job.state = await client.create(
                record.id,
                bundles.of(record),
                log=await log_of(record.message, record.folder),
                stdin=spec.open_stdin,
                stdin_once=record.config.stdin_once,
                start=start,
            )
        except FailedPrecondition as error:
            if not start or not await self._is_there(record.id):
                raise
            job.not_begun = error
        await self._created(record.id)

    async def _is_there(self, container_id: str) -> bool:
        try:
            await self._supervisor.client.state(container_id)
        except NotFound:
            return False
        return True

    async def undo(self, record: Record) -> None:
        """Killed, if it still runs, and forgotten."""
        try:
            await self._supervisor.client.delete(record.id, force=True)
        except NotFound:
            pass
        finally:
            self._supervisor.forget(record.id)
