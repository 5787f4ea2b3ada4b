"""`python -m swarmlite.gateway`: see process.py."""

from __future__ import annotations

import gc
import sys

from swarmlite.gateway import serverside


def main() -> int:
    """The command."""
    # Nothing that is loaded is garbage, and to look for some is a sixth of a first request's time.
    gc.disable()
    serverside.prepare(tls=any(word.startswith("--tls-") for word in sys.argv))
    from swarmlite.gateway import process

    serverside.loaded()
    gc.freeze()
    gc.enable()
    return process.main()


if __name__ == "__main__":
    sys.exit(main())
