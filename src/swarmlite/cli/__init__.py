"""The command line: Docker's words, flags and tables over swarmlite's sockets.

It parses, calls (`manager.sock`, `agent.sock`, `swarmlited.sock`) and prints; it decides nothing
about the cluster, and what it refuses it refuses only because it cannot be said in a message.
One folder a noun and one file a verb (`service/create.py` is `swarmlite service create`); a verb's
file is imported when it is called, so that `--help` loads no protobuf. `wire/` speaks gRPC: its
library, slow to load, is not used here. What is typed most does not even load that (`light.py`).
"""

from __future__ import annotations

import os
import sys

SELDOM_USED = (
    *("difflib", "inspect", "ipaddress", "ntpath", "subprocess"),
    "google.protobuf.descriptor_database",
    "google.protobuf.internal.python_message",
)
"""What libraries import and few commands use: loaded, a sixth of a command."""


def main() -> None:
    """The entry point `swarmlite`; exits with the command's status."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115 - closed by the caller
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115
    if sys.argv[1:] == ["system", "dial-stdio"]:
        _dial()  # once for each connection by ssh: the tree of commands is not needed for it
    if sys.argv[1:] in (["--help"], ["-h"]):
        _help()
    if sys.argv[-1] in ("ls", "list"):
        _list()
    _complete()
    import gc
    import io

    from swarmlite import deferred

    deferred.defer(SELDOM_USED)
    gc.set_threshold(50_000, 20, 50)  # what a command loads is no garbage; nor is most it makes

    from swarmlite.cli.app import run

    for stream in (sys.stdout, sys.stderr):
        # A terminal without UTF-8 gets a question mark for what it cannot show, not an error.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    _end(run(sys.argv[1:]))


def _help() -> None:
    from swarmlite.cli import kepthelp

    text = kepthelp.read()
    if text is None:
        _complete()
        import click

        from swarmlite.cli.root import root

        text = root.get_help(click.Context(root, info_name="swarmlite", **root.context_settings))
        kepthelp.write(text)
    _print(f"{text}\n")


def _list() -> None:
    from swarmlite.cli import light

    text = light.listed(sys.argv[1:])
    if text is not None:
        _print(text)


def _print(text: str) -> None:
    """All that this process was to do."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads it has seen enough
        os._exit(1)
    except OSError as error:
        sys.stderr.write(f"standard output: {error.strerror}\n")
        os._exit(1)
    _end(0)


def _end(status: int) -> None:
    """There is nothing to take down, which would take longer than to be ended."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # who reads it has seen enough
        os._exit(status or 1)
    os._exit(status)


def _complete() -> None:
    """The paths of a whole interpreter, where the launcher started a bare one (`python -IS`)."""
    if sys.flags.no_site:
        import site

        site.main()


def _dial() -> None:
    _complete()
    from swarmlite.client import dialling
    from swarmlite.errors import SwarmliteError
    from swarmlite.paths import Paths

    try:
        dialling.dial(Paths.from_environment())
    except SwarmliteError as error:
        sys.exit(str(error))
    sys.exit(0)
