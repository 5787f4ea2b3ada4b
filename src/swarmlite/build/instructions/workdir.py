"""WORKDIR: a directory that is there, and in which what follows runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swarmlite.build.cache import key_of
from swarmlite.build.dockerfile import words
from swarmlite.build.dockerfile.instructions import Words
from swarmlite.build.dockerfile.problems import Wrong
from swarmlite.build.instructions.metadata import workdir_of
from swarmlite.build.layers import layer
from swarmlite.build.owners import owner_of
from swarmlite.build.state import State
from swarmlite.build.trees import folder, writable
from swarmlite.errors import FailedPrecondition
from swarmlite.storage.images.flight import in_thread

if TYPE_CHECKING:
    from swarmlite.build.stage import StageBuild


async def change(stage: StageBuild, state: State, step: Words) -> bool:
    """Carry it out; whether the cache had it. Raises Wrong, FailedPrecondition."""
    path = words.expand(step.words[0], state.variables, stage.escape).strip()
    if not path:
        raise Wrong("WORKDIR comes to nothing: expected a path")
    place = workdir_of(state, path)
    state.config["WorkingDir"] = place
    text = f"WORKDIR {place}"
    if place == "/":
        state.said(text)
        return False
    user = str(state.config.get("User") or "")

    def make(name: str) -> None:
        with writable(stage.build.engine, name) as root:
            owner = owner_of(root, user) if user else (0, 0)
            try:
                with folder(root, place, owner):
                    pass
            except NotADirectoryError as error:
                raise FailedPrecondition(f"WORKDIR {place}: a file is in the way") from error

    async def work(name: str) -> None:
        await in_thread(make, name)

    key = key_of("WORKDIR", state.top, place, user, stage.build.epoch)
    return await layer(stage.build, state, key, text, work, no_cache=stage.no_cache)
