#!/bin/sh
# Builds dist/swarmlite_VERSION_ARCHITECTURE.deb for Debian 12 and 13, from a clone; no root needed.
#   deploy/deb/build.sh [amd64|arm64]...     both when none is named
#
# One private environment in /opt/swarmlite serves both releases: wheels of pure Python and of the
# stable ABI stand once in lib/common, the others once for each release's Python. The wheels are
# those of requirements.lock, chosen by platform, so that each architecture is built on any.
set -eu

SOURCE=$(cd "$(dirname "$0")/../.." && pwd)
WORK=$SOURCE/.cache/deb
PYTHONS="3.11 3.13"
COMMANDS="swarmlite=swarmlite.cli swarmlited=swarmlite.node.daemon swarmlite-runtime=swarmlite.runtime.cli"

fail() {
    echo "build.sh: $1" >&2
    exit 1
}

command -v dpkg-deb >/dev/null 2>&1 || fail "there is no dpkg-deb: this needs a Debian host"
[ $# -gt 0 ] || set -- amd64 arm64
for architecture in "$@"; do
    case $architecture in
        amd64 | arm64) ;;
        *) fail "unknown architecture '$architecture': amd64 or arm64" ;;
    esac
done

# An environment of this machine: it names the wheels and writes the man pages and completions.
prepare() {
    rm -rf "$WORK" "$SOURCE/build"
    mkdir -p "$WORK/wheels" "$SOURCE/dist"
    python3 -m venv "$WORK/venv"
    python="$WORK/venv/bin/python3"
    "$python" -m pip wheel --quiet --disable-pip-version-check --no-deps \
        --wheel-dir "$WORK/wheels" "$SOURCE"
    "$python" -m pip install --quiet --disable-pip-version-check \
        --constraint "$SOURCE/requirements.lock" "$WORK"/wheels/swarmlite-*.whl click-man==0.6.0
    "$python" -m pip freeze --exclude swarmlite --exclude click-man >"$WORK/locked.txt"
    version=$("$python" -c 'import swarmlite; print(swarmlite.__version__)')
}

# pip_platform ARCHITECTURE
pip_platform() {
    case $1 in amd64) machine=x86_64 ;; arm64) machine=aarch64 ;; esac
    for glibc in manylinux_2_17 manylinux2014 manylinux_2_28 manylinux_2_36; do
        printf ' --platform %s_%s' "$glibc" "$machine"
    done
}

# unpack WHEEL FOLDER: all that it installs but its commands, which are ours to write
unpack() {
    "$python" -m zipfile -e "$1" "$2"
    for data in "$2"/*.data; do
        [ -d "$data" ] || continue
        [ ! -d "$data/data" ] || cp -R "$data/data/." "$root/opt/swarmlite/"
        rm -rf "$data"
    done
}

# launcher COMMAND MODULE: most of a short command's time is the interpreter's own start, so those of
# users start bare (-IS), and swarmlite completes itself where it has to (cli/__init__.py)
launcher() {
    case $1 in
        swarmlite | swarmlite-runtime) printf '#!/opt/swarmlite/bin/python3 -IS\nimport sys\n\nsys.path.append("/opt/swarmlite/lib/common")\n' ;;
        *) printf '#!/opt/swarmlite/bin/python3\nimport sys\n\n' ;;
    esac
    printf 'from %s import main\n\nsys.exit(main())\n' "$2"
}

environment() {
    prefix=$root/opt/swarmlite
    mkdir -p "$prefix/bin" "$prefix/lib/common" "$root/usr/bin"
    printf 'home = /usr/bin\ninclude-system-site-packages = false\n' >"$prefix/pyvenv.cfg"
    ln -s /usr/bin/python3 "$prefix/bin/python3"
    for each in $PYTHONS; do
        # shellcheck disable=SC2046
        "$python" -m pip download --quiet --disable-pip-version-check --no-deps \
            --only-binary=:all: --implementation cp --python-version "$each" \
            $(pip_platform "$architecture") --dest "$WORK/$architecture-$each" \
            --requirement "$WORK/locked.txt"
        site=$prefix/lib/python$each/site-packages
        mkdir -p "$site"
        echo /opt/swarmlite/lib/common >"$site/common.pth"
        for wheel in "$WORK/$architecture-$each"/*.whl; do
            case $wheel in
                *-none-any.whl | *-abi3-*.whl) cp "$wheel" "$WORK/wheels/$architecture-${wheel##*/}" ;;
                *) unpack "$wheel" "$site" ;;
            esac
        done
    done
    unpack "$WORK"/wheels/swarmlite-*.whl "$prefix/lib/common"
    for wheel in "$WORK/wheels/$architecture"-*.whl; do
        unpack "$wheel" "$prefix/lib/common"
    done
    for command in $COMMANDS; do
        name=${command%%=*}
        launcher "$name" "${command#*=}" >"$prefix/bin/$name"
        chmod 755 "$prefix/bin/$name"
        ln -s "/opt/swarmlite/bin/$name" "$root/usr/bin/$name"
    done
}

