"""Points in time as flags say them: RFC 3339, a duration ago, UNIX time with a fraction."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.errors import InvalidSpec
from swarmlite.model import units

_UNIX = re.compile(r"(\d{1,12})(?:\.(\d{1,9})\d*)?", re.ASCII)
_DATE = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:T(\d{2}(?::\d{2}){0,2})(?:\.(\d{1,9})\d*)?)?(Z|[+-]\d{2}:\d{2})?",
    re.ASCII,
)


def moment(text: str, now: datetime | None = None) -> Timestamp:
    """The time that `text` means; one without a zone is this host's. Raises InvalidSpec."""
    if (unix := _UNIX.fullmatch(text)) is not None:
        return Timestamp(seconds=int(unix[1]), nanos=_nanos(unix[2]))
    if (date := _DATE.fullmatch(text)) is not None:
        return _of_date(date)
    try:
        ago = units.parse_duration(text)
    except InvalidSpec as error:
        raise InvalidSpec(
            "expected a timestamp (2013-01-02T13:23:37Z), a duration (42m) or a UNIX time"
            " (1357132217.5)"
        ) from error
    started = now or datetime.now(UTC)
    total = int(started.timestamp() * 1_000_000) * 1000 - ago
    return Timestamp(seconds=total // 1_000_000_000, nanos=total % 1_000_000_000)


def _of_date(date: re.Match[str]) -> Timestamp:
    day, time, fraction, zone = date[1], date[2] or "00", date[3], date[4]
    padded = ":".join([*time.split(":"), "00", "00"][:3])
    try:
        found = datetime.fromisoformat(f"{day}T{padded}{'+00:00' if zone == 'Z' else zone or ''}")
        seconds = int(found.timestamp())
    except (ValueError, OverflowError) as error:
        raise InvalidSpec(f"{date[0]!r} is not a time") from error
    return Timestamp(seconds=seconds, nanos=_nanos(fraction))


def _nanos(fraction: str | None) -> int:
    return int((fraction or "0").ljust(9, "0"))
