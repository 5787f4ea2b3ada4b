"""Whether a manager lives of which etcd has not heard for some seconds: it is asked itself.

A manager on a busy host misses the moment at which it is to be seen, and is back in the next one.
Who takes it out by force meanwhile takes a manager that runs.
"""

from __future__ import annotations

from collections.abc import Callable

import grpc.aio

from swarmlite import rpc
from swarmlite.errors import SwarmliteError
from swarmlite.manager.dispatcher import hosts
from swarmlite.proto.control_pb2 import GetRequest
from swarmlite.proto.control_pb2_grpc import ControlStub
from swarmlite.proto.objects_pb2 import Node
from swarmlite.proto.types_pb2 import NodeStatus

ASK_S = 5.0
Channel = Callable[[str], grpc.aio.Channel]


async def lives(node: Node, channel: Channel | None) -> bool:
    """Whether its manager answers by its own certificate and name, or its agent has a session and
    its host answers; `channel` leads to a manager's address. Takes ASK_S and a second at most.

    What else listens at its address, a host that was set up again, is not it.
    """
    if channel is not None and await _names_itself(node, channel):
        return True
    if node.status.state != NodeStatus.READY:
        return False
    host_name = node.manager_status.addr.rpartition(":")[0].strip("[]")
    return bool(await hosts.alive([(node.id, host_name)]))


async def _names_itself(node: Node, channel: Channel) -> bool:
    address = node.manager_status.addr
    asked = channel(address)
    try:
        with rpc.translated(f"manager {address}"):
            answer: Node = await ControlStub(asked).GetNode(GetRequest(ref="self"), timeout=ASK_S)
        return answer.id == node.id
    except SwarmliteError:
        return False
    finally:
        await asked.close()
