"""The OCI runtime specification as swarmlite uses it.

`defaults.py` makes the spec that Docker's defaults amount to, `validate.py` says what is wrong with
one, `capabilities.py` and `mounts.py` know the words that specs use. Pure: nothing here touches the
kernel, save that the defaults look which CPUs' files there are to mask.
"""
