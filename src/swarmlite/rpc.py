"""gRPC's edges, the same for everyone: channels, their options, and errors in both directions.

A server wraps its services with `TranslateErrors`; a client wraps its calls with `translated()`
(or calls `translate`). In between, code raises and catches only `swarmlite.errors`.
"""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from swarmlite import errors, rpc_errors

log = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
MAX_REQUEST_BYTES = 16 * 1024 * 1024
"""What a server takes in one message."""
MAX_DETAILS_BYTES = 2048
"""Of an error's line, as it is encoded: a few lines of a terminal."""
MAX_LOGGED = 64 * 1024

CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 2000),
    # Without this one a frozen peer takes a minute to notice, whatever keepalive_timeout says.
    ("grpc.http2.ping_timeout_ms", 2000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 3000),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),
]
"""Of every channel, to etcd and to managers."""
_CONNECT = ("grpc.min_reconnect_backoff_ms", 20_000)
"""How long a connection is waited for, whatever its name says."""

PATIENT: list[tuple[str, Any]] = [_CONNECT, ("grpc.keepalive_time_ms", 2**31 - 1)]
"""More, for calls with a deadline of their own: who has no processor for seconds is waited for."""

LOCAL_SERVER_OPTIONS: list[tuple[str, Any]] = [
    # A port that is taken must be an error; gRPC would share it.
    ("grpc.so_reuseport", 0),
    # Clients ping every 5 s; the server's default takes that for an attack.
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
]
"""On a unix socket. The kernel tells who has gone: who does not answer a ping is suspended, or has
no processor for a while, and finds its streams when it goes on."""

