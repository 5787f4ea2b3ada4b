"""Which node a command speaks to: flags first, then the environment, then the current context.

As Docker: -H and -c exclude each other; -H, -c, SWARMLITE_HOST, SWARMLITE_CONTEXT, what `context
use` chose, this host. Directories that are named (--run-dir, SWARMLITE_RUN_DIR) are of this host.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from swarmlite.cli.lazy import Flag
from swarmlite.errors import InvalidSpec
from swarmlite.paths import Paths

if TYPE_CHECKING:
    from swarmlite.client.reach.api import Reach

DEFAULT = "default"


@dataclass(frozen=True)
class Choice:
    """What was chosen: a context's name, `default` where an address or this host is meant."""

    paths: Paths
    way: Callable[[], Reach] | None = None  # None: this host's node
    context: str = DEFAULT
    by: str = ""  # the flag or variable that overrides `context use`


def choose(options: Mapping[str, Any]) -> Choice:
    """From the command line's global options. Raises InvalidSpec; reads no context yet."""
    paths = _paths(options)
    if options["host"] and options["context"]:
        raise InvalidSpec("conflicting options: cannot specify both --host and --context")
    if options["context"]:
        return _context(paths, options["context"], "--context", options)
    if options["host"]:
        return _address(paths, options["host"], "--host", options)
    if options["run_dir"]:
        return Choice(paths, by="--run-dir")
    if host := os.environ.get("SWARMLITE_HOST"):
        return _address(paths, host, "SWARMLITE_HOST", options)
    if context := os.environ.get("SWARMLITE_CONTEXT"):
        return _context(paths, context, "SWARMLITE_CONTEXT", options)
    if os.environ.get("SWARMLITE_RUN_DIR"):
        return Choice(paths, by="SWARMLITE_RUN_DIR")
    return _context(paths, _current(), "", options)


def _paths(options: Mapping[str, Any]) -> Paths:
    paths = Paths.from_environment()
    if options["state_dir"]:
        paths = replace(paths, state_dir=Path(options["state_dir"]))
    if options["run_dir"]:
        paths = replace(paths, run_dir=Path(options["run_dir"]))
    return paths


def _current() -> str:
    """What `context use` chose; without loading anything where nothing was, which is the rule."""
    folder = Path(os.environ.get("SWARMLITE_CONFIG") or Path("~/.swarmlite").expanduser())
    try:
        return (folder / "contexts" / "current").read_text().strip() or DEFAULT
    except OSError:
        return DEFAULT


def _context(paths: Paths, name: str, by: str, options: Mapping[str, Any]) -> Choice:
    if name == DEFAULT:
        return Choice(paths, by=by)

    def way() -> Reach:
        from swarmlite.client.contexts import Contexts
        from swarmlite.client.reach import address

        contexts = Contexts()
        found = contexts.get(name)
        return address.reach(found.host, contexts.certificates(found), paths)

    return Choice(paths, way, name, by)


def _address(paths: Paths, text: str, by: str, options: Mapping[str, Any]) -> Choice:
    from swarmlite.client.reach import address

    certificates = certificates_of(options)
    try:
        address.check(text, certificates)
    except InvalidSpec as error:
        raise InvalidSpec(f"{by}: {error}") from error
    scheme, _, rest = text.rpartition("://")
    if scheme in ("", "unix") and not rest.endswith(".sock"):
        return Choice(replace(paths, run_dir=Path(rest)), by=by)
    return Choice(paths, lambda: address.reach(text, certificates, paths), by=by)


def certificates_of(options: Mapping[str, Any]) -> Any:
    """Of the flags --tls*, and where they say nothing of SWARMLITE_CERT_PATH, as Certificates."""
    from swarmlite.client.reach.address import Certificates

    named = {each: options.get(f"tls{key}") for each, key in _FLAGS.items()}
    files = {each: Path(path).absolute() for each, path in named.items() if path}
    if folder := os.environ.get("SWARMLITE_CERT_PATH"):
        for each in _FLAGS:
            files.setdefault(each, Path(folder).absolute() / f"{each}.pem")
    return Certificates(
        **files,
        skip_verify=options.get("tlsverify") is False,
        in_clear=bool(options.get("in_clear")),
    )


def tls_options() -> list[click.Option]:
    """The global options of tcp://."""
    return [
        Flag(["--tls"], is_flag=True, help="Use TLS, as tcp:// does in any case."),
        click.Option(["--tlscacert"], metavar="FILE", help="Trust nodes' certificates of this CA."),
        click.Option(["--tlscert"], metavar="FILE", help="The client's certificate."),
        click.Option(["--tlskey"], metavar="FILE", help="Its key."),
        Flag(
            ["--tlsverify/--no-tlsverify"],
            default=True,
            help="Check the node's certificate (--tlsverify=false: whoever answers is trusted).",
        ),
        Flag(
            ["--without-tls-anyone-on-the-way-is-root", "in_clear"],
            is_flag=True,
            help="tcp:// in clear: whoever is on the way to the node is root there.",
        ),
    ]


_FLAGS = {"ca": "cacert", "cert": "cert", "key": "key"}
