#!/bin/sh
# docker 28.2.2 (20.10 too), classic builder: a context whose Dockerfile is outside of it is sent as a tar that ends too early.
#
# `docker build -f ../Dockerfile CONTEXT` puts the Dockerfile into the tar under a name of its own, as the last file. The tar ends with
# that file's last byte: without the padding to a block of 512 bytes, and without the two blocks of zeros. Go's reader takes
# it; others say that it ends in the middle of a member.
#
# Seen:
#   2567 bytes, 7 more than whole blocks
#   ReadError: unexpected end of data
set -eu
work=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
mkdir "$work/context"
printf 'a\n' >"$work/context/file"
printf '.dockerignore\n' >"$work/context/.dockerignore"
printf 'FROM x\n' >"$work/Outside"
python3 - "$work/docker.sock" "$work/sent.tar" <<'PYTHON' &
import http.server
import socketserver
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    address_string = lambda self: "client"
    log_message = lambda self, *args: None

    def do_HEAD(self):
        self.send_response(200)
        for name, value in (("Api-Version", "1.41"), ("Builder-Version", "1"), ("Content-Length", "0")):
            self.send_header(name, value)
        self.end_headers()

    do_GET = do_HEAD

    def do_POST(self):
        with open(sys.argv[2], "wb") as file:
            while size := int(self.rfile.readline(), 16):
                file.write(self.rfile.read(size))
                self.rfile.readline()
        self.do_HEAD()


socketserver.UnixStreamServer(sys.argv[1], Handler).serve_forever()
PYTHON
server=$!
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -S "$work/docker.sock" ] && break; sleep 1; done
DOCKER_BUILDKIT=0 docker -H "unix://$work/docker.sock" build -q -f "$work/Outside" "$work/context" >/dev/null 2>&1 || true
python3 - "$work/sent.tar" <<'PYTHON'
import sys
import tarfile

size = len(open(sys.argv[1], "rb").read())
print(f"{size} bytes, {size % 512} more than whole blocks")
try:
    tarfile.open(sys.argv[1]).extractfile(".dockerignore").read()
except tarfile.TarError as error:
    print(f"{type(error).__name__}: {error}")
PYTHON