SERVER_OPTIONS: list[tuple[str, Any]] = [
    *LOCAL_SERVER_OPTIONS,
    # Clients ping; agents' heartbeats tell who is gone. Pinging back every 5 s is a tenth of a core
    # with a thousand agents.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.http2.ping_timeout_ms", 5000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]
"""Of a server for other hosts."""

_statuses = {code.value[0]: code for code in grpc.StatusCode}
CODES: dict[type[errors.SwarmliteError], grpc.StatusCode] = {
    error: _statuses[number] for error, number in rpc_errors.NUMBERS.items()
}
"""Each error's status; `translate` reads it backwards."""


def code_of(error: errors.SwarmliteError) -> grpc.StatusCode:
    """The status that a server answers for `error`."""
    for cls in type(error).__mro__:
        if cls in CODES:
            return CODES[cls]
    return grpc.StatusCode.UNKNOWN


def translate(
    error: grpc.aio.AioRpcError | grpc.Call, peer: str = "the server"
) -> errors.SwarmliteError:
    """The swarmlite error of a failed call; raise it `from` that. `peer` names who failed."""
    return rpc_errors.from_status(error.code().value[0], error.details() or "", peer)


@contextmanager
def translated(peer: str = "the server") -> Iterator[None]:
    """Calls inside raise swarmlite's errors in place of gRPC's."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise translate(error, peer) from error


BEGUN = (("begun", "1"),)
"""Initial metadata of a call that sends them once it is in place: one that is refused has none."""


async def begun(call: Any) -> None:
    """Wait until a stream's server has sent BEGUN. Raises gRPC's error where it is refused."""
    metadata = await call.initial_metadata()
    if metadata is None or metadata.get("begun") is None:
        await call.read()  # raises what the call ended with


# Channels
def unix_channel(path: Path | str, more: Sequence[tuple[str, Any]] = ()) -> grpc.aio.Channel:
    """A channel to a unix socket of this host; nothing is connected before the first call.

    `more` options are gRPC's.
    """
    options = [
        *more,  # the first counts of those of one name
        _CONNECT,  # who is not there refuses at once
        *CHANNEL_OPTIONS,
        # The authority would be the path's percent-encoding, which some servers refuse.
        ("grpc.default_authority", "localhost"),
    ]
    return grpc.aio.insecure_channel(f"unix:{path}", options=options)


def target(addresses: Sequence[str]) -> str:
    """gRPC's target for "HOST:PORT" addresses: all of one IP family, or one name.

    Several names are resolved here and now: gRPC takes several addresses, but one name only.
    """
    if len(addresses) > 1:
        addresses = [each for address in addresses for each in _resolved(address)] or addresses
    hosts = [address.rpartition(":")[0].strip("[]") for address in addresses]
    try:
        versions = {ipaddress.ip_address(host).version for host in hosts}
    except ValueError:
        return f"dns:///{addresses[0]}"
    scheme = "ipv6" if 6 in versions else "ipv4"
    wanted = {"ipv4": 4, "ipv6": 6}[scheme]
    return f"{scheme}:" + ",".join(
        address
        for address, host in zip(addresses, hosts, strict=True)
        if ipaddress.ip_address(host).version == wanted
    )


def _resolved(address: str) -> list[str]:
    """The name's address, as HOST:PORT; an IP address itself; nothing for what has none now."""
    host, _, port = address.rpartition(":")
    try:
        ipaddress.ip_address(host.strip("[]"))
        return [address]
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        log.warning("%s has no address now: %s", host, error)
        return []
    ip = str(found[0][4][0])
    return [f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"]


def credentials(certificates_dir: Path) -> grpc.ChannelCredentials:
    """A node's own: ca.crt, node.crt and node.key. Raises FailedPrecondition without them.

    An empty node.crt is no certificate: a server that asks for one refuses that.
    """
    try:
        if not (certificates_dir / "node.crt").read_bytes():
            roots = (certificates_dir / "ca.crt").read_bytes()
            return grpc.ssl_channel_credentials(root_certificates=roots)
        return grpc.ssl_channel_credentials(
            root_certificates=(certificates_dir / "ca.crt").read_bytes(),
            private_key=(certificates_dir / "node.key").read_bytes(),
            certificate_chain=(certificates_dir / "node.crt").read_bytes(),
        )
    except FileNotFoundError as error:
        raise errors.FailedPrecondition(f"this node has no certificate: {error}") from error


def secure_channel(
    addresses: Sequence[str],
    certificates_dir: Path,
    role_name: str = "swarm-manager",
    more: Sequence[tuple[str, Any]] = (),
) -> grpc.aio.Channel:
    """mTLS to any of `addresses`, in turn; the peer's certificate must bear `role_name`.

    `more` options are gRPC's.
    """
    return channel_with(addresses, credentials(certificates_dir), role_name, more)


def plain_channel(addresses: Sequence[str]) -> grpc.aio.Channel:
    """To any of `addresses` without TLS: for what listens on this host's loopback only."""
    options = [*CHANNEL_OPTIONS, ("grpc.lb_policy_name", "round_robin")]
    return grpc.aio.insecure_channel(target(addresses), options=options)


def channel_with(
    addresses: Sequence[str],
    channel_credentials: grpc.ChannelCredentials,
    role_name: str = "swarm-manager",
    more: Sequence[tuple[str, Any]] = (),
) -> grpc.aio.Channel:
    """As secure_channel, with credentials that the caller made."""
    options = [
        *more,  # the first counts of those of one name
        *CHANNEL_OPTIONS,
        ("grpc.ssl_target_name_override", role_name),
        ("grpc.lb_policy_name", "round_robin"),
        # Channels of one process must not share a connection made with an older certificate.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    return grpc.aio.secure_channel(target(addresses), channel_credentials, options=options)


# Servers
def peer_address(context: Any) -> str:
    """The IP address of the other end: of "ipv4:1.2.3.4:5" or "ipv6:%5B::1%5D:5"."""
    kind, _, rest = str(context.peer()).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return ""
    return rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")


Context = Any  # grpc.aio.ServicerContext; grpc ships no types
Guard = Callable[[Context], AbstractAsyncContextManager[None]]
Handler = Any  # grpc.RpcMethodHandler


def guarded(handler: Handler, guard: Guard) -> Handler:
    """`handler`, each call of it inside `guard(context)`; whatever kind of method it is."""

    def unary(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def call(request: Any, context: Context) -> Any:
            async with guard(context):
                return await method(request, context)

        return call

    def stream(method: Callable[..., Any]) -> Callable[..., Any]:
        if not inspect.isasyncgenfunction(method):
            return unary(method)

        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            async with guard(context):
                async for message in method(request, context):
                    yield message

        return call

    kwargs = {
        "request_deserializer": handler.request_deserializer,
        "response_serializer": handler.response_serializer,
    }
    if handler.unary_unary:
        return grpc.unary_unary_rpc_method_handler(unary(handler.unary_unary), **kwargs)
    if handler.stream_unary:
        return grpc.stream_unary_rpc_method_handler(unary(handler.stream_unary), **kwargs)
    if handler.unary_stream:
        return grpc.unary_stream_rpc_method_handler(stream(handler.unary_stream), **kwargs)
    return grpc.stream_stream_rpc_method_handler(stream(handler.stream_stream), **kwargs)


def details_of(error: errors.SwarmliteError) -> str:
    """The line that a server answers for `error`: cut, and whole in the log, when it is long.

    gRPC sends it as metadata, where every byte that is not ASCII takes three. What is above 8 KiB
    is lost at random and above 16 KiB always, with the status.
    """
    text = " ".join(str(error).split())
    cost = 0
    for index, character in enumerate(text):
        cost += 1 if " " <= character <= "~" and character != "%" else 3 * len(character.encode())
        if cost > MAX_DETAILS_BYTES:
            log.warning("error answered in part: %s", text[:MAX_LOGGED])
            return text[:index].rstrip() + " ..."
    return text


@asynccontextmanager
async def _answered(context: Context) -> AsyncIterator[None]:
    try:
        yield
    except errors.SwarmliteError as error:
        await context.abort(code_of(error), details_of(error))
    except (grpc.aio.AbortError, GeneratorExit):
        raise
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # the client gave up, or the server stops: gRPC says so itself
        # Something that the call waited for was cancelled. Without a status the client would wait
        # until its deadline.
        log.exception("a call was cut off")
        await context.abort(
            grpc.StatusCode.UNAVAILABLE, "the call was cut off by the server; try again"
        )
    except Exception:
        log.exception("a call failed unexpectedly")
        await context.abort(grpc.StatusCode.INTERNAL, "internal error; the server's log has more")


class TranslateErrors(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc has no types
    """Answers swarmlite's errors with their status and line; the first interceptor of a server."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """See grpc.aio.ServerInterceptor."""
        handler = await continuation(handler_call_details)
        return guarded(handler, _answered) if handler is not None else handler
