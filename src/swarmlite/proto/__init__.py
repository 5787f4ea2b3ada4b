"""The one definition of every object and RPC of swarmlite: .proto files, their stubs beside them.

The messages are the model: gRPC, etcd and code share them. What the store hands out is frozen by
convention: copy, change, write. `python -m swarmlite.proto.generate` makes the stubs again.
"""

from swarmlite import deferred

# The implementation for who has no compiled one: a fifth of what a command loads.
deferred.defer(["google.protobuf.internal.python_message"])
