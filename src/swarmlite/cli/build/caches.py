"""--cache-to and --cache-from, and what a compose file says of caches: in images or in folders."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from swarmlite.build.known_layers import CONTEXT
from swarmlite.cli.build.outputs import Output
from swarmlite.errors import InvalidSpec
from swarmlite.proto.build_pb2 import BuildOptions
from swarmlite.stack.syntax import caches as syntax


@dataclass
class Caches:
    """What the flags say; `outputs` are folders that get a cache, `sent` archives of such ones."""

    outputs: list[Output] = field(default_factory=list)
    sent: dict[str, Iterator[bytes]] = field(default_factory=dict)

    def to_folder(self, folder: syntax.Folder) -> None:
        """It gets the cache."""
        self.outputs.append(Output("cache-max" if folder.every else "cache", folder.path))

    def of_folder(self, options: BuildOptions, folder: Path, said: str) -> None:
        """Its cache is used; where none lies, `said` names it in a line."""
        if not (folder / "index.json").is_file():
            click.echo(f"{said}: no cache lies there", err=True)
            return
        from swarmlite.cli.container.archives import packed  # slow to load

        name = f"cache-from-{len(self.sent)}"
        options.cache_from.append(CONTEXT + name)
        self.sent[name] = packed(folder, "", follow=True, keep_owners=False)


def parse(options: BuildOptions, to: Iterable[str], source: Iterable[str]) -> Caches:
    """Into the options, and what is the command's own work. Raises InvalidSpec."""
    caches = Caches()
    for text in to:
        try:
            folder = syntax.to(options, text)
        except InvalidSpec as error:
            raise InvalidSpec(f"--cache-to {error}") from error
        if folder is not None:
            caches.to_folder(folder)
    for text in source:
        try:
            path = syntax.source(options, text)
        except InvalidSpec as error:
            raise InvalidSpec(f"--cache-from {error}") from error
        if path:
            caches.of_folder(options, Path(path), f"--cache-from {text[:60]}")
    return caches
