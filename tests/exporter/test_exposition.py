"""Figures become Prometheus' text, counted up as it wants them."""

from __future__ import annotations

import subprocess
import sys

from swarmlite.exporter.exposition import text
from swarmlite.exporter.processes import usage
from swarmlite.model.figures import Figures
from swarmlite.tallies import Durations, Outcomes


def test_buckets_count_all_that_was_no_longer() -> None:
    took = Durations((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7.0):
        took.took(seconds)
    figures = Figures("x")
    figures.durations("wait_seconds", "Waits.", took, loop="a")
    body, content_type = text(figures.families, "")
    lines = body.decode().splitlines()
    assert 'x_wait_seconds_bucket{le="0.1",loop="a"} 2.0' in lines
    assert 'x_wait_seconds_bucket{le="1.0",loop="a"} 3.0' in lines
    assert 'x_wait_seconds_bucket{le="+Inf",loop="a"} 4.0' in lines
    assert 'x_wait_seconds_count{loop="a"} 4.0' in lines
    assert 'x_wait_seconds_sum{loop="a"} 7.65' in lines
    assert content_type.startswith("text/plain")


def test_labels_with_quotes_and_line_breaks_stay_one_label() -> None:
    figures = Figures("x")
    figures.gauge("tasks", "Tasks.", 1, service='a"b\n\\c')
    body, _ = text(figures.families, "application/openmetrics-text")
    assert b'x_tasks{service="a\\"b\\n\\\\c"} 1.0\n' in body
    assert body.endswith(b"# EOF\n")


def test_a_block_that_raises_counts_as_failed() -> None:
    outcomes = Outcomes()
    with outcomes.one():
        pass
    try:
        with outcomes.one():
            raise ValueError
    except ValueError:
        pass
    assert dict(outcomes.ended) == {"done": 1, "failed": 1}
    assert sum(outcomes.durations.counts) == 1


def test_a_process_that_ended_has_no_usage() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    found = usage(process.pid)
    assert found is not None
    assert found.fds >= 0
    process.communicate(b"\n")
    assert usage(process.pid) is None


def test_agents_managers_and_commands_load_nothing_that_few_of_them_need() -> None:
    """The exporter's library, and the one for kinds of networks that most hosts have none of."""
    code = (
        "import sys, swarmlite.agent.process, swarmlite.manager.process, swarmlite.cli.app,"
        " swarmlite.node.daemon; sys.exit(not sys.modules.keys().isdisjoint("
        "{'prometheus_client', 'pyroute2'}))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
