"""A node's own daemon: starts, watches and restarts agent, manager, etcd and the supervisor.

It owns the state directory's lock, and takes a host into a cluster and out of it; who the node is
then, `identity` keeps. The daemon itself is of the standard library only and never imports gRPC;
`init`, `join` and `leave` are one-shot processes that do. It decides nothing about tasks.
"""
