"""A certificate that is not renewed in time is said, before it has ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from swarmlite.identity import ageing
from swarmlite.manager.ca.root import WORKER, RootCA, Subject, new_request


def test_a_certificate_is_old_in_the_last_tenth_of_its_life() -> None:
    life, now = timedelta(days=90), datetime.now(UTC)
    certificate = RootCA.create().issue(new_request()[1], Subject("n", WORKER, "c"), life)
    assert ageing.warnings(certificate) == []
    assert ageing.warnings(certificate, now + timedelta(days=80)) == []
    (line,) = ageing.warnings(certificate, now + timedelta(days=82))
    assert f"{now + life:%Y-%m-%d}" in line
    with pytest.raises(ValueError):
        ageing.warnings(b"x")
