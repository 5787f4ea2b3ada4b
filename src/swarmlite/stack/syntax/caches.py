"""Where the cache of a build goes and comes from, as buildx words it: flags and compose files."""

from __future__ import annotations

from dataclasses import dataclass

from swarmlite.errors import InvalidSpec
from swarmlite.model.references import Reference
from swarmlite.proto.build_pb2 import BuildCacheExport, BuildOptions
from swarmlite.stack.syntax import fields

_OF_BUILDKIT = ("image-manifest", "oci-mediatypes", "compression", "compression-level",
                "force-compression", "ignore-error")  # fmt: skip
_TO = ("type", "ref", "dest", "mode", *_OF_BUILDKIT)
_FROM = ("type", "ref", "src")
_KINDS = ("inline", "registry", "local")


@dataclass(frozen=True)
class Folder:
    """One of this host that gets a cache; `every`: of all stages, not the target's only."""

    path: str
    every: bool


def to(options: BuildOptions, text: str) -> Folder | None:
    """Into the options, but for a folder, which its writer is told of. Raises InvalidSpec."""
    said = _said(text, _TO)
    kind, mode = said["type"], said.get("mode", "min")
    if mode not in ("min", "max"):
        raise InvalidSpec(f"{text[:60]}: mode={mode[:20]}: expected min or max")
    every = mode == "max"
    if kind == "inline":
        options.build_args["BUILDKIT_INLINE_CACHE"] = "1"
    elif kind == "registry":
        ref = _needed(text, said, "ref")
        ignored = fields.boolean("ignore-error", said.get("ignore-error", "false"))
        options.cache_to.append(
            BuildCacheExport(ref=str(Reference.parse(ref)), all_stages=every, ignore_error=ignored)
        )
    elif kind == "local":
        return Folder(_needed(text, said, "dest"), every)
    else:
        raise InvalidSpec(f"{text[:60]}: {fields.unknown(kind, _KINDS)}")
    return None


def source(options: BuildOptions, text: str) -> str:
    """Into the options, but for a folder: its path, else nothing. Raises InvalidSpec."""
    said = _said(text, _FROM)
    if said["type"] == "registry":
        options.cache_from.append(str(Reference.parse(_needed(text, said, "ref"))))
    elif said["type"] == "local":
        return _needed(text, said, "src")
    else:
        known = ("registry", "local")
        raise InvalidSpec(f"{text[:60]}: {fields.unknown(said['type'], known)}")
    return ""


def _said(text: str, keys: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    if "=" not in text.partition(",")[0]:
        text = f"type=registry,ref={text}"  # as buildx reads a bare name
    for key, value in fields.split(text):
        if key not in keys:
            raise InvalidSpec(f"{text[:60]}: {fields.unknown(key, keys)}")
        found[key] = fields.required(key, value)
    found.setdefault("type", "")
    return found


def _needed(text: str, said: dict[str, str], key: str) -> str:
    if not said.get(key):
        raise InvalidSpec(f"{text[:60]}: {key} is missing: type={said['type']},{key}=...")
    return said[key]
