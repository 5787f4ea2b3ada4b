"""`swarmlite top`: nodes, services and tasks on a terminal, live.

`picture` is what is shown, pure; `follow` asks the managers for it and, through them, each node for
what its tasks use; `screen` and `logs` draw it. Only these two know textual, which is an extra.
"""
