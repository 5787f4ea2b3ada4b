"""Hosts as network namespaces on a bridge of their own, each with a NodeNetwork."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from swarmlite.network import netlink, netns
from swarmlite.network.api import EndpointRequest, Sandbox, SandboxRequest
from swarmlite.network.node import NodeNetwork
from swarmlite.network.spares import AHEAD
from swarmlite.paths import Paths
from swarmlite.proto.dispatcher_pb2 import Endpoint, VirtualService
from swarmlite.proto.objects_pb2 import Network
from swarmlite.proto.types_pb2 import DNSConfig, EndpointSpec, NetworkAttachment, PortConfig

T = TypeVar("T")

SERVER = """
import socket, sys, threading
kind, port, name = sys.argv[1], int(sys.argv[2]), sys.argv[3]
six = len(sys.argv) > 4
family = socket.AF_INET6 if six else socket.AF_INET
s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("::" if six else "0.0.0.0", port))
if kind == "tcp":
    s.listen(64)
print("ready", flush=True)
def talk(c, a):
    with c:
        c.sendall(f"{name} {a[0]}\\n".encode())
        try:
            while data := c.recv(4096):
                c.sendall(data)
        except OSError:
            pass
while True:
    if kind == "tcp":
        threading.Thread(target=talk, args=s.accept(), daemon=True).start()
    else:
        data, a = s.recvfrom(2048)
        s.sendto(f"{name} {a[0]}\\n".encode(), a)
"""

CLIENT = """
import socket, sys
kind, host, port, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
for _ in range(count):
    s = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(2)
    try:
        s.connect((host, port))
        if kind == "udp":
            s.send(b"x")
        print(s.recv(4096).decode().strip(), flush=True)
    except OSError as e:
        print("error", type(e).__name__, flush=True)
    s.close()
"""


DNS_SERVER = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 53))
print("ready", flush=True)
while True:
    data, a = s.recvfrom(2048)
    if len(sys.argv) > 3 and sys.argv[3].encode() in data:
        continue
    record = b"\\xc0\\x0c\\0\\x01\\0\\x01\\0\\0\\0\\x05\\0\\x04" + socket.inet_aton(sys.argv[2])
    s.sendto(data[:2] + b"\\x81\\x80\\0\\x01\\0\\x01\\0\\0\\0\\0" + data[12:] + record, a)
"""


def in_thread(work: Callable[[], T]) -> T:
    """Run on a thread that is thrown away, whatever namespace it ends in."""
    result: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            result.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


class Held:
    """Descriptors that outlive a NodeNetwork, as the supervisor holds them."""

    def __init__(self) -> None:
        self.fds: dict[str, list[int]] = {}

    async def keep_fds(self, name: str, fds: Sequence[int]) -> None:
        await self.drop_fds(name)
        self.fds[name] = [os.dup(fd) for fd in fds]

    async def kept_fds(self, name: str) -> list[int]:
        return [os.dup(fd) for fd in self.fds.get(name, [])]

    async def drop_fds(self, name: str) -> None:
        for fd in self.fds.pop(name, []):
            os.close(fd)


