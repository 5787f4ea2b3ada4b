"""What all ways of showing a build have in common: times, sizes, lines of what RUN writes."""

from __future__ import annotations

from swarmlite.model import units
from swarmlite.proto.build_pb2 import BuildEvent, BuildStatus, BuildStep, BuildStepDone


class Lines:
    """Output of steps, taken apart into lines."""

    def __init__(self) -> None:
        self._rest: dict[tuple[int, int], bytes] = {}

    def of(self, event: BuildEvent) -> list[str]:
        """Those that an event of a log completes."""
        key = event.log.step, int(event.log.stream)
        *whole, rest = (self._rest.pop(key, b"") + event.log.data).split(b"\n")
        if len(rest) > 64 * 1024:  # somebody writes a line without end
            whole, rest = [*whole, rest], b""
        if rest:
            self._rest[key] = rest
        return [_text(line) for line in whole]

    def rest(self, step: int) -> list[str]:
        """What a step that ends has written behind its last newline."""
        keys = [key for key in self._rest if key[0] == step]
        return [_text(self._rest.pop(key)) for key in keys]


def _text(line: bytes) -> str:
    """What a terminal would show of it in the end."""
    return line.decode(errors="replace").rstrip("\r").rpartition("\r")[2]


def shown(step: BuildStep) -> bool:
    """Whether a step is more than a change of the configuration, which takes no time."""
    return not step.stage or step.number > 0


def seconds(step: BuildStep, done: BuildStepDone) -> float:
    """How long a step took."""
    return max((done.completed.ToNanoseconds() - step.started.ToNanoseconds()) / 1e9, 0.0)


def since(step: BuildStep, event: BuildEvent) -> float:
    """When in the life of a step its log was written."""
    return max((event.log.time.ToNanoseconds() - step.started.ToNanoseconds()) / 1e9, 0.0)


def status_text(status: BuildStatus) -> str:
    """A line of what a step does just now."""
    name, now, total = status.text or status.id, status.current_bytes, status.total_bytes
    if status.HasField("image"):
        image = status.image
        name = f"{image.layer} {image.status}".strip() or name
        now, total = image.current_bytes, image.total_bytes
    size = units.format_size(now) if now else ""
    if size and total > now:
        size += f" / {units.format_size(total)}"
    return " ".join(word for word in (name, size) if word)
