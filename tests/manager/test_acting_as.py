"""Root of a host may call as a user who may less, and as nobody who does not exist."""

from __future__ import annotations

import pytest

from swarmlite.errors import PermissionDenied
from swarmlite.manager import auth
from swarmlite.proto import options_pb2


class Context:
    """Of a call with this metadata."""

    def __init__(self, *metadata: tuple[str, str]) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """As gRPC gives them."""
        return self._metadata


def may(method: str, *metadata: tuple[str, str]) -> bool:
    who = auth._lowered(Context(*metadata))
    return auth.may_call(who, auth.roles_of(f"/swarmlite.Control/{method}"))


def test_a_reader_may_list_and_not_update() -> None:
    assert may("ListServices", (auth.ACT_AS, "reader"))
    assert not may("UpdateService", (auth.ACT_AS, "reader"))
    assert may("UpdateService", (auth.ACT_AS, "operator"))
    assert not may("UpdateNode", (auth.ACT_AS, "operator"))
    assert may("UpdateNode", (auth.ACT_AS, "admin"))
    assert not may("GetUnlockKey", (auth.ACT_AS, "operator"))


def test_without_it_root_is_root() -> None:
    assert auth._lowered(Context()).role == options_pb2.ROLE_LOCAL


@pytest.mark.parametrize("value", ["", "root", "ROLE_ADMIN", "manager"])
def test_an_unknown_role_is_refused(value: str) -> None:
    with pytest.raises(PermissionDenied, match="unknown kind of user"):
        auth._lowered(Context((auth.ACT_AS, value)))
