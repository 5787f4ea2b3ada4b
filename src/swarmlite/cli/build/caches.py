"""--cache-to and --cache-from, as buildx words them: in the image, a registry or a folder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from swarmlite.build.known_layers import CONTEXT
from swarmlite.cli.build.outputs import Output
from swarmlite.cli.container.archives import packed
from swarmlite.errors import InvalidSpec
from swarmlite.model.references import Reference
from swarmlite.proto.build_pb2 import BuildCacheExport, BuildOptions
from swarmlite.stack.syntax import fields

_OF_BUILDKIT = ("image-manifest", "oci-mediatypes", "compression", "compression-level",
                "force-compression", "ignore-error")  # fmt: skip
_TO = ("type", "ref", "dest", "mode", *_OF_BUILDKIT)
_FROM = ("type", "ref", "src")
_KINDS = ("inline", "registry", "local")


@dataclass
class Caches:
    """What the flags say; `outputs` are folders that get a cache, `sent` archives of such ones."""

    outputs: list[Output] = field(default_factory=list)
    sent: dict[str, Iterator[bytes]] = field(default_factory=dict)


def parse(options: BuildOptions, to: Iterable[str], source: Iterable[str]) -> Caches:
    """Into the options, and what is the command's own work. Raises InvalidSpec."""
    caches = Caches()
    for text in to:
        _to(options, caches, text)
    for text in source:
        _from(options, caches, text)
    return caches


def _to(options: BuildOptions, caches: Caches, text: str) -> None:
    said = _said("--cache-to", text, _TO)
    kind, mode = said["type"], said.get("mode", "min")
    if mode not in ("min", "max"):
        raise InvalidSpec(f"--cache-to {text[:60]}: mode={mode[:20]}: expected min or max")
    every = mode == "max"
    if kind == "inline":
        options.build_args["BUILDKIT_INLINE_CACHE"] = "1"
    elif kind == "registry":
        ref = _needed("--cache-to", text, said, "ref")
        ignored = fields.boolean("ignore-error", said.get("ignore-error", "false"))
        options.cache_to.append(
            BuildCacheExport(ref=str(Reference.parse(ref)), all_stages=every, ignore_error=ignored)
        )
    elif kind == "local":
        dest = _needed("--cache-to", text, said, "dest")
        caches.outputs.append(Output("cache-max" if every else "cache", dest))
    else:
        raise InvalidSpec(f"--cache-to {text[:60]}: {fields.unknown(kind, _KINDS)}")


def _from(options: BuildOptions, caches: Caches, text: str) -> None:
    if "=" not in text.partition(",")[0]:
        options.cache_from.append(str(Reference.parse(text)))
        return
    said = _said("--cache-from", text, _FROM)
    if said["type"] == "registry":
        options.cache_from.append(str(Reference.parse(_needed("--cache-from", text, said, "ref"))))
    elif said["type"] == "local":
        folder = Path(_needed("--cache-from", text, said, "src"))
        if not (folder / "index.json").is_file():
            click.echo(f"--cache-from {text[:60]}: no cache lies there", err=True)
            return
        name = f"cache-from-{len(caches.sent)}"
        options.cache_from.append(CONTEXT + name)
        caches.sent[name] = packed(folder, "", follow=True, keep_owners=False)
    else:
        known = ("registry", "local")
        raise InvalidSpec(f"--cache-from {text[:60]}: {fields.unknown(said['type'], known)}")


def _said(flag: str, text: str, keys: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    if "=" not in text:
        text = f"type=registry,ref={text}"  # as buildx reads a bare name
    for key, value in fields.split(text):
        if key not in keys:
            raise InvalidSpec(f"{flag} {text[:60]}: {fields.unknown(key, keys)}")
        found[key] = fields.required(key, value)
    found.setdefault("type", "")
    return found


def _needed(flag: str, text: str, said: dict[str, str], key: str) -> str:
    if not said.get(key):
        raise InvalidSpec(f"{flag} {text[:60]}: {key} is missing: type={said['type']},{key}=...")
    return said[key]
