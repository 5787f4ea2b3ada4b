"""Tasks on a real node: supervisor, kernel, images, networks are real; the manager is scripted."""

from __future__ import annotations

import asyncio
import signal
import time

import grpc
import pytest
from agent_node import AgentNode

from swarmlite.agent.workload import container_id_of
from swarmlite.model import task_states
from swarmlite.proto.containers_pb2 import (
    Container,
    ContainerConfig,
    ContainerRef,
    ContainerState,
    CreateContainerRequest,
    InspectContainerRequest,
    KillContainerRequest,
    ListContainersRequest,
    RemoveContainerRequest,
    StopContainerRequest,
)
from swarmlite.proto.dispatcher_pb2 import LogSubscription, ManagerMessage, VirtualService
from swarmlite.proto.objects_pb2 import Config, Network, Secret
from swarmlite.proto.types_pb2 import Mount, PortConfig

SLEEP = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


async def test_a_task_runs_with_its_environment_mounts_and_limits(node: AgentNode) -> None:
    task = node.task("env; hostname; cat /proc/mounts; id; echo ready; sleep 600")
    container = task.spec.container
    container.env.append("WHO={{.Service.Name}}.{{.Task.Slot}}")
    container.hostname = "h-{{.Node.Hostname}}"
    container.user = "1000:1000"
    container.mounts.append(Mount(type=Mount.VOLUME, source="data", target="/data"))
    container.mounts.append(Mount(type=Mount.TMPFS, target="/scratch"))
    task.spec.resources.limits.memory_bytes = 64 << 20
    task.spec.resources.limits.pids = 50
    node.manager.assign(task)
    status = await node.manager.status(task.id, task_states.RUNNING)
    assert (status.state, status.err, status.healthy) == (task_states.RUNNING, "", True)
    assert status.container.pid > 0
    assert status.applied_by == node.node_id
    await until(lambda: "ready" in node.output(task.id))
    output = node.output(task.id)
    assert "WHO=web.1" in output
    assert "h-scripted" in output
    assert " /data " in output
    assert " /scratch tmpfs" in output
    assert "uid=1000" in output
    states = [status.state for status in node.manager.history[task.id]]
    assert states == sorted(states)
    code, text = await node.exec(task.id, "sh", "-c", "cat /proc/self/cgroup; echo out; exit 7")
    assert code == 7
    assert "out" in text


async def test_exit_codes_and_what_is_left_of_ended_tasks(node: AgentNode) -> None:
    good, bad = node.task("echo bye"), node.task("echo oops >&2; exit 3")
    node.manager.assign(good, bad)
    ended = await node.manager.status(good.id, task_states.COMPLETE)
    assert (ended.state, ended.container.exit_code) == (task_states.COMPLETE, 0)
    failed = await node.manager.status(bad.id, task_states.COMPLETE)
    assert failed.state == task_states.FAILED
    assert failed.err == "task: non-zero exit (3)"
    assert failed.container.exit_code == 3
    await until(
        lambda: not (node.paths.containers_dir / container_id_of(bad.id) / "upper").exists()
    )
    assert await node.containers() == []
    assert "oops" in node.output(bad.id)  # the log stays for `service logs`
    node.manager.withdraw(bad.id)
    await until(lambda: not (node.paths.containers_dir / container_id_of(bad.id)).exists())


async def test_rejections_say_why_in_one_line(node: AgentNode) -> None:
    missing = node.task("x")
    missing.spec.container.image = "no/Such:tag"
    bind = node.task("x")
    bind.spec.container.mounts.append(Mount(type=Mount.BIND, source="/no/such", target="/x"))
    program = node.task(command=("/no/such/program",))
    node.manager.assign(missing, bind, program)
    status = await node.manager.status(missing.id, task_states.COMPLETE)
    assert status.state == task_states.REJECTED
    assert "no/Such" in status.err
    assert "\n" not in status.err
    status = await node.manager.status(bind.id, task_states.COMPLETE)
    assert status.state == task_states.REJECTED
    assert "bind source path does not exist: /no/such" in status.err
    status = await node.manager.status(program.id, task_states.COMPLETE)
    assert status.state == task_states.FAILED
    assert "/no/such/program" in status.err
    await until_async(lambda: empty(node))


