"""`python -m swarmlite.gateway`: see process.py."""

from __future__ import annotations

import sys

from swarmlite.gateway import serverside


def main() -> int:
    """The command."""
    serverside.prepare()
    from swarmlite.gateway import process

    return process.main()


if __name__ == "__main__":
    sys.exit(main())
