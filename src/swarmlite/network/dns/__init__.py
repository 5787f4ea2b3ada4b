"""The resolver of a host's containers: 127.0.0.11 in each sandbox, served by this process's loop.

`packet` reads and writes messages, `records` knows the names of the sandbox's networks, `server`
answers, `forward` asks the host's resolvers about everything else.
"""
