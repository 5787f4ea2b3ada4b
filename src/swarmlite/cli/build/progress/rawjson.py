"""BuildKit's rawjson: an object a line, of vertexes, statuses, logs and warnings."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any, TextIO

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.model.timestamps import set_now
from swarmlite.proto.build_pb2 import BuildEvent, BuildStep


class RawJson:
    """A step is known by its digest in every object of it."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._vertexes: dict[int, dict[str, Any]] = {}

    def hear(self, event: BuildEvent) -> None:
        """Print it."""
        kind = event.WhichOneof("event")
        if kind == "step":
            self._put(vertexes=[self._begun(event.step)])
        elif kind == "step_done":
            self._put(vertexes=[self._done(event)])
        elif kind == "log":
            data = base64.b64encode(event.log.data).decode()
            stream = 2 if event.log.stream == 2 else 1
            self._put(
                logs=[
                    {
                        "vertex": self._digest(event.log.step),
                        "stream": stream,
                        "data": data,
                        "timestamp": event.log.time.ToJsonString(),
                    }
                ]
            )
        elif kind == "status":
            self._put(statuses=[self._status(event)])
        elif kind in ("warning", "problem"):
            found = getattr(event, kind)
            short = base64.b64encode(found.text.encode()).decode()
            place = {"start": {"line": found.line}, "end": {"line": found.line}}
            warned = {"level": 1, "short": short, "ranges": [place] if found.line else []}
            self._put(warnings=[{"vertex": "", **warned, "sourceInfo": {"filename": found.file}}])

    def _begun(self, step: BuildStep) -> dict[str, Any]:
        digest = step.digest or f"sha256:{hashlib.sha256(b'%d' % step.id).hexdigest()}"
        made: dict[str, Any] = {"digest": digest, "name": step.name}
        inputs = [self._digest(number) for number in step.inputs if number in self._vertexes]
        if inputs:
            made["inputs"] = inputs
        self._vertexes[step.id] = made
        made["started"] = step.started.ToJsonString()
        return made

    def _done(self, event: BuildEvent) -> dict[str, Any]:
        done = event.step_done
        made = self._vertexes.setdefault(done.id, {"digest": "", "name": ""})
        made["completed"] = done.completed.ToJsonString()
        if done.cached:
            made["cached"] = True
        if done.error or done.canceled:
            made["error"] = done.error or "canceled"
        return made

    def _status(self, event: BuildEvent) -> dict[str, Any]:
        status = event.status
        now = Timestamp()
        set_now(now)
        image = status.image if status.HasField("image") else status
        made: dict[str, Any] = {
            "id": (status.image.layer if status.HasField("image") else "") or status.id,
            "vertex": self._digest(status.step),
            "name": status.text or (status.image.status if status.HasField("image") else ""),
            "current": image.current_bytes,
            "timestamp": now.ToJsonString(),
        }
        if image.total_bytes:
            made["total"] = image.total_bytes
        if status.done:
            made["completed"] = made["timestamp"]
        return made

    def _digest(self, step: int) -> str:
        return str(self._vertexes.get(step, {}).get("digest", ""))

    def _put(self, **document: Any) -> None:
        self._out.write(json.dumps(document, separators=(",", ":")) + "\n")
        self._out.flush()

    def close(self, *, failed: bool) -> None:
        """Nothing more."""