files_of_the_host() {
    units=$root/usr/lib/systemd/system
    mkdir -p "$units" "$root/etc/swarmlite" "$root/etc/default" "$root/opt/swarmlite/share"
    sed 's|@SUPERVISOR@|/opt/swarmlite/lib/common/swarmlite/runtime/supervisor/__main__.py|' \
        "$SOURCE/deploy/swarmlite-supervisor.service" >"$units/swarmlite-supervisor.service"
    cp "$SOURCE/deploy/swarmlited.service" "$units/"
    cp "$SOURCE/deploy/deb/swarmlite.toml" "$root/etc/swarmlite/"
    cp "$SOURCE/deploy/deb/default" "$root/etc/default/swarmlite"
    cp "$SOURCE/README.md" "$SOURCE/deploy/teardown.sh" "$root/opt/swarmlite/share/"
    "$python" "$SOURCE/deploy/deb/manpages.py" "$root/usr/share/man/man1"
    gzip -9n "$root"/usr/share/man/man1/*
    for target in bash=bash-completion/completions/swarmlite zsh=zsh/vendor-completions/_swarmlite \
        fish=fish/vendor_completions.d/swarmlite.fish; do
        file=$root/usr/share/${target#*=}
        mkdir -p "${file%/*}"
        _SWARMLITE_COMPLETE=${target%%=*}_source "$WORK/venv/bin/swarmlite" >"$file"
    done
    doc=$root/usr/share/doc/swarmlite
    mkdir -p "$doc"
    cp "$SOURCE/README.md" "$doc/"
    cp "$SOURCE/deploy/deb/copyright" "$doc/"
}

control() {
    mkdir -p "$root/DEBIAN"
    size=$(du -sk --exclude=DEBIAN "$root" | cut -f1)
    sed -e "s|@VERSION@|$version|" -e "s|@ARCHITECTURE@|$architecture|" -e "s|@SIZE@|$size|" \
        "$SOURCE/deploy/deb/control" >"$root/DEBIAN/control"
    printf '/etc/swarmlite/swarmlite.toml\n/etc/default/swarmlite\n' >"$root/DEBIAN/conffiles"
    for script in preinst postinst prerm postrm; do
        install -m 755 "$SOURCE/deploy/deb/$script" "$root/DEBIAN/$script"
    done
}

umask 022
prepare
for architecture in "$@"; do
    root=$WORK/root-$architecture
    environment
    files_of_the_host
    control
    chmod -R go=u-w "$root"
    package=$SOURCE/dist/swarmlite_${version}_$architecture.deb
    dpkg-deb --root-owner-group -Zxz -z1 --build "$root" "$package" >/dev/null
    echo "$package"
done
rm -rf "$WORK"