async def empty(node: AgentNode) -> bool:
    return not await node.containers()


async def test_a_taken_host_port_is_rejected_and_free_again_after_the_end(node: AgentNode) -> None:
    def with_port() -> object:
        task = node.task(SLEEP)
        port = PortConfig(target_port=80, published_port=8099, publish_mode=PortConfig.HOST)
        task.endpoint.ports.append(port)
        return task

    first, second, third = with_port(), with_port(), with_port()
    node.manager.assign(first)
    status = await node.manager.status(first.id, task_states.RUNNING)
    assert status.host_ports[0].published_port == 8099
    node.manager.assign(second)
    refused = await node.manager.status(second.id, task_states.COMPLETE)
    assert refused.state == task_states.REJECTED
    assert "8099" in refused.err
    node.manager.desire(first.id, task_states.REMOVE)
    await node.manager.status(first.id, task_states.SHUTDOWN)
    node.manager.assign(third)
    status = await node.manager.status(third.id, task_states.RUNNING)
    assert status.state == task_states.RUNNING


async def test_shutdown_sends_the_stop_signal_then_kills(node: AgentNode) -> None:
    polite = node.task("trap 'echo got; exit 5' USR1; echo up; while :; do sleep 0.1; done")
    polite.spec.container.stop_signal = "SIGUSR1"
    deaf = node.task("trap '' TERM; echo up; while :; do sleep 0.1; done")
    deaf.spec.container.stop_grace_period.FromMilliseconds(700)
    node.manager.assign(polite, deaf)
    for task in (polite, deaf):
        await node.manager.status(task.id, task_states.RUNNING)
        await until(lambda task=task: "up" in node.output(task.id))
    node.manager.desire(polite.id, task_states.SHUTDOWN)
    node.manager.desire(deaf.id, task_states.SHUTDOWN)
    status = await node.manager.status(polite.id, task_states.COMPLETE)
    assert (status.state, status.container.exit_code) == (task_states.SHUTDOWN, 5)
    assert "got" in node.output(polite.id)
    status = await node.manager.status(deaf.id, task_states.COMPLETE)
    assert (status.state, status.container.exit_code) == (task_states.SHUTDOWN, 137)


async def test_a_task_held_at_ready_starts_when_it_is_desired(node: AgentNode) -> None:
    task = node.task("sleep 600")
    task.desired_state = task_states.READY
    node.manager.assign(task)
    await node.manager.status(task.id, task_states.READY)
    await asyncio.sleep(0.3)
    assert node.manager.history[task.id][-1].state == task_states.READY
    node.manager.desire(task.id, task_states.RUNNING)
    await node.manager.status(task.id, task_states.RUNNING)


async def test_a_killed_agent_adopts_the_same_process(node: AgentNode) -> None:
    task = node.task(SLEEP)
    node.manager.assign(task)
    await node.manager.status(task.id, task_states.RUNNING)
    before = await node.container(task.id)
    await asyncio.sleep(0.2)
    node.end("agent", signal.SIGKILL)
    await node.start_agent()
    await node.manager.session(2)
    await asyncio.sleep(0.3)
    after = await node.container(task.id)
    assert (after.pid, after.start_time_ticks) == (before.pid, before.start_time_ticks)
    assert node.manager.history[task.id][-1].state == task_states.RUNNING
    node.manager.desire(task.id, task_states.SHUTDOWN)
    await node.manager.status(task.id, task_states.SHUTDOWN)


@pytest.mark.parametrize("journal", ["kept", "lost"])
async def test_without_managers_containers_run_on_and_ends_are_told_later(
    node: AgentNode, journal: str
) -> None:
    runs, ends = node.task(SLEEP), node.task("sleep 1; exit 4")
    node.manager.assign(runs, ends)
    for task in (runs, ends):
        await node.manager.status(task.id, task_states.RUNNING)
    before = await node.container(runs.id)
    await node.manager.stop()
    node.end("agent", signal.SIGKILL)
    if journal == "lost":  # it is written behind: a crash may be quicker
        (node.paths.agent_dir / "tasks.journal").unlink(missing_ok=True)
    await node.start_agent()
    await asyncio.sleep(1.2)
    assert (await node.container(runs.id)).pid == before.pid
    await node.manager.start(node.manager.address)
    status = await node.manager.status(ends.id, task_states.COMPLETE)
    assert (status.state, status.container.exit_code) == (task_states.FAILED, 4)


