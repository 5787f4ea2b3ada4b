"""Requests to swarmlited over its socket: one JSON line there, JSON lines back."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from typing import Any

from swarmlite.errors import FailedPrecondition, PermissionDenied, Unavailable
from swarmlite.paths import Paths

NOT_ROOT = "permission denied on {path}: run swarmlite as root, or with sudo"


def request(
    paths: Paths,
    message: Mapping[str, Any],
    *,
    progress: Callable[[str], None] = lambda line: None,
    timeout_s: float = 180.0,
) -> dict[str, Any]:
    """What swarmlited answers to `message`.

    Raises Unavailable when it does not run or goes away, FailedPrecondition with its own line when
    it refuses, PermissionDenied for users other than root.
    """
    path = paths.daemon_socket
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(path))
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
        except PermissionError as error:
            raise PermissionDenied(NOT_ROOT.format(path=path)) from error
        except (FileNotFoundError, ConnectionError) as error:
            raise Unavailable(
                f"Cannot connect to swarmlited at {path}. Is it running?"
                " (systemctl start swarmlited, or swarmlited &)"
            ) from error
        except TimeoutError as error:
            raise Unavailable(f"swarmlited at {path} did not answer in {timeout_s:g} s") from error
        except ValueError as error:
            raise Unavailable(f"swarmlited at {path} did not answer with JSON: {error}") from error
    raise Unavailable(f"swarmlited at {path} closed the connection before it answered")
