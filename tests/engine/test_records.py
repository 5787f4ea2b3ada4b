"""What is on the disk of a container: whole, the newest, and waited for where that matters."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from swarmlite.engine.records import Record, Records
from swarmlite.proto.containers_pb2 import Container, ContainerRestartPolicy, ContainerState
from swarmlite.storage import trees

ALWAYS = ContainerRestartPolicy.ALWAYS


def added(records: Records, identity: str = "a" * 64, policy: int = 0) -> Record:
    message = Container(id=identity)
    message.config.restart.condition = policy  # type: ignore[assignment]
    message.state.status = ContainerState.CREATED
    record = records.add(message)
    record.folder.mkdir()
    return record


def loaded(folder: Path) -> Record | None:
    records = Records(folder)
    records.load()
    return next(iter(records), None)


async def test_the_later_one_of_two_files_counts(tmp_path: Path) -> None:
    record = added(Records(tmp_path))
    records = Records(tmp_path)
    await records.save(record)
    record.state.status = ContainerState.RUNNING
    await records.save(record, doing=True)
    found = loaded(tmp_path)
    assert found is not None and found.state.status == ContainerState.RUNNING
    record.config.name = "another"
    await records.save(record)
    found = loaded(tmp_path)
    assert found is not None and found.name == "another"
    record.state.exit_code = 3
    records.note(record)
    found = loaded(tmp_path)
    assert found is not None and found.state.exit_code == 3


@pytest.mark.parametrize("spoilt", [b"", b"\0" * 100, b"half"])
async def test_of_what_a_power_cut_spoilt_the_record_stays(tmp_path: Path, spoilt: bytes) -> None:
    records = Records(tmp_path)
    record = added(records)
    await records.save(record)
    record.state.status = ContainerState.RUNNING
    await records.save(record, doing=True)
    latest = record.folder / "latest"
    latest.write_bytes(latest.read_bytes()[:9] if spoilt == b"half" else spoilt)
    found = loaded(tmp_path)
    assert found is not None and found.state.status == ContainerState.CREATED


@pytest.mark.parametrize(("policy", "waits"), [(0, False), (ALWAYS, True)])
async def test_the_disk_is_waited_for_where_a_restart_policy_goes_by_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: int, waits: bool
) -> None:
    records = Records(tmp_path)
    record = added(records, policy=policy)
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(fd), fsync(fd)))
    await records.save(record)
    assert synced
    synced.clear()
    record.state.status = ContainerState.RUNNING
    await records.save(record, doing=True)
    assert bool(synced) is waits


async def test_a_removal_that_was_cut_short_is_ended_by_the_next_process(tmp_path: Path) -> None:
    """The folder was renamed out of its place: it is no container, and it goes."""
    records = Records(tmp_path)
    record = added(records)
    await records.save(record)
    trees.renamed_aside(record.folder)
    after = Records(tmp_path)
    assert after.load() == [] and list(after) == []
    trees.wait_for_discards()
    assert list(tmp_path.iterdir()) == []
