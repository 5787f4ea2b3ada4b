"""What the endpoints of the swarm share: calls of the managers, filters, versions, credentials.

A worker, a host outside of a swarm and managers that do not answer are 503 with Docker's words.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from swarmlite import rpc
from swarmlite.errors import Conflict, FailedPrecondition, InvalidSpec
from swarmlite.gateway.errors import Refused
from swarmlite.gateway.request import Call
from swarmlite.model.numerals import decimal
from swarmlite.proto.control_pb2 import Filter
from swarmlite.proto.types_pb2 import Version

CALL_TIMEOUT_S = 60.0
Object = TypeVar("Object")

OUT_OF_SEQUENCE = "rpc error: code = Unknown desc = update out of sequence"
"""Clients look for these words and read again; Docker answers them with 500."""


async def ask(method: Callable[..., Awaitable[Object]], request: Message) -> Object:
    """One call of the managers. Raises swarmlite's errors, and Refused where Docker's status is
    another than theirs.
    """
    try:
        return await method(request, timeout=CALL_TIMEOUT_S)
    except grpc.RpcError as error:
        raise in_docker_s_words(error) from error


def in_docker_s_words(error: Any) -> Exception:
    """The error of a failed call of the managers, to be raised."""
    meant = rpc.translate(error, "the manager of this node")
    if isinstance(meant, Conflict):
        return Refused(500, OUT_OF_SEQUENCE)
    if isinstance(meant, FailedPrecondition):
        return Refused(400, str(meant))
    return meant


def filters(call: Call, *known: str) -> list[Filter]:
    """The query's filters, each label one of its own, since all of them must hold.

    Raises InvalidSpec for a key that is not known: passed over, it would list everything.
    """
    result = []
    for wanted in call.filters():
        if wanted.key not in known:
            raise InvalidSpec(f"invalid filter '{wanted.key[:60]}'")
        values = [value for value in wanted.values if value]
        if not values:  # {"label": {}} asks for nothing
            continue
        if wanted.key.endswith("label"):
            # "key=" asks for the key, as Docker's managers take it.
            result += [Filter(key=wanted.key, values=[_label(v)]) for v in values]
        else:
            result.append(Filter(key=wanted.key, values=values))
    return result


def _label(wanted: str) -> str:
    key, _, value = wanted.partition("=")
    return f"{key}={value}" if value else key


def taken(found: list[Filter], key: str) -> tuple[list[str], list[Filter]]:
    """The values of a filter that the managers do not know, and the filters without it."""
    values = [value for one in found if one.key == key for value in one.values]
    return values, [one for one in found if one.key != key]


def version(call: Call, what: str) -> Version:
    """`?version=N`, which an update must name. Raises InvalidSpec."""
    text = call.text("version")
    if (index := decimal(text, 0, 2**64 - 1)) is None:
        raise InvalidSpec(
            f"invalid {what} version '{text[:40]}': expected the number that was read"
        )
    return Version(index=index)


def registry_auth(call: Call) -> str:
    """The credentials of X-Registry-Auth as specs keep them; empty when they say nothing."""
    said = {key: value for key, value in call.auth_header().items() if value}
    secrets = said.keys() - {"serveraddress", "email"}
    return base64.b64encode(json.dumps(said).encode()).decode() if secrets else ""


def one_of_these(values: Iterable[str], actual: str) -> bool:
    """Whether a filter of these values lets `actual` pass; one without values does."""
    wanted = list(values)
    return not wanted or actual in wanted
