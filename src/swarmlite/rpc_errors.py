"""What the status of a failed call means to us. Loads nothing of gRPC."""

from __future__ import annotations

import re

from swarmlite import errors

CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNAVAILABLE = 1, 2, 4, 8, 14
UNIMPLEMENTED, INTERNAL = 12, 13

NUMBERS: dict[type[errors.SwarmliteError], int] = {
    errors.InvalidSpec: 3,
    errors.NotFound: 5,
    errors.AlreadyExists: 6,
    errors.PermissionDenied: 7,
    errors.ResourceExhausted: RESOURCE_EXHAUSTED,
    errors.FailedPrecondition: 9,
    errors.Conflict: 10,
    errors.Unavailable: UNAVAILABLE,
}
"""Each error's status, as gRPC numbers them; `from_status` reads it backwards."""

_classes: dict[int, type[errors.SwarmliteError]] = {
    **{number: error for error, number in NUMBERS.items()},
    UNIMPLEMENTED: errors.FailedPrecondition,
    16: errors.PermissionDenied,  # UNAUTHENTICATED
}

# gRPC's own words for a connection that ended under a call, with whatever code.
_GONE = re.compile(
    r"Stream removed|Socket closed|Broken pipe|Connection reset|End of TCP stream|GOAWAY"
    r"|(?:Received )?RST_STREAM|Endpoint closing|Transport closed|(?:recv|send)msg"
)

# Not what a client received: who lists asks for less then.
_TOO_LARGE = re.compile(
    r"(?:SERVER: Received|CLIENT: Sent) message larger than max \((\d+) vs\. (\d+)\)"
)


def from_status(number: int, details: str, peer: str) -> errors.SwarmliteError:
    """The swarmlite error of a failed call; `peer` names who failed."""
    details = " ".join(details.split())
    if number == UNAVAILABLE and (
        not details or details.startswith(("failed to connect", "connections to"))
    ):
        return errors.Unavailable(f"{peer} does not answer")
    if number in (UNAVAILABLE, UNKNOWN, INTERNAL) and _GONE.match(details):
        return errors.Unavailable(f"{peer} went away in the middle of the call")
    if number == DEADLINE_EXCEEDED:
        return errors.Unavailable(f"{peer} did not answer in time")
    if number == UNIMPLEMENTED and details == "Method not found!":
        return errors.FailedPrecondition(
            f"{peer} runs another version, which has no such call: restart it after an upgrade"
        )
    too_large = _TOO_LARGE.match(details) if number == RESOURCE_EXHAUSTED else None
    if too_large:
        return errors.InvalidSpec(
            f"what was sent to {peer} has {too_large[1]} bytes, {too_large[2]} at most"
        )
    return _classes.get(number, errors.SwarmliteError)(details or f"{peer}: status {number}")
