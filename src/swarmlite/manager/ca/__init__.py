"""The cluster's certificate authority: its root, join tokens, and nodes' certificates.

`root` makes and signs, `tokens` are the secrets of joining, `service` is the gRPC service that
nodes join, renew and leave by. Roles come from tokens and from the cluster's own objects, never
from what a certificate request asks for. The root key never leaves the managers.
"""
