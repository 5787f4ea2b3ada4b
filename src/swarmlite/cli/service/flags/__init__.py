"""The flags of `service create` and `service update`, as tables: a flag and what it writes.

`scalars.py` and `policies.py` hold flags that set one thing, the same for both verbs; `lists.py`
those that collect (`--env` on create; `--env-add` and `--env-rm` on update). `table.py` turns them
into click's options and applies those that were given to a ServiceSpec.
"""
