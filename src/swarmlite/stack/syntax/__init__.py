"""Short notations of parts of a spec, as flags and compose files write them, to messages.

Pure; each function raises InvalidSpec that says what would be right, and leaves to its caller to
say where it stood.
"""
