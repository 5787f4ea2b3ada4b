"""Beside firewalld, the real one on a bus of its own: what doctor says to do is what it takes."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from network_world import Host, World, outside

from swarmlite.node import firewalld
from swarmlite.proto.types_pb2 import PortConfig

MISSING = [n for n in ("firewalld", "firewall-cmd", "dbus-daemon") if shutil.which(n) is None]

BUS = """<busconfig><type>system</type><listen>unix:path=/run/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow own="*"/>
<allow eavesdrop="true"/></policy></busconfig>"""

# As firewalld 1.3 writes them, for a host where it is not installed.
REJECTING = """table inet firewalld {
	chain filter_INPUT_ZONES {
		iifname "swarmlite0" goto filter_IN_trusted
		iifname "tun0" goto filter_IN_home
		goto filter_IN_public
	}
	chain filter_IN_public_allow {
		tcp dport 22 accept
		udp dport 4000-5000 accept
	}
	chain filter_IN_home_allow {
		tcp dport 2378 accept
		udp dport 4789 accept
	}
}"""
PORTS = (("udp", 4789), ("tcp", 2378))


def test_what_is_to_be_done_is_said_by_zone() -> None:
    trust, public = firewalld.judge(REJECTING, PORTS)
    assert "--zone=trusted --add-interface=swarmlite-in --add-interface=swarmlite-br &&" in trust
    assert "zone public keeps other nodes away" in public and "--add-port=2378/tcp &&" in public
    everything = REJECTING.replace("goto filter_IN_public", "goto filter_IN_trusted")
    assert not list(firewalld.judge(everything, PORTS))


@contextmanager
def running(host: Host, folder: Path) -> Iterator[Path]:
    """firewalld in a host's network, with /run and a bus of its own; a script's way to it."""
    (folder / "bus.conf").write_text(BUS)
    script = (
        "mount -t tmpfs none /run && mkdir /run/firewalld /run/dbus && "
        f"dbus-daemon --config-file={folder}/bus.conf --fork --nopidfile && "
        "echo ready && exec firewalld --nofork --nopid"
    )
    inside = f"DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/bus; export DBUS_SYSTEM_BUS_ADDRESS; {script}"
    process = subprocess.Popen(
        ["nsenter", f"--net={host.namespace}", "unshare", "--mount", "--pid", "--fork",
         "--kill-child", "--mount-proc", "sh", "-c", inside],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None and process.stdout.readline().strip() == b"ready"
        yield Path(f"/proc/{child_of(process.pid)}/ns/mnt")
    finally:
        process.kill()  # the first of a process namespace of its own: all of it ends
        process.communicate()


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def command(host: Host, mount: Path, *words: str) -> str:
    """firewall-cmd's answer."""
    bus = "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/bus"
    return host.run("nsenter", f"--mount={mount}", "env", bus, "firewall-cmd", *words, check=False)


async def until_running(host: Host, mount: Path) -> None:
    for _ in range(600):
        if command(host, mount, "--state").strip() == "running":
            return
    raise AssertionError("firewalld did not start")


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {' '.join(MISSING)}")
async def test_with_what_doctor_says_all_traffic_flows(world: World, tmp_path: Path) -> None:
    """Between hosts, from outside to a published port here and elsewhere, and out."""
    one, two = await world.add_host(), await world.add_host()
    ingress = world.network("ingress", 4096, "10.0.0.0/24", ingress=True)
    front = world.network("front", 4097, "10.1.0.0/24")
    for number, host in enumerate((one, two), 1):
        service = world.service(f"web{number}")
        service.ingress_ports.add(
            target_port=80, published_port=8080 + number, protocol=PortConfig.TCP
        )
        places = ((ingress, f"10.0.0.1{number}/24"), (front, f"10.1.0.1{number}/24"))
        await world.task(host, f"web{number}", *places, service=service, serve=80)
    two.serve("tcp", 8000, "far")
    plain = await world.container(one, "plain", "bridge")
    client = await outside(world)
    sandbox = world.sandboxes["web1"][1]

    async def flows() -> list[list[str]]:
        return [
            await client.ask("tcp", one.address, 8081),
            await client.ask("tcp", one.address, 8082),
            await client.ask("tcp", two.address, 8081),
            await one.ask("tcp", "10.1.0.12", 80, netns=sandbox.netns),
            await two.ask("tcp", "10.1.0.11", 80, netns=world.sandboxes["web2"][1].netns),
            await one.ask("tcp", two.address, 8000, netns=sandbox.netns),
            await one.ask("tcp", two.address, 8000, netns=plain.netns),
        ]

    well = [
        ["web1 192.168.77.99"],
        ["web2 192.168.77.99"],
        ["web1 192.168.77.99"],
        ["web2 10.1.0.11"],
        ["web1 10.1.0.12"],
        ["far 192.168.77.1"],
        ["far 192.168.77.1"],
    ]
    assert await flows() == well
    with running(one, tmp_path) as mount:
        await until_running(one, mount)
        assert await flows() != well
        said = list(firewalld.judge(one.run("nft", "list", "table", "inet", "firewalld"), PORTS))
        assert len(said) == 2
        for line in said:  # at once, in the place of for ever and a reload
            words = shlex.split(line.rpartition(": ")[2].partition(" && ")[0])
            words.remove("--permanent")
            assert words[0] == "firewall-cmd"
            assert "success" in command(one, mount, *words[1:])
        before = one.run("nft", "list", "table", "inet", "firewalld")
        assert await flows() == well
        await one.network.reconcile()
        assert await flows() == well
        assert one.run("nft", "list", "table", "inet", "firewalld") == before
