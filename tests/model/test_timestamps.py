"""Times of messages come from one place."""

import re
import time
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp

from swarmlite.model.timestamps import set_now

ROOT = Path(__file__).parents[2]


def test_now_is_the_wall_clock() -> None:
    stamp = Timestamp()
    before = time.time_ns()
    set_now(stamp)
    assert before <= stamp.ToNanoseconds() <= time.time_ns()


def test_nothing_calls_what_python_deprecates_under_protobuf() -> None:
    """GetCurrentTime warns under Python 3.13 with protobuf 5, and a warning is an error here."""
    found = [
        str(path.relative_to(ROOT))
        for folder in ("src", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"\.GetCurrentTime\(\)", path.read_text())
    ]
    assert found == []
