"""Control groups: limits, accounts and the reach of a container, on v1, hybrid and v2 hosts.

`base.py` is the interface, `v1.py` and `v2.py` the two ways, `devices.py` the eBPF program that v2
wants for devices, `detect.py` what this host has. A container's `cgroupsPath` is taken from the
root of the hierarchies. Whoever creates a group deletes it; nothing here makes processes.
"""
