"""Services on three hosts, from the command line to real containers."""

import json

import pytest

from swarmlite.proto.control_pb2 import GetRequest
from swarmlite.testing import Cluster, CommandFailed

pytestmark = pytest.mark.timeout(240)


def create(swarm: Cluster, *args: str) -> str:
    options = ("--detach", "--quiet", "--stop-grace-period", "0s")
    return swarm.manager.cli("service", "create", *options, *args).strip()


def containers(swarm: Cluster) -> dict[str, tuple[str, int]]:
    """Name of each running container: its host and its pid there."""
    found = {}
    for host in swarm.hosts:
        ids = host.cli("container", "ls", "--quiet").split()
        # One that is gone by now is said on standard error, and the others are shown.
        shown = host.try_cli("inspect", "-f", "{{.Name}} {{.State.Pid}}", *ids)
        for line in shown.stdout.splitlines() if ids else ():
            name, pid = line.split()
            found[name.lstrip("/")] = (host.name, int(pid))
    return found


def test_what_the_api_refuses_is_said_in_its_words(swarm: Cluster) -> None:
    with pytest.raises(CommandFailed, match=r"GetService: .*nobody"):
        swarm.ask("GetService", GetRequest(ref="nobody"))


def test_replicas_spread_over_all_hosts(swarm: Cluster, busybox: str) -> None:
    create(swarm, "--name", "web", "--replicas", "6", busybox, "sleep", "3600")
    hosts = swarm.wait_running("web", 6)
    assert sorted(hosts) == sorted([h.name for h in swarm.hosts] * 2)
    assert "6/6" in swarm.manager.cli("service", "ls")


def test_global_service_has_one_task_on_each_host(swarm: Cluster, busybox: str) -> None:
    create(swarm, "--name", "everywhere", "--mode", "global", busybox, "sleep", "3600")
    assert sorted(swarm.wait_running("everywhere", 3)) == sorted(h.name for h in swarm.hosts)


def test_constraint_places_tasks_on_the_named_host_alone(swarm: Cluster, busybox: str) -> None:
    create(swarm, "--name", "pinned", "--replicas", "2",
           "--constraint", "node.hostname==worker2", busybox, "sleep", "3600")  # fmt: skip
    assert swarm.wait_running("pinned", 2) == ["worker2", "worker2"]


def test_scale_up_and_down(swarm: Cluster, busybox: str) -> None:
    create(swarm, "--name", "web", busybox, "sleep", "3600")
    swarm.wait_running("web", 1)
    swarm.manager.cli("service", "scale", "-d", "web=5")
    swarm.wait_running("web", 5)
    swarm.manager.cli("service", "scale", "-d", "web=2")
    swarm.wait_running("web", 2)


def test_environment_args_limits_and_mounts_reach_the_container(
    swarm: Cluster, busybox: str
) -> None:
    create(
        swarm, "--name", "full", "--env", "COLOUR=blue", "--limit-memory", "32m",
        "--limit-cpu", "0.5", "--limit-pids", "20", "--workdir", "/tmp", "--user", "1000:1000",
        "--hostname", "{{.Service.Name}}-{{.Task.Slot}}",
        "--mount", "type=volume,source=data,target=/data",
        "--mount", "type=bind,source=/etc/hostname,target=/host-name,readonly",
        "--mount", "type=tmpfs,target=/scratch",
        busybox, "sh", "-c",
        "echo $COLOUR $(id -u):$(id -g) $(pwd) $(hostname);"
        "grep -c ' /data ' /proc/mounts; grep -c ' /scratch tmpfs' /proc/mounts;"
        "touch /host-name || echo readonly; sleep 3600",
    )  # fmt: skip
    [host_name] = swarm.wait_running("full", 1)
    text = swarm.wait(
        lambda: (
            logs
            if "readonly" in (logs := swarm.manager.cli("service", "logs", "--raw", "full"))
            else ""
        ),
        60,
        "the task's output",
    )
    assert "blue 1000:1000 /tmp full-1" in text
    _, pid = containers(swarm)[next(n for n in containers(swarm) if n.startswith("full."))]
    host = swarm.host(host_name)
    group = [
        line.split(":")[2]
        for line in host.run("cat", f"/proc/{pid}/cgroup").stdout.splitlines()
        if line.split(":")[1] == "memory"
    ]
    if group:
        limit = host.run("cat", f"/sys/fs/cgroup/memory{group[0]}/memory.limit_in_bytes").stdout
        assert int(limit) == 32 << 20


