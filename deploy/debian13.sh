#!/bin/sh
# Runs a command (make test when none is given) in a tree of Debian 13, on a host of another
# release: the clone is copied into the tree, as it lies here, and the command starts in the copy.
#   deploy/debian13.sh [COMMAND [ARGUMENT...]]
# The tree is made once, by debootstrap, from the mirror that this host's apt uses, in
# SWARMLITE_DEBIAN13 (default: /var/tmp/swarmlite-debian13), and stays there with what the command
# installs; `rm -rf` removes it. Mounts and processes end with the command, also when the script
# is interrupted or killed: they live in mount and pid namespaces that have no other owner.
set -eu

SUITE=trixie
TREE=${SWARMLITE_DEBIAN13:-/var/tmp/swarmlite-debian13}
SOURCE=$(cd "$(dirname "$0")/.." && pwd)
GRACE_S=60
. "$SOURCE/deploy/trees.sh"

fail() {
    echo "debian13.sh: $1" >&2
    exit 1
}

make_tree() {
    sh "$SOURCE/deploy/packages.sh" debian13
    debian_tree "$SUITE" "$TREE" ca-certificates,git,make,python3-venv
    # apt and TLS in the tree go the ways of this host: proxies, dates, authorities.
    apt-config dump Acquire >"$TREE/tree/etc/apt/apt.conf.d/99host"
    cp -RL /usr/local/share/ca-certificates/. "$TREE/tree/usr/local/share/ca-certificates/"
    chroot "$TREE/tree" update-ca-certificates >/dev/null 2>&1
}

# All that git would commit, over what an earlier run left of it; .venv and .cache stay.
copy_clone() {
    mkdir -p "$COPY"
    find "$COPY" -mindepth 1 -maxdepth 1 ! -name .venv ! -name .cache -exec rm -rf {} +
    (cd "$SOURCE" &&
        git -c safe.directory="$SOURCE" ls-files -z --cached --others --exclude-standard |
        tar -c --null --files-from=- --ignore-failed-read 2>/dev/null) | tar -x -C "$COPY"
    [ -f "$COPY/pyproject.toml" ] || fail "$SOURCE is not a clone that git can list"
}

# cgroups are the one thing that no namespace takes along. Whoever makes hosts notes its own.
remove_cgroups() {
    for note in "$TREE"/tree/tmp/swl-*/owner.json; do
        [ -f "$note" ] || continue
        parent=$(sed -n 's|.*"cgroup_parent": "\(/swarmlite-[a-z0-9]*\)".*|\1|p' "$note")
        [ -n "$parent" ] && find /sys/fs/cgroup -depth -type d -path "*$parent*" \
            -exec rmdir {} + 2>/dev/null
        rm -rf "${note%/owner.json}"
    done
}

# Ends the command as its user would, and whatever does not end then, by force.
stop() {
    trap '' INT TERM HUP
    init=$(cat "/proc/$runner/task/$runner/children" 2>/dev/null) || init=
    [ -z "$init" ] || kill -TERM $init 2>/dev/null || true
    tenths=0
    while [ "$tenths" -lt $((GRACE_S * 10)) ] &&
        grep -q '^State:.[^Z]' "/proc/$runner/status" 2>/dev/null
    do
        sleep 0.1
        tenths=$((tenths + 1))
    done
    kill -KILL "$runner" 2>/dev/null || true
    wait "$runner" || true
    remove_cgroups
    exit "$1"
}

# The first process of the namespaces: it enters the tree, and ends with the command.
enter() {
    cd "$TREE/tree"
    mount --bind . . && cd "$TREE/tree"
    mount -t proc proc proc
    mount --rbind /sys sys
    mount --rbind /dev dev
    mount -t tmpfs -o mode=755 tmpfs run
    [ ! -e /etc/resolv.conf ] || cat /etc/resolv.conf >etc/resolv.conf
    cat /etc/hosts >etc/hosts
    mkdir -p old
    pivot_root . old
    cd /root/swarmlite
    umount -l /old
    trap 'kill -TERM -1' TERM
    # sh starts what goes to the background with SIGINT ignored, and tests would inherit that.
    if env --default-signal=INT,QUIT true 2>/dev/null; then
        set -- env --default-signal=INT,QUIT "$@"
    fi
    "$@" <&3 3<&- &
    command=$!
    while :; do
        code=0
        wait "$command" || code=$?
        kill -0 "$command" 2>/dev/null || exit "$code"
    done
}

COPY=$TREE/tree/root/swarmlite
if [ "${1:-}" = --inside ]; then
    shift
    enter "$@"
fi
[ "$(id -u)" = 0 ] || fail "makes mounts and namespaces: run it as root, or with sudo"
[ $# -gt 0 ] || set -- make test
[ -d "$TREE/tree" ] || make_tree
exec 9>"$TREE/lock"
flock -n 9 || fail "another run uses $TREE: wait for it, or name another folder by SWARMLITE_DEBIAN13"
remove_cgroups
copy_clone
exec 3<&0
env -u SWARMLITE_IMAGE_CACHE -u PYTHONPATH -u VIRTUAL_ENV \
    HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    SWARMLITE_DEBIAN13="$TREE" \
    setpriv --pdeathsig KILL \
    unshare --mount --propagation private --pid --fork --kill-child \
    sh "$SOURCE/deploy/debian13.sh" --inside "$@" 9>&- &
runner=$!
trap 'stop 130' INT
trap 'stop 143' TERM
trap 'stop 129' HUP
code=0
wait "$runner" || code=$?
remove_cgroups
exit "$code"
