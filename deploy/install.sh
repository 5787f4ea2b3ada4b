#!/bin/sh
# Installs swarmlite on a Debian host, from a clone: packages, /opt/swarmlite, commands, their
# completion in bash, zsh and fish, and units. As root or with sudo. Safe to repeat: a repetition
# upgrades and restarts the node's daemon; containers run on.
#   deploy/install.sh               the versions of requirements.lock
#   deploy/install.sh --uninstall   all of that away again; state and Debian packages stay
#   deploy/install.sh --purge       the node's state too: images, volumes, containers
set -eu

PREFIX=/opt/swarmlite
STATE=/var/lib/swarmlite
RUN=/run/swarmlite
UNITS=/etc/systemd/system
COMMANDS="swarmlite swarmlited swarmlite-runtime"
BASH_COMPLETION=/usr/share/bash-completion/completions/swarmlite
ZSH_COMPLETION=/usr/share/zsh/vendor-completions/_swarmlite
FISH_COMPLETION=/usr/share/fish/vendor_completions.d/swarmlite.fish
SOURCE=$(cd "$(dirname "$0")/.." && pwd)
. "$SOURCE/deploy/teardown.sh"

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

with_systemd() { [ -d /run/systemd/system ]; }

# Debian's package would start an etcd of its own. One that runs here already is the
# administrator's and left alone (the ports differ); one that comes with us is never started.
mask_etcd() {
    with_systemd || return 0
    dpkg-query -W -f='${Status}' etcd-server 2>/dev/null | grep -q "ok installed" && return 0
    systemctl mask --quiet etcd.service
    mkdir -p "$PREFIX/share"
    touch "$PREFIX/share/masked-etcd"
}

install_package() {
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "Python 3.11 or later is needed, this is $(python3 --version)"
    [ -x "$PREFIX/bin/python3" ] || python3 -m venv "$PREFIX"
    rm -rf "$SOURCE/build" # what an earlier build left would be installed with it
    # The lock names the versions that the tests ran with; what only tests need is not installed.
    "$PREFIX/bin/python3" -m pip install --quiet --disable-pip-version-check \
        --upgrade --constraint "$SOURCE/requirements.lock" "$SOURCE"
    # A bare interpreter (-IS) starts in two thirds of the time; swarmlite completes it where it has
    # to (cli/__init__.py).
    library=$("$PREFIX/bin/python3" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    for command in swarmlite=swarmlite.cli swarmlite-runtime=swarmlite.runtime.cli; do
        cat >"$PREFIX/bin/${command%%=*}" <<EOF
#!$PREFIX/bin/python3 -IS
import sys

sys.path.append("$library")
from ${command#*=} import main

sys.exit(main())
EOF
    done
    mkdir -p "$PREFIX/share"
    cp "$SOURCE/README.md" "$PREFIX/share/"
    mkdir -p /usr/local/bin
    for command in $COMMANDS; do
        ln -sf "$PREFIX/bin/$command" "/usr/local/bin/$command"
    done
}

# Whoever is in it may write to the socket of Docker's API, and so is root on this host: it is empty
# until the administrator says otherwise.
install_group() {
    getent group swarmlite >/dev/null || groupadd --system swarmlite
}

install_completion() {
    for target in "bash $BASH_COMPLETION" "zsh $ZSH_COMPLETION" "fish $FISH_COMPLETION"; do
        shell=${target%% *}
        file=${target#* }
        mkdir -p "$(dirname "$file")"
        _SWARMLITE_COMPLETE=${shell}_source "$PREFIX/bin/swarmlite" >"$file" 2>/dev/null ||
            rm -f "$file"
    done
}

install_units() {
    supervisor=$("$PREFIX/bin/python3" -c \
        'from swarmlite.node.supervision import script; print(script())')
    sed "s|@SUPERVISOR@|$supervisor|" "$SOURCE/deploy/swarmlite-supervisor.service" \
        >"$UNITS/swarmlite-supervisor.service"
    cp "$SOURCE/deploy/swarmlited.service" "$UNITS/"
    systemctl daemon-reload
    systemctl enable --quiet swarmlite-supervisor.service swarmlited.service
    systemctl start swarmlite-supervisor.service
    systemctl restart swarmlited.service
}

stop_node() {
    if with_systemd; then
        # In this order: the supervisor's end is that of the containers.
        systemctl disable --now --quiet swarmlited.service swarmlite-supervisor.service \
            2>/dev/null || true
        rm -f "$UNITS/swarmlited.service" "$UNITS/swarmlite-supervisor.service"
        systemctl daemon-reload
    fi
    for pid in $(cat "$STATE/swarmlited.lock" 2>/dev/null); do
        grep -qs swarmlite "/proc/$pid/cmdline" &&
            fail "swarmlited runs (pid $pid): end it, and then swarmlited --shutdown-containers"
    done
    return 0
}

uninstall() {
    [ ! -f "$STATE/node.json" ] || [ "$1" = purge ] ||
        fail "this node is in a swarm: first swarmlite swarm leave (or --purge: the others will see it as down)"
    stop_node
    remove_networks
    remove_cgroups
    for command in $COMMANDS; do
        [ "$(readlink "/usr/local/bin/$command")" != "$PREFIX/bin/$command" ] ||
            rm -f "/usr/local/bin/$command"
    done
    rm -f "$BASH_COMPLETION" "$ZSH_COMPLETION" "$FISH_COMPLETION"
    if [ -f "$PREFIX/share/masked-etcd" ] && with_systemd; then
        systemctl unmask --quiet etcd.service
    fi
    rm -rf "$PREFIX" "$RUN"
    if [ "$1" = purge ]; then
        rm -rf "$STATE"
        groupdel swarmlite 2>/dev/null || true
        echo "swarmlite is gone, and the state of this node with it."
    else
        echo "swarmlite is gone. Images, volumes and logs are still in $STATE."
    fi
}

case ${1:-} in
    "" | --uninstall | --purge) [ $# -le 1 ] || fail "one option at most" ;;
    *) fail "unknown option '$1': --uninstall or --purge" ;;
esac
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || fail "must run as root: there is no sudo"
    exec sudo -- sh "$0" "$@"
fi
case ${1:-} in
    --uninstall) uninstall keep; exit 0 ;;
    --purge) uninstall purge; exit 0 ;;
esac
[ -f "$SOURCE/pyproject.toml" ] || fail "$SOURCE is not a clone of swarmlite"
command -v apt-get >/dev/null 2>&1 || fail "needs a Debian host: there is no apt-get"
mask_etcd
sh "$SOURCE/deploy/packages.sh" run
install_package
install_group
install_completion
if ! with_systemd; then
    echo "swarmlite is installed. There is no systemd here: start the node with swarmlited &"
    exit 0
fi
install_units
echo "swarmlite runs. A first cluster: swarmlite swarm init"
