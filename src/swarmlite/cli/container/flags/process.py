"""Flags of the process: what runs, in which environment, as whom, with which terminal."""

from __future__ import annotations

from typing import Any

from swarmlite.cli.flagtypes import SIGNAL, TIMEOUT
from swarmlite.cli.lazy import parsed
from swarmlite.errors import InvalidSpec
from swarmlite.model.units import FOREVER_S, SECOND, duration
from swarmlite.proto.containers_pb2 import ContainerConfig
from swarmlite.stack.syntax import fields, limits, small

from .table import Row, extend, listed, text, update


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        raise InvalidSpec(
            f"the working directory {path!r} is invalid, it needs to be an absolute path"
        )
    return path


def _entrypoint(config: ContainerConfig, value: str) -> None:
    # An empty one takes the image's away, as one empty word.
    config.spec.command[:] = [value]


def _stop_timeout(config: ContainerConfig, seconds: int) -> None:
    wanted = FOREVER_S if seconds < 0 else seconds
    config.spec.stop_grace_period.CopyFrom(duration(wanted * SECOND))


def _ulimits(config: ContainerConfig, values: Any) -> None:
    known = {limit.name: limit for limit in values}
    config.spec.ulimits.extend(known.values())


STREAMS = ("stdin", "stdout", "stderr")


def _stream(word: str) -> str:
    if word.lower() not in STREAMS:
        raise InvalidSpec("valid streams are STDIN, STDOUT and STDERR")
    return word.lower()


ROWS = [
    Row(("--entrypoint",), _entrypoint, help="Overwrite the default ENTRYPOINT of the image"),
    Row(("-u", "--user"), text("spec.user"), help="Username or UID (format: NAME|UID[:GROUP|GID])"),
    Row(("--group-add",), extend("spec.groups"), help="Add additional groups to join", many=True),
    Row(
        ("-w", "--workdir"),
        text("spec.dir"),
        parsed(_absolute),
        "Working directory inside the container",
    ),
    Row(("-h", "--hostname"), text("spec.hostname"), help="Container host name"),
    Row(("--domainname",), text("spec.domainname"), help="Container NIS domain name"),
    Row(
        ("-i", "--interactive"),
        text("spec.open_stdin"),
        bool,
        "Keep STDIN open even if not attached",
    ),
    Row(("-t", "--tty"), text("spec.tty"), bool, "Allocate a pseudo-TTY"),
    Row(
        ("--init",),
        text("spec.init"),
        bool,
        "Run an init inside the container that forwards signals and reaps processes",
    ),
    Row(
        ("--read-only",),
        text("spec.read_only"),
        bool,
        "Mount the container's root filesystem as read only",
    ),
    Row(
        ("--stop-signal",),
        text("spec.stop_signal"),
        SIGNAL,
        "Signal to stop the container",
    ),
    Row(
        ("--stop-timeout",), _stop_timeout, TIMEOUT, "Seconds until a stopping container is killed"
    ),
    Row(
        ("--sysctl",),
        update("spec.sysctls"),
        listed(fields.pair),
        "Sysctl options",
        many=True,
    ),
    Row(("--ulimit",), _ulimits, listed(small.parse_ulimit), "Ulimit options", many=True),
    Row(
        ("--oom-score-adj",),
        text("spec.oom_score_adj"),
        parsed(limits.oom_score, "int"),
        "Tune host's OOM preferences (-1000 to 1000)",
    ),
    Row(
        ("--annotation",),
        update("annotations"),
        listed(fields.pair),
        "Add an annotation to the container (passed through to the OCI runtime)",
        many=True,
    ),
]

ATTACH = Row(
    ("-a", "--attach"),
    lambda config, values: None,
    listed(_stream),
    "Attach to STDIN, STDOUT or STDERR",
    many=True,
)
"""Read by whoever attaches; see configuration.py."""
