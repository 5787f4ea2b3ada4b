"""The endpoints of the swarm as a whole: what it is, and who is in it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from aiohttp import web

from swarmlite.client import daemon, membership
from swarmlite.client.reach.local import Local
from swarmlite.docker import cluster as docker
from swarmlite.docker.reading import swarm as reading
from swarmlite.errors import FailedPrecondition
from swarmlite.gateway.app import Route
from swarmlite.gateway.errors import Refused
from swarmlite.gateway.request import Call
from swarmlite.gateway.swarm import ask, version
from swarmlite.model.validate import validate_cluster
from swarmlite.proto.control_pb2 import GetRequest, GetUnlockKeyRequest, UpdateClusterRequest
from swarmlite.proto.specs_pb2 import ClusterSpec
from swarmlite.proto.types_pb2 import NodeStatus

ALREADY = (
    'This node is already part of a swarm. Use "docker swarm leave" to leave this swarm and join'
    " another one."
)
SETTLED_S, LOOK_S = 10.0, 0.05
NO_SWARM = "This node is not part of a swarm"


async def inspect(call: Call) -> web.Response:
    """The swarm with its join tokens."""
    found = await ask(call.backends.control.GetCluster, GetRequest(ref="default"))
    return call.reply(docker.swarm(found))


async def init(call: Call) -> web.Response:
    """A new swarm of this node; answers the node's id."""
    wanted = reading.init(await call.body())
    paths = call.settings.paths
    if membership.in_swarm(paths) and not wanted.message.get("force_new_cluster"):
        raise Refused(503, ALREADY)
    validate_cluster(_later(wanted.spec))  # before there is a swarm that would lack it
    made = await _daemon(call, wanted.message, status=400)
    if wanted.said:
        await _complete(call, wanted.spec)
    await _settled(call, made["node_id"])
    return call.reply(made["node_id"])


def _later(spec: ClusterSpec) -> ClusterSpec:
    """The part that swarmlited is not told, or does not check."""
    copy = ClusterSpec()
    copy.CopyFrom(spec)
    copy.ClearField("encryption")
    return copy


async def _complete(call: Call, spec: ClusterSpec) -> None:
    control = call.backends.control
    found = await ask(control.GetCluster, GetRequest(ref="default"))
    request = UpdateClusterRequest(version=found.meta.version, spec=found.spec)
    request.spec.annotations.labels.update(spec.annotations.labels)
    request.spec.raft.MergeFrom(spec.raft)
    request.spec.task_defaults.MergeFrom(spec.task_defaults)
    await ask(control.UpdateCluster, request)


async def _settled(call: Call, node_id: str) -> None:
    """Until the node is one that runs tasks: clients read its version next, and update by that.

    Raises nothing: a node that takes longer is in the swarm all the same.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SETTLED_S):
            while True:
                node = await ask(call.backends.control.GetNode, GetRequest(ref=node_id))
                ready = node.status.state == NodeStatus.READY
                if ready and node.attachments and node.manager_status.leader:
                    return
                await asyncio.sleep(LOOK_S)


async def join(call: Call) -> web.Response:
    """Into the swarm of another manager."""
    message = reading.join(await call.body())
    if membership.in_swarm(call.settings.paths):
        raise Refused(503, ALREADY)
    await _daemon(call, message, status=400)
    return call.empty(200)


async def leave(call: Call) -> web.Response:
    """Out of the swarm."""
    if not membership.in_swarm(call.settings.paths):
        raise Refused(503, NO_SWARM)
    await _daemon(call, {"op": "leave", "force": call.flag("force")}, status=503)
    return call.empty(200)


async def update(call: Call) -> web.Response:
    """New settings, new tokens, or both."""
    request = UpdateClusterRequest(
        version=version(call, "swarm"),
        spec=reading.cluster_spec(await call.body()),
        rotate_worker_token=call.strict_flag("rotateWorkerToken"),
        rotate_manager_token=call.strict_flag("rotateManagerToken"),
        rotate_unlock_key=call.strict_flag("rotateManagerUnlockKey"),
    )
    await ask(call.backends.control.UpdateCluster, request)
    return call.empty(200)


async def unlock_key(call: Call) -> web.Response:
    """The key of a swarm that locks its managers; empty where it does not."""
    found = await ask(call.backends.control.GetUnlockKey, GetUnlockKeyRequest())
    return call.reply({"UnlockKey": found.unlock_key})


async def unlock(call: Call) -> web.Response:
    """This manager's keys, by the unlock key."""
    sent = await call.body()
    paths = call.settings.paths
    if not membership.in_swarm(paths):
        raise Refused(503, NO_SWARM)
    if not membership.is_locked(paths):
        raise Refused(409, "swarm is not locked")
    await _daemon(call, {"op": "unlock", "key": sent.text("UnlockKey")}, status=400)
    return call.empty(200)


async def _daemon(call: Call, message: dict[str, Any], *, status: int) -> dict[str, Any]:
    """What swarmlited answers; what it refuses has `status`."""
    try:
        node = Local(call.settings.paths)
        return await asyncio.to_thread(daemon.request, node, message)
    except FailedPrecondition as error:
        raise Refused(status, str(error)) from error


ROUTES: list[Route] = [
    ("GET", "/swarm", inspect),
    ("POST", "/swarm/init", init),
    ("POST", "/swarm/join", join),
    ("POST", "/swarm/leave", leave),
    ("POST", "/swarm/update", update),
    ("GET", "/swarm/unlockkey", unlock_key),
    ("POST", "/swarm/unlock", unlock),
]
