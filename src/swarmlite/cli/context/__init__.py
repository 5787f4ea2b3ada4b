"""Verbs of `swarmlite context`."""
