"""`swarmlite doctor` finds what would hinder a node, and says what to do."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmlite.identity.node import parse
from swarmlite.node import doctor, peerclock
from swarmlite.node.doctor import Finding, Grade, Peer
from swarmlite.paths import Paths
from swarmlite.testing.namespaces import Lan, Machine

NODE = parse(
    {
        "node_id": "n1", "role": "manager", "advertise_addr": "10.0.0.1:2377",
        "listen_addr": "0.0.0.0:2377", "etcd_endpoints": [],
    }
)  # fmt: skip
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths(tmp_path / "not" / "there", tmp_path / "run")


def about(findings: Iterator[Finding], what: str) -> list[Finding]:
    return [finding for finding in findings if finding.what == what]


@needs_root
def test_everything_is_looked_at_and_nothing_is_left(paths: Paths) -> None:
    found = list(doctor.host(paths, None))
    assert {"kernel and tools", "clock", "disk", "etcd"} <= {f.what for f in found}
    assert all("\n" not in f.line and f.line for f in found)
    assert list(paths.state_dir.parent.parent.iterdir()) == []


def test_a_disk_that_syncs_slowly_is_told(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SLOW_SYNC_S", 0.0)
    monkeypatch.setattr(doctor, "FREE_BYTES", 1 << 60)
    room, slow = doctor._disk(paths.state_dir)
    assert room.grade is slow.grade is Grade.WARNING
    assert "make room" in room.line and "use a faster disk" in slow.line


def test_an_etcd_that_is_missing_is_wrong_for_managers_only(paths: Paths) -> None:
    for node, grade in ((NODE, Grade.WRONG), (None, Grade.WARNING)):
        [found] = doctor._etcd("no-such-etcd", node)
        assert found.grade is grade and "apt-get install etcd-server" in found.line


@needs_root
def test_a_port_that_another_has_is_told(tmp_path: Path) -> None:
    """In a namespace of its own, where all of them are free but that one."""
    tried = (
        "import socket\n"
        "from swarmlite.node import doctor\n"
        "show = lambda: print(*(f.line for f in doctor._ports()), sep='\\n')\n"
        "show()\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 4789)); show()\n"
    )
    done = subprocess.run(
        ["unshare", "-n", sys.executable, "-c", tried], capture_output=True, text=True, check=True
    )
    free, taken = done.stdout.splitlines()
    assert free == "free"
    assert taken.startswith("port 4789 (VXLAN) is not free: Address already in use")


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[Lan, Machine, str]]:
    lan = Lan(f"doctor{os.getpid()}")
    machine = Machine("doctor1")
    try:
        address = lan.address()
        lan.plug(machine, "doctor1", address)
        yield lan, machine, address
    finally:
        machine.kill()
        lan.close()


@needs_root
def test_the_way_to_another_node_is_tried(two: tuple[Lan, Machine, str]) -> None:
    """A port that is open, one that nobody has, and packets that do not fit."""
    _, machine, address = two
    listener = subprocess.Popen(
        machine.enter([sys.executable, "-c",
                       f"import socket, sys; s = socket.create_server(('{address}', 2377));"
                       " print('up', flush=True); sys.stdin.read()"]),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert listener.stdout is not None and listener.stdout.readline() == b"up\n"
        other = Peer("other", address, f"{address}:2377", image_port=2377)
        api, etcd, images, large, clock = doctor.pairs([other], NODE)
        assert images.grade is Grade.OK and f"images at {address}:2377" in images.line
        assert clock.grade is Grade.OK and "clock is 0." in clock.line, clock
        assert api.grade is Grade.OK, api
        assert etcd.grade is Grade.WRONG, etcd
        assert f"other: etcd at {address}:2382 cannot be reached" in etcd.line
        assert "let TCP 2382 pass?" in etcd.line
        assert large.grade is Grade.OK, large
    finally:
        listener.communicate(timeout=30)


@needs_root
@pytest.mark.skipif(shutil.which("ping") is None, reason="iputils-ping is not installed")
def test_a_way_that_takes_no_large_packets_is_told(two: tuple[Lan, Machine, str]) -> None:
    lan, machine, address = two
    subprocess.run(machine.enter(["ip", "link", "set", "eth0", "mtu", "1300"]), check=True)
    subprocess.run(lan.machine.enter(["ip", "link", "set", "doctor1", "mtu", "1300"]), check=True)
    found = doctor._large_packets(Peer("other", address, ""))
    assert found.grade is Grade.WARNING
    assert "com.docker.network.driver.mtu" in found.line


@needs_root
@pytest.mark.parametrize(
    ("ours_ahead_s", "grade", "said"),
    [
        (600, Grade.WARNING, "s behind of ours: run chrony"),
        (-600, Grade.WARNING, "s ahead of ours: run chrony"),
        (7200, Grade.WRONG, "s behind of ours: run chrony"),
    ],
)
def test_clocks_that_differ_are_told(
    two: tuple[Lan, Machine, str], ours_ahead_s: int, grade: Grade, said: str
) -> None:
    _, _, address = two
    found = doctor._same_time(Peer("other", address, ""), lambda: time.time() + ours_ahead_s)
    assert found.grade is grade and said in found.line, found


@needs_root
def test_a_host_that_does_not_say_its_time_is_no_fault(
    two: tuple[Lan, Machine, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lan, _, _ = two
    monkeypatch.setattr(peerclock, "WAIT_S", 0.1)
    found = doctor._same_time(Peer("other", str(lan.subnet[250]), ""))
    assert found.grade is Grade.OK and "does not answer" in found.line
    assert doctor._same_time(Peer("other", "fd00::1", "")).grade is Grade.OK


def test_the_clock_is_asked_of_the_kernel() -> None:
    with socket.socket():
        found = doctor._clock()
    assert found.what == "clock" and found.grade in (Grade.OK, Grade.WARNING)


KERNEL_KNOWS = """
set -e
ip link add swarmlite-in type veth peer name inside
ip link set swarmlite-in up
neigh() { ip neigh add "$1" lladdr "$2" dev swarmlite-in nud permanent; }
neigh 10.0.0.5 02:42:0a:00:00:05
neigh 10.0.0.9 02:42:0a:00:00:05
neigh 10.0.0.6 02:42:0a:00:00:06
touch "$1/net-one"
unshare --net="$1/net-one" ip link add vx0 type vxlan id 7 dstport 4789
for place in 5=192.0.2.5 6=192.0.2.6; do
    nsenter --net="$1/net-one" \\
        bridge fdb append "02:42:0a:00:00:0${place%=*}" dev vx0 dst "${place#*=}"
done
exec "$2" -c 'import sys; from pathlib import Path; from swarmlite.node import overlayplaces
print(dict(overlayplaces.places(Path(sys.argv[1]))))' "$1"
"""


@needs_root
def test_who_can_be_asked_through_the_overlay_is_known_to_the_kernel(tmp_path: Path) -> None:
    """A node that has a task there, 10.0.0.9 behind 10.0.0.5; without one it does not know us."""
    command = ["unshare", "-n", "-m", "sh", "-c", KERNEL_KNOWS, "sh", str(tmp_path), sys.executable]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "{'192.0.2.5': '10.0.0.5'}\n", done
