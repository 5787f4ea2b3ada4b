#!/bin/sh
# Linux 5.8 to 6.18 at least: a dump of connections with CTA_FILTER (libnetfilter_conntrack's kernel-side filter), and since 6.8 a
# flush with it, matches by IPv6 addresses what does NOT have the address (ctnetlink_filter_match_tuple compares with
# !ipv6_addr_cmp, which is true for equal ones). IPv4 is right. Before 6.8 a flush with the filter is EINVAL.
#
# Whoever forgets the connections of one IPv6 address that way cuts all others, and keeps that one's.
#
# Seen:
#   of 10.0.0.1 and 10.0.0.2, asked for 10.0.0.1: 10.0.0.1
#   of fd00::1 and fd00::2, asked for fd00::1: fd00::2
set -eu
[ "$(id -u)" = 0 ] || { echo "makes a network namespace: run it as root" >&2; exit 1; }
exec unshare -n python3 -c '
import socket, struct

def attribute(kind, data): return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)
def nested(kind, *parts): return attribute(kind | 0x8000, b"".join(parts))
def tuple_(kind, family, source, to):
    first = 3 if family == socket.AF_INET6 else 1
    ip = nested(1, attribute(first, socket.inet_pton(family, source)), attribute(first + 1, socket.inet_pton(family, to)))
    return nested(kind, ip, nested(2, attribute(1, b"\x11"), attribute(2, b"\0\1"), attribute(3, b"\0\1")))

channel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
channel.bind((0, 0))
def ask(kind, flags, family, *parts):
    body = struct.pack(">BBH", family, 1, 0) + b"".join(parts)
    channel.send(struct.pack("=IHHII", 16 + len(body), 256 | kind, 1 | flags, 1, 0) + body)
    while True:
        data = channel.recv(65536)
        while data:
            length, what = struct.unpack_from("=IH", data)
            if what in (2, 3):
                return
            yield data[16:length]
            data = data[(length + 3) & ~3:]

for family, one, two, peer in (
    (socket.AF_INET, "10.0.0.1", "10.0.0.2", "10.0.0.9"), (socket.AF_INET6, "fd00::1", "fd00::2", "fd00::9"),
):
    for each in (one, two):
        made = tuple_(1, family, each, peer), tuple_(2, family, peer, each), attribute(7, struct.pack(">I", 60))
        list(ask(0, 0x604, family, *made))
    source = attribute(3 if family == socket.AF_INET6 else 1, socket.inet_pton(family, one))
    by_source = nested(25, attribute(1, struct.pack("=I", 1)))
    shown = list(ask(1, 0x300, family, nested(1, nested(1, source)), by_source))
    # The first address in each is the source.
    size = 16 if family == socket.AF_INET6 else 4
    names = [socket.inet_ntop(family, body[16:16 + size]) for body in shown]
    print(f"of {one} and {two}, asked for {one}:", *names)
'