def test_a_task_that_dies_is_replaced(swarm: Cluster, busybox: str) -> None:
    create(swarm, "--name", "web", "--restart-delay", "0s", busybox, "sleep", "3600")
    swarm.wait_running("web", 1)
    [(task, (host, pid))] = containers(swarm).items()
    swarm.host(host).run("kill", "-9", str(pid))
    swarm.wait(lambda: (n := list(containers(swarm))) and n != [task], 60, "a new container")
    swarm.wait_running("web", 1)
    history = swarm.manager.cli("service", "ps", "web")
    assert "Failed" in history and "137" in history


def test_update_replaces_every_task_and_keeps_serving(swarm: Cluster, busybox: str) -> None:
    create(swarm, "--name", "web", "--replicas", "4", "--update-parallelism", "2",
           "--update-order", "start-first", "--update-monitor", "1s", "--env", "V=1",
           busybox, "sleep", "3600")  # fmt: skip
    swarm.wait_running("web", 4)
    before = set(containers(swarm))
    swarm.manager.cli("service", "update", "--quiet", "--env-add", "V=2", "web", timeout_s=90)
    swarm.wait_running("web", 4)
    assert not before & set(containers(swarm))
    spec = json.loads(swarm.manager.cli("service", "inspect", "web"))[0]
    assert spec["UpdateStatus"]["State"] == "completed"


def test_logs_of_all_hosts_come_together(swarm: Cluster, busybox: str) -> None:
    create(
        swarm,
        "--name",
        "talk",
        "--mode",
        "global",
        busybox,
        "sh",
        "-c",
        "echo hello from $(hostname); sleep 3600",
    )
    swarm.wait_running("talk", 3)
    swarm.wait(
        lambda: swarm.manager.cli("service", "logs", "talk").count("hello from") == 3,
        60,
        "three lines",
    )


def test_removing_a_service_leaves_no_container(swarm: Cluster, busybox: str) -> None:
    create(swarm, "--name", "web", "--replicas", "6", busybox, "sleep", "3600")
    swarm.wait_running("web", 6)
    swarm.manager.cli("service", "rm", "web")
    swarm.wait(lambda: not containers(swarm), 60, "no container")
    for host in swarm.hosts:
        mounts = host.run("cat", "/proc/self/mountinfo").stdout.splitlines()
        # A host that is a container has one as its own root.
        assert not [at for at in mounts if " - overlay " in at and at.split()[4] != "/"]


@pytest.mark.machine
def test_killing_the_daemon_touches_no_container(swarm: Cluster, busybox: str) -> None:
    create(swarm, "--name", "web", "--replicas", "3", busybox, "sleep", "3600")
    swarm.wait_running("web", 3)
    before = containers(swarm)
    worker = swarm.workers[0]
    worker.kill_daemon()
    for _, pid in [v for v in before.values() if v[0] == worker.name]:
        worker.run("kill", "-0", str(pid))
    worker.start_daemon()
    swarm.wait_running("web", 3)
    swarm.wait(lambda: containers(swarm) == before, 60, "the same containers with the same pids")


def test_a_dead_node_has_its_tasks_moved_and_its_stale_copies_removed(
    swarm: Cluster, busybox: str
) -> None:
    create(swarm, "--name", "web", "--replicas", "3", busybox, "sleep", "3600")
    swarm.wait_running("web", 3)
    worker = swarm.workers[1]
    swarm.isolate(worker)
    swarm.wait(lambda: worker.name not in swarm.running("web") and len(swarm.running("web")) == 3,
               60, "the tasks to move")  # fmt: skip
    assert "Down" in swarm.manager.cli("node", "ls")
    # The isolated host keeps its copy: it cannot know better.
    assert worker.cli("container", "ls", "-q").strip()
    swarm.heal()
    swarm.wait(lambda: not worker.cli("container", "ls", "-q").strip(), 60, "the stale copy to go")
    assert len(swarm.wait_running("web", 3)) == 3


def test_drained_node_gives_its_tasks_away(swarm: Cluster, busybox: str) -> None:
    create(swarm, "--name", "web", "--replicas", "3", busybox, "sleep", "3600")
    swarm.wait_running("web", 3)
    swarm.manager.cli("node", "update", "--availability", "drain", "worker1")
    swarm.wait(lambda: "worker1" not in swarm.running("web") and len(swarm.running("web")) == 3,
               60, "worker1 to be empty")  # fmt: skip


