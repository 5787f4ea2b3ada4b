"""What a stage has come to: its layers, its configuration, its history."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from swarmlite.build.variables import Arguments, environment_of
from swarmlite.storage.images.types import Image, Platform

DEFAULT_SHELL = ("/bin/sh", "-c")
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
COMMENT = "swarmlite.build"


@dataclass
class State:
    """`chain` are chain ids, lowest first; `config` is Docker's `Config`, `outer` is around it.

    `triggers` are the texts of the base's ONBUILD.
    """

    platform: Platform
    arguments: Arguments
    chain: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict)
    outer: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    triggers: tuple[str, ...] = ()
    base: Image | None = None
    keys: list[str] = field(default_factory=list)
    """Of the cache, one for each layer that was made on the base's."""
    created: str = ""
    """RFC 3339, of the newest layer that was made here."""
    has_command: bool = False
    """Whether CMD was said in this stage, which an ENTRYPOINT then leaves alone."""

    @property
    def environment(self) -> dict[str, str]:
        """ENV as a mapping."""
        return environment_of(self.config.get("Env"))

    @property
    def variables(self) -> dict[str, str]:
        """What the next instruction expands."""
        return self.arguments.seen(self.environment)

    @property
    def shell(self) -> list[str]:
        """SHELL."""
        return list(self.config.get("Shell") or DEFAULT_SHELL)

    @property
    def top(self) -> str:
        """The topmost layer's chain id, which stands for all; empty without layers."""
        return self.chain[-1] if self.chain else ""

    def said(self, text: str) -> None:
        """An instruction that changed no file, for the history."""
        self.history.append({"created_by": text, "comment": COMMENT, "empty_layer": True})

    def grown(self, chain: tuple[str, ...], text: str, created: str, key: str) -> None:
        """An instruction that made a layer."""
        self.chain, self.created = chain, created
        self.keys.append(key)
        self.history.append({"created": created, "created_by": text, "comment": COMMENT})

    def on_top(self, arguments: Arguments, platform: Platform) -> State:
        """A new stage that begins where this one has ended."""
        return State(
            platform,
            arguments,
            self.chain,
            copy.deepcopy(self.config),
            dict(self.outer),
            list(self.history),
            (),
            self.base,
            list(self.keys),
            self.created,
        )


def of_scratch(platform: Platform, arguments: Arguments) -> State:
    """FROM scratch."""
    state = State(platform, arguments, config={"Env": [PATH], "WorkingDir": "/"})
    state.outer = {"architecture": platform.architecture, "os": platform.os}
    if platform.variant:
        state.outer["variant"] = platform.variant
    return state


def of_image(image: Image, platform: Platform, arguments: Arguments) -> State:
    """FROM an image of this host."""
    config = copy.deepcopy(image.config.get("config") or {})
    triggers = tuple(str(text) for text in config.pop("OnBuild", None) or ())
    config.pop("Image", None)
    kept = ("architecture", "os", "variant", "os.version", "os.features", "author")
    outer = {key: image.config[key] for key in kept if image.config.get(key)}
    history = [dict(item) for item in image.config.get("history") or () if isinstance(item, dict)]
    return State(platform, arguments, tuple(image.layers), config, outer, history, triggers, image)
