"""Which address a node advertises when nobody says one, on real interfaces of a namespace."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
set -e
add() { ip link add "$1" type bridge; ip addr add "$2" dev "$1"; }
add eth9 192.0.2.1/24
add swarmlite-br 172.17.0.1/16
add swarmlite0 172.18.0.1/16
add swarmlite-in 10.0.0.2/24
add br-0123456789ab 172.19.0.1/16
{more}
exec "$1" -c 'from swarmlite.node.addresses import advertised; print(advertised({})[0])'
"""


def advertised(more: str = "") -> subprocess.CompletedProcess[str]:
    script = SCRIPT.replace("{more}", more)
    return subprocess.run(
        ["unshare", "--net", "sh", "-c", script, "sh", sys.executable],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
def test_bridges_of_containers_are_no_addresses_to_choose_from() -> None:
    """A host that has run a container has them, and still one address only."""
    assert advertised().stdout == "192.0.2.1:2377\n"
    several = advertised("add eth8 198.51.100.1/24")
    said = several.stderr.splitlines()[-1]
    assert several.returncode and "198.51.100.1 on eth8 and 192.0.2.1 on eth9" in said
