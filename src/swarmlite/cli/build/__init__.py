"""What `swarmlite build` is made of: flags to options, contexts, secrets, ssh, outputs, progress.

The command itself is `cli/image/build.py`; `stack deploy` builds by the same parts.
"""
