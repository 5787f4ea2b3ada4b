"""Hosts of namespaces behave as machines do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from swarmlite.testing import reserved
from swarmlite.testing.host import Host, outermost
from swarmlite.testing.namespaces import Lan, Machine


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
@pytest.mark.skipif(shutil.which("ping") is None, reason="iputils-ping is not installed")
def test_a_host_that_boots_again_is_reached_at_once_by_those_who_knew_it() -> None:
    """Its card is the same one: nobody's table of neighbours is out of date."""

    def packets(count: int) -> bool:
        ping = ["ping", "-q", "-c", str(count), "-i", "0.2", "-W", "5", str(lan.subnet[1])]
        return subprocess.run(other.enter(ping), capture_output=True).returncode == 0

    lan = Lan(f"cards{os.getpid()}")
    machines: list[Machine] = []
    try:
        address, other_address = lan.address(), lan.address()
        machines.append(Machine("cards1"))
        lan.plug(machines[0], "cards1", address)
        other = Machine("cards2")
        machines.append(other)
        lan.plug(other, "cards2", other_address)
        assert packets(3)
        machines[0].kill()
        machines[0] = Machine("cards1")
        lan.plug(machines[0], "cards1b", address)
        # Known as reachable from before, it is not asked for by its address again.
        assert packets(1)
    finally:
        for machine in machines:
            machine.kill()
        lan.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
def test_a_command_on_a_host_ends_with_whoever_is_killed_in_its_place(tmp_path: Path) -> None:
    """Its output ends too: nobody waits for a pipe that something inside still holds."""
    lan = Lan(f"ends{os.getpid()}")
    host = Host("ends1", lan, tmp_path, "/unused")
    try:
        host.machine = Machine("ends1")
        process = host.popen("sh", "-c", "echo ready; exec sleep 1000")
        assert process.stdout is not None and process.stdout.readline().strip() == "ready"
        process.kill()
        said, _ = process.communicate()
        assert not said
    finally:
        host.kill()
        lan.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
def test_lans_that_are_made_at_once_have_different_subnets_and_names() -> None:
    """Also when two runs of tests begin beside each other; long names differ by their ends."""
    names = [f"a-long-name-of-lan-{os.getpid()}-{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as pool:
        lans = list(pool.map(Lan, names))
    try:
        assert len({lan.subnet for lan in lans}) == len(names)
        shown = subprocess.run(["ip", "-4", "route"], capture_output=True, text=True, check=True)
        for lan in lans:
            [route] = [line for line in shown.stdout.splitlines() if str(lan.subnet) in line]
            assert lan.gateway in route
    finally:
        for lan in lans:
            lan.close()


def test_of_processes_with_one_command_line_the_parent_is_meant() -> None:
    """A supervisor and the process that forks for it look the same; either has the lower pid."""
    forks = "import os; pid = os.fork(); pid and print(pid, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", forks], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert outermost([child, parent.pid]) == outermost([parent.pid, child]) == parent.pid
        parent.communicate("\n\n")


def test_a_port_is_given_to_one_process_only_until_it_is_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also while nobody listens on it yet."""
    first = reserved.port()
    monkeypatch.setattr(reserved, "PORTS", range(first, first + 1))
    ask = f"from swarmlite.testing import reserved as r; r.PORTS = range({first}, {first + 1})"
    command = [sys.executable, "-c", f"{ask}; print(r.port())"]
    try:
        with pytest.raises(RuntimeError, match="no free port"):
            reserved.port()
        refused = subprocess.run(command, capture_output=True, text=True)
        assert "no free port" in refused.stderr
    finally:
        reserved.release(first)
    given = subprocess.run(command, capture_output=True, text=True)
    assert given.stdout.strip() == str(first), given.stderr
