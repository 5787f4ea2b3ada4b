"""Ports of a host that its tasks publish (`mode=host`), beside what else runs there."""

from __future__ import annotations

import sys

import pytest

from swarmlite.testing import Cluster

pytestmark = [pytest.mark.timeout(240), pytest.mark.machine]

SERVE = "mkdir -p /w; hostname >/w/index.html; exec httpd -f -p 80 -h /w"
LISTEN = """
import socket, sys, time
held = socket.create_server(("0.0.0.0", int(sys.argv[1])))
print("ready", flush=True)
time.sleep(600)
"""


def test_a_host_port_that_a_foreign_process_holds_is_told_and_taken_once_it_is_free(
    swarm: Cluster, busybox: str
) -> None:
    """The task says why it cannot start; another on the same node does."""
    worker = swarm.workers[0]
    foreign = worker.popen(sys.executable, "-I", "-S", "-c", LISTEN, "8083")
    try:
        assert foreign.stdout is not None and foreign.stdout.readline().strip() == "ready"
        for name, port in (("held", 8083), ("beside", 8084)):
            swarm.manager.cli(
                "service", "create", "--detach", "--quiet", "--stop-grace-period", "0s",
                "--name", name, "-p", f"mode=host,published={port},target=80",
                "--constraint", f"node.hostname=={worker.name}", "--restart-delay", "1s",
                busybox, "sh", "-c", SERVE,
            )  # fmt: skip
        said = "port 8083/tcp of this host is already taken"
        swarm.wait(
            lambda: said in swarm.manager.cli("service", "ps", "--no-trunc", "held"),
            60, "the reason why the task does not start",
        )  # fmt: skip
        swarm.wait_running("beside", 1)
        swarm.wait(lambda: worker.get(8084), 30, "the other's port to answer")
        assert swarm.running("held") == []
    finally:
        foreign.kill()
        foreign.communicate()
    swarm.wait_running("held", 1)
    swarm.wait(lambda: worker.get(8083), 30, "the port to answer")