@pytest.mark.machine
def test_secret_is_readable_in_the_container_and_nowhere_on_disk(
    swarm: Cluster, busybox: str
) -> None:
    swarm.manager.cli("secret", "create", "key", "-", input="s3cr3t-of-the-test")
    create(swarm, "--name", "safe", "--secret", "key", "--constraint", "node.role==worker",
           busybox, "sh", "-c", "cat /run/secrets/key; echo; sleep 3600")  # fmt: skip
    [host] = swarm.wait_running("safe", 1)
    swarm.wait(
        lambda: "s3cr3t-of-the-test" in swarm.manager.cli("service", "logs", "--raw", "safe"),
        60,
        "the secret in the output",
    )
    state = swarm.host(host).paths.state_dir
    found = (
        swarm.host(host).run("grep", "-rl", "s3cr3t-of-the-test", str(state), check=False).stdout
    )
    assert [path for path in found.split() if "log" not in path] == []


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("service", "create", "--replicas", "-1", "busybox"), "replicas"),
        (("service", "create", "--name", "a b", "busybox"), "name"),
        (("service", "create", "--publish", "99999:80", "busybox"), "99999"),
        (("service", "create", "--network", "nowhere", "busybox"), "nowhere"),
        (("service", "create", "--nonsense", "busybox"), "--nonsense"),
        (("service", "ps", "nothing"), "nothing"),
        (("network", "create", "--subnet", "10.0.0.0/99", "n"), "10.0.0.0/99"),
        (("node", "update", "--availability", "asleep", "worker1"), "asleep"),
        (("swarm", "init"), "already part of a swarm"),
    ],
)
def test_bad_input_gets_one_clear_line(swarm: Cluster, args: tuple[str, ...], says: str) -> None:
    done = swarm.manager.try_cli(*args)
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


def test_a_worker_says_that_it_is_no_manager(swarm: Cluster) -> None:
    with pytest.raises(CommandFailed, match="not a swarm manager"):
        swarm.workers[0].cli("service", "ls")


def test_a_privileged_service_runs_on_the_node_that_allows_it(swarm: Cluster, busybox: str) -> None:
    """And has what it asked for: the host's processes, a device, another image's files."""
    create(
        swarm, "--name", "watcher", "--privileged", "--pid", "host", "--ipc", "shareable",
        "--device", "/dev/null:/dev/nothing", "--shm-size", "32m",
        "--mount", f"type=image,source={busybox},target=/other",
        busybox, "sh", "-c",
        "grep CapBnd /proc/self/status; cat /proc/1/comm; ls /other/bin/busybox;"
        "df -k /dev/shm | tail -n 1; sleep 3600",
    )  # fmt: skip
    ask = ("service", "ps", "--no-trunc", "--format", "{{.Error}}", "watcher")
    swarm.wait(
        lambda: "privileged not allowed on 3 nodes" in swarm.manager.cli(*ask), 60, "the reason"
    )
    everything = "privileged,devices,host-namespaces"
    swarm.manager.cli("node", "update", "--allow", everything, "worker1")
    try:
        assert swarm.wait_running("watcher", 1) == ["worker1"]
        [(_, pid)] = containers(swarm).values()
        # The process id is the host's own: they share the namespace.
        inside = swarm.host("worker1").run("readlink", f"/proc/{pid}/ns/pid").stdout
        assert inside == swarm.host("worker1").run("readlink", "/proc/self/ns/pid").stdout
        logs = ("service", "logs", "--raw", "watcher")
        said = swarm.wait(
            lambda: text if "32768" in (text := swarm.manager.cli(*logs)) else "", 60, "its output"
        )
        assert "/other/bin/busybox" in said
        spec = json.loads(swarm.manager.cli("node", "inspect", "worker1"))[0]["Spec"]
        assert spec["Allowed"] == everything.split(",")
    finally:
        swarm.manager.cli("service", "rm", "watcher")
        swarm.manager.cli("node", "update", "--allow", "", "worker1")


def test_a_service_stops_starts_and_goes_back_to_a_revision(swarm: Cluster, busybox: str) -> None:
    ask = swarm.manager.cli
    create(swarm, "--name", "web", "--replicas", "3", "--env", "V=1", busybox, "sleep", "3600")
    swarm.wait_running("web", 3)
    ask("service", "update", "-d", "--env-add", "V=2", "--update-parallelism", "0", "web")
    ask("service", "stop", "web", timeout_s=60)
    assert not containers(swarm)
    assert "0/0" in ask("service", "ls")
    ask("service", "start", "-d", "web")
    swarm.wait_running("web", 3)
    shown = ask("service", "history", "--no-trunc", "--format", "{{.Revision}} {{.Changes}}", "web")
    lines = shown.splitlines()
    assert [line.split()[0] for line in lines] == ["4", "3", "2", "1"]
    assert "+ task.container.env: V=2" in lines[2]
    ask("service", "rollback", "-d", "--to", "1", "web")
    spec = json.loads(ask("service", "inspect", "web"))[0]["Spec"]
    assert spec["TaskTemplate"]["ContainerSpec"]["Env"] == ["V=1"]
    swarm.wait(
        lambda: (
            json.loads(ask("service", "inspect", "web"))[0]["UpdateStatus"]["State"]
            == "rollback_completed"
        ),
        60,
        "the rollback's end",
    )
    swarm.wait_running("web", 3)
    ask("service", "rebalance", "web")
