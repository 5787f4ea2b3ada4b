"""No file crashes the loader: it is a stack, or wrong in words of one line each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from swarmlite.errors import InvalidSpec
from swarmlite.stack.load import combine, load
from swarmlite.stack.problems import Several
from swarmlite.stack.tree import to_yaml

KEYS = (
    "services", "networks", "volumes", "secrets", "configs", "version", "name", "x-a", "include",
    "web", "image", "command", "environment", "ports", "deploy", "replicas", "resources", "limits",
    "cpus", "memory", "build", "context", "depends_on", "condition", "healthcheck", "test",
    "extends",
    "service", "file", "env_file", "profiles", "external", "ipam", "config", "subnet",
    "labels", "mode",
    "links", "network_mode", "type", "source", "target", "update_config", "placement",
    "constraints",
    "logging", "ulimits", "nofile", "extra_hosts", "content", "pull_policy", "cpuset",
    "scale", "<<",
)  # fmt: skip
SCALARS = (
    None, True, False, 0, -1, 80, 2**70, 0.5, float("inf"), "", "x", "web", "80:80",
    "1-2:3-4/udp", "host",
    "${A}", "${A:-${B}}", "${", "$", "a:b:c", "/a:/b:ro", "10s", "1g", "../..",
    "\x00", "a\nb", "\ud7ff", "default",
)  # fmt: skip
SIGNS = "abs:- \n\t{}[]&*!|>'\"#%@`$,?0\\\x00é\u2028"
scalars = some.sampled_from(SCALARS)
trees = some.recursive(
    scalars,
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(some.sampled_from(KEYS) | some.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)
options = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def read(text: str | bytes, folder: Path) -> None:
    environment = {"A": "1"}
    try:
        load([("c.yml", text)], "s", folder=folder, environment=environment)
    except InvalidSpec as error:
        lines = error.lines if isinstance(error, Several) else [str(error)]
        assert all(line and "\n" not in line for line in lines)
    try:
        tree, _ = combine([("c.yml", text)], environment, folder)
    except InvalidSpec:
        return
    again, _ = combine([("c.yml", to_yaml(tree).replace("$", "$$"))], environment, folder)
    assert to_yaml(again) == to_yaml(tree)


@options
@given(trees)
def test_a_service_of_anything_is_read_or_refused(tmp_path_factory: Any, body: Any) -> None:
    text = yaml.safe_dump({"services": {"web": body}}, allow_unicode=True)
    read(text, tmp_path_factory.getbasetemp())


@options
@given(trees)
def test_a_file_of_anything_is_read_or_refused(tmp_path_factory: Any, body: Any) -> None:
    read(yaml.safe_dump(body, allow_unicode=True), tmp_path_factory.getbasetemp())


@options
@given(
    some.text(alphabet="abs:- \n\t{}[]&*!|>'\"#%@`$,?0\\\x00é\u2028", max_size=60)
    | some.binary(max_size=60)
)
def test_a_text_of_anything_is_read_or_refused(tmp_path_factory: Any, text: Any) -> None:
    read(text, tmp_path_factory.getbasetemp())
