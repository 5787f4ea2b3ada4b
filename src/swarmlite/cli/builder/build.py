"""`swarmlite builder build`: the same as `swarmlite build`."""

from swarmlite.cli.image.build import command

__all__ = ["command"]
