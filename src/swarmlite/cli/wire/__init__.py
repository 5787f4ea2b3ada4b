"""gRPC as far as a command line needs it: one call on a unix socket of this host.

The library for it takes half of a command's time to load. `hpack` and `frames` are HTTP/2's, `call`
is one call on a connection of its own, `stubs` are a service's methods. Source: RFC 9113, RFC 7541,
and gRPC over HTTP/2.
"""
