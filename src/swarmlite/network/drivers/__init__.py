"""The kinds of networks that containers can be on, behind one Protocol (`api.Driver`).

`overlay` belongs to the managers' networks, `bridge`, `macvlan` and `ipvlan` to this host's own;
`host` and `none` make no interfaces and are modes of a sandbox (see `network.layout`). A driver is
synchronous, knows addresses and interfaces only, and never sees names or published ports.
"""
