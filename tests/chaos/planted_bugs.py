"""Bugs put in on purpose, each behind a switch: a checker that does not see its bug proves nothing.

Loaded by its path in every `python -m swarmlite...` of a host (see `switch`), before anything else:
the standard library only. It changes the modules that it names as they are loaded; what it puts in
their functions' places does as they did until the switch's file has the bug's name.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

On = Callable[[], bool]
Patch = Callable[[Any, On], None]


def keeps_sandboxes(module: Any, on: On) -> None:
    """A node's networks keep what a container leaves behind."""
    node = module.NodeNetwork
    delete, known = node.delete_sandbox, node.sandboxes

    async def delete_sandbox(self: Any, sandbox_id: str) -> None:
        if not on():
            await delete(self, sandbox_id)

    node.delete_sandbox = delete_sandbox
    node.sandboxes = lambda self: [] if on() else known(self)


def keeps_containers(module: Any, on: On) -> None:
    """An agent that comes back stops nothing of what was replaced meanwhile."""
    worker = module.Worker
    remove, update, sweep = worker._remove, worker._update, worker._remove_unowned
    running = 512

    async def _remove_unowned(self: Any) -> None:
        if not on():
            await sweep(self)

    worker._remove = lambda self, task_id: None if on() else remove(self, task_id)
    worker._update = lambda self, task: (
        None if on() and task.desired_state > running else update(self, task)
    )
    worker._remove_unowned = _remove_unowned


def begins_again(module: Any, on: On) -> None:
    """An agent that starts knows nothing of the containers that run."""
    start = module.Worker.start

    async def forgetful(self: Any) -> None:
        client = self._engine.supervisor.client
        for state in await client.list() if on() else []:
            await client.delete(state.id, force=True)
        await start(self)

    module.Worker.start = forgetful


def leaks_descriptors(module: Any, on: On) -> None:
    """An agent opens files for each task that it never closes."""
    update, kept = module.Worker._update, []

    def _update(self: Any, task: Any) -> None:
        if on():
            kept.extend(os.open("/dev/null", os.O_RDONLY) for _ in range(20))
        update(self, task)

    module.Worker._update = _update


def loses_writes(module: Any, on: On) -> None:
    """A manager acknowledges what it does not keep."""
    create = module.Configs.create

    async def lossy(self: Any, request: Any) -> Any:
        made = await create(self, request)
        if on() and made.spec.annotations.name.endswith("3"):
            from swarmlite.manager.store.api import Delete

            await self._api.store.commit([Delete(made)])
        return made

    module.Configs.create = lossy


def misses_nobody(module: Any, on: On) -> None:
    """Managers leave a dead node's tasks where they are."""
    check = module.NodeJudge.check_nodes
    module.NodeJudge.check_nodes = lambda self, now: None if on() else check(self, now)


def is_impatient(module: Any, on: On) -> None:
    """A manager that starts takes every node for dead that is not there at once."""
    expect = module.Liveness.expect

    def at_once(self: Any, node_ids: Any, now: float, *, soon: bool = False) -> None:
        expect(self, node_ids, now - 60 if on() else now, soon=soon)

    module.Liveness.expect = at_once


def keeps_backends(module: Any, on: On) -> None:
    """A host goes on sending to backends that left."""
    take = module.View._endpoint

    def _endpoint(self: Any, endpoint: Any, remove: bool, touched: Any) -> None:
        if not (on() and endpoint.id in self._endpoints):
            take(self, endpoint, remove, touched)

    module.View._endpoint = _endpoint


def loses_names(module: Any, on: On) -> None:
    """A host no longer knows its services' names."""
    find = module.Zone.find
    module.Zone.find = lambda self, *asked: None if on() else find(self, *asked)


def lets_states_fall(module: Any, on: On) -> None:
    """A manager that hears twice that a task runs takes it for one that is about to."""
    with_report = module._task_with
    starting, running = 448, 512

    def _task_with(task: Any, report: Any, *args: Any) -> Any:
        written = with_report(task, report, *args)
        if on() and task is not None and task.status.state == report.status.state == running:
            written = written or type(task).FromString(task.SerializeToString())
            written.status.state = starting
        return written

    module._task_with = _task_with


BUGS: dict[str, tuple[str, Patch]] = {
    "keeps_sandboxes": ("swarmlite.network.node", keeps_sandboxes),
    "keeps_containers": ("swarmlite.agent.worker", keeps_containers),
    "begins_again": ("swarmlite.agent.worker", begins_again),
    "leaks_descriptors": ("swarmlite.agent.worker", leaks_descriptors),
    "loses_writes": ("swarmlite.manager.controlapi.payloads", loses_writes),
    "misses_nobody": ("swarmlite.manager.dispatcher.judging", misses_nobody),
    "is_impatient": ("swarmlite.manager.dispatcher.liveness", is_impatient),
    "keeps_backends": ("swarmlite.network.view", keeps_backends),
    "loses_names": ("swarmlite.network.dns.records", loses_names),
    "lets_states_fall": ("swarmlite.manager.dispatcher.reports", lets_states_fall),
}

_SITECUSTOMIZE = """
import importlib.util, sys
if any(word.startswith("swarmlite.") for word in sys.orig_argv):
    spec = importlib.util.spec_from_file_location("planted_bugs", {here!r})
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.install({switch!r})
"""


def switch(folder: Path) -> Path:
    """Prepare `folder` to be hosts' PYTHONPATH; the file that turns bugs on by their names."""
    turned_on = folder / "on"
    turned_on.write_text("")
    site = _SITECUSTOMIZE.format(here=__file__, switch=str(turned_on))
    (folder / "sitecustomize.py").write_text(site)
    return turned_on


def install(switch: str) -> None:
    """Put every bug into its module, once that is loaded."""
    sys.meta_path.insert(0, _Planter(Path(switch)))


class _Planter(importlib.abc.MetaPathFinder):
    def __init__(self, switch: Path) -> None:
        self._switch = switch

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's own, whose loader puts the bugs in."""
        bugs = [(bug, patch) for bug, (module, patch) in BUGS.items() if module == name]
        if not bugs:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        assert spec is not None and spec.loader is not None
        run = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            run(module)
            for bug, patch in bugs:
                patch(module, lambda bug=bug: bug in self._switch.read_text().split())  # type: ignore[misc]

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
