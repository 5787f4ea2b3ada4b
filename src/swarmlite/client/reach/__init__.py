"""Ways to a node's processes: sockets of this host, or of another one by ssh or TLS.

A way gives a connected socket to one of a node's services, so that whoever calls need not know
where the node is. It knows nothing of what is said there, and no gRPC.
"""
