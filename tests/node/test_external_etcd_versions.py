"""An etcd that exists is asked for its version before anything is written to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from aetcd import rpc as etcd

from swarmlite.errors import FailedPrecondition, InvalidSpec
from swarmlite.node import etcdprobe, externaletcd


@asynccontextmanager
async def saying(version: str) -> AsyncIterator[str]:
    """A server of etcd's protocol that knows its version and nothing else."""

    async def status(request: Any, context: Any) -> Any:
        return etcd.StatusResponse(version=version)

    handler = grpc.unary_unary_rpc_method_handler(
        status,
        request_deserializer=etcd.StatusRequest.FromString,
        response_serializer=etcd.StatusResponse.SerializeToString,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("etcdserverpb.Maintenance", {"Status": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await server.stop(None)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("3.3.27", "3.3.27 is too old: 3.4 or later is needed"),
        ("3.5.0", "can lose data"),
        ("3.5.2", "can lose data"),
        ("four", "of the unknown version 'four'"),
    ],
)
async def test_a_version_that_does_not_do_is_refused(
    tmp_path: Path, version: str, said: str
) -> None:
    """Too old, or known to lose what it acknowledged."""
    async with saying(version) as url:
        external = externaletcd.asked({"etcd_endpoints": [url]})
        assert external is not None
        externaletcd.install(external, tmp_path / "etcd")
        with pytest.raises(FailedPrecondition, match=said):
            await externaletcd.checked(external, tmp_path / "etcd", lambda line: None)


def test_one_name_is_looked_for_in_all_certificates() -> None:
    """gRPC compares with one; each certificate has to be of its own address as well."""
    hosts = {"a.net:2379": frozenset({"a.net", "etcd.net"}), "b.net:1": frozenset({"*.net"})}
    assert etcdprobe.common_name(hosts) == "a.net"
    own = {"10.0.0.1:1": frozenset({"10.0.0.1", "x"}), "10.0.0.2:1": frozenset({"10.0.0.2", "x"})}
    assert etcdprobe.common_name(own) == "x"
    with pytest.raises(FailedPrecondition, match="no name in common"):
        etcdprobe.common_name({"a:1": frozenset({"a"}), "b:1": frozenset({"b"})})
    with pytest.raises(FailedPrecondition, match="is for b, and not for a"):
        etcdprobe.common_name({"a:1": frozenset({"b"})})


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"etcd_cert": "x"}, "--etcd-cert is only valid with --etcd-endpoints"),
        ({"etcd_endpoints": ["ftp://a"]}, "is not a URL"),
        ({"etcd_endpoints": ["https://a:99999"]}, "--etcd-endpoints: https://a:99999"),
        ({"etcd_endpoints": ["https://a", "http://127.0.0.1"]}, "do not mix"),
        ({"etcd_endpoints": ["http://127.0.0.1"], "etcd_ca_cert": "x"}, "are of https"),
    ],
)
def test_flags_that_do_not_fit_are_named(request_: dict[str, Any], said: str) -> None:
    """Before anybody is asked."""
    with pytest.raises(InvalidSpec, match=said):
        externaletcd.asked(request_)
