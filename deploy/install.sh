#!/bin/sh
# Installs swarmlite on a Debian host, from a clone: packages, /opt/swarmlite, commands, units.
# As root or with sudo. Safe to repeat: a repetition upgrades and restarts the node's daemon;
# containers run on.
set -eu

PREFIX=/opt/swarmlite
SOURCE=$(cd "$(dirname "$0")/.." && pwd)

fail() {
    echo "install.sh: $1" >&2
    exit 1
}

if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || fail "must run as root: there is no sudo"
    exec sudo -- sh "$0" "$@"
fi
[ -f "$SOURCE/pyproject.toml" ] || fail "$SOURCE is not a clone of swarmlite"
command -v apt-get >/dev/null 2>&1 || fail "needs a Debian host: there is no apt-get"

with_systemd() { [ -d /run/systemd/system ]; }

# Debian's package would start an etcd of its own. One that runs here already is the
# administrator's and left alone (the ports differ); one that comes with us is never started.
if with_systemd && ! dpkg-query -W -f='${Status}' etcd-server 2>/dev/null | grep -q "ok installed"
then
    systemctl mask --quiet etcd.service
fi
sh "$SOURCE/deploy/packages.sh" run

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "Python 3.11 or later is needed, this is $(python3 --version)"
[ -x "$PREFIX/bin/python3" ] || python3 -m venv "$PREFIX"
"$PREFIX/bin/python3" -m pip install --quiet --upgrade "$SOURCE"
mkdir -p "$PREFIX/share"
cp "$SOURCE/README.md" "$PREFIX/share/"

mkdir -p /usr/local/bin
for command in swarmlite swarmlited swarmlite-runtime; do
    ln -sf "$PREFIX/bin/$command" "/usr/local/bin/$command"
done

if ! with_systemd; then
    echo "swarmlite is installed. There is no systemd here: start the node with swarmlited &"
    exit 0
fi
supervisor=$("$PREFIX/bin/python3" -c \
    'from swarmlite.node.supervision import script; print(script())')
sed "s|@SUPERVISOR@|$supervisor|" "$SOURCE/deploy/swarmlite-supervisor.service" \
    >/etc/systemd/system/swarmlite-supervisor.service
cp "$SOURCE/deploy/swarmlited.service" /etc/systemd/system/
systemctl daemon-reload
systemctl enable --quiet swarmlite-supervisor.service swarmlited.service
systemctl start swarmlite-supervisor.service
systemctl restart swarmlited.service
echo "swarmlite runs. A first cluster: swarmlite swarm init"
