"""From the values of flags to a ContainerConfig; pure but for reading the files that flags name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from swarmlite.errors import InvalidSpec
from swarmlite.proto.containers_pb2 import ContainerConfig, ContainerRestartPolicy
from swarmlite.stack.syntax import fields, small

from . import data, isolation, limits, networks, policies, process
from .refusals import refusals
from .table import Row, apply, listed, options


def _nothing(config: ContainerConfig, value: Any) -> None:
    """Read by `build`, together with the files."""


FILES = [
    Row(("-e", "--env"), _nothing, help="Set environment variables", many=True),
    Row(("--env-file",), _nothing, help="Read in a file of environment variables", many=True),
    Row(("-l", "--label"), _nothing, listed(fields.pair), "Set meta data on a container", True),
    Row(("--label-file",), _nothing, help="Read in a line delimited file of labels", many=True),
]
ROWS = [
    *process.ROWS,
    *limits.ROWS,
    *data.ROWS,
    *networks.ROWS,
    *isolation.ROWS,
    *policies.ROWS,
]


def run_options(command: Any) -> Any:
    """Every flag that `run` and `create` share."""
    rows = [*ROWS, *networks.NETWORKS, *FILES, process.ATTACH]
    return refusals(options(rows)(command))


def build(image: str, args: tuple[str, ...], values: Mapping[str, Any]) -> ContainerConfig:
    """The container that a command line asks for. Raises InvalidSpec, OSError for a file.

    What a limit or a device may be on its host is the engine's to say, and not repeated here.
    """
    config = ContainerConfig()
    config.spec.image = image
    config.spec.args[:] = args
    apply(config, ROWS, values)
    networks.attach(config, values)
    config.spec.env[:] = _environment(values)
    config.spec.labels.update(_labels(values))
    if config.auto_remove and config.restart.condition != ContainerRestartPolicy.NO:
        raise InvalidSpec("conflicting options: cannot specify both --restart and --rm")
    if values.get("shm_size") is not None and config.spec.ipc_mode in ("host", "none"):
        raise InvalidSpec(f"conflicting options: --shm-size and --ipc {config.spec.ipc_mode}")
    return config


def attach_to(config: ContainerConfig, values: Mapping[str, Any], *, detach: bool = False) -> None:
    """Write which standard streams the client means to attach to. Raises InvalidSpec."""
    wanted = set(values["attach"])
    if detach and wanted:
        raise InvalidSpec("conflicting options: cannot specify both --attach and --detach")
    if not detach and not wanted:
        wanted = {"stdout", "stderr"} | ({"stdin"} if config.spec.open_stdin else set())
    config.attach_stdin = "stdin" in wanted
    config.attach_stdout = "stdout" in wanted
    config.attach_stderr = "stderr" in wanted
    config.stdin_once = config.spec.open_stdin and config.attach_stdin


def _environment(values: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for path in values["env_file"]:
        with _named("--env-file", path):
            lines += small.read_env_file(Path(path))
    with _named("--env"):
        return small.environment([*lines, *values["env"]], dict(os.environ))


def _labels(values: Mapping[str, Any]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for path in values["label_file"]:
        with _named("--label-file", path):
            labels.update(fields.pair(line) for line in small.read_env_file(Path(path)))
    labels.update(dict(values["label"]))
    return labels


@contextmanager
def _named(flag: str, path: str = "") -> Iterator[None]:
    """Errors inside begin with the flag and its file."""
    try:
        yield
    except InvalidSpec as error:
        raise InvalidSpec(f"{flag} {path}".strip() + f": {error}") from error


def write_cidfile(path: str, container_id: str) -> None:
    """Leave the id in the file that --cidfile names."""
    Path(path).write_text(container_id)


def check_cidfile(path: str) -> None:
    """Refuse a file that is there. Raises InvalidSpec."""
    if Path(path).exists():
        raise InvalidSpec(
            f"container ID file found, make sure the other container isn't running or delete {path}"
        )


def cidfile_option(command: Any) -> Any:
    """--cidfile."""
    return click.option("--cidfile", help="Write the container ID to the file")(command)
