"""`service ls` as it is typed mostly, without loading what other commands need.

The manager of this host makes the rows; here they are put into columns. Whatever is not as plain as
that (filters, another node, no manager) is left to the command itself, and so is every failure.
"""

from __future__ import annotations

import os

NOUNS, VERBS = ("service",), ("ls", "list")
_DIRECTORIES = ("--run-dir", "--state-dir")
_ELSEWHERE = ("SWARMLITE_HOST", "SWARMLITE_CONTEXT")
_HEADER = ("ID", "NAME", "MODE", "REPLICAS", "IMAGE", "PORTS")


def listed(args: list[str]) -> str | None:
    """What `swarmlite ARGS...` prints. None: the command itself is to see."""
    socket = _socket_of(args)
    if socket is None:
        return None
    from swarmlite.cli.output import table
    from swarmlite.cli.wire import prepared

    try:
        text = prepared.text(socket, "/swarmlite.Control/ServiceRows")
    except (OSError, ValueError, IndexError):
        return None
    rows = [line.split("\t") for line in text.split("\n")[:-1]]
    return table.render([_HEADER, *rows])


def _socket_of(args: list[str]) -> str | None:
    """That of this host's manager, where nothing leads to another node."""
    if len(args) < 2 or args[-2] not in NOUNS or args[-1] not in VERBS:
        return None
    run_dir = ""
    names, values = args[:-2:2], args[1:-2:2]
    if len(names) != len(values) or any(name not in _DIRECTORIES for name in names):
        return None
    for name, value in zip(names, values, strict=True):
        if name == "--run-dir":
            run_dir = value
    run_dir = run_dir or _chosen() or ""
    return f"{run_dir}/manager.sock" if run_dir else None


def _chosen() -> str | None:
    """The run directory of this host's node; None where a context or an address may be meant."""
    if any(os.environ.get(name) for name in _ELSEWHERE):
        return None
    if (run_dir := os.environ.get("SWARMLITE_RUN_DIR")) is not None:
        return run_dir
    home = os.environ.get("HOME")
    folder = os.environ.get("SWARMLITE_CONFIG") or (f"{home}/.swarmlite" if home else "")
    if not folder or os.path.exists(f"{folder}/contexts/current"):  # noqa: PTH110
        return None
    return "/run/swarmlite"
