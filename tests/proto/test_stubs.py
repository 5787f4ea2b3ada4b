"""The committed stubs are what the .proto files say."""

import os
import sys
from importlib import import_module
from pathlib import Path

import pytest

from swarmlite.proto import generate
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
        for name in sorted(path.stem for path in generate.ROOM.glob("*.proto"))
        for file in (import_module(f"swarmlite.proto.{name}_pb2").DESCRIPTOR,)
        for service in file.services_by_name.values()
        for method in service.methods
        if not method.GetOptions().Extensions[roles]
    ]
    assert silent == []
