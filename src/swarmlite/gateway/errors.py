"""How a request fails: our errors as Docker's status codes, and the one shape of the answer."""

from __future__ import annotations

import json

from aiohttp import web

from swarmlite import errors

STATUS: dict[type[errors.SwarmliteError], int] = {
    errors.InvalidSpec: 400,
    errors.PermissionDenied: 403,
    errors.NotFound: 404,
    errors.AlreadyExists: 409,
    errors.Conflict: 409,
    errors.FailedPrecondition: 409,
    errors.ResourceExhausted: 500,
    errors.Unavailable: 503,
}


class Refused(errors.SwarmliteError):
    """An answer with a status of its own: what Docker answers where our error says less."""

    def __init__(self, status: int, message: str) -> None:
        """`status` is HTTP's."""
        super().__init__(message)
        self.status = status


def status_of(error: errors.SwarmliteError) -> int:
    """The status that a client is answered."""
    if isinstance(error, Refused):
        return error.status
    for cls in type(error).__mro__:
        if cls in STATUS:
            return STATUS[cls]
    return 500


def answer(status: int, message: str) -> web.Response:
    """`{"message": ...}` with a bare content type: with a charset behind it clients print JSON."""
    body = json.dumps({"message": message}).encode() + b"\n"
    return web.Response(status=status, body=body, headers={"Content-Type": "application/json"})
