"""Probes of a network between nodes: small and full frames through its own tunnels.

Each node sends to every other one, and says what it heard; no node answers for another. A frame
takes the way of a container's: the network's VXLAN device, the hosts' rules and routes. Where one
is not heard, the kernel's own trace of the packets says which rule took them.
"""
