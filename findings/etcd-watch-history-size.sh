#!/bin/sh
# etcd 3.4.23 (Debian 3.4.23-4+b4): a watch that begins at an old revision gets its history in messages of up to a thousand
# revisions, whatever their size: --max-request-bytes (1.5 MiB) bounds what is written at once, not what is sent.
#
# Twelve values of 1 MiB, each taken by itself, come back in one message of 12 MiB. A gRPC client with its usual limit of
# 4 MiB never gets past it: each new watch from there ends in the same error. `fragment` in the watch's request parts it.
#
# Seen:
#   history of 12 values of 1 MiB: 1 message
#   the same by a client with gRPC's usual limit: RESOURCE_EXHAUSTED
#   the same with fragment: 12 messages
set -eu
work=$(mktemp -d)
etcd=
trap '[ -z "$etcd" ] || kill "$etcd"; rm -rf "$work"' EXIT
cd "$work"
apt-get download -q etcd-server=3.4.23-4+b4 >apt.log 2>&1 || { cat apt.log >&2; exit 1; }
dpkg-deb -x etcd-server_*.deb root
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check aetcd==1.0.0 grpcio==1.76.0 'protobuf==6.33.0' 2>/dev/null
set -- $(python3 -c '
import socket
held = [socket.socket() for _ in range(2)]
for s in held: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))')
root/usr/bin/etcd --data-dir data --log-level error \
    --listen-client-urls "http://127.0.0.1:$1" --advertise-client-urls "http://127.0.0.1:$1" \
    --listen-peer-urls "http://127.0.0.1:$2" --initial-advertise-peer-urls "http://127.0.0.1:$2" \
    --initial-cluster "default=http://127.0.0.1:$2" >etcd.log 2>&1 &
etcd=$!
venv/bin/python - "$1" >output <<'PYTHON'
import sys

import grpc
from aetcd.rpc import KVStub, PutRequest, WatchCreateRequest, WatchRequest, WatchStub

address, count = f"127.0.0.1:{sys.argv[1]}", 12
kv = KVStub(grpc.insecure_channel(address))
for number in range(count):
    kv.Put(PutRequest(key=f"/{number}".encode(), value=bytes(1 << 20)), timeout=20, wait_for_ready=True)


def history(limit, fragment):
    channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", limit)])
    create = WatchCreateRequest(key=b"/", range_end=b"0", start_revision=1, fragment=fragment)
    call = WatchStub(channel).Watch(iter([WatchRequest(create_request=create)]), timeout=30)
    messages, events = 0, 0
    for answer in call:
        messages += bool(answer.events)
        events += len(answer.events)
        if events == count:
            return messages


print(f"history of {count} values of 1 MiB: {history(-1, False)} message")
try:
    history(4 << 20, False)
    print("the same by a client with gRPC's usual limit: taken")
except grpc.RpcError as error:
    print(f"the same by a client with gRPC's usual limit: {error.code().name}")
print(f"the same with fragment: {history(-1, True)} messages")
PYTHON
cat output
diff - output <<'SEEN'
history of 12 values of 1 MiB: 1 message
the same by a client with gRPC's usual limit: RESOURCE_EXHAUSTED
the same with fragment: 12 messages
SEEN
