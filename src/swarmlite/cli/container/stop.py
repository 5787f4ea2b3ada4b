"""`swarmlite container stop` and `swarmlite stop`."""

from swarmlite.cli.container.stopping import stopping

command = stopping("stop", "Stop one or more running containers.")
