#!/bin/sh
# First in a node's container (deploy/Dockerfile): what a machine's boot would have done.
set -eu

# Of cgroup v2 only groups without processes of their own hand controllers down, so those that are
# in the root of this namespace move to a leaf.
if [ -w /sys/fs/cgroup/cgroup.subtree_control ]; then
    mkdir -p /sys/fs/cgroup/init
    while read -r pid; do
        echo "$pid" >/sys/fs/cgroup/init/cgroup.procs 2>/dev/null || true
    done </sys/fs/cgroup/cgroup.procs
    for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
        echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
    done
fi
exec "$@"
