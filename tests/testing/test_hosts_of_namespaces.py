"""Hosts of namespaces behave as machines do."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from swarmlite.testing.namespaces import Lan, Machine


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
@pytest.mark.skipif(shutil.which("ping") is None, reason="iputils-ping is not installed")
def test_a_host_that_boots_again_is_reached_at_once_by_those_who_knew_it() -> None:
    """Its card is the same one: nobody's table of neighbours is out of date."""

    def packets(count: int) -> bool:
        ping = ["ping", "-q", "-c", str(count), "-i", "0.2", "-W", "5", str(lan.subnet[1])]
        return subprocess.run(other.enter(ping), capture_output=True).returncode == 0

    lan = Lan("cards")
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
