"""A member of etcd whose data are gone is not started: it would begin again with nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmlite.node import etcdcmd


def test_a_member_begins_once(tmp_path: Path) -> None:
    data = tmp_path / "etcd"
    with pytest.raises(FileNotFoundError, match="swarm leave --force on this node, and join again"):
        etcdcmd.check_data(data)
    etcdcmd.await_first_start(data)
    etcdcmd.check_data(data)
    assert not etcdcmd.has_data(data)
    etcdcmd.check_data(data)  # it has yet to start
    log = data / "member" / "wal" / f"{0:016x}-{0:016x}.wal"
    log.parent.mkdir(parents=True)
    assert not etcdcmd.has_data(data)
    etcdcmd.check_data(data)  # it was ended before it had begun its log
    log.touch()
    assert etcdcmd.has_data(data)
    etcdcmd.check_data(data)
    log.unlink()
    with pytest.raises(FileNotFoundError, match=f"the store's data in {data} are gone"):
        etcdcmd.check_data(data)
