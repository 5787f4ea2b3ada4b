"""Health checks of containers, and the events that tell of everything."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from engine_host import SLEEP, EngineHost, until
from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.engine.container_events import ContainerEvents
from swarmlite.engine.events import Events, matcher
from swarmlite.engine.health import RESULTS, HealthMonitor, judge
from swarmlite.engine.records import Record
from swarmlite.errors import Unavailable
from swarmlite.proto.containers_pb2 import Container, ContainerState, Health, HealthResult
from swarmlite.proto.control_pb2 import Filter
from swarmlite.proto.host_pb2 import EventsRequest, HostEvent
from swarmlite.proto.specs_pb2 import ContainerSpec
from swarmlite.proto.types_pb2 import HealthConfig, Mount


def check(command: str, **times: Any) -> ContainerSpec:
    config = HealthConfig(test=["CMD-SHELL", command], retries=times.pop("retries", 2))
    for name, value in {"interval": 0.1, "timeout": 5, **times}.items():
        getattr(config, name).FromNanoseconds(int(value * 1e9))
    return ContainerSpec(healthcheck=config)


def test_failures_in_the_start_period_do_not_count_before_a_first_success() -> None:
    health, bad = Health(status=Health.STARTING), HealthResult(exit_code=1)
    for _ in range(RESULTS + 2):
        judge(health, bad, 2, in_start_period=True)
    assert (health.status, health.failing_streak) == (Health.STARTING, 0)
    assert len(health.log) == RESULTS
    judge(health, HealthResult(), 2, in_start_period=True)
    assert health.status == Health.HEALTHY
    judge(health, bad, 2, in_start_period=True)
    assert (health.status, health.failing_streak) == (Health.HEALTHY, 1)
    judge(health, bad, 2, in_start_period=False)
    assert (health.status, health.failing_streak) == (Health.UNHEALTHY, 2)
    judge(health, HealthResult(), 2, in_start_period=False)
    assert (health.status, health.failing_streak) == (Health.HEALTHY, 0)


async def test_a_probe_that_could_not_be_run_says_nothing_of_its_container(tmp_path: Path) -> None:
    message = Container(id="c", state={"status": ContainerState.RUNNING})
    message.healthcheck.CopyFrom(check("true", interval=0.001, retries=1).healthcheck)
    record = Record(message, tmp_path)
    results = iter([OSError(24, "too many open files"), Unavailable("no supervisor"), (0, "")])

    async def probe(*_: Any) -> tuple[int, str]:
        result = next(results, (0, ""))
        if isinstance(result, Exception):
            raise result
        return result

    async def save(_: Record) -> None:
        """Nothing is kept."""

    monitor = HealthMonitor(probe, ContainerEvents(Events(), str), save)
    watching = asyncio.ensure_future(monitor.watch(record))
    await record.until(lambda: record.state.health.status == Health.HEALTHY)
    watching.cancel()
    assert [result.exit_code for result in record.state.health.log] == [0]


async def test_health_is_seen_with_its_last_outputs(host: EngineHost) -> None:
    spec = check("test -e /ok || { echo not yet; exit 1; }")
    container = await host.run("sleep 0.5; touch /ok; " + SLEEP, spec=spec)
    assert (await host.inspect(container)).state.health.status == Health.STARTING

    async def is_now(status: Any) -> Any:
        health = (await host.inspect(container)).state.health
        return health if health.status == status else None

    health = await until(lambda: is_now(Health.HEALTHY))
    assert health.failing_streak == 0
    broken = await host.run(SLEEP, spec=check("curl-is-not-here"))

    async def broken_now() -> Any:
        health = (await host.inspect(broken)).state.health
        return health if health.status == Health.UNHEALTHY else None

    health = await until(broken_now)
    assert "curl-is-not-here: not found" in health.log[-1].output
    assert health.failing_streak >= 2
    assert [entry.id for entry in await host.list(health="unhealthy")] == [broken]
    await host.restart_engine()
    assert (await host.inspect(container)).state.health.status == Health.HEALTHY


async def test_a_probe_that_hangs_is_a_failure_that_says_so(host: EngineHost) -> None:
    container = await host.run(SLEEP, spec=check("sleep 100", timeout=0.3, retries=1))

    async def unhealthy() -> Any:
        health = (await host.inspect(container)).state.health
        return health if health.status == Health.UNHEALTHY else None

    health = await until(unhealthy)
    assert health.log[-1].output == "Health check exceeded timeout (0.3s)"


async def test_events_are_dockers_and_the_past_is_remembered(host: EngineHost) -> None:
    since = Timestamp()
    call = host.node.engine.host.Events(EventsRequest(), timeout=30)
    await call.initial_metadata()
    spec = ContainerSpec(labels={"who": "me"})
    container = await host.run("exit 3", name="told", spec=spec)
    await host.wait(container)
    await host.call("Remove", container)
    actions = []
    async for event in call:
        actions.append((event.type, event.action))
        if event.action == "destroy":
            break
    call.cancel()
    assert actions == [
        ("container", "create"),
        ("network", "connect"),
        ("container", "start"),
        ("container", "die"),
        ("network", "disconnect"),
        ("container", "destroy"),
    ]
    of_it = [Filter(key="event", values=["die"]), Filter(key="container", values=[container])]
    died = (await host.events(1, since=since, filters=of_it))[0]
    assert died.actor_id == container
    assert died.attributes["exitCode"] == "3"
    assert died.attributes["name"] == "told"
    assert died.attributes["who"] == "me"
    labelled = [Filter(key="label", values=["who=me"]), Filter(key="type", values=["container"])]
    assert len(await host.events(4, since=since, filters=labelled)) == 4
    now = Timestamp()
    now.FromNanoseconds(died.time.ToNanoseconds())
    # Others' containers may be told of meanwhile: a health check of an earlier test ends late.
    told = await host.events(100, since=since, until=now, filters=of_it[1:])
    assert told[-1].action == "die"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await host.events(1, filters=[Filter(key="odd", values=["x"])])
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def just_now() -> Timestamp:
    """The host is the module's: what other tests have done on it is not to be heard."""
    stamp = Timestamp()
    stamp.FromNanoseconds(time.time_ns())
    return stamp


