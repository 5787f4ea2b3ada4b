"""Requests to swarmlited over its socket: one JSON line there, JSON lines back."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from swarmlite.client.reach.api import Reach
from swarmlite.errors import FailedPrecondition, PermissionDenied, Unavailable

NOT_ROOT = "permission denied on {path}: run swarmlite as root, or with sudo"
_NOT_RUNNING = (
    "Cannot connect to swarmlited at {path}. Is it running?"
    " (systemctl start swarmlited, or swarmlited &)"
)


def request(
    node: Reach,
    message: Mapping[str, Any],
    *,
    progress: Callable[[str], None] = lambda line: None,
    timeout_s: float = 180.0,
) -> dict[str, Any]:
    """What swarmlited answers to `message`.

    Raises Unavailable when it does not run or goes away, FailedPrecondition with its own line when
    it refuses, PermissionDenied for users other than root.
    """
    path = node.describe("swarmlited")
    try:
        connection = node.connect("swarmlited")
    except PermissionError as error:
        raise PermissionDenied(NOT_ROOT.format(path=path)) from error
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise Unavailable(_NOT_RUNNING.format(path=path)) from error
    with connection:
        connection.settimeout(timeout_s)
        try:
            connection.sendall(json.dumps(message).encode() + b"\n")
            with connection.makefile("r", encoding="utf-8") as lines:
                for line in lines:
                    reply = json.loads(line)
                    if "progress" in reply:
                        progress(reply["progress"])
                    elif "error" in reply:
                        raise FailedPrecondition(reply["error"])
                    else:
                        return dict(reply["ok"])
        except ConnectionError as error:
            raise Unavailable(_NOT_RUNNING.format(path=path)) from error
        except TimeoutError as error:
            raise Unavailable(f"swarmlited at {path} did not answer in {timeout_s:g} s") from error
        except ValueError as error:
            raise Unavailable(f"swarmlited at {path} did not answer with JSON: {error}") from error
    raise Unavailable(f"swarmlited at {path} closed the connection before it answered")
