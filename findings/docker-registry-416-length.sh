#!/bin/sh
# docker-registry 2.8.2 (Debian 2.8.2+ds1-1): the answer to a range that starts at a blob's end is 416 with the whole
# blob's Content-Length and a body of a few bytes of JSON, so that a client that trusts the length sees a broken read.
#
# A client that resumes a download whose last byte it already has asks just this. RFC 9110, 15.5.17, wants a
# Content-Range with the length; Content-Length is that of the body.
#
# Seen: status 416, Content-Length 1048576, body shorter than 1024 bytes, http.client raises IncompleteRead.
set -eu
work=$(mktemp -d)
registry=
trap '[ -z "$registry" ] || kill "$registry"; rm -rf "$work"' EXIT
cd "$work"
apt-get download -q docker-registry=2.8.2+ds1-1 >apt.log 2>&1 || { cat apt.log >&2; exit 1; }
dpkg-deb -x docker-registry_*.deb root
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >config.yml <<YAML
version: 0.1
log: {level: error}
storage: {filesystem: {rootdirectory: $work/data}}
http: {addr: "127.0.0.1:$port"}
YAML
root/usr/bin/docker-registry serve config.yml >registry.log 2>&1 &
registry=$!
python3 - "$port" <<'PYTHON'
import hashlib
import http.client
import sys
import time

SIZE = 1 << 20
blob = bytes(SIZE)
digest = "sha256:" + hashlib.sha256(blob).hexdigest()


def ask(method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
    connection.request(method, path, body, headers)
    return connection.getresponse()


for _ in range(100):
    try:
        assert ask("GET", "/v2/").status == 200
        break
    except OSError:
        time.sleep(0.1)
place = ask("POST", "/v2/x/blobs/uploads/").headers["Location"].partition("/v2/")[2]
answer = ask("PUT", f"/v2/{place}&digest={digest}", blob, **{"Content-Type": "application/octet-stream"})
assert answer.status == 201, answer.status

answer = ask("GET", f"/v2/x/blobs/{digest}", Range=f"bytes={SIZE}-")
length = int(answer.headers["Content-Length"])
try:
    body, broken = answer.read(), False
except http.client.IncompleteRead as error:
    body, broken = error.partial, True
print(f"status {answer.status}, Content-Length {length}, body of {len(body)} bytes, incomplete: {broken}")
sys.exit(0 if (answer.status, length, broken) == (416, SIZE, True) and len(body) < 1024 else 1)
PYTHON
