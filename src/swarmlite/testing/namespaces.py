"""Machines made of namespaces, and the link layer that joins them.

A `Machine` is a process in namespaces of its own; whatever runs in it is killed with it by the
kernel. A `Lan` is a network namespace that holds a bridge, a port for each machine, and one for
the machine that all of this runs on.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

from . import reserved

INIT = Path(__file__).with_name("host_init.py")
START_TIMEOUT_S = 10.0
_NS_GET_PARENT = 0xB702


class Machine:
    """Namespaces (network, mount, pid, uts, ipc) with a first process, alive until `kill`."""

    def __init__(self, hostname: str, *, outlive: bool = False) -> None:
        """Start it; with `outlive` it goes on when this process ends. Raises RuntimeError."""
        self.hostname = hostname
        command = ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork"]
        if not outlive:
            # However this process ends, the kernel ends the machine: first unshare, then its child.
            command = ["setpriv", "--pdeathsig", "KILL", *command, "--kill-child"]
        # The base interpreter: a virtual environment's needs site, which -S leaves out.
        command += [sys.executable, "-I", "-S", str(INIT), hostname]
        self._process: subprocess.Popen[str] | None = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            line = stdout.readline().strip()
        if not line.isdigit():
            self._process.kill()
            self._process.wait()
            raise RuntimeError(f"host {hostname} did not start: {line}")
        self.pid = int(line)

    @classmethod
    def adopt(cls, hostname: str, pid: int) -> Machine:
        """A machine that another process made with `outlive`, by its first process."""
        machine = cls.__new__(cls)
        machine.hostname = hostname
        machine.pid = pid
        machine._process = None
        return machine

    def enter(self, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` inside, in its root folder."""
        return ["nsenter", "-t", str(self.pid), "-n", "-m", "-p", "-u", "-i", "--", *command]

    def kill(self) -> None:
        """Cut the power: everything inside dies at once, and its namespaces with it."""
        kill_machine(self.pid)
        if self._process is None:
            return
        try:
            self._process.wait(START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def kill_machine(pid: int) -> None:
    """Kill a machine's first process and wait until the kernel has ended the rest."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        os.close(descriptor)
    deadline = time.monotonic() + START_TIMEOUT_S
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        if _is_zombie(pid):
            return
        time.sleep(0.005)


def pids_inside(first: int) -> list[int]:
    """The machine's pids of all that runs on a host but its first process, containers included.

    They are in the host's pid namespace or in one below it: all have an ancestor that is.
    """
    found = []
    namespace = Path(f"/proc/{first}/ns/pid").stat().st_ino
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        try:
            if pid != first and _is_below(pid, namespace):
                found.append(pid)
        except OSError:
            continue
    return found


def _is_below(pid: int, namespace: int) -> bool:
    """Whether a process's pid namespace is this one or one inside it."""
    descriptor = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY)
    try:
        while os.fstat(descriptor).st_ino != namespace:
            parent = fcntl.ioctl(descriptor, _NS_GET_PARENT)
            os.close(descriptor)
            descriptor = parent
        return True
    except OSError:  # EPERM: above is the machine's own
        return False
    finally:
        os.close(descriptor)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return True


def ip_batch(pid: int | None, lines: Sequence[str]) -> None:
    """Run `ip` commands in the network namespace of a process (None: the machine's own).

    Raises RuntimeError with what ip said.
    """
    enter = ["nsenter", "-t", str(pid), "-n", "--"] if pid else []
    done = subprocess.run(
        [*enter, "ip", "-batch", "-"], input="\n".join(lines), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"ip: {done.stderr.strip()}")


class Lan:
    """One broadcast domain in a namespace of its own; hosts get .1 and up, the machine .254."""

    def __init__(self, name: str, *, outlive: bool = False) -> None:
        """Make it on a /24 of 192.168.0.0/16 that the machine has no route to."""
        self.name = name
        self.machine = Machine(f"{name}-lan", outlive=outlive)
        self._uplink = _uplink(name)
        self._next = 1
        try:
            ip_batch(
                self.machine.pid,
                ["link set lo up", "link add lan type bridge mcast_snooping 0", "link set lan up"],
            )
            # Two LANs with one subnet would answer for each other's hosts.
            with reserved.choosing("subnet"):
                self.subnet = free_subnet()
                self.gateway = str(self.subnet[254])
                self._connect()
            ip_batch(self.machine.pid, ["link set uplink master lan up"])
        except BaseException:
            self.machine.kill()
            raise

    def _connect(self) -> None:
        """The machine's own end, so that a person's shell and a registry on it are reached."""
        ip_batch(
            None,
            [
                f"link add {self._uplink} type veth peer name uplink netns {self.machine.pid}",
                f"addr add {self.gateway}/24 dev {self._uplink}",
                f"link set {self._uplink} up",
            ],
        )

    @classmethod
    def adopt(
        cls, name: str, machine: Machine, subnet: ipaddress.IPv4Network, addresses_given: int
    ) -> Lan:
        """A LAN that another process made with `outlive`."""
        lan = cls.__new__(cls)
        lan.name, lan.machine, lan.subnet = name, machine, subnet
        lan.gateway = str(subnet[254])
        lan._uplink = _uplink(name)
        lan._next = addresses_given + 1
        return lan

    @property
    def addresses_given(self) -> int:
        """How many addresses hosts have had."""
        return self._next - 1

    def address(self) -> str:
        """The next free address."""
        self._next += 1
        return str(self.subnet[self._next - 1])

    def plug(self, machine: Machine, port: str, address: str) -> None:
        """Join `machine` by a veth: `port` here, eth0 with `address` there.

        The link-layer address is the address's own: a host that boots again has the card that it
        had. With another one its neighbours would go on sending to the old one for up to a minute.
        """
        card = "06:53:" + ":".join(f"{part:02x}" for part in ipaddress.IPv4Address(address).packed)
        ip_batch(
            self.machine.pid,
            [
                f"link add {port} type veth peer name eth0 address {card} netns {machine.pid}",
                f"link set {port} master lan up",
            ],
        )
        ip_batch(
            machine.pid,
            [
                "link set lo up",
                f"addr add {address}/24 dev eth0",
                "link set eth0 up",
                f"route add default via {self.gateway}",
            ],
        )

    def close(self) -> None:
        """Take the bridge, its ports and the machine's own end away."""
        self.machine.kill()
        subprocess.run(["ip", "link", "del", self._uplink], capture_output=True)


def _uplink(name: str) -> str:
    """The machine's own end of a LAN; a name that is cut would lose what makes it one's own."""
    whole = f"sl-{name}"
    return whole if len(whole) <= 15 else f"{whole[:7]}{zlib.crc32(name.encode()):08x}"


def free_subnet() -> ipaddress.IPv4Network:
    """A /24 that no address or route of the machine overlaps. Raises RuntimeError."""
    shown = subprocess.run(
        ["ip", "-4", "route", "show", "table", "all"], capture_output=True, text=True
    )
    taken = []
    for line in shown.stdout.splitlines():
        words = line.split()
        word = words[1] if words[0] in {"local", "broadcast", "unreachable"} else words[0]
        if word != "default":
            taken.append(ipaddress.ip_network(word, strict=False))
    for third in range(100, 255):
        subnet = ipaddress.IPv4Network(f"192.168.{third}.0/24")
        if not any(subnet.overlaps(other) for other in taken):
            return subnet
    raise RuntimeError("no free /24 in 192.168.100.0 to 192.168.254.0 for the hosts")
