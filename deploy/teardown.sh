# What a node leaves in the kernel when it is taken off its host. Read by install.sh and by the
# package's scripts, which set RUN; as root.

# What the kernel has of the node's networks.
remove_networks() {
    command -v nft >/dev/null 2>&1 && nft list tables 2>/dev/null |
        while read -r _ family name; do
            case $name in swarmlite*) nft delete table "$family" "$name" ;; esac
        done
    command -v ip >/dev/null 2>&1 && ip -o link show 2>/dev/null |
        sed -n 's/^[0-9]*: \(swarmlite-[^:@]*\)[:@].*/\1/p' |
        while read -r link; do ip link del "$link"; done
    sed -n "s|^[^ ]* [^ ]* [^ ]* [^ ]* \($RUN[^ ]*\) .*|\1|p" /proc/self/mountinfo | sort -r |
        while read -r place; do umount -l "$place"; done
    return 0
}

# Those of its containers, which are gone: the kernel removes empty ones only.
remove_cgroups() {
    for top in /sys/fs/cgroup/swarmlite /sys/fs/cgroup/*/swarmlite; do
        [ ! -d "$top" ] || find "$top" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
}
