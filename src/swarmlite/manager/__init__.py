"""A manager: the store's mirror, the API, agents' sessions, the CA, and the leader's loops.

It owns the desired state of the cluster. It never touches containers, images or the kernel, and
never imports `agent`, `runtime` or `network`: what a node needs to know goes through its session.
"""