async def heard(host: EngineHost, since: Timestamp, kind: str, action: str) -> list[HostEvent]:
    """Everything that was told since then, up to an action on such a thing."""
    call = host.node.engine.host.Events(EventsRequest(since=since), timeout=30)
    found = []
    async for event in call:
        found.append(event)
        if (event.type, event.action) == (kind, action):
            break
    call.cancel()
    return found


def test_events_hold_for_any_of_a_filters_values_and_for_all_of_its_labels() -> None:
    event = HostEvent(type="container", action="start", attributes={"a": "b", "tier": "web"})

    def passes(**filters: list[str]) -> bool:
        return matcher(Filter(key=k, values=v) for k, v in filters.items())(event)

    assert passes(event=["die", "start"], label=["a", "tier=web"])
    assert not passes(label=["a=b", "tier=db"])
    assert not passes(event=["die"], label=["a=b"])


async def test_events_of_volumes_say_which_container_and_where(host: EngineHost) -> None:
    since = just_now()
    mounts = [
        Mount(type=Mount.VOLUME, source="named", target="/named", readonly=True),
        Mount(type=Mount.VOLUME, target="/own"),
    ]
    container = await host.run("true", spec=ContainerSpec(mounts=mounts))
    await host.wait(container)
    await host.call("Remove", container, volumes=True)
    told = await heard(host, since, "container", "destroy")
    volumes = [(e.action, e.actor_id == "named") for e in told if e.type == "volume"]
    assert volumes == [
        ("create", True),
        ("create", False),
        ("mount", True),
        ("mount", False),
        ("unmount", True),
        ("unmount", False),
        ("destroy", False),
    ]
    mount = next(e for e in told if e.action == "mount")
    assert dict(mount.attributes) == {
        "container": container,
        "destination": "/named",
        "driver": "local",
        "propagation": "",
        "read/write": "false",
    }
    unmount = next(e for e in told if e.action == "unmount")
    assert dict(unmount.attributes) == {"container": container, "driver": "local"}


async def test_events_of_an_exec_name_it_and_its_exit_code(host: EngineHost) -> None:
    since = just_now()
    container = await host.run(SLEEP)
    assert await host.exec(container, "sh", "-c", "exit 4") == 4
    found = await heard(host, since, "container", "exec_die")
    told = [e for e in found if e.action.startswith("exec_")]
    assert [event.action for event in told] == [
        "exec_create: sh -c exit 4",
        "exec_start: sh -c exit 4",
        "exec_die",
    ]
    assert len({event.attributes["execID"] for event in told}) == 1
    assert told[-1].attributes["exitCode"] == "4"
    assert told[-1].attributes["image"] == host.image
    by_word = [Filter(key="event", values=["exec_start"])]
    found = await host.events(1, since=since, filters=by_word)
    assert found[0].actor_id == container


async def test_a_change_of_health_is_an_event(host: EngineHost) -> None:
    container = await host.create(SLEEP, spec=check("true"))
    wanted = [
        Filter(key="event", values=["health_status"]),
        Filter(key="container", values=[container]),
    ]
    heard = asyncio.ensure_future(host.events(1, since=Timestamp(), filters=wanted))
    await host.call("Start", container)
    assert [event.action for event in await heard] == ["health_status: healthy"]