@dataclass
class Host:
    """One host: a namespace, a data path address, and its network."""

    name: str
    address: str
    namespace: Path
    paths: Paths
    held: Held = field(default_factory=Held)
    network: NodeNetwork = field(init=False)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    async def start(self, *, in_swarm: bool = True) -> None:
        self.network = NodeNetwork(
            self.paths,
            node_id=self.name if in_swarm else "",
            data_path_addr=self.address if in_swarm else "127.0.0.1",
            vxlan_port=4789,
            fds=self.held,
            host_netns=self.namespace,
        )
        await self.network.start()

    async def filled(self) -> None:
        """Until what its sandboxes begin with is made ahead."""
        async with asyncio.timeout(60):
            while len(self.network._spares) < AHEAD:
                await asyncio.sleep(0.01)

    def run(self, *command: str, netns: Path | None = None, check: bool = True) -> str:
        done = subprocess.run(
            ["nsenter", f"--net={netns or self.namespace}", *command],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    async def arun(self, *command: str, netns: Path | None = None, check: bool = True) -> str:
        return await asyncio.to_thread(self.run, *command, netns=netns, check=check)

    def serve(
        self, kind: str, port: int, name: str, netns: Path | None = None, *, six: bool = False
    ) -> None:
        """`six`: by IPv6 too."""
        where = f"--net={netns or self.namespace}"
        arguments = [kind, str(port), name, *(["six"] if six else [])]
        process = subprocess.Popen(
            ["nsenter", where, sys.executable, "-I", "-S", "-c", SERVER, *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"

    def serve_dns(self, address: str, answer: str, silent: str = "") -> None:
        """A resolver in the host's namespace that knows one answer to everything, but to names
        with `silent` in them.
        """
        process = subprocess.Popen(
            [
                "nsenter",
                f"--net={self.namespace}",
                sys.executable,
                *("-I", "-S", "-c", DNS_SERVER, address, answer),
                *([silent] if silent else []),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"

    async def ask(
        self, kind: str, address: str, port: int, count: int = 1, netns: Path | None = None
    ) -> list[str]:
        """What a server said to each of `count` connections: its name and our address."""
        command = [sys.executable, "-I", "-S", "-c", CLIENT, kind, address, str(port), str(count)]
        return (await self.arun(*command, netns=netns)).splitlines()

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
        self.processes.clear()


class World:
    """Some hosts, and what managers would tell them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.hosts: list[Host] = []
        self.networks: dict[str, Network] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self.services: dict[str, VirtualService] = {}
        self.sandboxes: dict[str, tuple[Host, Sandbox]] = {}
        self.lan = directory / "lan"
        in_thread(self._make_lan)

    def _make_lan(self) -> None:
        home = netns.open_own()
        namespace = netns.create(home)
        netns.pin(namespace, self.lan)
        with netns.inside(namespace, home):
            channel = netlink.Socket()
            channel.send([netlink.make_bridge("lan", 1500), netlink.set_link("lo")])
            channel.close()
        os.close(namespace)
        os.close(home)

    def plug(self, name: str, address: str) -> Path:
        """A namespace with eth0 on the LAN."""
        path = self.directory / f"{name}.ns"

        def work() -> None:
            home = netns.open_own()
            lan = os.open(self.lan, os.O_RDONLY)
            namespace = netns.create(home)
            netns.pin(namespace, path)
            with netns.inside(lan, home):
                channel = netlink.Socket()
                mac = b"\x02\x00" + netlink.address_bytes(address)
                make = netlink.make_veth(
                    name[:15],
                    peer="eth0",
                    peer_namespace=namespace,
                    mtu=1500,
                    peer_mac=mac,
                    bridge=channel.index("lan"),
                )
                channel.send([make, netlink.set_link(name[:15])])
                channel.close()
            with netns.inside(namespace, home):
                channel = netlink.Socket()
                index = channel.index("eth0")
                channel.send(
                    [
                        netlink.set_link("lo"),
                        netlink.add_address(index, address, 24),
                        netlink.set_link(index),
                    ]
                )
                channel.close()
            for fd in (home, lan, namespace):
                os.close(fd)

        in_thread(work)
        return path

    async def add_host(self) -> Host:
        number = len(self.hosts) + 1
        name, address = f"n{number}", f"192.168.77.{number}"
        root = self.directory / name
        host = Host(name, address, self.plug(name, address), Paths(root / "state", root / "run"))
        self.hosts.append(host)
        await host.start()
        return host

    # what managers tell
    def network(self, name: str, vni: int, subnet: str, **spec: object) -> Network:
        network = Network(id=f"{name}-id")
        network.spec.annotations.name = name
        network.spec.driver.name = "overlay"
        for key, value in spec.items():
            setattr(network.spec, key, value)
        network.driver_state.name = "overlay"
        network.driver_state.options["vni"] = str(vni)
        network.ipam.configs.add(subnet=subnet)
        self.networks[network.id] = network
        if network.spec.ingress:
            base = subnet.rsplit(".", 1)[0]
            for number, host in enumerate(self.hosts):
                self._endpoint(network, f"node/{host.name}", f"{base}.{200 + number}/24", host)
        return network

    def _endpoint(self, network: Network, suffix: str, cidr: str, host: Host) -> Endpoint:
        endpoint = Endpoint(
            id=f"{network.id}/{suffix}",
            network_id=network.id,
            addr=cidr,
            mac="02:42:" + netlink.address_bytes(cidr.split("/")[0]).hex(":"),
            node_id=host.name,
            node_addr=host.address,
        )
        self.endpoints[endpoint.id] = endpoint
        return endpoint

    def service(self, name: str, *vips: tuple[Network, str], dnsrr: bool = False) -> VirtualService:
        service = VirtualService(id=f"{name}-id", name=name)
        service.mode = EndpointSpec.DNSRR if dnsrr else EndpointSpec.VIP
        for network, address in vips:
            service.vips.add(network_id=network.id, addr=address)
        self.services[service.id] = service
        return service

    def change(self, endpoint_id: str, **values: object) -> None:
        """Change an endpoint as managers do: a new message, never the old one."""
        endpoint = Endpoint()
        endpoint.CopyFrom(self.endpoints[endpoint_id])
        for key, value in values.items():
            setattr(endpoint, key, value)
        self.endpoints[endpoint_id] = endpoint

    def tell_keys(self) -> None:
        """As managers do: endpoints on encrypted networks say their nodes' keys."""
        hosts = {host.name: host for host in self.hosts}
        for endpoint_id, endpoint in list(self.endpoints.items()):
            said = hosts[endpoint.node_id].network.encrypting.describe()
            self.change(endpoint_id, node_key=said.public_key, node_key_port=said.port)

    async def tell(self, settle: bool = True) -> None:
        """Have all hosts told of all."""
        for host in self.hosts:
            await host.network.update(
                networks=self.networks, endpoints=self.endpoints, services=self.services
            )
        if settle:
            for host in self.hosts:
                await host.network.settled()

    async def task(
        self,
        host: Host,
        task: str,
        *places: tuple[Network, str],
        service: VirtualService | None = None,
        dns: DNSConfig | None = None,
        host_ports: Sequence[PortConfig] = (),
        serve: int = 0,
    ) -> Sandbox:
        """A sandbox with its endpoints told to everyone, and perhaps a server in it."""
        attachments = []
        for network, cidr in places:
            cidr, _, six = cidr.partition(" ")
            endpoint = self._endpoint(network, task, cidr, host)
            endpoint.addr6 = six
            assert endpoint.id in self.endpoints
            endpoint.task_id, endpoint.in_rotation = task, True
            if service is not None:
                endpoint.service_id, endpoint.service_name = service.id, service.name
            attachments.append(
                NetworkAttachment(
                    network_id=network.id,
                    network_name=network.spec.annotations.name,
                    addresses=[cidr, six] if six else [cidr],
                    mac=endpoint.mac,
                )
            )
        await self.tell()
        sandbox = await host.network.create_sandbox(
            task,
            SandboxRequest(attachments=attachments, dns=dns or DNSConfig(), ports=host_ports),
        )
        self.sandboxes[task] = (host, sandbox)
        if serve:
            host.serve("tcp", serve, task, sandbox.netns)
        return sandbox

    async def container(
        self,
        host: Host,
        name: str,
        *places: str | EndpointRequest,
        ports: Sequence[PortConfig] = (),
        serve: int = 0,
        mode: str = "",
        join: str = "",
    ) -> Sandbox:
        """A plain container's sandbox on networks of its host, and perhaps a server in it."""
        endpoints = [EndpointRequest(p) if isinstance(p, str) else p for p in places]
        request = SandboxRequest(
            endpoints=endpoints, ports=ports, names=[name, f"{name}-host"], mode=mode, join=join
        )
        sandbox = await host.network.create_sandbox(name, request)
        self.sandboxes[name] = (host, sandbox)
        if serve:
            host.serve("tcp", serve, name, sandbox.netns)
        return sandbox

    async def close(self) -> None:
        for host in self.hosts:
            host.stop()
            with contextlib.suppress(Exception):
                await host.network.teardown()
            await host.network.close()
            for name in list(host.held.fds):
                await host.held.drop_fds(name)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    try:
        yield made
    finally:
        await made.close()
        for path in [*tmp_path.glob("*.ns"), made.lan]:
            netns.unpin(path)
        for path in tmp_path.glob("*/run/netns/*"):
            netns.unpin(path)


@pytest.fixture
def threads() -> Iterator[netns.Threads]:
    made = netns.Threads(None)
    yield made
    made.close()


DNS_CLIENT = """
import socket, sys
kind, server, query = sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3])
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
s.settimeout(3)
s.connect((server, 53))
if kind == "tcp":
    s.send(len(query).to_bytes(2, "big") + query)
    f = s.makefile("rb")
    print(f.read(int.from_bytes(f.read(2), "big")).hex())
else:
    for _ in range(15):  # as every resolver's client does: a datagram may be lost
        s.send(query)
        try:
            print(s.recv(65535).hex())
            break
        except TimeoutError:
            pass
"""


@dataclass(frozen=True)
class Reply:
    """An answer, taken apart as far as tests look."""

    code: int
    truncated: bool
    addresses: list[str]
    raw: bytes


def read_reply(data: bytes) -> Reply:
    flags, count = int.from_bytes(data[2:4], "big"), int.from_bytes(data[6:8], "big")
    offset = data.index(b"\0", 12) + 5
    addresses = []
    for _ in range(count):
        kind = int.from_bytes(data[offset + 2 : offset + 4], "big")
        length = int.from_bytes(data[offset + 10 : offset + 12], "big")
        content = data[offset + 12 : offset + 12 + length]
        families = {1: socket.AF_INET, 28: socket.AF_INET6}
        known = socket.inet_ntop(families[kind], content) if kind in families else ""
        addresses.append(known or content.hex())
        offset += 12 + length
    return Reply(flags & 0xF, bool(flags & 0x0200), addresses, data)


async def outside(world: World) -> Host:
    """A machine on the LAN that is no node."""
    address = "192.168.77.99"
    path = await asyncio.to_thread(world.plug, "client", address)
    return Host("client", address, path, Paths(world.directory, world.directory))


async def resolve(
    host: Host, sandbox: Sandbox, name: str, kind: int = 1, transport: str = "udp"
) -> Reply:
    """Ask a sandbox's resolver from inside."""
    labels = b"".join(bytes([len(x)]) + x.encode() for x in name.split("."))
    query = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0" + labels + b"\0" + kind.to_bytes(2, "big")
    query += b"\0\x01"
    command = [sys.executable, "-I", "-S", "-c", DNS_CLIENT, transport, "127.0.0.11", query.hex()]
    return read_reply(bytes.fromhex((await host.arun(*command, netns=sandbox.netns)).strip()))


SCTP_CONNTRACK = Path("/proc/sys/net/netfilter/nf_conntrack_sctp_timeout_established")
# An INIT of RFC 9260 over a raw socket, again and again: kernels without SCTP can carry it as well.
SEND_INIT = """
import socket, struct, sys, time
def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
host, port = sys.argv[1], int(sys.argv[2])
init = struct.pack("!BBHIIHHI", 1, 0, 20, 7, 65536, 1, 1, 7)
head = struct.pack("!HHI", 4711, port, 0)
packet = head + struct.pack("<I", crc32c(head + bytes(4) + init)) + init
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)
for _ in range(600):
    raw.sendto(packet, (host, 0))
    time.sleep(0.1)
"""
HEAR = """
import socket, struct
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)
raw.settimeout(55)
data, sender = raw.recvfrom(4096)
print(sender[0], struct.unpack("!HH", data[20:24])[1], data[32])
"""


async def first_sctp_packet(
    client: Host, address: str, host: Host, inside: Path, *, sender: Path | None = None
) -> list[str]:
    """What arrives inside a sandbox of `host` of an association: sender, port, kind of chunk."""
    where = f"--net={sender or client.namespace}"
    sending = await asyncio.create_subprocess_exec(
        *("nsenter", where, sys.executable, "-I", "-S", "-c", SEND_INIT),
        *(address, "5399"),
    )
    try:
        heard = await host.arun(sys.executable, "-I", "-S", "-c", HEAR, netns=inside)
    finally:
        with contextlib.suppress(ProcessLookupError):
            sending.kill()
        await sending.wait()
    return heard.split()


@contextlib.asynccontextmanager
async def hanging(host: Host, name: str, sandbox: Sandbox, server: str) -> AsyncIterator[None]:
    """Have a sandbox that holds a connection at first, and is let go of at the end while its host
    is off the network.
    """
    process = await asyncio.create_subprocess_exec(
        *("nsenter", f"--net={sandbox.netns}", sys.executable, "-I", "-S", "-c", HOLDING, server),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline()
    yield
    await host.arun("ip", "link", "set", "eth0", "down")
    process.kill()
    await process.wait()
    await host.network.delete_sandbox(name)


HOLDING = """
import socket, sys, time
held = socket.create_connection((sys.argv[1], 80))
print(held.recv(100).decode().strip(), flush=True)
time.sleep(600)
"""
