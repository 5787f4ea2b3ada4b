"""Who this node is: its role in which cluster, its certificate and key, the roots that it trusts.

It owns node.json and `certificates/`: nothing else writes them. `files.Identity` is the one writer;
`renewal.Renewal` keeps what is in them fresh, as the managers say it; whoever depends on a role
follows `Identity.changes()`. `lock.KeyLock` is autolock: a manager's keys, sealed on the disk. It
decides nothing: roles are the cluster's to give. All but `renewal` is of the standard library, for
the daemon knows no gRPC.
"""
