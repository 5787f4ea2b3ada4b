"""What the flags of a build say, as the builder takes it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from swarmlite.cli.image import credentials
from swarmlite.errors import InvalidSpec
from swarmlite.model.references import Reference
from swarmlite.proto.build_pb2 import BuildOptions
from swarmlite.stack.syntax import fields

MAX_SECRET_BYTES = 500 * 1024
_LIMITS = {
    "memory": "memory_bytes",
    "memory_swap": "memory_swap_bytes",
    "cpu_shares": "cpu_shares",
    "cpu_period": "cpu_period_us",
    "cpu_quota": "cpu_quota_us",
    "cpuset_cpus": "cpuset_cpus",
    "cpuset_mems": "cpuset_mems",
}
_PROXIES = ("http", "https", "ftp", "no", "all")


def options_of(values: Mapping[str, Any]) -> BuildOptions:
    """The flags by their names, without the contexts and outputs. Raises InvalidSpec."""
    if values["squash"]:
        raise InvalidSpec("--squash: not supported: use a second stage with COPY --from")
    if values["call"] not in ("build", "check"):
        raise InvalidSpec(f"--call {values['call'][:40]}: only build and check are there")
    platforms = [platform for listed in values["platform"] for platform in listed]
    options = BuildOptions(
        target=values["target"],
        tags=[str(tag(text)) for text in values["tag"]],
        no_cache=values["no_cache"],
        no_cache_filter=_listed(values["no_cache_filter"]),
        pull=values["pull"],
        platform=platforms[0] if len(platforms) == 1 else None,
        platforms=platforms if len(platforms) > 1 else [],
        network=values["network"],
        shm_size_bytes=values["shm_size"] or 0,
        ulimits=values["ulimit"],
        extra_hosts=[_host(line) for line in values["add_host"]],
        check=values["check"] or values["call"] == "check",
        entitlements=_listed(values["allow"]),
    )
    options.build_args.update(proxies() | arguments(values["build_arg"], "--build-arg"))
    options.labels.update(pairs(values["label"], "--label"))
    options.annotations.update(pairs(values["annotation"], "--annotation"))
    options.secrets.update(secrets(values["secret"]))
    for name, field in _LIMITS.items():
        if values[name] is not None:
            setattr(options.resources, field, values[name])
    options.registry_auths.update(logins())
    return options


def tag(text: str) -> Reference:
    """A name that an image can have. Raises InvalidSpec."""
    reference = Reference.parse(text)
    if reference.digest:
        raise InvalidSpec(f"{text[:80]}: a name for what is built has no digest")
    return reference


def pairs(texts: Iterable[str], flag: str) -> dict[str, str]:
    """NAME=VALUE, or NAME with an empty value."""
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name:
            raise InvalidSpec(f"{flag} {text[:60]}: expected NAME=VALUE")
        found[name] = value
    return found


def arguments(texts: Iterable[str], flag: str) -> dict[str, str]:
    """NAME=VALUE; NAME is this environment's, and left out where it is not set there."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name:
            raise InvalidSpec(f"{flag} {text[:60]}: expected NAME=VALUE or NAME")
        if equals or name in os.environ:
            found[name] = value if equals else os.environ[name]
    return found


def proxies() -> dict[str, str]:
    """Those that config.json names for all hosts, as Docker's command gives them to builds."""
    named = credentials.read_config().get("proxies")
    default = named.get("default") if isinstance(named, dict) else None
    found: dict[str, str] = {}
    if not isinstance(default, dict):
        return {}
    for kind in _PROXIES:
        value = default.get("allProxy" if kind == "all" else f"{kind}Proxy")
        if isinstance(value, str) and value:
            found[f"{kind}_proxy"] = found[f"{kind.upper()}_PROXY"] = value
    return found


def secrets(texts: Iterable[str]) -> dict[str, bytes]:
    """Of --secret, by id. Raises InvalidSpec."""
    found = {}
    for text in texts:
        identity, data = _secret(text)
        if len(data) > MAX_SECRET_BYTES:
            raise InvalidSpec(f"--secret {identity}: longer than {MAX_SECRET_BYTES} bytes")
        found[identity] = data
    return found


def _secret(text: str) -> tuple[str, bytes]:
    keys = {"source": "src", "filename": "src"}
    said: dict[str, str] = {}
    for name, value in fields.split(text):
        key = keys.get(name, name)
        if key not in ("id", "src", "env", "type"):
            raise InvalidSpec(f"--secret {text[:60]}: {fields.unknown(name, ('id', 'src', 'env'))}")
        said[key] = fields.required(name, value)
    identity, kind = said.get("id") or Path(said.get("src", "")).name, said.get("type", "")
    if not identity or kind not in ("", "file", "env"):
        raise InvalidSpec(f"--secret {text[:60]}: expected id=ID[,src=FILE|,env=NAME]")
    variable = said.get("env") or (said.get("src") if kind == "env" else "")
    if not variable and kind != "file" and "src" not in said and identity in os.environ:
        variable = identity
    if variable:
        if variable not in os.environ:
            raise InvalidSpec(f"--secret {identity}: the variable {variable} is not set")
        return identity, os.environb[os.fsencode(variable)]
    path = Path(said.get("src") or identity).expanduser()
    try:
        with path.open("rb") as stream:
            return identity, stream.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise InvalidSpec(f"--secret {identity}: {path}: {error.strerror}") from error


def logins() -> dict[str, str]:
    """Of every registry that config.json knows of, by its name there."""
    config = credentials.read_config()
    servers = [config.get("auths"), config.get("credHelpers")]
    names = {name for table in servers if isinstance(table, dict) for name in table}
    found = {name: credentials.auth_for(name) for name in sorted(names)}
    return {name: auth for name, auth in found.items() if auth}


def _listed(texts: Iterable[str]) -> list[str]:
    return [word for text in texts for word in text.split(",") if word]


def _host(line: str) -> str:
    address, _, name = line.partition(" ")
    return f"{name}:{address}"
