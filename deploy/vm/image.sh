#!/bin/sh
# Makes what virtual machines boot: FOLDER/disk.raw (Debian with systemd, its cloud kernel, and what
# swarmlite's package depends on), FOLDER/vmlinuz, FOLDER/initrd.img and FOLDER/key, a key of root's.
#   deploy/vm/image.sh [bookworm|trixie]     the release of this host when none is named
# FOLDER is printed: SWARMLITE_VM (default: /var/tmp/swarmlite-vm)/SUITE. It is made once; `rm -rf`
# removes it.
set -eu

SOURCE=$(cd "$(dirname "$0")/../.." && pwd)
PACKAGES=systemd-sysv,dbus,udev,kmod,initramfs-tools,zstd,linux-image-cloud-amd64,openssh-server
PACKAGES=$PACKAGES,etcd-server,etcd-client,nftables,libnftables1,iproute2,python3,libstdc++6
PACKAGES=$PACKAGES,apparmor,apparmor-utils,init-system-helpers,iputils-ping,curl,procps,conntrack

fail() {
    echo "image.sh: $1" >&2
    exit 1
}

. "$SOURCE/deploy/trees.sh"

# What the kernel's command line says of this machine: swarmlite.name=NAME swarmlite.address=CIDR
BOOT='#!/bin/sh
for word in $(cat /proc/cmdline); do
    case $word in
        swarmlite.name=*) hostname "${word#*=}"; echo "127.0.1.1 ${word#*=}" >>/etc/hosts ;;
        swarmlite.address=*) address=${word#*=} ;;
    esac
done
# Of virtio, a module that udev loads.
until port=$(ls /sys/class/net | grep -v -e "^lo$" -e "^bond" | grep .); do sleep 1; done
ip link set "$port" up
ip address add "$address" dev "$port"
'
UNIT='[Unit]
DefaultDependencies=no
After=systemd-udev-trigger.service systemd-remount-fs.service
Wants=network.target
Before=network.target ssh.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/machine-network
[Install]
WantedBy=multi-user.target
'

prepare() {
    printf '%s' "$BOOT" >"$tree/usr/local/sbin/machine-network"
    chmod 755 "$tree/usr/local/sbin/machine-network"
    printf '%s' "$UNIT" >"$tree/etc/systemd/system/machine-network.service"
    chroot "$tree" systemctl enable --quiet machine-network.service
    # etcd is the node's own, as where the package is installed by apt.
    chroot "$tree" systemctl mask --quiet etcd.service apt-daily.timer apt-daily-upgrade.timer
    rm -f "$tree/etc/hostname"
    echo "/dev/vda / ext4 defaults 0 1" >"$tree/etc/fstab"
    ssh-keygen -q -t ed25519 -N '' -C machines -f "$folder.made/key"
    mkdir -p -m 0700 "$tree/root/.ssh"
    cp "$folder.made/key.pub" "$tree/root/.ssh/authorized_keys"
    rm -rf "$tree/var/cache/apt/archives"/*.deb "$tree/usr/share/doc" "$tree/usr/share/locale"
}

[ "$(id -u)" = 0 ] || fail "makes a file system: run it as root, or with sudo"
suite=${1:-$(. /etc/os-release && echo "$VERSION_CODENAME")}
folder=${SWARMLITE_VM:-/var/tmp/swarmlite-vm}/$suite
if [ ! -e "$folder/disk.raw" ]; then
    rm -rf "$folder" "$folder.made"
    debian_tree "$suite" "$folder.made" "$PACKAGES"
    tree=$folder.made/tree
    prepare
    cp "$tree"/boot/vmlinuz-* "$folder.made/vmlinuz"
    cp "$tree"/boot/initrd.img-* "$folder.made/initrd.img"
    truncate -s 6G "$folder.made/disk.raw"
    mkfs.ext4 -q -F -d "$tree" "$folder.made/disk.raw"
    rm -rf "$tree"
    mv "$folder.made" "$folder"
fi
echo "$folder"
