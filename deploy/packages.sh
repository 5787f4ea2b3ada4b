#!/bin/sh
# Installs the Debian packages of the groups that are named, those that are missing.
#   deploy/packages.sh run|test|bench|debian13|vm...
# run: what a node needs. test: registries and the contents of images. bench: the peers.
# debian13: what makes a tree of that release. vm: virtual machines.
set -eu

run="etcd-server nftables libnftables1 iproute2 python3-venv"
test="docker-registry busybox-static zsh fish iputils-ping procps conntrack crun curl etcd-client openssh-server e2fsprogs prometheus chromium chromium-driver"
bench="docker.io runc haproxy"
debian13="debootstrap git"
vm="debootstrap qemu-system-x86 qemu-utils openssh-client e2fsprogs"

[ "$(id -u)" = 0 ] || { echo "packages.sh installs Debian packages: run it as root, or with sudo" >&2; exit 1; }

missing=""
for group in "$@"; do
    case $group in
        run) names=$run ;;
        test) names=$test ;;
        bench)
            names=$bench
            apt-cache show docker.io >/dev/null 2>&1 || apt-get update -q >/dev/null
            # Debian 13 has Docker's command in a package of its own.
            ! apt-cache show docker-cli >/dev/null 2>&1 || names="$names docker-cli"
            ;;
        debian13) names=$debian13 ;;
        vm) names=$vm ;;
        *) echo "packages.sh: unknown group '$group': one of run, test, bench, debian13, vm" >&2; exit 2 ;;
    esac
    for name in $names; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing="$missing $name"
    done
done
# Images are built of packages that are fetched, not installed: that takes apt's lists.
case " $* " in
    *" test "*) apt-cache show redis-server >/dev/null 2>&1 || apt-get update -q >/dev/null ;;
esac
[ -n "$missing" ] || exit 0

echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
# Without systemd, packages would start their servers now; in runlevel 1 they do not.
export RUNLEVEL=1
log=$(mktemp)
# shellcheck disable=SC2086
if ! { apt-get update -q && apt-get install -q -y --no-install-recommends $missing; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    echo "packages.sh: apt-get could not install$missing" >&2
    exit 1
fi
rm -f "$log"
