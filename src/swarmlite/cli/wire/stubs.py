"""The methods of a service, from what its messages' module says of it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from google.protobuf.message_factory import GetMessageClass

from swarmlite.cli.wire.call import SMALL, Call, Metadata, Over

if TYPE_CHECKING:
    import socket

    from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor


Connect = Callable[[], "socket.socket"]


class Stub:
    """As gRPC's: `stub.METHOD(request, timeout=)` is a reply, or a Call where there are several.

    Where requests are a stream the method takes an iterable of them. Raises CallFailed.
    """

    def __init__(
        self, connect: Connect, service: ServiceDescriptor, metadata: Metadata = ()
    ) -> None:
        """`connect` makes a connection to the server, one for each call, each with `metadata`."""
        for method in service.methods:
            setattr(self, method.name, _method(connect, service.full_name, method, metadata))


def _method(
    connect: Connect, service: str, method: MethodDescriptor, metadata: Metadata
) -> Callable[..., Any]:
    name = f"/{service}/{method.name}"
    parse = GetMessageClass(method.output_type).FromString

    def unary(request: Any, timeout: float | None = None) -> Any:
        data = request.SerializeToString()
        call = Call(connect, name, parse, timeout, metadata)
        if method.server_streaming or len(data) > SMALL:
            call.read_behind()
        with contextlib.suppress(Over):  # its end says why
            call.send(data, last=True)
        if method.server_streaming:
            return call
        if len(data) <= SMALL:
            call.read()
        return call.reply()

    def stream(requests: Iterable[Any], timeout: float | None = None) -> Any:
        call = Call(connect, name, parse, timeout, metadata)
        call.read_behind()
        if method.server_streaming:
            call.send_behind(requests)
            return call
        call.send_all(requests)
        return call.reply()

    return stream if method.client_streaming else unary
