"""What a user types, seen from inside the containers and from Docker's tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from swarm_world import put

from swarmlite.testing import Cluster, CommandFailed

pytestmark = pytest.mark.timeout(240)

STACK = """
services:
  a:
    image: ${IMAGE:?say which}
    command: ["sh", "-c", "echo $$V; cat /run/secrets/two /cfg; exec sleep 1000"]
    environment: {V: "${V:-first}"}
    hostname: "h-{{.Task.Slot}}"
    stop_grace_period: 0s
    secrets: [{source: key, target: two}]
    configs: [{source: site, target: /cfg}]
    volumes: ["data:/data", {type: tmpfs, target: /t}]
    networks: {back: {aliases: [db]}, shared: {}}
    deploy:
      replicas: 2
      update_config: {parallelism: 0, monitor: 300ms}
  b:
    image: ${IMAGE}
    command: sleep 1000
    stop_grace_period: 0s
    networks: [back]
networks:
  back: {ipam: {config: [{subnet: 10.77.0.0/24}]}}
  shared: {external: true, name: shared}
volumes: {data: {}}
secrets: {key: {file: ./payload}}
configs: {site: {file: ./payload}}
"""


def create(swarm: Cluster, *args: str) -> str:
    options = ("--detach", "--stop-grace-period", "0s", "--restart-delay", "0s")
    return swarm.manager.cli("service", "create", *options, *args).strip()


def state(swarm: Cluster, service: str) -> str:
    """Current state and error of the newest task."""
    form = "{{.CurrentState}} {{.Error}}"
    lines = swarm.manager.cli("service", "ps", "--no-trunc", "--format", form, service)
    return (lines.splitlines() or [""])[0]


def inside(swarm: Cluster, service: str, command: str) -> str:
    """What a shell command prints in the one container of a service."""
    [name] = swarm.running(service)
    host = swarm.host(name)
    found = host.cli("container", "ls", "-q", "--filter", f"name={service}.").split()
    return host.cli("exec", found[0], "sh", "-c", command)


def test_every_process_flag_is_seen_inside_the_container(
    swarm: Cluster, busybox: str, tmp_path: Path
) -> None:
    manager = swarm.manager
    (tmp_path / "env").write_text("F=two words\n# nothing\n")
    manager.cli("secret", "create", "key", "-", input="s3cret")
    manager.cli("config", "create", "plain", "-", input="text")
    template = '{{.Node.Hostname}} {{.Service.Name}} {{secret "sx"}} {{env "F"}}'
    manager.cli("config", "create", "--template-driver", "golang", "made", "-", input=template)
    create(
        swarm, "--name", "full", "--constraint", "node.role==manager",
        "--cap-add", "NET_ADMIN", "--cap-drop", "CHOWN", "--ulimit", "nofile=100:200",
        "--sysctl", "net.core.somaxconn=77", "--user", "1000:1001", "--group", "1005",
        "--dns", "192.0.2.9", "--dns-option", "ndots:3", "--dns-search", "example.com",
        "--host", "foo:1.2.3.4", "--read-only", "--mount", "type=tmpfs,target=/s,tmpfs-size=1m",
        "--init", "--env-file", put(manager, tmp_path / "env"), "--oom-score-adj", "300",
        "--secret", "source=key,target=sx,uid=1000,gid=1001,mode=0400",
        "--config", "source=plain,target=/etc/plain,mode=0440,uid=1000",
        "--config", "source=made,target=/made", "--limit-pids", "30",
        "--entrypoint", "/bin/sh -c", busybox, "sleep 1000",
    )  # fmt: skip
    swarm.wait_running("full", 1)
    text = inside(
        swarm,
        "full",
        "id -u; id -G; ulimit -n; ulimit -Hn; cat /proc/sys/net/core/somaxconn; cat /made; echo;"
        "cat /etc/resolv.conf /etc/hosts; touch /x 2>&1; grep ' /s ' /proc/mounts; env;"
        "ls -ln /run/secrets/sx /etc/plain; grep CapBnd /proc/self/status;"
        "cat /proc/self/oom_score_adj; cat /proc/1/cmdline | tr '\\0' ' '",
    )
    expected = (
        "1000\n1001 1005\n100\n200\n77\nmanager1 full s3cret two words\n", "search example.com",
        "options ndots:3", "1.2.3.4\tfoo", "Read-only file system", "size=1024k", "F=two words",
        "-r--------    1 1000     1001 ", "-r--r-----    1 1000     0 ", "\n300\n",
    )  # fmt: skip
    assert [part for part in expected if part not in text] == []
    bounding = int(text.partition("CapBnd:")[2].split()[0], 16)
    assert bounding & 1 << 12 and not bounding & 1  # NET_ADMIN, CHOWN


def test_a_health_check_decides_over_running_and_failed(swarm: Cluster, busybox: str) -> None:
    check = ("--health-interval", "200ms", "--health-retries", "2", "--restart-condition", "none")
    create(swarm, "--name", "good", "--health-cmd", "true", *check, busybox, "sleep", "1000")
    create(swarm, "--name", "bad", "--health-cmd", "false", *check, busybox, "sleep", "1000")
    swarm.wait_running("good", 1)
    swarm.wait(lambda: "unhealthy container" in state(swarm, "bad"), 60, "the verdict")
    assert state(swarm, "bad").startswith("Failed")


@pytest.mark.parametrize(
    ("args", "command", "says"),
    [
        (("--limit-memory", "8m"), ("sh", "-c", "x=$(tr '\\0' a </dev/zero)"), "out of memory"),
        ((), ("sh", "-c", "exit 3"), '"task: non-zero exit (3)"'),
        ((), ("nonexistent",), "executable file not found in $PATH"),
        (("--constraint", "node.labels.ssd==true"), (), "node.labels.ssd == true not met"),
        (("--reserve-cpu", "640"), (), "insufficient cpu on 3 nodes"),
    ],
)
def test_a_task_that_cannot_run_says_why(
    swarm: Cluster, busybox: str, args: tuple[str, ...], command: tuple[str, ...], says: str
) -> None:
    create(swarm, "--name", "sad", "--restart-condition", "none", *args, busybox, *command)
    swarm.wait(lambda: says in state(swarm, "sad"), 15, says)


def test_exec_ends_as_its_command_did(swarm: Cluster, busybox: str) -> None:
    create(swarm, "--name", "box", "--constraint", "node.role==manager", busybox, "sleep", "1000")
    swarm.wait_running("box", 1)
    [box] = swarm.manager.cli("container", "ls", "-q").split()
    for words, status in (
        (("true",), 0),
        (("sh", "-c", "exit 7"), 7),
        (("nonexistent",), 127),
        (("/etc",), 126),
    ):
        done = swarm.manager.try_cli("exec", box, *words)
        assert done.returncode == status, done.stderr
        assert len(done.stderr.splitlines()) == (status > 100)


def test_jobs_run_to_their_end(swarm: Cluster, busybox: str) -> None:
    create_job = ("service", "create", "--quiet", "--mode")
    swarm.manager.cli(*create_job, "replicated-job", "--replicas", "4", "--max-concurrent", "2",
                      "--name", "four", busybox, "true")  # fmt: skip
    swarm.manager.cli(*create_job, "global-job", "--name", "each", busybox, "true")
    shown = swarm.manager.cli("service", "ls", "--format", "{{.Name}} {{.Replicas}}")
    assert shown == "each 0/0 (3/3 completed)\nfour 0/2 (4/4 completed)\n"


@pytest.mark.parametrize(
    ("action", "ends", "args"),
    [
        ("pause", "service update paused: update paused due to failure", "[false]"),
        ("rollback", "service rolled back: rollback completed", "[sleep 1000]"),
    ],
)
def test_an_update_to_a_crashing_command_ends_as_its_policy_says(
    swarm: Cluster, busybox: str, action: str, ends: str, args: str
) -> None:
    create(swarm, "--name", "web", "--replicas", "2", "--update-monitor", "500ms",
           "--rollback-monitor", "300ms", "--update-failure-action", action,
           busybox, "sleep", "1000")  # fmt: skip
    swarm.wait_running("web", 2)
    done = swarm.manager.try_cli("service", "update", "--args", "false", "web")
    assert done.returncode == 1
    assert done.stderr.startswith(ends)
    form = "{{.Spec.TaskTemplate.ContainerSpec.Args}}"
    assert swarm.manager.cli("service", "inspect", "-f", form, "web").strip() == args


@pytest.mark.machine  # its variables are those of who types
def test_a_stack_is_deployed_changed_pruned_and_leaves_nothing(
    swarm: Cluster, busybox: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = swarm.manager
    (tmp_path / "payload").write_text("content\n")
    compose = tmp_path / "compose.yml"
    compose.write_text(STACK)
    deploy = ("stack", "deploy", "-c", str(compose))
    with pytest.raises(CommandFailed, match="say which"):
        manager.cli(*deploy, "shop")
    monkeypatch.setenv("IMAGE", busybox)
    with pytest.raises(CommandFailed, match="'shared' is declared as external"):
        manager.cli(*deploy, "shop")
    assert manager.cli("secret", "ls", "-q") == ""
    manager.cli("network", "create", "-d", "overlay", "shared")
    manager.cli(*deploy, "shop")
    swarm.wait_running("shop_a", 2)
    swarm.wait_running("shop_b", 1)
    logs = ("service", "logs", "--raw", "shop_a")
    swarm.wait(lambda: manager.cli(*logs).count("content") == 4, 60, "secret and config")
    assert manager.cli(*deploy, "shop").count("Unchanged service") == 2
    monkeypatch.setenv("V", "second")
    head, _, rest = STACK.partition("  b:\n")
    compose.write_text(head + rest[rest.index("networks:\n  back") :])
    changed = manager.cli(*deploy, "--prune", "shop")
    assert "Removing service shop_b" in changed and "Updating service shop_a" in changed
    swarm.wait(lambda: manager.cli(*logs).count("second") == 2, 60, "the changed variable")
    manager.cli("stack", "rm", "shop")
    assert manager.cli("secret", "ls", "-q") + manager.cli("config", "ls", "-q") == ""
    names = manager.cli("network", "ls", "--format", "{{.Name}}").split()
    assert set(names) - {"bridge", "host", "none"} == {"ingress", "shared"}


def test_roles_availability_and_labels_of_nodes(swarm: Cluster) -> None:
    manager = swarm.manager
    for args in (("demote", manager.name), ("update", "--role", "worker", manager.name)):
        with pytest.raises(CommandFailed, match="demote the last manager of the swarm"):
            manager.cli("node", *args)
    assert "already a worker" in manager.cli("node", "demote", "worker1")
    manager.cli("node", "update", "--label-add", "zone=a", "worker1")
    with pytest.raises(CommandFailed, match="key other doesn't exist"):
        manager.cli("node", "update", "--label-rm", "other", "worker1")
    found = manager.cli("node", "ls", "--filter", "node.label=zone=a", "--format", "{{.Hostname}}")
    assert found == "worker1\n"
    manager.cli("node", "update", "--label-rm", "zone", "worker1")


@pytest.mark.machine
def test_a_registry_that_does_not_answer_is_a_warning_within_seconds(swarm: Cluster) -> None:
    lan = swarm.lan
    assert lan is not None
    image = f"{lan.gateway}:1/nope:1"
    done = swarm.manager.try_cli("service", "create", "-d", "--name", "far", image, timeout_s=20)
    assert done.returncode == 0
    assert done.stderr.startswith(f"image {image} could not be accessed on a registry")
    assert len(done.stderr.splitlines()) == 1
