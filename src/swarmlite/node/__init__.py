"""A node's own daemon: starts, watches and restarts agent, manager, etcd and the supervisor.

Also what its owner switches on: the exporter, the page, and Docker's API while it is used. It owns
the state directory's lock, and takes a host into a cluster and out of it; who the node is then,
`identity` keeps. The daemon itself is of the standard library only and never imports gRPC; what
does is a one-shot process (`oneshot`), such as `init`, `join`, `leave`, `backup`, `restore` and
`unlock`. It decides nothing about tasks.
"""
