#!/bin/sh
# pyroute2 0.9.7: IPRoute().fdb("replace", ...) fails where "add" succeeds.
#
# "add", "append" and "del" fill in the flag NTF_SELF and the state that a VXLAN device needs to take a forwarding entry
# itself; "replace" leaves both out, and the kernel looks for a bridge above the device. `bridge fdb replace`, which takes
# the same words, fills them in for every command.
#
# Seen (kernel 6.18, as root):
#   add: ok
#   replace: NetlinkError 95 Operation not supported
#   replace with NTF_SELF: ok
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check pyroute2==0.9.7
# A network namespace of its own: whatever is made in it ends with it.
unshare --net "$work/venv/bin/python" - >"$work/output" <<'PYTHON'
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

NTF_SELF = 2
with IPRoute() as ip:
    ip.link("add", ifname="vx0", kind="vxlan", vxlan_id=42, vxlan_port=4789, vxlan_learning=False)
    link = ip.link_lookup(ifname="vx0")[0]
    ip.link("set", index=link, state="up")
    for name, command, extra in (
        ("add", "add", {}),
        ("replace", "replace", {}),
        ("replace with NTF_SELF", "replace", {"flags": NTF_SELF}),
    ):
        try:
            ip.fdb(command, ifindex=link, lladdr="02:42:0a:00:00:02", dst="192.0.2.1", **extra)
            print(f"{name}: ok")
        except NetlinkError as error:
            print(f"{name}: NetlinkError {error.code} {error.args[1]}")
PYTHON
cat "$work/output"
diff - "$work/output" <<'SEEN'
add: ok
replace: NetlinkError 95 Operation not supported
replace with NTF_SELF: ok
SEEN
