"""Encrypted overlays: their tunnels run through one WireGuard device of the host.

Each node makes its own key pair, and the private key never leaves it. Managers spread the public
keys with the endpoints, and a key of their own for all nodes, which they replace twice a day and
which is mixed into each handshake (WireGuard's preshared key). The VXLAN devices of such networks
send from and to addresses that only this device carries; where it is missing, nothing is sent.
"""
