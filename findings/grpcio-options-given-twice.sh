#!/bin/sh
# grpcio 1.76.0: of channel options of one name, the first counts and the later ones are dropped without a word, in the
# blocking API and in grpc.aio. Who appends their own options to a list of common ones, as one would to a command line, changes
# nothing.
#
# Seen:
#   blocking, limits of 10 and then 1000 bytes: RESOURCE_EXHAUSTED
#   blocking, limits of 1000 and then 10 bytes: sent
#   aio, limits of 10 and then 1000 bytes: RESOURCE_EXHAUSTED
#   aio, limits of 1000 and then 10 bytes: sent
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check grpcio==1.76.0 2>/dev/null
"$work/venv/bin/python" - >"$work/output" <<'PYTHON'
import asyncio

import grpc
import grpc.aio

NAME = "grpc.max_send_message_length"
ORDERS = ((10, 1000), (1000, 10))


async def echo(request, context):
    return request


def blocking(address, options):
    with grpc.insecure_channel(address, options=options) as channel:
        try:
            channel.unary_unary("/x/Echo")(b"." * 100, timeout=60)
        except grpc.RpcError as error:
            return error.code().name
    return "sent"


async def main():
    server = grpc.aio.server()
    handler = grpc.method_handlers_generic_handler("x", {"Echo": grpc.unary_unary_rpc_method_handler(echo)})
    server.add_generic_rpc_handlers((handler,))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    for first, second in ORDERS:
        options = [(NAME, first), (NAME, second)]
        said = await asyncio.to_thread(blocking, address, options)
        print(f"blocking, limits of {first} and then {second} bytes: {said}")
    for first, second in ORDERS:
        async with grpc.aio.insecure_channel(address, options=[(NAME, first), (NAME, second)]) as channel:
            try:
                await channel.unary_unary("/x/Echo")(b"." * 100, timeout=60)
                said = "sent"
            except grpc.aio.AioRpcError as error:
                said = error.code().name
        print(f"aio, limits of {first} and then {second} bytes: {said}")
    await server.stop(None)


asyncio.run(main())
PYTHON
cat "$work/output"
diff - "$work/output" <<'SEEN'
blocking, limits of 10 and then 1000 bytes: RESOURCE_EXHAUSTED
blocking, limits of 1000 and then 10 bytes: sent
aio, limits of 10 and then 1000 bytes: RESOURCE_EXHAUSTED
aio, limits of 1000 and then 10 bytes: sent
SEEN
