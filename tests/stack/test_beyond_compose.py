"""`x-swarmlite` of a service: by the names of the flags, and to the same spec."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmlite.cli.service.flags.policies import POLICIES
from swarmlite.cli.service.flags.scalars import SCALARS
from swarmlite.cli.service.flags.table import Scalar
from swarmlite.errors import InvalidSpec
from swarmlite.proto.specs_pb2 import ServiceSpec
from swarmlite.stack.load import load
from swarmlite.stack.service.beyond import KEYS

VALUES = {
    "update-canary": "2",
    "update-canary-promote": "manual",
    "update-progress-deadline": "5m",
    "replicas-min": "2",
    "replicas-max": "6",
    "scale-cpu": "60",
    "scale-memory": "80",
    "restart-backoff": "2.5",
    "restart-max-delay": "2m",
    "rebalance": "on-join",
    "strategy": "binpack",
}


def service(text: str) -> ServiceSpec:
    text = f"services: {{web: {{image: a, {text}}}}}"
    [spec] = load([("f.yml", text)], "s", folder=Path("/srv"), environment={}).services
    return spec


def flag(name: str) -> Scalar:
    return next(each for each in (*SCALARS, *POLICIES) if f"--{name}" in each.names)


def test_every_key_is_tried() -> None:
    assert set(VALUES) == set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_the_flag_of_its_name(key: str) -> None:
    """What `service create --KEY VALUE` writes, with and without policies of the file."""
    for before in ("", "deploy: {update_config: {parallelism: 3}, restart_policy: {delay: 1s}}, "):
        expected = service(before.rstrip(", "))
        of_flag = flag(key)
        of_flag.apply(expected, of_flag.type.convert(VALUES[key], None, None))
        assert service(f"{before}x-swarmlite: {{{key}: {VALUES[key]}}}") == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "x-swarmlite: {update-canray: 1}",
            "update-canray: unknown key; did you mean 'update-canary'",
        ),
        ("x-swarmlite: {strategy: full}", 'strategy: expected spread or binpack, not "full"'),
        ("x-swarmlite: {replicas-max: 0}", "replicas-max: expected a whole number from 1 to"),
        ("x-swarmlite: [strategy]", "services.web.x-swarmlite: expected a mapping, not a list"),
        ("x-swarmlite: {restart-backoff: 0.5}", "restart-backoff: expected a number from 1 to"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, said: str) -> None:
    with pytest.raises(InvalidSpec, match=r"^f\.yml:1:") as raised:
        service(text)
    assert said in str(raised.value)
