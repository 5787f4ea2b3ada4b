"""The endpoints of commands in running containers."""

from __future__ import annotations

from aiohttp import web

from swarmlite import rpc
from swarmlite.docker import exec as shapes
from swarmlite.docker.reading import container as reading
from swarmlite.errors import Conflict, NotFound, SwarmliteError
from swarmlite.gateway.app import Route
from swarmlite.gateway.errors import Refused
from swarmlite.gateway.request import Call
from swarmlite.gateway.routes.terminals import resizing
from swarmlite.gateway.streams.connection import Hijacked, head
from swarmlite.gateway.streams.converse import converse
from swarmlite.gateway.streams.conversing import Conversation
from swarmlite.gateway.streams.frames import content_type, frame
from swarmlite.gateway.streams.handed import Handed
from swarmlite.model import detach_keys
from swarmlite.proto import containers_pb2 as pb
from swarmlite.proto.control_pb2 import LOG_STDOUT


async def inspect(call: Call) -> web.Response:
    """Whether it runs, and its exit code once it does not."""
    found = await call.backends.containers.InspectExec(pb.ExecRef(id=call.params["id"]))
    return call.reply(shapes.inspect(found))


async def resize(call: Call) -> web.Response:
    """Its terminal's size."""
    await call.backends.containers.ResizeExec(resizing(call, call.params["id"]))
    return call.empty(200)


async def start(call: Call) -> web.StreamResponse:
    """Run it: detached, or with its streams on this connection."""
    body = await call.body()
    identity, tty = call.params["id"], body.flag("Tty")
    if not body.flag("Detach"):
        try:
            size = reading.console_size(body) if tty and call.at_least(42) else None
            handed = await Handed.run(call.backends.paths.attach_socket, identity, size)
        except Conflict as error:
            raise Refused(409, f"exec command {identity} has already run") from error
        except NotFound:
            raise
        except SwarmliteError as error:
            return await _said(call, str(error), tty=tty)
        if handed is not None:
            return await _handed(call, handed, tty=tty)
    return await _called(call, identity, detach=body.flag("Detach"), tty=tty)


async def _said(call: Call, text: str, *, tty: bool) -> web.StreamResponse:
    """What cannot be run says so in the stream, as in Docker."""
    client = Hijacked(call.http)
    client.take(head(call.http, content_type(call.version, tty=tty)))
    await client.write(frame(LOG_STDOUT, f"{text}\r\n".encode(), tty=tty))
    return client


async def _handed(call: Call, handed: Handed, *, tty: bool) -> web.StreamResponse:
    try:
        keys = detach_keys.parse(handed.detach_keys or detach_keys.DEFAULT)
        client = Hijacked(call.http)
        conversation = Conversation(client, handed, keys if handed.tty else None)
        # Whether there are frames is said at the start, whatever the creation said of a terminal.
        handed.tty = tty
        client.take(head(call.http, content_type(call.version, tty=tty)), conversation)
        await conversation.run()
    finally:
        handed.close()
    return client


async def _called(call: Call, identity: str, *, detach: bool, tty: bool) -> web.StreamResponse:
    """By a call of the engine's: what has no streams, or no way for descriptors."""
    found = await call.backends.containers.InspectExec(pb.ExecRef(id=identity))
    if found.running or found.HasField("exit_code"):
        raise Refused(409, f"exec command {found.id} has already run")
    running = call.backends.containers.Exec()
    try:
        await running.write(pb.ExecInput(exec_id=found.id, detach=detach))
        await rpc.begun(running)
        if detach:
            await running.done_writing()
            await running.read()
            return call.empty(200)
        return await _attached(call, running, found.config, tty=tty)
    finally:
        running.cancel()


async def _attached(
    call: Call, running: object, config: pb.ExecConfig, *, tty: bool
) -> web.StreamResponse:
    keys = detach_keys.parse(config.detach_keys or detach_keys.DEFAULT)
    client = Hijacked(call.http)
    client.take(head(call.http, content_type(call.version, tty=tty)))
    await converse(
        client,
        running,
        pb.ExecInput,
        tty=tty,
        stdin=config.attach_stdin,
        detach_keys=keys if config.tty else None,
    )
    return client


async def create(call: Call) -> web.Response:
    """Nothing runs yet."""
    name = call.params["name"].removeprefix("/")
    config = reading.exec_config(name, await call.body())
    if not call.at_least(42):
        config.ClearField("console_height")
        config.ClearField("console_width")
    made = await call.backends.containers.CreateExec(config)
    return call.reply({"Id": made.id}, 201)


ROUTES: list[Route] = [
    ("GET", "/exec/{id}/json", inspect),
    ("POST", "/exec/{id}/start", start),
    ("POST", "/exec/{id}/resize", resize),
]
CREATE: list[Route] = [("POST", "/containers/{name}/exec", create)]
