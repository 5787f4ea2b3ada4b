"""The committed stubs are what the .proto files say."""

import os
import sys
from pathlib import Path

import pytest

from swarmlite.proto import generate
from swarmlite.proto.ca_pb2 import DESCRIPTOR as CA
from swarmlite.proto.control_pb2 import DESCRIPTOR as CONTROL
from swarmlite.proto.dispatcher_pb2 import DESCRIPTOR as DISPATCHER
from swarmlite.proto.engine_pb2 import DESCRIPTOR as ENGINE
from swarmlite.proto.options_pb2 import roles


def test_committed_stubs_are_not_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # protoc finds its plug-ins on the PATH.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    generate.generate(tmp_path)
    fresh = {p.name: p.read_text() for p in (tmp_path / "swarmlite/proto").iterdir()}
    committed = {p.name: p.read_text() for p in generate.ROOM.glob("*_pb2*") if p.suffix != ".pyc"}
    assert sorted(fresh) == sorted(committed), "run make stubs"
    assert [n for n in fresh if fresh[n] != committed[n]] == [], "run make stubs"


def test_every_rpc_states_who_may_call_it() -> None:
    silent = [
        method.full_name
        for file in (CA, CONTROL, DISPATCHER, ENGINE)
        for service in file.services_by_name.values()
        for method in service.methods
        if not method.GetOptions().Extensions[roles]
    ]
    assert silent == []
