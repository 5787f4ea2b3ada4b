"""`python -m swarmlite.cli`: the command line."""

from swarmlite.cli import main

main()
