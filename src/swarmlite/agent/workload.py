"""The container of one task: what a controller decides, done through `runtime` and `network`.

Shape: CONTAINERS_DIR/<container id>/ holds the bundle (config.json, rootfs, upper, work, the three
files of /etc) and logs/; all but logs/ goes when the task ends, logs/ when it is forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from swarmlite.agent.payloads import PayloadFiles, Payloads
from swarmlite.engine import container_spec, host_files, mounts, process_spec
from swarmlite.engine.exits import Exit, SupervisorLink
from swarmlite.engine.images import TaskImages
from swarmlite.engine.io.log_drivers import LOG_NAME, log_of
from swarmlite.engine.io.probe import run_probe
from swarmlite.engine.process_spec import HealthCheck
from swarmlite.engine.volumes import ContainerVolumes, remove_anonymous
from swarmlite.errors import FailedPrecondition, InvalidSpec, NotFound
from swarmlite.model import defaults, templates
from swarmlite.model.names import full_task_name
from swarmlite.network.api import Sandbox, SandboxRequest
from swarmlite.network.node import NodeNetwork
from swarmlite.proto.containers_pb2 import Container
from swarmlite.proto.objects_pb2 import Node, Task
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import PortConfig
from swarmlite.runtime.client import Log
from swarmlite.storage.images.store import ImageStore
from swarmlite.storage.images.types import Image
from swarmlite.storage.volumes.store import VolumeStore

log = logging.getLogger(__name__)

KILL_TIMEOUT_S = 10.0
SIGTERM, SIGKILL = 15, 9
INIT_FOLDERS = ("proc", "sys", "dev", "etc")
INIT_FILES = ("etc/hosts", "etc/hostname", "etc/resolv.conf")
T = TypeVar("T")


@dataclass
class Host:
    """What the workloads of one node share."""

    containers_dir: Path
    init_layer: Path
    cgroup_parent: str
    supervisor: SupervisorLink
    network: NodeNetwork
    store: ImageStore
    images: TaskImages
    volumes: VolumeStore
    payloads: Payloads
    payload_files: PayloadFiles
    node: Node
    preparing: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(16))
    starting: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(16))


def container_id_of(task_id: str) -> str:
    """A task has one container, ever; so its id follows from the task's."""
    return hashlib.sha256(task_id.encode()).hexdigest()


def log_path(containers_dir: Path, container_id: str) -> Path:
    """Where a container's output goes."""
    return containers_dir.joinpath(container_id, "logs", LOG_NAME)


