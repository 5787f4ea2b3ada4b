"""Groups that systemd makes: transient scopes, asked for over D-Bus.

`dbus.py` is as much of D-Bus as that takes, `scope.py` the scopes. Loaded only by
`swarmlite-runtime --systemd-cgroup` and for containers that it made; systemd then owns the upper
part of the group's path, and what `cgroups` writes in the group lies below what was delegated.
"""
