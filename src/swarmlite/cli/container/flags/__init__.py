"""The flags of `run` and `create` as tables: a flag, how its value parses, what it writes.

One file a theme: `process.py` (what runs and as whom), `limits.py` (what it may use), `data.py`
(mounts), `networks.py`, `isolation.py` (namespaces, devices, security), `policies.py` (health,
restarts, logs, labels). `table.py` turns rows into click's options and applies those that were
given to a ContainerConfig; `refusals.py` names what is not honoured; `configuration.py` is the
whole way from values to a ContainerConfig, and pure but for the files that flags name.
"""
