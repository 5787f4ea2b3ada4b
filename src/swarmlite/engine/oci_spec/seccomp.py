"""A seccomp profile in Docker's JSON form as the OCI's `linux.seccomp`.

Docker's form adds to the OCI's: `archMap`, `name` beside `names`, and `includes` and `excludes` by
capability, architecture and kernel version, which are resolved here for one container.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Sequence
from typing import Any

from swarmlite.errors import InvalidSpec

MAX_BYTES = 1 << 20
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "riscv64": "riscv64"}
NATIVE = {"amd64": "SCMP_ARCH_X86_64", "arm64": "SCMP_ARCH_AARCH64", "386": "SCMP_ARCH_X86"}
RULE_KEYS = {"names", "name", "action", "errnoRet", "args", "comment", "includes", "excludes"}
Profile = dict[str, Any]


def translate(profile: bytes, capabilities: Sequence[str]) -> Profile:
    """For a container with these capabilities on this host. Raises InvalidSpec."""
    content = _read(profile)
    result: Profile = {"defaultAction": content.get("defaultAction")}
    if content.get("defaultErrnoRet") is not None:
        result["defaultErrnoRet"] = content["defaultErrnoRet"]
    if content.get("flags"):
        result["flags"] = content["flags"]
    result["architectures"] = _architectures(content)
    result["syscalls"] = [
        _rule(entry)
        for index, entry in enumerate(_list(content, "syscalls"))
        if _applies(entry, index, capabilities)
    ]
    return result


def _read(profile: bytes) -> Profile:
    if len(profile) > MAX_BYTES:
        raise InvalidSpec(f"seccomp profile: above {MAX_BYTES >> 20} MiB")
    try:
        content = json.loads(profile)
    except (ValueError, RecursionError) as error:
        raise InvalidSpec(f"Decoding seccomp profile failed: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("defaultAction"), str):
        raise InvalidSpec("seccomp profile: must be an object with a defaultAction")
    if content.get("architectures") and content.get("archMap"):
        raise InvalidSpec("seccomp profile: 'architectures' and 'archMap' exclude each other")
    return content


def _architectures(content: Profile) -> list[str]:
    if content.get("architectures"):
        return [str(name) for name in _list(content, "architectures")]
    native = NATIVE.get(machine(), "")
    for entry in _list(content, "archMap"):
        if isinstance(entry, dict) and entry.get("architecture") == native:
            return [native, *(str(name) for name in entry.get("subArchitectures") or ())]
    return []


def machine() -> str:
    """This host's architecture in Go's word."""
    name = platform.machine()
    return ARCHITECTURES.get(name, name)


def _list(content: Profile, key: str) -> list[Any]:
    value = content.get(key) or []
    if not isinstance(value, list):
        raise InvalidSpec(f"seccomp profile: {key}: must be a list")
    return value


def _applies(entry: Any, index: int, capabilities: Sequence[str]) -> bool:
    where = f"seccomp profile: syscalls[{index}]"
    if not isinstance(entry, dict):
        raise InvalidSpec(f"{where}: must be an object")
    if unknown := set(entry) - RULE_KEYS:
        raise InvalidSpec(f"{where}: unknown key {min(unknown)!r}")
    if entry.get("name") and entry.get("names"):
        raise InvalidSpec(f"{where}: 'name' and 'names' exclude each other")
    includes, excludes = entry.get("includes") or {}, entry.get("excludes") or {}
    if not isinstance(includes, dict) or not isinstance(excludes, dict):
        raise InvalidSpec(f"{where}: includes and excludes must be objects")
    held = set(capabilities)
    if set(excludes.get("caps") or ()) & held or machine() in (excludes.get("arches") or ()):
        return False
    if excludes.get("minKernel") and _kernel_is(str(excludes["minKernel"]), where):
        return False
    if includes.get("arches") and machine() not in includes["arches"]:
        return False
    if includes.get("minKernel") and not _kernel_is(str(includes["minKernel"]), where):
        return False
    return not set(includes.get("caps") or ()) - held


def _kernel_is(minimum: str, where: str) -> bool:
    if not re.fullmatch(r"\d+\.\d+", minimum):
        raise InvalidSpec(f"{where}: minKernel {minimum[:20]!r}: expected MAJOR.MINOR")
    running = re.match(r"(\d+)\.(\d+)", platform.release())
    have = tuple(map(int, running.groups())) if running else (0, 0)
    return have >= tuple(map(int, minimum.split(".")))


def _rule(entry: Profile) -> Profile:
    rule: Profile = {
        "names": entry.get("names") or [entry.get("name")],
        "action": entry.get("action"),
    }
    if entry.get("errnoRet") is not None:
        rule["errnoRet"] = entry["errnoRet"]
    if entry.get("args"):
        rule["args"] = entry["args"]
    return rule
