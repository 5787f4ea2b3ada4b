#!/bin/sh
# etcd 3.4.23 (Debian 3.4.23-4+b4): "mvcc: database space exceeded" does not say that nothing was written. The quota is looked at
# twice, when a request comes in and when it is applied; where the second look is the one that finds too little room, the
# write is applied all the same and then answered with the error. So the last writes before the NOSPACE alarm, several where clients
# write side by side, are refused and stored.
#
# Whoever takes the error for a refusal reports a failure of what then exists; reading the key afterwards, which a full store
# still allows, tells.
#
# Seen:
#   writes answered with "database space exceeded" whose key is there: 1 or more
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
ctl() { ETCDCTL_API=3 root/usr/bin/etcdctl --endpoints "http://127.0.0.1:${port}" --command-timeout 20s "$@"; }
port=$1
head -c 700000 /dev/zero | tr '\0' x >value
mkdir refused
# writer NAME: keys of its own until it is refused
writer() {
    n=0
    while [ $n -lt 60 ]; do
        if ! ctl put "/$1-$n" <value >/dev/null 2>"err-$1" && grep -q 'database space exceeded' "err-$1"; then
            : >"refused/$1-$n"
            return
        fi
        n=$((n + 1))
    done
}
# Whether a write is caught between the two looks is a matter of moments: up to ten stores are filled.
found=0
round=0
while [ $found = 0 ] && [ $round -lt 10 ]; do
    round=$((round + 1))
    rm -rf data refused/*
    root/usr/bin/etcd --data-dir data --log-level error --quota-backend-bytes 16777216 \
        --listen-client-urls "http://127.0.0.1:$1" --advertise-client-urls "http://127.0.0.1:$1" \
        --listen-peer-urls "http://127.0.0.1:$2" --initial-advertise-peer-urls "http://127.0.0.1:$2" \
        --initial-cluster "default=http://127.0.0.1:$2" >etcd.log 2>&1 &
    etcd=$!
    n=0
    until ctl endpoint health >/dev/null 2>&1; do n=$((n + 1)); [ $n -lt 100 ] || exit 1; sleep 0.2; done
    writers=
    for each in a b c d e f; do writer $each & writers="$writers $!"; done
    wait $writers
    for each in refused/*; do
        key=/${each#refused/}
        [ "$(ctl get --keys-only "$key" | head -n 1)" != "$key" ] || found=$((found + 1))
    done
    kill "$etcd"
    wait "$etcd" 2>/dev/null || true
    etcd=
done
[ $found = 0 ] || found="1 or more"
echo "writes answered with \"database space exceeded\" whose key is there: $found" >output
cat output
diff - output <<'SEEN'
writes answered with "database space exceeded" whose key is there: 1 or more
SEEN
