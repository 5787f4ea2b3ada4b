"""Versions of etcd: which are refused, which are good, and what is said of the rest."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from swarmlite.node import etcdversions, hostcheck


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("3.5.0", "can lose data when it is killed"),
        ("3.5.2", "can lose data when it is killed"),
        ("3.3.27", "is too old"),
        ("3.5.3", None),
        ("3.4.23", None),
        ("3.7.1", None),
    ],
)
def test_versions_that_lose_data_or_lack_learners_are_refused(
    tmp_path: Path, version: str, expected: str | None
) -> None:
    binary = tmp_path / "etcd"
    binary.write_text(f"#!/bin/sh\necho 'etcd Version: {version}'\necho 'Git SHA: Not provided'\n")
    binary.chmod(0o755)
    said = hostcheck.check_etcd(str(binary))
    assert said is None if expected is None else expected in (said or "")


def test_known_faults_are_named_with_the_release_that_mends_them() -> None:
    old = etcdversions.known_faults((3, 4, 23)) or ""
    for words in ("back in time (until 3.4.25)", "lost after a compaction (until 3.4.31)",
                  "3.4.45, 3.5.33, 3.6.14 or 3.7.1 and later"):  # fmt: skip
        assert words in old
    later = etcdversions.known_faults((3, 4, 37)) or ""
    assert "back in time" not in later and "corruption" in later
    assert "not the latest" in (etcdversions.known_faults((3, 5, 16)) or "")
    for good in ((3, 4, 45), (3, 5, 33), (3, 5, 40), (3, 6, 14), (3, 7, 1), (3, 8, 0), (4, 0, 0)):
        assert etcdversions.known_faults(good) is None, good


def test_the_version_of_the_hosts_own_etcd_is_read() -> None:
    binary = shutil.which("etcd")
    if binary is None:
        pytest.skip("etcd not found: apt-get install etcd-server")
    version = etcdversions.of_binary(binary)
    assert version is not None and version >= (3, 4, 0)
    assert etcdversions.of_binary("/bin/true") is None
    assert etcdversions.of_binary("/does/not/exist") is None
