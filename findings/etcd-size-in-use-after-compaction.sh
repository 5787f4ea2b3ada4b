#!/bin/sh
# etcd 3.4.23 (Debian 3.4.23-4+b4): the size in use that Status tells (dbSizeInUse) is worked out at writes only, so after a
# compaction it keeps what was before until something is written, and with the NOSPACE alarm on nothing can be.
#
# Whoever waits for it to fall before a full store is defragmented and the alarm is taken back waits for ever; what frees the
# space is the defragmentation, whatever the number says.
#
# Seen:
#   full: alarm NOSPACE, in use 10 MiB or more
#   everything deleted and compacted: in use 10 MiB or more
#   defragmented: in use below 1 MiB
set -eu
work=$(mktemp -d)
etcd=
trap '[ -z "$etcd" ] || kill "$etcd"; rm -rf "$work"' EXIT
cd "$work"
apt-get download -q etcd-server=3.4.23-4+b4 etcd-client=3.4.23-4+b4 >apt.log 2>&1 || { cat apt.log >&2; exit 1; }
for each in *.deb; do dpkg-deb -x "$each" root; done
set -- $(python3 -c '
import socket
held = [socket.socket() for _ in range(2)]
for s in held: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in held))')
root/usr/bin/etcd --data-dir data --log-level error --quota-backend-bytes 16777216 \
    --listen-client-urls "http://127.0.0.1:$1" --advertise-client-urls "http://127.0.0.1:$1" \
    --listen-peer-urls "http://127.0.0.1:$2" --initial-advertise-peer-urls "http://127.0.0.1:$2" \
    --initial-cluster "default=http://127.0.0.1:$2" >etcd.log 2>&1 &
etcd=$!
ctl() { ETCDCTL_API=3 root/usr/bin/etcdctl --endpoints "http://127.0.0.1:${port}" --command-timeout 20s "$@"; }
port=$1
n=0
until ctl endpoint health >/dev/null 2>&1; do n=$((n + 1)); [ $n -lt 100 ] || exit 1; sleep 0.2; done
# said TEXT: what Status tells, in words
said() {
    bytes=$(ctl endpoint status -w json | sed 's/.*"dbSizeInUse":\([0-9]*\).*/\1/')
    if [ "$bytes" -ge 10485760 ]; then echo "$1 in use 10 MiB or more"
    elif [ "$bytes" -lt 1048576 ]; then echo "$1 in use below 1 MiB"
    else echo "$1 in use $bytes"; fi
}
head -c 700000 /dev/zero | tr '\0' x >value
n=0
while ctl put "/$n" <value >/dev/null 2>&1 && [ $n -lt 100 ]; do n=$((n + 1)); done
{
    said "full: alarm $(ctl alarm list | sed 's/.*alarm://; s/ *$//'),"
    ctl del --prefix / >/dev/null 2>&1
    revision=$(ctl endpoint status -w json | sed 's/.*"revision":\([0-9]*\).*/\1/')
    ctl compaction --physical "$revision" >/dev/null 2>&1
    said "everything deleted and compacted:"
    ctl defrag >/dev/null 2>&1
    said "defragmented:"
} >output
cat output
diff - output <<'SEEN'
full: alarm NOSPACE, in use 10 MiB or more
everything deleted and compacted: in use 10 MiB or more
defragmented: in use below 1 MiB
SEEN