async def test_a_complete_set_without_a_task_stops_and_forgets_it(node: AgentNode) -> None:
    task = node.task(SLEEP)
    node.manager.assign(task)
    await node.manager.status(task.id, task_states.RUNNING)
    node.manager.withdraw(task.id, tell=False)
    node.manager.end_session()
    await node.manager.session(2)
    await until_async(lambda: empty(node))
    await until(lambda: not (node.paths.containers_dir / container_id_of(task.id)).exists())


async def test_health_decides_when_a_task_runs_and_when_it_has_failed(node: AgentNode) -> None:
    task = node.task("sleep 0.5; touch /ok; sleep 1.5; rm /ok; sleep 600")
    health = task.spec.container.healthcheck
    health.test.extend(["CMD-SHELL", "test -e /ok"])
    health.interval.FromMilliseconds(200)
    health.start_interval.FromMilliseconds(100)
    health.start_period.FromSeconds(5)
    health.retries = 2
    task.status.healthy = True  # as the orchestrator makes tasks
    began = time.monotonic()
    node.manager.assign(task)
    status = await node.manager.status(task.id, task_states.RUNNING)
    assert status.healthy
    assert time.monotonic() - began > 0.5
    status = await node.manager.status(task.id, task_states.COMPLETE)
    assert status.state == task_states.FAILED
    assert "unhealthy" in status.err


async def test_secrets_are_on_a_tmpfs_with_their_mode_and_never_on_disk(node: AgentNode) -> None:
    needle = b"the-secret-needle"
    task = node.task("ls -ln /run/secrets /cfg; cat /run/secrets/a /cfg; sleep 600")
    reference = task.spec.container.secrets.add(secret_id="s1", secret_name="a")
    reference.file.name, reference.file.uid, reference.file.mode = "a", "12", 0o440
    configured = task.spec.container.configs.add(config_id="c1", config_name="cfg")
    configured.file.name = "/cfg"
    node.manager.assign(task)
    status = await node.manager.status(task.id, task_states.PREPARING)
    assert status.state == task_states.PREPARING  # it waits
    config = Config(id="c1", spec={"data": b"hello {{.Service.Name}}\n"})
    config.spec.templating.name = "golang"
    node.manager.assign(Secret(id="s1", spec={"data": needle + b"\n"}), config)
    await node.manager.status(task.id, task_states.RUNNING)
    await until(lambda: "hello web" in node.output(task.id))
    output = node.output(task.id)
    assert "-r--r-----    1 12" in output
    node.run("grep", "-q", "tmpfs.*/run/secrets\\|/secrets tmpfs", "/proc/mounts")
    written = [
        path
        for path in node.paths.state_dir.rglob("*")
        if path.is_file() and path.name != "container.log" and needle in path.read_bytes()
    ]
    assert written == []
    node.manager.desire(task.id, task_states.REMOVE)
    await node.manager.status(task.id, task_states.SHUTDOWN)
    assert node.run("find", str(node.paths.run_dir / "secrets"), "-type", "f").stdout == ""


async def test_volumes_outlive_their_tasks(node: AgentNode) -> None:
    def with_volume(command: str) -> object:
        task = node.task(command)
        task.spec.container.mounts.append(Mount(type=Mount.VOLUME, source="kept", target="/v"))
        return task

    writer, reader = with_volume("echo content > /v/file"), with_volume("cat /v/file")
    node.manager.assign(writer)
    await node.manager.status(writer.id, task_states.COMPLETE)
    node.manager.assign(reader)
    await node.manager.status(reader.id, task_states.COMPLETE)
    assert node.output(reader.id) == "content\n"


