"""Restart policies: over crashes, over the death of the engine, over the supervisor's."""

from __future__ import annotations

import signal

import pytest
from engine_host import SLEEP, EngineHost, until

from swarmlite.engine import restart
from swarmlite.proto.containers_pb2 import ContainerRestartPolicy as Policy
from swarmlite.proto.containers_pb2 import ContainerState

ALWAYS = Policy(condition=Policy.ALWAYS)
UNLESS = Policy(condition=Policy.UNLESS_STOPPED)
FAILURE = Policy(condition=Policy.ON_FAILURE)


def state(**fields: object) -> ContainerState:
    return ContainerState(status=ContainerState.EXITED, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "ended", "daemon", "expected"),
    [
        (Policy(), state(exit_code=1), False, False),
        (ALWAYS, state(), False, True),
        (ALWAYS, state(stopped_by_user=True), False, False),
        (ALWAYS, state(stopped_by_user=True), True, True),
        (UNLESS, state(stopped_by_user=True), True, False),
        (UNLESS, state(), True, True),
        (FAILURE, state(), False, False),
        (FAILURE, state(exit_code=1, restart_count=99), False, True),
        (FAILURE, state(exit_code=1, stopped_by_user=True), True, False),
        (Policy(condition=Policy.ON_FAILURE, max_retries=2), state(exit_code=1), False, True),
        (
            Policy(condition=Policy.ON_FAILURE, max_retries=2),
            state(exit_code=1, restart_count=2),
            False,
            False,
        ),
    ],
)
def test_what_a_policy_wants(
    policy: Policy, ended: ContainerState, daemon: bool, expected: bool
) -> None:
    assert restart.wanted(policy, ended, daemon=daemon) is expected


def test_the_back_off_doubles_up_to_a_minute_and_begins_again_after_ten_seconds() -> None:
    delays, delay = [], 0.0
    for _ in range(12):
        delay = restart.next_delay_s(delay, ran_s=0.01)
        delays.append(delay)
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == 60.0
    assert restart.next_delay_s(60.0, ran_s=10.0) == 0.1


async def test_on_failure_is_tried_so_often_and_then_given_up(host: EngineHost) -> None:
    container = await host.run(
        "echo run; exit 1", restart=Policy(condition=Policy.ON_FAILURE, max_retries=2)
    )
    found = await host.status(container, ContainerState.EXITED)
    assert (found.state.restart_count, found.state.exit_code) == (2, 1)
    assert host.output(container) == "run\n" * 3


async def test_always_comes_back_until_it_is_stopped(host: EngineHost) -> None:
    container = await host.run("echo run; exit 0", restart=ALWAYS)

    async def thrice() -> bool:
        return host.output(container).count("run") >= 3

    await until(thrice)
    await host.call("Stop", container)
    found = await host.inspect(container)
    assert found.state.status == ContainerState.EXITED
    assert found.state.stopped_by_user
    await host.call("Remove", container)
    await host.nothing_left()


async def test_one_that_waits_to_be_restarted_is_removed_by_force(host: EngineHost) -> None:
    container = await host.run("exit 1", restart=ALWAYS)
    await host.status(container, ContainerState.RESTARTING)
    await host.call("Remove", container, force=True)
    await host.nothing_left()


async def test_the_engines_death_touches_nothing_that_runs(host: EngineHost) -> None:
    container = await host.run(SLEEP)
    before = await host.inspect(container)
    await host.restart_engine()
    after = await host.inspect(container)
    assert after.state.status == ContainerState.RUNNING
    assert (after.state.pid, after.state.started) == (before.state.pid, before.state.started)
    await host.call("Stop", container)
    assert (await host.inspect(container)).state.exit_code == 0


async def test_an_end_while_the_engine_was_away_is_heard_and_answered(host: EngineHost) -> None:
    ends = await host.run("sleep 1; exit 7")
    returns = await host.run("echo run; sleep 1; exit 7", restart=UNLESS)
    stays = await host.run(SLEEP, restart=UNLESS)
    await host.call("Stop", stays)
    stopped = await host.run(SLEEP, restart=ALWAYS)
    await host.call("Stop", stopped)
    host.node.end("agent")

    async def both_ended() -> bool:
        return all(s.status == "stopped" for s in await host.node.containers())

    await until(both_ended)
    await host.node.start_agent()
    found = await host.status(ends, ContainerState.EXITED)
    assert found.state.exit_code == 7

    async def again() -> bool:
        return host.output(returns).count("run") >= 2

    await until(again)
    assert (await host.inspect(stays)).state.status == ContainerState.EXITED
    await host.status(stopped, ContainerState.RUNNING)


async def test_a_supervisor_that_was_killed_costs_its_containers_which_come_back(
    host: EngineHost,
) -> None:
    plain = await host.run(SLEEP)
    returns = await host.run(SLEEP, restart=ALWAYS)
    first = (await host.inspect(returns)).state.pid
    host.node.end("supervisor")
    host.node.start_supervisor()
    found = await host.status(plain, ContainerState.EXITED)
    assert found.state.exit_code == 137

    async def returned() -> bool:
        state = (await host.inspect(returns)).state
        return state.status == ContainerState.RUNNING and state.pid != first

    await until(returned)


async def test_a_container_whose_restart_finds_no_supervisor_waits_for_one(
    host: EngineHost,
) -> None:
    returns = await host.run(SLEEP, restart=ALWAYS)
    first = (await host.inspect(returns)).state.pid
    host.node.end("supervisor", signal.SIGTERM)  # which tells its containers' ends first

    async def tried() -> bool:
        return "does not answer" in (await host.inspect(returns)).state.error

    await until(tried)
    host.node.start_supervisor()

    async def returned() -> bool:
        state = (await host.inspect(returns)).state
        return state.status == ContainerState.RUNNING and state.pid != first

    await until(returned)
    assert (await host.inspect(returns)).state.restart_count == 1


async def test_a_container_in_the_network_of_one_that_is_restarted_too_comes_back_after_it(
    host: EngineHost,
) -> None:
    owner = await host.run(SLEEP, restart=ALWAYS)
    joins = await host.run(SLEEP, restart=ALWAYS, network_mode=f"container:{owner}")
    pids = {ref: (await host.inspect(ref)).state.pid for ref in (owner, joins)}
    host.node.end("supervisor", signal.SIGTERM)
    host.node.start_supervisor()

    async def returned() -> bool:
        states = [(ref, (await host.inspect(ref)).state) for ref in pids]
        return all(s.status == ContainerState.RUNNING and s.pid != pids[r] for r, s in states)

    await until(returned)