class TaskWorkload:
    """See controller.Workload for the contract."""

    def __init__(self, task: Task, host: Host) -> None:
        """Nothing is touched before `prepare`."""
        self._task = task
        self._host = host
        self._spec: ContainerSpec = task.spec.container
        self._check: HealthCheck | None = None
        self._stop_signal = 0
        self._anonymous_volumes = True  # until it is known better
        self._begun = False
        self._end: asyncio.Future[Exit] | None = None
        self.container_id = container_id_of(task.id)
        self.host_ports: Sequence[PortConfig] = list(task.status.host_ports)

    @property
    def bundle(self) -> Path:
        """The container's folder."""
        return self._host.containers_dir / self.container_id

    def adopt(self) -> None:
        """Take up the container, which runs: its settings are read from its bundle and image."""
        self._end = self._host.supervisor.expect(self.container_id)
        image_config: dict[str, Any] = {}
        with contextlib.suppress(NotFound):
            image_config = _image_config(self._host.store.get(self._spec.image))
        with contextlib.suppress(InvalidSpec):
            self._check = process_spec.health_check(self._spec, image_config)
            self._stop_signal = process_spec.stop_signal(self._spec, image_config)

    # preparing
    async def prepare(self) -> None:
        """See controller.Workload."""
        self._expand()
        await self._host.payloads.ready(self._task, self._waiting)
        options = self._spec.pull_options
        image = await self._host.images.ensure(self._spec.image, options.registry_auth)
        config = _image_config(image)
        self._check = process_spec.health_check(self._spec, config)
        self._stop_signal = process_spec.stop_signal(self._spec, config)
        async with self._host.preparing:
            await self._make(image, config)

    def _expand(self) -> None:
        context = templates.context_of(self._task, self._host.node)
        self._spec = templates.expand_container(self._task.spec.container, context)

    def _say_what_is_left_out(self) -> None:
        resources = self._task.spec.resources
        if not resources.HasField("memory_swappiness"):
            return
        if "cgroup.v2" in self._host.node.description.engine.capabilities:
            log.warning("memory swappiness left out, cgroup v2 has none task=%s", self._task.id)

    def _waiting(self, missing: list[str]) -> None:
        log.info("task waits task=%s for=%s", self._task.id, ", ".join(missing))

    async def _make(self, image: Image, config: dict[str, Any]) -> None:
        host, task = self._host, self._task
        self._say_what_is_left_out()
        self._begun = True
        # First of all: it tells a later start of the agent that there may be something to release.
        make_folders(self.bundle)
        ports = [port for port in task.endpoint.ports if port.publish_mode == PortConfig.HOST]
        sandbox = await _finished(
            host.network.create_sandbox(
                task.id,
                SandboxRequest(
                    attachments=list(task.networks), dns=self._spec.dns_config, ports=ports
                ),
            )
        )
        self.host_ports = sandbox.host_ports
        lower_dirs = host.store.lower_dirs(image)
        volumes = ContainerVolumes(host.volumes, self.container_id, lower_dirs)
        self._anonymous_volumes = needs_volumes = bool(self._spec.mounts or config.get("Volumes"))
        resolved = (
            await _finished(asyncio.to_thread(mounts.resolve, self._spec, config, volumes))
            if needs_volumes
            else []
        )
        self._write_bundle(sandbox, image, lower_dirs, resolved)
        self._end = host.supervisor.expect(self.container_id)
        where = await _log(task, self.container_id, image, self.bundle)
        client = host.supervisor.client
        await _finished(client.create(self.container_id, self.bundle, log=where))

    def _write_bundle(
        self,
        sandbox: Sandbox,
        image: Image,
        lower_dirs: Sequence[Path],
        resolved: list[dict[str, Any]],
    ) -> None:
        bundle, host = self.bundle, self._host
        hostname = self._spec.hostname or self.container_id[:12]
        addresses = [address for address, _ in sandbox.hosts]
        files = host_files.write(
            bundle,
            hosts_content=host_files.hosts(self._spec.hosts, addresses, hostname),
            hostname=hostname,
            resolv_conf=sandbox.resolv_conf,
        )
        secret_mounts = []
        if self._spec.secrets or self._spec.configs:
            if missing := host.payloads.missing(self._task):  # taken away during the pull
                raise FailedPrecondition(f"removed while the task was prepared: {missing[0]}")
            secret_mounts = host.payload_files.write(
                self.container_id, self._task, host.node, host.payloads
            )
        spec = container_spec.build(
            container_spec.Inputs(
                task=self._task,
                spec=self._spec,
                image=_image_config(image),
                image_id=image.id,
                # Below the image's own, so that what an image has is as the image has it.
                lower_dirs=[*lower_dirs, host.init_layer],
                bundle=bundle,
                container_id=self.container_id,
                cgroups_path=f"{host.cgroup_parent.rstrip('/')}/{self.container_id}",
                hostname=hostname,
                netns=sandbox.netns,
                mounts=[*files, *resolved, *secret_mounts],
                host_network=sandbox.host_stack,
            )
        )
        (bundle / "config.json").write_text(json.dumps(spec, separators=(",", ":")))

    # running
    async def start(self) -> int:
        """See controller.Workload."""
        async with self._host.starting:
            state = await _finished(self._host.supervisor.client.start(self.container_id))
        return state.pid

    async def exited(self) -> Exit:
        """See controller.Workload."""
        if self._end is None:
            raise NotFound("task: the container is gone")
        return await asyncio.shield(self._end)

    def health_check(self) -> HealthCheck | None:
        """See controller.Workload."""
        return self._check

    async def probe(self, command: Sequence[str], timeout_s: float) -> tuple[int, str]:
        """See controller.Workload."""
        process = json.loads((self.bundle / "config.json").read_text())["process"]
        process.update(args=list(command), terminal=False)
        client = self._host.supervisor.client
        return await run_probe(client, self.container_id, process, timeout_s)

    # ending
    async def stop(self, *, grace_s: float | None = None) -> Exit | None:
        """See controller.Workload."""
        if self._end is None:
            return None
        if grace_s is None:
            grace_s = defaults.stop_grace_s(self._spec)
        signal_number = self._stop_signal or SIGTERM
        for number, timeout_s in ((signal_number, grace_s), (SIGKILL, KILL_TIMEOUT_S)):
            if number == SIGKILL or timeout_s > 0:
                try:
                    await self._host.supervisor.client.kill(self.container_id, number)
                except NotFound:
                    break
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(timeout_s):
                        return await self.exited()
        return self._end.result() if self._end.done() and not self._end.cancelled() else None

    async def release(self) -> None:
        """See controller.Workload."""
        if self._begun or self._end is not None or self.bundle.exists():
            await _finished(self._release())

    async def _release(self) -> None:
        try:
            await self._host.supervisor.client.delete(self.container_id, force=True)
        except NotFound:
            pass
        finally:
            self._host.supervisor.forget(self.container_id)
            self._end = None
            await self._host.network.delete_sandbox(self._task.id)
            self._host.payload_files.remove(self.container_id)

    async def clear(self) -> None:
        """See controller.Workload."""
        if self.bundle.exists():
            await _finished(asyncio.to_thread(_remove_but_logs, self.bundle))
        if self._anonymous_volumes:
            await asyncio.to_thread(remove_anonymous, self._host.volumes, self.container_id)

    async def forget(self) -> None:
        """The task is forgotten: its log goes too."""
        if self.bundle.exists():
            await _finished(asyncio.to_thread(shutil.rmtree, self.bundle, ignore_errors=True))


