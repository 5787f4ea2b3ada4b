"""A stack's file that came from elsewhere leads to no file of this host."""

from __future__ import annotations

import contextvars
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from swarmlite.errors import InvalidSpec
from swarmlite.stack import outside
from swarmlite.stack.load import load

WAYS = {
    "a secret": "secrets: {a: {file: FILE}}",
    "a config": "configs: {a: {file: FILE}}",
    "an include": "include: [FILE]",
    "an include's environment": "include: [{path: FILE, env_file: FILE}]",
    "a service of another file": "services: {b: {extends: {file: FILE, service: a}}}",
    "an env_file": "services: {b: {image: x, env_file: FILE}}",
    "one that may be missing": "services: {b: {image: x, env_file: {path: FILE, required: false}}}",
    "a seccomp profile": "services: {b: {image: x, security_opt: ['seccomp=FILE']}}",
    "a relative bind": "services: {b: {image: x, volumes: ['./d:/d']}}",
    "a bind at home": "services: {b: {image: x, volumes: [{type: bind, source: ~/d, target: /d}]}}",
    "a secret of the environment": "secrets: {a: {environment: HOME}}",
}
opened: list[str] = []
watching = False


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if watching and event == "open":
        opened.append(str(args[0]))


@pytest.fixture(scope="module", autouse=True)
def watch() -> None:
    """For good: such a hook cannot be taken away."""
    sys.addaudithook(_watch)


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_is_named_is_refused_by_its_line_and_never_opened(
    way: str, tmp_path: Path
) -> None:
    global watching
    file = tmp_path / "needle"
    file.write_text("services: {a: {image: x}}\nneedle: 1\n")
    text = WAYS[way].replace("FILE", str(file))
    if not text.startswith("services"):
        text = f"services: {{a: {{image: x, secrets: [], configs: []}}}}\n{text}"

    def loaded() -> None:
        outside.close()
        load([("stdin", text)], "s", folder=tmp_path, environment={})

    watching = True
    try:
        with pytest.raises(InvalidSpec, match=re.compile(r"stdin:[12]")) as refused:
            contextvars.copy_context().run(loaded)
    finally:
        watching = False
    assert "needle: 1" not in str(refused.value)
    assert not [path for path in opened if str(tmp_path) in path]
    assert not outside.closed()
