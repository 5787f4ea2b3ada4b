"""The command line of `swarmlited`."""

from __future__ import annotations

import argparse
from pathlib import Path

from swarmlite import __version__, logs
from swarmlite.errors import InvalidSpec
from swarmlite.model import permission_words, resource_words, units
from swarmlite.paths import Paths

from . import dockersocket, etcdcmd, metrics

SMALLEST_QUOTA_BYTES = 16 * 1024**2


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; directories from the environment unless said."""
    defaults = Paths.from_environment()
    parser = argparse.ArgumentParser(prog="swarmlited", description="A node of swarmlite.")
    parser.add_argument("--state-dir", type=Path, default=defaults.state_dir)
    parser.add_argument("--run-dir", type=Path, default=defaults.run_dir)
    parser.add_argument("--cgroup-parent", default="/swarmlite", help="cgroup of the containers")
    parser.add_argument("--etcd-binary", default="etcd", help="managers: which etcd to run")
    parser.add_argument(
        "--etcd-quota",
        type=_bytes,
        default=etcdcmd.QUOTA_BYTES,
        metavar="SIZE",
        help="managers: how large etcd's file may become, the same on all (4g)",
    )
    parser.add_argument(
        "--supervisor",
        choices=("own", "external"),
        default="own",
        help="external: another unit runs swarmlite-supervisor; it is only waited for",
    )
    parser.add_argument(
        "--node-generic-resource",
        action="append",
        default=[],
        metavar="KIND=COUNT|KIND=NAME",
        help="what services may reserve here: gpu=4, or gpu=UUID1 once for each",
    )
    parser.add_argument(
        "--node-label",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an engine label: what constraints on engine.labels.NAME go by",
    )
    parser.add_argument(
        "--node-allow",
        default="",
        metavar=",".join(permission_words.PERMISSIONS),
        help="what services' tasks may have of this host, as `node update --allow`",
    )
    parser.add_argument("--debug", action="store_true", help="children's logs to stderr as well")
    parser.add_argument(
        "--log-format", choices=logs.FORMATS, default="text", help="of the logs of all daemons"
    )
    parser.add_argument("--log-level", choices=logs.LEVELS, help="info, or debug with --debug")
    parser.add_argument(
        "--shutdown-containers",
        action="store_true",
        help="end the node's supervisor, and every container with it; then exit",
    )
    parser.add_argument("--version", action="version", version=f"swarmlited {__version__}")
    dockersocket.add_arguments(parser)
    metrics.add_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        resource_words.parse(options.node_generic_resource)
    except InvalidSpec as error:
        parser.error(f"--node-generic-resource: {error}")
    try:
        resource_words.labels(options.node_label)
    except InvalidSpec as error:
        parser.error(f"--node-label: {error}")
    try:
        permission_words.parse(options.node_allow)
    except InvalidSpec as error:
        parser.error(f"--node-allow: {error}")
    if not options.cgroup_parent.startswith("/") or ".." in options.cgroup_parent.split("/"):
        parser.error(f"--cgroup-parent must be a path like /swarmlite, not {options.cgroup_parent}")
    return options


def _bytes(text: str) -> int:
    try:
        size = units.parse_bytes(text)
    except InvalidSpec as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if size < SMALLEST_QUOTA_BYTES:
        raise argparse.ArgumentTypeError(f"{text} is too little: 16m at least")
    return size
