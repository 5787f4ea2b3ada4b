"""A cluster whose hosts are containers of a Docker engine."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from swarmlite.errors import FailedPrecondition
from swarmlite.testing.swarm import Swarm

from . import image as node_image
from .host import ContainerHost

if TYPE_CHECKING:
    from testcontainers.core.network import Network


class DockerCluster(Swarm[ContainerHost]):
    """`with DockerCluster(managers=3, workers=2) as cluster: ...`, on the engine of DOCKER_HOST.

    `publish` are ports that every host publishes where the engine runs: `host.endpoint(port)`.
    Without `image` the hosts' image is built of deploy/Dockerfile, once. On leaving through an
    exception the hosts' logs are in `diagnostics_dir`.
    """

    def __init__(
        self,
        managers: int = 1,
        workers: int = 2,
        *,
        image: str = "",
        publish: Sequence[int] = (),
        swarm: bool = True,
        init_options: Sequence[str] = (),
    ) -> None:
        """Nothing is made before `up`. `swarm=False` leaves the hosts without a swarm."""
        super().__init__(init_options)
        self.image = image
        self.swarm = swarm
        self.publish = tuple(publish)
        self.subnet = ""
        self.gateway = ""
        self.diagnostics_dir = Path()
        self._counts = (managers, workers)
        self._folder = Path()
        self._network: Network | None = None

    # life
    def up(self) -> DockerCluster:
        """Start every host and join them to one swarm. On failure nothing stays behind.

        Raises FailedPrecondition where no engine answers or it has no image of the hosts.
        """
        try:
            self._prepare()
            for role, count in zip(("manager", "worker"), self._counts, strict=True):
                for number in range(1, count + 1):
                    self._new(role, f"{role}{number}")
            self._all(lambda host: host.boot(wait=False))
            self._all(lambda host: host.wait_daemon())
            if self.swarm:
                self.form_swarm()
        except BaseException:
            self.collect()
            self.down()
            raise
        return self

    def _prepare(self) -> None:
        from testcontainers.core.network import Network

        client = engine()
        try:
            self.image = self.image or node_image.ensure(client)
        finally:
            client.close()
        self._folder = Path(tempfile.mkdtemp(prefix="swl-"))
        self.diagnostics_dir = self._folder.with_name(f"swarmlite-diagnostics-{self._folder.name}")
        # Hosts keep their addresses over a restart, which takes a subnet that was asked for: one
        # that the engine itself would have chosen.
        with Network() as found:
            self.subnet, self.gateway = _subnet(found)
        found._docker.client.close()
        pool = {"Driver": "default", "Config": [{"Subnet": self.subnet, "Gateway": self.gateway}]}
        self._network = Network(docker_network_kw={"ipam": pool}).create()

    def _new(self, role: str, name: str) -> ContainerHost:
        import ipaddress

        from docker.types import EndpointConfig
        from testcontainers.core.container import DockerContainer

        assert self._network is not None
        network = ipaddress.ip_network(self.subnet)
        taken = {self.gateway, *(host.addr for host in self.hosts)}
        addr = next(str(found) for found in network.hosts() if str(found) not in taken)
        endpoint = EndpointConfig("1.40", aliases=[name], ipv4_address=addr)
        container = (
            DockerContainer(self.image)
            .with_network(self._network)
            .with_env("SWARMLITE_INSECURE_REGISTRIES", self.subnet)
            .with_exposed_ports(*self.publish)
            .with_tmpfs_mount("/run")  # as on a machine: it does not survive a boot
            .with_kwargs(
                privileged=True,
                hostname=name,
                cgroupns="private",
                networking_config={self._network.name: endpoint},
            )
        )
        host = ContainerHost(name, addr, container, self._folder / name)
        (self.managers if role == "manager" else self.workers).append(host)
        return host

    def _all(self, action: Callable[[ContainerHost], None]) -> None:
        with ThreadPoolExecutor(len(self.hosts) or 1) as pool:
            list(pool.map(action, self.hosts))

    def add(self, role: str) -> ContainerHost:
        """One more host, "manager" or "worker", booted, joined and Ready."""
        taken = {host.name for host in self.hosts}
        number = next(n for n in range(1, len(taken) + 2) if f"{role}{n}" not in taken)
        host = self._new(role, f"{role}{number}")
        host.boot()
        self.join(host)
        self.wait(lambda: f"{host.name} Ready" in self._states(), 60, f"{host.name} to be Ready")
        return host

    def down(self) -> None:
        """Remove every host and all that was made. Safe to repeat."""
        for host in self.hosts:
            host.remove()
        self.managers, self.workers = [], []
        if self._network is not None:
            self._network.remove()
            self._network._docker.client.close()
            self._network = None
        if self._folder != Path():
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> DockerCluster:
        return self.up()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self.collect()
        self.down()

    # images
    def load(self, image: str | Path | bytes) -> None:
        """Put an image on every host: one of the engine by its name, or the tar of one."""
        data = image.read_bytes() if isinstance(image, Path) else image
        if isinstance(data, str):
            client = engine()
            try:
                data = b"".join(client.images.get(data).save(named=data))
            finally:
                client.close()
        archive = data
        self._all(lambda host: host.load(archive))

    # faults
    def isolate(self, host: ContainerHost) -> None:
        """Take a host's cable out."""
        assert self._network is not None
        self._network._unwrap_network.disconnect(host.container.get_container_id())

    def heal(self) -> None:
        """Put in again what `isolate` took out."""
        assert self._network is not None
        there = self._network._unwrap_network
        there.reload()
        for host in self.hosts:
            container = host.container.get_container_id()
            if container not in there.attrs["Containers"]:
                there.connect(container, aliases=[host.name], ipv4_address=host.addr)

    def collect(self) -> Path:
        """Write what each host's daemon and processes said to `diagnostics_dir`. Never raises."""
        for host in self.hosts:
            with contextlib.suppress(Exception):
                folder = self.diagnostics_dir / host.name
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "swarmlited.log").write_text(host.log())
                logs = f"tail -n 300 {host.inside.logs_dir}/*; swarmlite container ls -a; ip addr"
                shown = host.run("sh", "-c", logs, check=False, timeout_s=20)
                (folder / "host.txt").write_text(shown.stdout + shown.stderr)
        return self.diagnostics_dir


def engine() -> Any:
    """A client of the engine that testcontainers would use. Raises FailedPrecondition."""
    try:
        import docker.errors
        from testcontainers.core.docker_client import DockerClient
    except ImportError as error:
        raise FailedPrecondition(
            "clusters of containers need testcontainers: pip install 'swarmlite[testing]'"
        ) from error
    try:
        client = DockerClient().client
        client.ping()
    except (docker.errors.DockerException, OSError) as error:
        raise FailedPrecondition(
            f"no Docker engine answers (DOCKER_HOST, /var/run/docker.sock): {error}"
        ) from error
    return client


def _subnet(network: Network) -> tuple[str, str]:
    there = network._unwrap_network
    there.reload()
    for pool in there.attrs["IPAM"]["Config"]:
        if ":" not in pool["Subnet"]:
            return pool["Subnet"], pool.get("Gateway", "")
    raise FailedPrecondition("the engine gives networks no IPv4 subnet")
