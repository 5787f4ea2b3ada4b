#!/bin/sh
# grpcio 1.76.0, blocking API: initial_metadata() of a unary call's future returns only with the reply, even when the server
# has sent it long before.
#
# A server may send its initial metadata first, to say "I have begun", and answer later. The call object of
# `stub.method.future()` offers initial_metadata(), but a unary call receives everything in one batch: who waits for the
# metadata waits for the end. The same method called as unary_stream has it at once; the wire is the same for both.
#
# Seen:
#   as unary_unary, before the answer: not there
#   as unary_stream, before the answer: there
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check grpcio==1.76.0 2>/dev/null
"$work/venv/bin/python" - >"$work/output" <<'PYTHON'
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc

answer = threading.Event()


def wait(request, context):
    context.send_initial_metadata((("begun", "yes"),))
    answer.wait(30)
    return b"done"


server = grpc.server(ThreadPoolExecutor(8))
handler = grpc.method_handlers_generic_handler("x", {"Wait": grpc.unary_unary_rpc_method_handler(wait)})
server.add_generic_rpc_handlers((handler,))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
channel = grpc.insecure_channel(f"127.0.0.1:{port}")
for name, call in (
    ("unary_unary", channel.unary_unary("/x/Wait").future(b"", timeout=60)),
    ("unary_stream", channel.unary_stream("/x/Wait")(b"", timeout=60)),
):
    begun = threading.Event()
    threading.Thread(target=lambda c=call, e=begun: (c.initial_metadata(), e.set()), daemon=True).start()
    print(f"as {name}, before the answer: {'there' if begun.wait(3) else 'not there'}")
answer.set()
server.stop(0).wait(5)
PYTHON
cat "$work/output"
diff - "$work/output" <<'SEEN'
as unary_unary, before the answer: not there
as unary_stream, before the answer: there
SEEN
