"""exec, logs, cp, top, stats and port-forward of a task, wherever it runs, from a manager."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from swarm_world import create, remove_everything

from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.containers_pb2_grpc import ContainersStub
from swarmlite.testing import Cluster, CommandFailed

pytestmark = [pytest.mark.timeout(240), pytest.mark.machine]

WORK = "echo started; mkdir -p /tmp/w; echo page > /tmp/w/index.html; exec httpd -f -p 80 -h /tmp/w"


@pytest.fixture(scope="module")
def there(shared_cluster: Cluster, busybox: str) -> Iterator[Cluster]:
    """A service `far` with a task on each worker; the manager has none of its containers."""
    create(
        shared_cluster,
        *("--name", "far", "--replicas", "2", "--replicas-max-per-node", "1"),
        *("--constraint", "node.role==worker", busybox, "sh", "-c", WORK),
    )
    shared_cluster.wait_running("far", 2)
    yield shared_cluster
    with shared_cluster.control() as control:
        remove_everything(shared_cluster, control)


def node_of(cluster: Cluster, task: str) -> str:
    form = "{{.Name}} {{.Node}}"
    lines = cluster.manager.cli("service", "ps", "--format", form, "far").splitlines()
    return dict(line.split() for line in lines)[task]


def test_a_command_is_run_in_a_task_of_another_node_with_its_streams_and_its_end(
    there: Cluster,
) -> None:
    manager = there.manager
    for task in ("far.1", "far.2"):
        host = there.host(node_of(there, task))
        [inside] = [
            name for name in host.cli("ps", "--format", "{{.Names}}").split() if task in name
        ]
        identity = manager.cli("service", "ps", "--no-trunc", "-q", "far").split()
        assert inside.rpartition(".")[2] in identity
        assert manager.cli("exec", task, "hostname") == host.cli("exec", inside, "hostname")
    assert manager.cli("exec", "-i", "far.1", "cat", input="typed\n") == "typed\n"
    said = manager.try_cli("exec", "far.1", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (said.returncode, said.stdout, said.stderr) == (7, "out\n", "err\n")
    with pytest.raises(CommandFailed, match=r"(?s)no such|No such container: far\.9"):
        manager.cli("exec", "far.9", "true")


def test_logs_processes_and_usage_of_a_task_of_another_node(there: Cluster) -> None:
    manager = there.manager
    assert manager.cli("logs", "far.1") == "started\n"
    assert "httpd -f -p 80" in manager.cli("top", "far.1")
    rows = manager.cli("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "far.1", "far.2")
    assert sorted(row.rpartition(".")[0] for row in rows.splitlines()) == ["far.1", "far.2"]


def test_files_are_copied_into_a_task_of_another_node_and_out_of_it(
    there: Cluster, tmp_path: Path
) -> None:
    manager = there.manager
    (tmp_path / "sent").write_bytes(bytes(range(256)) * 4096)
    manager.cli("cp", str(tmp_path / "sent"), "far.1:/tmp/there")
    manager.cli("cp", "far.1:/tmp/there", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "sent").read_bytes()


def test_a_port_of_this_host_leads_to_one_of_a_task_that_publishes_none(there: Cluster) -> None:
    manager = there.manager
    line = ("port-forward", "--address", manager.addr, "far.2", ":80", ":81")
    begin = ("sh", "-c", 'echo $$; exec "$@"', "sh", sys.executable, "-m", "swarmlite.cli")
    forwarding = manager.popen(*begin, *line)
    assert forwarding.stdout is not None
    pid = forwarding.stdout.readline().strip()
    try:
        lines = [forwarding.stdout.readline() for _ in range(2)]
        ports = [int(line.split()[2].rpartition(":")[2]) for line in lines]
        assert [manager.get(ports[0], timeout_s=60.0) for _ in range(3)] == ["page\n"] * 3
        # Nothing listens at the task's port 81: the connection ends, and the way says why.
        where = (manager.addr, ports[1])
        ask = f"import socket; socket.create_connection({where}).recv(1)"
        manager.run(sys.executable, "-c", ask)
        assert "nothing answers at port 81" in forwarding.stdout.readline()
    finally:
        manager.run("kill", pid)
        forwarding.communicate()


def test_who_comes_by_a_manager_reaches_tasks_and_nothing_else_of_the_node(
    there: Cluster, busybox: str
) -> None:
    """Neither plain containers, nor privileges that the task has not, nor other calls."""
    manager, worker = there.manager, there.host(node_of(there, "far.1"))
    worker.cli("run", "-d", "--name", "plain", busybox, "sleep", "1000")
    try:
        with pytest.raises(CommandFailed, match="No such container: plain"):
            manager.cli("exec", "plain", "true")
        with pytest.raises(CommandFailed, match="the task itself has no such privileges"):
            manager.cli("exec", "--privileged", "far.1", "true")
        for name in ("tasks", "tasks-read"):
            path = worker.paths.run_dir / f"{name}.sock"
            assert path.stat().st_mode & 0o777 == 0o600
            assert _refused(path, "plain") == "No such container: plain"
            assert "is not to be called" in _refused(path, "plain", "Remove")
        assert "is not to be called" in _refused(path, "", "CreateExec")  # of tasks-read.sock
    finally:
        worker.cli("rm", "-f", "plain")


def _refused(path: Path, ref: str, method: str = "Inspect") -> str:
    """What a call at one of the agent's sockets is answered."""
    request = {
        "Inspect": pb.InspectContainerRequest(ref=ref),
        "Remove": pb.RemoveContainerRequest(ref=ref, force=True),
        "CreateExec": pb.ExecConfig(container=ref, command=["true"]),
    }[method]
    with (
        grpc.insecure_channel(
            f"unix:{path}", options=[("grpc.default_authority", "localhost")]
        ) as channel,
        pytest.raises(grpc.RpcError) as refused,
    ):
        getattr(ContainersStub(channel), method)(request, timeout=60)
    return str(refused.value.details())
