"""Specs of networks, secrets, configs, nodes and the cluster, filled with what hurts, by the API of
a manager: each is stored, or refused in one line as the caller's fault with nothing stored.

Services are tests/manager/test_hostile_specs.py's.
"""

from __future__ import annotations

import random
from typing import Any

import grpc
import pytest
from api_world import Manager, node
from google.protobuf.descriptor import FieldDescriptor as Kind
from google.protobuf.message import Message

from swarmlite.proto import control_pb2 as pb
from swarmlite.proto.control_pb2_grpc import ControlStub

pytestmark = pytest.mark.timeout(600)
EACH = 300
WORDS = (
    "", "a", "0", "-1", "../x", "/", "a b", "\x00", "a\nb", "\u202e", "x" * 300, "x" * 600_000,
    "{{", "10.0.0.0/8", "10.9.0.0/24", "10.9.0.1", "::1", "fd00::/64", "overlay", "bridge", "host",
    "ingress", "default", "swarm", "golang", "parent", "com.docker.network.driver.mtu",
    "privileged",
)  # fmt: skip
NUMBERS = (0, 1, 2, 80, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1)
SMALLEST = {Kind.CPPTYPE_INT32: -(2**31), Kind.CPPTYPE_INT64: -(2**63)}
LARGEST = {
    Kind.CPPTYPE_INT32: 2**31, Kind.CPPTYPE_UINT32: 2**32, Kind.CPPTYPE_INT64: 2**63,
    Kind.CPPTYPE_UINT64: 2**64,
}  # fmt: skip
CALLERS_FAULT = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
}


def value(field: Any, chance: random.Random) -> Any:
    kind = field.cpp_type
    if kind == Kind.CPPTYPE_STRING:
        text = chance.choice(WORDS)
        return text.encode() if field.type == Kind.TYPE_BYTES else text
    if kind == Kind.CPPTYPE_BOOL:
        return chance.random() < 0.5
    if kind == Kind.CPPTYPE_ENUM:
        return chance.choice([*field.enum_type.values_by_number, 77])
    if kind in (Kind.CPPTYPE_DOUBLE, Kind.CPPTYPE_FLOAT):
        return chance.choice([0.0, -1.0, 1e30, float("nan")])
    return chance.choice([*(n % LARGEST[kind] for n in NUMBERS), SMALLEST.get(kind, 0)])


def fill(message: Message, chance: random.Random, depth: int = 5) -> None:
    """Some of the fields, and some of those below them."""
    for field in message.DESCRIPTOR.fields:
        if chance.random() > 0.4:
            continue
        holder = getattr(message, field.name)
        if field.message_type and field.message_type.GetOptions().map_entry:
            holder[chance.choice(WORDS[:10])] = chance.choice(WORDS[:11])
        elif field.message_type and depth:
            inner = holder.add() if hasattr(holder, "add") else holder
            inner.SetInParent()
            fill(inner, chance, depth - 1)
        elif not field.message_type and hasattr(holder, "append"):
            holder.extend(value(field, chance) for _ in range(chance.randint(0, 2)))
        elif not field.message_type:
            setattr(message, field.name, value(field, chance))


async def asked(call: Any, request: Any) -> Any:
    """The answer, or None for a refusal, which is one clear line."""
    try:
        return await call(request)
    except grpc.aio.AioRpcError as error:
        said = str(error.details())
        assert error.code() in CALLERS_FAULT, f"{error.code()}: {said}\n{request!s:.2000}"
        assert said and said.isprintable() and len(said) < 4000, repr(said[:5000])
        return None


CREATED = {
    "Network": pb.CreateNetworkRequest,
    "Secret": pb.CreateSecretRequest,
    "Config": pb.CreateConfigRequest,
}


@pytest.mark.parametrize("kind", CREATED)
async def test_an_object_is_stored_or_refused_in_one_line(
    kind: str, manager: Manager, control: ControlStub
) -> None:
    create, listed = getattr(control, f"Create{kind}"), getattr(control, f"List{kind}s")
    chance = random.Random(kind)
    stored = 0
    for number in range(EACH):
        request = CREATED[kind]()
        request.spec.annotations.name = f"n{number}"
        if kind != "Network":
            request.spec.data = b"x"
        fill(request.spec, chance)
        before = getattr(await listed(pb.ListRequest()), f"{kind.lower()}s")
        made = await asked(create, request)
        after = getattr(await listed(pb.ListRequest()), f"{kind.lower()}s")
        assert len(after) == len(before) + (made is not None)
        if made is not None:
            stored += 1
            await getattr(control, f"Remove{kind}")(pb.RemoveRequest(ref=made.id))
    assert 0 < stored < EACH


async def test_a_node_and_the_cluster_are_changed_or_refused_in_one_line(
    manager: Manager, control: ControlStub
) -> None:
    manager.put(node("n1", ready=True))
    chance = random.Random("nodes")
    for _ in range(EACH):
        there = (await control.ListNodes(pb.ListRequest())).nodes
        before = next(each for each in there if each.id == "n1")
        request = pb.UpdateNodeRequest(node_id="n1", version=before.meta.version, spec=before.spec)
        fill(request.spec, chance)
        if await asked(control.UpdateNode, request) is None:
            there = (await control.ListNodes(pb.ListRequest())).nodes
            assert before in there
    for _ in range(EACH):
        cluster = await control.GetCluster(pb.GetRequest(ref="default"))
        change = pb.UpdateClusterRequest(version=cluster.meta.version, spec=cluster.spec)
        fill(change.spec, chance)
        expiry = type(change.spec.ca.node_cert_expiry)()
        expiry.CopyFrom(change.spec.ca.node_cert_expiry)
        change.spec.ca.CopyFrom(cluster.spec.ca)  # the rest rotates a CA, which this manager lacks
        change.spec.ca.node_cert_expiry.CopyFrom(expiry)
        if await asked(control.UpdateCluster, change) is None:
            now = await control.GetCluster(pb.GetRequest(ref="default"))
            assert now.spec == cluster.spec
