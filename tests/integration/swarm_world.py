"""What the tests on the one cluster share: services on it, and an empty cluster again."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

from swarmlite.proto.control_pb2 import ListRequest, ListTasksRequest, RemoveRequest
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.specs_pb2 import NodeSpec
from swarmlite.testing import Cluster, Host, sampler
from swarmlite.testing.containers.host import ContainerHost

EXAMPLES = Path(__file__).parents[2] / "compose-examples"
Deploy = Callable[..., Cluster]
"""deploy(EXAMPLE, DEPLOY_FLAG...): the example's stack, under the example's name."""
GET = """
import sys, urllib.request
open_ = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
sys.stdout.write(open_(sys.argv[1], timeout=5).read().decode())
"""
SERVE = "mkdir -p /tmp/w; hostname > /tmp/w/index.html; exec httpd -f -p 80 -h /tmp/w"


def create(swarm: Cluster, *args: str) -> None:
    options = ("--detach", "--quiet", "--stop-grace-period", "0s")
    swarm.manager.cli("service", "create", *options, *args)


def put(host: Host | ContainerHost, file: Path) -> str:
    """A file's path, where the host has it too: it comes by a command to one in an engine."""
    if isinstance(host, ContainerHost):
        take = 'mkdir -p "$(dirname "$1")" && exec cat >"$1"'
        host.run("sh", "-c", take, "sh", str(file), input=file.read_bytes())
    return str(file)


def in_container(host: Host, service: str, *command: str) -> str:
    """Run a command in the first container of a service on a host."""
    shown = host.cli("container", "ls", "--no-trunc", "--format", "{{.ID}} {{.Names}}")
    container = next(
        line.split()[0] for line in shown.splitlines() if line.split()[1].startswith(service)
    )
    return host.cli("container", "exec", container, *command)


def fetch(host: Host, service: str, target: str) -> str:
    """What http://TARGET/ answers a container; by nc, since a static busybox's wget crashes."""
    ask = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 3 {target} 80"
    return in_container(host, service, "sh", "-c", ask).rpartition("\n\n")[2]


def answered(host: Host | ContainerHost, url: str) -> str:
    """The body that a host gets of a URL, empty for none: Python is on hosts of every kind."""
    return host.run("python3", "-I", "-c", GET, url, check=False, timeout_s=60).stdout


def remove_everything(cluster: Cluster, control: ControlStub) -> None:
    """Services first, then what they used, once their containers are gone."""
    for service in control.ListServices(ListRequest()).services:
        control.RemoveService(RemoveRequest(ref=service.id))
    cluster.wait(lambda: not any(map(_ended, cluster.hosts)), 60, "containers to go")
    cluster.wait(lambda: not control.ListTasks(ListTasksRequest()).tasks, 60, "tasks to go")
    for network in control.ListNetworks(ListRequest()).networks:
        if not network.spec.ingress:
            control.RemoveNetwork(RemoveRequest(ref=network.id))
    for secret in control.ListSecrets(ListRequest()).secrets:
        control.RemoveSecret(RemoveRequest(ref=secret.id))
    for config in control.ListConfigs(ListRequest()).configs:
        control.RemoveConfig(RemoveRequest(ref=config.id))
    for node in control.ListNodes(ListRequest()).nodes:
        if node.spec.availability != NodeSpec.ACTIVE:
            cluster.manager.cli("node", "update", "--availability", "active", node.id)


def _ended(host: Host) -> list[str]:
    """The containers that were not removed yet; nobody waits for the grace of those that run."""
    for running in sampler.containers([host] if isinstance(host, Host) else []):
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.pid, signal.SIGKILL)
    return containers_of(host)


def containers_of(host: Host) -> list[str]:
    """The containers that were not removed yet."""
    return host.containers()
