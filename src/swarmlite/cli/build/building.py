"""One build, from its first request to what is left of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress

import click

from swarmlite import rpc_errors
from swarmlite.build.context.sources import DOCKERFILE
from swarmlite.cli import client
from swarmlite.cli.build.agents import Agents
from swarmlite.cli.build.outputs import Output, Sink, sink
from swarmlite.cli.build.progress import Progress
from swarmlite.cli.output.archive import written
from swarmlite.cli.session import Session
from swarmlite.errors import SwarmliteError, Unavailable
from swarmlite.proto.build_pb2 import BuildEvent, BuildProblem, BuildRequest, BuildResult
from swarmlite.stack.problems import Several

_MODE = 0o644


def build(
    session: Session,
    requests: Iterable[BuildRequest],
    progress: Progress,
    outputs: Sequence[Output] = (),
    agents: Agents | None = None,
    file: str = DOCKERFILE,
) -> BuildResult | None:
    """Until the end; None where nothing comes of it (a check). `file` is how errors call it.

    Raises swarmlite's errors, Several for a Dockerfile with several problems. A build that is
    interrupted ends at once, with all that belongs to it.
    """
    sinks: dict[int, Sink] = {}
    following = _Following(progress, sinks, agents, file)
    failed, call = True, None
    try:
        for number, one in enumerate(outputs):
            if (made := sink(one)) is not None:
                sinks[number] = made
        call = session.builds.Build(iter(requests))
        for message in client.stream(call):
            for event in (message, *message.more):
                following.hear(event)
        failed = False
    except SwarmliteError as lost:
        error = following.failure or lost  # a status may be lost on its way
        if following.problems:
            raise Several([_line(problem) for problem in following.problems]) from lost
        where = following.where
        if where and not str(error).startswith(where):
            raise type(error)(f"{where}: {error}") from lost
        if error is lost:
            raise
        raise error from lost
    finally:
        if failed and call is not None:
            with suppress(Exception):
                call.cancel()
        progress.close(failed=failed)
        following.end()
    return following.result


class _Following:
    def __init__(
        self, progress: Progress, sinks: dict[int, Sink], agents: Agents | None, file: str
    ) -> None:
        self._progress, self._agents = progress, agents
        self._sinks = sinks
        self._file, self._lines = file, dict[int, int]()
        self.where = ""
        """File and line of the first step that failed."""
        self.problems: list[BuildProblem] = []
        self.result: BuildResult | None = None
        self.failure: SwarmliteError | None = None
        """What the call's status says too, if it arrives."""

    def hear(self, event: BuildEvent) -> None:
        """Show an event, and do what it asks for."""
        kind = event.WhichOneof("event")
        if kind == "output":
            taker = self._sinks.get(event.output.output)
            if taker is not None:
                taker.write(event.output.data)
                if event.output.end:
                    taker.finish()
                    del self._sinks[event.output.output]
            return
        if kind == "ssh":
            if self._agents is not None:
                self._agents.received(event.ssh)
            return
        if kind == "step":
            self._lines[event.step.id] = event.step.line
        elif kind == "step_done":
            failed = event.step_done.error and not event.step_done.canceled
            line = self._lines.pop(event.step_done.id, 0)
            if failed and line and not self.where:
                self.where = f"{self._file}:{line}"
        elif kind == "problem":
            self.problems.append(event.problem)
        elif kind == "failure":
            self.failure = rpc_errors.from_status(event.failure.code, event.failure.text, "node")
        elif kind == "result":
            self.result = event.result
        self._progress.hear(event)

    def end(self) -> None:
        """Nothing that is half-done stays."""
        for taker in self._sinks.values():
            taker.drop()


def _line(problem: BuildProblem) -> str:
    where = f"{problem.file}:{problem.line}: " if problem.line else f"{problem.file}: "
    return (where if problem.file else "") + problem.text


def left_behind(result: BuildResult, *, iidfile: str | None, metadata_file: str | None) -> None:
    """--iidfile and --metadata-file. Raises OSError."""
    if iidfile:
        written(iidfile, [result.image_id.encode()], mode=_MODE)
    if metadata_file:
        text = json.dumps(metadata(result), indent=2) + "\n"
        written(metadata_file, [text.encode()], mode=_MODE)


def metadata(result: BuildResult) -> dict[str, object]:
    """Of a build, by the names that buildx has for it."""
    return {
        "containerimage.config.digest": result.image_id,
        "containerimage.descriptor": {
            "mediaType": result.manifest_media_type,
            "digest": result.manifest_digest,
            "size": result.manifest_size_bytes,
        },
        "containerimage.digest": result.manifest_digest,
        "image.name": ",".join(result.tags),
    }


def of(result: BuildResult | None) -> BuildResult:
    """The result that there has to be. Raises Unavailable."""
    if result is None:
        raise Unavailable("the build ended without a result; see agent.log")
    return result


def report(result: BuildResult, *, quiet: bool) -> None:
    """What is said at the end: the ID to programs, the names to people."""
    if quiet:
        click.echo(result.image_id)
        return
    click.echo(f"Built {result.image_id}", err=True)
    for name in result.tags:
        click.echo(f"Tagged {name}", err=True)
