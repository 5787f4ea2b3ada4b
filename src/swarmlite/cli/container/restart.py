"""`swarmlite container restart` and `swarmlite restart`."""

from swarmlite.cli.container.stopping import stopping

command = stopping("restart", "Restart one or more containers.")
