"""How a process of this host reaches its node: swarmlited's socket, and what node.json says of it.

The command line and the gateway share it. It knows no gRPC, and nothing of what is asked there.
"""
