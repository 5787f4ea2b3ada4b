"""A login to a swarm: what is refused before its token is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from swarmlite.cli import swarm_login
from swarmlite.errors import InvalidSpec
from swarmlite.manager.ca import logins
from swarmlite.proto import options_pb2

TOKEN = logins.make(logins.Login("anna", options_pb2.ROLE_READER, 2**31), "0" * 50, "secret")


@pytest.mark.parametrize("name", ["a/b", "default", "-x"])
def test_a_name_that_no_context_can_have_costs_no_token(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Any] = []

    async def issued(*args: Any) -> Any:
        asked.append(args)
        raise AssertionError("the token was sent")

    monkeypatch.setenv("SWARMLITE_CONFIG", str(tmp_path))
    monkeypatch.setattr(swarm_login, "_issued", issued)
    with pytest.raises(InvalidSpec, match="context name"):
        swarm_login.login("swarm://192.0.2.1", TOKEN, name)
    assert not asked
