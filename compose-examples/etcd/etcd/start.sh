#!/bin/sh
# A member of the cluster of $MEMBERS, under this container's host name.
set -eu
name=$(hostname)
cluster=""
for member in $MEMBERS; do
    cluster="$cluster${cluster:+,}$member=http://$member:2380"
done
# Members give up on a name that is not there yet: all of them first.
for member in $MEMBERS; do
    until nslookup "$member" >/dev/null 2>&1; do sleep 0.2; done
done
exec etcd --name "$name" --data-dir /var/lib/etcd/data \
    --initial-cluster "$cluster" --initial-cluster-token "${TOKEN:-swarm}" \
    --listen-peer-urls http://0.0.0.0:2380 --initial-advertise-peer-urls "http://$name:2380" \
    --listen-client-urls http://0.0.0.0:2379 --advertise-client-urls "http://$name:2379"
