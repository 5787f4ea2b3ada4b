# Trees of Debian by debootstrap, for scripts beside this one, which source it and define fail().

# The mirror that this host's apt uses.
mirror() {
    apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' |
        sed -n 's/^Debian|Debian|//p' | head -n 1
}

# debian_tree SUITE FOLDER PACKAGE,PACKAGE...: FOLDER/tree, or FOLDER is not there.
debian_tree() {
    [ ! -e "$2" ] || fail "$2 is there and is not a tree of this script's: remove it"
    mirror=$(mirror)
    [ -n "$mirror" ] || fail "apt knows no mirror of Debian: is there a deb line for it in /etc/apt?"
    echo "making a tree of $1 in $2" >&2
    rm -rf "$2.new"
    mkdir -p -m 0700 "$(dirname "$2")" "$2.new"
    # A tree that was cut off is made again, so dpkg need not wait for the disk at each file.
    mkdir -p "$2.new/tree/etc/dpkg/dpkg.cfg.d"
    echo force-unsafe-io >"$2.new/tree/etc/dpkg/dpkg.cfg.d/tree"
    debootstrap --variant=minbase --include="$3" "$1" "$2.new/tree" "$mirror" >"$2.new/log" 2>&1 ||
        fail "debootstrap failed: $(tail -n 1 "$2.new/log") (all of it: $2.new/log)"
    mv "$2.new" "$2"
}
