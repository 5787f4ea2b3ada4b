"""The checkers are proved: a bug put in on purpose turns each of them red."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from chaos_world import Writer, converged, forget, no_leaks, web

from swarmlite.testing import Cluster, CommandFailed, checkers, sampler

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

World = tuple[Cluster, str]

# Run by every Python process of a host at its start; it changes the one module that it names.
PLANT = """
import sys, importlib.abc, importlib.util

class Plant(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != {module!r}:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        run = spec.loader.exec_module
        def exec_module(module):
            run(module)
            plant(module)
        spec.loader.exec_module = exec_module
        return spec

def plant(module):
{body}

sys.meta_path.insert(0, Plant())
"""

KEEPS_SANDBOXES = (
    "swarmlite.network.node",
    """
    async def delete_sandbox(self, sandbox_id):
        pass
    module.NodeNetwork.delete_sandbox = delete_sandbox
    module.NodeNetwork.sandboxes = lambda self: []
""",
)
KEEPS_CONTAINERS = (
    "swarmlite.agent.worker",
    """
    module.Worker._remove = lambda self, task_id: None
    module.Worker._update = lambda self, task, old=module.Worker._update: (
        old(self, task) if task.desired_state <= 512 else None
    )
    async def sweep(*_):
        pass
    module.sweep = sweep
""",
)
FORGETS_ITS_CONTAINERS = (
    "swarmlite.agent.worker",
    """
    old = module.Worker.start
    async def start(self):
        for state in await self._engine.supervisor.client.list():
            await self._engine.supervisor.client.delete(state.id, force=True)
        await old(self)
    module.Worker.start = start
""",
)
LOSES_WRITES = (
    "swarmlite.manager.controlapi.payloads",
    """
    from swarmlite.manager.store.api import Delete
    old = module.Configs.create
    async def create(self, request):
        made = await old(self, request)
        if made.spec.annotations.name.endswith("3"):
            await self._api.store.commit([Delete(made)])
        return made
    module.Configs.create = create
""",
)
LETS_THE_DEAD_BE = (
    "swarmlite.manager.dispatcher.judging",
    """
    module.NodeJudge.check_nodes = lambda self, now: None
""",
)


def plant(folder: Path, monkeypatch: pytest.MonkeyPatch, bug: tuple[str, str]) -> None:
    (folder / "sitecustomize.py").write_text(PLANT.format(module=bug[0], body=bug[1]))
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")


def test_a_kept_sandbox_is_seen_as_a_leak(
    world: Callable[..., World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, monkeypatch, KEEPS_SANDBOXES)
    cluster, image = world(1, 1)
    web(cluster, image, 4)
    cluster.manager.cli("service", "scale", "-d", "web=1")
    converged(cluster, "web", 1)
    with pytest.raises(CommandFailed, match=r"sandboxes of \d containers"):
        no_leaks(cluster, 3)


def test_a_copy_that_is_not_stopped_is_seen_in_its_place(
    world: Callable[..., World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, monkeypatch, KEEPS_CONTAINERS)
    cluster, image = world(1, 2)
    web(cluster, image, 2, "--constraint", "node.role==worker")
    cluster.isolate(cluster.workers[1])
    on_one = lambda: [  # noqa: E731
        s for s in sampler.containers([cluster.workers[0]]) if s.task.startswith("web.")
    ]
    cluster.wait(lambda: len(on_one()) == 2, 25, "both tasks on one worker")
    with sampler.Sampler(cluster.hosts) as watched:
        cluster.heal()
        time.sleep(12)
    assert checkers.one_a_place(watched.samples, grace_s=10)


def test_a_container_begun_again_is_seen_as_touched(
    world: Callable[..., World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, monkeypatch, FORGETS_ITS_CONTAINERS)
    cluster, image = world(1, 1)
    web(cluster, image, 2)
    before = sampler.containers(cluster.hosts)
    cluster.workers[0].signal_process("agent", signal.SIGKILL)
    touched = lambda: checkers.untouched(before, sampler.containers(cluster.hosts))  # noqa: E731
    assert cluster.wait(touched, 30, "the agent that forgets to begin again")


def test_a_write_that_is_lost_after_it_was_acknowledged_is_seen(
    world: Callable[..., World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, monkeypatch, LOSES_WRITES)
    cluster, _ = world(1, 0)
    with Writer(cluster.managers) as writer:
        cluster.wait(lambda: len(writer.written) > 5, 60, "writes")
    with pytest.raises(CommandFailed, match=r"acknowledged writes were lost:\nc3"):
        forget(cluster, writer.written)


def test_a_dead_worker_that_nobody_misses_is_seen(
    world: Callable[..., World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(tmp_path, monkeypatch, LETS_THE_DEAD_BE)
    cluster, image = world(1, 2)
    web(cluster, image, 2, "--constraint", "node.role==worker")
    cluster.workers[1].kill()
    with pytest.raises(CommandFailed, match=r"waited 25 s for 2 containers of web"):
        converged(cluster, "web", 2, 25)
