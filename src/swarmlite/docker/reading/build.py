"""POST /build's query, as the builder takes it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from swarmlite.docker.fields import Fields
from swarmlite.errors import InvalidSpec
from swarmlite.model.references import Reference
from swarmlite.proto.build_pb2 import BuildOptions
from swarmlite.proto.types_pb2 import Ulimit

_LIMITS = {
    "memory": "memory_bytes",
    "cpushares": "cpu_shares",
    "cpuperiod": "cpu_period_us",
    "cpuquota": "cpu_quota_us",
}
_REFUSED = {
    "squash": "squash: not supported: use a second stage with COPY --from",
    "session": "session: BuildKit's sessions are not there: build with DOCKER_BUILDKIT=0",
    "securityopt": "securityopt: not supported for builds",
    "isolation": "isolation: it is for Windows",
}
BUILDKIT = (
    "version=2: BuildKit's protocol is not served here: build with DOCKER_BUILDKIT=0, or with"
    " `swarmlite build`, which knows BuildKit's Dockerfiles; so does this builder"
)


def options(
    query: Mapping[str, str],
    texts: Callable[[str], Sequence[str]],
    flag: Callable[[str], bool],
    number: Callable[[str], int | None],
) -> BuildOptions:
    """Of the parameters, and of repeated ones, switches and numbers. Raises InvalidSpec."""
    if query.get("version", "1") == "2":
        raise InvalidSpec(BUILDKIT)
    for name, why in _REFUSED.items():
        if query.get(name, "") not in ("", "0", "false", "False", "null", "[]", "default"):
            raise InvalidSpec(why)
    made = BuildOptions(
        dockerfile=query.get("dockerfile") or "Dockerfile",
        target=query.get("target", ""),
        tags=[_tag(text) for text in texts("t") if text],
        no_cache=flag("nocache"),
        pull=flag("pull"),
        network=_network(query.get("networkmode", "")),
        cache_from=_list(query, "cachefrom"),
        extra_hosts=[_host(text) for text in texts("extrahosts") if text],
        shm_size_bytes=number("shmsize") or 0,
        ulimits=[_ulimit(each) for each in _objects(query, "ulimits")],
    )
    made.build_args.update(_strings(query, "buildargs"))
    made.labels.update(_strings(query, "labels"))
    for name, field in _LIMITS.items():
        if value := number(name):
            setattr(made.resources, field, value)
    if swap := number("memswap"):
        made.resources.memory_swap_bytes = swap
    made.resources.cpuset_cpus = query.get("cpusetcpus", "")
    made.resources.cpuset_mems = query.get("cpusetmems", "")
    made.resources.cgroup_parent = query.get("cgroupparent", "")
    return made


def registry_auths(sent: Mapping[str, Any]) -> dict[str, str]:
    """Of X-Registry-Config: an object by server, or one whose `auths` is that."""
    auths = sent.get("auths", sent)
    found = {}
    for server, entry in auths.items() if isinstance(auths, Mapping) else ():
        if isinstance(entry, Mapping) and entry:
            lower = {str(key).lower(): value for key, value in entry.items()}
            lower.setdefault("serveraddress", server)
            found[str(server)] = base64.urlsafe_b64encode(json.dumps(lower).encode()).decode()
    return found


def _tag(text: str) -> str:
    reference = Reference.parse(text)
    if reference.digest:
        raise InvalidSpec("t: refusing to create a tag with a digest reference")
    return str(reference)


def _network(mode: str) -> str:
    if mode.startswith("container:"):
        raise InvalidSpec("networkmode: another container's network is not supported for builds")
    return "" if mode in ("default", "bridge") else mode


def _host(text: str) -> str:
    name, found, address = text.partition("=" if "=" in text else ":")
    if not found or not name:
        raise InvalidSpec(f"extrahosts: {text[:60]!r}: expected NAME:IP")
    return f"{name}:{address.strip('[]')}"


def _json(query: Mapping[str, str], name: str) -> Any:
    text = query.get(name, "")
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError) as error:
        raise InvalidSpec(f"{name}: not JSON: {error}") from error


def _strings(query: Mapping[str, str], name: str) -> dict[str, str]:
    """An object of strings; what is null is not given."""
    found = _json(query, name)
    if isinstance(found, dict):
        found = {key: value for key, value in found.items() if value is not None}
    return Fields({name: found}).mapping(name)


def _list(query: Mapping[str, str], name: str) -> list[str]:
    return [str(Reference.parse(text)) for text in Fields({name: _json(query, name)}).texts(name)]


def _objects(query: Mapping[str, str], name: str) -> list[Fields]:
    return Fields({name: _json(query, name)}).objects(name)


def _ulimit(sent: Fields) -> Ulimit:
    return Ulimit(name=sent.text("Name"), soft=sent.number("Soft"), hard=sent.number("Hard"))
