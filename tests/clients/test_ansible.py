"""Ansible's community.docker on a swarm of three hosts."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from swarmlite.testing import Cluster

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1800)]
PLAYBOOK = Path(__file__).with_name("swarm.yml")


def test_a_playbook_runs_and_a_second_time_changes_nothing(
    ansible: Path, three_hosts: tuple[Cluster, str], tmp_path: Path
) -> None:
    """docker_swarm, _node, _network, _secret, _config, _swarm_service, _stack, _container."""
    cluster, image = three_hosts
    said = {
        "socket": f"unix://{cluster.manager.paths.docker_socket}",
        "address": cluster.manager.addr,
        "image": image,
        "ansible_python_interpreter": str(ansible / "python"),
    }
    done = subprocess.run(
        [
            *(ansible / "ansible-playbook", "-i", "localhost,", "-c", "local", PLAYBOOK),
            *("-e", json.dumps(said)),
        ],
        capture_output=True,
        text=True,
        timeout=1500,
        env={
            **os.environ,
            "HOME": str(tmp_path),
            "ANSIBLE_LOCAL_TEMP": str(tmp_path),
            "LC_ALL": "C.UTF-8",
        },
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
    assert "failed=0" in done.stdout
