"""Verbs of `swarmlite user`."""