async def test_logs_are_shipped_with_tail_and_followed(node: AgentNode) -> None:
    task = node.task("for i in 1 2 3; do echo line $i; done; echo err >&2; sleep 1; echo late")
    node.manager.assign(task)
    await node.manager.status(task.id, task_states.RUNNING)
    await until(lambda: "err" in node.output(task.id))
    tail = LogSubscription(id="tail", selector={"task_ids": [task.id]}, options={"tail": 2})
    follow = LogSubscription(
        id="follow",
        selector={"service_ids": ["service1"]},
        options={"tail": -1, "follow": True, "stdout": True},
    )
    node.manager.send(ManagerMessage(log_subscription=tail))
    node.manager.send(ManagerMessage(log_subscription=follow))

    def lines(subscription: str) -> list[bytes]:
        chunks = [c for c in node.manager.log_chunks if c.subscription_id == subscription]
        return [message.data for chunk in chunks for message in chunk.messages]

    await node.manager.until(lambda: b"late\n" in lines("follow"), "the followed line")
    assert lines("follow") == [b"line 1\n", b"line 2\n", b"line 3\n", b"late\n"]
    assert sorted(lines("tail")) == [b"err\n", b"line 3\n"]
    assert any(chunk.close for chunk in node.manager.log_chunks if chunk.subscription_id == "tail")


async def test_removal_in_mid_air_leaves_nothing(node: AgentNode) -> None:
    tasks = [node.task(SLEEP) for _ in range(12)]
    for delay_s, group in zip((0.0, 0.01, 0.03, 0.08), batches(tasks, 3), strict=True):
        node.manager.assign(*group)
        await asyncio.sleep(delay_s)
        for task in group:
            node.manager.withdraw(task.id)
    await until(lambda: list(node.paths.netns_dir.iterdir()) == [node.paths.netns_dir / "host"])
    await until(lambda: not list(node.paths.containers_dir.iterdir()))
    assert await node.containers() == []
    assert "veth" not in node.run("ip", "-o", "link").stdout


