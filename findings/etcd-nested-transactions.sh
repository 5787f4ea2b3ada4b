#!/bin/sh
# etcd 3.4.23 (Debian 3.4.23-4+b4): --max-txn-ops (128) bounds each level of a transaction, not the whole of it.
#
# 129 puts in one transaction are refused, as documented; 64 transactions of 64 puts each, nested in one, are taken:
# 4,096 puts, atomic, at one revision. What guards a server by that limit alone guards nothing.
#
# Seen:
#   129 puts: etcdserver: too many operations in txn request
#   64 nested transactions of 64 puts: 4096 keys at 1 revision
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
from aetcd.rpc import KVStub, PutRequest, RangeRequest, RequestOp, TxnRequest

kv = KVStub(grpc.insecure_channel(f"127.0.0.1:{sys.argv[1]}"))


def put(key):
    return RequestOp(request_put=PutRequest(key=key.encode(), value=b"x"))


try:
    kv.Txn(TxnRequest(success=[put(f"/flat/{i}") for i in range(129)]), timeout=20, wait_for_ready=True)
    print("129 puts: taken")
except grpc.RpcError as error:
    print(f"129 puts: {error.details()}")
nested = [
    RequestOp(request_txn=TxnRequest(success=[put(f"/nested/{i}/{j}") for j in range(64)]))
    for i in range(64)
]
kv.Txn(TxnRequest(success=nested), timeout=20)
found = kv.Range(RangeRequest(key=b"/nested/", range_end=b"/nested0"), timeout=20).kvs
print(f"64 nested transactions of 64 puts: {len(found)} keys at {len({kv.mod_revision for kv in found})} revision")
PYTHON
cat output
diff - output <<'SEEN'
129 puts: etcdserver: too many operations in txn request
64 nested transactions of 64 puts: 4096 keys at 1 revision
SEEN
