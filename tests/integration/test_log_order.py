"""Lines of three hosts in one order, from a time on, and as they are followed."""

import subprocess
import sys
import time
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from swarmlite.testing import Cluster

pytestmark = [pytest.mark.timeout(240), pytest.mark.machine]

LINES = 20
SPEAK = f"i=0; while [ $i -lt {LINES} ]; do echo line $i; i=$((i+1)); sleep 0.05; done; sleep 3600"


@pytest.fixture
def spoken(swarm: Cluster, busybox: str) -> Cluster:
    """A task on each host has said all of its lines, at one time with the others."""
    swarm.manager.cli("service", "create", "-d", "--name", "talk", "--mode", "global",
                      "--stop-grace-period", "0s", busybox, "sh", "-c", SPEAK)  # fmt: skip
    swarm.wait_running("talk", 3)
    swarm.wait(lambda: len(shown(swarm)) == 3 * LINES, 60, "all lines")
    return swarm


def shown(swarm: Cluster, *options: str) -> list[str]:
    return swarm.manager.cli("service", "logs", "--timestamps", *options, "talk").splitlines()


def followed(swarm: Cluster, lines: int) -> list[str]:
    """The first lines of `service logs -f`."""
    paths = swarm.manager.paths
    node = ("--run-dir", str(paths.run_dir), "--state-dir", str(paths.state_dir))
    command = [sys.executable, "-m", "swarmlite.cli", *node, "service", "logs", "-ft", "talk"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            return [process.stdout.readline().rstrip("\n") for _ in range(lines)]
        finally:
            process.terminate()


def alternates(lines: list[str]) -> bool:
    """Whether hosts' lines stand between each other's."""
    hosts = [line.split("@")[1].split()[0] for line in lines]
    return sum(one != next_ for one, next_ in pairwise(hosts)) > 3


def test_lines_of_all_hosts_are_in_the_order_of_their_times(spoken: Cluster) -> None:
    lines = shown(spoken)
    assert lines == sorted(lines) and alternates(lines)


def test_followed_lines_are_too(spoken: Cluster) -> None:
    """What there was is; nothing is lost or said twice whenever it comes."""

    def in_order() -> bool:
        lines = followed(spoken, 3 * LINES)
        assert sorted(lines) == shown(spoken)
        return lines == sorted(lines) and alternates(lines)

    spoken.wait(in_order, 120, "hosts that answer within a moment of each other")


def test_since_takes_every_form_of_a_time(spoken: Cluster) -> None:
    """A duration, seconds of UNIX, and dates with and without a zone: the same lines from there."""
    lines = shown(spoken)
    word = lines[LINES].split()[0]  # 2026-11-29T12:00:00.123456789Z
    whole, _, fraction = word.removesuffix("Z").partition(".")
    moment = datetime.fromisoformat(whole).replace(tzinfo=UTC)
    local = moment.astimezone().replace(tzinfo=None).isoformat()
    for since in (word, f"{int(moment.timestamp())}.{fraction}", f"{local}.{fraction}",
                  word.replace("Z", "+00:00")):  # fmt: skip
        assert shown(spoken, "--since", since) == lines[LINES:], since
    for since in ("10m", "1h30m", local[:10], local[:16], str(int(moment.timestamp()) - 60)):
        assert shown(spoken, "--since", since) == lines, since
    assert shown(spoken, "--since", f"{time.time() + 3600:.0f}") == []
    assert shown(spoken, "--since", word, "--tail", "1") == sorted(
        next(line for line in reversed(lines) if f"@{host.name} " in line) for host in spoken.hosts
    )
