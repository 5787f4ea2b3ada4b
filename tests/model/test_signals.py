"""One rule for signals, whoever names one."""

from __future__ import annotations

import pytest

from swarmlite.errors import InvalidSpec
from swarmlite.model.signals import signal_number
from swarmlite.model.validate.container import validate_container
from swarmlite.proto.specs_pb2 import ContainerSpec

NUMBERS = [
    ("SIGTERM", 15),
    ("term", 15),
    ("usr1", 10),
    ("9", 9),
    ("64", 64),
    ("SIGCLD", 17),
    ("RTMIN", 34),
    ("SIGRTMIN+3", 37),
    ("RTMAX", 64),
    ("rtmax-3", 61),
    ("RTMIN+30", 64),
]


@pytest.mark.parametrize(("text", "number"), NUMBERS)
def test_a_signal_goes_by_its_name_in_any_case_by_its_number_and_by_its_offset(
    text: str, number: int
) -> None:
    assert signal_number(text) == number
    validate_container(ContainerSpec(image="a", stop_signal=text))


@pytest.mark.parametrize(
    "text",
    ["", "SIG", "SIGNOPE", "0", "65", "-1", "1000000000", "RTMIN+x", "RTMIN-1", "RTMAX+1",
     "RTMIN+31", "RTMAX-31", "SIG_DFL", "SIGTERM SIGKILL", "٣"],
)  # fmt: skip
def test_what_is_not_a_signal_is_quoted_with_what_would_be(text: str) -> None:
    with pytest.raises(InvalidSpec, match=r"--stop-signal '.*': unknown signal; expected a name"):
        signal_number(text, "--stop-signal")
