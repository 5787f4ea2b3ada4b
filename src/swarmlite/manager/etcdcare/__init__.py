"""The managers' own etcd, cared for: its members' health, and what keeps it small and writable.

Every manager looks after its own member; they act one at a time, the leader of etcd last
(`turns.py`), and need no write for that: a store that is full takes none.
"""
