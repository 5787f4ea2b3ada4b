"""The flags of a build, Docker's and BuildKit's; what is not honoured is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from swarmlite.cli.flagtypes import BYTES, SWAP
from swarmlite.cli.image.platform import parse_platform
from swarmlite.cli.lazy import INTEGER, flag, parsed
from swarmlite.errors import InvalidSpec
from swarmlite.stack.syntax import limits, small

Decorator = Callable[[Any], Any]
_OFF = ("false", "0", "disabled=true", "mode=none")
PROGRESS = ("auto", "plain", "tty", "rawjson", "quiet", "none")


def _platforms(text: str) -> Any:
    return [parse_platform(word.strip()) for word in text.split(",")]


def _refused(name: str, why: str, *also: str, harmless: tuple[str, ...] = ()) -> Decorator:
    def refuse(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> None:
        if any(value not in harmless for value in values):
            raise InvalidSpec(f"{name}: {why}")

    return click.option(
        name, *also, multiple=True, callback=refuse, hidden=True, expose_value=False
    )


def _many(name: str, help: str, kind: Any = None) -> Decorator:
    return click.option(name, multiple=True, type=kind, help=help)


def _ignored(name: str) -> Decorator:
    """A switch of Docker's that asks for what is done anyway."""
    return flag(name, default=True, hidden=True, expose_value=False, help="Has no effect.")


OPTIONS: list[Decorator] = [
    _many("--add-host", "A custom host-to-IP mapping (host:ip)", parsed(small.parse_host)),
    _many("--allow", "Allow extra privileges (network.host, security.insecure)"),
    _many("--annotation", "Add an annotation to the image's manifest (KEY=VALUE)"),
    _many("--build-arg", "Set a build-time variable (of this environment without a value)"),
    _many(
        "--build-context",
        "Additional contexts (NAME=PATH, URL, docker-image://IMAGE or oci-layout://FOLDER[:TAG])",
    ),
    _many("--cache-from", "Caches: an image, type=registry,ref=IMAGE or type=local,src=DIR"),
    _many(
        "--cache-to",
        "Where the cache goes: type=inline, type=registry,ref=IMAGE[,mode=max] or "
        "type=local,dest=DIR[,mode=max]",
    ),
    flag("--check", help="Only say what is wrong with the Dockerfile."),
    click.option("-c", "--cpu-shares", type=INTEGER, help="CPU shares (relative weight)"),
    click.option("--cpu-period", type=INTEGER, help="Limit the CPU CFS period"),
    click.option("--cpu-quota", type=INTEGER, help="Limit the CPU CFS quota"),
    click.option("--cpuset-cpus", type=parsed(limits.cpuset), help="CPUs to run on (0-3, 0,1)"),
    click.option("--cpuset-mems", type=parsed(limits.cpuset), help="Memory nodes to run on"),
    click.option(
        "-f", "--file", default="", help="The Dockerfile, - for standard input (CONTEXT/Dockerfile)"
    ),
    click.option("--iidfile", help="Write the image's ID to a file"),
    _many("--label", "Set metadata of the image"),
    flag("--load", default=True, help="Keep the image on this host."),
    click.option("-m", "--memory", type=BYTES, help="Memory limit of each RUN"),
    click.option("--memory-swap", type=SWAP, help="Memory and swap of each RUN, -1 for unlimited"),
    click.option("--metadata-file", help="Write the build's result as JSON to a file"),
    click.option("--network", default="", help="Network of RUN: default, none, host or a name"),
    flag("--no-cache", help="Do everything again."),
    _many("--no-cache-filter", "Do these stages again"),
    click.option(
        "-o",
        "--output",
        multiple=True,
        help="type=image|tar|local|oci|docker|registry[,dest=PATH], or a folder",
    ),
    click.option(
        "--platform",
        multiple=True,
        type=parsed(_platforms),
        help="Platforms, as linux/amd64,linux/arm/v7",
    ),
    click.option(
        "--progress",
        type=click.Choice(PROGRESS),
        envvar="BUILDKIT_PROGRESS",
        default="auto",
        help="How progress is shown",
    ),
    flag("--pull", help="Ask registries for newer base images."),
    flag("--push", help="Push the image's tags once it is built."),
    flag("-q", "--quiet", help="Print the image's ID only."),
    _many("--secret", "A secret of RUN --mount=type=secret (id=ID[,src=FILE|,env=NAME])"),
    click.option("--shm-size", type=BYTES, help="Size of /dev/shm of each RUN"),
    _many("--ssh", "An ssh agent of RUN --mount=type=ssh (default, or ID=SOCKET|KEY)"),
    click.option("-t", "--tag", multiple=True, help="Name of the image, NAME[:TAG]"),
    click.option("--target", default="", help="The stage to build"),
    _many("--ulimit", "Ulimit options", parsed(small.parse_ulimit)),
    _ignored("--rm"),
    _ignored("--force-rm"),
    _ignored("--compress"),
    _ignored("--disable-content-trust"),
    flag("--squash", hidden=True, help="Refused: use a second stage with COPY --from."),
    click.option("--call", default="build", hidden=True, help="build or check."),
    _refused(
        "--attest",
        "not supported: no attestations are made",
        harmless=("type=provenance,disabled=true", "type=sbom,disabled=true"),
    ),
    _refused("--provenance", "not supported: no attestations are made", harmless=_OFF),
    _refused("--sbom", "not supported: no attestations are made", harmless=_OFF),
    _refused("--builder", "there is one builder, this host's", harmless=("default", "")),
    _refused("--isolation", "it is for Windows", harmless=("default", "")),
    _refused("--security-opt", "use RUN --security=insecure and --allow security.insecure"),
    _refused("--cgroup-parent", "not supported: builds have a group of the engine's"),
]


def build_options(command: Any) -> Any:
    """Every one of them."""
    for decorate in OPTIONS:
        command = decorate(command)
    return command
