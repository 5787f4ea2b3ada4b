"""A node's own daemon: starts, watches and restarts agent, manager, etcd and the supervisor.

It owns the state directory's lock, and takes a host into a cluster and out of it; who the node is
then, `identity` keeps. The daemon itself is of the standard library only and never imports gRPC;
what does is a one-shot process (`oneshot`), such as `init`, `join`, `leave`, `backup`, `restore`
and `unlock`. It decides nothing about tasks.
"""
