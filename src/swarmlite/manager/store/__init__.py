"""The cluster's objects: reads from a mirror in memory, writes as compared transactions.

`api` is the contract, `tables` the mirror that both stores share, `memory` the store of tests and
of the simulation, `etcd` the real one. One suite of tests runs on both.
"""