async def _finished(work: Coroutine[Any, Any, T]) -> T:
    """Let a step that has begun come to its end, also when the caller is cancelled meanwhile."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait((task,))
        if not task.cancelled() and (error := task.exception()):
            log.info("a cancelled step failed too: %s", error)
        raise


def _image_config(image: Image) -> dict[str, Any]:
    config = image.config.get("config")
    return config if isinstance(config, dict) else {}


def _remove_but_logs(bundle: Path) -> None:
    for entry in os.scandir(bundle):
        if entry.name == "logs":
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)  # noqa: PTH108


def make_init_layer(layer: Path) -> None:
    """The layer below every image: the places that each container's mounts go to.

    What an image lacks of them would otherwise be made in each container's upper directory, and
    removed with it: seven new files, half a millisecond at a start and again at the end.
    """
    layer.mkdir(mode=0o755, parents=True, exist_ok=True)
    layer.chmod(0o755)
    for name in INIT_FOLDERS:
        (layer / name).mkdir(exist_ok=True)
        (layer / name).chmod(0o755)
    for name in INIT_FILES:
        (layer / name).touch()
        (layer / name).chmod(0o644)


def make_folders(bundle: Path) -> None:
    """The folders of a bundle, those that are missing."""
    for name in ("", "/rootfs", "/upper", "/work", "/logs"):
        with contextlib.suppress(FileExistsError):
            os.mkdir(f"{bundle}{name}", 0o700)  # noqa: PTH102
    # The root of the upper directory is the root of the container: its users must pass.
    os.chmod(bundle / "upper", 0o755)  # noqa: PTH101


async def _log(task: Task, container_id: str, image: Image, bundle: Path) -> Log:
    driver = task.log_driver if task.log_driver.name else task.spec.log_driver
    described = Container(
        id=container_id,
        image_id=image.id,
        labels=task.spec.container.labels,
        env=task.spec.container.env,
    )
    described.config.name = full_task_name(task)
    described.config.spec.image = task.spec.container.image
    described.config.log_driver.CopyFrom(driver)
    return await log_of(described, bundle)
