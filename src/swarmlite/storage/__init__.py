"""What containers are made from, and what outlives them, on one host's disk.

`host.Storage` is the one object that a process makes: `images` (names, and layers unpacked once),
`snapshots` (the writable file systems over them), `volumes`, and `leases`, which say who needs
what: nothing that is leased is collected. `trees` walks and removes what containers made. It knows
nothing of containers, tasks and services, runs nothing of an image, and never talks to a manager.

Nothing is imported here, because the processes that unpack layers and fill volumes start with the
standard library only.
"""
