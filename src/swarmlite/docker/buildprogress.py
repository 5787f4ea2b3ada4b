"""A build's events as the JSON objects that Docker's classic builder streams.

Its clients know one step at a time. Of steps that run side by side one is shown as it goes; what
the others say waits, up to a bound, until it is their turn.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from swarmlite.docker import imageprogress
from swarmlite.docker.values import Json
from swarmlite.proto.build_pb2 import BuildEvent, BuildStep
from swarmlite.proto.control_pb2 import LOG_STDERR

MAX_WAITING_BYTES = 4 << 20
SHORT = 12
_COMMAND = re.compile(
    r'.*?process "(.*)" did not complete successfully: exit code: (\d+)', re.DOTALL
)


class BuildLines:
    """Lines of one build; with `quiet` only its end."""

    def __init__(self, *, quiet: bool = False, cache: bool = True) -> None:
        """`cache`: whether steps that change no file count as taken from it."""
        self._quiet, self._cache = quiet, cache
        self._fresh: set[str] = set()
        """Stages of which a step was done and not taken from the cache."""
        self._steps: dict[int, BuildStep] = {}
        self._total = self._number = 0
        self._shown: int | None = None
        self._waiting: dict[int, list[BuildEvent]] = {}
        self._waiting_bytes = 0

    def of(self, event: BuildEvent) -> Iterator[Json]:
        """What an event adds."""
        kind = event.WhichOneof("event")
        if kind == "result":
            yield from self._result(event)
        elif kind == "plan":
            self._total = event.plan.steps
        elif self._quiet:
            return
        elif kind == "warning":
            warned = event.warning
            where = f"{warned.file}:{warned.line}: " if warned.line else ""
            yield {"stream": f"[Warning] {where}{warned.text}\n"}
        elif kind == "step":
            if event.step.stage:  # others, such as reading the context, are not steps there
                self._steps[event.step.id] = event.step
                yield from self._placed(event.step.id, event)
        elif kind in ("log", "status"):
            yield from self._placed(getattr(event, kind).step, event)
        elif kind == "step_done":
            yield from self._placed(event.step_done.id, event)

    def _placed(self, step: int, event: BuildEvent) -> Iterator[Json]:
        if step not in self._steps:
            return
        if self._shown is None:
            self._shown = step
        if step == self._shown:
            yield from self._line(event)
            if event.HasField("step_done"):
                yield from self._next()
            return
        self._waiting.setdefault(step, []).append(event)
        self._waiting_bytes += event.ByteSize()
        if self._waiting_bytes > MAX_WAITING_BYTES:
            yield from self._all_waiting()

    def _next(self) -> Iterator[Json]:
        """The next one's turn: all that it has said, and the one after it if it has ended."""
        self._shown = None
        while self._waiting and self._shown is None:
            step, events = next(iter(self._waiting.items()))
            del self._waiting[step]
            self._shown = step
            for event in events:
                self._waiting_bytes -= event.ByteSize()
                yield from self._line(event)
            if events[-1].HasField("step_done"):
                self._shown = None

    def _all_waiting(self) -> Iterator[Json]:
        """Too much waits: out of turn it is still better than in memory."""
        for step, events in list(self._waiting.items()):
            for event in events:
                yield from self._line(event)
            if events[-1].HasField("step_done"):
                del self._waiting[step]
            else:
                self._waiting[step] = []
        self._waiting_bytes = 0

    def _line(self, event: BuildEvent) -> Iterator[Json]:
        kind = event.WhichOneof("event")
        if kind == "step":
            self._number += 1
            total = max(self._total, self._number)
            yield {"stream": f"Step {self._number}/{total} : {event.step.instruction}"}
            yield {"stream": "\n"}
        elif kind == "log":
            text = event.log.data.decode(errors="replace")
            red = event.log.stream == LOG_STDERR
            yield {"stream": f"\x1b[91m{text}\x1b[0m" if red else text}
        elif kind == "status" and event.status.HasField("image"):
            shown = imageprogress.step(event.status.image)
            if shown is not None:
                yield shown
        elif kind == "step_done":
            yield from self._end(event)

    def _end(self, event: BuildEvent) -> Iterator[Json]:
        done = event.step_done
        if done.error or done.canceled:
            return
        step = self._steps[done.id]
        if step.number == 0:
            cached = self._cache and step.stage not in self._fresh
        else:
            cached = done.cached
            if not cached and step.number > 1:
                self._fresh.add(step.stage)
        if cached and step.number != 1:  # a FROM is never said to be
            yield {"stream": " ---> Using cache\n"}
        if done.layer:
            yield {"stream": f" ---> {done.layer.rpartition(':')[2][:SHORT]}\n"}

    def _result(self, event: BuildEvent) -> Iterator[Json]:
        result = event.result
        if self._quiet:
            yield {"stream": f"{result.image_id}\n"}
            return
        yield {"aux": {"ID": result.image_id}}
        yield {"stream": f"Successfully built {result.image_id.rpartition(':')[2][:SHORT]}\n"}
        for name in result.tags:
            yield {"stream": f"Successfully tagged {familiar(name)}\n"}


def familiar(name: str) -> str:
    """A whole name as people write it."""
    return name.removeprefix("docker.io/").removeprefix("library/")


def failed(message: str, exit_code: int) -> Json:
    """The last line of a build that failed; of a command's end in the words that clients know."""
    if found := _COMMAND.match(message):
        message = f"The command '{found[1]}' returned a non-zero code: {found[2]}"
    detail: Json = {"message": message}
    if exit_code:
        detail = {"code": exit_code, "message": message}
    return {"errorDetail": detail, "error": message}
