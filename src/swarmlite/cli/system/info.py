"""`swarmlite system info`: the same as `swarmlite info`."""

from swarmlite.cli.host_info import command

__all__ = ["command"]