def batches(items: list[object], size: int) -> list[list[object]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


async def test_a_supervisor_that_dies_fails_its_tasks_and_the_next_one_serves(
    node: AgentNode,
) -> None:
    task = node.task(SLEEP)
    node.manager.assign(task)
    await node.manager.status(task.id, task_states.RUNNING)
    node.end("supervisor", signal.SIGKILL)
    node.start_supervisor()
    status = await node.manager.status(task.id, task_states.COMPLETE)
    assert status.state == task_states.FAILED
    assert "supervisor" in status.err
    again = node.task(SLEEP)
    node.manager.assign(again)
    status = await node.manager.status(again.id, task_states.RUNNING)
    assert status.state == task_states.RUNNING


async def test_a_task_leaves_its_vip_first_unless_the_service_goes_too(node: AgentNode) -> None:
    scaled, removed = node.task(SLEEP), node.task(SLEEP)
    for task in (scaled, removed):
        task.endpoint.virtual_ips.add(network_id="n1", addr="10.0.1.2/24")
    service = VirtualService(id="service1", name="web")
    node.manager.assign(service, scaled, removed)
    for task in (scaled, removed):
        await node.manager.status(task.id, task_states.RUNNING)
    began = time.monotonic()
    node.manager.desire(scaled.id, task_states.REMOVE)
    await node.manager.status(scaled.id, task_states.SHUTDOWN)
    assert time.monotonic() - began >= 2
    began = time.monotonic()
    node.manager.desire(removed.id, task_states.REMOVE)
    await asyncio.sleep(0.2)
    node.manager.remove_service(service)
    await node.manager.status(removed.id, task_states.SHUTDOWN)
    assert time.monotonic() - began < 1.5


async def test_many_tasks_start_and_end_quickly(node: AgentNode) -> None:
    tasks = [node.task("exec sleep 600") for _ in range(40)]
    began = time.monotonic()
    node.manager.assign(*tasks)
    for task in tasks:
        await node.manager.status(task.id, task_states.RUNNING)
    started = time.monotonic() - began
    began = time.monotonic()
    for task in tasks:
        task.spec.container.stop_signal = "SIGKILL"
        node.manager.desire(task.id, task_states.REMOVE)
    for task in tasks:
        await node.manager.status(task.id, task_states.SHUTDOWN)
    print(f"40 tasks: started in {started:.2f} s, ended in {time.monotonic() - began:.2f} s")
    assert started < 15


async def until(predicate, timeout_s: float = 10.0) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < deadline, "it never came"
        await asyncio.sleep(0.05)


async def until_async(predicate, timeout_s: float = 10.0) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + timeout_s
    while not await predicate():
        assert time.monotonic() < deadline, "it never came"
        await asyncio.sleep(0.05)


async def test_a_tasks_container_that_is_removed_by_hand_fails_its_task(node: AgentNode) -> None:
    task, ready = node.task(SLEEP), node.task(SLEEP)
    ready.desired_state = task_states.READY
    node.manager.assign(task, ready)
    await node.manager.status(task.id, task_states.RUNNING)
    await node.manager.status(ready.id, task_states.READY)
    containers = node.engine.containers
    refused = containers.Remove(RemoveContainerRequest(ref=container_id_of(task.id)))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await refused
    assert "container is running: stop the container before removing" in caught.value.details()
    listed = await containers.List(ListContainersRequest(all=True))
    assert {entry.id for entry in listed.containers} == {
        container_id_of(task.id), container_id_of(ready.id),
    }  # fmt: skip
    for victim in (task, ready):
        await containers.Remove(RemoveContainerRequest(ref=container_id_of(victim.id), force=True))
    status = await node.manager.status(task.id, task_states.COMPLETE)
    assert (status.state, status.err) == (
        task_states.FAILED, "task: its container was removed by hand on its node (exit 137)",
    )  # fmt: skip
    node.manager.desire(ready.id, task_states.RUNNING)
    status = await node.manager.status(ready.id, task_states.COMPLETE)
    assert (status.state, status.err) == (
        task_states.FAILED, "task: the container is gone: it was removed by hand",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("verb", "signal", "said"),
    [
        ("Kill", "", "task: its container was killed by hand on its node (exit 137)"),
        ("Stop", "", "task: its container was stopped by hand on its node (exit 143)"),
        ("Kill", "USR1", "task: non-zero exit (138)"),
    ],
)
async def test_what_a_user_did_to_a_tasks_container_is_said(
    node: AgentNode, verb: str, signal: str, said: str
) -> None:
    task = node.task("sleep", "1000", command=("env",))
    task.spec.container.init = True  # pid 1 that passes signals on
    node.manager.assign(task)
    await node.manager.status(task.id, task_states.RUNNING)
    ref = container_id_of(task.id)
    if verb == "Stop":
        await node.engine.containers.Stop(StopContainerRequest(ref=ref))
    else:
        await node.engine.containers.Kill(KillContainerRequest(ref=ref, signal=signal))
    status = await node.manager.status(task.id, task_states.COMPLETE)
    assert (status.state, status.err) == (task_states.FAILED, said)


async def test_what_was_done_before_a_run_is_not_said_of_its_end(node: AgentNode) -> None:
    task = node.task("exit 3")
    task.desired_state = task_states.READY
    node.manager.assign(task)
    await node.manager.status(task.id, task_states.READY)
    with pytest.raises(grpc.aio.AioRpcError, match="is not running"):
        await node.engine.containers.Kill(KillContainerRequest(ref=container_id_of(task.id)))
    node.manager.desire(task.id, task_states.RUNNING)
    status = await node.manager.status(task.id, task_states.COMPLETE)
    assert (status.state, status.err) == (task_states.FAILED, "task: non-zero exit (3)")


async def test_an_ended_tasks_container_is_listed_until_it_is_forgotten(node: AgentNode) -> None:
    task = node.task("echo bye; exit 3")
    node.manager.assign(task)
    await node.manager.status(task.id, task_states.COMPLETE)
    containers = node.engine.containers

    async def listed() -> list[Container]:
        return list((await containers.List(ListContainersRequest(all=True))).containers)

    entry = (await listed())[0]
    assert (entry.state.status, entry.state.exit_code) == (ContainerState.EXITED, 3)
    assert entry.labels["com.docker.swarm.task.id"] == task.id
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await containers.Start(ContainerRef(ref=entry.id))
    assert "is a task's" in caught.value.details()
    node.manager.withdraw(task.id)

    async def gone() -> bool:
        return not await listed()

    await until_async(gone)


async def test_an_agent_killed_in_the_middle_of_a_create_makes_it_again(
    node: AgentNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    for point in ("folder.done", "volumes.begun", "sandbox.done", "process.done"):
        sessions = len(node.manager.hellos)
        node.end("agent")
        monkeypatch.setenv("SWARMLITE_ENGINE_KILL_AT", point)
        await node.start_agent()
        monkeypatch.delenv("SWARMLITE_ENGINE_KILL_AT")
        await node.manager.session(sessions + 1)
        task = node.task(SLEEP)
        task.spec.container.mounts.append(Mount(type=Mount.VOLUME, target="/v"))
        node.manager.assign(task)
        await until(lambda: node._processes["agent"].poll() is not None)
        await node.start_agent()
        status = await node.manager.status(task.id, task_states.RUNNING)
        assert (status.state, status.err) == (task_states.RUNNING, ""), point
        node.manager.desire(task.id, task_states.REMOVE)
        await node.manager.status(task.id, task_states.SHUTDOWN)


async def test_health_of_a_task_is_reported_with_its_last_outputs(node: AgentNode) -> None:
    task = node.task(SLEEP)
    check = task.spec.container.healthcheck
    check.test.extend(["CMD-SHELL", "curl-is-not-here"])
    check.interval.FromMilliseconds(100)
    check.retries = 2
    node.manager.assign(task)
    status = await node.manager.status(task.id, task_states.COMPLETE)
    assert (status.state, status.err) == (task_states.FAILED, "task: unhealthy container")
    assert status.container.health == "unhealthy"
    # another test may have begun while the container ended
    said = [entry.output for entry in status.container.health_log]
    assert any("curl-is-not-here: not found" in output for output in said)


async def test_a_node_without_managers_starts_its_tasks_again_and_says_so(
    node: AgentNode,
) -> None:
    node.manager.period_s = 0.3
    node.manager.end_session()
    await node.manager.session(2)
    task = node.task("echo run; sleep 0.5; exit 1")
    task.spec.restart.delay.FromMilliseconds(100)
    node.manager.assign(task)
    await node.manager.status(task.id, task_states.RUNNING)
    node.end("forwarder")
    await until(lambda: node.output(task.id).count("run") >= 3)
    node.start_forwarder()
    await node.manager.until(
        lambda: any(
            "while no manager answered" in status.message
            for status in node.manager.history[task.id]
        ),
        "a report of restarts",
    )


async def test_a_plain_container_takes_a_place_on_the_managers_network_and_gives_it_back(
    node: AgentNode,
) -> None:
    network = Network(id="overlay1", spec={"annotations": {"name": "front"}, "attachable": True})
    network.driver_state.name = "overlay"
    network.driver_state.options["vni"] = "4097"
    network.ipam.configs.add(subnet="10.9.0.0/24", gateway="10.9.0.1")
    node.manager.attachable["front"] = network
    config = ContainerConfig(name="plain", network_mode="front")
    config.spec.image = node.image
    config.spec.command.extend(["sh", "-c", SLEEP])
    config.spec.stop_grace_period.FromSeconds(2)
    containers = node.engine.containers
    made = await containers.Create(CreateContainerRequest(config=config))
    await containers.Start(ContainerRef(ref="plain"))
    found = await containers.Inspect(InspectContainerRequest(ref="plain"))
    assert found.networks[0].ipv4_address == "10.9.0.7/24"
    assert node.manager.attached == {("overlay1", made.id)}
    node.manager.end_session()
    await node.manager.session(2)
    held = [(h.network_id, h.container_id) for h in node.manager.hellos[-1].attachments]
    assert held == [("overlay1", made.id)]
    await containers.Stop(StopContainerRequest(ref="plain"))
    await node.manager.until(lambda: not node.manager.attached, "the place given back")
    other = ContainerConfig()
    other.CopyFrom(config)
    other.name, other.network_mode = "other", "no-such"
    await containers.Create(CreateContainerRequest(config=other))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await containers.Start(ContainerRef(ref="other"))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
