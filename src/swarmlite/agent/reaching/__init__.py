"""The node's end of tunnels to it and its tasks: what managers may reach here, nothing besides.

It owns sockets of this host, whose services know tasks' containers only, or what images and volumes
there are, and the calls by which the node answers managers. It never listens to other hosts.
"""
