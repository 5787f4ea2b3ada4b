"""Copies of images between registries and archives, without this host's store: `image copy`.

`places` reads what SRC and DST mean, `sources` and `targets` are what can be read and written,
`copying` brings one to the other, only what the target lacks.
"""
