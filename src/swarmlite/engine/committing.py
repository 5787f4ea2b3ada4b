"""A container's changes as a new image: `commit`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from swarmlite.engine import image_changes
from swarmlite.engine.lifecycle import Lifecycle
from swarmlite.engine.records import Record
from swarmlite.errors import FailedPrecondition, InvalidSpec, SwarmliteError
from swarmlite.proto.containers_pb2 import ContainerState
from swarmlite.proto.images_pb2 import CommitRequest
from swarmlite.storage.host import Storage
from swarmlite.storage.images.store import tag_of
from swarmlite.storage.images.types import Image, Platform
from swarmlite.storage.snapshots.pieces import Pieces


class Committing:
    """Makes images of a host's containers."""

    def __init__(self, storage: Storage, lifecycle: Lifecycle) -> None:
        """`lifecycle` pauses containers."""
        self._storage, self._lifecycle = storage, lifecycle

    async def commit(self, record: Record, request: CommitRequest) -> Image:
        """The new image. Raises InvalidSpec for bad changes, FailedPrecondition, NotFound."""
        tag = tag_of(request.reference) if request.reference else ""
        base = self._storage.images.get(record.message.image_id)
        inner = container_config(record, base)
        inner.update(_given(request.config_json))
        inner = image_changes.apply(inner, request.changes)
        config = _outer(base, inner, request, " ".join(inner.get("Cmd") or ()))
        message = record.message
        async with self._frozen(record, pause=not request.no_pause):
            pieces = self._storage.snapshots.commit(
                record.id, first_id=message.first_id, id_count=message.id_count
            )
            with contextlib.closing(Pieces(pieces)) as layer:
                return await self._storage.images.make(config, layer, base=base, tag=tag)

    @contextlib.asynccontextmanager
    async def _frozen(self, record: Record, *, pause: bool) -> AsyncIterator[None]:
        """Paused meanwhile, where it runs."""
        if not pause or record.state.status != ContainerState.RUNNING:
            yield
            return
        try:
            await self._lifecycle.pause(record)
        except FailedPrecondition:
            if not await self._lifecycle.has_ended(record):
                raise
            yield  # in this moment: nothing writes any more
            return
        try:
            yield
        finally:
            with contextlib.suppress(SwarmliteError):  # it may have been killed meanwhile
                await self._lifecycle.unpause(record)


def container_config(record: Record, base: Image) -> dict[str, Any]:
    """Docker's `Config` of a container as its image would hold it."""
    message, spec = record.message, record.config.spec
    config: dict[str, Any] = dict(base.config.get("config") or {})
    if list(spec.command) == [""]:
        config["Entrypoint"], config["Cmd"] = None, list(spec.args) or None
    elif spec.command:
        config["Entrypoint"], config["Cmd"] = list(spec.command), list(spec.args) or None
    elif spec.args:
        config["Cmd"] = list(spec.args)
    config["Env"] = list(message.env)
    config["Labels"] = dict(message.labels) or None
    config["ExposedPorts"] = {port: {} for port in message.exposed_ports} or None
    config["User"], config["WorkingDir"] = message.user, spec.dir or config.get("WorkingDir") or ""
    if message.stop_signal:
        config["StopSignal"] = message.stop_signal
    return {key: value for key, value in config.items() if value not in (None, "")}


def _given(config_json: bytes) -> dict[str, Any]:
    """What a client says over it; what it leaves empty stays."""
    try:
        given = json.loads(config_json or b"{}")
    except (ValueError, RecursionError) as error:
        raise InvalidSpec(f"the configuration is not JSON: {error}") from error
    if not isinstance(given, dict):
        raise InvalidSpec("the configuration is not an object")
    return {key: value for key, value in given.items() if value}


def _outer(
    base: Image, inner: dict[str, Any], request: CommitRequest, created_by: str
) -> dict[str, Any]:
    now = created_now()
    step = {"created": now, "created_by": created_by, "author": request.author}
    step["comment"] = request.message
    kept = ("architecture", "os", "variant", "os.version", "os.features")
    return {
        "created": now,
        **({"author": request.author} if request.author else {}),
        **{key: base.config[key] for key in kept if key in base.config},
        "config": inner,
        "history": [
            *(base.config.get("history") or []),
            {key: value for key, value in step.items() if value},
        ],
    }


def imported_config(inner: dict[str, Any], platform: Platform, message: str) -> dict[str, Any]:
    """The configuration of an image whose only layer came as a tar."""
    now = created_now()
    return {
        "created": now,
        "architecture": platform.architecture,
        "os": platform.os,
        **({"variant": platform.variant} if platform.variant else {}),
        "config": inner,
        "history": [{"created": now, "comment": message}],
    }


def created_now() -> str:
    """RFC 3339."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
