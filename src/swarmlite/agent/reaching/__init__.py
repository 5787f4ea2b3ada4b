"""The node's end of tunnels to its tasks: what managers may reach here, and nothing besides.

It owns two sockets of this host, whose services know tasks' containers only, and the calls by which
the node answers managers. It never listens to other hosts.
"""
