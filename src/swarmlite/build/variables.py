"""Which variables an instruction sees: ARG, ENV, and those that are there by themselves.

Source: the Dockerfile reference, "Understand how ARG and FROM interact", "Predefined ARGs".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from swarmlite.storage.images.types import Platform

PROXIES = tuple(
    spelt
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for spelt in (name, name.lower())
)
"""Build arguments that RUN has without an ARG, and that neither history nor cache know of."""
EPOCH = "SOURCE_DATE_EPOCH"
OF_THE_BUILDER = ("BUILDKIT_INLINE_CACHE", "BUILDKIT_SYNTAX", EPOCH)


def platform_arguments(build: Platform, target: Platform, stage: str) -> dict[str, str]:
    """TARGETPLATFORM and the like."""
    found = {}
    for kind, platform in (("BUILD", build), ("TARGET", target)):
        found[f"{kind}PLATFORM"] = str(platform)
        found[f"{kind}OS"] = platform.os
        found[f"{kind}ARCH"] = platform.architecture
        found[f"{kind}VARIANT"] = platform.variant
    if stage:
        found["TARGETSTAGE"] = stage
    return found


@dataclass
class Arguments:
    """The ARGs of one stage and of those that it stands on, in the order of their declarations.

    `given` are the build's, `before` those before the first FROM, with the platform's.
    """

    given: Mapping[str, str]
    before: Mapping[str, str]
    declared: dict[str, str | None] = field(default_factory=dict)

    def declare(self, name: str, default: str | None) -> str | None:
        """ARG NAME or ARG NAME=DEFAULT; what its value is now, None for none."""
        value = self.given.get(name)
        if value is None:
            value = default if default is not None else self.before.get(name)
        self.declared[name] = value
        return value

    def seen(self, environment: Mapping[str, str]) -> dict[str, str]:
        """What an instruction expands: ENV overrules ARG."""
        found = {name: value for name, value in self.declared.items() if value is not None}
        return {**found, **environment}

    def of_run(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Those that RUN has in its environment, besides the image's."""
        return {
            name: value
            for name, value in self.declared.items()
            if value is not None and name not in environment
        }

    def proxies(self) -> dict[str, str]:
        """Those that RUN has without a declaration."""
        return {
            name: self.given[name]
            for name in PROXIES
            if name in self.given and name not in self.declared
        }


def environment_of(entries: object) -> dict[str, str]:
    """An image's Env as a mapping."""
    if not isinstance(entries, list):
        return {}
    return dict(str(entry).partition("=")[::2] for entry in entries)
